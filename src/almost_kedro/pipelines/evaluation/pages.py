"""Nodes that write the report and the cards from all that the pipelines found."""

from __future__ import annotations

import logging
from typing import Any

from almost_kedro.evaluation.stages import APART, SFT, TRAINED
from almost_kedro.evaluation.ways import tested_otherwise
from almost_kedro.pages.cards import write_dataset_card, write_model_card
from almost_kedro.pages.report import Findings, make_report
from almost_kedro.pages.report.charts import CHARTS
from almost_kedro.pages.report.provenance import RunRecord
from almost_kedro.processes.run import PLAIN
from almost_kedro.rows.feedback import Comparison
from almost_kedro.rows.metrics import Documents

logger = logging.getLogger(__name__)
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
    "mismatched_pairs_metrics",
    "reward_model_ensemble_metrics",
    "gate",
    "self_play_metrics",
    "self_play_costs_metrics",
    *(name for stage in TRAINED for name in (stage.training, stage.metrics)),
    "policy_verdicts_metrics",
    "reward_verdicts_metrics",
    "preference_scores_metrics",
    "open_answers_metrics",
    "judge_cards",
    "evaluation_metrics",
)
PLOTS = tuple(chart.plot for chart in CHARTS)
LEDGERS = (
    "ledger_prompts",
    "ledger_responses",
    "ledger_comparisons",
    "ledger_post_validation",
    "ledger_reward_pairs",
    "ledger_self_play",
    "ledger_sft_demonstrations",
)
TESTS = tuple(stage.answers for stage in TRAINED)
ROWS = ("prompts", "open_questions", "open_answers", "judge_votes", *TESTS)
AUDIT = "rule_audit_metrics"
PLAN = "cost_plan"
VOTES = "human_votes_metrics"
REPORTED = (*METRICS, *PLOTS, *LEDGERS, *ROWS, AUDIT, PLAN, VOTES)

ON_CARDS = (
    "prompts_metrics",
    "comparisons_metrics",
    "reward_model_metrics",
    "held_out_reward_model_metrics",
    "gate",
    "self_play_metrics",
    *(stage.training for stage in TRAINED if stage.by_reward),
    *(stage.metrics for stage in TRAINED),
    "evaluation_metrics",
)


def write_report(run_record: RunRecord, **found: Any) -> str:
    """Write the report; `found` has all datasets of `REPORTED` by name."""
    warn_of_other_tests(found)
    found = leave_out(found)
    return make_report(
        Findings(
            run=run_record,
            metrics={name: found[name] for name in METRICS if name in found},
            plots={name: found[name] for name in PLOTS if name in found},
            ledgers={name: found[name] for name in LEDGERS},
            prompts=found["prompts"],
            questions=found["open_questions"],
            answers=found["open_answers"],
            votes=found["judge_votes"],
            test_answers=[row for name in TESTS for row in found.get(name, [])],
            rule_audit=found[AUDIT],
            plan=found[PLAN],
            human_votes=found[VOTES],
        )
    )


def write_cards(
    run_record: RunRecord, comparisons: list[Comparison], **metrics: Any
) -> tuple[str, str]:
    """Write dataset card and model card, which go with published data and models."""
    metrics = leave_out(metrics)
    return (
        write_dataset_card(run_record, metrics, comparisons),
        write_model_card(run_record, metrics),
    )


def leave_out(found: Documents) -> dict[str, Any]:
    """Leave out what each stage of `APART` has of its own, where it does not fit the chain's.

    It was not evaluated, or trained anew since, or its answers were not tested as SFT's were.
    """
    evaluated = found["evaluation_metrics"]["models"]
    gone: set[str] = set()
    for stage in APART:
        own = found[stage.metrics] or {}
        model = own.get("models", {}).get(stage.name)
        if model is None or model != evaluated.get(stage.name) or tested_otherwise(stage, found):
            gone |= set(stage.reported)
    return {name: data for name, data in found.items() if name not in gone}


def warn_of_other_tests(found: Documents) -> None:
    """Log which stages' rewards can't be compared with SFT's, and what to run.

    Whichever of the two was tested first is the one to test anew.
    """
    for stage in TRAINED:
        if tested_otherwise(stage, found):
            names = ",".join(dict.fromkeys((SFT.pipeline, stage.pipeline)))
            logger.warning(
                "the rewards of %s on the test prompts are not compared with those of %s: they "
                "were tested in different ways; run `kedro run --pipelines %s`, which trains "
                "nothing that is there",
                *(stage.name, SFT.name, names),
                extra=PLAIN,
            )
