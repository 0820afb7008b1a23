"""Nodes of `reward_model`: comparisons become jobs, the programs' folders become checkpoints."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from almost_kedro.checkpoints import Checkpoint, as_model, check_same_data, make_manifest
from almost_kedro.evaluation import charts
from almost_kedro.evaluation.gate import check_gate
from almost_kedro.evaluation.reward_report import report_reward_model
from almost_kedro.feedback.ledger import summarise_ledger
from almost_kedro.feedback.reward_rows import (
    build_answer_rows,
    build_reward_rows,
    check_enough,
    drop_identical,
    separate,
)
from almost_kedro.feedback.splits import digest_splits, select_comparisons
from almost_kedro.models import resolve_model
from almost_kedro.options import Models, Rules
from almost_kedro.programs import PLAIN
from almost_kedro.rows import Comparison, LedgerRow
from almost_kedro.training.client import Trained, check_trainable, digest_rows, score, train
from almost_kedro.training.job import ScoreJob, TrainingJob
from almost_kedro.training_options import (
    GateOptions,
    LaunchOptions,
    RewardModelOptions,
)
from almost_kedro.training_rows import PromptSplit, ScoredComparison, Split

logger = logging.getLogger(__name__)
REMEDY = "run `kedro run --pipeline reward_model` on this data first"


def select_reward_pairs(
    comparisons: list[Comparison], prompt_splits: list[PromptSplit], rules: Rules
) -> tuple[list[Comparison], list[LedgerRow], dict[str, Any]]:
    """Drop what no reward model can learn from; find out whether each split has comparisons.

    Returns:
        Comparisons, ledger and metrics.

    Raises:
        UserError: A split without comparisons, or a comparison without an answer.
    """
    kept, ledger = drop_identical(comparisons, rules)
    counts = {}
    for split in ("reward_model", "held_out", "held_out_reward_model"):
        rows = select_comparisons(kept, prompt_splits, split)
        before = len(select_comparisons(comparisons, prompt_splits, split))
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
    return _train(
        "reward_model",
        select_comparisons(reward_pairs, prompt_splits, "reward_model"),
        prompt_splits,
        models,
        reward_model,
        launch,
        rules,
        seed,
        (model_store, accelerate_configs, training_work),
    )


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
    return _train(
        "held_out_reward_model",
        select_comparisons(reward_pairs, prompt_splits, "held_out_reward_model"),
        prompt_splits,
        models,
        reward_model,
        launch,
        rules,
        seed + 1,
        (model_store, accelerate_configs, training_work),
    )


def _train(
    name: Split,
    comparisons: Sequence[Comparison],
    prompt_splits: Sequence[PromptSplit],
    models: Models,
    options: RewardModelOptions,
    launch: LaunchOptions,
    rules: Rules,
    seed: int,
    folders: tuple[Path, Path, Path],
) -> tuple[Checkpoint, dict[str, Any], dict[str, Any]]:
    model_store, accelerate_configs, training_work = folders
    base = resolve_model(options.model, models.root, model_store)
    check_trainable(base)
    rows = build_reward_rows(comparisons, rules)
    job = TrainingJob(
        program="reward",
        name=name,
        base=base,
        rows=training_work,
        rows_sha256="",
        options=options,
        separator=separate(rules),
        seed=seed,
        launch=launch,
        accelerate=accelerate_configs / f"{launch.config}.yaml",
        out=training_work,
    )
    trained = train(job, rows)
    data = {"prompt_splits": digest_splits(prompt_splits), "comparisons": digest_rows(rows)}
    checkpoint = make_checkpoint(trained, job, "reward_model", data)
    title = name.replace("_", " ")
    return checkpoint, trained.metrics, charts.draw_training_curve(trained.curve, title)


def make_checkpoint(
    trained: Trained, job: TrainingJob, kind: Any, data: Mapping[str, str]
) -> Checkpoint:
    """Describe a trained model."""
    metrics = {k: v for k, v in trained.metrics.items() if k != "packages"}
    manifest = make_manifest(
        trained.model,
        kind=kind,
        name=job.name,
        base={"name": job.base.name, "fingerprint": job.base.fingerprint},
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
    for name, checkpoint in checkpoints.items():
        check_same_data(checkpoint, "prompt_splits", digest_splits(prompt_splits), REMEDY)
        job = make_score_job(checkpoint, bos, reward_model, launch, rules, training_work)
        scores[name], costs[name] = score(job, answers)
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


def report_reward_models(
    reward_pairs: list[Comparison],
    prompt_splits: list[PromptSplit],
    held_out_scores: list[ScoredComparison],
    held_out_scores_metrics: dict[str, Any],
    gate: GateOptions,
    length_tolerance: float,
    seed: int,
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Measure both reward models beside the floors, and decide whether the gate opens.

    Returns:
        Metrics of the reward model and of the held-out one, the gate, and charts of accuracy and
        reliability.
    """
    held_out = select_comparisons(reward_pairs, prompt_splits, "held_out")
    reports = {}
    for name, split in (("reward", "reward_model"), ("held_out", "held_out_reward_model")):
        margins = {
            row["comparison_id"]: row[f"{name}_chosen"] - row[f"{name}_rejected"]  # type: ignore[literal-required]
            for row in held_out_scores
        }
        trained_on = select_comparisons(reward_pairs, prompt_splits, split)  # type: ignore[arg-type]
        report = report_reward_model(held_out, margins, trained_on, seed, length_tolerance)
        report["padding_difference"] = held_out_scores_metrics[name]["padding_difference"]
        reports[name] = report
    result = check_gate(reports["reward"], reports["reward"]["padding_difference"], gate)
    for reason in result["reasons"]:
        logger.warning("gate not passed: %s", reason, extra=PLAIN)
    return (
        reports["reward"],
        reports["held_out"],
        dict(result),
        charts.draw_accuracy(reports["reward"]),
        charts.draw_reliability(reports["reward"]),
    )
