"""Length control: what keeps a reward model from learning that longer is better (rule 17 and ours).

`heuristic` is the original's rule 17. `matched` is ours: it selects pairs of like length, balanced
within each rubric edge, and never cuts an answer (cutting the longer one only trades "longer wins"
for "shorter wins").
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from statistics import mean, pstdev

from almost_kedro.feedback.ledger import Rules, Verdict
from almost_kedro.rows import Comparison


def check_heuristic(chosen: str, rejected: str, usable: Sequence[str], rules: Rules) -> Verdict:
    """Rule 17: skip a pair whose chosen answer is suspiciously short.

    original: shorter than the rejected one *and* shorter than mean - std / 2 of the prompt's usable
        answers (characters, population std).
    corrected: the same, from three usable answers on: of two, the shorter one always lies below
        that bound, so the rule would say "longer wins".
    """
    if rules == "corrected" and len(usable) < 3:
        return Verdict()
    lengths = [len(answer) for answer in usable]
    bound = mean(lengths) - pstdev(lengths) / 2
    if len(chosen) < len(rejected) and len(chosen) < bound:
        return Verdict(
            "rule_17_heuristic",
            f"chosen {len(chosen)} < rejected {len(rejected)} and < {bound:.0f} characters",
        )
    return Verdict()


def check_like_length(chosen: str, rejected: str, tolerance: float) -> Verdict:
    """`matched`, first half: skip a pair whose lengths differ by too much, or not at all.

    A pair of one length is on neither side of the balance: with such pairs, "longer wins" would be
    right more often than not on those where it says anything.

    Args:
        chosen: An answer.
        rejected: Another.
        tolerance: Largest difference in characters, as a share of the longer one.
    """
    difference = length_difference(chosen, rejected)
    if difference == 0:
        return Verdict("matched_tie", f"both {len(chosen)} characters: on neither side")
    if abs(difference) > tolerance:
        return Verdict(
            "matched_length",
            f"chosen {len(chosen)}, rejected {len(rejected)} characters: "
            f"{abs(difference):.0%} apart, at most {tolerance:.0%}",
        )
    return Verdict()


def length_difference(chosen: str, rejected: str) -> float:
    """Return (chosen - rejected) / the longer one, in characters."""
    return (len(chosen) - len(rejected)) / max(len(chosen), len(rejected))


def balance_edges(comparisons: Sequence[Comparison]) -> dict[str, Verdict]:
    """`matched`, second half: on each rubric edge, the chosen answer is the longer one in half.

    Each pair of the scarcer side keeps the partner on the other side whose difference in length is
    closest to its own; what finds no partner is dropped. So the two sides have about the same
    differences, with opposite signs.

    Returns:
        Verdicts of the dropped, by comparison_id.
    """
    edges = defaultdict(list)
    for row in comparisons:
        edges[row["chosen_assistant"], row["rejected_assistant"]].append(row)
    dropped: dict[str, Verdict] = {}
    for (better, worse), rows in edges.items():
        longer = [row for row in rows if _difference(row) > 0]
        others = [row for row in rows if _difference(row) <= 0]
        few, many = sorted((longer, others), key=len)
        free = sorted(many, key=_size)
        for row in sorted(few, key=_size, reverse=True):
            at = bisect_left(free, _size(row)[0], key=lambda other: _size(other)[0])
            nearby = range(max(at - 1, 0), min(at + 1, len(free)))
            free.pop(min(nearby, key=lambda i: abs(_size(free[i])[0] - _size(row)[0])))
        side = "longer" if many is longer else "not longer"
        for row in free:
            dropped[row["comparison_id"]] = Verdict(
                "matched_balance",
                f"{better} over {worse}: {len(longer)} pairs with the longer answer chosen, "
                f"{len(others)} without; this one ({side}) has no partner",
            )
    return dropped


def _difference(row: Comparison) -> float:
    return length_difference(row["chosen"], row["rejected"])


def _size(row: Comparison) -> tuple[float, str]:
    """Order rows by the size of their difference; ids decide between equals."""
    return abs(_difference(row)), row["comparison_id"]
