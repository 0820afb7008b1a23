"""Rule 19: from comparisons to rows of dialogue and answer."""

from typing import Any

import pytest

from almost_kedro.errors import UserError
from almost_kedro.feedback.reward_rows import (
    build_answer_rows,
    build_reward_rows,
    check_enough,
    drop_identical,
    separate,
)
from almost_kedro.rows import Comparison


def make_pair(**fields: Any) -> Comparison:
    row: Any = {
        "comparison_id": "c1",
        "prompt_id": "p1",
        "prompt": "Why?",
        "chosen": "Because.",
        "rejected": "No.",
        "chosen_id": "r1",
        "rejected_id": "r2",
        "chosen_assistant": "a",
        "rejected_assistant": "b",
        "factors": ["shots"],
    }
    return {**row, **fields}


def test_a_row_has_the_template_of_generation() -> None:
    (row,) = build_reward_rows([make_pair()], "corrected")
    assert row == {
        "id": "c1",
        "dialogue": "\n\nHuman: Why?\n\nAssistant:",
        "chosen": "Because.",
        "rejected": "No.",
    }
    assert row["dialogue"] + separate("corrected") == "\n\nHuman: Why?\n\nAssistant: "


def test_both_rule_sets_read_the_same_text() -> None:
    texts = {
        row["dialogue"] + separate(rules) + row["chosen"]
        for rules in ("original", "corrected")
        for row in build_reward_rows([make_pair()], rules)  # type: ignore[arg-type]
    }
    assert len(texts) == 1


def test_both_answers_are_scored_under_the_comparisons_name() -> None:
    rows = build_answer_rows([make_pair()], "corrected")
    assert [(row["id"], row["answer"]) for row in rows] == [
        ("c1:chosen", "Because."),
        ("c1:rejected", "No."),
    ]


def test_identical_pairs_go_to_the_ledger() -> None:
    twin = make_pair(comparison_id="c2", rejected="Because.")
    kept, ledger = drop_identical([make_pair(), twin], "corrected")
    assert kept == [make_pair()]
    assert [(row["row_id"], row["rule"]) for row in ledger] == [("c2", "rule_19_identical")]


@pytest.mark.parametrize("side", ["chosen", "rejected"])
def test_an_empty_answer_is_refused_by_name(side: str) -> None:
    with pytest.raises(UserError, match=f"comparisons: c1 has no {side} answer"):
        drop_identical([make_pair(**{side: " \n"})], "corrected")


def test_nothing_to_train_on_says_why() -> None:
    check_enough([make_pair()], 1, "held_out")
    with pytest.raises(UserError, match=r"split held_out: there are none; ask for more prompts"):
        check_enough([], 0, "held_out")
    with pytest.raises(UserError, match=r"split held_out: in all 3 both answers are the same"):
        check_enough([], 3, "held_out")
