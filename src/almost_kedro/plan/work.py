"""What a program has to do, in requests and tokens; nothing here knows how fast a machine is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from typing import Literal

Kind = Literal["generate", "likelihood", "score", "reward", "sft", "rl"]
Pipeline = Literal["synthetic_feedback", "reward_model", "rmsp_sft", "rl", "evaluation"]
# Steps in which policies answer, as `pipelines.rmsp_sft.policy_test` lets them.
ANSWERS = ("sft_policy", "rl_policy", "open_answers")


@dataclass(frozen=True)
class Ask:
    """Requests that are generated together: one shared prefix, one limit.

    Attributes:
        requests: How many, over all calls.
        prefix: Tokens that all of them begin with.
        prompt: Tokens of each after the prefix, on average.
        new: New tokens of each, on average.
        limit: New tokens at most.
        calls: How often the engine is called; a call waits for the one before.
    """

    requests: float
    prefix: float
    prompt: float
    new: float
    limit: int
    calls: int = 1


@dataclass(frozen=True)
class Training:
    """What a training program does.

    Attributes:
        steps: Optimiser steps.
        batch: Sequences that a rank computes at once.
        longest: Tokens of the longest of them, about.
        ranks: Ranks that train together.
        checkpointing: Whether activations are computed twice.
        labelled: Tokens of the longest whose logits are computed; 0 for a reward model.
        reference: Whether a reference model is computed, too (rl).
    """

    steps: int
    batch: int
    longest: float
    ranks: int = 1
    checkpointing: bool = False
    labelled: float = 0
    reference: bool = False


@dataclass(frozen=True)
class Work:
    """What one program does; `step` and `program` are its names in the report's costs.

    Attributes:
        pipeline: Whose it is.
        step: The metrics that will have its cost.
        program: Its place in them.
        model: Name in models.yml of what it runs, or of what that was trained from.
        kind: What it does.
        requests: Requests or rows that it is given; None where it counts none.
        asks: What it generates.
        forward_tokens: Tokens that it only reads.
        training_tokens: Tokens that it is trained on.
        training: How it trains.
        known: Requests whose answers the run has from an earlier program of its own.
    """

    pipeline: Pipeline
    step: str
    program: str
    model: str
    kind: Kind
    requests: float | None = None
    asks: tuple[Ask, ...] = ()
    forward_tokens: float = 0
    training_tokens: float = 0
    training: Training | None = None
    known: float = 0

    @property
    def prompt_tokens(self) -> float:
        """Tokens of prompts, each computed for itself."""
        return sum(ask.requests * ask.prompt for ask in self.asks)

    @property
    def prefix_tokens(self) -> float:
        """Tokens of shared prefixes, computed once a call."""
        return sum(ask.calls * ask.prefix for ask in self.asks)

    @property
    def new_tokens(self) -> float:
        """Tokens that are generated."""
        return sum(ask.requests * ask.new for ask in self.asks)

    @property
    def counted_tokens(self) -> float:
        """What the program itself calls its tokens: written, read or trained on."""
        match self.kind:
            case "generate":
                return self.new_tokens
            case "rl":
                # What the watch lets the policy write is none of the rollouts.
                return self.asks[0].requests * self.asks[0].new
            case "likelihood" | "score":
                return self.forward_tokens
            case _:
                return self.training_tokens


def count_processes(work: Sequence[Work], engine: str) -> int:
    """Return how many processes are started.

    Args:
        work: Program by program, in the order of a run.
        engine: What generates, as the options name it.
    """
    return bool(work) + sum(not share_process(*pair, engine) for pair in pairwise(work))


def share_process(before: Work, work: Work, engine: str) -> bool:
    """Tell whether a program runs in the process of the one before it.

    Policies that answer do, unless vLLM runs them, and programs that read the same rows.
    """
    if (work.step, work.kind) != (before.step, before.kind):
        return False
    if work.kind == "generate":
        return work.step in ANSWERS and engine != "vllm"
    return work.kind in ("score", "likelihood") and work.requests == before.requests


def count_steps(rows: float, epochs: int, step_rows: int) -> int:
    """Return the optimiser steps that so many rows take."""
    return max(1, ceil(rows * epochs / step_rows))
