"""Intervals and calibration, so that no figure is reported without its uncertainty.

Several comparisons share a prompt and are not independent, so the bootstrap draws prompts, never
rows. The intervals are percentiles of the redrawn means (Efron and Tibshirani 1993, chapter 13).
With a handful of prompts they are too narrow, and with one they have no width at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from almost_kedro.rows.metrics import Estimate, PairedDifference, ReliabilityBin

Floats = NDArray[np.float64]
# Groups drawn at once: some 8 MB an array.
CHUNK = 1_000_000


class Interval(NamedTuple):
    """Where a mean lies, with the probability that was asked for."""

    low: float
    high: float


class Difference(NamedTuple):
    """A difference of two means; it exceeds `low_one_sided` with the asked-for probability."""

    value: float
    low: float
    high: float
    low_one_sided: float

    def to_dict(self) -> PairedDifference:
        """Return it as documents have it."""
        return PairedDifference(
            value=self.value, low=self.low, high=self.high, low_one_sided=self.low_one_sided
        )


def bootstrap_mean(
    values: ArrayLike, groups: Sequence[str], seed: int, n: int = 2000, level: float = 0.95
) -> Interval:
    """Return the two-sided interval of a mean over rows, by drawing whole groups `n` times.

    `values` are (rows,). `groups` has each row's group (its prompt's id), (rows,). `level` is the
    probability of the interval. Raises ValueError without rows, or if a number is not finite.
    """
    means = _redraw_means(np.asarray(values, dtype=float), groups, seed, n)
    return _cut_tails(means, level)


def estimate_mean(values: ArrayLike, groups: Sequence[str], seed: int) -> Estimate | None:
    """Return a mean over rows with its interval; None without rows. See `bootstrap_mean`."""
    if not groups:
        return None
    low, high = bootstrap_mean(values, groups, seed)
    return Estimate(value=float(np.asarray(values, dtype=float).mean()), low=low, high=high)


def show_share(share: Estimate) -> str:
    """Write a share with its interval."""
    return f"{share['value']:.1%} [{share['low']:.1%}, {share['high']:.1%}]"


def bootstrap_difference(
    a: ArrayLike,
    b: ArrayLike,
    groups: Sequence[str],
    seed: int,
    n: int = 2000,
    level: float = 0.95,
) -> Difference:
    """Return mean(a) - mean(b) on the same rows, with intervals, as in `bootstrap_mean`.

    `level` holds for both intervals, the two-sided and the one-sided. `a` and `b` are (rows,).
    """
    differences = np.asarray(a, dtype=float) - np.asarray(b, dtype=float)
    means = _redraw_means(differences, groups, seed, n)
    low, high = _cut_tails(means, level)
    return Difference(
        float(differences.mean()), low, high, float(np.quantile(means, max(0.0, 1 - level)))
    )


def bootstrap_unpaired_difference(
    a: ArrayLike,
    groups_a: Sequence[str],
    b: ArrayLike,
    groups_b: Sequence[str],
    seed: int,
    n: int = 2000,
    level: float = 0.95,
) -> Difference:
    """Return mean(a) - mean(b) on rows of their own, by drawing groups from each independently.

    `groups_a` belong to the rows of a, `groups_b` to those of b; else as in `bootstrap_difference`.
    """
    numbers = [np.asarray(values, dtype=float) for values in (a, b)]
    seeds = np.random.SeedSequence(seed).generate_state(2)
    drawn = [
        _redraw_means(values, groups, int(each), n)
        for values, groups, each in zip(numbers, (groups_a, groups_b), seeds, strict=True)
    ]
    means = drawn[0] - drawn[1]
    low, high = _cut_tails(means, level)
    value = float(numbers[0].mean() - numbers[1].mean())
    return Difference(value, low, high, float(np.quantile(means, max(0.0, 1 - level))))


def _redraw_means(values: Floats, groups: Sequence[str], seed: int, n: int) -> Floats:
    """Return the mean over rows of each draw, (n,)."""
    if not len(values):
        raise ValueError("there are no rows to draw from")
    _check_finite(values, groups)
    places = {group: i for i, group in enumerate(sorted(set(groups)))}
    codes = np.array([places[group] for group in groups])
    sums = np.bincount(codes, weights=values)
    counts = np.bincount(codes)
    generator = np.random.default_rng(seed)
    at_once = max(1, CHUNK // len(sums))
    means = []
    for start in range(0, n, at_once):
        drawn = generator.integers(len(sums), size=(min(at_once, n - start), len(sums)))
        means.append(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    return np.concatenate(means)


def _check_finite(values: Floats, names: Sequence[object]) -> None:
    """Raise ValueError for the first value that is not finite: it has no mean and no order."""
    endless = ~np.isfinite(values)
    if endless.any():
        first = int(endless.argmax())
        raise ValueError(f"a figure of {names[first]} is {values[first]}; only finite ones count")


def _cut_tails(means: Floats, level: float) -> Interval:
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(float(low), float(high))


def reliability_curve(
    probabilities: ArrayLike, outcomes: ArrayLike, bins: int = 10
) -> list[ReliabilityBin]:
    """Compare how sure a reward model is with how often it is right, by bins over [0.5, 1].

    The probability that the chosen answer wins is sigmoid(margin), and the chosen answer always
    does win. Against that alone, a model that always says 1 would look perfect, and one that is
    rightly unsure would look bad. But which answer comes first is our own doing, so both orders
    count: the confidence max(p, 1 - p) in the answer that the model prefers, against whether that
    one is the chosen one. With p = 0.5 the model prefers neither and is right in half.

    Returns bins with pairs, from unsure to sure. Raises ValueError if a probability is not finite.

    Args:
        probabilities: That the first answer wins, (pairs,).
        outcomes: 1 where it does (for comparisons: everywhere), 0 where not, (pairs,).
        bins: Number of bins, all of one width.
    """
    p, won = np.asarray(probabilities, dtype=float), np.asarray(outcomes, dtype=float)
    _check_finite(p, [f"pair {number}" for number in range(1, len(p) + 1)])
    confidence = np.maximum(p, 1 - p)
    right = np.where(p > 0.5, won, np.where(p < 0.5, 1 - won, 0.5))
    edges = np.linspace(0.5, 1, bins + 1)
    place = np.searchsorted(edges[1:-1], confidence, side="right")
    return [
        ReliabilityBin(
            low=float(edges[i]),
            high=float(edges[i + 1]),
            n=int((place == i).sum()),
            mean_probability=float(confidence[place == i].mean()),
            share_right=float(right[place == i].mean()),
        )
        for i in np.unique(place)
    ]


def expected_calibration_error(
    probabilities: ArrayLike, outcomes: ArrayLike, bins: int = 10
) -> float:
    """Return how far confidence is from the share that is right, on average over the pairs.

    Chance alone makes it larger than 0, the more the fewer pairs a bin holds: with 5 each, a
    perfect model shows about 0.14. Arguments are those of `reliability_curve` (Guo et al. 2017,
    equation 3); 0 if there are no pairs.
    """
    curve = reliability_curve(probabilities, outcomes, bins)
    gaps = [each["n"] * abs(each["share_right"] - each["mean_probability"]) for each in curve]
    return sum(gaps) / max(1, sum(each["n"] for each in curve))
