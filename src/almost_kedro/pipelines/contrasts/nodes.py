"""Nodes of `contrasts`: a reward model for each contrast."""

from __future__ import annotations

import logging
from typing import Any

from almost_kedro.evaluation.contrast_report import (
    report_averages,
    report_contrast,
    tabulate_averages,
    tabulate_contrasts,
)
from almost_kedro.evaluation.hhh import build_hhh_answers
from almost_kedro.feedback import contrasts as contrast_rules
from almost_kedro.feedback.planning import Demonstrations, plan_assistants
from almost_kedro.feedback.responses import end_dialogue
from almost_kedro.feedback.reward_rows import build_reward_rows, drop_identical
from almost_kedro.feedback.splits import select_comparisons
from almost_kedro.jobs.margins import score_margins, train_judge
from almost_kedro.jobs.score import score
from almost_kedro.options.all import Options
from almost_kedro.options.feedback import ComparisonOptions, ResponseGenerationOptions
from almost_kedro.options.rules import Rules
from almost_kedro.processes.run import PLAIN
from almost_kedro.processes.workplace import Workplace
from almost_kedro.rows.evaluation import PairItem
from almost_kedro.rows.feedback import Assistant, Comparison, LedgerRow, Prompt, Response
from almost_kedro.rows.training import PromptSplit

logger = logging.getLogger(__name__)
Contrasts = dict[str, list[str]]


def check_contrasts(
    demonstrations: Demonstrations,
    response_generation_options: ResponseGenerationOptions,
    contrasts: Contrasts,
    rules: Rules,
) -> Contrasts:
    """Refuse bad contrasts before anything is generated; return the good ones."""
    contrast_rules.check_contrasts(
        contrasts, plan_assistants(demonstrations, response_generation_options, rules)
    )
    return contrasts


def compare_contrasts(
    contrasts_plan: Contrasts,
    prompts: list[Prompt],
    responses: list[Response],
    ledger_responses: list[LedgerRow],
    assistants: list[Assistant],
    comparisons_options: ComparisonOptions,
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
            comparisons_options,
            rules,
        )
        found[name], _ = drop_identical(rows, rules)
    return found


def try_contrasts(
    contrast_comparisons: dict[str, list[Comparison]],
    prompt_splits: list[PromptSplit],
    hhh_items: list[PairItem],
    options: Options,
    workplace: Workplace,
) -> dict[str, Any]:
    """Train a reward model on each contrast; test it on held-out prompts and static HHH.

    All have the options and the seed of the reward model, so that only the rows differ.
    """
    asked = [
        {**row, "dialogue": end_dialogue(row["dialogue"], options.rules)}
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
        judge = train_judge(
            f"contrast_{name}",
            build_reward_rows(train, options.rules),
            options.seed,
            options,
            workplace,
        )
        all_rewards[name], _ = score(judge, asked)
        margins = score_margins(judge, test, options.rules)
        report[name] = report_contrast(
            train, test, margins, hhh_items, all_rewards[name], options.seed
        )
        logger.info("%s", tabulate_contrasts({name: report[name]})[-1], extra=PLAIN)
    averages = report_averages(hhh_items, all_rewards, options.seed)
    for line in [*tabulate_contrasts(report), *tabulate_averages(averages)]:
        logger.info("%s", line, extra=PLAIN)
    return {"contrasts": report, "averages": averages}
