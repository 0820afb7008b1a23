"""Nodes of `reward_model`: comparisons become jobs, the programs' folders become checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from almost_kedro.checkpoints import Checkpoint, as_model, check_same_data, make_manifest
from almost_kedro.evaluation import charts
from almost_kedro.feedback.ledger import summarise_ledger
from almost_kedro.feedback.reward_rows import (
    RewardRow,
    build_answer_rows,
    build_reward_rows,
    check_enough,
    drop_identical,
    separate,
)
from almost_kedro.feedback.splits import digest_splits, select_comparisons
from almost_kedro.models import resolve_model
from almost_kedro.options import Models, Rules
from almost_kedro.rows import Comparison, LedgerRow
from almost_kedro.training.client import Trained, digest_rows, score_by_all, train
from almost_kedro.training.job import ScoreJob, TrainingJob
from almost_kedro.training_options import LaunchOptions, RewardModelOptions
from almost_kedro.training_rows import PromptSplit, ScoredComparison, Split

REMEDY = "run `kedro run --pipeline reward_model` on this data first"


@dataclass(frozen=True)
class RewardSetting:
    """What all reward models of a run have in common."""

    models: Models
    options: RewardModelOptions
    launch: LaunchOptions
    rules: Rules
    model_store: Path
    accelerate_configs: Path
    training_work: Path


def select_reward_pairs(
    validated_comparisons: list[Comparison], prompt_splits: list[PromptSplit], rules: Rules
) -> tuple[list[Comparison], list[LedgerRow], dict[str, Any]]:
    """Drop what no reward model can learn from; find out whether each split has comparisons.

    Returns:
        Comparisons, ledger and metrics.

    Raises:
        UserError: A split without comparisons, or a comparison without an answer.
    """
    kept, ledger = drop_identical(validated_comparisons, rules)
    counts = {}
    for split in ("reward_model", "held_out", "held_out_reward_model"):
        rows = select_comparisons(kept, prompt_splits, split)
        before = len(select_comparisons(validated_comparisons, prompt_splits, split))
        check_enough(rows, before, split)
        counts[f"n_{split}"] = len(rows)
    return kept, ledger, {**counts, **summarise_ledger(ledger)}


def train_reward_model(
    reward_pairs: list[Comparison],
    prompt_splits: list[PromptSplit],
    models: Models,
    reward_model: RewardModelOptions,
    launch: LaunchOptions,
    rules: Rules,
    seed: int,
    model_store: Path,
    accelerate_configs: Path,
    training_work: Path,
) -> tuple[Checkpoint, dict[str, Any], dict[str, Any]]:
    """Train the reward model on its split; returns checkpoint, metrics and training curve."""
    setting = RewardSetting(
        models, reward_model, launch, rules, model_store, accelerate_configs, training_work
    )
    return _train("reward_model", reward_pairs, prompt_splits, seed, setting)


def train_held_out_reward_model(
    reward_pairs: list[Comparison],
    prompt_splits: list[PromptSplit],
    models: Models,
    reward_model: RewardModelOptions,
    launch: LaunchOptions,
    rules: Rules,
    seed: int,
    model_store: Path,
    accelerate_configs: Path,
    training_work: Path,
) -> tuple[Checkpoint, dict[str, Any], dict[str, Any]]:
    """Train the held-out reward model: other prompts, another seed, the same options."""
    setting = RewardSetting(
        models, reward_model, launch, rules, model_store, accelerate_configs, training_work
    )
    return _train("held_out_reward_model", reward_pairs, prompt_splits, seed + 1, setting)


def _train(
    split: Split,
    reward_pairs: Sequence[Comparison],
    prompt_splits: Sequence[PromptSplit],
    seed: int,
    setting: RewardSetting,
) -> tuple[Checkpoint, dict[str, Any], dict[str, Any]]:
    rows = build_reward_rows(select_comparisons(reward_pairs, prompt_splits, split), setting.rules)
    job, trained = train_on_rows(split, rows, seed, setting)
    data = {"prompt_splits": digest_splits(prompt_splits), "comparisons": digest_rows(rows)}
    checkpoint = make_checkpoint(trained, job, "reward_model", data)
    title = split.replace("_", " ")
    return checkpoint, trained.metrics, charts.draw_training_curve(trained.curve, title)


def train_on_rows(
    name: str, rows: Sequence[RewardRow], seed: int, setting: RewardSetting
) -> tuple[TrainingJob, Trained]:
    """Train a reward model, unless exactly this was trained before.

    Args:
        name: The reward model's.
        rows: What it is trained on.
        seed: Of everything that is drawn.
        setting: Options and folders.
    """
    work, launch = setting.training_work, setting.launch
    job = TrainingJob(
        program="reward",
        name=name,
        base=resolve_model(
            setting.options.model, setting.models.root, setting.model_store, "reward"
        ),
        rows=work,
        rows_sha256="",
        options=setting.options,
        separator=separate(setting.rules),
        seed=seed,
        launch=launch,
        accelerate=setting.accelerate_configs / f"{launch.config}.yaml",
        out=work,
    )
    return job, train(job, rows)


def make_checkpoint(
    trained: Trained, job: TrainingJob, kind: Any, data: Mapping[str, str]
) -> Checkpoint:
    """Describe a trained model."""
    metrics = {k: v for k, v in trained.metrics.items() if k != "packages"}
    manifest = make_manifest(
        trained.model,
        kind=kind,
        name=job.name,
        base=job.base,
        data=data,
        options={**job.options.model_dump(mode="json"), "seed": job.seed},
        metrics=metrics,
        packages=trained.metrics["packages"],
    )
    return Checkpoint(trained.model, manifest)


def score_held_out(
    reward_pairs: list[Comparison],
    prompt_splits: list[PromptSplit],
    reward_model_checkpoint: Checkpoint,
    held_out_reward_model_checkpoint: Checkpoint,
    models: Models,
    reward_model: RewardModelOptions,
    launch: LaunchOptions,
    rules: Rules,
    training_work: Path,
) -> tuple[list[ScoredComparison], dict[str, Any]]:
    """Score the held-out comparisons with both reward models; returns rows and costs."""
    rows = select_comparisons(reward_pairs, prompt_splits, "held_out")
    answers = build_answer_rows(rows, rules)
    bos = models.root[reward_model.model].bos
    scores, costs = {}, {}
    checkpoints = {
        "reward": reward_model_checkpoint,
        "held_out": held_out_reward_model_checkpoint,
    }
    for checkpoint in checkpoints.values():
        check_same_data(checkpoint, "prompt_splits", digest_splits(prompt_splits), REMEDY)
    jobs = [
        make_score_job(checkpoint, bos, reward_model, launch, rules, training_work)
        for checkpoint in checkpoints.values()
    ]
    for name, found in zip(checkpoints, score_by_all(jobs, answers), strict=True):
        scores[name], costs[name] = found
    scored = [
        ScoredComparison(
            comparison_id=row["comparison_id"],
            prompt_id=row["prompt_id"],
            reward_chosen=scores["reward"][f"{row['comparison_id']}:chosen"],
            reward_rejected=scores["reward"][f"{row['comparison_id']}:rejected"],
            held_out_chosen=scores["held_out"][f"{row['comparison_id']}:chosen"],
            held_out_rejected=scores["held_out"][f"{row['comparison_id']}:rejected"],
        )
        for row in rows
    ]
    return scored, costs


def make_score_job(
    checkpoint: Checkpoint,
    bos: bool | None,
    options: RewardModelOptions,
    launch: LaunchOptions,
    rules: Rules,
    work: Path,
) -> ScoreJob:
    """Describe scoring with a reward model; `training.client.score` fills in the rows."""
    return ScoreJob(
        model=as_model(checkpoint, bos),
        rows=work,
        rows_sha256="",
        separator=separate(rules),
        max_length=options.max_length,
        dtype=launch.dtype,
        out=work,
    )
