"""What the charts of training and reward models show; plotly itself reads every description."""

import json
from typing import Any

import plotly.graph_objects as go
import pytest
from made_rows import make_pair

from almost_kedro.charts.training import (
    draw_accuracy,
    draw_best_of_n,
    draw_reliability,
    draw_training_curve,
)
from almost_kedro.evaluation.reward_report import report_reward_model

CURVE = [
    {"step": 1, "loss": 0.7},
    {"step": 2, "loss": 0.6, "accuracy": 0.5},
    {"step": 3, "loss": 0.5, "accuracy": 0.75},
]
BEST_OF_N: list[dict[str, float]] = [
    {
        "n": n,
        "reward": n / 2,
        "reward_low": n / 2 - 0.25,
        "reward_high": n / 2 + 0.5,
        "held_out_reward": 1.0,
        "held_out_low": 0.5,
        "held_out_high": 1.25,
    }
    for n in (1, 2, 4)
]
REPORT = report_reward_model(
    [
        make_pair("1", 100, 50),
        make_pair("2", 100, 95, factors=["shots"], edge="BC"),
        make_pair("3", 95, 100, factors=["shots"], edge="BC"),
    ],
    {"1": 2.0, "2": 1.0, "3": -1.0},
    [],
    seed=0,
    tolerance=0.1,
)
EMPTY = {"n": 0, "n_prompts": 0}


def test_each_metric_has_a_panel_over_the_steps_that_logged_it() -> None:
    chart = draw_training_curve(CURVE, "Reward model")
    loss, accuracy = chart["data"]
    assert (loss["name"], loss["x"], loss["y"]) == ("loss", [1, 2, 3], [0.7, 0.6, 0.5])
    assert (accuracy["name"], accuracy["x"], accuracy["y"]) == ("accuracy", [2, 3], [0.5, 0.75])
    assert (loss["yaxis"], accuracy["yaxis"]) == ("y", "y2")
    assert chart["layout"]["title"]["text"] == "Reward model"


def test_panels_do_not_overlap_and_share_the_steps_below_the_last() -> None:
    layout = draw_training_curve(CURVE, "")["layout"]
    assert layout["yaxis"]["domain"] == pytest.approx([0.53, 1])
    assert layout["yaxis2"]["domain"] == pytest.approx([0, 0.47])
    assert layout["xaxis"]["anchor"] == "y2"
    assert layout["yaxis2"]["title"]["text"] == "accuracy"


def test_best_of_n_has_both_rewards_with_their_intervals() -> None:
    chart = draw_best_of_n(BEST_OF_N)
    reward, held_out = chart["data"]
    assert (reward["x"], reward["y"]) == ([1, 2, 4], [0.5, 1, 2])
    assert reward["error_y"]["array"] == [0.5] * 3
    assert reward["error_y"]["arrayminus"] == [0.25] * 3
    assert (held_out["name"], held_out["y"]) == ("held-out reward", [1, 1, 1])
    assert held_out["error_y"]["array"] == [0.25] * 3
    assert held_out["error_y"]["arrayminus"] == [0.5] * 3
    assert chart["layout"]["xaxis"]["ticktext"] == ["1", "2", "4"]


def test_reliability_is_drawn_against_the_diagonal() -> None:
    perfect, model = draw_reliability(REPORT)["data"]
    assert perfect["x"] == perfect["y"] == [0.5, 1]
    assert len(model["x"]) == 1
    assert model["y"] == [pytest.approx(2 / 3)]
    assert model["text"] == ["n=3"]


def test_accuracy_stands_beside_floors_factors_and_edges() -> None:
    model, floors, factors, edges = draw_accuracy(REPORT)["data"]
    assert model["y"] == ["all (n=3)", "like length (n=2)"]
    assert model["x"] == [pytest.approx(2 / 3), 0.5]
    assert floors["y"] == ["longer wins", "shorter wins", "surface"]
    assert factors["y"] == ["shots (n=2)", "size (n=1)"]
    assert edges["y"] == ["A<br>over B (n=1)", "B<br>over C (n=2)"]
    assert edges["error_x"]["array"] == [0, 0.5]
    assert edges["error_x"]["arrayminus"] == [0, 0.5]


def test_series_differ_without_colour() -> None:
    dashes = [line["line"]["dash"] for line in draw_best_of_n(BEST_OF_N)["data"]]
    assert len(set(dashes)) == 2
    symbols = [dots["marker"]["symbol"] for dots in draw_accuracy(REPORT)["data"]]
    assert len(set(symbols)) == 4


@pytest.mark.parametrize(
    "chart",
    [
        draw_training_curve(CURVE, "Training"),
        draw_training_curve([{"step": 1, **{f"m{i}": i for i in range(7)}}], "Seven metrics"),
        draw_training_curve([], "Nothing yet"),
        draw_best_of_n(BEST_OF_N),
        draw_best_of_n([]),
        draw_reliability(REPORT),
        draw_reliability(EMPTY),
        draw_accuracy(REPORT),
        draw_accuracy(EMPTY),
    ],
)
def test_plotly_reads_the_chart_from_strict_json(chart: dict[str, Any]) -> None:
    drawn = go.Figure(json.loads(json.dumps(chart, allow_nan=False)))
    assert drawn.layout.title.text
    assert drawn.layout.xaxis.title.text
