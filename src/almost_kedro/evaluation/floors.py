"""Floors: how often judges that read nothing prefer the chosen answer.

A reward model that is no better has only learnt length, or how answers end (on static HHH, the
longer answer is the preferred one in 62.9 %).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from almost_kedro.feedback.length_control import length_difference
from almost_kedro.feedback.responses import LIST_ITEM
from almost_kedro.feedback.scripts import LAST_END
from almost_kedro.rows.feedback import Comparison

Floats = NDArray[np.float64]
SENTENCE_END = re.compile(r"[.!?][\"')\]\u201d\u2019*_]*$")
LIST_LINE = re.compile(LIST_ITEM)
# Keeps the weights finite where one feature alone explains every pair.
RIDGE = 0.01
NEWTON_STEPS = 50


def score_wins(differences: ArrayLike) -> Floats:
    """Return 1 where a difference (chosen - rejected) is above 0, 0 where below, 0.5 if it is 0."""
    values: Floats = np.asarray(differences, dtype=float)
    return np.heaviside(values, 0.5)


def longer_wins(comparisons: Sequence[Comparison]) -> Floats:
    """Judge by characters: 1 where the chosen answer is the longer one, 0.5 for ties, (pairs,)."""
    return score_wins([len(row["chosen"]) - len(row["rejected"]) for row in comparisons])


def shorter_wins(comparisons: Sequence[Comparison]) -> Floats:
    """Judge by characters: 1 where the chosen answer is the shorter one, 0.5 for ties, (pairs,)."""
    return 1 - longer_wins(comparisons)


def surface_features(chosen: str, rejected: str) -> Floats:
    """Describe how two answers differ on the surface; swapping them flips every sign.

    Returns (3,), chosen - rejected: the difference in length as a share of the longer one; whether
    an answer ends a sentence; whether its last line is a list's.
    """
    ends = [
        (
            bool(SENTENCE_END.search(text) or LAST_END.search(text)),
            bool(LIST_LINE.match(text[text.rfind("\n") + 1 :])),
        )
        for text in (chosen.rstrip(), rejected.rstrip())
    ]
    return np.array([length_difference(chosen, rejected), *np.subtract(*np.array(ends, float))])


def fit_surface_model(train: Sequence[Comparison]) -> Floats:
    """Fit a logistic regression on surface features, the best judge that these allow.

    Returns the weights, (3,); zeros without pairs. There is no intercept, so swapping the answers
    flips the sign of the score. It is fitted to the reward model's training pairs, for a fair
    comparison on held-out ones. The fit is Newton's method on sum(log(1 + exp(-features @
    weights))) + ridge / 2 * |weights| ** 2.
    """
    features = _stack_features(train)
    weights = np.zeros(features.shape[1])
    for _ in range(NEWTON_STEPS):
        missing = 1 / (1 + np.exp(features @ weights))
        gradient = RIDGE * weights - features.T @ missing
        curvature = (features.T * (missing * (1 - missing))) @ features
        weights = weights - np.linalg.solve(curvature + RIDGE * np.eye(len(weights)), gradient)
    return weights


def surface_wins(weights: Floats, comparisons: Sequence[Comparison]) -> Floats:
    """Judge by the surface: 1 where the chosen answer has the higher score, 0.5 for ties, (pairs,).

    `weights` are from `fit_surface_model`, on other pairs.
    """
    return score_wins(_stack_features(comparisons) @ weights)


def _stack_features(comparisons: Sequence[Comparison]) -> Floats:
    rows = [surface_features(row["chosen"], row["rejected"]) for row in comparisons]
    return np.array(rows, dtype=float).reshape(-1, 3)
