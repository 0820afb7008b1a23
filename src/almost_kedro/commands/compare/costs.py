"""What each run cost, step by step: a step is a program, and several of one name are one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from almost_kedro.costs.actual import read_seconds, read_tokens
from almost_kedro.rows.metrics import ProgramMetrics


class Step(NamedTuple):
    """One program of a run and its figures."""

    name: str
    metrics: ProgramMetrics


class Cost(NamedTuple):
    """What a step took: programs, seconds, tokens."""

    programs: int
    seconds: float
    tokens: float


def sum_costs(steps: Sequence[Step]) -> dict[str, Cost]:
    """Return the cost of each step, in the order in which they began."""
    costs: dict[str, Cost] = {}
    for name, metrics in steps:
        before = costs.get(name, Cost(0, 0.0, 0.0))
        costs[name] = Cost(
            before.programs + 1,
            before.seconds + read_seconds(metrics),
            before.tokens + (read_tokens(metrics) or 0),
        )
    return costs


def pair_costs(
    a: Mapping[str, Cost], b: Mapping[str, Cost]
) -> list[tuple[str, Cost | None, Cost | None]]:
    """Put the steps of two runs side by side: those of the first, then what only the second has."""
    return [(name, a.get(name), b.get(name)) for name in dict.fromkeys([*a, *b])]
