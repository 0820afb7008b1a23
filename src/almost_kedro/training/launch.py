"""Launches a training program by `accelerate launch`, on one machine or several.

Kedro launches on the first node, and says so where the others look (`processes.machines`). They
start the same job file, which they see on a shared file system:
`python -m almost_kedro.training.launch JOB.json --node-rank N`. Under Slurm, each node of a job
starts it with `--slurm` and learns its rank from there.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shlex
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NoReturn

from almost_kedro.errors import UserError
from almost_kedro.processes.machines import call_machines
from almost_kedro.processes.run import PLAIN, THREADS, TUNABLES, exit_when_told, run_command
from almost_kedro.processes.slurm import Program
from almost_kedro.processes.slurm_node import find_node
from almost_kedro.processes.work_folders import METRICS, has_cluster, run_work
from almost_kedro.training.job import MODEL, TrainingJob

logger = logging.getLogger(__name__)
REMEDY = "lower batch_size, or set gradient_checkpointing: true"


def build_command(job: TrainingJob, job_file: Path, node_rank: int = 0) -> list[str]:
    """Return the command that starts this node's ranks; raise UserError without such a node.

    Addresses and ranks are flags: accelerate does not read them from the environment.
    """
    launch = job.launch
    if not 0 <= node_rank < launch.nodes:
        raise UserError(f"node rank {node_rank}: launch.nodes is {launch.nodes}, counted from 0")
    command = [sys.executable, "-m", "accelerate.commands.launch"]
    command += ["--config_file", str(job.accelerate), "--num_processes", str(job.ranks)]
    command += ["--num_machines", str(launch.nodes), "--machine_rank", str(node_rank)]
    if launch.nodes > 1:
        command += ["--main_process_ip", launch.main_address]
    # Alone on its machine, a launch takes any free port.
    command += ["--main_process_port", str(launch.main_port if launch.nodes > 1 else 0)]
    if launch.config == "cpu":
        command += ["--num_cpu_threads_per_process", str(count_threads(launch.processes))]
    if launch.config != "fsdp" and job.ranks > 1:
        command.append("--multi_gpu")  # accelerate's name for "through torchrun"
    return [*command, "-m", "almost_kedro.training.rank", str(job_file)]


def count_threads(ranks: int) -> int:
    """Return the threads of each rank; OMP_NUM_THREADS overrides."""
    wanted = os.environ.get("OMP_NUM_THREADS")
    return int(wanted) if wanted else max(1, (os.cpu_count() or 1) // ranks)


def choose_tunables(job: TrainingJob) -> Mapping[str, str]:
    """Return settings for the ranks' libraries.

    A rank on a GPU keeps no large tensors in main memory: it reads the weights once, and should
    give their memory back. With adapters, memory that is kept is soon in pieces, as little of it
    lives long: the default model took 11 GB for SFT, and 3 where it gives memory back.
    """
    keeps = job.launch.config == "cpu" and job.options.lora is None
    return TUNABLES if keeps else THREADS


def launch(
    job: TrainingJob, job_file: Path, node_rank: int = 0, env: dict[str, str] | None = None
) -> None:
    """Run this node's ranks to the end; see `processes.run.run_command` for how they end.

    Raises UserError for what the user can mend, and if other ranks trained than were asked for.
    `job_file` holds `job`, `node_rank` counts from 0, `env` is for the ranks. On a cluster, it is
    the ranks of all nodes.
    """
    name = f"training {job.name!r}"
    if has_cluster():
        on_each = [sys.executable, "-m", "almost_kedro.training.launch", str(job_file), "--slurm"]
        run_work(
            Program(
                name,
                [job_file],
                lambda: [] if has_trained(job) else on_each,
                job.out / "train.log",
                env or {},
                REMEDY,
                job.launch.nodes,
            )
        )
    else:
        command = build_command(job, job_file, node_rank)
        logger.info("%s", shlex.join(command), extra=PLAIN)
        log = job.out / ("train.log" if node_rank == 0 else f"train_node{node_rank}.log")
        alone = node_rank > 0 or job.launch.nodes == 1
        with nullcontext() if alone else call_machines(job.out.parent, job_file):
            run_command(name, command, log, env, REMEDY, choose_tunables(job))
    if node_rank == 0:
        check_trained(job)


def has_trained(job: TrainingJob) -> bool:
    """Whether a training has ended with a model."""
    return (job.out / METRICS).is_file() and (job.out / MODEL).is_dir()


def become_ranks(job: TrainingJob, job_file: Path) -> NoReturn:
    """In a job of Slurm, turn into this node's launcher, whose ranks Slurm ends."""
    node = find_node()
    place = {"main_address": node.main_address, "main_port": node.choose_port(job.launch.main_port)}
    here = job.model_copy(update={"launch": job.launch.model_copy(update=place)})
    if job.launch.config == "cpu":  # the node may have more cores than the job
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, node.cores // job.launch.processes)))
    command = build_command(here, job_file, node.rank)
    print(shlex.join(command), flush=True)
    os.execv(command[0], command)  # noqa: S606


def check_trained(job: TrainingJob) -> dict[str, Any]:
    """Return the metrics; raise UserError without a model, or if other ranks or shards trained."""
    file = job.out / METRICS
    if not file.is_file():
        raise UserError(f"training {job.name!r} ended without a model; see {job.out / 'train.log'}")
    metrics: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    wanted = (job.ranks, job.launch.config == "fsdp")
    found = (metrics["ranks"], metrics["sharded"])
    if found != wanted:
        raise UserError(
            f"training {job.name!r}: asked for ranks and shards {wanted}, found {found}; "
            f"see {job.accelerate}"
        )
    return metrics


def main(arguments: list[str]) -> int:
    """Start this node's ranks; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m almost_kedro.training.launch")
    parser.add_argument("job", type=Path, help="the job file")
    parser.add_argument("--node-rank", type=int, default=0, help="number of this machine, from 0")
    parser.add_argument("--slurm", action="store_true", help="in a job of Slurm, on each node")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        job = TrainingJob.model_validate_json(options.job.read_text(encoding="utf-8"))
        if options.slurm:
            become_ranks(job, options.job)
        exit_when_told()
        launch(job, options.job, options.node_rank)
    except UserError as exc:
        print(f"error: {exc}", file=sys.stderr, flush=True)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
