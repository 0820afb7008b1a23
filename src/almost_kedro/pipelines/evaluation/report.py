"""The node that puts all models side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from almost_kedro.evaluation.benchmarks import ChoiceItem, OpenItem, PairItem, Source
from almost_kedro.evaluation.hhh import score_hhh_floors
from almost_kedro.evaluation.model_charts import draw_models
from almost_kedro.evaluation.model_report import report_benchmark
from almost_kedro.evaluation.truthfulqa import Preset, score_mc1_floors
from almost_kedro.evaluation_options import EvaluationOptions
from almost_kedro.evaluation_rows import HHHVerdict, MC1Verdict, RewardVerdict

from ..rmsp_sft.policy_test import carry_gate

Verdicts = TypeVar("Verdicts", bound=HHHVerdict | RewardVerdict | MC1Verdict)


def report_evaluation(
    hhh_items: list[PairItem],
    mc1_items: list[ChoiceItem],
    mc1_preset: Preset,
    open_questions: list[OpenItem],
    benchmark_sources: dict[str, Source],
    hhh_verdicts: list[HHHVerdict],
    mc1_verdicts: list[MC1Verdict],
    reward_verdicts: list[RewardVerdict],
    policy_verdicts_metrics: dict[str, Any],
    reward_verdicts_metrics: dict[str, Any],
    open_answers_metrics: dict[str, Any],
    judge_cards: dict[str, Any],
    contamination_metrics: dict[str, Any],
    gate: dict[str, Any],
    evaluation: EvaluationOptions,
    seed: int,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Put all models side by side, with intervals and floors; returns figures and a chart.

    What is measured anew by each run (seconds, memory) stays in the other metrics: these are the
    same to the digit wherever the same is evaluated.
    """
    hhh = report_benchmark(
        benchmark_sources["hhh"],
        group_by_model([*hhh_verdicts, *reward_verdicts]),
        {name: rows for name, (rows, _) in score_hhh_floors(hhh_items).items()},
        seed,
    )
    mc1 = report_benchmark(
        benchmark_sources["truthfulqa"],
        group_by_model(mc1_verdicts),
        {name: rows for name, (rows, _) in score_mc1_floors(mc1_items).items()},
        seed,
    )
    policies = policy_verdicts_metrics["models"]
    hhh["position_bias"] = {
        name: policy_verdicts_metrics[name]["position_bias"] for name in policies
    }
    answered = {
        name: {key: open_answers_metrics[name][key] for key in ("n", "length", "share_cut_off")}
        for name in open_answers_metrics["models"]
    }
    metrics = {
        "scoring": evaluation.scoring,
        "mc1_form": evaluation.mc1_form,
        "mc1_preset": {key: mc1_preset[key] for key in ("location", "sha256")},
        "hhh": hhh,
        "mc1": mc1,
        "questions": {
            "source": benchmark_sources["questions"],
            "n": len(open_questions),
            "judge": judge_cards["description"],
            "judge_model": judge_cards["models"],
            "models": answered,
            "cards": judge_cards["cards"],
        },
        "contamination": contamination_metrics,
        "models": {
            **policies,
            **open_answers_metrics["models"],
            **reward_verdicts_metrics["models"],
        },
    }
    return carry_gate(metrics, gate), draw_models(metrics)


def group_by_model(rows: Sequence[Verdicts]) -> dict[str, list[Verdicts]]:
    """Group verdicts by the model that they are of."""
    groups: dict[str, list[Verdicts]] = {}
    for row in rows:
        groups.setdefault(row["model"], []).append(row)
    return groups
