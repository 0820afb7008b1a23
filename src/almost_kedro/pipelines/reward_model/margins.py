"""Margins: what a reward model thinks of comparisons, scored before or trained for that alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from almost_kedro.feedback.ledger import Rules
from almost_kedro.feedback.reward_rows import RewardRow, build_answer_rows
from almost_kedro.rows import Comparison
from almost_kedro.training.client import digest_rows, score
from almost_kedro.training.job import ScoreJob
from almost_kedro.training_rows import ScoredComparison

from .nodes import RewardSetting, make_checkpoint, make_score_job, train_on_rows

# The reward model and the held-out one, in the fields of a `ScoredComparison`.
Judge = Literal["reward", "held_out"]


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
    setting: RewardSetting,
) -> dict[str, float]:
    """Train a reward model on rows, and score comparisons with it; see the two functions below."""
    return score_margins(train_judge(name, rows, seed, setting), comparisons, setting.rules)


def train_judge(
    name: str, rows: Sequence[RewardRow], seed: int, setting: RewardSetting
) -> ScoreJob:
    """Train a reward model on rows, and describe scoring with it.

    It stays in its work folder, so that the same call again trains nothing.

    Args:
        name: The reward model's.
        rows: What it is trained on.
        seed: Of its training.
        setting: Options and folders.
    """
    job, trained = train_on_rows(name, rows, seed, setting)
    return make_score_job(
        make_checkpoint(trained, job, "reward_model", {"rows": digest_rows(rows)}),
        job.base.bos,
        setting.options,
        setting.launch,
        setting.rules,
        setting.training_work,
    )


def score_margins(
    judge: ScoreJob, comparisons: Sequence[Comparison], rules: Rules
) -> dict[str, float]:
    """Score comparisons.

    Args:
        judge: The reward model.
        comparisons: What it judges.
        rules: The rule set in force.

    Returns:
        Reward of the chosen answer - that of the rejected one (log-odds), by comparison_id.
    """
    rewards, _ = score(judge, build_answer_rows(comparisons, rules))
    ids = [row["comparison_id"] for row in comparisons]
    return {id_: rewards[f"{id_}:chosen"] - rewards[f"{id_}:rejected"] for id_ in ids}
