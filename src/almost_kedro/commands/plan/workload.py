"""What a program has to do, in requests and tokens; nothing here knows how fast a machine is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from types import MappingProxyType
from typing import Literal

Kind = Literal["generate", "likelihood", "score", "reward", "sft", "rl", "dpo"]
# Policies whose answers reward models judge while they train.
JUDGED_IN_TRAINING: tuple[Kind, ...] = ("rl", "dpo")
# A whole run.
DEFAULT = "__default__"
# The steps of each pipeline, as the report's costs name them.
PIPELINES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "synthetic_feedback": ("prompts", "responses"),
        "reward_model": (
            "post_validation",
            "reward_model_training",
            "held_out_reward_model_training",
            "held_out_scores",
            "reward_model_seeds",
            "mismatched_pairs",
        ),
        "rmsp_sft": ("self_play_costs", "sft_policy_training", "sft_policy"),
        "rl": ("rl_policy_training", "rl_policy"),
        "evaluation": (
            "policy_verdicts",
            "reward_verdicts",
            "preference_scores",
            "open_answers",
            "judge_cards",
        ),
        "dpo": ("dpo_policy_training", "dpo_policy"),
    }
)
# Steps in which policies answer, as `jobs.policies` lets them.
ANSWERS = ("sft_policy", "rl_policy", "dpo_policy", "open_answers")


@dataclass(frozen=True)
class Ask:
    """Requests that are generated together; tokens are those of one request, on average."""

    requests: float  # over all calls
    prefix: float  # tokens that all of them begin with
    prompt: float  # tokens after the prefix
    new: float
    limit: int  # of new tokens
    calls: int = 1  # of the engine; each waits for the one before


@dataclass(frozen=True)
class Training:
    """What a training program does."""

    steps: int  # of the optimiser
    batch: int  # sequences that a rank computes at once
    longest: float  # tokens of the longest of them, about
    ranks: int = 1
    accumulation: int = 1  # batches of a step
    checkpointing: bool = False
    labelled: float = 0  # tokens of the longest whose logits are computed; 0 for a reward model
    reference: bool = False  # whether a reference model is computed, too (rl)
    rank: int = 0  # of the adapters that are trained and not the weights; 0: there are none
    in_4bit: bool = False  # whether the weights below them are
    judges: int = 2  # reward models beside it, where any judge: 2 or more (rl), or 1 (dpo)


@dataclass(frozen=True)
class Work:
    """What one program does; `step` and `program` are its names in the report's costs."""

    step: str
    program: str
    model: str  # name in models.yml of what it runs, or of what that was trained from
    kind: Kind
    requests: float | None = None  # or rows that it is given; None where it counts none
    asks: tuple[Ask, ...] = ()
    forward_tokens: float = 0  # only read
    training_tokens: float = 0
    training: Training | None = None

    @property
    def pipeline(self) -> str:
        """Whose step it is."""
        return next(name for name, steps in PIPELINES.items() if self.step in steps)

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

    Policies that answer do, unless vLLM runs them, all that tell log-probabilities, and programs
    that score the same rows.
    """
    if (work.step, work.kind) != (before.step, before.kind):
        return False
    if work.kind == "generate":
        return work.step in ANSWERS and engine != "vllm"
    return work.kind == "likelihood" or (work.kind == "score" and work.requests == before.requests)


def count_steps(rows: float, epochs: int, step_rows: int) -> int:
    """Return the optimiser steps that so many rows take."""
    return max(1, ceil(rows * epochs / step_rows))
