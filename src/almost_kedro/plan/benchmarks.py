"""The benchmarks' items for a plan, without the network."""

from __future__ import annotations

from pathlib import Path

from almost_kedro.evaluation_options import EvaluationOptions
from almost_kedro.plan.lengths import Benchmarks

from ..pipelines.benchmarks import read_benchmarks, read_mc1_preset

# Items of the published sets (docs/evaluation.md), which a plan does not fetch.
PUBLISHED_PAIRS, PUBLISHED_QUESTIONS = 221, 817


def find_benchmarks(
    evaluation: EvaluationOptions, assets: Path
) -> tuple[Benchmarks, str, list[str]]:
    """Read the items; those of the hub are as many as published, and as long as ours.

    Args:
        evaluation: Where they are from.
        assets: Folder of our own.

    Returns:
        The items, what MC1 is asked after, and notes on what is assumed.

    Raises:
        UserError: As the run itself would.
    """
    local = {name: "own" for name in ("hhh", "truthfulqa") if getattr(evaluation, name) == "hub"}
    # All of ours stand for those that are not here.
    limit = None if local else evaluation.limit
    pairs, choices, questions, _ = read_benchmarks(
        evaluation.model_copy(update={**local, "limit": limit}), assets
    )
    wanted = {"hhh": len(pairs), "truthfulqa": len(choices)}
    if "hhh" in local:
        wanted["hhh"] = PUBLISHED_PAIRS
    if "truthfulqa" in local:
        wanted["truthfulqa"] = PUBLISHED_QUESTIONS
    if evaluation.limit:
        wanted = {name: min(n, evaluation.limit) for name, n in wanted.items()}
    found = Benchmarks(
        pairs=pairs,
        choices=choices,
        questions=questions,
        pairs_scale=wanted["hhh"] / len(pairs),
        choices_scale=wanted["truthfulqa"] / len(choices),
    )
    notes = [
        f"evaluation.{name}: hub; {wanted[name]} items, taken to be as long as our own"
        for name in local
    ]
    return found, read_mc1_preset(evaluation)["text"], notes
