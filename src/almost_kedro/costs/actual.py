"""What programs took, beside what was planned for them, as metrics of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, cast

from almost_kedro.costs.planned import Plan, Planned, list_planned, nest
from almost_kedro.rows.metrics import Documents, ProgramMetrics

# Every program that computes says how much memory it took.
MARK = "peak_memory_mb"


class Cost(NamedTuple):
    """What a program took."""

    step: str  # the metrics that have it
    program: str  # its place in them
    asked: int | None  # requests or rows that it was given; None if it counts none
    cached: int | None  # how many of them were there from earlier
    tokens: int | None  # read or written, without the cached
    seconds: float  # loading included
    resumed: bool  # whether an earlier start did a part, which is not counted
    memory_mb: float  # peak
    gpu_memory_mb: float | None  # the same of its GPU; None without one

    @property
    def peak_mb(self) -> float:
        """The memory that a plan is about: the GPU's, if there is one."""
        return self.memory_mb if self.gpu_memory_mb is None else self.gpu_memory_mb


def nest_actual(plan: Plan, dataset: str, data: Any) -> dict[str, Any]:
    """Return what the programs of a dataset took, under the names of the plan.

    Args:
        plan: The plan.
        dataset: Name of what was saved.
        data: It; metrics have their programs' costs, other data none.
    """
    planned = list_planned(plan)
    return nest(
        {
            (cost.step, cost.program): Planned(
                cost.asked, cost.tokens or 0, cost.seconds, cost.peak_mb
            )._asdict()
            for cost in list_costs({dataset: data})
            if (cost.step, cost.program) in planned
        }
    )


def list_costs(metrics: Documents) -> list[Cost]:
    """Find what programs took in all metrics, in their order."""
    return [
        read_cost(name.removesuffix("_metrics"), " ".join(path), found)
        for name, document in metrics.items()
        for path, found in _find(document)
    ]


def read_cost(step: str, program: str, found: ProgramMetrics) -> Cost:
    """Read what a program says of itself: one that generates, scores or trains.

    Args:
        step: The metrics that have it.
        program: Its place in them.
        found: Its own metrics.
    """
    cached: int | None = None
    asked: int | None = found.get("rows")
    if "requests_from_cache" in found:
        cached = found["requests_from_cache"]
        asked = found["requests_generated"] + found["requests_from_cache"]
    elif "rows_computed" in found:
        cached = found["rows"] - found["rows_computed"]
    return Cost(
        step=step,
        program=program,
        asked=asked,
        cached=cached,
        tokens=read_tokens(found),
        seconds=read_seconds(found),
        resumed=found.get("resumed_from_step", 0) > 0,
        memory_mb=found["peak_memory_mb"],
        gpu_memory_mb=found.get("peak_gpu_memory_mb"),
    )


def read_tokens(found: ProgramMetrics) -> int | None:
    """Return how many tokens a program wrote, read or was trained on."""
    return found.get("tokens_generated", found.get("tokens"))


def read_seconds(found: ProgramMetrics) -> float:
    """Return how long it took; what has no total has parts."""
    if "seconds" in found:
        return found["seconds"]
    return found.get("load_seconds", 0.0) + found.get("train_seconds", 0.0)


def _find(
    document: Any, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], ProgramMetrics]]:
    if not isinstance(document, Mapping):
        return
    if MARK in document:
        yield path, cast(ProgramMetrics, document)
    for name, value in document.items():
        # Where a program's place says no more than that it is one.
        step = () if name in ("cost", "worker") else (str(name),)
        yield from _find(value, (*path, *step))
