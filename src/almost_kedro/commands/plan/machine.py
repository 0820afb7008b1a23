"""How fast a machine is: what the plan asks of it, and what measurements say of the one at hand.

GPUs that are not here are in `roofline`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

from almost_kedro.commands.plan.memory import (
    BFLOAT16,
    FLOAT32,
    MB,
    ROWS,
    TRAINED,
    activation_bytes,
    generation_bytes,
    reading_bytes,
    training_bytes,
)
from almost_kedro.commands.plan.workload import Ask, Kind, Training
from almost_kedro.options.models import ModelShape


@dataclass(frozen=True, kw_only=True)
class Machine(ABC):
    """What the plan asks of a machine; seconds, and megabytes of one process or GPU."""

    memory_mb: float
    start_seconds: float  # from starting a program to its first line
    number: int  # bytes of a number that it computes with
    generation_base_mb: float  # memory of generating and reading besides what `memory` counts
    training_base_mb: float = 0.0
    writing: int = 1  # GPUs over which a model that generates is spread
    replicas: int = 1  # of a model that generates, each with its part of the requests
    reading: int = 1  # copies of a model that reads rewards and log-probabilities
    sharded: bool = False  # whether each rank has a part of what is trained
    apart: bool = False  # whether each rank has a GPU of its own

    def rows(self, shape: ModelShape, ask: Ask) -> float:
        """Return how many texts are generated together, if there is memory for them."""
        return ROWS

    @abstractmethod
    def load(self, shape: ModelShape) -> float:
        """Return what loading takes."""

    @abstractmethod
    def read(self, shape: ModelShape, tokens: float) -> float:
        """Return what a forward pass over so many tokens takes; few of them have logits."""

    @abstractmethod
    def write_step(self, shape: ModelShape, rows: float, context: float) -> float:
        """Return what the next token of so many rows takes, each after so many tokens."""

    @abstractmethod
    def train(self, shape: ModelShape, tokens: float, kind: Kind, training: Training) -> float:
        """Return what forward and backward passes over so many tokens and all steps take."""

    @abstractmethod
    def training_mb(self, shape: ModelShape, training: Training, judge: ModelShape | None) -> float:
        """Return the memory of training, on one rank."""

    def generation_mb(self, shape: ModelShape, ask: Ask) -> float:
        """Return the memory of generating."""
        rows = min(self.rows(shape, ask), ask.requests)
        needed = generation_bytes(shape, rows, ask, self.number)
        return self.generation_base_mb + needed / MB / self.writing

    def reading_mb(self, shape: ModelShape) -> float:
        """Return the memory of scoring."""
        return self.generation_base_mb + reading_bytes(shape, self.number) / MB


# Of training, compared with a forward pass, where there was no room to measure it.
BACKWARD = 3


@dataclass(frozen=True, kw_only=True)
class ThisMachine(Machine):
    """What the machine at hand does with one model.

    Others take as many times longer as they have parameters.
    """

    model: str
    shape: ModelShape
    device: str  # cpu or cuda
    load_seconds: float
    read_tokens: float  # a second, of a forward pass
    step_seconds: float  # of a decoding step, whatever its rows are
    token_seconds: float  # of a decoding step, for each row
    context_seconds: float  # of a decoding step, for each row and each token before it
    short_tokens: float  # a second, written after short prompts
    prefix_tokens: float  # a second, written after demonstrations
    reward_tokens: float = 0.0  # a second, of training a reward model; 0: that had no room
    policy_tokens: float = 0.0  # a second, of training a policy; likewise
    update_seconds: float = 0.0  # of an optimiser step
    activation_bytes: float  # of a token in training

    def scale(self, shape: ModelShape) -> float:
        """Return how many times as large as the measured one a model is."""
        return shape.parameters / self.shape.parameters

    def load(self, shape: ModelShape) -> float:
        """Scale what loading took."""
        return self.load_seconds * self.scale(shape)

    def read(self, shape: ModelShape, tokens: float) -> float:
        """Scale what a forward pass took."""
        return tokens / self.read_tokens * self.scale(shape)

    def write_step(self, shape: ModelShape, rows: float, context: float) -> float:
        """Return a constant and a part for each row, scaled."""
        row = self.token_seconds + self.context_seconds * context
        return (self.step_seconds + rows * row) * self.scale(shape)

    def train(self, shape: ModelShape, tokens: float, kind: Kind, training: Training) -> float:
        """Scale what training took; the ranks share a processor."""
        rate = self.reward_tokens if kind == "reward" else self.policy_tokens
        # Of 6 operations a parameter and token, 2 find the gradients of weights; 2 are done again.
        passes = 6 - 2 * bool(training.rank) + 2 * training.checkpointing
        once = passes / 6 * tokens / (rate or self.read_tokens / BACKWARD)
        return (once + training.steps * self.update_seconds) * self.scale(shape)

    def training_mb(self, shape: ModelShape, training: Training, judge: ModelShape | None) -> float:
        """Return the memory of one rank, with activations as they were measured."""
        activation = self.activation_bytes * activation_bytes(shape) / activation_bytes(self.shape)
        if training.checkpointing:
            activation = activation_bytes(shape, checkpointing=True)
        needed = training_bytes(shape, training, activation, judge, cpu_number=self.number)
        return self.training_base_mb + needed / MB


class Steps(NamedTuple):
    """Decoding steps that were timed."""

    seconds: float  # of a step
    rows: float  # of a step, on average
    context: float  # tokens before a row, on average
    ask: Ask  # what was written; its prompt is the longest


def solve_steps(few: Steps, short: Steps, prefix: Steps) -> tuple[float, float, float]:
    """Split a decoding step's time into a constant, a row's part, and that of a token before it.

    Args:
        few: A few rows after short prompts.
        short: Many rows after short prompts.
        prefix: Many rows after demonstrations.

    Returns:
        Seconds a step, a row, and a row and token before it; none is negative.
    """
    spread = max(short.rows - few.rows, 1e-9)
    row = max(0.0, min((short.seconds - few.seconds) / spread, short.seconds / short.rows))
    step = max(0.0, short.seconds - row * short.rows)
    longer = max(prefix.context - short.context, 1e-9)
    context = max(0.0, (prefix.seconds - step - row * prefix.rows) / prefix.rows / longer)
    # What a row takes after a short prompt has that prompt in it.
    return step, max(0.0, row - context * short.context), context


def solve_writing(shape: ModelShape, steps: Steps, number: int, peak_mb: float) -> float:
    """Return the memory (MB) of a program that writes, besides what `memory` counts."""
    counted = generation_bytes(shape, steps.ask.requests, steps.ask, number)
    return max(0.0, peak_mb - counted / MB)


def solve_training(
    shape: ModelShape, tokens: int, copies: bool, start_mb: float, peak_mb: float
) -> tuple[float, float]:
    """Split the memory of a training program.

    Args:
        shape: The model's.
        tokens: Of a batch.
        copies: Whether there is a bfloat16 copy of the weights.
        start_mb: With the weights loaded, in float32.
        peak_mb: At most, with all that training adds.

    Returns:
        What there was before (MB), and the activations of a token (bytes).
    """
    base = start_mb - shape.parameters * FLOAT32 / MB
    weights = shape.parameters * (TRAINED + BFLOAT16 * copies)
    held = (peak_mb - base) * MB - weights
    return max(0.0, base), max(held / tokens, activation_bytes(shape))
