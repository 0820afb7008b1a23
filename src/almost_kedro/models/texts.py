"""From a dialogue and an answer to token ids: the one way for all programs (rule 19)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from transformers import AutoConfig

from almost_kedro.contract import ModelFolder
from almost_kedro.errors import UserError
from almost_kedro.models.tokens import open_encoder


@dataclass(frozen=True)
class Sequence:
    """A dialogue and an answer as token ids; the answer ends in eos, or as the template ends it.

    `cut` counts the tokens that were cut off at the beginning.
    """

    dialogue: list[int]
    answer: list[int]
    cut: int = 0

    @property
    def ids(self) -> list[int]:
        """Both together."""
        return self.dialogue + self.answer

    @property
    def labels(self) -> list[int]:
        """Targets of a language model: the answer and its eos only (rule 22)."""
        return [-100] * len(self.dialogue) + self.answer


class TextEncoder:
    """Tokenises dialogues and answers for training, scoring and rollouts alike.

    original (rule 19): prompt + "Assistant: " + answer + eos, without "Human:" and bos; a text
        that was cut on the right lost its eos and was scored at another token.
    corrected: the dialogue as generation writes it, with "Human:" and, where the model needs it,
        bos. A text that is too long loses its beginning, never its eos.
    Both rule sets use the corrected text: a reward model must see what policies write.
    """

    def __init__(self, model: ModelFolder, separator: str, max_length: int):
        """Load a tokenizer; raise UserError if it has no eos token.

        `separator` is put before the answer. `max_length` counts dialogue, answer and eos.
        """
        assert model.folder is not None
        self.encoder = open_encoder(model)
        self.tokenizer = self.encoder.tokenizer
        self.separator = separator
        self.max_length = max_length
        if self.tokenizer.eos_token_id is None:
            raise UserError(f"model {model.name!r}: its tokenizer has no eos token")
        self.eos: int = self.tokenizer.eos_token_id
        # Masks hide padding, so the eos serves, too. A token of ordinary text would be left out
        # wherever ids become text.
        self.pad: int = self.eos if self.encoder.pad is None else self.encoder.pad
        self.tokenizer.pad_token = self.tokenizer.convert_ids_to_tokens(self.pad)

    def encode(self, dialogue: str, answer: str) -> Sequence:
        """Tokenise a dialogue and an answer.

        With a chat template, the answer has what the template puts after it. Without, they are
        tokenised together, and the answer gets the tokens after the dialogue's own. If that would
        change the dialogue's last token, they are tokenised apart. So a policy that continues the
        dialogue's tokens writes what the reward model was trained on.
        """
        if self.encoder.chat:
            return self.shorten(*self.encoder.chat.write_answered(dialogue, answer))
        [start, whole] = self.encoder.encode([dialogue, dialogue + self.separator + answer])
        if whole[: len(start)] == start:
            rest = whole[len(start) :]
        else:
            [rest] = self.encoder.encode([self.separator + answer])
            rest = rest[len(self.encoder.bos) :]
        return self.join(start, rest)

    def join(self, dialogue: list[int], answer: list[int]) -> Sequence:
        """Join token ids as `encode` does: eos at the end, cut at the beginning if too long.

        The dialogue includes its bos; the answer may have its eos already.
        """
        if answer[-1:] != [self.eos]:
            answer = [*answer, self.eos]
        return self.shorten(dialogue, answer)

    def shorten(self, dialogue: list[int], answer: list[int]) -> Sequence:
        """Cut what is too long at its beginning."""
        excess = len(dialogue) + len(answer) - self.max_length
        cut = self.cut(dialogue, excess)
        return Sequence(cut, answer[max(0, excess - len(dialogue)) :], max(0, excess))

    def cut(self, dialogue: list[int], excess: int) -> list[int]:
        """Cut ids off a dialogue's beginning, but keep its bos if more than the bos fits."""
        bos = len(self.encoder.bos)
        if 0 < excess < len(dialogue) - bos:
            return dialogue[:bos] + dialogue[bos + excess :]
        return dialogue[max(0, excess) :]

    def encode_dialogue(self, dialogue: str) -> list[int]:
        """Tokenise a dialogue that is to be answered; it may have all of `max_length`."""
        [ids] = self.encoder.encode([dialogue])
        return self.cut(ids, len(ids) - self.max_length)

    def encode_rows(self, rows: Iterable[Mapping[str, Any]], field: str) -> list[Sequence]:
        """Tokenise each row's `dialogue` and its `field`."""
        return [self.encode(row["dialogue"], row[field]) for row in rows]


def check_context(model: ModelFolder, n_tokens: int, option: str) -> None:
    """Raise UserError, with the option, if a model reads fewer than `n_tokens` tokens."""
    config = AutoConfig.from_pretrained(model.folder, trust_remote_code=model.trust_remote_code)
    limit = getattr(config.get_text_config(), "max_position_embeddings", None)
    if limit and n_tokens > limit:
        raise UserError(
            f"option {option}: {n_tokens} tokens, but model {model.name!r} reads {limit}; lower it"
        )
