"""What keeps the verdict from meaning more than it does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from almost_kedro.evaluation.benchmark_records import BENCHMARKS, SETS
from almost_kedro.evaluation.model_report import MOSTLY, read_flips, show_invalid_votes
from almost_kedro.evaluation.repetition import show_repetition
from almost_kedro.evaluation.stages import TRAINED
from almost_kedro.evaluation.statistics import show_share
from almost_kedro.options.evaluation import HELD_OUT
from almost_kedro.pages.report.verdict import EVEN, list_gains
from almost_kedro.rows.evaluation import Source
from almost_kedro.rows.evaluation_metrics import (
    EvaluationMetrics,
    QuestionsReport,
    TrainingContamination,
)
from almost_kedro.rows.metrics import Documents, GateResult, RewardModelMetrics

# Fewer items than these leave an accuracy of one half open by more than 7 points either way.
FEW = 200


def list_caveats(metrics: Documents, options: Mapping[str, Any]) -> list[str]:
    """Say what the verdict does not show."""
    evaluation = metrics["evaluation_metrics"]
    return [
        *_doubt_gate(metrics["gate"]),
        *_doubt_base_models(options),
        *_doubt_judge(options, metrics["held_out_reward_model_metrics"]),
        *_doubt_worth(evaluation["questions"]),
        *_doubt_votes(evaluation["questions"]),
        *_doubt_items(evaluation),
        *_doubt_letters(evaluation),
        *_doubt_gains(evaluation),
        *_doubt_texts(metrics),
        *_doubt_training(evaluation["contamination"]["training"]),
    ]


def list_models(options: Mapping[str, Any]) -> list[str]:
    """Name the models that everything is made with."""
    assistants = [each["model"] for each in options["response_generation"]["assistants"]]
    names = [options["prompt_generation"]["model"], *assistants]
    return list(dict.fromkeys([options["sft"]["model"], options["reward_model"]["model"], *names]))


def _doubt_gate(gate: GateResult) -> list[str]:
    if gate["passed"]:
        return []
    reasons = "; ".join(gate["reasons"])
    return [f"The reward model did not pass the gate, and all that follows rests on it: {reasons}."]


def _doubt_base_models(options: Mapping[str, Any]) -> list[str]:
    said = {name: options["models"][name].get("aligned") for name in list_models(options)}
    caveats = []
    if aligned := [name for name, value in said.items() if value]:
        caveats.append(
            f"Already aligned by its makers: {', '.join(aligned)}. What the rules add to that says "
            "little about aligning a vanilla model."
        )
    if unknown := [name for name, value in said.items() if value is None]:
        caveats.append(
            f"models.yml does not say whether its makers aligned {', '.join(unknown)} already "
            "(`aligned`)."
        )
    return caveats


def _doubt_judge(options: Mapping[str, Any], report: RewardModelMetrics) -> list[str]:
    if options["evaluation"]["judge"] != HELD_OUT:
        return []
    caveat = (
        "The judge of the open questions is the held-out reward model, which comes from the same "
        "synthetic rules: it cannot say whether people would agree."
    )
    if not report["n"] or report["above_best_floor"]["low_one_sided"] <= 0:
        caveat += (
            " It is not shown to be better than a judge that reads nothing, so its votes may be "
            "noise."
        )
    return [caveat]


def _doubt_worth(questions: QuestionsReport) -> list[str]:
    worth = questions.get("judge_worth")
    if worth is None or worth["accuracy"]["low"] > EVEN:
        return []
    return [
        f"The judge names the right answer in {show_share(worth['accuracy'])} of {worth['n']} "
        "pairs of static HHH: it is not shown to be better than chance, so its votes may be noise."
    ]


def _doubt_votes(questions: QuestionsReport) -> list[str]:
    invalid = show_invalid_votes(questions)
    if not invalid:
        return []
    return [
        f"Of the judge's, {invalid} and count for nothing, so its figures rest on what was left "
        "(`kedro rows judge_votes --where valid=false` has each one's reason)."
    ]


def _doubt_items(evaluation: EvaluationMetrics) -> list[str]:
    caveats = []
    found: list[tuple[str, Source, int]] = []
    for each in SETS:
        report = each.find_report(evaluation)
        found.append((each.title, report["source"], report["n"]))
    questions = evaluation["questions"]
    found.append(("the open questions", questions["source"], questions["n"]))
    few = [f"{n} of {name} ({98 / math.sqrt(n):.0f} points)" for name, _, n in found if 0 < n < FEW]
    if few:
        caveats.append(
            f"Few items: {', '.join(few)}. In brackets: how far off an accuracy of one half may be "
            "by chance, either way."
        )
    own = [name for name, source, _ in found if source["kind"] == "own"]
    if own:
        caveats.append(
            f"Small sets of this project's own, no published benchmark: {', '.join(own)}. Compare "
            "models with them, not with papers."
        )
    if len(own) < len(found):
        caveats.append(
            "Whether the base model saw published items in its own training is not known here."
        )
    return caveats


def _doubt_letters(evaluation: EvaluationMetrics) -> list[str]:
    caveats = []
    for each in BENCHMARKS:
        flips = read_flips(each.find_report(evaluation)).items()
        if shown := ", ".join(f"{name} {value:.0%}" for name, value in flips if value >= MOSTLY):
            caveats.append(
                f"On {each.title} these answer mostly with the same letter in both orders, so the "
                f"place decides and not the answer: {shown}."
            )
    return caveats


def _doubt_gains(evaluation: EvaluationMetrics) -> list[str]:
    gains = list_gains(evaluation)
    if not any(gain.better for gain in gains):
        return []
    count = sum(gain.told for gain in gains)
    chance = 1 - 0.975**count
    return [
        f"{count} comparisons with the base model were made: were none of them real, chance "
        f"alone would show a gain in at least one in about {chance:.0%} of runs."
    ]


def _doubt_texts(metrics: Documents) -> list[str]:
    shown = [
        show_repetition(f"{stage.name}-vs-{stage.base}", found)
        for stage in TRAINED
        if (found := metrics.get(stage.metrics))
    ]
    return [f"{each}. Neither reward model need see that." for each in shown if each]


def _doubt_training(trained: TrainingContamination) -> list[str]:
    counts = (
        ("prompts", trained["prompts_that_repeat"], trained["n_prompts"]),
        ("demonstrations", trained["demonstrations_that_repeat"], trained["n_demonstrations"]),
    )
    repeats = [f"{repeat} of {n} {name}" for name, repeat, n in counts if repeat]
    return [f"Trained on what repeats a benchmark item: {', '.join(repeats)}."] if repeats else []
