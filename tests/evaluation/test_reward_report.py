"""The report on a reward model, with margins that are made up."""

import json
import math
from collections.abc import Sequence
from typing import Any

import pytest
from made_rows import make_pair

from almost_kedro.evaluation.reward_report import report_reward_model, report_seeds
from almost_kedro.rows.feedback import Comparison


def report(rows: Sequence[Comparison], margins: Sequence[float], **options: Any) -> dict[str, Any]:
    ids = [row["comparison_id"] for row in rows]
    options = {"train_comparisons": [], "seed": 0, "tolerance": 0.1, **options}
    return report_reward_model(rows, dict(zip(ids, margins, strict=True)), **options)


FOUR = [
    make_pair("1", 100, 50, edge="AB", factors=["shots"]),
    make_pair("2", 100, 95, edge="AC", factors=["shots", "demonstrations"]),
    make_pair("3", 95, 100, edge="AC", factors=["shots", "demonstrations"]),
    make_pair("4", 100, 40, edge="AC", factors=["shots", "demonstrations"]),
]


def test_accuracy_counts_a_tie_as_half() -> None:
    found = report(FOUR, [1.0, -1.0, 0.0, 2.0])
    assert (found["n"], found["n_prompts"]) == (4, 4)
    assert found["accuracy"]["value"] == 2.5 / 4
    assert found["mean_margin"] == 0.5


def test_seeds_are_averaged_pair_by_pair() -> None:
    ids = [row["comparison_id"] for row in FOUR]
    one = dict(zip(ids, [1.0, 1.0, 1.0, -1.0], strict=True))
    other = dict(zip(ids, [1.0, 1.0, -1.0, 1.0], strict=True))
    found = report_seeds(FOUR, [one, other], 0)
    assert (found["n_seeds"], found["accuracies"]) == (2, [0.75, 0.75])
    # Each training alone is wrong about one pair of four: [0.25, 1]. The mean of both moves less.
    assert found["mean"]["value"] == 0.75
    assert 0.5 <= found["mean"]["low"] < 0.75 < found["mean"]["high"] <= 1
    assert report_seeds([], [{}, {}], 0) == {"n_seeds": 2}


def test_floors_stand_beside_the_accuracy() -> None:
    found = report(FOUR, [1.0, -1.0, 0.0, 2.0])
    assert {name: floor["value"] for name, floor in found["floors"].items()} == {
        "longer_wins": 0.75,
        "shorter_wins": 0.25,
        "surface": 0.5,
    }
    assert found["best_floor"] == "longer_wins"
    assert found["above_best_floor"]["difference"] == (2.5 - 3) / 4


def test_surface_floor_learns_from_training_pairs_alone() -> None:
    train = [make_pair(f"t{i}", 50, 100) for i in range(20)]
    found = report(FOUR, [1.0] * 4, train_comparisons=train)
    assert found["floors"]["surface"] == found["floors"]["shorter_wins"]


def test_a_model_that_goes_by_length_is_not_above_the_floor() -> None:
    margins = [float(len(row["chosen"]) - len(row["rejected"])) for row in FOUR]
    assert report(FOUR, margins)["above_best_floor"] == {
        "difference": 0,
        "low_one_sided": 0,
        "low": 0,
        "high": 0,
    }


def test_a_model_that_is_right_where_length_says_nothing_is_above_the_floor() -> None:
    rows = [make_pair(str(i), 100, 110 if i % 2 else 90) for i in range(60)]
    above = report(rows, [1.0] * 60)["above_best_floor"]
    assert above["difference"] == 0.5
    assert 0.3 < above["low"] < above["low_one_sided"] < 0.5 < above["high"] < 0.7


def test_like_lengths_are_those_within_the_tolerance() -> None:
    found = report(FOUR, [1.0, -1.0, 0.0, 2.0])["length_matched"]
    assert (found["n"], found["value"]) == (2, 0.25)


def test_accuracy_is_split_by_factors_and_edge() -> None:
    found = report(FOUR, [1.0, -1.0, 0.0, 2.0])
    one = {"n": 1, "value": 1, "low": 1, "high": 1}
    assert found["by_factor"]["shots"] == found["by_edge"]["A-vs-B"] == one
    assert found["by_factor"]["shots+demonstrations"] == found["by_edge"]["A-vs-C"]
    assert (found["by_edge"]["A-vs-C"]["n"], found["by_edge"]["A-vs-C"]["value"]) == (3, 0.5)


def test_intervals_are_by_prompt() -> None:
    rows = [make_pair(str(i), prompt_id="p") for i in range(4)]
    found = report(rows, [1.0, 1.0, 1.0, -1.0])
    assert found["n_prompts"] == 1
    assert found["accuracy"] == {"value": 0.75, "low": 0.75, "high": 0.75}


def test_calibration_compares_the_margins_sigmoid_with_the_share_right() -> None:
    # log(4) is a confidence of 0.8; 30 of 40 are right.
    rows = [make_pair(str(i)) for i in range(40)]
    found = report(rows, [math.log(4)] * 30 + [-math.log(4)] * 10)
    assert found["calibration_error"] == pytest.approx(0.05)
    assert found["reliability"] == [
        pytest.approx(
            {"low": 0.75, "high": 1, "n": 40, "mean_probability": 0.8, "share_right": 0.75}
        )
    ]


@pytest.mark.parametrize(("n", "bins"), [(10, 1), (50, 2), (199, 9), (1000, 10)])
def test_few_pairs_have_few_bins(n: int, bins: int) -> None:
    found = report([make_pair(str(i)) for i in range(n)], [5 * i / n for i in range(n)])
    assert found["reliability"][0]["high"] == pytest.approx(0.5 + 0.5 / bins)


def test_large_margins_do_no_harm() -> None:
    found = report(FOUR, [1e6, -1e6, 1e300, -1e300])
    assert found["calibration_error"] == 0.5
    json.dumps(found, allow_nan=False)


def test_a_margin_that_is_no_number_is_refused_with_its_comparison() -> None:
    with pytest.raises(ValueError, match="comparison 3: the margin is nan"):
        report(FOUR, [1.0, -1.0, math.nan, 2.0])


def test_no_held_out_rows_leave_only_counts() -> None:
    assert report([], []) == {"n": 0, "n_prompts": 0}


def test_what_has_no_rows_is_left_out() -> None:
    assert "length_matched" not in report(FOUR[:1], [1.0])


def test_report_is_json_of_plain_numbers_and_the_same_each_time() -> None:
    texts = [json.dumps(report(FOUR, [1.0, -1.0, 0.0, 2.0]), allow_nan=False) for _ in range(2)]
    assert texts[0] == texts[1]
