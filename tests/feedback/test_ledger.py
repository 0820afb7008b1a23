"""Which rows enter the ledger, and with which columns."""

from typing import Any

import pytest

from almost_kedro.feedback.ledger import Rules, Verdict, enter, other_rules, summarise_ledger
from almost_kedro.rows import Ledger, LedgerRow

SHORT = Verdict("rule_12_short", "7 characters")
WELL = Verdict("rule_12_well", "starts with 'Well, '")


def test_verdict_keeps_by_default() -> None:
    assert Verdict().kept
    assert not SHORT.kept


@pytest.mark.parametrize(("rules", "other"), [("original", "corrected"), ("corrected", "original")])
def test_other_rules_are_those_not_in_force(rules: Rules, other: Rules) -> None:
    assert other_rules(rules) == other


@pytest.mark.parametrize("rules", ["original", "corrected"])
def test_row_that_both_rule_sets_keep_is_not_entered(rules: Rules) -> None:
    assert enter("r1", rules, Verdict(), Verdict()) == []
    assert enter("r1", rules, Verdict()) == []


@pytest.mark.parametrize(
    ("rules", "in_force", "other", "columns"),
    [
        ("original", SHORT, Verdict(), ("rule_12_short", "rule_12_short", "ok")),
        ("corrected", SHORT, Verdict(), ("rule_12_short", "ok", "rule_12_short")),
        ("original", Verdict(), SHORT, ("ok", "ok", "rule_12_short")),
        ("corrected", Verdict(), SHORT, ("ok", "rule_12_short", "ok")),
        ("original", SHORT, WELL, ("rule_12_short", "rule_12_short", "rule_12_well")),
        ("corrected", SHORT, WELL, ("rule_12_short", "rule_12_well", "rule_12_short")),
        ("original", SHORT, None, ("rule_12_short", "rule_12_short", "rule_12_short")),
        ("corrected", SHORT, None, ("rule_12_short", "rule_12_short", "rule_12_short")),
    ],
)
def test_row_that_a_rule_set_drops_is_entered_with_both_verdicts(
    rules: Rules, in_force: Verdict, other: Verdict | None, columns: tuple[str, str, str]
) -> None:
    rows: Any = enter("r1", rules, in_force, other)
    assert [(row["rule"], row["original"], row["corrected"]) for row in rows] == [columns]
    assert rows[0]["row_id"] == "r1"
    assert rows[0]["detail"] == "7 characters"
    assert Ledger().validate(rows)


def test_row_that_is_in_no_dataset_names_its_parents() -> None:
    (row,) = enter("r1", "corrected", SHORT, parent_ids=["p", "a", "b"])
    assert row["parent_ids"] == ["p", "a", "b"]
    (row,) = enter("r1", "corrected", SHORT)
    assert row["parent_ids"] == []


def make_row(rule: str, original: str, corrected: str) -> LedgerRow:
    return LedgerRow(
        row_id="r", rule=rule, detail="", original=original, corrected=corrected, parent_ids=[]
    )


def test_summary_counts_drops_a_rule_and_rows_on_which_the_sets_differ() -> None:
    ledger = [
        make_row("b", "b", "b"),
        make_row("a", "a", "ok"),
        make_row("b", "b", "a"),
        make_row("ok", "ok", "b"),
    ]
    summary = summarise_ledger(ledger)
    assert summary == {"n_dropped": 3, "dropped_a": 1, "dropped_b": 2, "rules_differ": 2}


def test_summary_of_an_empty_ledger_is_zero() -> None:
    assert summarise_ledger([]) == {"n_dropped": 0, "rules_differ": 0}
