"""Whether Slurm will take our jobs, asked before anything is computed."""

from __future__ import annotations

import shutil
from subprocess import CompletedProcess

from almost_kedro.errors import UserError
from almost_kedro.options.launch import LaunchOptions
from almost_kedro.processes.slurm import SCRIPT, call, last_line, list_flags

COMMANDS = ("sbatch", "squeue", "scontrol", "scancel")


def check_cluster(launch: LaunchOptions) -> None:
    """Raise UserError without Slurm, a partition of that name, or room for such jobs at any time.

    Slurm judges a job of one node and one of `launch.nodes`; it starts none. What can't be asked
    beforehand, whether nodes see our files, each job looks for first.
    """
    for command in COMMANDS:
        if not shutil.which(command):
            raise UserError(
                f"option launch.backend: slurm, but there is no {command} on the PATH; run on a "
                "login node of the cluster, or set it to local"
            )
    if launch.slurm.partition:
        check_partitions(launch.slurm.partition.split(","))
    for nodes in sorted({1, launch.nodes}):
        flags = list_flags(nodes, launch.slurm)
        done = call("sbatch", "--test-only", *flags, str(SCRIPT))
        if done.returncode:
            raise UserError(
                f"option launch.slurm: Slurm refuses jobs on {nodes} nodes with "
                f"{' '.join(flags)} ({find_reason(done)}); change what they ask for"
            )


def check_partitions(names: list[str]) -> None:
    """Raise UserError for a partition that is not there, or if Slurm does not answer."""
    done = call("sinfo", "--noheader", "--all", "--format=%R")
    if done.returncode:
        raise UserError(f"Slurm does not answer ({last_line(done.stderr)}); run when it does")
    found = done.stdout.split()
    for name in names:
        if name not in found:
            raise UserError(
                f"option launch.slurm.partition: Slurm has no partition {name!r}; it has "
                f"{', '.join(sorted(set(found)))}"
            )


def find_reason(done: CompletedProcess[str]) -> str:
    """Return what sbatch says is wrong; its last line may be advice."""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return lines[0].removeprefix("sbatch: ") if lines else last_line("")
