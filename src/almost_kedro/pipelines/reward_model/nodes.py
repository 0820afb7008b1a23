"""Nodes of `reward_model`: comparisons become jobs, the programs' folders become checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from almost_kedro.charts import training as charts
from almost_kedro.charts.style import Plot
from almost_kedro.feedback.ledger import summarise_ledger
from almost_kedro.feedback.mismatched import add_mismatched
from almost_kedro.feedback.reward_rows import (
    RewardRow,
    build_answer_rows,
    check_enough,
    drop_identical,
)
from almost_kedro.feedback.splits import digest_splits, select_comparisons
from almost_kedro.jobs.reward_models import (
    REMEDY,
    Member,
    list_members,
    make_judges,
    train_reward_models,
)
from almost_kedro.jobs.score import score_by_all
from almost_kedro.models.checkpoints import Checkpoint, check_same_data
from almost_kedro.options.all import Options
from almost_kedro.options.rules import Rules
from almost_kedro.processes.workplace import Workplace
from almost_kedro.rows.feedback import Comparison, LedgerRow
from almost_kedro.rows.metrics import ProgramMetrics
from almost_kedro.rows.training import MismatchedPair, PromptSplit, ScoredComparison, Split


def select_reward_pairs(
    validated_comparisons: list[Comparison], prompt_splits: list[PromptSplit], rules: Rules
) -> tuple[list[Comparison], list[LedgerRow], dict[str, Any]]:
    """Drop pairs that no reward model can learn from; return the others, ledger and metrics.

    Raises UserError if a split has no comparisons, or if a comparison lacks an answer.
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
    mismatched_pairs: list[MismatchedPair],
    prompt_splits: list[PromptSplit],
    options: Options,
    workplace: Workplace,
) -> tuple[Checkpoint, dict[str, Any], Plot]:
    """Train the reward model on its split, or as many as are to reward together.

    Returns the checkpoint, the metrics of all programs, and the (first) training curve.
    """
    split: Split = "reward_model"
    rows = select_training_rows(split, reward_pairs, mismatched_pairs, prompt_splits, options)
    members = list_members(rows, reward_pairs, options)
    return _train(split, members, rows, prompt_splits, options, workplace)


def train_held_out_reward_model(
    reward_pairs: list[Comparison],
    mismatched_pairs: list[MismatchedPair],
    prompt_splits: list[PromptSplit],
    options: Options,
    workplace: Workplace,
) -> tuple[Checkpoint, dict[str, Any], Plot]:
    """Train the held-out reward model: one, other prompts, another seed, the same options."""
    split: Split = "held_out_reward_model"
    rows = select_training_rows(split, reward_pairs, mismatched_pairs, prompt_splits, options)
    members = [Member(split, rows, options.seed + 1)]
    return _train(split, members, rows, prompt_splits, options, workplace)


def select_training_rows(
    split: Split,
    reward_pairs: Sequence[Comparison],
    mismatched_pairs: Sequence[MismatchedPair],
    prompt_splits: Sequence[PromptSplit],
    options: Options,
) -> list[RewardRow]:
    """Return the rows that a split's reward models are trained on."""
    return add_mismatched(
        select_comparisons(reward_pairs, prompt_splits, split),
        mismatched_pairs,
        options.reward_model.mismatched,
        options.rules,
    )


def _train(
    split: Split,
    members: Sequence[Member],
    rows: Sequence[RewardRow],
    prompt_splits: Sequence[PromptSplit],
    options: Options,
    workplace: Workplace,
) -> tuple[Checkpoint, dict[str, Any], Plot]:
    checkpoint, metrics, first = train_reward_models(
        members, rows, prompt_splits, options, workplace
    )
    title = split.replace("_", " ")
    return checkpoint, metrics, charts.draw_training_curve(first.curve, title)


def score_held_out(
    reward_pairs: list[Comparison],
    prompt_splits: list[PromptSplit],
    reward_model: Checkpoint,
    held_out_reward_model: Checkpoint,
    options: Options,
    workplace: Workplace,
) -> tuple[list[ScoredComparison], dict[str, ProgramMetrics]]:
    """Score the held-out comparisons with both reward models; return rows and costs.

    Several reward models that reward together score as one, as self-play and RL have them.
    """
    rows = select_comparisons(reward_pairs, prompt_splits, "held_out")
    answers = build_answer_rows(rows, options.rules)
    scores, costs = {}, {}
    checkpoints = {
        "reward": reward_model,
        "held_out": held_out_reward_model,
    }
    for checkpoint in checkpoints.values():
        check_same_data(checkpoint, "prompt_splits", digest_splits(prompt_splits), REMEDY)
    judges = make_judges((reward_model, held_out_reward_model), options, workplace)
    for name, found in zip(checkpoints, score_by_all(judges, answers), strict=True):
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
