"""The ledger: what became of every row that a filter looked at, under both rule sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from almost_kedro.options.rules import Rules
from almost_kedro.rows.feedback import LedgerRow

KEPT = "ok"


@dataclass(frozen=True)
class RuleVerdict:
    """A rule's decision on a row: "ok" or the rule's id, and what it found."""

    rule: str = KEPT
    detail: str = ""

    @property
    def kept(self) -> bool:
        """True if the row stays."""
        return self.rule == KEPT


def check_served(finish_reason: str) -> RuleVerdict:
    """Drop what no model answered: a server refused the request, or withheld the answer."""
    if finish_reason == "refused":
        return RuleVerdict(
            "server_refused", "a server refused the request; the log has what it said"
        )
    if finish_reason == "withheld":
        return RuleVerdict("server_withheld", "a server's content filter kept the answer back")
    return RuleVerdict()


def other_rules(rules: Rules) -> Rules:
    """Return the rule set that is not in force."""
    return "corrected" if rules == "original" else "original"


def make_ledger_rows(
    row_id: str,
    rules: Rules,
    in_force: RuleVerdict,
    other: RuleVerdict | None = None,
    note: str = "",
    parent_ids: Sequence[str] = (),
) -> list[LedgerRow]:
    """Enter a row if it is dropped, or if the other rule set would treat it differently.

    Returns one ledger row or none.

    Args:
        other: The other set's verdict; None where both sets agree by construction.
        note: How the sets differ on a row that both keep.
        parent_ids: What the row was made of, if no dataset holds it.
    """
    other = other or in_force
    if in_force.kept and other.kept and not note:
        return []
    verdicts = {rules: in_force.rule, other_rules(rules): other.rule}
    return [
        LedgerRow(
            row_id=row_id,
            rule=in_force.rule,
            detail=in_force.detail or other.detail or note,
            original=verdicts["original"],
            corrected=verdicts["corrected"],
            parent_ids=list(parent_ids),
        )
    ]


def summarise_ledger(ledger: Sequence[LedgerRow]) -> dict[str, int]:
    """Count drops by rule, and the rows that the two rule sets treat differently.

    These are rows that only one set keeps, and entered rows that both keep: their texts differ.
    """
    counts = Counter(row["rule"] for row in ledger if row["rule"] != KEPT)
    differ = sum(KEPT in (row["original"], row["corrected"]) for row in ledger)
    return {
        "n_dropped": sum(counts.values()),
        **{f"dropped_{rule}": n for rule, n in sorted(counts.items())},
        "rules_differ": differ,
    }
