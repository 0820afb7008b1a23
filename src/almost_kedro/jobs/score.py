"""Scores rows with reward models, unless the same was scored before."""

from __future__ import annotations

import json
from collections.abc import Sequence

from almost_kedro.errors import UserError
from almost_kedro.jobs.row_files import Rows, write_content
from almost_kedro.processes.work_folders import METRICS, run_jobs
from almost_kedro.rows.finite import require_finite
from almost_kedro.rows.json_lines import read_rows
from almost_kedro.rows.metrics import ProgramMetrics
from almost_kedro.training.job import ScoreJob


def score(job: ScoreJob, rows: Rows) -> tuple[dict[str, float], ProgramMetrics]:
    """Score rows with one reward model; see `score_by_all`."""
    return score_by_all([job], rows)[0]


def score_by_all(
    jobs: Sequence[ScoreJob], rows: Rows
) -> list[tuple[dict[str, float], ProgramMetrics]]:
    """Score rows of `id`, `dialogue` and `answer`, unless exactly these were scored before.

    Each reward model has a job. Its `out` is the folder of work folders; its file of rows is filled
    in here. Returns, for each job, rewards by id and the cost.
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
    """Read the rewards of a finished job by id; raise UserError if one is not finite."""
    file = job.out / "rewards.jsonl"
    try:
        return {
            row["id"]: require_finite(row["reward"], f"{file}: the reward of {row['id']}")
            for row in read_rows(file)
        }
    except ValueError as exc:
        raise UserError(f"{exc}; delete {job.out} and run again") from exc
