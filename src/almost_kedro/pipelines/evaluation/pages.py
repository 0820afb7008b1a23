"""Nodes that write the report and the cards from all that the pipelines found."""

from __future__ import annotations

from typing import Any

from almost_kedro.pages.cards import write_dataset_card, write_model_card
from almost_kedro.pages.report import Findings, make_report
from almost_kedro.pages.report.provenance import RunRecord
from almost_kedro.rows import Comparison
from almost_kedro.run_record import RUN_RECORD

METRICS = (
    "prompts_metrics",
    "responses_metrics",
    "comparisons_metrics",
    "reward_model_training_metrics",
    "held_out_reward_model_training_metrics",
    "held_out_scores_metrics",
    "reward_model_metrics",
    "held_out_reward_model_metrics",
    "reward_model_seeds_metrics",
    "gate",
    "self_play_metrics",
    "self_play_costs_metrics",
    "sft_policy_training_metrics",
    "sft_policy_metrics",
    "rl_policy_training_metrics",
    "rl_policy_metrics",
    "policy_verdicts_metrics",
    "reward_verdicts_metrics",
    "open_answers_metrics",
    "judge_cards",
    "evaluation_metrics",
)
PLOTS = (
    "prompts_waterfall_plot",
    "ledger_waterfall_plot",
    "response_lengths_plot",
    "comparisons_plot",
    "reward_model_training_plot",
    "reward_model_accuracy_plot",
    "reward_model_reliability_plot",
    "best_of_n_plot",
    "sft_policy_training_plot",
    "rl_policy_training_plot",
    "rl_watch_plot",
    "evaluation_plot",
)
LEDGERS = (
    "ledger_prompts",
    "ledger_responses",
    "ledger_comparisons",
    "ledger_post_validation",
    "ledger_reward_pairs",
    "ledger_self_play",
    "ledger_sft_demonstrations",
)
ROWS = ("prompts", "open_questions", "open_answers", "judge_votes", "sft_answers", "rl_answers")
AUDIT = "rule_audit_metrics"
PLAN = "cost_plan"
REPORT_INPUTS = {
    name: name for name in (*METRICS, *PLOTS, *LEDGERS, *ROWS, AUDIT, PLAN, RUN_RECORD)
}

CARD_INPUTS = {
    name: name
    for name in (
        "prompts_metrics",
        "comparisons_metrics",
        "reward_model_metrics",
        "held_out_reward_model_metrics",
        "gate",
        "self_play_metrics",
        "sft_policy_metrics",
        "rl_policy_training_metrics",
        "rl_policy_metrics",
        "evaluation_metrics",
        "comparisons",
        RUN_RECORD,
    )
}


def write_report(run_record: RunRecord, **found: Any) -> str:
    """Write the report.

    Args:
        run_record: What the run is.
        **found: What it shows, by dataset name: all of `REPORT_INPUTS`.

    Returns:
        The page.
    """
    return make_report(
        Findings(
            run=run_record,
            metrics={name: found[name] for name in METRICS},
            plots={name: found[name] for name in PLOTS},
            ledgers={name: found[name] for name in LEDGERS},
            prompts=found["prompts"],
            questions=found["open_questions"],
            answers=found["open_answers"],
            votes=found["judge_votes"],
            test_answers=[*found["sft_answers"], *found["rl_answers"]],
            rule_audit=found[AUDIT],
            plan=found[PLAN],
        )
    )


def write_cards(
    run_record: RunRecord, comparisons: list[Comparison], **metrics: Any
) -> tuple[str, str]:
    """Write the cards that the data and the models are given away with.

    Args:
        run_record: What the run is.
        comparisons: The rows.
        **metrics: By dataset name: all others of `CARD_INPUTS`.

    Returns:
        Dataset card and model card.
    """
    return (
        write_dataset_card(run_record, metrics, comparisons),
        write_model_card(run_record, metrics),
    )
