"""Charts of training and of reward models, as plotly descriptions (plain dicts).

Series differ in dash and symbol, too: the charts are readable without colour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from almost_kedro.charts.style import (
    BLUE,
    DASHES,
    GREEN,
    GREY,
    ORANGE,
    PALETTE,
    PURPLE,
    SYMBOLS,
    Plot,
    Trace,
    figure,
    stack_panels,
)
from almost_kedro.rows.metrics import (
    BestOfN,
    CountedEstimate,
    Estimate,
    RewardModelMetrics,
    RuleAudit,
)

# Name, shares by label, colour and symbol.
Group = tuple[str, Mapping[str, Estimate], str, str]


def draw_training_curve(curve: Sequence[Mapping[str, float]], title: str) -> Plot:
    """Draw each metric over the steps, in a panel of its own: their units have nothing in common.

    Args:
        curve: One mapping for each logged step, with "step"; a metric may be missing in some.
        title: The chart's.
    """
    names = dict.fromkeys(name for point in curve for name in point if name != "step")
    traces = []
    for i, name in enumerate(names):
        points = [point for point in curve if name in point]
        x, y = [point["step"] for point in points], [point[name] for point in points]
        traces.append(_draw_line(i, name, x, y))
    return stack_panels(traces, title, "step")


def draw_best_of_n(curve: Sequence[BestOfN]) -> Plot:
    """Draw the rewards of the best of n answers, picked by the reward model, with intervals.

    Where the held-out reward no longer rises with the reward, more picking is over-optimisation.
    Each has a panel of its own: the two reward models have different zeros.
    """
    ns = [point["n"] for point in curve]
    own = [(p["reward"], p["reward_low"], p["reward_high"]) for p in curve]
    other = [(p["held_out_reward"], p["held_out_low"], p["held_out_high"]) for p in curve]
    traces = []
    for i, (name, points) in enumerate((("reward", own), ("held-out reward", other))):
        rewards, lows, highs = ([point[at] for point in points] for at in range(3))
        line = _draw_line(i, name, ns, rewards)
        traces.append({**line, "error_y": _draw_errors(rewards, lows, highs)})
    chart = stack_panels(traces, "Best of n, picked by the reward model", "n (answers)")
    chart["layout"]["xaxis"].update(type="log", tickvals=ns, ticktext=[f"{n:g}" for n in ns])
    return chart


def draw_reliability(report: RewardModelMetrics) -> Plot:
    """Draw the share that is right over the reward model's confidence; the diagonal is perfect.

    Without held-out rows, the diagonal is alone.
    """
    bins = report.get("reliability", [])
    perfect = {
        "type": "scatter",
        "mode": "lines",
        "name": "perfect",
        "x": [0.5, 1],
        "y": [0.5, 1],
        "line": {"color": GREY, "dash": "dash"},
    }
    x, y = ([each[key] for each in bins] for key in ("mean_probability", "share_right"))
    model = {
        **_draw_line(0, "reward model", x, y),
        "mode": "lines+markers+text",
        "text": [f"n={each['n']}" for each in bins],
        "textposition": "top center",
        "cliponaxis": False,
    }
    chart = figure([perfect, model], "Calibration on held-out prompts", "confidence", "share right")
    chart["layout"]["xaxis"]["range"] = [0.48, 1.02]
    chart["layout"]["yaxis"]["range"] = [0, 1.05]
    return chart


def draw_accuracy(report: RewardModelMetrics) -> Plot:
    """Draw the reward model's accuracy with its intervals: beside floors, by factor and edge."""
    whole: dict[str, Estimate] = {}
    if "accuracy" in report:
        whole["all"] = CountedEstimate(**report["accuracy"], n=report["n"])
    if "length_matched" in report:
        whole["like length"] = report["length_matched"]
    floors = {name.replace("_", " "): floor for name, floor in report.get("floors", {}).items()}
    edges = {name.replace("-vs-", "<br>over "): n for name, n in report.get("by_edge", {}).items()}
    groups: tuple[Group, ...] = (
        ("reward model", whole, BLUE, "circle"),
        ("reads nothing", floors, ORANGE, "diamond-open"),
        ("by factor", report.get("by_factor", {}), GREEN, "square"),
        ("by edge", edges, PURPLE, "triangle-up"),
    )
    title = "Accuracy on held-out prompts, 95 % intervals"
    return _draw_groups(groups, title, "accuracy")


def draw_rule_audit(report: RuleAudit) -> Plot:
    """Draw how often reward models agree with what they were trained without, by the best floor.

    What could not be tested is left out.
    """
    agreement, floors = {}, {}
    for group in (report["by_edge"], report["by_factor"]):
        for name, found in group.items():
            if "accuracy" in found:
                label = f"{name.replace('-vs-', '<br>over ')} (n={found['n']})"
                agreement[label] = found["accuracy"]
                floors[label] = found["floors"][found["best_floor"]]
    groups = (
        ("reward model trained without it", agreement, BLUE, "circle"),
        ("best of what reads nothing", floors, ORANGE, "diamond-open"),
    )
    chart = _draw_groups(groups, "Agreement with rules left out, 95 % intervals", "agreement")
    # Both of a rule side by side, not on top of one another.
    chart["layout"]["scattermode"] = "group"
    for trace in chart["data"]:
        trace["orientation"] = "h"
    return chart


def _draw_groups(groups: Sequence[Group], title: str, x: str) -> Plot:
    traces = [draw_shares(*group) for group in groups]
    chart = figure(traces, title, x, "comparisons")
    chart["layout"]["xaxis"]["range"] = [0, 1]
    chart["layout"]["yaxis"].update(autorange="reversed", automargin=True)
    # Plotly leaves out labels that have no room.
    chart["layout"]["height"] = max(450, 50 * sum(len(trace["y"]) for trace in traces))
    even = {"type": "line", "x0": 0.5, "x1": 0.5, "y0": 0, "y1": 1, "yref": "paper"}
    chart["layout"]["shapes"] = [{**even, "line": {"color": GREY, "dash": "dash"}}]
    return chart


def draw_shares(name: str, shares: Mapping[str, Estimate], color: str, symbol: str) -> Trace:
    """Draw shares with their intervals, one a line; a label says n if there is one."""
    values = [share["value"] for share in shares.values()]
    labels = [
        f"{label} (n={n})" if (n := share.get("n")) is not None else label
        for label, share in shares.items()
    ]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": values,
        "y": labels,
        "marker": {"color": color, "symbol": symbol, "size": 10},
        "error_x": _draw_errors(
            values,
            [share["low"] for share in shares.values()],
            [share["high"] for share in shares.values()],
        ),
    }


def _draw_line(i: int, name: str, x: Sequence[float], y: Sequence[float]) -> Trace:
    color = PALETTE[i % len(PALETTE)]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": name,
        "x": list(x),
        "y": list(y),
        "line": {"color": color, "dash": DASHES[i % len(DASHES)]},
        "marker": {"color": color, "symbol": SYMBOLS[i % len(SYMBOLS)]},
    }


def _draw_errors(
    values: Sequence[float], lows: Sequence[float], highs: Sequence[float]
) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [high - value for value, high in zip(values, highs, strict=True)],
        "arrayminus": [value - low for value, low in zip(values, lows, strict=True)],
    }
