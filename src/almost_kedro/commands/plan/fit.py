"""`kedro plan --fit`: the options that fit given GPUs and take the least time, by the plan itself.

A step keeps its number of rows, so nothing that is learned changes but for adapters, which are
proposed only where the weights themselves can't be trained.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml  # type: ignore[import-untyped]

from almost_kedro.commands.plan.assumptions import Assumptions
from almost_kedro.commands.plan.estimate import estimate
from almost_kedro.commands.plan.planner import Planner
from almost_kedro.commands.plan.roofline import GPUFigures
from almost_kedro.commands.plan.workload import Kind, Work
from almost_kedro.errors import UserError
from almost_kedro.options.all import Options
from almost_kedro.options.training import LoraOptions

# The training of each block of options.
BLOCKS: Mapping[Kind, str] = {"reward": "reward_model", "sft": "sft", "rl": "rl", "dpo": "dpo"}
# Share of a GPU's memory that may be planned for: the formulas are no measurements.
USED = 0.92
# A model is spread over more GPUs if that takes less than this share of the time.
SPREAD = 0.8
Changes = dict[str, Any]


@dataclass(frozen=True)
class Choice:
    """Options of one block that were tried: what they take, and how much is to be changed."""

    changes: Changes
    seconds: float
    memory_mb: float

    def describe(self) -> str:
        """Say what was tried."""
        named = {k: v for k, v in self.changes.items() if k in ("config", "tensor_parallel")}
        parts = [f"{name} {value}" for name, value in named.items()]
        if apart := rate_adapters(self.changes):
            parts.append("adapters" if apart == 1 else "adapters above 4 bits")
        parts += ["gradient_checkpointing"] if self.changes.get("gradient_checkpointing") else []
        parts += [f"batch_size {n}"] if (n := self.changes.get("batch_size")) else []
        return ", ".join(parts)


@dataclass(frozen=True)
class Proposal:
    """Options to be changed, by block, and lines on what does not fit."""

    changes: dict[str, Changes]
    notes: list[str]


def propose(planner: Planner, figures: GPUFigures, pipeline: str) -> Proposal:
    """Search the options of generation, launch and each training of a pipeline.

    Raises:
        UserError: A program that does not fit, whatever is chosen.
    """
    work = planner.count(Assumptions(), pipeline)
    changes: dict[str, Changes] = {}
    notes: list[str] = []
    if any(each.kind == "generate" for each in work):
        own, why = fit_generation(planner, figures, pipeline)
        changes["generation"], notes = own, why
    blocks = list(dict.fromkeys(BLOCKS[each.kind] for each in work if each.training))
    if blocks:
        own_changes, why = fit_training(planner, figures, pipeline, blocks)
        changes |= own_changes
        notes += why
    return Proposal({block: own for block, own in changes.items() if own}, notes)


def write_proposal(proposal: Proposal) -> str:
    """Write a proposal as YAML, with what does not fit as comments."""
    lines = [f"# {note}" for note in proposal.notes]
    written: str = yaml.safe_dump(proposal.changes, sort_keys=False, default_flow_style=None)
    return "\n".join([*lines, written])


def fit_generation(
    planner: Planner, figures: GPUFigures, pipeline: str
) -> tuple[Changes, list[str]]:
    """Find on how many GPUs each model is to be, and how many of it side by side."""
    engine, tried = planner.options.generation.engine, []
    if engine == "openai":
        return {}, []
    for each in [2**n for n in range(8) if 2**n <= figures.count] if engine == "vllm" else [1]:
        changes: Changes = {"replicas": figures.count // each}
        if engine == "vllm":
            changes["tensor_parallel"] = each
        alone = {"processes": 1, "nodes": 1}  # whatever trains
        asked = {"generation": changes, "launch": alone}
        tried.append(measure(planner, asked, figures, pipeline, "generate"))
    best, why = choose(tried, figures, "generation")
    # Traffic between GPUs is in no estimate: a model is spread over more of them only for much.
    enough = [
        each
        for each in tried
        if each.memory_mb <= room(figures) and each.seconds * SPREAD <= best.seconds
    ]
    return enough[0].changes, why


def fit_training(
    planner: Planner, figures: GPUFigures, pipeline: str, blocks: list[str]
) -> tuple[dict[str, Changes], list[str]]:
    """Find whether each GPU has the whole model or a part, and the options of each block for it.

    As many weights as can be are trained themselves. Then the whole model is taken where it fits:
    GPUs exchange only gradients.
    """
    configs = ["gpu", "fsdp"] if figures.count > 1 else ["gpu"]
    found: list[tuple[dict[str, Changes], list[str]]] = []
    failed: list[str] = []
    for config in configs:
        launch = {"config": config, "processes": figures.count, "nodes": 1}
        try:
            found.append(fit_blocks(planner, figures, pipeline, blocks, launch))
        except UserError as exc:
            failed.append(str(exc))
    if not found:
        raise UserError("; ".join(failed))
    changes, notes = min(found, key=lambda each: sum(map(rate_adapters, each[0].values())))
    return changes, [*failed, *notes]


def fit_blocks(
    planner: Planner, figures: GPUFigures, pipeline: str, blocks: list[str], launch: Changes
) -> tuple[dict[str, Changes], list[str]]:
    """Find the options of each block under one launch; UserError if one of them does not fit."""
    changes, notes = {"launch": launch}, []
    for block in blocks:
        tried = list(try_block(planner, figures, pipeline, block, launch))
        best, why = choose(tried, figures, block)
        notes += why
        changes[block] = {k: v for k, v in best.changes.items() if k not in launch}
    return changes, notes


def rate_adapters(changes: Changes) -> int:
    """Return how far training is from that of all weights: by adapters (1), above 4 bits (2)."""
    lora = changes.get("lora")
    return 0 if lora is None else 1 + lora.get("load_in_4bit", False)


def room(figures: GPUFigures) -> float:
    """Return the megabytes of a GPU that can be planned for."""
    return figures.memory_gb * 1024 * USED


def try_block(
    planner: Planner, figures: GPUFigures, pipeline: str, block: str, launch: Changes
) -> Iterator[Choice]:
    """Yield what each choice for a block takes; a step has as many rows as before, if it can."""
    options = getattr(planner.options, block)
    before = planner.options.launch
    rows = options.batch_size * options.accumulation * before.processes * before.nodes
    kind = next(kind for kind, name in BLOCKS.items() if name == block)
    adapters = [options.lora] if options.lora else [None, LoraOptions.model_validate({})]
    if launch["config"] == "gpu" and not options.in_4bit:
        last = adapters[-1]
        assert last
        adapters.append(last.model_copy(update={"load_in_4bit": True}))
    for lora in adapters:
        for checkpointing in (False, True):
            for batch in [2**n for n in range(10) if 2**n * figures.count <= rows] or [1]:
                changes = {
                    "batch_size": batch,
                    "accumulation": max(1, rows // (batch * figures.count)),
                    "gradient_checkpointing": checkpointing,
                }
                if lora:
                    changes["lora"] = lora.model_dump()
                found = measure(
                    planner, {block: changes, "launch": launch}, figures, pipeline, kind
                )
                yield Choice({**launch, **changes}, found.seconds, found.memory_mb)


def measure(
    planner: Planner,
    changes: dict[str, Changes],
    figures: GPUFigures,
    pipeline: str,
    kind: Kind,
) -> Choice:
    """Return the seconds and the memory of all programs of a kind under changed options."""
    with planner.under(change(planner.options, changes)):
        machine, _ = planner.take(figures)
        work = [each for each in planner.count(Assumptions(), pipeline) if each.kind == kind]
        found = [estimate_work(planner, each, machine) for each in work]
    seconds, memory = zip(*found, strict=True)
    own, *_ = changes.values()
    return Choice(own, sum(seconds), max(memory))


def estimate_work(planner: Planner, work: Work, machine: Any) -> tuple[float, float]:
    """Estimate a program; raise UserError if its model's size is unknown."""
    shape = planner.shapes[work.model]
    judge = planner.shapes[planner.options.reward_model.model]
    seconds, memory = estimate(work, shape, machine, judge)
    if seconds is None:
        raise UserError(
            f"--fit: the size of model {work.model!r} is unknown; fetch it (kedro models get "
            f"{work.model}), or give its `shape` in models.yml"
        )
    return seconds, memory or 0.0


