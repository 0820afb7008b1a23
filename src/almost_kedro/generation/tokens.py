"""From texts to token ids, alike for every engine that has a tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase


class Encoder:
    """Tokenises requests; what looks like a special token in them is read as plain characters."""

    def __init__(self, folder: Path, bos: bool | None = None, trust_remote_code: bool = False):
        """Load a tokenizer.

        Args:
            folder: Model folder.
            bos: Start every text with the bos token; None does what the tokenizer does.
            trust_remote_code: Run Python code found in the folder.
        """
        self.tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=trust_remote_code
        )
        if bos is None:
            bos = self.tokenizer("a")["input_ids"][:1] == [self.tokenizer.bos_token_id]
        self.bos: list[int] = [self.tokenizer.bos_token_id] if bos else []

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return each text's token ids."""
        if not texts:
            return []
        encoded = self.tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True)[
            "input_ids"
        ]
        return [self.bos + ids for ids in encoded]

    @property
    def end_ids(self) -> list[int]:
        """Ids that end a text besides those that the model's configuration names.

        The pad token is one of them: base models end a document with it.
        """
        ids = {self.tokenizer.eos_token_id, self.tokenizer.pad_token_id}
        return sorted(i for i in ids if i is not None)
