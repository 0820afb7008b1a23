"""What is said of mismatched pairs, on pairs counted by hand."""

from typing import Any

import pytest
from made_rows import check

from almost_kedro.evaluation.mismatched_report import report_mismatched
from almost_kedro.options.reward_model import MismatchedOptions
from almost_kedro.rows.training import MismatchedPair

OPTIONS = MismatchedOptions(per_pair=2, weight=0.25)


def make_pair(number: int, chosen: int, rejected: int, **fields: Any) -> MismatchedPair:
    """A pair of so many characters, of a prompt of its own."""
    row = {
        "mismatched_id": f"m{number}",
        "comparison_id": f"c{number}",
        "prompt_id": f"p{number}",
        "prompt": "Why?",
        "chosen": "x" * chosen,
        "rejected": "x" * rejected,
        "chosen_id": f"a{number}",
        "rejected_id": "a9",
        "rejected_prompt_id": "p9",
    }
    return check(MismatchedPair, row | fields)


def test_lengths_are_those_of_all_pairs_and_accuracies_those_of_the_held_out_ones() -> None:
    pairs = [make_pair(1, 10, 8), make_pair(2, 8, 10), make_pair(3, 5, 5), make_pair(4, 10, 5)]
    margins = {"reward": {"m1": 1.0, "m2": 0.5}, "held_out": {"m1": -1.0, "m2": 0.5}}
    report = report_mismatched(pairs, margins, OPTIONS, seed=0)
    accuracy = report.pop("accuracy")
    assert report == {
        "n_pairs": 4,
        "n_held_out": 2,
        "per_pair": 2,
        "weight": 0.25,
        "chosen_longer": 0.5,
        "length_difference": pytest.approx((0.2 + 0.2 + 0 + 0.5) / 4),
    }
    assert {name: found["value"] for name, found in accuracy.items()} == {
        "reward": 1.0,
        "held_out": 0.5,
    }


def test_without_held_out_pairs_there_is_no_accuracy() -> None:
    report = report_mismatched([make_pair(1, 2, 3)], {"reward": {}, "held_out": {}}, OPTIONS, 0)
    assert (report["n_held_out"], report["accuracy"]) == (0, {})
