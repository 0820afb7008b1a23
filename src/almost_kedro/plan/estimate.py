"""Seconds and memory of each program: its work, on a machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from almost_kedro.options import ModelShape
from almost_kedro.plan.machine import Machine
from almost_kedro.plan.work import Ask, Training, Work


@dataclass(frozen=True)
class Estimate:
    """What a program is expected to take; None where its model's size is unknown.

    Attributes:
        work: What it does.
        seconds: As the program measures itself: loading included, starting not.
        memory_mb: Peak, of the process or of one GPU.
    """

    work: Work
    seconds: float | None
    memory_mb: float | None


def estimate_all(
    work: Sequence[Work],
    shapes: Mapping[str, ModelShape | None],
    machine: Machine,
    judge: str,
) -> list[Estimate]:
    """Estimate all programs.

    Args:
        work: What they do.
        shapes: Sizes of models, by name.
        machine: Where.
        judge: Name of the model that reward models start from.
    """
    return [estimate(each, shapes.get(each.model), machine, shapes.get(judge)) for each in work]


def estimate(
    work: Work,
    shape: ModelShape | None,
    machine: Machine,
    judge: ModelShape | None,
) -> Estimate:
    """Estimate a program; see `estimate_all`."""
    if shape is None or (work.kind == "rl" and judge is None):
        return Estimate(work, None, None)
    if work.kind == "generate" and not work.asks:  # all of it is in the request cache
        return Estimate(work, 0.0, None)
    if work.training:
        return estimate_training(work, work.training, shape, machine.alone(), judge)
    if work.kind != "generate":
        machine = machine.alone()
    seconds = machine.load(shape)
    seconds += machine.read(shape, work.forward_tokens + work.prefix_tokens + work.prompt_tokens)
    seconds += sum(write(ask, shape, machine) for ask in work.asks)
    if work.kind == "generate":
        peak = max(machine.generation_mb(shape, ask) for ask in work.asks)
        return Estimate(work, seconds, peak)
    return Estimate(work, seconds, machine.reading_mb(shape))


def estimate_training(
    work: Work,
    training: Training,
    shape: ModelShape,
    machine: Machine,
    judge: ModelShape | None,
) -> Estimate:
    """Estimate a training; in reinforcement learning, each rank writes and judges its own share."""
    assert work.kind in ("reward", "sft", "rl")
    seconds = machine.load(shape)
    seconds += machine.train(shape, work.training_tokens, work.kind, training)
    judge = judge if work.kind == "rl" else None
    if judge:
        ranks = machine.parallel(training)
        asks = [replace(ask, requests=ask.requests / ranks) for ask in work.asks]
        seconds += 2 * machine.load(judge)
        seconds += machine.read(shape, (work.forward_tokens + work.prompt_tokens) / ranks)
        seconds += sum(write(ask, shape, machine, together=True) for ask in asks)
    return Estimate(work, seconds, machine.training_mb(shape, training, judge))


def write(
    ask: Ask,
    shape: ModelShape,
    machine: Machine,
    *,
    together: bool = False,
) -> float:
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
    rows = asked
    if not together:
        rows = min(asked, machine.rows(shape, ask))
    tokens = asked * ask.new
    steps = max(ask.limit, tokens / rows)
    context = ask.prefix + ask.prompt + ask.new / 2
    return ask.calls * steps * machine.write_step(shape, tokens / steps, context)
