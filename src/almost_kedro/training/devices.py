"""What the ranks run on, and whether that is what was asked for."""

from __future__ import annotations

from typing import Any

import torch
from torch.distributed.tensor import DTensor

from almost_kedro.errors import UserError
from almost_kedro.generation.worker import peak_memory
from almost_kedro.training.job import TrainingJob


def training_device(job: TrainingJob) -> torch.device:
    """Return what kind of device a job trains on."""
    on_gpu = job.launch.config != "cpu" and torch.cuda.is_available()
    return torch.device("cuda" if on_gpu else "cpu")


def check_devices(job: TrainingJob) -> None:
    """Refuse FSDP without a GPU for each rank of this node.

    Raises:
        UserError: How many there are.
    """
    found = torch.cuda.device_count()
    if job.launch.config == "fsdp" and found < job.launch.processes:
        raise UserError(
            f"option launch.processes: {job.launch.processes} ranks on this node, but it has "
            f"{found} GPUs; lower it, or set launch.config: cpu"
        )


def check_ranks(job: TrainingJob, n_ranks: int) -> None:
    """Refuse to train with another number of ranks than asked for.

    accelerate takes "distributed" for "alone" where a back end is missing; each rank would then
    train a model of its own, and the last one to save would win.

    Raises:
        UserError: Asked for and found.
    """
    if n_ranks != job.ranks:
        raise UserError(
            f"launch: {job.ranks} ranks were asked for, but {n_ranks} train together; "
            f"see {job.accelerate}"
        )


def is_sharded(model: torch.nn.Module) -> bool:
    """True if the parameters are spread over the ranks."""
    return any(isinstance(parameter, DTensor) for parameter in model.parameters())


def check_sharding(job: TrainingJob, model: torch.nn.Module) -> None:
    """Refuse to train whole copies where shards were asked for, and the other way round.

    Raises:
        UserError: Asked for and found.
    """
    wanted = job.launch.config == "fsdp"
    if is_sharded(model) != wanted:
        found = "sharded" if not wanted else "not sharded"
        raise UserError(
            f"launch.config: {job.launch.config} was asked for, but the parameters are {found}; "
            f"see {job.accelerate}"
        )


def measure_memory(accelerator: Any) -> dict[str, float]:
    """Return the peak memory of the rank that needed most, in MB; all ranks take part."""
    values = [peak_memory() / 2**20]
    if torch.cuda.is_available():
        values.append(torch.cuda.max_memory_allocated() / 2**20)
    own = torch.tensor([values], dtype=torch.float64, device=accelerator.device)
    largest = accelerator.gather(own).max(0).values.tolist()  # (ranks, kinds) -> (kinds,)
    names = ("peak_memory_mb", "peak_gpu_memory_mb")
    return {name: round(value, 1) for name, value in zip(names, largest, strict=False)}
