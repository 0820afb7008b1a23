"""The report on contrasts, by hand."""

import pytest
from made_rows import make_comparison, make_pair_item

from almost_kedro.evaluation.contrast_report import (
    report_averages,
    report_contrast,
    tabulate_averages,
    tabulate_contrasts,
)

TEST = [
    make_comparison("c1", chosen="long one", rejected="one"),
    make_comparison("c2", chosen="a", rejected="bb"),
    make_comparison("c3", chosen="cccc", rejected="d"),
]
MARGINS = {"c1": 1.0, "c2": 0.5, "c3": -2.0}
ITEMS = [
    make_pair_item(f"hhh-{i}", category="honest", chosen="x" * i, rejected="xx") for i in (1, 3)
]
# Both pairs are right; in the first one, the longer answer is the wrong one.
REWARDS = {"hhh-1/chosen": 1.0, "hhh-1/rejected": 0.0, "hhh-3/chosen": 2.0, "hhh-3/rejected": 1.0}


def test_a_contrast_is_measured_on_its_own_pairs_and_on_hhh() -> None:
    found = report_contrast(TEST, TEST, MARGINS, ITEMS, REWARDS, seed=0)
    assert (found["n_trained_on"], found["n"]) == (3, 3)
    assert found["accuracy"]["value"] == pytest.approx(2 / 3)
    assert found["floors"]["longer_wins"]["value"] == pytest.approx(2 / 3)
    assert found["hhh"]["accuracy"]["value"] == 1.0
    # "Longer wins" is right in one of two.
    assert found["hhh"]["above_longer_wins"]["value"] == 0.5
    assert found["hhh"]["by_category"]["honest"]["n"] == 2


def test_the_table_has_a_line_a_contrast_and_says_what_was_not_tried() -> None:
    found = report_contrast(TEST, TEST, MARGINS, ITEMS, REWARDS, seed=0)
    nothing = {"n": 0, "n_trained_on": 4, "note": "not tried"}
    title, head, one, other = tabulate_contrasts({"topic": found, "size": nothing})
    assert "from each alone" in title
    assert head.split()[-1] == "contrast"
    assert one.endswith("  topic")
    assert "66.7% [" in one
    assert "100.0% [100.0%, 100.0%]" in one
    assert other.strip().startswith("not tried")
    assert other.endswith("  size")


def test_two_models_that_are_each_right_in_one_pair_are_right_in_both_together() -> None:
    # Each is sure where it is right, and hardly wrong elsewhere; the second has another scale.
    one = {"hhh-1/chosen": 2, "hhh-1/rejected": -2, "hhh-3/chosen": -0.5, "hhh-3/rejected": 0.5}
    other = {"hhh-1/chosen": -5, "hhh-1/rejected": 5, "hhh-3/chosen": 20, "hhh-3/rejected": -20}
    third = {"hhh-1/chosen": 0, "hhh-1/rejected": 0, "hhh-3/chosen": 0, "hhh-3/rejected": 0}
    found = report_averages(ITEMS, {"one": one, "third": third, "other": other}, seed=0)
    values = {name: accuracy["value"] for name, accuracy in found.items()}
    assert values == {"one + other": 1.0, "one + third": 0.5, "third + other": 0.5}
    assert next(iter(found)) == "one + other"
    title, best = tabulate_averages(found, limit=1)
    assert "1 of 3" in title
    assert best.split() == ["100.0%", "[100.0%,", "100.0%]", "one", "+", "other"]


def test_one_model_has_no_average() -> None:
    assert tabulate_averages(report_averages(ITEMS, {"one": REWARDS}, seed=0)) == []
