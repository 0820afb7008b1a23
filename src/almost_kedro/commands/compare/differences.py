"""Whether a figure differs between two runs: a paired test where both measured the same items."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from almost_kedro.evaluation.statistics import (
    Difference,
    bootstrap_difference,
    bootstrap_unpaired_difference,
)

# Of fewer groups, the bootstrap's intervals are much too narrow: nothing is tested.
MIN_GROUPS = 10
# With fewer groups that differ, all of them in one direction are no rare chance: 2 / 2^5 > 0.05.
MIN_DIFFERING = 6
# The share of the smaller run's items that both runs must have for a paired test.
MIN_COMMON = 0.5


class Score(NamedTuple):
    """What one item adds to a figure.

    Attributes:
        item: Names the item and what is in it; empty if that is not known.
        group: What is drawn by the bootstrap: its prompt, or the item itself.
        value: A hit (0 to 1), a reward, or a length.
    """

    item: str
    group: str
    value: float


@dataclass(frozen=True)
class Measure:
    """A figure of one run.

    Attributes:
        value: The figure, or a verdict in words.
        low: Where its 95 % interval begins; None if it has none.
        high: Where it ends.
        scores: What it is the mean of, if the run has that.
        sampled: False if the items are chosen, as a benchmark's are: on other items, a figure is
            another one.
        scale: What measured it. Figures on two scales can't be compared; None is unknown.
    """

    value: float | str
    low: float | None = None
    high: float | None = None
    scores: Sequence[Score] = ()
    scale: str | None = ""
    sampled: bool = True


@dataclass(frozen=True)
class Outcome:
    """What can be said about a difference, second run - first run.

    Attributes:
        test: How it was tested.
        value: The difference; of the common items where the test is paired. None if there is none.
        low: Where its 95 % interval begins; None without a test.
        high: Where it ends.
        n_common: Items that both runs measured.
        n_differing: Those of them with other scores, if the test is paired.
        n_groups: Groups of which the total differs, if the test is paired.
        why: Why there is no test.
    """

    test: Literal["paired", "unpaired", "none"]
    value: float | None = None
    low: float | None = None
    high: float | None = None
    n_common: int = 0
    n_differing: int = 0
    n_groups: int = 0
    why: str = ""

    @property
    def shown(self) -> bool:
        """True if the interval leaves 0 out; in a paired test, enough groups must differ, too."""
        if self.low is None or self.high is None:
            return False
        enough = self.test == "unpaired" or self.n_groups >= MIN_DIFFERING
        return enough and not self.low <= 0 <= self.high


def compare_measures(a: Measure, b: Measure, seed: int) -> Outcome:
    """Test whether a figure differs between two runs."""
    if isinstance(a.value, str) or isinstance(b.value, str):
        return Outcome("none")
    if a.scale is None or b.scale is None:
        return Outcome("none", why="not known what measured it")
    if a.scale != b.scale:
        return Outcome("none", why="measured differently")
    if not a.scores or not b.scores:
        plain = a.low is None and b.low is None
        return Outcome("none", b.value - a.value, why="" if plain else "intervals only")
    return _test(a, b, seed)


def _test(first: Measure, second: Measure, seed: int) -> Outcome:
    a, b = first.scores, second.scores
    sides = [{score.item: score for score in scores if score.item} for scores in (a, b)]
    common = [item for item in sides[0] if item in sides[1]]
    n = len(common)
    scores_a, scores_b = ([side[item] for item in common] for side in sides)
    many = n >= min(len(a), len(b)) * MIN_COMMON
    if many and _count_groups(scores_a) >= MIN_GROUPS:
        new, old = ([score.value for score in scores] for scores in (scores_b, scores_a))
        found = bootstrap_difference(new, old, [score.group for score in scores_a], seed)
        n_differing = sum(one != two for one, two in zip(new, old, strict=True))
        n_groups = _count_differing(scores_a, scores_b)
        return Outcome("paired", found.value, found.low, found.high, n, n_differing, n_groups)
    if not many and not first.sampled:
        return Outcome("none", n_common=n, why="on other items")
    if min(_count_groups(a), _count_groups(b)) >= MIN_GROUPS:
        found = _compare_unpaired(a, b, seed)
        return Outcome("unpaired", found.value, found.low, found.high, n)
    why = f"fewer than {MIN_GROUPS} items"
    return Outcome("none", _mean(b) - _mean(a), n_common=n, why=why)


def _count_differing(a: Sequence[Score], b: Sequence[Score]) -> int:
    """Count the groups that differ in all; items of one group are no evidence apart."""
    totals = defaultdict[str, float](float)
    for one, other in zip(a, b, strict=True):
        totals[one.group] += other.value - one.value
    return sum(total != 0 for total in totals.values())


def _compare_unpaired(a: Sequence[Score], b: Sequence[Score], seed: int) -> Difference:
    return bootstrap_unpaired_difference(
        [score.value for score in b],
        [score.group for score in b],
        [score.value for score in a],
        [score.group for score in a],
        seed,
    )


def _count_groups(scores: Sequence[Score]) -> int:
    return len({score.group for score in scores})


def _mean(scores: Sequence[Score]) -> float:
    return sum(score.value for score in scores) / len(scores)
