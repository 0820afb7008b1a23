"""Margins: what a reward model thinks of comparisons, scored before or trained for that alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from almost_kedro.feedback.reward_rows import RewardRow, build_answer_rows
from almost_kedro.jobs.reward_models import make_score_job, train_on_rows
from almost_kedro.jobs.row_files import digest_rows
from almost_kedro.jobs.score import score
from almost_kedro.jobs.train import make_checkpoint
from almost_kedro.options.all import Options
from almost_kedro.options.rules import Rules
from almost_kedro.processes.workplace import Workplace
from almost_kedro.rows.feedback import Comparison
from almost_kedro.rows.training import ScoredComparison
from almost_kedro.training.job import ScoreJob

# The reward model and the held-out one, in the fields of a `ScoredComparison`.
Judge = Literal["reward", "held_out"]
JUDGES: tuple[Judge, Judge] = get_args(Judge)


def read_margins(scores: Sequence[ScoredComparison], judge: Judge) -> dict[str, float]:
    """Return the margins of the reward model, or of the held-out one, by comparison_id."""
    return {
        row["comparison_id"]: row[f"{judge}_chosen"] - row[f"{judge}_rejected"]  # type: ignore[literal-required]
        for row in scores
    }


def measure_margins(
    name: str,
    rows: Sequence[RewardRow],
    comparisons: Sequence[Comparison],
    seed: int,
    options: Options,
    workplace: Workplace,
) -> dict[str, float]:
    """Train a reward model on rows, and score comparisons with it; see the two functions below."""
    judge = train_judge(name, rows, seed, options, workplace)
    return score_margins(judge, comparisons, options.rules)


def train_judge(
    name: str, rows: Sequence[RewardRow], seed: int, options: Options, workplace: Workplace
) -> ScoreJob:
    """Train a reward model on rows, and describe scoring with it.

    It stays in its work folder, so the same call again trains nothing.
    """
    job, trained = train_on_rows(name, rows, seed, options, workplace)
    checkpoint = make_checkpoint(trained, job, "reward_model", {"rows": digest_rows(rows)})
    return make_score_job(checkpoint, options, workplace)


def score_margins(
    judge: ScoreJob, comparisons: Sequence[Comparison], rules: Rules
) -> dict[str, float]:
    """Return reward of the chosen answer - of the rejected one (log-odds), by comparison_id."""
    rewards, _ = score(judge, build_answer_rows(comparisons, rules))
    ids = [row["comparison_id"] for row in comparisons]
    return {id_: rewards[f"{id_}:chosen"] - rewards[f"{id_}:rejected"] for id_ in ids}
