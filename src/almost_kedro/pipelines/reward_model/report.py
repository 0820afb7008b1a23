"""The node that measures both reward models and decides whether the gate opens."""

from __future__ import annotations

import logging

from almost_kedro.charts import training as charts
from almost_kedro.charts.style import Plot
from almost_kedro.evaluation.gate import check_gate
from almost_kedro.evaluation.reward_report import report_reward_model
from almost_kedro.feedback.splits import select_comparisons
from almost_kedro.jobs.margins import Judge, read_margins
from almost_kedro.options.reward_model import GateOptions
from almost_kedro.processes.run import PLAIN
from almost_kedro.rows.feedback import Comparison
from almost_kedro.rows.metrics import GateResult, ProgramMetrics, RewardModelMetrics
from almost_kedro.rows.training import PromptSplit, ScoredComparison, Split

logger = logging.getLogger(__name__)
TRAINED_ON: dict[Judge, Split] = {"reward": "reward_model", "held_out": "held_out_reward_model"}


def report_reward_models(
    reward_pairs: list[Comparison],
    prompt_splits: list[PromptSplit],
    held_out_scores: list[ScoredComparison],
    held_out_scores_metrics: dict[Judge, ProgramMetrics],
    gate_options: GateOptions,
    seed: int,
) -> tuple[RewardModelMetrics, RewardModelMetrics, GateResult, Plot, Plot]:
    """Measure both reward models beside the floors, and decide whether the gate opens.

    Returns the metrics of both, the gate, and charts of accuracy and reliability.
    """
    held_out = select_comparisons(reward_pairs, prompt_splits, "held_out")
    reports = {}
    for judge, split in TRAINED_ON.items():
        margins = read_margins(held_out_scores, judge)
        trained_on = select_comparisons(reward_pairs, prompt_splits, split)
        report = report_reward_model(held_out, margins, trained_on, seed)
        report["padding_difference"] = held_out_scores_metrics[judge]["padding_difference"]
        reports[judge] = report
    padding = held_out_scores_metrics["reward"]["padding_difference"]
    result = check_gate(reports["reward"], padding, gate_options)
    for reason in result["reasons"]:
        logger.warning("gate not passed: %s", reason, extra=PLAIN)
    return (
        reports["reward"],
        reports["held_out"],
        result,
        charts.draw_accuracy(reports["reward"]),
        charts.draw_reliability(reports["reward"]),
    )
