"""Several reward models as one: the mean of their rewards, less a multiple of their disagreement.

After "Reward Model Ensembles Help Mitigate Overoptimization" (Coste et al. 2024, arXiv 2310.02743),
which subtracts the variance; the standard deviation has the unit of a reward. Rewards of two models
are not comparable as they are: comparisons fix neither a reward model's zero nor, since some
trainings grow surer than others, its scale. So each is first brought to mean 0 and standard
deviation 1 on the same rows, the answers of all comparisons of their split.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, pstdev
from typing import NamedTuple

from almost_kedro.errors import UserError


class Scale(NamedTuple):
    """A reward model's rewards on rows that all members have in common (log-odds)."""

    mean: float
    std: float  # of the population


class Combined(NamedTuple):
    """The reward that counts, and the members' disagreement about it; both in log-odds."""

    reward: float
    spread: float


def label_members(n: int, contrasts: Sequence[str]) -> list[str]:
    """Return what metrics and report call n members: their contrasts, or numbers of seeds."""
    return list(contrasts) or ["reward model", *(f"seed {number}" for number in range(1, n))]


def name_programs(n: int, contrasts: Sequence[str]) -> list[tuple[str, str]]:
    """Return what costs call each member's training and scoring; the first training has no name."""
    others = label_members(n, contrasts)[1:]
    return [("", "rewards"), *((label, f"{label}, rewards") for label in others)]


def measure_scale(name: str, rewards: Sequence[float]) -> Scale:
    """Measure a member's scale; raise UserError if it rewards everything alike."""
    found = Scale(fmean(rewards), pstdev(rewards))
    if not found.std:
        raise UserError(
            f"{name}: it rewards all answers of its split's comparisons alike ({found.mean:g}), so "
            "it can't be brought to one scale with others; train it on more comparisons, or set "
            "reward_model.ensemble: 1"
        )
    return found


def combine_rewards(
    rewards: Sequence[Sequence[float]], scales: Sequence[Scale], penalty: float
) -> list[Combined]:
    """Combine members' rewards, (members, answers), of the same answers; return one an answer.

    With z = (reward - mean) / std of each member, the reward is

        S * (mean of z over members - penalty * standard deviation of z over members),

    where S is the mean of the members' stds: so it stays in log-odds, which RL weighs against the
    KL penalty. The standard deviation is the population's, and `spread` is S times it.
    """
    size = fmean(scale.std for scale in scales)
    combined = []
    for answer in zip(*rewards, strict=True):
        z = [(r - scale.mean) / scale.std for r, scale in zip(answer, scales, strict=True)]
        spread = size * pstdev(z)
        combined.append(Combined(size * fmean(z) - penalty * spread, spread))
    return combined
