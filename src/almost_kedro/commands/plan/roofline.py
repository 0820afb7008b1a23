"""What given GPUs would do: computing power, bandwidth and memory, each used to a stated share.

A forward pass takes 2 operations a parameter and token, training 6, and 8 where activations are
computed again. A decoding step reads all weights and caches once, and computes one token a row: the
slower of both counts. Traffic between GPUs, tokenising and starting kernels are left out.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from almost_kedro.commands.plan.machine import Machine
from almost_kedro.commands.plan.memory import (
    BFLOAT16,
    FLOAT32,
    MB,
    ROWS,
    activation_bytes,
    cache_bytes,
    generation_bytes,
    training_bytes,
)
from almost_kedro.commands.plan.workload import Ask, Kind, Training
from almost_kedro.errors import UserError
from almost_kedro.models.shape import body
from almost_kedro.options.models import ModelShape

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
    """What `--gpu` says of one GPU, and how many there are."""

    tflops: float  # dense bfloat16 operations a second, in 10^12
    bandwidth_gb_s: float  # of its memory, in 10^9 bytes a second
    memory_gb: float  # in 2^30 bytes
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


def make_gpus(figures: GPUFigures, writing: int, sharded: bool) -> GPUs:
    """Return given GPUs, of which so many generate together (tensor parallel)."""
    return GPUs(
        memory_mb=figures.memory_gb * 1024,
        start_seconds=START_SECONDS,
        number=BFLOAT16,
        generation_base_mb=BASE_MB,
        training_base_mb=BASE_MB,
        writing=writing,
        flops=figures.tflops * 1e12 * COMPUTE_USED,
        bandwidth=figures.bandwidth_gb_s * 1e9 * BANDWIDTH_USED,
        sharded=sharded,
        apart=True,
    )


@dataclass(frozen=True, kw_only=True)
class GPUs(Machine):
    """Given GPUs."""

    flops: float  # operations a second of one GPU, as far as they are used
    bandwidth: float  # bytes a second of its memory, likewise

    def rows(self, shape: ModelShape, ask: Ask) -> float:
        """Return how many texts there is room for; prefixes are shared.

        What vLLM takes of the memory holds all that it needs.
        """
        room = (self.memory_mb * MEMORY_USED - self.generation_base_mb) * MB * self.writing
        nothing, one = (generation_bytes(shape, rows, ask, BFLOAT16) for rows in (0, 1))
        return min(ROWS, max(1, (room - nothing) // (one - nothing)))

    def load(self, shape: ModelShape) -> float:
        """Read the weights at a usual pace."""
        return shape.parameters * BFLOAT16 / LOAD_BYTES

    def read(self, shape: ModelShape, tokens: float) -> float:
        """Count 2 operations a parameter and token."""
        return 2 * shape.parameters * tokens / self.flops / self.writing

    def write_step(self, shape: ModelShape, rows: float, context: float) -> float:
        """Take the slower of reading and computing."""
        # Demonstrations are stored once, but each row reads them.
        read = shape.parameters * BFLOAT16 + cache_bytes(shape, rows * context, BFLOAT16)
        computed = 2 * shape.parameters * rows
        return max(read / self.bandwidth, computed / self.flops) / self.writing

    def train(self, shape: ModelShape, tokens: float, kind: Kind, training: Training) -> float:
        """Count 6 operations a parameter and token, over all ranks; 4 below adapters."""
        operations = 6 - 2 * bool(training.rank) + 2 * training.checkpointing
        used = body(shape) if kind == "reward" else shape.parameters
        return operations * used * tokens / self.flops / training.ranks

    def training_mb(self, shape: ModelShape, training: Training, judge: ModelShape | None) -> float:
        """Return the memory of one GPU, with activations by the formula."""
        activation = activation_bytes(
            shape,
            checkpointing=training.checkpointing,
            adapters=training.rank > 0,
            # Autocast adds what layers give in float32.
            stream=BFLOAT16 if self.sharded or training.rank else FLOAT32,
        )
        shards = training.ranks if self.sharded else 1
        needed = training_bytes(shape, training, activation, judge, shards=shards)
        return self.training_base_mb + needed / MB
