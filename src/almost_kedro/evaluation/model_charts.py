"""The chart of all models on all benchmarks, as a plotly description (a plain dict)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from almost_kedro.evaluation.charts import GAP, draw_shares
from almost_kedro.evaluation.model_report import read_win_rates
from almost_kedro.feedback.charts import BLUE, GREY, ORANGE, figure


def draw_models(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Draw each model's accuracy on HHH and MC1 and its win rate, with intervals and floors.

    Args:
        metrics: `evaluation_metrics`.
    """
    panels = [
        (f"HHH (n={metrics['hhh']['n']})", *_read_accuracies(metrics["hhh"])),
        (f"MC1 (n={metrics['mc1']['n']})", *_read_accuracies(metrics["mc1"])),
        (
            f"win rate against base (n={metrics['questions']['n']})",
            read_win_rates(metrics["questions"]),
            {},
        ),
    ]
    traces = []
    for number, (_, models, floors) in enumerate(panels):
        place = {"xaxis": _name_axis("x", number), "showlegend": number == 0}
        traces += [
            {**draw_shares("models", models, BLUE, "circle"), **place},
            {**draw_shares("reads nothing", floors, ORANGE, "diamond-open"), **place},
        ]
    chart = figure(traces, "All models, 95 % intervals", "", "")
    width = (1 - GAP * (len(panels) - 1)) / len(panels)
    for number, (title, _, _) in enumerate(panels):
        left = number * (width + GAP)
        chart["layout"][_name_axis("xaxis", number)] = {
            "title": {"text": title},
            "domain": [left, min(1.0, left + width)],
            "range": [0, 1],
        }
    # The floors below the models, whatever a panel has.
    names = dict.fromkeys(name for _, models, _ in panels for name in models)
    floors = dict.fromkeys(name for _, _, found in panels for name in found)
    order = sorted(names, key=lambda name: "reward" in name) + list(floors)
    chart["layout"]["yaxis"] = {
        "categoryorder": "array",
        "categoryarray": order,
        "autorange": "reversed",
        "automargin": True,
    }
    chart["layout"]["height"] = max(450, 50 * len(order))
    half = {"type": "line", "x0": 0.5, "x1": 0.5, "y0": 0, "y1": 1, "yref": "paper"}
    axis = _name_axis("x", len(panels) - 1)
    chart["layout"]["shapes"] = [{**half, "xref": axis, "line": {"color": GREY, "dash": "dash"}}]
    return chart


def _name_axis(name: str, number: int) -> str:
    return name if number == 0 else f"{name}{number + 1}"


def _read_accuracies(report: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    models, floors = (
        {name.replace("_", " "): found["accuracy"] for name, found in report[kind].items()}
        for kind in ("models", "floors")
    )
    return models, floors
