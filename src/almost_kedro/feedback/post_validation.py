"""Post-validation (rule 25): drop comparisons that an as-is reward model disagrees with.

It is trained on existing pairs, hence "as is". The original released no code for it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from statistics import mean
from typing import Any

from almost_kedro.errors import UserError
from almost_kedro.feedback.ledger import RuleVerdict, make_ledger_rows, summarise_ledger
from almost_kedro.feedback.responses import build_question
from almost_kedro.feedback.reward_rows import RewardRow
from almost_kedro.feedback.splits import ANSWERED, select_comparisons
from almost_kedro.options.rules import Rules
from almost_kedro.rows.feedback import Comparison, LedgerRow
from almost_kedro.rows.training import AsIsPair, PromptSplit

RULE = "rule_25_post_validation"
FIELDS = ("prompt", "chosen", "rejected")


def check_pairs(
    rows: Iterable[tuple[int, Mapping[str, Any]]], source: str, place: str, limit: int | None = None
) -> list[AsIsPair]:
    """Turn a user's numbered rows into pairs, without their other fields.

    Args:
        source: Where the rows come from, for errors.
        place: What their numbers count, such as "line".
        limit: How many are read at most; None: all.

    Raises:
        UserError: The first row without a text in one of the three fields; no rows; or no row with
            two different answers.
    """
    pairs = [_check_pair(row, f"{source}, {place} {n}", n) for n, row in islice(rows, limit)]
    if not select_distinct(pairs):
        found = f"chosen and rejected are the same in all {len(pairs)} rows" if pairs else "no rows"
        raise UserError(f"{source}: {found}; give pairs that the as-is reward model can learn from")
    return pairs


def _check_pair(row: Mapping[str, Any], where: str, number: int) -> AsIsPair:
    for field in FIELDS:
        value = row.get(field)
        if isinstance(value, str) and value.strip():
            continue
        if field not in row:
            problem = f"{field} is missing; found {', '.join(row) or 'no fields'}"
        elif isinstance(value, str):
            problem = f"{field} is empty"
        else:
            problem = f"{field} is not a text; found {value!r:.60}"
        raise UserError(f"{where}: {problem}; each row needs prompt, chosen and rejected, as texts")
    return AsIsPair(
        pair_id=f"as_is_{number}",
        prompt=row["prompt"],
        chosen=row["chosen"],
        rejected=row["rejected"],
    )


def select_distinct(pairs: Sequence[AsIsPair]) -> list[AsIsPair]:
    """Rule 19: leave out pairs of identical answers."""
    return [pair for pair in pairs if pair["chosen"] != pair["rejected"]]


def build_pair_rows(pairs: Sequence[AsIsPair], rules: Rules) -> list[RewardRow]:
    """Write pairs for the reward program, in the template of our own comparisons."""
    return [
        RewardRow(
            id=pair["pair_id"],
            dialogue=build_question(pair["prompt"], rules),
            chosen=pair["chosen"],
            rejected=pair["rejected"],
        )
        for pair in pairs
    ]


def drop_disagreements(
    comparisons: Sequence[Comparison], margins: Mapping[str, float], rules: Rules
) -> tuple[list[Comparison], list[LedgerRow]]:
    """Rule 25: drop the comparisons whose rejected answer has the higher reward.

    `margins` are as-is reward of the chosen answer - that of the rejected one (log-odds), by
    comparison_id. A comparison with 0 stays. Raises ValueError if one is not finite.
    """
    kept, ledger = [], []
    for row in comparisons:
        margin = margins[row["comparison_id"]]
        if not math.isfinite(margin):
            raise ValueError(f"comparison {row['comparison_id']}: the as-is margin is {margin}")
        if margin < 0:
            verdict = RuleVerdict(RULE, f"as-is reward of chosen - rejected = {margin:.4f}")
            ledger += make_ledger_rows(row["comparison_id"], rules, verdict)
        else:
            kept.append(row)
    return kept, ledger


def check_left(
    comparisons: Sequence[Comparison], kept: Sequence[Comparison], splits: Sequence[PromptSplit]
) -> None:
    """Raise UserError if the filter leaves a split without comparisons."""
    for split in ANSWERED:
        n_before = len(select_comparisons(comparisons, splits, split))
        if n_before and not select_comparisons(kept, splits, split):
            raise UserError(
                f"as_is_filter: the as-is reward model disagrees with all {n_before} comparisons "
                f"of split {split}; look at its pairs (is chosen the better answer?), ask for more "
                "prompts (prompt_generation.n_prompts), or set as_is_filter.enabled: false"
            )


def summarise_validation(
    comparisons: Sequence[Comparison], kept: Sequence[Comparison], ledger: Sequence[LedgerRow]
) -> dict[str, Any]:
    """Count what was kept, also by edge, with the share in which the chosen answer is the longer.

    The filter can undo the balance of lengths.
    """
    before, after = (
        Counter(f"{row['chosen_assistant']}-vs-{row['rejected_assistant']}" for row in rows)
        for rows in (comparisons, kept)
    )
    return {
        "n_before": len(comparisons),
        "n_after": len(kept),
        **summarise_ledger(ledger),
        "chosen_longer_before": _share_longer(comparisons),
        "chosen_longer_after": _share_longer(kept),
        "edges": {
            edge: {"n_before": n, "n_after": after[edge]} for edge, n in sorted(before.items())
        },
    }


def _share_longer(rows: Sequence[Comparison]) -> float | None:
    longer = [len(row["chosen"]) > len(row["rejected"]) for row in rows]
    return round(mean(longer), 4) if longer else None
