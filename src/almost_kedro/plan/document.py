"""The plan as it is kept, and what became of it: planned against actual, program by program."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, TypedDict

from almost_kedro.generation.engine import digest
from almost_kedro.plan.estimate import Estimate

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
    """A plan.

    Attributes:
        options: Digest of the options that it was made for.
        machine: Where it would run, in words.
        machine_mb: The memory there.
        processes: How many are started.
        start_seconds: What that takes in all.
        steps: Its programs.
        assumptions: By name.
        notes: What else to know.
    """

    options: str
    machine: str
    machine_mb: float
    processes: int
    start_seconds: float
    steps: list[PlannedStep]
    assumptions: dict[str, Any]
    notes: list[str]


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
    return digest({name: value for name, value in options.items() if name not in FREE})


def describe_step(estimate: Estimate) -> PlannedStep:
    """Write an estimate as plain values."""
    work = estimate.work
    return PlannedStep(
        pipeline=work.pipeline,
        step=work.step,
        program=work.program,
        model=work.model,
        kind=work.kind,
        requests=None if work.requests is None else round(work.requests),
        prompt_tokens=round(work.prompt_tokens),
        prefix_tokens=round(work.prefix_tokens),
        new_tokens=round(work.new_tokens),
        forward_tokens=round(work.forward_tokens),
        training_tokens=round(work.training_tokens),
        tokens=round(work.counted_tokens),
        seconds=None if estimate.seconds is None else round(estimate.seconds, 1),
        memory_mb=None if estimate.memory_mb is None else round(estimate.memory_mb),
    )


def fits(plan: Plan | None, options: Mapping[str, Any]) -> bool:
    """Tell whether a plan was made for these options.

    Args:
        plan: The plan, if there is one.
        options: Of a run, as plain values, with defaults.
    """
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
