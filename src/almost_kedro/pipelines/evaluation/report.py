"""Nodes that say what the figures rest on, and put all models side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar, get_args

from almost_kedro.checkpoints import Checkpoint, check_same_data
from almost_kedro.errors import UserError
from almost_kedro.evaluation.benchmarks import ChoiceItem, PairItem, Source
from almost_kedro.evaluation.hhh import measure_position_bias, score_hhh_floors
from almost_kedro.evaluation.model_charts import draw_models
from almost_kedro.evaluation.model_report import report_benchmark
from almost_kedro.evaluation.truthfulqa import Preset, score_mc1_floors
from almost_kedro.evaluation_options import EvaluationOptions
from almost_kedro.evaluation_rows import (
    ContaminationRow,
    HHHVerdict,
    MC1Verdict,
    RewardVerdict,
)
from almost_kedro.feedback.splits import TRAINED, select_prompts
from almost_kedro.rows import Prompt
from almost_kedro.training.client import digest_rows
from almost_kedro.training_rows import Candidate, Demonstration, PromptSplit, Split

from ..rl.nodes import SFT_REMEDY
from ..rmsp_sft.nodes import list_training_rows
from ..rmsp_sft.policy_test import carry_gate

Verdicts = TypeVar("Verdicts", bound=HHHVerdict | RewardVerdict | MC1Verdict)


def count_contamination(
    prompts: list[Prompt],
    prompt_splits: list[PromptSplit],
    contamination: list[ContaminationRow],
    self_play_candidates: list[Candidate],
    sft_demonstrations: list[Demonstration],
    sft_contamination: list[ContaminationRow],
    sft_policy: Checkpoint,
) -> dict[str, Any]:
    """Count what repeats a benchmark item among what the models at hand were trained on.

    The benchmarks may be others than when the models were trained.

    Returns:
        Prompts that models are trained on, demonstrations of the SFT policy, and how many of each
        repeat an item; and the splits of all prompts that do.

    Raises:
        UserError: If the rows are not those that the models were trained on.
    """
    digest = digest_rows(list_training_rows(sft_demonstrations))
    check_same_data(sft_policy, "demonstrations", digest, SFT_REMEDY)
    played = {row["candidate_id"] for row in self_play_candidates}
    if strangers := sum(row["candidate_id"] not in played for row in sft_demonstrations):
        raise UserError(
            f"sft_demonstrations: {strangers} of {len(sft_demonstrations)} rows are of another "
            f"version of self_play; {SFT_REMEDY}"
        )
    repeated = {row["text_id"] for row in [*contamination, *sft_contamination]}

    def select(*names: Split) -> list[Prompt]:
        return select_prompts(prompts, prompt_splits, names)

    def count(ids: list[str]) -> int:
        return sum(id_ in repeated for id_ in ids)

    by_split = {
        name: count([prompt["prompt_id"] for prompt in select(name)]) for name in get_args(Split)
    }
    return {
        "n_prompts": len(select(*TRAINED)),
        "prompts_that_repeat": sum(by_split[name] for name in TRAINED),
        "n_demonstrations": len(sft_demonstrations),
        "demonstrations_that_repeat": count([row["candidate_id"] for row in sft_demonstrations]),
        "by_split": by_split,
    }


def report_evaluation(
    hhh_items: list[PairItem],
    mc1_items: list[ChoiceItem],
    mc1_preset: Preset,
    benchmark_sources: dict[str, Source],
    hhh_verdicts: list[HHHVerdict],
    mc1_verdicts: list[MC1Verdict],
    reward_verdicts: list[RewardVerdict],
    policy_verdicts_metrics: dict[str, Any],
    reward_verdicts_metrics: dict[str, Any],
    open_answers_metrics: dict[str, Any],
    judge_cards: dict[str, Any],
    contamination_metrics: dict[str, Any],
    training_contamination_metrics: dict[str, Any],
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
        name: measure_position_bias(rows, seed)
        for name, rows in group_by_model(hhh_verdicts).items()
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
            "n": min(found["n"] for found in answered.values()),
            "judge": judge_cards["description"],
            "judge_model": judge_cards["models"],
            "models": answered,
            "cards": judge_cards["cards"],
        },
        "contamination": {**contamination_metrics, "training": training_contamination_metrics},
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
