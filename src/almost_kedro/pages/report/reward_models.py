"""What the report says of reward models beyond their accuracy: other pairs, and several as one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from almost_kedro.costs.actual import read_seconds, read_tokens
from almost_kedro.feedback.ensemble import label_members
from almost_kedro.pages.report.numbers import show_count, show_estimate
from almost_kedro.pages.table import Table
from almost_kedro.rows.metrics import EnsembleMetrics, MismatchedMetrics


def describe_mismatched(found: MismatchedMetrics | None) -> str:
    """Say that answers to other prompts were learned from, and how well; nothing if none were."""
    if not found or not found["n_pairs"]:
        return ""
    learned = (
        f"Both reward models also learned from {found['n_pairs'] - found['n_held_out']:,} "
        f"mismatched pairs ({found['per_pair']} beside each comparison, weight "
        f"{found['weight']:g})."
    )
    if not (accuracy := found["accuracy"]):
        return learned
    return (
        f"{learned} Which of two answers belongs to a held-out prompt, the reward model tells in "
        f"{show_estimate(accuracy['reward'])} of {found['n_held_out']:,} pairs, the held-out one "
        f"in {show_estimate(accuracy['held_out'])}."
    )


def tabulate_ensemble(found: EnsembleMetrics | None, training: Mapping[str, Any]) -> Table | None:
    """Put members beside what they say as one: cost and accuracy; None of one reward model.

    `training` has the first one's metrics and, by their labels, the others'.
    """
    if not found or "members" not in found:
        return None
    names = label_members(found["n_members"], found.get("contrasts", []))
    costs = [training, *(training[name] for name in names[1:])]
    tokens = [read_tokens(cost) or 0 for cost in costs]
    seconds = [read_seconds(cost) for cost in costs]
    rows = [
        (name, show_estimate(accuracy), show_count(read), show_count(took))
        for name, accuracy, read, took in zip(names, found["members"], tokens, seconds, strict=True)
    ]
    total = show_count(sum(tokens)), show_count(sum(seconds))
    rows += [
        ("mean of all", show_estimate(found["mean"]), *total),
        (
            f"mean - {found['penalty']:g} x disagreement, which is used",
            show_estimate(found["used"]),
            *total,
        ),
    ]
    heads = ("who rewards", f"right in {found['n']} held out", "tokens trained on", "seconds")
    return Table("Reward models that reward as one, and what each took", heads, tuple(rows))
