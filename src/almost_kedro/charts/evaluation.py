"""The chart of all models on all benchmarks, as a plotly description (a plain dict)."""

from __future__ import annotations

from almost_kedro.charts.style import BLUE, GAP, GREY, ORANGE, Plot, figure
from almost_kedro.charts.training import draw_shares
from almost_kedro.evaluation.benchmark_records import BENCHMARKS
from almost_kedro.evaluation.model_report import read_win_rates
from almost_kedro.rows.evaluation_metrics import BenchmarkReport, EvaluationMetrics
from almost_kedro.rows.metrics import Estimate

# Title, and what models and floors reach, by name.
Panel = tuple[str, dict[str, Estimate], dict[str, Estimate]]


def draw_models(metrics: EvaluationMetrics) -> Plot:
    """Draw each model's accuracy on benchmarks and its win rate, with intervals and floors."""
    panels: list[Panel] = [
        *(_read_panel(each.title, each.find_report(metrics)) for each in BENCHMARKS),
        (
            f"win rate against base<br>(n={metrics['questions']['n']})",
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
    reading_nothing = dict.fromkeys(name for _, _, found in panels for name in found)
    order = sorted(names, key=lambda name: "reward" in name) + list(reading_nothing)
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


def _read_panel(title: str, report: BenchmarkReport) -> Panel:
    models, floors = (
        {name.replace("_", " "): found["accuracy"] for name, found in group.items()}
        for group in (report["models"], report["floors"])
    )
    return f"{title}<br>(n={report['n']})", models, floors
