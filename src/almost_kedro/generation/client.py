"""The Kedro side of the worker: writes the job file, runs the program, reads its folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from almost_kedro.generation.engine import digest
from almost_kedro.generation.job import Job, ModelFolder, PromptsTask, ResponsesTask
from almost_kedro.options import GenerationOptions
from almost_kedro.programs import run_program
from almost_kedro.tracking import track_program


def run_worker(
    name: str,
    model: ModelFolder,
    generation: GenerationOptions,
    task: PromptsTask | ResponsesTask,
    work: Path,
) -> tuple[Any, dict[str, float]]:
    """Run the worker on a task.

    The same job gets the same folder. What it generated before comes from the request cache, so a
    second run costs seconds.

    Args:
        name: What the job is called in folders and in MLflow.
        model: The model.
        generation: Engine options.
        task: What to do.
        work: Folder of the request cache and the jobs.

    Returns:
        The task's result and what it cost.
    """
    folder = (
        work / f"{name}-{model.name.replace('/', '-')}-{digest(task.model_dump(mode='json'))[:12]}"
    )
    job = Job(
        model=model,
        generation=generation,
        cache=work / "completions.sqlite",
        out=folder,
        task=task,
    )
    folder.mkdir(parents=True, exist_ok=True)
    for file in ("result.json", "metrics.json"):
        (folder / file).unlink(missing_ok=True)
    job_file = folder / "job.json"
    job_file.write_text(job.model_dump_json(), encoding="utf-8")
    with track_program(f"{name} ({model.name})", folder / "metrics.json") as env:
        run_program("almost_kedro.generation.worker", job_file, folder / "worker.log", env)
    metrics: dict[str, float] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return json.loads((folder / "result.json").read_text(encoding="utf-8")), metrics
