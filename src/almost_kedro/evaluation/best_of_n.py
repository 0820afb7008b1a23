"""What choosing among candidates gains (rule 24), by the chooser's reward and the held-out one.

If the chooser's own reward rises with n and the held-out one does not, the chooser is fooled.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from math import comb
from statistics import mean
from typing import NamedTuple

from almost_kedro.evaluation.statistics import bootstrap_mean
from almost_kedro.feedback.ledger import KEPT
from almost_kedro.rows.metrics import BestOfN, SelfPlaySummary
from almost_kedro.rows.training import Candidate


class Group(NamedTuple):
    """A turn's usable candidates, worst first: rewards and held-out rewards, in one order."""

    prompt_id: str
    rewards: tuple[float, ...]
    held_out: tuple[float, ...]


def best_of_n_curve(candidates: Sequence[Candidate], seed: int) -> list[BestOfN]:
    """Compute the expected rewards of the best of n candidates, for n from 1 to all of a turn.

    Exact, over all ways to draw n without replacement: the candidate of rank k of N (1 is the
    worst) is the best of n with probability C(k-1, n-1) / C(N, n). The reward model chooses, and of
    equals the first sample, as in `keep_best`.

    Turns that lost candidates are left out (`group_turns`). Returns one row for each n; none if no
    candidate has both rewards.
    """
    groups = group_turns(candidates)
    size = len(groups[0].rewards) if groups else 0
    rows = []
    for n in range(1, size + 1):
        weights = [comb(k - 1, n - 1) / comb(size, n) for k in range(1, size + 1)]
        rows.append(_average(groups, weights, n, seed))
    return rows


def group_turns(candidates: Sequence[Candidate]) -> list[Group]:
    """Group the candidates with both rewards by turn, and keep the largest groups.

    Groups of other sizes would change the turns from n to n. The largest lost no candidate to rule
    12, unless every turn did.
    """
    found = defaultdict(list)
    for row in candidates:
        reward, held_out = row["reward"], row["held_out_reward"]
        if reward is not None and held_out is not None:
            # Of equal rewards, the first sample ranks highest.
            found[row["prompt_id"], row["turn"]].append((reward, -row["sample"], held_out))
    size = max(map(len, found.values()), default=0)
    groups = []
    for (prompt_id, _), rows in found.items():
        if len(rows) == size:
            rewards, _, held_out_rewards = zip(*sorted(rows), strict=True)
            groups.append(Group(prompt_id, rewards, held_out_rewards))
    return groups


def _average(groups: Sequence[Group], weights: Sequence[float], n: int, seed: int) -> BestOfN:
    """Average the groups' weighted sums; the weights are by rank, worst first."""
    ids = [group.prompt_id for group in groups]
    rewards = [_weigh(group.rewards, weights) for group in groups]
    held_out = [_weigh(group.held_out, weights) for group in groups]
    interval = bootstrap_mean(rewards, ids, seed)
    held_out_interval = bootstrap_mean(held_out, ids, seed)
    return BestOfN(
        n=n,
        n_groups=len(groups),
        reward=mean(rewards),
        reward_low=interval.low,
        reward_high=interval.high,
        held_out_reward=mean(held_out),
        held_out_low=held_out_interval.low,
        held_out_high=held_out_interval.high,
    )


def _weigh(values: Sequence[float], weights: Sequence[float]) -> float:
    return sum(value * weight for value, weight in zip(values, weights, strict=True))


def measure_gain(candidates: Sequence[Candidate], seed: int) -> BestOfN | None:
    """Measure by how much the best candidate of a turn beats the turn's mean, on the same turns.

    Returns gains and their intervals in place of rewards; None if no candidate has both rewards.
    """
    groups = group_turns(candidates)
    if not groups:
        return None
    size = len(groups[0].rewards)
    weights = [(rank == size) - 1 / size for rank in range(1, size + 1)]
    return _average(groups, weights, size, seed)


def summarise_self_play(candidates: Sequence[Candidate], seed: int) -> SelfPlaySummary:
    """Count dialogues and candidates, with mean lengths (characters) and what choosing gained."""
    usable = [row for row in candidates if row["verdict"] == KEPT]
    lengths: dict[bool, list[int]] = {True: [], False: []}
    for row in usable:
        lengths[row["kept"]].append(len(row["text"]))
    by_turn = Counter(row["turn"] for row in usable if row["kept"])
    return SelfPlaySummary(
        n_dialogues=len({row["prompt_id"] for row in candidates}),
        n_candidates=len(candidates),
        n_usable=len(usable),
        n_kept=len(lengths[True]),
        kept_by_turn={str(turn): n for turn, n in sorted(by_turn.items())},
        kept_length=round(mean(lengths[True]), 1) if lengths[True] else None,
        rejected_length=round(mean(lengths[False]), 1) if lengths[False] else None,
        gain=measure_gain(candidates, seed),
    )
