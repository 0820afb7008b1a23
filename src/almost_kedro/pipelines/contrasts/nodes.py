"""Nodes of `contrasts`: a reward model for each contrast."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from almost_kedro.evaluation.benchmarks import PairItem
from almost_kedro.evaluation.contrast_report import (
    report_averages,
    report_contrast,
    tabulate_averages,
    tabulate_contrasts,
)
from almost_kedro.evaluation.hhh import build_hhh_answers
from almost_kedro.feedback import contrasts as contrast_rules
from almost_kedro.feedback.planning import plan_assistants
from almost_kedro.feedback.responses import end_dialogue
from almost_kedro.feedback.reward_rows import build_reward_rows, drop_identical
from almost_kedro.feedback.splits import select_comparisons
from almost_kedro.options import ComparisonOptions, Models, ResponseGenerationOptions, Rules
from almost_kedro.programs import PLAIN
from almost_kedro.rows import Assistant, Comparison, LedgerRow, Prompt, Response
from almost_kedro.training.client import score
from almost_kedro.training_options import LaunchOptions, RewardModelOptions
from almost_kedro.training_rows import PromptSplit

from ..reward_model.margins import score_margins, train_judge
from ..reward_model.nodes import RewardSetting

logger = logging.getLogger(__name__)
Contrasts = dict[str, list[str]]


def check_contrasts(
    demonstrations: Mapping[str, Callable[[], str]],
    response_generation: ResponseGenerationOptions,
    contrasts: Contrasts,
    rules: Rules,
) -> Contrasts:
    """Find whom the contrasts are about, before anybody answers; returns the contrasts."""
    contrast_rules.check_contrasts(
        contrasts, plan_assistants(demonstrations, response_generation, rules)
    )
    return contrasts


def compare_contrasts(
    contrasts_plan: Contrasts,
    prompts: list[Prompt],
    responses: list[Response],
    ledger_responses: list[LedgerRow],
    assistants: list[Assistant],
    comparisons: ComparisonOptions,
    rules: Rules,
) -> dict[str, list[Comparison]]:
    """Make the comparisons of each contrast."""
    found: dict[str, list[Comparison]] = {}
    for name, rubric in contrasts_plan.items():
        rows = contrast_rules.compare_contrast(
            rubric,
            prompts,
            responses,
            ledger_responses,
            assistants,
            comparisons,
            rules,
        )
        found[name], _ = drop_identical(rows, rules)
    return found


def try_contrasts(
    contrast_comparisons: dict[str, list[Comparison]],
    prompt_splits: list[PromptSplit],
    hhh_items: list[PairItem],
    models: Models,
    reward_model: RewardModelOptions,
    launch: LaunchOptions,
    rules: Rules,
    seed: int,
    model_store: Path,
    accelerate_configs: Path,
    training_work: Path,
) -> dict[str, Any]:
    """Train a reward model on each contrast; ask it about held-out prompts and static HHH.

    Each has the options and the seed of the reward model, so that the rows alone differ.
    """
    setting = RewardSetting(
        models, reward_model, launch, rules, model_store, accelerate_configs, training_work
    )
    asked = [
        {**row, "dialogue": end_dialogue(row["dialogue"], rules)}
        for row in build_hhh_answers(hhh_items)
    ]
    report: dict[str, Any] = {}
    all_rewards: dict[str, dict[str, float]] = {}
    for name, rows in contrast_comparisons.items():
        train, test = (
            select_comparisons(rows, prompt_splits, split) for split in ("reward_model", "held_out")
        )
        if not train or not test:
            note = "not tried: no pairs to train on, or none to test with"
            report[name] = {"n_trained_on": len(train), "n": len(test), "note": note}
            continue
        judge = train_judge(f"contrast_{name}", build_reward_rows(train, rules), seed, setting)
        all_rewards[name], _ = score(judge, asked)
        margins = score_margins(judge, test, rules)
        report[name] = report_contrast(train, test, margins, hhh_items, all_rewards[name], seed)
        logger.info("%s", tabulate_contrasts({name: report[name]})[-1], extra=PLAIN)
    averages = report_averages(hhh_items, all_rewards, seed)
    for line in [*tabulate_contrasts(report), *tabulate_averages(averages)]:
        logger.info("%s", line, extra=PLAIN)
    return {"contrasts": report, "averages": averages}
