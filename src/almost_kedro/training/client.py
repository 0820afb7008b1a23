"""What nodes call: write a job, run its program unless it was run before, return what it made."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from almost_kedro.errors import UserError
from almost_kedro.finite import require_finite
from almost_kedro.json_lines import encode_rows, read_rows, write_whole
from almost_kedro.programs import PLAIN
from almost_kedro.tracking import track_program
from almost_kedro.training.job import ScoreJob, TrainingJob
from almost_kedro.training.launch import check_trained, launch
from almost_kedro.work_folders import METRICS, run_jobs

logger = logging.getLogger(__name__)
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Trained:
    """What a training program left: the model's folder, what it cost, and its curve."""

    folder: Path
    metrics: dict[str, Any]
    curve: list[dict[str, float]]

    @property
    def model(self) -> Path:
        """The model itself."""
        return self.folder / "model"


def train(job: TrainingJob, rows: Rows, watch_rows: Rows | None = None) -> Trained:
    """Train, in a work folder named after exactly this work.

    The same job again finds its model there; one that was stopped goes on from its checkpoint.

    Args:
        job: The job; its `out` is the folder of work folders, its files of rows are filled in here.
        rows: What it trains on.
        watch_rows: What its watch looks at.
    """
    store = job.out / "rows"
    file, sha256 = write_content(store, rows)
    job = job.model_copy(update={"rows": file, "rows_sha256": sha256})
    if watch_rows is not None:
        file, sha256 = write_content(store, watch_rows)
        job = job.model_copy(update={"watch_rows": file, "watch_sha256": sha256})
    out = job.out / f"{job.name}-{job.identity()[:12]}"
    job = job.model_copy(update={"out": out})
    metrics, model = out / METRICS, out / "model"
    if metrics.is_file() and model.is_dir():
        logger.info("%s: trained before, in %s", job.name, out, extra=PLAIN)
    else:
        metrics.unlink(missing_ok=True)
        out.mkdir(parents=True, exist_ok=True)
        job_file = out / "job.json"
        job_file.write_text(job.model_dump_json(), encoding="utf-8")
        with track_program(job.name, metrics, out / "curve.jsonl") as env:
            launch(job, job_file, env=env)
    return Trained(out, check_trained(job), list(read_rows(out / "curve.jsonl")))


def score(job: ScoreJob, rows: Rows) -> tuple[dict[str, float], dict[str, Any]]:
    """Score rows with one reward model; see `score_by_all`."""
    return score_by_all([job], rows)[0]


def score_by_all(
    jobs: Sequence[ScoreJob], rows: Rows
) -> list[tuple[dict[str, float], dict[str, Any]]]:
    """Score rows of `id`, `dialogue` and `answer`, unless exactly these were scored before.

    Args:
        jobs: A job a reward model; its `out` is the folder of work folders, its file of rows is
            filled in here.
        rows: What is scored.

    Returns:
        For each reward model, rewards by id, and what they cost.
    """
    if not rows:
        return [({}, {"rows": 0}) for _ in jobs]
    planned = []
    for job in jobs:
        file, sha256 = write_content(job.out / "rows", rows)
        job = job.model_copy(update={"rows": file, "rows_sha256": sha256})
        out = job.out / f"rewards-{job.identity()[:12]}"
        planned.append(job.model_copy(update={"out": out}))
    run_jobs(
        "almost_kedro.training.score", [(f"rewards ({job.model.name})", job) for job in planned]
    )
    return [
        (read_rewards(job), json.loads((job.out / METRICS).read_text(encoding="utf-8")))
        for job in planned
    ]


def read_rewards(job: ScoreJob) -> dict[str, float]:
    """Read the rewards of a finished job by id.

    Raises:
        UserError: If one is not finite.
    """
    file = job.out / "rewards.jsonl"
    try:
        return {
            row["id"]: require_finite(row["reward"], f"{file}: the reward of {row['id']}")
            for row in read_rows(file)
        }
    except ValueError as exc:
        raise UserError(f"{exc}; delete {job.out} and run again") from exc


def write_content(folder: Path, rows: Rows) -> tuple[Path, str]:
    """Write rows to a file that is named after them; returns it and its SHA-256."""
    folder.mkdir(parents=True, exist_ok=True)
    content = b"".join(encode_rows(rows))
    sha256 = hashlib.sha256(content).hexdigest()
    file = folder / f"{sha256[:16]}.jsonl"
    if not file.is_file():
        with write_whole(file) as out:
            out.write(content)
    return file, sha256


def digest_rows(rows: Rows) -> str:
    """Identify rows by their content."""
    return hashlib.sha256(b"".join(encode_rows(rows))).hexdigest()
