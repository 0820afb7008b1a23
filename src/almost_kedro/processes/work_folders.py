"""Jobs with work folders of their own: what was done once is not done again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from almost_kedro.processes.run import build_command, run_command
from almost_kedro.processes.tracking import track_program

# A program writes this file last: a job that has it is done.
METRICS = "metrics.json"


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
        command = build_command(module, *files)
        run_command(module, command, files[-1].with_name("program.log"), env)
