"""Is it worth a reward model and reinforcement learning, or is DPO enough?

What each way from the comparisons gains over the base model, and what it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from almost_kedro.costs.actual import list_costs
from almost_kedro.evaluation.stages import APART, BASE, BEST_OF_N, SFT, TRAINED, Stage
from almost_kedro.evaluation.statistics import bootstrap_difference
from almost_kedro.feedback.repetition import measure_repetition
from almost_kedro.rows.metrics import Documents, PairedDifference
from almost_kedro.rows.training import PolicyAnswer


class Way(NamedTuple):
    """A way to a better policy, from the same comparisons.

    Attributes:
        name: The policy's.
        n: Test prompts that it and the base model answered.
        held_out: Its held-out reward - the base model's on these (log-odds).
        repetition: Its repetition - the base model's on these (shares).
        seconds: What all programs took that it needs, from the comparisons on.
        tokens: What these programs read, wrote or were trained on.
        whole: Whether seconds and tokens are all; nothing came from a cache, and no training was
            resumed.
        answers: How many are generated for each answer that it gives.
    """

    name: str
    n: int
    held_out: PairedDifference
    repetition: PairedDifference
    seconds: float
    tokens: int
    whole: bool
    answers: int


def compare_ways(metrics: Documents, answers: Sequence[PolicyAnswer], seed: int) -> list[Way]:
    """Compare the ways that there are; none if nobody trained what is beside the chain.

    `metrics` are documents by name. Of a policy's answers to one prompt, the first counts. A stage
    is left out where its answers were sampled or scored in another way than SFT's and base's.
    """
    tested = [metrics[stage.metrics] for stage in APART if stage.metrics in metrics]
    if not tested:
        return []
    fit = [stage for stage in TRAINED if not tested_otherwise(stage, metrics)]
    needs = {BEST_OF_N: SFT.takes[:1], **{stage.name: stage.takes for stage in fit}}
    first: dict[str, dict[str, PolicyAnswer]] = {}
    for row in answers:
        first.setdefault(row["policy"], {}).setdefault(row["prompt_id"], row)
    return [
        Way(
            name,
            *_subtract(first[name], first[BASE], seed),
            *_add_up(metrics, needs[name]),
            answers=tested[0]["best_of"] if name == BEST_OF_N else 1,
        )
        for name in needs
        if name in first
    ]


def tested_otherwise(stage: Stage, metrics: Documents) -> bool:
    """Tell whether a stage's answers were sampled or scored in another way than SFT's."""
    own, first = metrics.get(stage.metrics) or {}, metrics[SFT.metrics]
    return bool(own) and own.get("test") != first.get("test")


def _subtract(
    new: Mapping[str, PolicyAnswer], base: Mapping[str, PolicyAnswer], seed: int
) -> tuple[int, PairedDifference, PairedDifference]:
    """Count the prompts that both answered, and compare rewards and repetition on these."""
    ids = [prompt for prompt in new if prompt in base]

    def compare(measure: Callable[[PolicyAnswer], float]) -> PairedDifference:
        own, before = ([measure(rows[prompt]) for prompt in ids] for rows in (new, base))
        return bootstrap_difference(own, before, ids, seed).to_dict()

    return (
        len(ids),
        compare(lambda row: row["held_out_reward"]),
        compare(lambda row: measure_repetition(row["text"])),
    )


def _add_up(metrics: Documents, names: Iterable[str]) -> tuple[float, int, bool]:
    """Return seconds and tokens of all programs in these documents, and whether these are all."""
    costs = list_costs({name: metrics[name] for name in names})
    return (
        sum(cost.seconds for cost in costs),
        sum(cost.tokens or 0 for cost in costs),
        not any(cost.cached or cost.resumed for cost in costs),
    )
