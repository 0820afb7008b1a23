"""Length control: a reward model must not learn that longer is better (rule 17 and ours).

`heuristic` is the original's rule 17. `matched` is ours: it selects pairs of like length, balanced
within each rubric edge. It cuts no answer: that only trades "longer wins" for "shorter wins".
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from statistics import mean, pstdev

from almost_kedro.feedback.ledger import RuleVerdict
from almost_kedro.options.rules import Rules
from almost_kedro.rows.feedback import Comparison


def check_heuristic(chosen: str, rejected: str, usable: Sequence[str], rules: Rules) -> RuleVerdict:
    """Rule 17: skip a pair whose chosen answer is suspiciously short.

    original: shorter than the rejected one *and* shorter than mean - std / 2 of the prompt's usable
        answers (characters, population std).
    corrected: the same, but only with at least three usable answers. The shorter of two always lies
        below that bound, so the rule would say "longer wins".
    """
    if rules == "corrected" and len(usable) < 3:
        return RuleVerdict()
    lengths = [len(answer) for answer in usable]
    bound = mean(lengths) - pstdev(lengths) / 2
    if len(chosen) < len(rejected) and len(chosen) < bound:
        return RuleVerdict(
            "rule_17_heuristic",
            f"chosen {len(chosen)} < rejected {len(rejected)} and < {bound:.0f} characters",
        )
    return RuleVerdict()


def check_like_length(chosen: str, rejected: str, tolerance: float) -> RuleVerdict:
    """`matched`, first half: skip a pair whose lengths differ by too much, or not at all.

    `tolerance` is the largest difference in characters, as a share of the longer answer. Pairs of
    equal length cannot be balanced: with them, "longer wins" would be right more often than not
    where it decides at all.
    """
    difference = length_difference(chosen, rejected)
    if difference == 0:
        return RuleVerdict("matched_tie", f"both {len(chosen)} characters: on neither side")
    if abs(difference) > tolerance:
        return RuleVerdict(
            "matched_length",
            f"chosen {len(chosen)}, rejected {len(rejected)} characters: "
            f"{abs(difference):.0%} apart, at most {tolerance:.0%}",
        )
    return RuleVerdict()


def length_difference(chosen: str, rejected: str) -> float:
    """Return (chosen - rejected) / the longer one, in characters."""
    return (len(chosen) - len(rejected)) / max(len(chosen), len(rejected))


def balance_edges(comparisons: Sequence[Comparison]) -> dict[str, RuleVerdict]:
    """`matched`, second half: on each rubric edge, the chosen answer is the longer one in half.

    Each pair of the scarcer side keeps the partner on the other side with the closest difference in
    length. Pairs without a partner are dropped. So the two sides have about the same differences,
    with opposite signs. Returns the verdicts of the dropped pairs, by comparison_id.
    """
    edges = defaultdict(list)
    for row in comparisons:
        edges[row["chosen_assistant"], row["rejected_assistant"]].append(row)
    dropped: dict[str, RuleVerdict] = {}
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
            dropped[row["comparison_id"]] = RuleVerdict(
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
