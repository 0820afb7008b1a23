"""The Kedro side of the worker: writes job files, runs the program, reads its folders."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from pydantic import SecretStr

from almost_kedro.contract import Completion, ModelFolder, digest
from almost_kedro.generation.cache import copy_cache, take_back
from almost_kedro.generation.job import KEYS_VARIABLE, Job, PromptsTask, ResponsesTask
from almost_kedro.options.generation import GenerationOptions
from almost_kedro.processes.work_folders import METRICS, has_cluster, run_jobs
from almost_kedro.rows.json_lines import read_rows
from almost_kedro.rows.metrics import ProgramMetrics

# The request cache's file in the folder of jobs.
CACHE = "completions.sqlite"


class Asked(NamedTuple):
    """A task for one model; `name` is what the job is called in folders and in MLflow."""

    name: str
    model: ModelFolder
    generation: GenerationOptions
    task: PromptsTask | ResponsesTask

    def make_job(self, work: Path) -> Job:
        """Return the job, with a folder in `work` that is named after exactly this task.

        On a cluster, it has a copy of the request cache: SQLite's file is safe on one machine only,
        and that is Kedro's.
        """
        digested = digest(self.task.model_dump(mode="json"))[:12]
        out = work / f"{self.name}-{self.model.name.replace('/', '-')}-{digested}"
        return Job(
            model=self.model,
            generation=self.generation,
            cache=(out if has_cluster() else work) / CACHE,
            out=out,
            task=self.task,
        )


def run_worker(
    name: str,
    model: ModelFolder,
    generation: GenerationOptions,
    task: PromptsTask | ResponsesTask,
    work: Path,
    keys: Mapping[str, SecretStr] = MappingProxyType({}),
) -> tuple[Path, ProgramMetrics]:
    """Run the worker on one task; see `run_workers`."""
    return run_workers([Asked(name, model, generation, task)], work, keys)[0]


def run_workers(
    asked: Sequence[Asked], work: Path, keys: Mapping[str, SecretStr] = MappingProxyType({})
) -> list[tuple[Path, ProgramMetrics]]:
    """Run tasks one after the other, in one process unless vLLM runs them.

    The same job gets the same folder. The request cache has what the job generated before, so a
    second run costs seconds. `work` is the folder of the request cache and the jobs. `keys` go to
    the program in its environment only. Returns, for each task, the folder with its rows (see
    `worker`), and the cost.

    Raises:
        UserError: If the worker reports something that the user can mend. The tasks before it have
            their rows.
        RuntimeError: If it fails otherwise, with its last lines.
    """
    jobs = [(f"{each.name} ({each.model.name})", each.make_job(work)) for each in asked]
    for _, job in jobs:
        # A job that was lent a cache is still there, or has ended while no Kedro waited for it.
        if not (has_cluster() and (job.out / CACHE).is_file()):
            (job.out / METRICS).unlink(missing_ok=True)
    # With vLLM, only one model in a process is safe.
    alone = [each for each in jobs if each[1].generation.engine == "vllm"]
    together = [each for each in jobs if each not in alone]
    for batch in (together, *([each] for each in alone)):
        with lend_cache(work / CACHE, [job for _, job in batch]):
            run_jobs("almost_kedro.generation.worker", batch, key_variables(keys))
    return [
        (job.out, json.loads((job.out / METRICS).read_text(encoding="utf-8"))) for _, job in jobs
    ]


@contextmanager
def lend_cache(cache: Path, jobs: Sequence[Job]) -> Iterator[None]:
    """Give jobs on a cluster their copies of the cache, and take back what they generated.

    A copy that is there already is that of a job which still runs, or of one that ended while no
    Kedro waited for it. On this machine, such copies are taken back before, and none is given.
    Whoever interrupts Kedro may leave a job that still writes to its copy.
    """
    copies = [job.out / CACHE for job in jobs]
    for copy in copies:
        if not has_cluster():
            take_back(copy, cache)
        elif not copy.is_file():
            copy_cache(cache, copy)
    try:
        yield
    except Exception:
        _take_all_back(copies, cache)
        raise
    _take_all_back(copies, cache)


def _take_all_back(copies: Sequence[Path], cache: Path) -> None:
    for copy in copies:
        take_back(copy, cache)


def read_answers(file: Path) -> Iterator[tuple[str, Completion]]:
    """Read the key and the completion of each request of a group, one by one."""
    for row in read_rows(file):
        reason: Any = sys.intern(row["finish_reason"])
        yield row["key"], Completion(row["text"], reason, row["n_tokens"])


def reveal(keys: Mapping[str, SecretStr]) -> dict[str, str]:
    """Return keys as plain strings."""
    return {name: key.get_secret_value() for name, key in keys.items()}


def key_variables(keys: Mapping[str, SecretStr]) -> dict[str, str]:
    """Return the environment variable that hands keys to the worker; none if there are no keys."""
    return {KEYS_VARIABLE: json.dumps(reveal(keys))} if keys else {}
