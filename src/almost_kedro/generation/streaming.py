"""Text of a row that is still being written: only what no later token can change."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence

from transformers import PreTrainedTokenizerBase

# Tokens of single bytes, as tokenizers after SentencePiece name them. They make characters
# together: one byte too many, and all bytes next to one another are decoded anew.
BYTE = re.compile(r"<0x[0-9A-F]{2}>")
# Where a tokenizer takes spaces before punctuation out, the next token can change this many
# characters at the end.
CLEANED = 8


class TextStream:
    """The growing text of one row, in pieces; together they begin the completion's text.

    What may be the beginning of a stop string is kept back, and so is half a character.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        end_ids: Collection[int],
        stop: Sequence[str],
        on_text: Callable[[str], None],
    ):
        """Begin with no text; `on_text` gets a piece after each token, often an empty one."""
        self.tokenizer, self.stop, self.on_text = tokenizer, stop, on_text
        # No part of the text, even where they are decoded as one.
        special = {id_ for id_, each in tokenizer.added_tokens_decoder.items() if each.special}
        self.silent = {*special, *end_ids}
        self.given = ""

    def grow(self, generated: Sequence[int]) -> None:
        """Give what is new and certain; `generated` are all tokens that were written."""
        text = withhold(self._decode(generated), self.stop)
        piece = text[len(self.given) :] if text.startswith(self.given) else ""
        self.given += piece
        self.on_text(piece)

    def _decode(self, generated: Sequence[int]) -> str:
        """Decode the tokens that later ones leave alone."""
        end = len(generated)
        while end and self._is_open(generated[end - 1]):
            end -= 1
        text: str = self.tokenizer.decode(list(generated[:end]), skip_special_tokens=True)
        if self.tokenizer.clean_up_tokenization_spaces:
            text = text[:-CLEANED]
        # Half a character is decoded as this one.
        return text.rstrip("�")

    def _is_open(self, token: int) -> bool:
        """Tell whether the next token may change how this one is decoded."""
        name = self.tokenizer.convert_ids_to_tokens(token)
        return token in self.silent or name is None or BYTE.fullmatch(name) is not None


def withhold(text: str, marks: Sequence[str]) -> str:
    """Cut a text before the first of the marks, or before an end that may become one."""
    ends = [text.find(mark) for mark in marks if mark in text]
    if ends:
        return text[: min(ends)]
    longest = max(map(len, marks), default=1)
    for kept in range(max(0, len(text) - longest + 1), len(text)):
        if any(mark.startswith(text[kept:]) for mark in marks):
            return text[:kept]
    return text
