"""What nodes call for log-probabilities: write a job, run its program unless it was run before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, cast

from almost_kedro.generation.likelihood_job import Likelihood, LikelihoodJob, LogProb
from almost_kedro.json_lines import encode_rows, read_rows, write_whole
from almost_kedro.programs import run_program
from almost_kedro.tracking import track_program


def compute_logprobs(
    job: LikelihoodJob, rows: Sequence[Likelihood]
) -> tuple[dict[str, LogProb], dict[str, Any]]:
    """Compute log-probabilities, in a work folder named after exactly this work.

    The same job again finds them there; one that was stopped goes on after its last whole batch,
    and the figures are the same to the last digit.

    Args:
        job: The job; its `out` is the folder of work folders.
        rows: What is asked, each under an id of its own.

    Returns:
        Answers by id, and what they cost.

    Raises:
        UserError: A row that can't be answered (see `continuations.encode_rows`), or a model
            without weights on this machine.
    """
    if not rows:
        return {}, {"rows": 0}
    content = b"".join(encode_rows(rows))
    identity = job.identity(hashlib.sha256(content).hexdigest())
    out = job.out / f"logprobs-{identity[:12]}"
    job = job.model_copy(update={"out": out})
    metrics = out / "metrics.json"
    if not metrics.is_file():
        out.mkdir(parents=True, exist_ok=True)
        with write_whole(out / job.rows) as file:
            file.write(content)
        job_file = out / "job.json"
        job_file.write_text(job.model_dump_json(), encoding="utf-8")
        with track_program(f"log-probabilities ({job.model.name})", metrics) as env:
            run_program("almost_kedro.generation.likelihood", job_file, out / "program.log", env)
    answers = {row["id"]: cast(LogProb, row) for row in read_rows(out / "logprobs.jsonl")}
    cost: dict[str, Any] = json.loads(metrics.read_text(encoding="utf-8"))
    return answers, cost
