"""The ledger: what became of every row that a filter looked at, under both rule sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from almost_kedro.rows import LedgerRow

Rules = Literal["original", "corrected"]
KEPT = "ok"


@dataclass(frozen=True)
class Verdict:
    """A rule's decision on a row: "ok" or the rule's id, and what it found."""

    rule: str = KEPT
    detail: str = ""

    @property
    def kept(self) -> bool:
        """True if the row stays."""
        return self.rule == KEPT


def check_served(finish_reason: str) -> Verdict:
    """Tell what no model has answered: a server refused the request, or kept its answer back."""
    if finish_reason == "refused":
        return Verdict("server_refused", "a server refused the request; the log has what it said")
    if finish_reason == "withheld":
        return Verdict("server_withheld", "a server's content filter kept the answer back")
    return Verdict()


def other_rules(rules: Rules) -> Rules:
    """Return the rule set that is not in force."""
    return "corrected" if rules == "original" else "original"


def enter(
    row_id: str,
    rules: Rules,
    in_force: Verdict,
    other: Verdict | None = None,
    note: str = "",
    parent_ids: Sequence[str] = (),
) -> list[LedgerRow]:
    """Enter a row if it is dropped or if the other rule set would treat it otherwise.

    Args:
        row_id: The row.
        rules: The rule set in force.
        in_force: Its verdict.
        other: The other set's verdict; None where both sets agree by construction.
        note: How the sets differ on a row that both keep; empty if they don't.
        parent_ids: What the row was made of, if it is in no dataset.

    Returns:
        One row or none.
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
    """Count drops a rule, and the rows that the two rule sets treat differently.

    They differ on a row that one set keeps and the other drops, and on one that both keep, since
    such a row is entered only if its text differs.
    """
    counts = Counter(row["rule"] for row in ledger if row["rule"] != KEPT)
    differ = sum(KEPT in (row["original"], row["corrected"]) for row in ledger)
    return {
        "n_dropped": sum(counts.values()),
        **{f"dropped_{rule}": n for rule, n in sorted(counts.items())},
        "rules_differ": differ,
    }
