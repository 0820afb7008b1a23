"""The order in which rows are trained on: rows of like length together, nothing drawn twice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Steps whose rows are sorted by length together: enough to fill batches with rows of like length,
# few enough that an epoch is still shuffled.
STEPS_SORTED_TOGETHER = 50


def order_rows(lengths: Sequence[int], step_rows: int, epochs: int, seed: int) -> list[int]:
    """Order the rows of all epochs.

    The whole order is known before training, so a resumed run goes on in exactly the same one.

    Args:
        lengths: Tokens of each row.
        step_rows: Rows of one optimiser step, over all ranks.
        epochs: Passes over the rows.
        seed: Of the shuffling.

    Returns:
        Row numbers, `epochs * len(lengths)` of them. In each epoch every row occurs once; rows of a
        step are of like length, and steps are in random order, but for an incomplete last one.
    """
    order: list[int] = []
    for epoch in range(epochs):
        draw = np.random.default_rng([seed, epoch])
        shuffled = draw.permutation(len(lengths))
        n_whole = len(lengths) // step_rows * step_rows
        steps = []
        for start in range(0, n_whole, step_rows * STEPS_SORTED_TOGETHER):
            part = shuffled[start : min(start + step_rows * STEPS_SORTED_TOGETHER, n_whole)]
            part = sorted(part.tolist(), key=lambda row: -lengths[row])
            steps += [part[i : i + step_rows] for i in range(0, len(part), step_rows)]
        for step in draw.permutation(len(steps)):
            order += steps[step]
        order += shuffled[n_whole:].tolist()
    return order
