"""What the rule sets `original` and `corrected` would treat differently, from the ledgers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from almost_kedro.feedback.ledger import KEPT
from almost_kedro.pages.report.numbers import Table
from almost_kedro.pages.report.samples import spread
from almost_kedro.rows import LedgerRow

Ledgers = Mapping[str, Sequence[LedgerRow]]
# Rows shown of each ledger.
SAMPLES = 3


def tabulate_rule_sets(ledgers: Ledgers) -> Table:
    """Count rows that one rule set keeps and the other drops, or keeps with another text.

    Args:
        ledgers: By dataset name.
    """
    rows = []
    for name, ledger in ledgers.items():
        counts = Counter((row["original"], row["corrected"]) for row in ledger if differs(row))
        for (original, corrected), n in counts.most_common():
            rows.append((_name_step(name), _show(original), _show(corrected), f"{n:,}"))
    heads = ("step", "original", "corrected", "rows")
    return Table("Rows that the rule sets treat differently", heads, tuple(rows), texts=(1, 2))


def sample_rule_sets(ledgers: Ledgers) -> Table:
    """Show some of these rows, spread evenly over each ledger.

    Args:
        ledgers: By dataset name.
    """
    rows = [
        (row["row_id"], _name_step(name), _show(row["original"]), _show(row["corrected"]), detail)
        for name, ledger in ledgers.items()
        for row in spread([row for row in ledger if differs(row)], SAMPLES)
        for detail in (row["detail"],)
    ]
    heads = ("row", "step", "original", "corrected", "what was found")
    return Table("Some of these rows", heads, tuple(rows), texts=(1, 2, 3, 4))


def differs(row: LedgerRow) -> bool:
    """Say whether only one rule set drops a row, or both keep it with another text."""
    return KEPT in (row["original"], row["corrected"])


def _name_step(ledger: str) -> str:
    return ledger.removeprefix("ledger_").replace("_", " ")


def _show(verdict: str) -> str:
    return "kept" if verdict == KEPT else verdict.replace("_", " ")
