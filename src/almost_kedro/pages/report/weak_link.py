"""The weakest link: the first step of the chain that is not shown to gain anything.

Each step rests on the one before, so what comes after a weak one says little.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from almost_kedro.evaluation.benchmark_records import BENCHMARKS, SETS
from almost_kedro.evaluation.gate import MIN_PROMPTS, shows_gain
from almost_kedro.evaluation.model_report import MOSTLY, find_silence, read_flips
from almost_kedro.evaluation.repetition import show_repetition
from almost_kedro.evaluation.stages import BASE, STAGES, Stage
from almost_kedro.pages.report.numbers import show_difference
from almost_kedro.rows.evaluation_metrics import EvaluationMetrics
from almost_kedro.rows.metrics import (
    ComparisonsMetrics,
    Documents,
    GateResult,
    PolicyMetrics,
    RewardModelMetrics,
    SelfPlayMetrics,
)

# What the other remedies make worse.
REPETITION = (
    "Drop answers that repeat themselves (response_generation.max_repetition, "
    "self_play.max_repetition), or let them be shorter (max_new_tokens), before you train more."
)


class Link(NamedTuple):
    """A step that is not shown to hold: why, and what to do about it."""

    name: str
    why: str
    next_step: str


def find_weakest_link(metrics: Documents) -> Link | None:
    """Return the first step that is not shown to gain anything; None if all do."""
    return next(filter(None, _check_all(metrics)), None)


def _check_all(metrics: Documents) -> Iterator[Link | None]:
    """Check step by step: what comes after a weak step may lack its figures."""
    report = metrics["reward_model_metrics"]
    yield _check_comparisons(metrics["comparisons_metrics"], report)
    yield _check_reward_model(report, metrics["gate"])
    yield _check_self_play(metrics["self_play_metrics"])
    for stage in STAGES:
        yield _check_stage(stage, metrics)
    yield _check_judge(metrics["held_out_reward_model_metrics"])
    yield _check_benchmarks(metrics["evaluation_metrics"])


def _check_comparisons(comparisons: ComparisonsMetrics, report: RewardModelMetrics) -> Link | None:
    if report.get("n_prompts", 0) >= MIN_PROMPTS:
        return None
    return Link(
        "too few comparisons",
        f"{comparisons['n_comparisons']} comparisons were made, and {report['n']} of them are held "
        f"out, from {report.get('n_prompts', 0)} prompts; at least {MIN_PROMPTS} are needed.",
        "Ask for more prompts (prompt_generation.n_prompts), or see in the ledger below which rule "
        "drops most rows.",
    )


def _check_reward_model(report: RewardModelMetrics, gate: GateResult) -> Link | None:
    above = report["above_best_floor"]
    if above["low_one_sided"] > 0:
        if gate["passed"]:
            return None
        return Link(
            "the reward model, which did not pass the gate",
            f"It is better than the floors, but {gate['reasons'][0]}.",
            "Train it on more comparisons or for fewer epochs (reward_model.epochs).",
        )
    if above["difference"] <= 0:
        return Link(
            "the reward model",
            "On held-out prompts it is right no more often than a judge that reads nothing.",
            "Look for contrasts that carry signal: compare the edges below, read some comparisons, "
            "and run `kedro run --env contrasts --pipeline contrasts`.",
        )
    return Link(
        "the reward model",
        f"It is right more often than the best floor, but on {report['n']} held-out comparisons "
        "chance alone can do as much.",
        f"Ask for more prompts (prompt_generation.n_prompts, or --env study): if the difference "
        f"stays as it is, about {count_needed(report)} held-out comparisons would show it.",
    )


def count_needed(report: RewardModelMetrics) -> int:
    """Return how many held-out comparisons would show the difference, if it stays as it is.

    An interval narrows with the square root of the number of rows.
    """
    above = report["above_best_floor"]
    reach = above["difference"] - above["low_one_sided"]
    return int(report["n"] * (reach / above["difference"]) ** 2) + 1


def _check_self_play(self_play: SelfPlayMetrics) -> Link | None:
    gain = self_play["gain"]
    if gain and shows_gain(gain["held_out_low"], gain["n_groups"]):
        return None
    if not gain:
        why = "No question has two usable answers to choose from."
    else:
        why = (
            f"The best of {gain['n']} answers by the reward model is not shown to be better by the "
            f"held-out one ({gain['held_out_reward']:+.2f} [{gain['held_out_low']:+.2f}, "
            f"{gain['held_out_high']:+.2f}])."
        )
    return Link(
        "self-play",
        why,
        "More prompts (prompt_splits.self_play), or fewer candidates (self_play.candidates) if the "
        "curve below bends down.",
    )


def _check_stage(stage: Stage, metrics: Documents) -> Link | None:
    policies: PolicyMetrics = metrics[stage.metrics]
    pair = f"{stage.name}-vs-{stage.base}"
    against = policies["differences"][pair]
    held_out = show_difference(against["held_out_reward"])
    step = stage.remedy
    if shows_gain(against["held_out_reward"]["low"], against["n"]):
        return None
    if stage.watched and (training := metrics[stage.training])["stopped"]:
        return Link(
            stage.title,
            f"It was stopped: {training['reason']}.",
            f"Lower {stage.name}.learning_rate or raise {stage.name}.beta; the curves below say "
            "where it turned.",
        )
    if not stage.by_reward:
        why = (
            f"On {against['n']} test prompts, its held-out reward is not shown to be above the "
            f"{stage.base_title}'s ({held_out})."
        )
    elif against["reward"]["low"] > 0:
        why = (
            "It gains by the reward model that it was trained with, but is not shown to gain by "
            f"the held-out one ({held_out})."
        )
        step = (
            f"Raise {stage.name}.beta or stop earlier, and train the reward model on more "
            "comparisons."
        )
    else:
        why = (
            "It is not shown to gain even by the reward model that it was trained with "
            f"({show_difference(against['reward'])} on {against['n']} test prompts)."
        )
    if repeats := show_repetition(pair, policies):
        why += f" And {repeats}."
        step = REPETITION
    return Link(stage.title, why, step)


def _check_judge(report: RewardModelMetrics) -> Link | None:
    if report["n"] and report["above_best_floor"]["low_one_sided"] > 0:
        return None
    return Link(
        "the held-out reward model, which measures all this",
        "It is not shown to be better than a judge that reads nothing.",
        "Give it more prompts (prompt_splits.held_out_reward_model), or let a model on servers "
        "judge (evaluation.judge).",
    )


def _check_benchmarks(evaluation: EvaluationMetrics) -> Link | None:
    for each in BENCHMARKS:
        report = each.find_report(evaluation)
        for stage in STAGES:
            found = report["differences"].get(f"{stage.name}-vs-{BASE}")
            if found and found["low"] > 0 and not find_silence(report, (stage.name, BASE)):
                return None
    why = "By rewards each step gains, but no benchmark shows it."
    for each in BENCHMARKS:
        if (flips := read_flips(each.find_report(evaluation)).values()) and min(flips) >= MOSTLY:
            why += f" On {each.title}, all models mostly answer the same letter in both orders."
    options = ", ".join(f"evaluation.{each.option}" for each in SETS)
    return Link(
        "the way from rewards to benchmarks",
        why,
        f"Evaluate on more items ({options}), with a larger model, or with other rules of thumb.",
    )
