"""From texts to token ids, alike for every engine that has a tokenizer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from almost_kedro.contract import ModelFolder
from almost_kedro.errors import UserError
from almost_kedro.rows.dialogues import Message, read_open_dialogue

# Characters that few vocabularies have; they may become the unknown token.
RARE = "\u0378\u2603\ue000"


class Encoder:
    """Tokenises requests; special tokens in their texts are read as plain characters."""

    def __init__(
        self,
        folder: Path,
        bos: bool | None = None,
        trust_remote_code: bool = False,
        pad_token: str | None = None,
        chat: bool = False,
    ):
        """Load a tokenizer.

        Args:
            bos: Start every text with the bos token; None does what the tokenizer does.
            pad_token: Token to pad with; None takes the tokenizer's own, if it has one.
            chat: Texts are dialogues to be answered; write them by the model's chat template.
        """
        self.tokenizer = load_tokenizer(folder, trust_remote_code, pad_token)
        if bos is None:
            bos = self.tokenizer("a")["input_ids"][:1] == [self.tokenizer.bos_token_id]
        self.bos: list[int] = [self.tokenizer.bos_token_id] if bos else []
        pad: int | None = self.tokenizer.pad_token_id
        # Also None if a text may hold the pad token.
        self.pad = None if pad is None or is_text(self.tokenizer, pad) else pad
        self.chat = ChatTemplate(self.tokenizer) if chat else None

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return each text's token ids."""
        if not texts:
            return []
        if self.chat:
            return [self.chat.write(text) for text in texts]
        return [self.bos + ids for ids in read_plainly(self.tokenizer, texts)]

    @property
    def end_ids(self) -> list[int]:
        """Ids that end a text besides those that the model's configuration names.

        The pad token is one, since base models end a document with it. It is not if it may be
        ordinary text, such as "!": a text would end at each "!", or lose it.
        """
        ids = {self.tokenizer.eos_token_id, self.pad}
        if self.chat:
            ids.add(self.chat.end)
        return sorted(i for i in ids if i is not None)


def open_encoder(model: ModelFolder) -> Encoder:
    """Load the tokenizer of a model that is on this machine."""
    assert model.folder is not None
    return Encoder(
        model.folder,
        model.bos,
        model.trust_remote_code,
        model.pad_token,
        chat=model.template is not None,
    )


class ChatTemplate:
    """Writes dialogues by a model's own chat template.

    A special token's text within a message is read as plain characters, as everywhere. Servers read
    it as the token.

    Attributes:
        end: The token that ends an answer: the first special one after it, or else eos.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase):
        """Find out how an answer ends; raise UserError if the template can't be used."""
        self.tokenizer = tokenizer
        added = tokenizer.added_tokens_decoder.items()
        self.special = {id_: str(token) for id_, token in added if token.special}
        if tokenizer.chat_template is None:
            raise UserError("its tokenizer has no chat template")
        self.end: int = tokenizer.eos_token_id
        _, answer = self.write_answered("\n\nHuman: a\n\nAssistant:", "b")
        self.end = next((id_ for id_ in answer if id_ in self.special), self.end)

    def write(self, dialogue: str) -> list[int]:
        """Return the token ids of a dialogue up to where it is answered; of no text, none."""
        return self.ask(read_open_dialogue(dialogue)) if dialogue else []

    def ask(self, messages: Sequence[Message]) -> list[int]:
        """Return the token ids of messages, the last one the user's, up to the answer."""
        return self.tokenise(messages, answered=False, by_parts=self.has_special(messages))

    def write_answered(self, dialogue: str, answer: str) -> tuple[list[int], list[int]]:
        """Return the token ids of a dialogue and of its answer, with what follows it.

        Raises UserError if the answer changes what stands before it.
        """
        asked = read_open_dialogue(dialogue)
        messages = [*asked, Message(role="assistant", content=answer)]
        by_parts = self.has_special(messages)
        start = self.tokenise(asked, answered=False, by_parts=by_parts)
        whole = self.tokenise(messages, answered=True, by_parts=by_parts)
        if whole[: len(start)] != start:
            raise UserError(
                "its chat template writes a dialogue in another way once it is answered"
            )
        rest = whole[len(start) :]
        return start, rest if self.special.keys() & set(rest) else [*rest, self.end]

    def has_special(self, messages: Sequence[Message]) -> bool:
        """Tell whether a message holds the text of a special token."""
        return any(token in each["content"] for token in self.special.values() for each in messages)

    def tokenise(self, messages: Sequence[Message], *, answered: bool, by_parts: bool) -> list[int]:
        """Return the token ids of messages; `by_parts` reads each of them by itself, plainly."""
        how = {"add_generation_prompt": not answered}
        if not by_parts:
            ids: list[int] = self.tokenizer.apply_chat_template(messages, return_dict=False, **how)
            return ids
        marks = {f"\ue000{n}\ue001": each["content"] for n, each in enumerate(messages)}
        marked = [{**each, "content": mark} for each, mark in zip(messages, marks, strict=True)]
        text: str = self.tokenizer.apply_chat_template(marked, tokenize=False, **how)
        ids = []
        for part in re.split("(\ue000[0-9]+\ue001)", text):
            if part in marks:
                ids += read_plainly(self.tokenizer, [marks[part]])[0]
            else:
                ids += self.tokenizer(part, add_special_tokens=False)["input_ids"]
        return ids


def load_tokenizer(
    folder: Path, trust_remote_code: bool = False, pad_token: str | None = None
) -> PreTrainedTokenizerBase:
    """Load a tokenizer; see `Encoder`."""
    given = {} if pad_token is None else {"pad_token": pad_token}
    return AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code, **given)


def read_plainly(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Return each text's token ids, without bos and with special tokens read as characters."""
    ids: list[list[int]] = tokenizer(
        list(texts), add_special_tokens=False, split_special_tokens=True
    )["input_ids"]
    return ids


def is_text(tokenizer: PreTrainedTokenizerBase, token: int) -> bool:
    """Tell whether a text may hold a token: "!" may be one, "<pad>" hardly ever is."""
    own = tokenizer.decode([token])
    read = read_plainly(tokenizer, [own, f"a{own}", RARE])
    return any(token in ids for ids in read)
