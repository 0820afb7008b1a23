"""Scores rows with reward models, unless the same was scored before."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from almost_kedro.contract import ModelFolder, digest
from almost_kedro.errors import UserError
from almost_kedro.feedback.ensemble import Scale, combine_rewards
from almost_kedro.jobs.row_files import Rows, write_content
from almost_kedro.processes.work_folders import METRICS, run_jobs
from almost_kedro.rows.finite import require_finite
from almost_kedro.rows.json_lines import read_rows
from almost_kedro.rows.metrics import ProgramMetrics
from almost_kedro.training.job import ScoreJob


@dataclass(frozen=True)
class Ensemble:
    """Several reward models that reward as one (`feedback.ensemble`)."""

    members: tuple[ScoreJob, ...]
    scales: tuple[Scale, ...]
    penalty: float

    @property
    def model(self) -> ModelFolder:
        """The first member, whose name all have together, with a fingerprint of all."""
        first = self.members[0].model
        prints = [job.model.fingerprint for job in self.members]
        own = digest(prints, self.scales, self.penalty)
        return first.model_copy(update={"fingerprint": own})


# Who rewards: one model, or several.
Scorer = ScoreJob | Ensemble


def score(scorer: Scorer, rows: Rows) -> tuple[dict[str, float], ProgramMetrics]:
    """Score rows with one scorer; see `score_by_all`."""
    return score_by_all([scorer], rows)[0]


def score_by_all(
    scorers: Sequence[Scorer], rows: Rows
) -> list[tuple[dict[str, float], ProgramMetrics]]:
    """Score rows of `id`, `dialogue` and `answer` with each scorer; see `score_by_jobs`.

    Returns, for each scorer, rewards by id and the cost: of several members, that of all.
    """
    groups = [each.members if isinstance(each, Ensemble) else (each,) for each in scorers]
    found = iter(score_by_jobs([job for group in groups for job in group], rows))
    scored = [[next(found) for _ in group] for group in groups]
    return [
        combine(each, own) if isinstance(each, Ensemble) else own[0]
        for each, own in zip(scorers, scored, strict=True)
    ]


def combine(
    ensemble: Ensemble, scored: Sequence[tuple[dict[str, float], ProgramMetrics]]
) -> tuple[dict[str, float], ProgramMetrics]:
    """Combine the members' rewards of the same answers, and sum up their costs."""
    rewards, costs = zip(*scored, strict=True)
    ids = list(rewards[0])
    combined = combine_rewards(
        [[own[id_] for id_ in ids] for own in rewards], ensemble.scales, ensemble.penalty
    )
    return {id_: each.reward for id_, each in zip(ids, combined, strict=True)}, sum_costs(costs)


def sum_costs(costs: Sequence[ProgramMetrics]) -> ProgramMetrics:
    """Return what programs took that read the same rows one after another.

    All is summed up but the rows, and peaks: of memory, and of what padding changes.
    """
    total: dict[str, float] = {}
    for name in costs[0]:
        values = [cost[name] for cost in costs if name in cost]  # type: ignore[literal-required]
        peak = name.startswith("peak") or name in ("rows", "padding_difference")
        total[name] = max(values) if peak else round(sum(values), 2)
    if "tokens_per_second" in total:
        seconds = sum(cost["tokens"] / cost["tokens_per_second"] for cost in costs)  # type: ignore[typeddict-item]
        total["tokens_per_second"] = round(total["tokens"] / seconds, 1)
    return total  # type: ignore[return-value]


def score_by_jobs(
    jobs: Sequence[ScoreJob], rows: Rows
) -> list[tuple[dict[str, float], ProgramMetrics]]:
    """Score rows with one reward model a job, unless exactly these were scored before.

    A job's `out` is the folder of work folders; its file of rows is filled in here. Returns, for
    each job, rewards by id and the cost.
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
