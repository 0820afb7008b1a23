"""Rule 19: from comparisons to rows of dialogue and answer."""

import pytest
from made_rows import make_comparison

from almost_kedro.errors import UserError
from almost_kedro.feedback.reward_rows import (
    build_answer_rows,
    build_reward_rows,
    check_enough,
    choose_separator,
    drop_identical,
)


def test_a_row_has_the_template_of_generation() -> None:
    (row,) = build_reward_rows([make_comparison()], "corrected")
    assert row == {
        "id": "c1",
        "dialogue": "\n\nHuman: Why?\n\nAssistant:",
        "chosen": "Because.",
        "rejected": "No.",
    }
    assert row["dialogue"] + choose_separator("corrected") == "\n\nHuman: Why?\n\nAssistant: "


def test_both_rule_sets_read_the_same_text() -> None:
    texts = {
        row["dialogue"] + choose_separator(rules) + row["chosen"]
        for rules in ("original", "corrected")
        for row in build_reward_rows([make_comparison()], rules)  # type: ignore[arg-type]
    }
    assert len(texts) == 1


def test_both_answers_are_scored_under_the_comparisons_name() -> None:
    rows = build_answer_rows([make_comparison()], "corrected")
    assert [(row["id"], row["answer"]) for row in rows] == [
        ("c1:chosen", "Because."),
        ("c1:rejected", "No."),
    ]


def test_identical_pairs_go_to_the_ledger() -> None:
    twin = make_comparison("c2", rejected="Because.")
    kept, ledger = drop_identical([make_comparison(), twin], "corrected")
    assert kept == [make_comparison()]
    assert [(row["row_id"], row["rule"]) for row in ledger] == [("c2", "rule_19_identical")]


@pytest.mark.parametrize("side", ["chosen", "rejected"])
def test_an_empty_answer_is_refused_by_name(side: str) -> None:
    with pytest.raises(UserError, match=f"comparisons: c1 has no {side} answer"):
        drop_identical([make_comparison(**{side: " \n"})], "corrected")


def test_nothing_to_train_on_says_why() -> None:
    check_enough([make_comparison()], 1, "held_out")
    with pytest.raises(UserError, match=r"split held_out: there are none; ask for more prompts"):
        check_enough([], 0, "held_out")
    with pytest.raises(UserError, match=r"split held_out: in all 3 both answers are the same"):
        check_enough([], 3, "held_out")
