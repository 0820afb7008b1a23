"""What each step cost: tokens, seconds and memory, as its metrics have them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from almost_kedro.pages.report.numbers import MISSING, Table, show_count, show_name
from almost_kedro.plan.document import Plan, Planned, fits, list_planned

# Every program that computes says how much memory it took.
MARK = "peak_memory_mb"


class Cost(NamedTuple):
    """What a program took.

    Attributes:
        step: The metrics that have it.
        program: Its place in them.
        asked: Requests or rows that it was given; None if it counts none.
        cached: How many of them were there from earlier.
        tokens: Read or written, without the cached.
        seconds: Loading included.
        memory_mb: Peak.
        gpu_memory_mb: The same of its GPU; None without one.
    """

    step: str
    program: str
    asked: int | None
    cached: int | None
    tokens: int | None
    seconds: float
    memory_mb: float
    gpu_memory_mb: float | None

    @property
    def peak_mb(self) -> float:
        """The memory that a plan is about: the GPU's, if there is one."""
        return self.memory_mb if self.gpu_memory_mb is None else self.gpu_memory_mb


def list_costs(metrics: Mapping[str, Mapping[str, Any]]) -> list[Cost]:
    """Find what programs took in all metrics, in their order.

    Args:
        metrics: Metrics datasets by name.
    """
    return [
        read_cost(name.removesuffix("_metrics"), " ".join(path), found)
        for name, document in metrics.items()
        for path, found in _find(document)
    ]


def read_cost(step: str, program: str, found: Mapping[str, Any]) -> Cost:
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
    seconds = found.get("seconds")
    if seconds is None:
        seconds = found.get("load_seconds", 0.0) + found.get("train_seconds", 0.0)
    return Cost(
        step=step,
        program=program,
        asked=asked,
        cached=cached,
        tokens=found.get("tokens_generated", found.get("tokens")),
        seconds=seconds,
        memory_mb=found[MARK],
        gpu_memory_mb=found.get("peak_gpu_memory_mb"),
    )


def _find(
    document: Any, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    if not isinstance(document, Mapping):
        return
    if MARK in document:
        yield path, document
    for name, value in document.items():
        # Where a program's place says no more than that it is one.
        step = () if name in ("cost", "worker") else (str(name),)
        yield from _find(value, (*path, *step))


def tabulate_costs(costs: list[Cost]) -> Table:
    """Put the costs of all programs below one another, and their sum.

    Args:
        costs: From `list_costs`.
    """
    rows = [
        (
            _name(cost.step, cost.program),
            show_count(cost.asked),
            show_count(cost.cached),
            show_count(cost.tokens),
            f"{cost.seconds:,.1f}",
            show_count(cost.memory_mb),
            show_count(cost.gpu_memory_mb),
        )
        for cost in costs
    ]
    total = (
        "all",
        MISSING,
        MISSING,
        show_count(sum(cost.tokens or 0 for cost in costs)),
        f"{sum(cost.seconds for cost in costs):,.1f}",
        f"at most {show_count(max((cost.memory_mb for cost in costs), default=0))}",
        MISSING,
    )
    heads = (
        "step",
        "requests or rows",
        "of them from the cache",
        "tokens",
        "seconds",
        "peak MB",
        "peak MB of the GPU",
    )
    return Table("What each program took", heads, (*rows, total))


def _name(step: str, program: str) -> str:
    return f"{show_name(step)} ({program})" if program else show_name(step)


def find_plan(plan: Plan | None, options: Mapping[str, Any]) -> tuple[Plan | None, str]:
    """Return the plan if it was made for a run's options, and a sentence about it.

    Args:
        plan: The newest, if `kedro plan` was ever run.
        options: The run's, as plain values.
    """
    if plan is None:
        return None, ""
    if not fits(plan, options):
        return None, "The newest plan (kedro plan) is for other options, so it is not shown."
    return plan, f"Planned by kedro plan, for {plan['machine']}."


def tabulate_plan(costs: Sequence[Cost], plan: Plan) -> Table:
    """Put what was planned beside what programs took, and the sum of those that have both.

    What came from a cache took less than planned; the table of costs says how much did.

    Args:
        costs: From `list_costs`.
        plan: The plan.
    """
    planned = list_planned(plan)
    actual = {(cost.step, cost.program): cost for cost in costs}
    rows = [
        (_name(*key), *_pair(planned.get(key), actual.get(key)))
        for key in dict.fromkeys([*actual, *planned])
    ]
    both = [(planned[key], cost) for key, cost in actual.items() if key in planned]
    total = (
        "all that have both",
        MISSING,
        MISSING,
        show_count(sum(each.tokens for each, _ in both)),
        show_count(sum(cost.tokens or 0 for _, cost in both)),
        show_count(sum(each.seconds or 0 for each, _ in both)),
        show_count(sum(cost.seconds for _, cost in both)),
        show_count(max((each.memory_mb or 0 for each, _ in both), default=0)),
        show_count(max((cost.peak_mb for _, cost in both), default=0)),
    )
    heads = [
        f"{name}, {which}"
        for name in ("requests or rows", "tokens", "seconds", "peak MB")
        for which in ("planned", "actual")
    ]
    return Table("Planned against actual", ("step", *heads), (*rows, total))


def _pair(planned: Planned | None, cost: Cost | None) -> list[str]:
    expected = planned or (None,) * 4
    took = (cost.asked, cost.tokens, cost.seconds, cost.peak_mb) if cost else (None,) * 4
    return [show_count(value) for pair in zip(expected, took, strict=True) for value in pair]


def describe_cache(costs: list[Cost]) -> str:
    """Say how much was there from earlier runs.

    Args:
        costs: From `list_costs`.
    """
    counted = [cost for cost in costs if cost.cached is not None]
    asked, cached = (sum(getattr(c, name) or 0 for c in counted) for name in ("asked", "cached"))
    if not cached:
        return "Nothing came from the cache."
    return (
        f"{cached:,} of {asked:,} requests and rows that are cached at all came from the cache: "
        "what they cost is in the report of the run that computed them, not here."
    )
