"""The page of `kedro compare`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from almost_kedro.compare.sections import Line, Section
from almost_kedro.compare.wording import is_equal
from almost_kedro.pages import read_asset, render_page

TEMPLATE, STYLE = "compare.html", "compare.css"
# Width of a drawn interval, and what is left free at each end.
WIDTH, MARGIN = 120, 4


class Mark(NamedTuple):
    """Where a difference and its interval are drawn; 0 is in the middle."""

    low: float
    value: float
    high: float


def render_comparison(sections: Sequence[Section]) -> str:
    """Return the page: the same sections as on the terminal, with the intervals drawn."""
    marks = {id(line): mark for section in sections for line, mark in draw_marks(section)}
    style = read_asset(STYLE)
    values = {"sections": sections, "marks": marks, "get_id": id, "width": WIDTH}
    return render_page(TEMPLATE, values, styles=[style])


def draw_marks(section: Section) -> list[tuple[Line, Mark]]:
    """Return a mark for each difference with a test; what has one unit shares one scale."""
    lines = [line for table in section.tables for line in table.lines if has_interval(line)]
    units = {line.pair.figure.unit for line in lines if line.pair}
    marks = []
    for unit in units:
        chosen = [line for line in lines if line.pair and line.pair.figure.unit == unit]
        bounds = [
            (line.pair.outcome.low, line.pair.outcome.value, line.pair.outcome.high)
            for line in chosen
            if line.pair
        ]
        widest = max(abs(each) for bound in bounds for each in bound if each is not None) or 1.0
        half = WIDTH / 2 - MARGIN
        marks += [
            (line, Mark(*(round(WIDTH / 2 + half * (each or 0) / widest, 1) for each in bound)))
            for line, bound in zip(chosen, bounds, strict=True)
        ]
    return marks


def has_interval(line: Line) -> bool:
    """True if a line is about a difference with an interval that is worth drawing."""
    if line.pair is None or is_equal(line.pair.outcome):
        return False
    return line.pair.outcome.low is not None