def change(options: Options, changes: dict[str, Changes]) -> Options:
    """Return options with some of a block's changed."""
    blocks = {}
    for block, own in changes.items():
        before = getattr(options, block)
        blocks[block] = type(before).model_validate({**before.model_dump(), **own})
    return options.model_copy(update=blocks)


def choose(tried: list[Choice], figures: GPUFigures, block: str) -> tuple[Choice, list[str]]:
    """Return the fastest choice that fits, adapters last; and why simpler ones were left out.

    Of equal ones, the one with the largest batches is taken.

    Raises:
        UserError: None fits.
    """
    most = room(figures)
    fitting = [each for each in tried if each.memory_mb <= most]
    least = min(tried, key=lambda each: each.memory_mb)
    if not fitting:
        raise UserError(
            f"{block}: at least {least.memory_mb:,.0f} MB a GPU ({least.describe()}), and "
            f"{most:,.0f} of {figures.memory_gb:g} GB can be planned for; take GPUs with more "
            "memory or a smaller model"
        )
    best = min(fitting, key=lambda each: (rate_adapters(each.changes), each.seconds, -rank(each)))
    simpler = [
        each
        for each in tried
        if each.memory_mb > most and rate_adapters(each.changes) <= rate_adapters(best.changes)
    ]
    if not simpler:
        return best, []
    nearer = [each for each in simpler if rate_adapters(each.changes) < rate_adapters(best.changes)]
    # Why adapters, if it is them; or why no larger batch.
    nearest = (
        min(nearer, key=lambda each: (-rate_adapters(each.changes), each.memory_mb))
        if nearer
        else min(simpler, key=lambda each: (each.seconds, each.memory_mb))
    )
    return best, [
        f"{block}: {nearest.describe()} would take {nearest.memory_mb:,.0f} MB a GPU, which does "
        f"not fit; {best.describe()} takes {best.memory_mb:,.0f}"
    ]


def rank(choice: Choice) -> int:
    """Return how large its batches are, or how many replicas it has."""
    return int(choice.changes.get("batch_size") or choice.changes.get("replicas") or 0)
