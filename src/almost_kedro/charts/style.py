"""Colours, dashes and frames that all charts share."""

from __future__ import annotations

from typing import Any

# A chart as plotly reads it, and one series of it.
Plot = dict[str, Any]
Trace = dict[str, Any]

DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x")
# Share of the height that separates stacked panels.
GAP = 0.06


def stack_panels(traces: list[Trace], title: str, x: str) -> Plot:
    """Give each trace a panel; the first is on top, and all share the axis below the last."""
    count = max(1, len(traces))
    axes = ["y", *(f"y{i}" for i in range(2, count + 1))][:count]
    placed = [{**trace, "yaxis": axis} for trace, axis in zip(traces, axes, strict=False)]
    chart = figure(placed, title, x, "")
    names = [trace["name"] for trace in traces] or [""]
    height = (1 - GAP * (count - 1)) / count
    for i, (axis, name) in enumerate(zip(axes, names, strict=True)):
        top = 1 - i * (height + GAP)
        chart["layout"][axis.replace("y", "yaxis")] = {
            "title": {"text": name},
            "automargin": True,
            "domain": [max(0.0, top - height), top],
        }
    chart["layout"]["xaxis"]["anchor"] = axes[-1]
    chart["layout"].update(showlegend=False, height=max(450, 200 * count))
    return chart


# Okabe and Ito's palette, which the colour-blind can tell apart.
BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#999999"
PALETTE = (BLUE, ORANGE, GREEN, PURPLE, GREY)


def figure(data: list[Trace], title: str, x: str, y: str) -> Plot:
    """Put traces under a title, with the names of both axes, in the look of all our charts."""
    layout = {
        "title": {"text": title},
        "xaxis": {"title": {"text": x}, "automargin": True},
        "yaxis": {"title": {"text": y}, "rangemode": "tozero"},
        "template": "plotly_white",
        "legend": {"orientation": "h", "y": 1.08},
    }
    return {"data": data, "layout": layout}
