"""What given GPUs would do: computing power, bandwidth and memory, each used to a stated share.

A forward pass takes 2 operations a parameter and token, training 6, and 8 where activations are
computed again. A decoding step reads all weights and caches once, and computes one token a row: the
slower of both counts. Traffic between GPUs, tokenising and starting kernels are left out.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from almost_kedro.errors import UserError
from almost_kedro.options import ModelShape
from almost_kedro.plan.machine import MB, Trained
from almost_kedro.plan.memory import (
    BFLOAT16,
    ROWS,
    activation_bytes,
    cache_bytes,
    generation_bytes,
    reading_bytes,
    training_bytes,
)
from almost_kedro.plan.shape import body
from almost_kedro.plan.work import Ask, Training

# Share of the computing power that is used: Llama 3 (Grattafiori et al. 2024, table 4) reports 38
# to 43 % in training.
COMPUTE_USED = 0.4
# Share of the bandwidth that decoding uses; a guess: kernels come close, what is between them not.
BANDWIDTH_USED = 0.6
# Share of a GPU's memory that vLLM takes (`gpu_memory_utilization`).
MEMORY_USED = 0.9
# What a process needs of a GPU before anything is loaded: CUDA's own, and the libraries'.
BASE_MB = 1024
# A program takes about so long to import torch and vLLM or trl, and a model loads at this pace.
START_SECONDS, LOAD_BYTES = 15.0, 2e9
EXAMPLE = "tflops=312,bandwidth_gb_s=2039,memory_gb=80,count=4"


@dataclass(frozen=True)
class GPUFigures:
    """What `--gpu` says.

    Attributes:
        tflops: Dense bfloat16 operations a second of one GPU, in 10^12.
        bandwidth_gb_s: Of its memory, in 10^9 bytes a second.
        memory_gb: Its memory, in 2^30 bytes.
        count: How many there are.
    """

    tflops: float
    bandwidth_gb_s: float
    memory_gb: float
    count: int = 1


def read_gpu_figures(text: str) -> GPUFigures:
    """Read `NAME=VALUE,...`.

    Raises:
        UserError: What is missing, unknown or no number.
    """
    names = [each.name for each in fields(GPUFigures)]
    found: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = (each.strip() for each in part.partition("="))
        if name not in names:
            raise UserError(f"--gpu: unknown {name!r}; give {', '.join(names)}, as in {EXAMPLE}")
        try:
            found[name] = float(value)
        except ValueError:
            found[name] = 0.0
        if not 0 < found[name] < float("inf"):
            raise UserError(f"--gpu: {name} is {value!r}; give a positive number, as in {EXAMPLE}")
    missing = [name for name in names[:3] if name not in found]
    if missing:
        raise UserError(f"--gpu: {', '.join(missing)} missing; give all, as in {EXAMPLE}")
    count = found.pop("count", 1.0)
    if count != int(count):
        raise UserError(f"--gpu: count is {count:g}; give a whole number")
    return GPUFigures(**found, count=int(count))


@dataclass(frozen=True)
class GPUs:
    """Given GPUs.

    Attributes:
        figures: What one of them has.
        writing: GPUs that generate together (tensor parallel).
        sharded: Whether training is spread over its ranks.
    """

    figures: GPUFigures
    writing: int
    sharded: bool

    @property
    def memory_mb(self) -> float:
        """What one GPU has."""
        return self.figures.memory_gb * 1024

    @property
    def _flops(self) -> float:
        return self.figures.tflops * 1e12 * COMPUTE_USED

    @property
    def _bytes(self) -> float:
        return self.figures.bandwidth_gb_s * 1e9 * BANDWIDTH_USED

    def alone(self) -> GPUs:
        """Return one GPU."""
        return replace(self, writing=1)

    def parallel(self, training: Training) -> int:
        """Each rank has a GPU of its own."""
        return training.ranks

    def rows(self, shape: ModelShape, ask: Ask) -> float:
        """Return how many texts fit into the caches; prefixes are shared."""
        room = self.memory_mb * MB * MEMORY_USED * self.writing
        room -= shape.parameters * BFLOAT16 + cache_bytes(shape, ask.prefix, BFLOAT16)
        text = cache_bytes(shape, ask.prompt + ask.limit, BFLOAT16)
        return min(ROWS, max(1, room // text))

    def start(self) -> float:
        """Return what a program takes until it does anything."""
        return START_SECONDS

    def load(self, shape: ModelShape) -> float:
        """Return what loading takes."""
        return shape.parameters * BFLOAT16 / LOAD_BYTES

    def read(self, shape: ModelShape, tokens: float) -> float:
        """Return what a forward pass takes: 2 operations a parameter and token."""
        return 2 * shape.parameters * tokens / self._flops / self.writing

    def write_step(self, shape: ModelShape, rows: float, context: float) -> float:
        """Return what a decoding step takes: the slower of reading and computing."""
        # Demonstrations are stored once, but each row reads them.
        read = shape.parameters * BFLOAT16 + cache_bytes(shape, rows * context, BFLOAT16)
        computed = 2 * shape.parameters * rows
        return max(read / self._bytes, computed / self._flops) / self.writing

    def train(self, shape: ModelShape, tokens: float, kind: Trained, training: Training) -> float:
        """Return what training takes: 6 operations a parameter and token, over all ranks."""
        operations = 8 if training.checkpointing else 6
        used = body(shape) if kind == "reward" else shape.parameters
        return operations * used * tokens / self._flops / training.ranks

    def generation_mb(self, shape: ModelShape, ask: Ask) -> float:
        """Return the memory of generating, on one GPU."""
        rows = min(self.rows(shape, ask), ask.requests)
        needed = generation_bytes(shape, rows, ask, BFLOAT16)
        return BASE_MB + needed / MB / self.writing

    def reading_mb(self, shape: ModelShape) -> float:
        """Return the memory of scoring, on one GPU."""
        return BASE_MB + reading_bytes(shape, BFLOAT16) / MB

    def training_mb(self, shape: ModelShape, training: Training, judge: ModelShape | None) -> float:
        """Return the memory of training, on one GPU."""
        needed = training_bytes(
            shape,
            training,
            activation_bytes(shape, training.checkpointing),
            shards=training.ranks if self.sharded else 1,
            judge=judge,
            # TRL never holds the logits of a whole batch there.
            whole_logits=False,
        )
        return BASE_MB + needed / MB
