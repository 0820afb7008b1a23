"""Is it worth a reward model and reinforcement learning, or is DPO enough?

What each way from the comparisons gains over the base model, and what it takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from almost_kedro.costs.actual import list_costs
from almost_kedro.evaluation.stages import APART, BASE, BEST_OF_N, SFT, TRAINED
from almost_kedro.evaluation.statistics import bootstrap_difference
from almost_kedro.rows.metrics import Documents, PairedDifference
from almost_kedro.rows.training import PolicyAnswer


class Way(NamedTuple):
    """A way to a better policy, from the same comparisons.

    Attributes:
        name: The policy's.
        n: Test prompts that it and the base model answered.
        held_out: Its held-out reward - the base model's on these (log-odds).
        seconds: What all programs took that it needs, from the comparisons on.
        tokens: What these programs read, wrote or were trained on.
        answers: How many are generated for each answer that it gives.
    """

    name: str
    n: int
    held_out: PairedDifference
    seconds: float
    tokens: int
    answers: int


def compare_ways(metrics: Documents, answers: Sequence[PolicyAnswer], seed: int) -> list[Way]:
    """Compare the ways that there are; none if nobody trained what is beside the chain.

    `metrics` are documents by name. Of a policy's answers to one prompt, the first counts.
    """
    tested = [metrics[stage.metrics] for stage in APART if stage.metrics in metrics]
    if not tested:
        return []
    needs = {BEST_OF_N: SFT.takes[:1], **{stage.name: stage.takes for stage in TRAINED}}
    rewards: dict[str, dict[str, float]] = {}
    for row in answers:
        found = rewards.setdefault(row["policy"], {})
        found.setdefault(row["prompt_id"], row["held_out_reward"])
    return [
        Way(
            name,
            *_subtract(rewards[name], rewards[BASE], seed),
            *_add_up(metrics, needs[name]),
            answers=tested[0]["best_of"] if name == BEST_OF_N else 1,
        )
        for name in needs
        if name in rewards
    ]


def _subtract(
    new: Mapping[str, float], base: Mapping[str, float], seed: int
) -> tuple[int, PairedDifference]:
    """Count the prompts that both answered, and compare rewards on these."""
    ids = [prompt for prompt in new if prompt in base]
    difference = bootstrap_difference([new[i] for i in ids], [base[i] for i in ids], ids, seed)
    return len(ids), difference.to_dict()


def _add_up(metrics: Documents, names: Iterable[str]) -> tuple[float, int]:
    """Return seconds and tokens of all programs in these documents."""
    costs = list_costs({name: metrics[name] for name in names})
    return sum(cost.seconds for cost in costs), sum(cost.tokens or 0 for cost in costs)
