"""What the two rule sets would do, and what each rule is in words."""

import re
from pathlib import Path

from almost_kedro.pages.report.rule_sets import (
    RULES,
    sample_rule_sets,
    tabulate_drops,
    tabulate_rule_sets,
)
from almost_kedro.rows.feedback import LedgerRow


def make_row(number: int, rule: str, original: str, corrected: str, detail: str = "") -> LedgerRow:
    return LedgerRow(
        row_id=f"r{number}",
        rule=rule,
        detail=detail,
        original=original,
        corrected=corrected,
        parent_ids=[],
    )


LEDGERS = {
    "ledger_responses": [
        *(make_row(i, "ok", "rule_12_unfinished", "ok", f"found {i}") for i in range(9)),
        make_row(9, "rule_12_well", "rule_12_well", "rule_12_well"),
        make_row(10, "rule_12_empty", "rule_12_unfinished", "rule_12_empty"),
    ],
    "ledger_self_play": [make_row(0, "ok", "ok", "ok", "x" * 1_000_000)],
}


def test_rows_that_only_one_set_drops_are_counted_by_rule() -> None:
    assert tabulate_rule_sets(LEDGERS).rows == (
        (
            "responses",
            "dropped: an answer that ends within a sentence (rule_12_unfinished)",
            "kept",
            "9",
        ),
        # Both keep it, with another text.
        ("self play", "kept", "kept", "1"),
    )


def test_a_few_rows_are_shown_from_the_first_to_the_last_and_long_findings_are_cut() -> None:
    rows = sample_rule_sets(LEDGERS).rows
    assert [row[0] for row in rows] == ["r0", "r4", "r8", "r0"]
    assert rows[1] == ("r4", "responses", "rule_12_unfinished", "kept", "found 4")
    assert rows[3][4] == "x" * 200 + " [... 1,000,000 characters in all]"


def test_what_is_dropped_by_the_rules_in_force_is_explained() -> None:
    assert tabulate_drops(LEDGERS).rows == (
        ("responses", "rule_12_well", "an answer that starts with 'well'", "1"),
        ("responses", "rule_12_empty", "an answer of nothing", "1"),
    )


def test_every_rule_of_the_code_is_explained(project: Path) -> None:
    found = set()
    for file in (project / "src/almost_kedro/feedback").glob("*.py"):
        found |= set(re.findall(r'"((?:rule_\d+|matched)_[a-z_]+)"', file.read_text()))
    assert len(found) > 20
    assert found <= set(RULES)
