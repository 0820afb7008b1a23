"""Charts in the report: plotly descriptions made ready for a page, and the same as tables.

The page has its own headings, so a chart loses its title. Long curves are thinned: the report of a
long training must still open on a phone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from almost_kedro.charts.style import DASHES, PALETTE, SYMBOLS, stack_panels
from almost_kedro.pages.report.samples import spread
from almost_kedro.pages.table import MISSING, Table

Trace = Mapping[str, Any]
# Points of a curve in a chart, and rows of its table.
POINTS = 300
ROWS = 30
INK, LINES = "#1a1a1a", "#ddd"


class Figure(NamedTuple):
    """A chart as the page has it.

    Attributes:
        name: Its id in the page.
        caption: What to read off it.
        description: For plotly.
        table: The same in figures.
        wide: Whether it needs room for long labels and scrolls by itself on a phone.
    """

    name: str
    caption: str
    description: dict[str, Any]
    table: Table
    wide: bool


def prepare_figure(
    name: str, caption: str, chart: Mapping[str, Any], panels: Mapping[str, str] | None = None
) -> Figure | None:
    """Make a chart ready for the page.

    Args:
        name: Its id in the page.
        caption: What to read off it.
        chart: Its plotly description.
        panels: Of a chart with a panel for each trace, those that are shown, and what they are
            called; None shows all.

    Returns:
        None if there is nothing to show.
    """
    if panels is not None:
        chart = select_panels(chart, panels)
    chart = {**chart, "data": [drop_endless(trace) for trace in chart["data"]]}
    traces = [thin(trace) for trace in chart["data"] if trace.get("x") or trace.get("y")]
    if not traces:
        return None
    description = {"data": traces, "layout": dress(chart["layout"])}
    # A curve shrinks; labels do not.
    wide = panels is None and any(isinstance(_read_labels(t)[0], str) for t in traces)
    # The first sentence says what it is, the others how to read a chart.
    table = tabulate_traces(chart["data"], caption.split(". ")[0].removesuffix("."))
    return Figure(name, caption, description, table, wide)


def select_panels(chart: Mapping[str, Any], panels: Mapping[str, str]) -> dict[str, Any]:
    """Keep some traces of a chart that has a panel for each, five at most, under new names."""
    by_name = {trace["name"]: trace for trace in chart["data"]}
    found = [(by_name[key], name) for key, name in panels.items() if key in by_name]
    kept = [
        {
            **trace,
            "name": name,
            "line": {"color": PALETTE[i], "dash": DASHES[i]},
            "marker": {"color": PALETTE[i], "symbol": SYMBOLS[i]},
        }
        for i, (trace, name) in enumerate(found)
    ]
    axis = chart["layout"]["xaxis"]["title"]["text"]
    return stack_panels(kept, "", axis)


def drop_endless(value: Any) -> Any:
    """Turn what is no finite number into null: browsers read no JSON that has NaN in it.

    Args:
        value: A trace, or a part of one. Before version 2 of scoring, such figures were kept.
    """
    match value:
        case float() if not math.isfinite(value):
            return None
        case Mapping():
            return {key: drop_endless(each) for key, each in value.items()}
        case list():
            return [drop_endless(each) for each in value]
        case _:
            return value


def thin(trace: Trace, points: int = POINTS) -> dict[str, Any]:
    """Take so many points of a trace, from the first to the last in even steps."""
    long = max((len(value) for value in trace.values() if isinstance(value, list)), default=0)
    if long <= points:
        return dict(trace)
    return {
        key: spread(value, points) if isinstance(value, list) and len(value) == long else value
        for key, value in trace.items()
    }


def dress(layout: Mapping[str, Any]) -> dict[str, Any]:
    """Give a chart the page's look: no title, plain ground, and touch scrolls the page."""
    axes = {
        key: {
            "gridcolor": LINES,
            "zerolinecolor": LINES,
            "linecolor": INK,
            **value,
            # Three panels' titles have to stand beside one another.
            "title": {**value.get("title", {}), "font": {"size": 12}},
        }
        for key, value in layout.items()
        if key.startswith(("xaxis", "yaxis"))
    }
    kept = {key: value for key, value in layout.items() if key not in ("title", "template")}
    return {
        **kept,
        **axes,
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": INK},
        "paper_bgcolor": "#fff",
        "plot_bgcolor": "#fff",
        "margin": {"t": 40, "r": 16, "b": 48, "l": 56},
        "dragmode": False,
    }


def tabulate_traces(traces: Sequence[Trace], caption: str) -> Table:
    """Write a chart's figures as a table: a row for each label or step, a column for each trace."""
    if traces[0]["type"] == "box":
        return _tabulate_boxes(traces, caption)
    columns = [_read_cells(trace) for trace in traces]
    labels = list(dict.fromkeys(label for column in columns for label in column))
    rows = [(label, *(column.get(label, MISSING) for column in columns)) for label in labels]
    shown = tuple(spread(rows, ROWS))
    if len(shown) < len(rows):
        caption = f"{caption} ({len(shown)} of {len(rows)} rows)"
    names = [str(trace.get("name") or "rows") for trace in traces]
    return Table(caption, ("", *names), shown)


def _read_labels(trace: Trace) -> list[Any]:
    """Return the labels of a trace: on the y axis, if its intervals go across."""
    labels: list[Any] = trace["y"] if "error_x" in trace else trace["x"]
    return labels


def _read_cells(trace: Trace) -> dict[str, str]:
    """Return the cells of a trace by label."""
    labels, values = _read_labels(trace), trace["x" if "error_x" in trace else "y"]
    errors = trace.get("error_x") or trace.get("error_y")
    cells: dict[str, str] = {}
    for i, (label, value) in enumerate(zip(labels, values, strict=True)):
        cell = _show_number(value)
        if errors and value is not None:
            low, high = value - errors["arrayminus"][i], value + errors["array"][i]
            cell += f" [{_show_number(low)}, {_show_number(high)}]"
        # A waterfall has the same rule in several steps; what a step starts with says which.
        text = _show_label(label)
        if text in cells:
            text = f"{text} ({sum(key.startswith(text) for key in cells) + 1})"
        cells[text] = _show_total(trace, i, cell)
    return cells


def _show_total(trace: Trace, i: int, cell: str) -> str:
    """A waterfall's totals are the sum of what stands before them, and written as 0."""
    if trace.get("measure", [])[i : i + 1] != ["total"]:
        return cell
    start = max(at for at in range(i) if trace["measure"][at] == "absolute")
    return _show_number(sum(trace["y"][start:i]))


def _tabulate_boxes(traces: Sequence[Trace], caption: str) -> Table:
    fields = ("lowerfence", "q1", "median", "q3", "upperfence", "mean")
    rows = tuple(
        (
            trace["name"],
            *(_show_number(trace[f][0]) if f in trace else MISSING for f in fields),
        )
        for trace in traces
    )
    heads = ("", "shortest", "first quarter", "middle", "third quarter", "longest", "mean")
    return Table(caption, heads, rows)


def _show_label(label: Any) -> str:
    return str(label).replace("<br>", " ")


def _show_number(value: float | None) -> str:
    if value is None:
        return MISSING
    return f"{value:,.4g}" if isinstance(value, float) and abs(value) < 1000 else f"{value:,.0f}"
