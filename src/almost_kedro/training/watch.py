"""The watch over RL and DPO: stops them when the policy games what it is trained by.

The held-out reward model judges, as no policy was trained on it. If the reward still rises while
the held-out reward falls, that is over-optimisation (Gao et al. 2023, "Scaling laws for reward
model overoptimization").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, NotRequired, TypedDict

from almost_kedro.options.training import DPOWatchOptions, WatchOptions
from almost_kedro.rows.finite import require_finite

REWARDS: tuple[Literal["held_out_reward", "held_out_error", "reward"], ...] = (
    "held_out_reward",
    "held_out_error",
    "reward",
)


Bounds = WatchOptions | DPOWatchOptions


class Score(TypedDict):
    """Means over the policy's answers to the watch prompts at one step; 0 is the untrained policy.

    Rewards are log-odds, `held_out_error` is the standard error of the held-out reward, `kl` is
    nats an answer, `length` is tokens. DPO has no reward model: its `reward` is the mean margin of
    the pairs that it was trained on since the score before (chosen's implicit reward - rejected's),
    and it has no `kl`.
    """

    step: int
    held_out_reward: float
    held_out_error: float
    reward: float
    kl: NotRequired[float]
    length: float


class WatchVerdict(NamedTuple):
    """Whether to stop, why (empty if not), and whose checkpoint is the best so far."""

    stop: bool
    reason: str
    best_step: int


def judge_scores(scores: Sequence[Score], options: Bounds) -> WatchVerdict:
    """Tell whether training has gone too far, and which step was the best.

    It has if the newest score is out of bounds (KL, or length against the first score). It also has
    if the last `patience` held-out rewards are all below the best one, by more than the standard
    error of the difference, while the reward has risen since. `scores` come by step; the first is
    the untrained policy's, and within the bounds by definition.

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
    return WatchVerdict(bool(reason), reason, best["step"])


def _check_bounds(score: Score, first: Score, options: Bounds) -> str:
    # "not at most" instead of "above": NaN is out of bounds, too.
    if isinstance(options, WatchOptions) and not score["kl"] <= options.max_kl:
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


def _check_decline(scores: Sequence[Score], best: Score, options: Bounds) -> str:
    # While `best` is among the recent ones, it is not below itself. Answers are drawn, so a small
    # fall means nothing. That the prompts stay the same is ignored, which errs on waiting.
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
