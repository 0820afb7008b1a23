"""The Kedro side of the worker: writes the job file, runs the program, reads its folder."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import SecretStr

from almost_kedro.generation.engine import Completion, digest
from almost_kedro.generation.job import KEYS_VARIABLE, Job, ModelFolder, PromptsTask, ResponsesTask
from almost_kedro.json_lines import read_rows
from almost_kedro.options import GenerationOptions
from almost_kedro.programs import run_program
from almost_kedro.tracking import track_program

# The request cache's file in the folder of jobs.
CACHE = "completions.sqlite"


def run_worker(
    name: str,
    model: ModelFolder,
    generation: GenerationOptions,
    task: PromptsTask | ResponsesTask,
    work: Path,
    keys: Mapping[str, SecretStr] = MappingProxyType({}),
) -> tuple[Path, dict[str, float]]:
    """Run the worker on a task.

    The same job gets the same folder. What it generated before comes from the request cache, so a
    second run costs seconds.

    Args:
        name: What the job is called in folders and in MLflow.
        model: The model.
        generation: Engine options.
        task: What to do.
        work: Folder of the request cache and the jobs.
        keys: API keys of servers, by name; handed over in the environment only.

    Returns:
        The folder with the task's rows (see `worker`), and what they cost.
    """
    folder = (
        work / f"{name}-{model.name.replace('/', '-')}-{digest(task.model_dump(mode='json'))[:12]}"
    )
    job = Job(
        model=model,
        generation=generation,
        cache=work / CACHE,
        out=folder,
        task=task,
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.json").unlink(missing_ok=True)
    job_file = folder / "job.json"
    job_file.write_text(job.model_dump_json(), encoding="utf-8")
    with track_program(f"{name} ({model.name})", folder / "metrics.json") as env:
        run_program(
            "almost_kedro.generation.worker",
            job_file,
            folder / "worker.log",
            {**env, **key_variables(keys)},
        )
    metrics: dict[str, float] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return folder, metrics


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
