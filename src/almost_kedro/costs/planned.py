"""The plan as it is kept, and what became of it: planned against actual, program by program."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, TypedDict

from almost_kedro.contract import digest
from almost_kedro.options.launch import PLACES

COST_PLAN = "cost_plan"

# Options that change nothing that a run costs.
FREE = ("data_root", "mlflow_uri")


class PlannedStep(TypedDict):
    """A program of the plan; `step` and `program` are its names in the report's costs.

    Tokens and requests are those that the program itself will count.
    """

    pipeline: str
    step: str
    program: str
    model: str
    kind: str
    requests: float | None
    prompt_tokens: float
    prefix_tokens: float
    new_tokens: float
    forward_tokens: float
    training_tokens: float
    tokens: float
    seconds: float | None
    memory_mb: float | None


class Plan(TypedDict):
    """A plan."""

    options: str  # digest of those that it was made for
    machine: str  # where it would run, in words
    machine_mb: float  # the memory there
    processes: int  # how many are started
    start_seconds: float  # what that takes in all
    steps: list[PlannedStep]
    assumptions: dict[str, Any]
    notes: list[str]  # what else to know


class Planned(NamedTuple):
    """What was planned for a program, as the report's costs name it."""

    requests: float | None
    tokens: float
    seconds: float | None
    memory_mb: float | None


def digest_options(options: Mapping[str, Any]) -> str:
    """Identify the options that decide what a run costs.

    Args:
        options: All of them, as plain values, with defaults.
    """
    counted = {name: value for name, value in options.items() if name not in FREE}
    if "launch" in counted:
        launch = counted["launch"].items()
        counted["launch"] = {name: value for name, value in launch if name not in PLACES}
    return digest(counted)


def fits(plan: Plan | None, options: Mapping[str, Any]) -> bool:
    """Tell whether a plan was made for these options, as plain values with defaults."""
    return plan is not None and plan["options"] == digest_options(options)


def list_planned(plan: Plan) -> dict[tuple[str, str], Planned]:
    """Return what was planned, by step and program."""
    return {
        (each["step"], each["program"]): Planned(
            each["requests"], each["tokens"], each["seconds"], each["memory_mb"]
        )
        for each in plan["steps"]
    }


def nest_planned(plan: Plan, made: Collection[str]) -> dict[str, Any]:
    """Return a plan's figures as nested metrics: step, program, figure.

    Args:
        plan: The plan.
        made: Datasets that the run makes; the other steps are left out.
    """
    figures = {
        (step, program): planned._asdict()
        for (step, program), planned in list_planned(plan).items()
        if not {step, f"{step}_metrics"}.isdisjoint(made)
    }
    return nest(figures)


def nest(figures: Mapping[tuple[str, str], Mapping[str, Any]]) -> dict[str, Any]:
    """Nest figures by step and program; a program without a name is its step."""
    nested: dict[str, Any] = {}
    for (step, program), values in figures.items():
        place = nested.setdefault(step, {})
        (place.setdefault(program, {}) if program else place).update(values)
    return nested
