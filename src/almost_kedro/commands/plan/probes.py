"""How the calibration times things, and what it times them with."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from almost_kedro.processes.memory import peak_memory

Rows = list[list[int]]


def draw_rows(model: Any, n: int, length: int) -> Rows:
    """Draw rows of token ids; what they say changes no speed."""
    generator = torch.Generator().manual_seed(0)
    size = model.config.get_text_config().vocab_size
    rows: Rows = torch.randint(1, size, (n, length), generator=generator).tolist()
    return rows


def time_best(act: Callable[[], Any], repeats: int = 2) -> float:
    """Return how long something takes: the best of some times, as others may compute, too."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        act()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def time_rows(
    act: Callable[[Rows], Any], model: Any, length: int, most: int, limit: float
) -> tuple[int, float]:
    """Time something with as many rows as a real batch has: two rows alone look slow.

    Args:
        act: What is timed.
        model: What reads the rows.
        length: Tokens of a row.
        most: Rows at most.
        limit: Seconds that it may take at the pace of two rows.

    Returns:
        How many rows there was time for, and how many of their tokens take a second.
    """
    few = draw_rows(model, 2, length)
    act(few)
    pair = time_best(lambda: act(few), repeats=1)
    # Pairs: a reward model is trained on them.
    n = 2 * max(1, min(most // 2, int(limit / max(pair, 1e-6))))
    rows = draw_rows(model, n, length)
    # The first of two takes new memory from the system.
    return n, n * length / time_best(lambda: act(rows))


def peak_mb() -> float:
    """Return the memory used at most so far, of the GPU if there is one."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return peak_memory() / 2**20
