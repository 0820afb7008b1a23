"""The reference of DPO: what the base model makes of both answers of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from almost_kedro.contract import Likelihood, ModelFolder
from almost_kedro.feedback.reward_rows import RewardRow, choose_separator, list_answers
from almost_kedro.generation.likelihood_job import AnswerTexts, LikelihoodJob
from almost_kedro.jobs.likelihood import compute_logprobs
from almost_kedro.options.all import Options
from almost_kedro.processes.workplace import Workplace
from almost_kedro.rows.metrics import ProgramMetrics

SIDES = ("chosen", "rejected")


def add_reference(
    rows: Sequence[RewardRow], base: ModelFolder, options: Options, workplace: Workplace
) -> tuple[list[dict[str, Any]], ProgramMetrics]:
    """Add to rows the log-probabilities (nats) of both answers by the base, and say what it cost.

    They are of the token ids that DPO trains on, eos included, and computed in the same numbers.
    """
    texts = AnswerTexts(
        separator=choose_separator(options.rules), max_length=options.dpo.max_length
    )
    job = LikelihoodJob(
        model=base,
        dtype=options.launch.dtype,
        answers=texts,
        replicas=options.generation.replicas,
        out=workplace.evaluation,
    )
    asked = [
        Likelihood(id=row["id"], context=row["dialogue"], continuation=row["answer"])
        for row in list_answers(rows)
    ]
    found, cost = compute_logprobs(job, asked)
    return [
        {
            **row,
            **{f"ref_{side}_logps": found[f"{row['id']}:{side}"]["logprob"] for side in SIDES},
        }
        for row in rows
    ], cost
