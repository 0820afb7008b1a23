"""The chart of all models: what it shows is what the metrics say, and plotly takes it."""

from itertools import pairwise
from typing import Any

import plotly.graph_objects as go

from almost_kedro.charts.evaluation import draw_models


def share(value: float) -> dict[str, Any]:
    return {"accuracy": {"value": value, "low": value - 0.1, "high": value + 0.1}}


WIN = {"value": 0.7, "low": 0.6, "high": 0.8}
METRICS = {
    "hhh": {
        "n": 56,
        "models": {"base": share(0.4), "sft": share(0.5), "reward_model": share(0.6)},
        "floors": {"longer_wins": share(0.45)},
    },
    "hhh_likelihood": {"n": 56, "models": {"base": share(0.35)}, "floors": {}},
    "hhh_per_token": {"n": 56, "models": {"base": share(0.55)}, "floors": {}},
    "mc1": {
        "n": 40,
        "models": {"base": share(0.2), "sft": share(0.3)},
        "floors": {"chance": share(0.25)},
    },
    "questions": {
        "n": 12,
        "cards": {
            "sft-vs-base": {"model_a": "sft", "model_b": "base", "win_rate": WIN},
            "rl-vs-sft": {"model_a": "rl", "model_b": "sft", "win_rate": WIN},
            "rl-vs-base": {"model_a": "rl", "model_b": "base", "win_rate": None},
        },
    },
}


def test_each_benchmark_has_a_panel_with_models_and_floors() -> None:
    chart = draw_models(METRICS)
    go.Figure(chart)
    shown = {(trace["xaxis"], trace["name"]): trace for trace in chart["data"]}
    assert shown["x", "models"]["y"] == ["base", "sft", "reward model"]
    assert shown["x", "models"]["x"] == [0.4, 0.5, 0.6]
    assert shown["x", "reads nothing"]["y"] == ["longer wins"]
    assert [shown[axis, "models"]["x"] for axis in ("x2", "x3")] == [[0.35], [0.55]]
    assert shown["x4", "reads nothing"]["x"] == [0.25]
    assert shown["x5", "models"]["y"] == ["sft"]
    layout = chart["layout"]
    assert layout["xaxis"]["title"]["text"] == "HHH<br>(n=56)"
    assert layout["xaxis5"]["title"]["text"] == "win rate against base<br>(n=12)"
    assert layout["yaxis"]["categoryarray"] == [
        "base",
        "sft",
        "reward model",
        "longer wins",
        "chance",
    ]
    ends = [
        layout[axis]["domain"] for axis in ("xaxis", *(f"xaxis{number}" for number in range(2, 6)))
    ]
    assert all(left[1] < right[0] for left, right in pairwise(ends))
