"""How fast a machine is, as the plan asks it; measured here, or computed for given GPUs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from almost_kedro.options import ModelShape
from almost_kedro.plan.memory import (
    BFLOAT16,
    FLOAT32,
    ROWS,
    activation_bytes,
    generation_bytes,
    reading_bytes,
    training_bytes,
)
from almost_kedro.plan.work import Ask, Training

Trained = Literal["reward", "sft", "rl"]
MB = 2**20


class Machine(Protocol):
    """What the plan asks of a machine; seconds, and megabytes of one process or GPU."""

    @property
    def memory_mb(self) -> float:
        """What it has."""

    def alone(self) -> Machine:
        """Return what runs a program that does not spread one model over GPUs."""

    def parallel(self, training: Training) -> int:
        """Return by how much ranks shorten what each does for itself."""

    def rows(self, shape: ModelShape, ask: Ask) -> float:
        """Return how many texts are generated together."""

    def start(self) -> float:
        """Return what a program takes until it does anything."""

    def load(self, shape: ModelShape) -> float:
        """Return what loading takes."""

    def read(self, shape: ModelShape, tokens: float) -> float:
        """Return what a forward pass over so many tokens takes; few of them have logits."""

    def write_step(self, shape: ModelShape, rows: float, context: float) -> float:
        """Return what the next token of so many rows takes, after so many shared tokens."""

    def train(self, shape: ModelShape, tokens: float, kind: Trained, training: Training) -> float:
        """Return what forward and backward passes over so many tokens and all steps take."""

    def generation_mb(self, shape: ModelShape, ask: Ask) -> float:
        """Return the memory of generating."""

    def reading_mb(self, shape: ModelShape) -> float:
        """Return the memory of scoring."""

    def training_mb(self, shape: ModelShape, training: Training, judge: ModelShape | None) -> float:
        """Return the memory of training, on one rank."""


@dataclass(frozen=True)
class Calibration:
    """What a machine was found to do with one model.

    Attributes:
        model: The model's name.
        shape: Its size.
        device: cpu or cuda.
        dtype: Numbers that it computed with.
        memory_mb: What the machine (or its GPU) has.
        start_seconds: From starting a program to its first line.
        load_seconds: Loading the model.
        read_tokens: Tokens a second of a forward pass.
        step_seconds: Of a decoding step, whatever its rows are.
        token_seconds: Of a decoding step, more for each row.
        context_seconds: Of a decoding step, more for each row and each token of its prefix.
        short_tokens: Tokens a second that were written after short prompts.
        prefix_tokens: The same after demonstrations.
        reward_tokens: Tokens a second of training a reward model; 0 if that did not fit.
        policy_tokens: The same of a policy.
        update_seconds: Of an optimiser step.
        generation_base_mb: Memory of generating besides what `memory` counts.
        training_base_mb: The same of training.
        activation_bytes: Activations of a token in training.
    """

    model: str
    shape: ModelShape
    device: str
    dtype: str
    memory_mb: float
    start_seconds: float
    load_seconds: float
    read_tokens: float
    step_seconds: float
    token_seconds: float
    context_seconds: float
    short_tokens: float
    prefix_tokens: float
    reward_tokens: float
    policy_tokens: float
    update_seconds: float
    generation_base_mb: float
    training_base_mb: float
    activation_bytes: float


# Of training, compared with a forward pass, where there was no room to measure it.
BACKWARD = 3


@dataclass(frozen=True)
class ThisMachine:
    """The machine at hand: other models take as many times longer as they have parameters."""

    found: Calibration

    @property
    def memory_mb(self) -> float:
        """What it has."""
        return self.found.memory_mb

    @property
    def number(self) -> int:
        """Bytes of a number that it computes with."""
        return BFLOAT16 if self.found.dtype == "bfloat16" else FLOAT32

    def scale(self, shape: ModelShape) -> float:
        """Return how many times as large as the measured one a model is."""
        return shape.parameters / self.found.shape.parameters

    def alone(self) -> ThisMachine:
        """Return itself."""
        return self

    def parallel(self, training: Training) -> int:
        """Ranks on one machine share its processor."""
        return 1

    def rows(self, shape: ModelShape, ask: Ask) -> float:
        """Return the rows that the engine continues together, if there is memory for them."""
        return ROWS

    def start(self) -> float:
        """Return what a program takes until it does anything."""
        return self.found.start_seconds

    def load(self, shape: ModelShape) -> float:
        """Return what loading takes."""
        return self.found.load_seconds * self.scale(shape)

    def read(self, shape: ModelShape, tokens: float) -> float:
        """Return what a forward pass takes."""
        return tokens / self.found.read_tokens * self.scale(shape)

    def write_step(self, shape: ModelShape, rows: float, context: float) -> float:
        """Return what a decoding step takes: a constant, and a part for each row."""
        found = self.found
        row = found.token_seconds + found.context_seconds * context
        return (found.step_seconds + rows * row) * self.scale(shape)

    def train(self, shape: ModelShape, tokens: float, kind: Trained, training: Training) -> float:
        """Return what training takes, of all ranks."""
        found = self.found
        rate = found.reward_tokens if kind == "reward" else found.policy_tokens
        again = 4 / 3 if training.checkpointing else 1
        once = again * tokens / (rate or found.read_tokens / BACKWARD)
        return (once + training.steps * found.update_seconds) * self.scale(shape)

    def generation_mb(self, shape: ModelShape, ask: Ask) -> float:
        """Return the memory of generating."""
        needed = generation_bytes(shape, min(ROWS, ask.requests), ask, self.number)
        return self.found.generation_base_mb + needed / MB

    def reading_mb(self, shape: ModelShape) -> float:
        """Return the memory of scoring."""
        return self.found.generation_base_mb + reading_bytes(shape, self.number) / MB

    def training_mb(self, shape: ModelShape, training: Training, judge: ModelShape | None) -> float:
        """Return the memory of training, of one rank."""
        own, measured = activation_bytes(shape), activation_bytes(self.found.shape)
        activation = self.found.activation_bytes * own / measured
        if training.checkpointing:
            activation = activation_bytes(shape, checkpointing=True)
        needed = training_bytes(
            shape,
            training,
            activation,
            copies=self.number == BFLOAT16 and not training.checkpointing,
            judge=judge,
            # `training.rollouts.use_engine`
            writer=self.number if judge and training.ranks == 1 else 0,
        )
        return self.found.training_base_mb + needed / MB
