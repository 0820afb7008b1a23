"""The watch over reinforcement learning: stops it when the policy games the reward model.

The held-out reward model, which has trained nothing, is the judge: a reward that still rises while
the held-out one falls is over-optimisation (Gao et al. 2023, "Scaling laws for reward model
overoptimization").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypedDict

from almost_kedro.finite import require_finite
from almost_kedro.training_options import WatchOptions

REWARDS: tuple[Literal["held_out_reward", "held_out_error", "reward"], ...] = (
    "held_out_reward",
    "held_out_error",
    "reward",
)


class Score(TypedDict):
    """Means over the policy's answers to the watch prompts at one step; 0 is the SFT policy.

    Rewards are log-odds, `held_out_error` is the standard error of the held-out one, `kl` is nats
    an answer, `length` is tokens.
    """

    step: int
    held_out_reward: float
    held_out_error: float
    reward: float
    kl: float
    length: float


class Verdict(NamedTuple):
    """Whether to stop, why (empty if not), and whose checkpoint is the best so far."""

    stop: bool
    reason: str
    best_step: int


def judge_scores(scores: Sequence[Score], options: WatchOptions) -> Verdict:
    """Tell whether training has gone too far, and which step was the best.

    It has if the newest score is out of bounds (KL, or length against the first score), or if the
    last `patience` held-out rewards are all below the best one, by more than the standard error of
    the difference, while the reward has risen since.

    Args:
        scores: All so far, by step; the first is the untouched policy's, which is within the bounds
            by definition.
        options: Bounds and patience.

    Raises:
        UserError: If a reward is not finite: it is neither better nor worse than another.
    """
    for score in scores:
        for name in REWARDS:
            require_finite(score[name], f"watch, step {score['step']}: {name}")
    first, newest = scores[0], scores[-1]
    within = [first, *(s for s in scores[1:] if not _check_bounds(s, first, options))]
    best = max(within, key=lambda score: score["held_out_reward"])
    reason = _check_bounds(newest, first, options) or _check_decline(scores, best, options)
    return Verdict(bool(reason), reason, best["step"])


def _check_bounds(score: Score, first: Score, options: WatchOptions) -> str:
    # "not at most" instead of "above": what is not a number is out of bounds, too.
    if not score["kl"] <= options.max_kl:
        return (
            f"step {score['step']}: KL {score['kl']:.4g} nats an answer; "
            f"at most {options.max_kl:.4g} (max_kl)"
        )
    if not score["length"] <= options.max_length_ratio * first["length"]:
        return (
            f"step {score['step']}: {score['length']:.4g} tokens an answer; at most "
            f"{options.max_length_ratio:.4g} x {first['length']:.4g} (max_length_ratio)"
        )
    return ""


def _check_decline(scores: Sequence[Score], best: Score, options: WatchOptions) -> str:
    # While `best` is one of the recent ones, it is not below itself. Answers are drawn, so a small
    # fall means nothing; that the prompts are the same ones is left out, which errs on waiting.
    recent, newest = scores[-options.patience :], scores[-1]
    falls = all(
        best["held_out_reward"] - score["held_out_reward"]
        > math.hypot(best["held_out_error"], score["held_out_error"])
        for score in recent
    )
    if not (falls and newest["reward"] > best["reward"]):
        return ""
    return (
        f"step {newest['step']}: the held-out reward was below its best "
        f"({best['held_out_reward']:.4g} at step {best['step']}) {options.patience} times in a "
        f"row, now {newest['held_out_reward']:.4g}, while the reward rose from "
        f"{best['reward']:.4g} to {newest['reward']:.4g}"
    )
