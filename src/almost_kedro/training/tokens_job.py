"""The job file of the program that shows tokens, and what it writes."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

from almost_kedro.contract import ModelFolder, Part


class TokensJob(Part):
    """Rows to be read as a training program reads them.

    Attributes:
        rows: JSON lines of `id`, `dialogue` and the fields.
        fields: Names of the answers in a row; each becomes a text of its own.
        separator: Text between a dialogue and its answer.
        max_length: Tokens; longer texts lose their beginning.
        out: File to write, JSON lines of `ReadText`.
    """

    model: ModelFolder
    rows: Path
    fields: list[str]
    separator: str
    max_length: int
    out: Path


class ReadText(TypedDict):
    """A dialogue and an answer as tokens.

    The last `n_end` tokens end the answer: the eos, or all that a chat template puts there.
    `labels` are the targets of a language model, -100 for a token that is none. `names` has the
    tokens as the vocabulary has them, `texts` each one decoded by itself. `cut` tokens at the
    beginning were too many.
    """

    id: str
    field: str
    n_dialogue: int
    n_end: int
    cut: int
    ids: list[int]
    labels: list[int]
    names: list[str]
    texts: list[str]
