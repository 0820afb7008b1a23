"""Rows in progress: which are read in the next pass, and where their keys and values go."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
import torch

from almost_kedro.generation.slots import Slots
from almost_kedro.generation.steps import Step, round_up


@dataclass
class Row:
    """One request in progress; `index` is its number."""

    index: int
    tokens: list[int]
    uniforms: np.ndarray
    generated: list[int] = field(default_factory=list)

    @property
    def length(self) -> int:
        """Tokens read, plus the one to be read next."""
        return len(self.tokens) + len(self.generated)

    @property
    def last(self) -> int:
        """The token to be read next."""
        return self.generated[-1] if self.generated else self.tokens[-1]


def admit(waiting: deque[Row], places: int, length: int, most: int) -> list[list[Row]]:
    """Take the next rows, as many as there are places, and group rows with equal tokens.

    Rows with equal tokens are next to each other in `waiting`, from which the taken ones are
    removed. `length` tokens are the shared prefix. At most `most` further tokens are read, unless a
    single row has more.
    """
    new: list[list[Row]] = []
    tokens = 0
    while waiting and places > 0:
        row = waiting[0]
        if new and row.tokens == new[-1][0].tokens:
            new[-1].append(row)
        else:
            tokens += len(row.tokens) - length
            if new and tokens > most:
                break
            new.append([row])
        waiting.popleft()
        places -= 1
    return new


def leave(rows: list[Row], done: list[int], slots: Slots) -> list[Row]:
    """Take finished rows out; the last rows move into their slots, with keys and values.

    `done` has the numbers of the finished rows, ascending. Rows are in slot order, before and
    after.
    """
    left = len(rows) - len(done)
    holes = [number for number in done if number < left]
    finished = set(done)
    moved = [number for number in range(left, len(rows)) if number not in finished]
    slots.move(moved, holes)
    for source, target in zip(moved, holes, strict=True):
        rows[target] = rows[source]
    return rows[:left]


def plan_step(
    rows: list[Row], new: list[list[Row]], length: int, device: torch.device
) -> tuple[torch.Tensor, Step]:
    """Plan the pass that reads every row's last token, and before it the other tokens of new rows.

    `rows` are in slot order, the new ones last. `new` groups them by equal tokens. The shared
    prefix of `length` tokens is not read. Return token ids `(tokens,)` and the step.
    """
    ids: list[int] = []
    places, spread = [], []
    slot = len(rows) - sum(map(len, new))
    for alike in new:
        own = alike[0].tokens[length:-1]
        numbers = np.arange(len(own))
        places.append(numbers)
        for _ in alike:
            spread.append((numbers + len(ids), np.full(len(own), slot), numbers))
            slot += 1
        ids += own
    sizes = [len(numbers) for numbers in places]
    fresh = np.full((len(new), max(sizes, default=0)), -1)
    for line, end, size in zip(fresh, np.cumsum(sizes), sizes, strict=True):
        line[:size] = np.arange(end - size, end)
    lengths = np.array([row.length for row in rows]) - length
    last = np.arange(len(rows))
    tokens, slots, own_places = (
        np.concatenate(parts)
        for parts in zip(*spread, (last + len(ids), last, lengths - 1), strict=True)
    )
    positions = np.concatenate([*places, lengths - 1]) + length

    def put(numbers: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(numbers).to(device)

    step = Step(
        positions=put(positions),
        lengths=put(lengths),
        longest=round_up(int(lengths.max())),
        tokens=put(tokens),
        slots=put(slots),
        places=put(own_places),
        fresh=put(fresh),
        sizes=sizes,
        taken=slice(len(rows) - sum(map(len, new)), len(rows)) if new else None,
    )
    return torch.tensor(ids + [row.last for row in rows], device=device), step
