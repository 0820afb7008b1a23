"""The order in which rows are trained on: rows of similar length together, no row drawn twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

# Steps whose rows are sorted by length together: enough for batches of similar length, few enough
# that an epoch is still shuffled.
STEPS_SORTED_TOGETHER = 50


@dataclass(frozen=True)
class Schedule:
    """Which rows each step trains on; known completely before training.

    Attributes:
        order: Row numbers of all epochs.
        step_rows: Rows of one step, over all ranks; the last step may have fewer.
        tokens: Tokens of the first N rows of `order`, for N from 0.
    """

    order: list[int]
    step_rows: int
    tokens: list[int]

    @property
    def n_steps(self) -> int:
        """Number of steps."""
        return -(-len(self.order) // self.step_rows)

    def count_tokens(self, step: int) -> int:
        """Return the tokens of the first `step` steps, without padding."""
        return self.tokens[min(step * self.step_rows, len(self.order))]

    def get_rows(self, step: int) -> list[int]:
        """Return the row numbers of a step; steps count from 1."""
        return self.order[(step - 1) * self.step_rows : step * self.step_rows]


def make_schedule(
    widths: Sequence[int], tokens: Sequence[int], step_rows: int, epochs: int, seed: int
) -> Schedule:
    """Plan steps of `step_rows` rows over all ranks; `widths` are tokens of the longest texts."""
    order = order_rows(widths, step_rows, epochs, seed)
    return Schedule(order, step_rows, list(accumulate((tokens[row] for row in order), initial=0)))


def order_rows(lengths: Sequence[int], step_rows: int, epochs: int, seed: int) -> list[int]:
    """Order the rows of all epochs; return `epochs * len(lengths)` row numbers.

    In each epoch every row occurs once. Rows of a step are of similar length, and steps are in
    random order. Lengths are mixed only where one epoch ends and the next begins, and in an
    incomplete last step. `lengths` are tokens; `step_rows` counts over all ranks.
    """
    order: list[int] = []
    for epoch in range(epochs):
        draw = np.random.default_rng([seed, epoch])
        shuffled = draw.permutation(len(lengths)).tolist()
        # The first rows complete the last step of the epoch before.
        head = min(-len(order) % step_rows, len(shuffled))
        tail = len(shuffled) - (len(shuffled) - head) % step_rows
        steps = []
        for start in range(head, tail, step_rows * STEPS_SORTED_TOGETHER):
            drawn = shuffled[start : min(start + step_rows * STEPS_SORTED_TOGETHER, tail)]
            part = sorted(drawn, key=lambda row: -lengths[row])
            steps += [part[i : i + step_rows] for i in range(0, len(part), step_rows)]
        order += shuffled[:head]
        for step in draw.permutation(len(steps)):
            order += steps[step]
        order += shuffled[tail:]
    return order
