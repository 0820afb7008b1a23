"""Trains reward models on rows, and describes scoring with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from almost_kedro.errors import UserError
from almost_kedro.feedback.contrasts import select_contrast
from almost_kedro.feedback.ensemble import Scale, measure_scale, name_programs
from almost_kedro.feedback.mismatched import drop_mismatched
from almost_kedro.feedback.reward_rows import RewardRow, choose_separator, list_answers
from almost_kedro.feedback.splits import digest_splits
from almost_kedro.jobs.models import find_trainee
from almost_kedro.jobs.row_files import digest_rows
from almost_kedro.jobs.score import Ensemble, Scorer, score_by_jobs
from almost_kedro.jobs.train import Trained, make_checkpoint, run_training
from almost_kedro.models.checkpoints import Checkpoint, as_model, check_same_base, check_same_data
from almost_kedro.options.all import Options
from almost_kedro.processes.workplace import Workplace
from almost_kedro.rows.feedback import Comparison
from almost_kedro.rows.training import PromptSplit
from almost_kedro.training.job import RewardMembers, ScoreJob, TrainingJob

REMEDY = "run `kedro run --pipeline reward_model` on this data first"
# Between the seeds of trainings on the same rows: skips those of the held-out reward model (+ 1)
# and of the as-is reward model (+ 2).
STEP = 1000


def name_seed(number: int) -> str:
    """Name the training of a reward model with its number-th other seed."""
    return f"reward_model_seed_{number}"


class Member(NamedTuple):
    """One of the reward models that reward together, as it is trained."""

    name: str
    rows: Sequence[RewardRow]
    seed: int


def list_members(
    rows: Sequence[RewardRow], comparisons: Sequence[Comparison], options: Options
) -> list[Member]:
    """Return how each reward model is trained; there may be only one, which is `reward_model`.

    Several have all rows and other seeds, or one seed and the rows of a contrast each.

    Args:
        rows: Of the split `reward_model`.
        comparisons: Those that the rows were made of.

    Raises:
        UserError: A contrast without comparisons.
    """
    first, trained = "reward_model", options.reward_model
    if not trained.contrasts:
        names = [first, *map(name_seed, range(1, trained.n_members))]
        return [
            Member(name, rows, options.seed + number * STEP) for number, name in enumerate(names)
        ]
    members = []
    for contrast in trained.contrasts:
        selected = select_contrast(options.contrasts[contrast], comparisons)
        ids = {row["comparison_id"] for row in selected}
        own = [row for row in rows if row["id"] in ids]
        if not own:
            raise UserError(
                f"option reward_model.ensemble: of {len(rows)} comparisons to train on, none is of "
                f"contrast {contrast!r}; ask for more prompts (prompt_generation.n_prompts), or "
                "leave it out"
            )
        members.append(Member(f"{first}_{contrast}", own, options.seed))
    return members


def train_reward_models(
    members: Sequence[Member],
    rows: Sequence[RewardRow],
    prompt_splits: Sequence[PromptSplit],
    options: Options,
    workplace: Workplace,
) -> tuple[Checkpoint, dict[str, Any], Trained]:
    """Train reward models, and measure their scales if there are several.

    `rows` are those of the split, which members are trained on or on parts of. Returns the first
    one, with the others as its members; the metrics of all programs; and the first training.
    """
    # DPO on the same comparisons fits this reward model, also if it has mismatched pairs beside.
    comparisons = digest_rows(drop_mismatched(rows))
    data = {"prompt_splits": digest_splits(prompt_splits), "comparisons": comparisons}
    found = [train_on_rows(each.name, each.rows, each.seed, options, workplace) for each in members]
    checkpoints = [make_checkpoint(done, job, "reward_model", data) for job, done in found]
    first, metrics = found[0][1], found[0][1].metrics
    if len(members) == 1:
        return checkpoints[0], metrics, first
    jobs = [make_score_job(each, options, workplace) for each in checkpoints]
    scored = score_by_jobs(jobs, list_answers(rows))
    scales = [
        measure_scale(each.name, list(rewards.values()))
        for each, (rewards, _) in zip(members, scored, strict=True)
    ]
    contrasts = options.reward_model.contrasts
    trainings, scorings = zip(*name_programs(len(members), contrasts), strict=True)
    others = {name: done.metrics for name, (_, done) in zip(trainings[1:], found[1:], strict=True)}
    scoring = {name: cost for name, (_, cost) in zip(scorings, scored, strict=True)}
    manifest = {**checkpoints[0].manifest, "scales": [list(scale) for scale in scales]}
    if contrasts:
        manifest["contrasts"] = contrasts
    checkpoint = replace(checkpoints[0], manifest=manifest, members=tuple(checkpoints[1:]))
    return checkpoint, {**metrics, **others, **scoring}, first


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
        replicas=options.generation.replicas,
        out=workplace.training,
    )


def make_scorer(checkpoint: Checkpoint, options: Options, workplace: Workplace) -> Scorer:
    """Describe scoring with a reward model, or with it and its members as one."""
    members = (checkpoint, *checkpoint.members)
    jobs = tuple(make_score_job(each, options, workplace) for each in members)
    if len(jobs) == 1:
        return jobs[0]
    scales = tuple(Scale(*scale) for scale in checkpoint.manifest["scales"])
    return Ensemble(jobs, scales, options.reward_model.ensemble_penalty)


def find_members(reward_model: Checkpoint, options: Options) -> RewardMembers | None:
    """Describe who rewards rollouts together with a reward model; None if nobody does."""
    if not reward_model.members:
        return None
    bos = options.models.root[options.reward_model.model].bos
    return RewardMembers(
        models=[as_model(member, bos) for member in reward_model.members],
        scales=reward_model.manifest["scales"],
        penalty=options.reward_model.ensemble_penalty,
    )


def make_judges(
    checkpoints: tuple[Checkpoint, Checkpoint], options: Options, workplace: Workplace
) -> tuple[Scorer, Scorer]:
    """Describe scoring by the reward model and by the held-out one."""
    first, second = (make_scorer(checkpoint, options, workplace) for checkpoint in checkpoints)
    return first, second


def find_judges(
    reward_model: Checkpoint,
    held_out_reward_model: Checkpoint,
    prompt_splits: Sequence[PromptSplit],
    options: Options,
    workplace: Workplace,
) -> tuple[Scorer, Scorer]:
    """Check both reward models (see `check_judge`), and describe scoring with them."""
    checkpoints = (reward_model, held_out_reward_model)
    check_members(reward_model, options)
    for checkpoint in checkpoints:
        check_judge(checkpoint, prompt_splits, options, workplace)
    return make_judges(checkpoints, options, workplace)


def check_members(reward_model: Checkpoint, options: Options) -> None:
    """Refuse a reward model that is not of those that this run's options say."""
    wanted: int | list[str] = options.reward_model.ensemble
    found = reward_model.manifest.get("contrasts") or 1 + len(reward_model.members)
    if found != wanted:
        raise UserError(
            f"option reward_model.ensemble: {show_members(wanted)}, but {reward_model.folder} was "
            f"trained as {show_members(found)}; run `kedro run --pipeline reward_model` with these "
            f"options, or set it to {show_members(found)}"
        )


def show_members(ensemble: int | Sequence[str]) -> str:
    """Write the option as YAML has it."""
    return str(ensemble) if isinstance(ensemble, int) else f"[{', '.join(ensemble)}]"


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
