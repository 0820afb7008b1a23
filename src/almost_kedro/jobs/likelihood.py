"""Log-probabilities for nodes: writes jobs, and runs their program unless it ran before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import cast

from almost_kedro.contract import Likelihood, LogProb
from almost_kedro.generation.likelihood_job import LikelihoodJob
from almost_kedro.processes.work_folders import METRICS, run_jobs
from almost_kedro.rows.json_lines import encode_rows, read_rows, write_whole
from almost_kedro.rows.metrics import ProgramMetrics


def compute_logprobs(
    job: LikelihoodJob, rows: Sequence[Likelihood]
) -> tuple[dict[str, LogProb], ProgramMetrics]:
    """Compute one model's log-probabilities; see `compute_all_logprobs`."""
    return compute_all_logprobs([(job, rows)])[0]


def compute_all_logprobs(
    asked: Sequence[tuple[LikelihoodJob, Sequence[Likelihood]]],
) -> list[tuple[dict[str, LogProb], ProgramMetrics]]:
    """Compute log-probabilities, each job in a work folder named after exactly this work.

    The same job again finds its results there. A stopped job goes on after its last whole batch,
    and its figures are the same to the last digit. Each job's `out` is the folder of work folders;
    ids are unique within a job. Returns, for each job, answers by id and the cost.

    Raises:
        UserError: A row that can't be answered (see `continuations.encode_rows`), or a model
            without weights on this machine.
    """
    planned = [_write_rows(job, rows) for job, rows in asked if rows]
    run_jobs(
        "almost_kedro.generation.likelihood",
        [(f"log-probabilities ({job.model.name})", job) for job in planned],
    )
    done = iter(planned)
    return [_read_answers(next(done)) if rows else ({}, {"rows": 0}) for _, rows in asked]


def _write_rows(job: LikelihoodJob, rows: Sequence[Likelihood]) -> LikelihoodJob:
    """Write a job's rows into its work folder, unless they are there; return the job."""
    content = b"".join(encode_rows(rows))
    identity = job.identity(hashlib.sha256(content).hexdigest())
    out = job.out / f"logprobs-{identity[:12]}"
    if not (out / job.rows).is_file():
        out.mkdir(parents=True, exist_ok=True)
        with write_whole(out / job.rows) as file:
            file.write(content)
    return job.model_copy(update={"out": out})


def _read_answers(job: LikelihoodJob) -> tuple[dict[str, LogProb], ProgramMetrics]:
    answers = {row["id"]: cast(LogProb, row) for row in read_rows(job.out / "logprobs.jsonl")}
    return answers, json.loads((job.out / METRICS).read_text(encoding="utf-8"))
