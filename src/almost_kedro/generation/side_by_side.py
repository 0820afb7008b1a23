"""Reading by several copies of a model, each on a GPU of its own: rewards and log-probabilities.

A pass over a batch is one long computation, so threads of one program are enough here; what writes
token by token is in programs of its own (`generation.replicas`).
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, TypeVar

import torch

Model = TypeVar("Model")
Item = TypeVar("Item")
Result = TypeVar("Result")
Number = int | Literal["auto"]


def choose_devices(replicas: Number) -> list[torch.device]:
    """Return a device for each copy: so many GPUs, or all (`auto`); without GPUs, the processor."""
    found = torch.cuda.device_count()
    n = found if replicas == "auto" else min(replicas, found)
    return [torch.device("cuda", number) for number in range(n)] or [torch.device("cpu")]


def compute_side_by_side(
    models: Sequence[Model], items: Sequence[Item], compute: Callable[[Model, Item], Result]
) -> Iterator[Result]:
    """Compute an item with whichever model is free; yield the results in the order of the items."""
    if len(models) == 1:
        yield from (compute(models[0], item) for item in items)
        return
    free: queue.SimpleQueue[Model] = queue.SimpleQueue()
    for model in models:
        free.put(model)

    def compute_one(item: Item) -> Result:
        model = free.get()
        try:
            return compute(model, item)
        finally:
            free.put(model)

    pool = ThreadPoolExecutor(len(models))
    try:
        yield from pool.map(compute_one, items)
    finally:  # what has not begun never does, after an error
        pool.shutdown(cancel_futures=True)
