"""Trains reward models on rows, and describes scoring with them."""

from __future__ import annotations

from collections.abc import Sequence

from almost_kedro.feedback.reward_rows import RewardRow, choose_separator
from almost_kedro.feedback.splits import digest_splits
from almost_kedro.jobs.models import find_trainee
from almost_kedro.jobs.train import Trained, run_training
from almost_kedro.models.checkpoints import Checkpoint, as_model, check_same_base, check_same_data
from almost_kedro.options.all import Options
from almost_kedro.processes.workplace import Workplace
from almost_kedro.rows.training import PromptSplit
from almost_kedro.training.job import ScoreJob, TrainingJob

REMEDY = "run `kedro run --pipeline reward_model` on this data first"


def train_on_rows(
    name: str, rows: Sequence[RewardRow], seed: int, options: Options, workplace: Workplace
) -> tuple[TrainingJob, Trained]:
    """Train a reward model unless exactly this was trained before; `seed` replaces the run's."""
    work, launch = workplace.training, options.launch
    job = TrainingJob(
        program="reward",
        name=name,
        base=find_trainee(options.reward_model.model, options, workplace, "reward"),
        rows=work,
        rows_sha256="",
        options=options.reward_model.training,
        separator=choose_separator(options.rules),
        seed=seed,
        launch=launch,
        accelerate=workplace.accelerate / f"{launch.config}.yaml",
        out=work,
    )
    return job, run_training(job, rows)


def make_score_job(checkpoint: Checkpoint, options: Options, workplace: Workplace) -> ScoreJob:
    """Describe scoring with a reward model; `jobs.score.score` fills in the rows."""
    bos = options.models.root[options.reward_model.model].bos
    return ScoreJob(
        model=as_model(checkpoint, bos),
        rows=workplace.training,
        rows_sha256="",
        separator=choose_separator(options.rules),
        max_length=options.reward_model.max_length,
        dtype=options.launch.dtype,
        out=workplace.training,
    )


def make_judges(
    checkpoints: tuple[Checkpoint, Checkpoint], options: Options, workplace: Workplace
) -> tuple[ScoreJob, ScoreJob]:
    """Describe scoring by the reward model and by the held-out one."""
    first, second = (make_score_job(checkpoint, options, workplace) for checkpoint in checkpoints)
    return first, second


def find_judges(
    reward_model: Checkpoint,
    held_out_reward_model: Checkpoint,
    prompt_splits: Sequence[PromptSplit],
    options: Options,
    workplace: Workplace,
) -> tuple[ScoreJob, ScoreJob]:
    """Check both reward models (see `check_judge`), and describe scoring with them."""
    checkpoints = (reward_model, held_out_reward_model)
    for checkpoint in checkpoints:
        check_judge(checkpoint, prompt_splits, options, workplace)
    return make_judges(checkpoints, options, workplace)


def check_judge(
    checkpoint: Checkpoint,
    prompt_splits: Sequence[PromptSplit],
    options: Options,
    workplace: Workplace,
) -> None:
    """Refuse a reward model with other prompt splits or another base model than this run's."""
    check_same_data(checkpoint, "prompt_splits", digest_splits(prompt_splits), REMEDY)
    base = find_trainee(options.reward_model.model, options, workplace)
    check_same_base(checkpoint, base, REMEDY)
