"""The report on mismatched pairs: how alike their lengths are, and who tells right from wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np

from almost_kedro.evaluation.floors import score_wins
from almost_kedro.evaluation.statistics import estimate_mean
from almost_kedro.feedback.length_control import length_difference
from almost_kedro.options.reward_model import MismatchedOptions
from almost_kedro.rows.metrics import MismatchedMetrics
from almost_kedro.rows.training import MismatchedPair


def report_mismatched(
    pairs: Sequence[MismatchedPair],
    margins: Mapping[str, Mapping[str, float]],
    options: MismatchedOptions,
    seed: int,
) -> MismatchedMetrics:
    """Measure the pairs, and reward models on some of them.

    Args:
        pairs: At least one.
        margins: By reward model and mismatched_id, those of held-out prompts: reward of the right
            answer - that of the other prompt's (log-odds).
    """
    differences = [length_difference(pair["chosen"], pair["rejected"]) for pair in pairs]
    report = MismatchedMetrics(
        n_pairs=len(pairs),
        n_held_out=0,
        per_pair=options.per_pair,
        weight=options.weight,
        chosen_longer=fmean(each > 0 for each in differences),
        length_difference=fmean(map(abs, differences)),
        accuracy={},
    )
    for name, found in margins.items():
        held_out = [pair for pair in pairs if pair["mismatched_id"] in found]
        wins = score_wins(np.array([found[pair["mismatched_id"]] for pair in held_out]))
        prompts = [pair["prompt_id"] for pair in held_out]
        report["n_held_out"] = len(held_out)
        if accuracy := estimate_mean(wins, prompts, seed):
            report["accuracy"][name] = accuracy
    return report
