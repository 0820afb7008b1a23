"""From texts to token ids, alike for every engine that has a tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase

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
    ):
        """Load a tokenizer.

        Args:
            bos: Start every text with the bos token; None does what the tokenizer does.
            pad_token: Token to pad with; None takes the tokenizer's own, if it has one.
        """
        self.tokenizer = load_tokenizer(folder, trust_remote_code, pad_token)
        if bos is None:
            bos = self.tokenizer("a")["input_ids"][:1] == [self.tokenizer.bos_token_id]
        self.bos: list[int] = [self.tokenizer.bos_token_id] if bos else []
        pad: int | None = self.tokenizer.pad_token_id
        # Also None if a text may hold the pad token.
        self.pad = None if pad is None or is_text(self.tokenizer, pad) else pad

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return each text's token ids."""
        if not texts:
            return []
        return [self.bos + ids for ids in read_plainly(self.tokenizer, texts)]

    @property
    def end_ids(self) -> list[int]:
        """Ids that end a text besides those that the model's configuration names.

        The pad token is one, since base models end a document with it. It is not if it may be
        ordinary text, such as "!": a text would end at each "!", or lose it.
        """
        ids = {self.tokenizer.eos_token_id, self.pad}
        return sorted(i for i in ids if i is not None)


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
