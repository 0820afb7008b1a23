"""Training for nodes: writes a job, runs its program unless it ran before, returns its output."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from almost_kedro.jobs.row_files import Rows, write_content
from almost_kedro.models.checkpoints import Checkpoint, make_manifest
from almost_kedro.processes.run import PLAIN, build_command
from almost_kedro.processes.slurm import Program
from almost_kedro.processes.tracking import track_program
from almost_kedro.processes.work_folders import METRICS, run_work
from almost_kedro.rows.json_lines import read_rows
from almost_kedro.training.job import MODEL, SERVED, TrainingJob
from almost_kedro.training.launch import check_trained, has_trained, launch

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """Output of a training program: its work folder, its metrics and its curve."""

    folder: Path
    metrics: dict[str, Any]
    curve: list[dict[str, float]]

    @property
    def model(self) -> Path:
        """The model itself."""
        return self.folder / MODEL


def run_training(job: TrainingJob, rows: Rows, watch_rows: Rows | None = None) -> Trained:
    """Train, in a work folder named after exactly this work.

    The same job again finds its model there. A stopped job goes on from its checkpoint. `job.out`
    is the folder of work folders; the job's files of rows are filled in here, also for its watch.
    """
    store = job.out / "rows"
    file, sha256 = write_content(store, rows)
    job = job.model_copy(update={"rows": file, "rows_sha256": sha256})
    if watch_rows is not None:
        file, sha256 = write_content(store, watch_rows)
        job = job.model_copy(update={"watch_rows": file, "watch_sha256": sha256})
    out = job.out / f"{job.name}-{job.identity()[:12]}"
    job = job.model_copy(update={"out": out})
    metrics = out / METRICS
    if has_trained(job):
        logger.info("%s: trained before, in %s", job.name, out, extra=PLAIN)
    else:
        metrics.unlink(missing_ok=True)
        out.mkdir(parents=True, exist_ok=True)
        job_file = out / "job.json"
        job_file.write_text(job.model_dump_json(), encoding="utf-8")
        with track_program(job.name, metrics, out / "curve.jsonl") as env:
            launch(job, job_file, env=env)
    return Trained(out, check_trained(job), list(read_rows(out / "curve.jsonl")))


def make_checkpoint(
    trained: Trained, job: TrainingJob, kind: Any, data: Mapping[str, str]
) -> Checkpoint:
    """Return a trained model, as others use it, with its manifest."""
    served = trained.folder / SERVED
    if not served.is_dir():  # trained before there was such a folder
        job_file = trained.folder / "served.json"
        there = job.model_copy(update={"out": trained.folder})
        job_file.write_text(there.model_dump_json(), encoding="utf-8")
        make_served(job_file, served)
    metrics = {k: v for k, v in trained.metrics.items() if k != "packages"}
    manifest = make_manifest(
        trained.model,
        served,
        kind=kind,
        name=job.name,
        base=job.base,
        data=data,
        options={**job.options.model_dump(mode="json"), "seed": job.seed},
        metrics=metrics,
        packages=trained.metrics["packages"],
    )
    return Checkpoint(served, manifest)


def make_served(job_file: Path, served: Path) -> None:
    """Have a program make the folder `served` of a model that was trained before."""
    module = "almost_kedro.training.served"

    def list_command() -> list[str]:
        return [] if served.is_dir() else build_command(module, job_file)

    run_work(Program(module, [job_file], list_command, served.with_name("served.log"), {}))
