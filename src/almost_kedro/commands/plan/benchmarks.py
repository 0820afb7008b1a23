"""The benchmarks' items for a plan, without the network."""

from __future__ import annotations

from pathlib import Path

from almost_kedro.commands.plan.lengths import Benchmarks
from almost_kedro.evaluation.benchmark_records import SETS
from almost_kedro.evaluation.benchmark_sources import read_benchmarks, read_mc1_preset
from almost_kedro.options.evaluation import EvaluationOptions

# Items of the published sets, which a plan does not fetch.
PUBLISHED = {each.option: each.hub.size for each in SETS}


def find_benchmarks(evaluation: EvaluationOptions, assets: Path) -> tuple[Benchmarks, list[str]]:
    """Read the items; those of the hub are as many as published, and as long as ours.

    Args:
        evaluation: Where they are from.
        assets: Folder of our own.

    Returns:
        The items, and notes on what is assumed.

    Raises:
        UserError: As the run itself would.
    """
    local = {name: "own" for name in PUBLISHED if getattr(evaluation, name) == "hub"}
    # All of ours stand for those that are not here.
    limit = None if local else evaluation.limit
    pairs, choices, questions, preferences, _ = read_benchmarks(
        evaluation.model_copy(update={**local, "limit": limit}), assets
    )
    wanted = {"hhh": len(pairs), "truthfulqa": len(choices)}
    wanted |= {name: PUBLISHED[name] for name in local}
    if evaluation.limit:
        wanted = {name: min(n, evaluation.limit) for name, n in wanted.items()}
    found = Benchmarks(
        pairs=pairs,
        choices=choices,
        questions=questions,
        preset=read_mc1_preset(evaluation)["text"],
        preferences=preferences,
        pairs_scale=wanted["hhh"] / len(pairs),
        choices_scale=wanted["truthfulqa"] / len(choices),
    )
    notes = [
        f"evaluation.{name}: hub; {wanted[name]} items, taken to be as long as our own"
        for name in local
    ]
    return found, notes
