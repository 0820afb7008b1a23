"""Which rows enter the ledger, and with which columns."""

from typing import Any

import pytest
from made_rows import make_ledger_row

from almost_kedro.feedback.ledger import (
    RuleVerdict,
    make_ledger_rows,
    other_rules,
    summarise_ledger,
)
from almost_kedro.options.rules import Rules
from almost_kedro.rows.feedback import Ledger

SHORT = RuleVerdict("rule_12_short", "7 characters")
WELL = RuleVerdict("rule_12_well", "starts with 'Well, '")


def test_verdict_keeps_by_default() -> None:
    assert RuleVerdict().kept
    assert not SHORT.kept


@pytest.mark.parametrize(("rules", "other"), [("original", "corrected"), ("corrected", "original")])
def test_other_rules_are_those_not_in_force(rules: Rules, other: Rules) -> None:
    assert other_rules(rules) == other


@pytest.mark.parametrize("rules", ["original", "corrected"])
def test_row_that_both_rule_sets_keep_is_not_entered(rules: Rules) -> None:
    assert make_ledger_rows("r1", rules, RuleVerdict(), RuleVerdict()) == []
    assert make_ledger_rows("r1", rules, RuleVerdict()) == []


@pytest.mark.parametrize(
    ("rules", "in_force", "other", "columns"),
    [
        ("original", SHORT, RuleVerdict(), ("rule_12_short", "rule_12_short", "ok")),
        ("corrected", SHORT, RuleVerdict(), ("rule_12_short", "ok", "rule_12_short")),
        ("original", RuleVerdict(), SHORT, ("ok", "ok", "rule_12_short")),
        ("corrected", RuleVerdict(), SHORT, ("ok", "rule_12_short", "ok")),
        ("original", SHORT, WELL, ("rule_12_short", "rule_12_short", "rule_12_well")),
        ("corrected", SHORT, WELL, ("rule_12_short", "rule_12_well", "rule_12_short")),
        ("original", SHORT, None, ("rule_12_short", "rule_12_short", "rule_12_short")),
        ("corrected", SHORT, None, ("rule_12_short", "rule_12_short", "rule_12_short")),
    ],
)
def test_row_that_a_rule_set_drops_is_entered_with_both_verdicts(
    rules: Rules, in_force: RuleVerdict, other: RuleVerdict | None, columns: tuple[str, str, str]
) -> None:
    rows: Any = make_ledger_rows("r1", rules, in_force, other)
    assert [(row["rule"], row["original"], row["corrected"]) for row in rows] == [columns]
    assert rows[0]["row_id"] == "r1"
    assert rows[0]["detail"] == "7 characters"
    assert Ledger().validate(rows)


def test_row_that_is_in_no_dataset_names_its_parents() -> None:
    (row,) = make_ledger_rows("r1", "corrected", SHORT, parent_ids=["p", "a", "b"])
    assert row["parent_ids"] == ["p", "a", "b"]
    (row,) = make_ledger_rows("r1", "corrected", SHORT)
    assert row["parent_ids"] == []


def test_summary_counts_drops_a_rule_and_rows_on_which_the_sets_differ() -> None:
    ledger = [
        make_ledger_row(rule="b"),
        make_ledger_row(rule="a", corrected="ok"),
        make_ledger_row(rule="b", corrected="a"),
        make_ledger_row(rule="ok", corrected="b"),
    ]
    summary = summarise_ledger(ledger)
    assert summary == {"n_dropped": 3, "dropped_a": 1, "dropped_b": 2, "rules_differ": 2}


def test_summary_of_an_empty_ledger_is_zero() -> None:
    assert summarise_ledger([]) == {"n_dropped": 0, "rules_differ": 0}
