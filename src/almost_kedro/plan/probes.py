"""How the calibration times things, and what it times them with."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from almost_kedro.generation.worker import peak_memory

# Seconds that one measurement may take.
SECONDS = 0.7


def fit_rows(row_seconds: float, most: int, seconds: float = SECONDS) -> int:
    """Return how many rows there is time for."""
    return max(1, min(most, int(seconds / max(row_seconds, 1e-6))))


def draw_rows(model: Any, n: int, length: int) -> list[list[int]]:
    """Draw rows of token ids; what they say changes no speed."""
    generator = torch.Generator().manual_seed(0)
    size = model.config.get_text_config().vocab_size
    rows: list[list[int]] = torch.randint(1, size, (n, length), generator=generator).tolist()
    return rows


def draw(model: Any, n: int, length: int, device: torch.device) -> torch.Tensor:
    """Draw rows as a tensor, (n, length)."""
    return torch.tensor(draw_rows(model, n, length), device=device)


def time_best(act: Callable[[], Any], device: torch.device, repeats: int = 2) -> float:
    """Return how long something takes: the best of some times, as others may compute, too."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        act()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def peak_mb(device: torch.device) -> float:
    """Return the memory used at most so far, of the GPU if there is one."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return peak_memory() / 2**20
