"""The report on several reward models as one: what rewarding together gains on held-out prompts."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import numpy as np

from almost_kedro.evaluation.floors import score_wins
from almost_kedro.evaluation.statistics import bootstrap_difference, estimate_mean
from almost_kedro.feedback.ensemble import Scale, combine_rewards
from almost_kedro.rows.feedback import Comparison
from almost_kedro.rows.metrics import EnsembleMetrics, Estimate


def report_ensemble(
    comparisons: Sequence[Comparison],
    chosen: Sequence[Sequence[float]],
    rejected: Sequence[Sequence[float]],
    scales: Sequence[Scale],
    penalty: float,
    seed: int,
) -> EnsembleMetrics:
    """Compare members with their mean, and with the reward that is used, on held-out comparisons.

    Args:
        chosen: Members' rewards of the chosen answers (members, comparisons); `rejected` likewise.
    """
    report = EnsembleMetrics(n_members=len(scales), n=len(comparisons), penalty=penalty)
    if not comparisons:
        return report
    prompts = [row["prompt_id"] for row in comparisons]

    def summarise(values: np.ndarray) -> Estimate:
        found = estimate_mean(values, prompts, seed)
        assert found
        return found

    def combine(penalty: float) -> np.ndarray:
        better, worse = (combine_rewards(each, scales, penalty) for each in (chosen, rejected))
        return np.array([a.reward - b.reward for a, b in zip(better, worse, strict=True)])

    members = score_wins(np.array(chosen) - np.array(rejected))  # (members, comparisons)
    used = score_wins(combine(penalty))
    spreads = [
        answer.spread
        for side in (chosen, rejected)
        for answer in combine_rewards(side, scales, penalty)
    ]
    report["members"] = [summarise(wins) for wins in members]
    report["mean"] = summarise(score_wins(combine(0)))
    report["used"] = summarise(used)
    gain = bootstrap_difference(used, members.mean(axis=0), prompts, seed)
    report["gain"] = gain.to_dict()
    report["disagreement"] = fmean(spreads)
    report["unanimous"] = summarise((members == members[0]).all(axis=0).astype(float))
    return report
