"""Rule 25: what a user's pairs must be, and which comparisons an as-is reward model drops."""

import math
from collections.abc import Mapping
from typing import Any

import pytest
from made_rows import make_comparison, make_splits

from almost_kedro.errors import UserError
from almost_kedro.feedback.ledger import summarise_ledger
from almost_kedro.feedback.post_validation import (
    build_pair_rows,
    check_left,
    check_pairs,
    drop_disagreements,
    select_distinct,
    summarise_validation,
)
from almost_kedro.feedback.reward_rows import build_reward_rows
from almost_kedro.rows.training import AsIsPair

GOOD = {"prompt": "Why?", "chosen": "Because.", "rejected": "No."}
SAME = {"prompt": "Why?", "chosen": "No.", "rejected": "No."}


def check(*rows: tuple[int, Mapping[str, Any]], limit: int | None = None) -> list[AsIsPair]:
    return check_pairs(rows, "pairs.jsonl", "line", limit)


def explain(*rows: tuple[int, Mapping[str, Any]]) -> str:
    with pytest.raises(UserError) as error:
        check(*rows)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_pairs_are_named_after_their_lines_and_lose_other_fields() -> None:
    assert check((1, GOOD), (4, {**GOOD, "source": "forum"})) == [
        {"pair_id": "as_is_1", **GOOD},
        {"pair_id": "as_is_4", **GOOD},
    ]


def test_only_the_first_pairs_are_read() -> None:
    assert len(check((1, GOOD), (2, GOOD), (3, {}), limit=2)) == 2


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "Why?", "chosen": "So."}, "rejected is missing; found prompt, chosen"),
        ({}, "prompt is missing; found no fields"),
        ({**GOOD, "chosen": ["So."]}, "chosen is not a text; found ['So.']"),
        ({**GOOD, "prompt": None}, "prompt is not a text; found None"),
        ({**GOOD, "rejected": " \n"}, "rejected is empty"),
    ],
)
def test_a_row_without_a_text_is_named_by_line_and_field(row: dict[str, Any], said: str) -> None:
    message = explain((1, GOOD), (3, row))
    assert message == (
        f"pairs.jsonl, line 3: {said}; each row needs prompt, chosen and rejected, as texts"
    )


def test_pairs_that_teach_nothing_are_refused() -> None:
    assert explain().startswith("pairs.jsonl: no rows; give pairs that")
    assert explain((1, SAME), (2, SAME)).startswith(
        "pairs.jsonl: chosen and rejected are the same in all 2 rows; "
    )


def test_identical_pairs_are_left_out() -> None:
    assert [pair["pair_id"] for pair in select_distinct(check((1, SAME), (2, GOOD)))] == ["as_is_2"]


def test_pairs_have_the_template_of_comparisons() -> None:
    (row,) = build_pair_rows(check((7, GOOD)), "corrected")
    assert row == {**build_reward_rows([make_comparison(**GOOD)], "corrected")[0], "id": "as_is_7"}


def test_a_comparison_with_a_margin_below_0_is_dropped_into_the_ledger() -> None:
    rows = [make_comparison(name) for name in "abc"]
    kept, ledger = drop_disagreements(rows, {"a": 0.5, "b": -0.25, "c": 0.0}, "corrected")
    assert [row["comparison_id"] for row in kept] == ["a", "c"]
    assert ledger == [
        {
            "row_id": "b",
            "rule": "rule_25_post_validation",
            "detail": "as-is reward of chosen - rejected = -0.2500",
            "original": "rule_25_post_validation",
            "corrected": "rule_25_post_validation",
            "parent_ids": [],
        }
    ]
    assert summarise_ledger(ledger)["dropped_rule_25_post_validation"] == 1


@pytest.mark.parametrize("margin", [math.nan, math.inf, -math.inf])
def test_a_margin_that_is_no_number_is_refused_with_its_comparison(margin: float) -> None:
    with pytest.raises(ValueError, match=f"comparison c1: the as-is margin is {margin}"):
        drop_disagreements([make_comparison()], {"c1": margin}, "corrected")


def test_a_split_that_loses_all_its_comparisons_is_named() -> None:
    rows = [make_comparison(f"c{i}", prompt_id=f"p{i}") for i in range(3)]
    splits = make_splits({"p0": "reward_model", "p1": "held_out", "p2": "held_out"})
    check_left(rows, rows[:2], splits)
    with pytest.raises(UserError, match=r"all 2 comparisons of split held_out; look at its pairs"):
        check_left(rows, rows[:1], splits)


def test_summary_counts_edges_and_longer_chosen_answers() -> None:
    rows = [
        make_comparison("1", chosen="long", rejected="no"),
        make_comparison("2", chosen="no", rejected="long"),
        make_comparison("3", chosen="long", rejected="no", rejected_assistant="C"),
        make_comparison("4", chosen="no", rejected="long", rejected_assistant="C"),
    ]
    kept, ledger = drop_disagreements(rows, {"1": 1, "2": -1, "3": 1, "4": 1}, "corrected")
    assert summarise_validation(rows, kept, ledger) == {
        "n_before": 4,
        "n_after": 3,
        "n_dropped": 1,
        "dropped_rule_25_post_validation": 1,
        "rules_differ": 0,
        "chosen_longer_before": 0.5,
        "chosen_longer_after": 0.6667,
        "edges": {
            "A-vs-B": {"n_before": 2, "n_after": 1},
            "A-vs-C": {"n_before": 2, "n_after": 2},
        },
    }
    assert summarise_validation([], [], [])["chosen_longer_after"] is None
