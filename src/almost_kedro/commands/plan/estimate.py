"""Seconds and memory of each program: its work, on a machine."""

from __future__ import annotations

from dataclasses import replace

from almost_kedro.commands.plan.machine import Machine
from almost_kedro.commands.plan.workload import JUDGED_IN_TRAINING, Ask, Training, Work
from almost_kedro.costs.planned import PlannedStep
from almost_kedro.options.models import ModelShape

# Seconds as a program measures itself (loading included, starting not), and its peak megabytes, of
# the process or of one GPU; None where they are unknown.
Estimate = tuple[float | None, float | None]


def estimate(
    work: Work, shape: ModelShape | None, machine: Machine, judge: ModelShape | None
) -> Estimate:
    """Estimate a program.

    Args:
        work: What it does.
        shape: Size of its model, if known.
        machine: Where.
        judge: Size of the model that reward models start from, if known.
    """
    if shape is None or (work.kind in JUDGED_IN_TRAINING and judge is None):
        return None, None
    if work.kind == "generate" and not work.asks:  # all of it is in the request cache
        return 0.0, None
    if work.kind != "generate":  # only that spreads one model over GPUs
        copies = machine.reading if work.kind in ("score", "likelihood") else 1
        machine = replace(machine, writing=1, replicas=copies)
    if work.training:
        return estimate_training(work, work.training, shape, machine, judge)
    # Each replica reads what its requests have in common.
    read = (work.forward_tokens + work.prompt_tokens) / machine.replicas + work.prefix_tokens
    asks = [replace(ask, requests=ask.requests / machine.replicas) for ask in work.asks]
    seconds = machine.load(shape) + machine.read(shape, read)
    seconds += sum(write(ask, shape, machine) for ask in asks)
    if work.kind == "generate":
        return seconds, max(machine.generation_mb(shape, ask) for ask in asks)
    return seconds, machine.reading_mb(shape)


def estimate_training(
    work: Work, training: Training, shape: ModelShape, machine: Machine, judge: ModelShape | None
) -> Estimate:
    """Estimate a training; if answers are judged in it, each rank writes and judges its share."""
    seconds = machine.load(shape)
    seconds += machine.train(shape, work.training_tokens, work.kind, training)
    judge = judge if work.kind in JUDGED_IN_TRAINING else None
    if judge:
        ranks = training.ranks if machine.apart else 1
        asks = [replace(ask, requests=ask.requests / ranks) for ask in work.asks]
        seconds += training.judges * machine.load(judge)
        seconds += machine.read(shape, (work.forward_tokens + work.prompt_tokens) / ranks)
        seconds += sum(write(ask, shape, machine, together=True) for ask in asks)
    return seconds, machine.training_mb(shape, training, judge)


def write(ask: Ask, shape: ModelShape, machine: Machine, *, together: bool = False) -> float:
    """Return what writing takes: steps, each with as many rows as are still being written.

    A new text takes a finished one's place; at the end the longest one is alone.

    Args:
        ask: What is written.
        shape: Size of the model.
        machine: Where.
        together: Whether all texts of a call are one batch, whatever fits.
    """
    asked = ask.requests / ask.calls
    if not asked * ask.new:
        return 0.0
    rows = asked if together else min(asked, machine.rows(shape, ask))
    tokens = asked * ask.new
    steps = max(ask.limit, tokens / rows)
    context = ask.prefix + ask.prompt + ask.new / 2
    return ask.calls * steps * machine.write_step(shape, tokens / steps, context)


def describe_step(work: Work, estimated: Estimate) -> PlannedStep:
    """Write a program of the plan as plain values."""
    seconds, memory_mb = estimated
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
        seconds=None if seconds is None else round(seconds, 1),
        memory_mb=None if memory_mb is None else round(memory_mb),
    )
