"""What each step cost: tokens, seconds and memory, as its metrics have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from almost_kedro.costs.actual import Cost
from almost_kedro.costs.planned import Plan, Planned, fits, list_planned
from almost_kedro.pages.report.numbers import show_count, show_name
from almost_kedro.pages.table import MISSING, Table


def tabulate_costs(costs: list[Cost]) -> Table:
    """Put the costs of all programs below one another, and their sum."""
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
    """Return the plan if it was made for a run's options, and a sentence about it."""
    if plan is None:
        return None, ""
    if not fits(plan, options):
        return None, "The newest plan (kedro plan) is for other options, so it is not shown."
    return plan, f"Planned by kedro plan, for {plan['machine']}."


def tabulate_plan(costs: Sequence[Cost], plan: Plan) -> Table:
    """Put what was planned beside what programs took, and the sum of those that have both.

    What came from a cache took less than planned; the table of costs says how much did.
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
    """Say how much was there from earlier runs."""
    counted = [cost for cost in costs if cost.cached is not None]
    asked, cached = (sum(getattr(c, name) or 0 for c in counted) for name in ("asked", "cached"))
    if not cached:
        return "Nothing came from the cache."
    return (
        f"{cached:,} of {asked:,} requests and rows that are cached at all came from the cache: "
        "what they cost is in the report of the run that computed them, not here."
    )
