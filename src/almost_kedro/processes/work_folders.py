"""Jobs with work folders of their own: what was done once is not done again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from almost_kedro.options.slurm import SlurmOptions
from almost_kedro.processes.child import METRICS as METRICS
from almost_kedro.processes.run import build_command, run_command
from almost_kedro.processes.slurm import Program, run_on_cluster
from almost_kedro.processes.tracking import track_program

_slurm: SlurmOptions | None = None


def set_cluster(slurm: SlurmOptions | None) -> None:
    """Say what Slurm is asked for to run programs; None: they run on this machine."""
    global _slurm
    _slurm = slurm


def has_cluster() -> bool:
    """Whether programs run on other machines than this one."""
    return _slurm is not None


def run_work(program: Program) -> None:
    """Run what is left to do in a program's work folders: on the cluster, if there is one.

    Raises:
        UserError: If the program reports something that the user can mend, or was ended.
        RuntimeError: If it fails otherwise, with its last lines.
    """
    if _slurm:
        run_on_cluster(program, _slurm)
    elif command := program.list_command():
        run_command(program.name, command, program.log_file, dict(program.env), program.remedy)


class Job(Protocol):
    """A job file's content."""

    @property
    def out(self) -> Path:
        """Its work folder, named after exactly this work."""

    def model_dump_json(self) -> str:
        """Return it as JSON."""


def run_jobs(
    module: str,
    jobs: Sequence[tuple[str, Job]],
    variables: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Run `python -m MODULE JOB.json ...` on the jobs that are not done yet, if any.

    One process does all jobs, since torch and transformers take seconds to import. If it is
    stopped, the finished jobs stay finished. MLflow shows the jobs under the names in `jobs`.

    Raises:
        UserError: If the program reports something that the user can mend.
        RuntimeError: If it fails otherwise, with its last lines.
    """
    todo = {job.out: (name, job) for name, job in jobs if not (job.out / METRICS).is_file()}
    if not todo:
        return
    files = []
    env = dict(variables)
    with ExitStack() as stack:
        for out, (name, job) in todo.items():
            out.mkdir(parents=True, exist_ok=True)
            files.append(out / "job.json")
            files[-1].write_text(job.model_dump_json(), encoding="utf-8")
            env |= stack.enter_context(track_program(name, out / METRICS))

        def list_command() -> list[str]:
            left = [file for file in files if not file.with_name(METRICS).is_file()]
            return build_command(module, *left) if left else []

        log = files[-1].with_name("program.log")
        run_work(Program(module, files, list_command, log, env))
