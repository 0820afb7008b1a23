"""Nodes that say what the figures rest on, and put all models side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast, get_args

from almost_kedro.charts.evaluation import draw_models
from almost_kedro.charts.style import Plot
from almost_kedro.errors import UserError
from almost_kedro.evaluation.benchmark_records import BENCHMARKS, QUESTIONS
from almost_kedro.evaluation.gate import carry_gate
from almost_kedro.evaluation.model_report import report_benchmark
from almost_kedro.evaluation.stages import SFT
from almost_kedro.feedback.self_play import list_training_rows
from almost_kedro.feedback.splits import TRAINED, select_prompts
from almost_kedro.jobs.row_files import digest_rows
from almost_kedro.models.checkpoints import Checkpoint, check_same_data
from almost_kedro.options.evaluation import EvaluationOptions
from almost_kedro.pipelines.evaluation.models import ASKED
from almost_kedro.rows.evaluation import ContaminationRow, Source
from almost_kedro.rows.evaluation_metrics import (
    BenchmarkReport,
    ContaminationMetrics,
    EvaluationMetrics,
    JudgeCards,
    TrainingContamination,
)
from almost_kedro.rows.feedback import Prompt
from almost_kedro.rows.metrics import GateResult
from almost_kedro.rows.training import Candidate, Demonstration, PromptSplit, Split

# Datasets of items, of presets (the text before a question) and of verdicts, and of preferences.
ANSWERED = (
    *ASKED,
    *(each.verdicts for each in BENCHMARKS),
    *(each.by_rewards for each in BENCHMARKS if each.by_rewards),
    "preference_reports",
)


def count_contamination(
    prompts: list[Prompt],
    prompt_splits: list[PromptSplit],
    contamination: list[ContaminationRow],
    self_play: list[Candidate],
    sft_demonstrations: list[Demonstration],
    sft_contamination: list[ContaminationRow],
    sft_policy: Checkpoint,
) -> TrainingContamination:
    """Count what repeats a benchmark item in the data that the models were trained on.

    The benchmarks may differ from those at the time of training. Raises UserError if the rows are
    not those that the models were trained on.
    """
    digest = digest_rows(list_training_rows(sft_demonstrations))
    check_same_data(sft_policy, "demonstrations", digest, SFT.how_to_train)
    played = {row["candidate_id"] for row in self_play}
    if strangers := sum(row["candidate_id"] not in played for row in sft_demonstrations):
        raise UserError(
            f"sft_demonstrations: {strangers} of {len(sft_demonstrations)} rows are of another "
            f"version of self_play; {SFT.how_to_train}"
        )
    repeated = {row["text_id"] for row in [*contamination, *sft_contamination]}

    def select(*names: Split) -> list[Prompt]:
        return select_prompts(prompts, prompt_splits, names)

    def count(ids: list[str]) -> int:
        return sum(id_ in repeated for id_ in ids)

    by_split: dict[str, int] = {
        name: count([prompt["prompt_id"] for prompt in select(name)]) for name in get_args(Split)
    }
    return TrainingContamination(
        n_prompts=len(select(*TRAINED)),
        prompts_that_repeat=sum(by_split[name] for name in TRAINED),
        n_demonstrations=len(sft_demonstrations),
        demonstrations_that_repeat=count([row["candidate_id"] for row in sft_demonstrations]),
        by_split=by_split,
    )


def report_evaluation(
    benchmark_sources: dict[str, Source],
    policy_verdicts_metrics: dict[str, Any],
    reward_verdicts_metrics: dict[str, Any],
    open_answers_metrics: dict[str, Any],
    judge_cards: JudgeCards,
    contamination_metrics: ContaminationMetrics,
    training_contamination_metrics: TrainingContamination,
    gate: GateResult,
    evaluation_options: EvaluationOptions,
    seed: int,
    **found: Any,
) -> tuple[EvaluationMetrics, Plot]:
    """Put all models side by side, with intervals and floors; return figures and a chart.

    Each run measures seconds and memory anew, so they stay in the other metrics. These figures
    repeat to the digit wherever the same is evaluated. `found` has all of `ANSWERED`.
    """
    reports: dict[str, BenchmarkReport] = {}
    forms: dict[str, Any] = {}
    for each in BENCHMARKS:
        verdicts = group_by_model(found[each.verdicts])
        floors = {name: rows for name, (rows, _) in each.score_floors(found[each.items]).items()}
        rewarded = group_by_model(found[each.by_rewards] if each.by_rewards else [])
        source = benchmark_sources[each.option]
        reports[each.name] = report_benchmark(source, verdicts | rewarded, floors, seed)
        if each.measure_bias:
            reports[each.name]["position_bias"] = {
                name: each.measure_bias(rows, seed) for name, rows in verdicts.items()
            }
        if each.has_forms:
            forms[each.form] = getattr(evaluation_options, each.form)
            forms[each.preset] = {key: found[each.preset][key] for key in ("location", "sha256")}
    answered = {
        name: {key: open_answers_metrics[name][key] for key in ("n", "length", "share_cut_off")}
        for name in open_answers_metrics["models"]
    }
    document = {
        **carry_gate(gate),
        "scoring": evaluation_options.scoring,
        **forms,
        **reports,
        "preferences": found["preference_reports"],
        QUESTIONS: {
            "source": benchmark_sources[QUESTIONS],
            "n": min(found["n"] for found in answered.values()),
            "judge": judge_cards["description"],
            "judge_model": judge_cards["models"],
            **({"judge_worth": judge_cards["worth"]} if "worth" in judge_cards else {}),
            "models": answered,
            "cards": judge_cards["cards"],
        },
        "contamination": {**contamination_metrics, "training": training_contamination_metrics},
        "models": {
            **policy_verdicts_metrics["models"],
            **open_answers_metrics["models"],
            **reward_verdicts_metrics["models"],
        },
    }
    metrics = cast(EvaluationMetrics, document)
    return metrics, draw_models(metrics)


def group_by_model(rows: Sequence[Any]) -> dict[str, list[Any]]:
    """Group verdicts by their model."""
    groups: dict[str, list[Any]] = {}
    for row in rows:
        groups.setdefault(row["model"], []).append(row)
    return groups
