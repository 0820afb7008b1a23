"""A table, as pages, cards and commands write it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

# Where a figure is missing.
MISSING = "-"


class Mark(NamedTuple):
    """Where a difference and its interval are drawn, in points from the left."""

    low: float
    value: float
    high: float


class Table(NamedTuple):
    """A table whose first column names its rows.

    Attributes:
        caption: What it shows; empty if that is clear.
        heads: Of the columns.
        rows: One cell a column.
        texts: Numbers of the columns that hold text, from 0; all others but the first hold figures.
        strong: Numbers of the rows that must not be missed.
        marks: What is drawn in rows, by their number.
    """

    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: Sequence[int] = ()
    strong: Collection[int] = ()
    marks: Mapping[int, Mark] = {}
