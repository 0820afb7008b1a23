"""Verdicts on benchmark items, and their sums; ties are counted apart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from almost_kedro.rows.evaluation import Outcome
from almost_kedro.rows.finite import require_finite

# Probabilities that differ by less than this share are equal: rounding is as large, and depends on
# the batch size.
TOLERANCE = 1e-6


class Accuracy(TypedDict):
    """How often a judge is right; `share_right` counts a tie as wrong, `accuracy` sums the hits."""

    n: int
    n_right: int
    n_wrong: int
    n_ties: int
    share_right: float
    accuracy: float


def share(one: float, other: float) -> float:
    """Return exp(one) / (exp(one) + exp(other)), in the form that does not overflow."""
    return (1 + math.tanh((one - other) / 2)) / 2


def read_score(scores: Mapping[str, float], request_id: str) -> float:
    """Return a request's log-probability or reward; raise UserError if it is not finite."""
    return require_finite(scores[request_id], f"benchmark request {request_id}: the model's score")


def summarise_verdicts(rows: Sequence[Outcome]) -> dict[str, Accuracy]:
    """Count verdicts by category and over "all" rows; nothing if there are none."""
    groups: dict[str, list[Outcome]] = {}
    for row in rows:
        groups.setdefault(row["category"], []).append(row)
    if rows:
        groups["all"] = list(rows)
    return {name: _count(group) for name, group in groups.items()}


def _count(rows: Sequence[Outcome]) -> Accuracy:
    verdicts = [row["verdict"] for row in rows]
    return Accuracy(
        n=len(rows),
        n_right=verdicts.count("right"),
        n_wrong=verdicts.count("wrong"),
        n_ties=verdicts.count("tie"),
        share_right=verdicts.count("right") / len(rows),
        accuracy=sum(row["hit"] for row in rows) / len(rows),
    )
