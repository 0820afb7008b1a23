"""Verdicts on benchmark items, and their sums; ties are counted apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from almost_kedro.finite import require_finite

OutcomeName = Literal["right", "wrong", "tie"]
# Probabilities that differ by less than this share are equal: it is what rounding leaves, so the
# batch size would decide.
TOLERANCE = 1e-6


class Outcome(TypedDict):
    """What a judge makes of an item; `hit` is what it adds to the accuracy, 0 to 1."""

    item_id: str
    category: str
    verdict: OutcomeName
    hit: float


class Verdict(Outcome):
    """The same for a pair, with the answers' scores."""

    score_chosen: float
    score_rejected: float


class OrderedVerdict(Verdict):
    """The same, with the probabilities of both letters in both orders, as the model gave them."""

    chosen_first_a: float
    chosen_first_b: float
    rejected_first_a: float
    rejected_first_b: float


class ChoiceVerdict(Outcome):
    """The outcome of a question.

    `score_right` and `score_wrong` are the scores of the right choice and of the best wrong one;
    `n_best` is how many choices share the highest score.
    """

    n_choices: int
    score_right: float
    score_wrong: float
    n_best: int


class Accuracy(TypedDict):
    """How often a judge is right; `share_right` counts a tie as wrong, `accuracy` sums the hits."""

    n: int
    n_right: int
    n_wrong: int
    n_ties: int
    share_right: float
    accuracy: float


def read_score(scores: Mapping[str, float], request_id: str) -> float:
    """Return a request's log-probability or reward.

    Raises:
        UserError: If it is not a finite number.
    """
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
