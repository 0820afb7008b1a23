"""What the ranks run on, and whether it is what the job asks for."""

from __future__ import annotations

from typing import Any

import torch
from torch.distributed.tensor import DTensor

from almost_kedro.errors import UserError
from almost_kedro.processes.memory import peak_memory
from almost_kedro.training.job import TrainingJob


def training_device(job: TrainingJob) -> torch.device:
    """Return the kind of device that a job trains on."""
    on_gpu = job.launch.config != "cpu" and torch.cuda.is_available()
    return torch.device("cuda" if on_gpu else "cpu")


def check_devices(job: TrainingJob) -> None:
    """Raise UserError if there is no GPU for each rank of this node, but on CPUs."""
    found = torch.cuda.device_count()
    if job.launch.config != "cpu" and found < job.launch.processes:
        raise UserError(
            f"option launch.processes: {job.launch.processes} ranks on this node, but it has "
            f"{found} GPUs; lower it, or set launch.config: cpu"
        )


def check_ranks(job: TrainingJob, n_ranks: int) -> None:
    """Raise UserError if other than the requested number of ranks train.

    If a back end is missing, accelerate lets each rank run alone. Each would then train its own
    model, and the last one to save would win.
    """
    if n_ranks != job.ranks:
        raise UserError(
            f"launch: {job.ranks} ranks were asked for, but {n_ranks} train together; "
            f"see {job.accelerate}"
        )


def is_sharded(model: torch.nn.Module) -> bool:
    """Tell whether the parameters are spread over the ranks."""
    return any(isinstance(parameter, DTensor) for parameter in model.parameters())


def check_sharding(job: TrainingJob, model: torch.nn.Module) -> None:
    """Raise UserError if copies are trained where shards were asked for, or the reverse."""
    wanted = job.launch.config == "fsdp"
    if is_sharded(model) != wanted:
        found = "sharded" if not wanted else "not sharded"
        raise UserError(
            f"launch.config: {job.launch.config} was asked for, but the parameters are {found}; "
            f"see {job.accelerate}"
        )


def measure_memory(accelerator: Any) -> dict[str, float]:
    """Return the peak memory of the rank that needed most, in MB; all ranks must call this."""
    values = [peak_memory() / 2**20]
    if torch.cuda.is_available():
        values.append(torch.cuda.max_memory_allocated() / 2**20)
    own = torch.tensor([values], dtype=torch.float64, device=accelerator.device)
    largest = accelerator.gather(own).max(0).values.tolist()  # (ranks, kinds) -> (kinds,)
    names = ("peak_memory_mb", "peak_gpu_memory_mb")
    return {name: round(value, 1) for name, value in zip(names, largest, strict=False)}
