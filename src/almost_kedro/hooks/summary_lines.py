"""Lines at the end of a run: its figures, floors and intervals, and how to look further."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from almost_kedro.evaluation.benchmark_records import BENCHMARKS
from almost_kedro.evaluation.gate import shows_gain
from almost_kedro.evaluation.model_report import (
    list_results,
    read_flips,
    show_invalid_votes,
    show_judge,
)
from almost_kedro.evaluation.repetition import show_repetition
from almost_kedro.evaluation.stages import STAGES
from almost_kedro.evaluation.statistics import show_share
from almost_kedro.pages.report.verdict import judge_reward_model
from almost_kedro.rows.evaluation_metrics import EvaluationMetrics, PreferenceReport
from almost_kedro.rows.metrics import (
    ComparisonsMetrics,
    Documents,
    EnsembleMetrics,
    GateResult,
    MismatchedMetrics,
    PolicyMetrics,
    RewardModelMetrics,
    SeedsMetrics,
    SelfPlayMetrics,
)

# Remedies if a length control has dropped every pair.
MORE_PROMPTS = "ask for more prompts (prompt_generation.n_prompts)"
PAIR_REMEDIES = {
    "matched_length": "widen comparisons.length_tolerance",
    "matched_tie": MORE_PROMPTS,
    "matched_balance": MORE_PROMPTS,
    "rule_17_heuristic": MORE_PROMPTS,
}


def describe_comparisons(
    metrics: ComparisonsMetrics, path: object, first: str | None, same: str
) -> list[str]:
    """Say how many comparisons there are, where they are, and how to trace one.

    `first` is the id of the first comparison, if there is one. `same` is the options with which
    another command finds what this run made.
    """
    lines = [f"{metrics['n_comparisons']} comparisons:"]
    for edge, values in metrics["edges"].items():
        share = f"chosen is longer in {values['chosen_longer']:.0%}"
        lines.append(f"  {edge}: {values['n']} ({share})")
    lines.append(f"  read them: {path}")
    lines.append("  why rows were dropped:")
    for name in ("ledger_prompts", "ledger_responses", "ledger_comparisons"):
        lines.append(f"    kedro rows {name}{same}")
    if first:
        lines.append(f"  where one came from: kedro trace {first}{same} --depth 3")
    return lines


def explain_no_comparisons(metrics: ComparisonsMetrics, same: str) -> str:
    """Say why there are no comparisons, and name only remedies that can help."""
    if not metrics["n_candidates"]:
        return (
            "no comparisons, as there is no prompt with usable answers on two levels of the "
            f"rubric: see by which rules answers were dropped (kedro rows ledger_responses{same})"
        )
    counts = cast(Mapping[str, int], metrics)
    found = {name: counts.get(f"dropped_{name}", 0) for name in PAIR_REMEDIES}
    helps = [PAIR_REMEDIES[name] for name, n in found.items() if n]
    reasons = ", ".join(f"{name}: {n}" for name, n in found.items() if n)
    remedies = [*dict.fromkeys(helps), "set comparisons.length_control: none"]
    return (
        f"no comparisons, as all {metrics['n_candidates']} candidate pairs were dropped "
        f"({reasons}): {', or '.join(remedies)}"
    )


def describe_reward_model(metrics: RewardModelMetrics, gate: GateResult) -> list[str]:
    """Say how well the reward model judges held-out prompts, beside the floors."""
    if not metrics["n"]:
        return ["reward model: no held-out comparisons"]
    accuracy = show_share(metrics["accuracy"])
    lines = [f"reward model, {metrics['n']} held-out comparisons: right in {accuracy}"]
    for name, floor in metrics["floors"].items():
        lines.append(f"  {name.replace('_', ' ')}: {show_share(floor)}")
    if gate["passed"]:
        lines.append("  gate: passed")
    else:
        lines += [f"  gate: not passed: {reason}" for reason in gate["reasons"]]
    return lines


def describe_seeds(metrics: SeedsMetrics) -> list[str]:
    """Say how far chance moves the reward model's accuracy; nothing if there was one training."""
    if metrics["n_seeds"] == 1 or "mean" not in metrics:
        return []
    each = ", ".join(f"{value:.1%}" for value in metrics["accuracies"])
    mean = show_share(metrics["mean"])
    return [f"  trained with {metrics['n_seeds']} seeds: {each}; right in {mean} on average"]


def describe_mismatched(metrics: MismatchedMetrics) -> list[str]:
    """Say who tells which answer belongs to a prompt; nothing if that was not learned."""
    if not (accuracy := metrics.get("accuracy")):
        return []
    return [
        f"  mismatched pairs: {metrics['n_pairs']}; of {metrics['n_held_out']} held-out ones, the "
        f"reward model is right in {show_share(accuracy['reward'])}, the held-out one in "
        f"{show_share(accuracy['held_out'])}"
    ]


def describe_ensemble(metrics: EnsembleMetrics) -> list[str]:
    """Say what several reward models gain by rewarding as one; nothing of one alone."""
    if "members" not in metrics:
        return []
    shares = [f"{member['value']:.1%}" for member in metrics["members"]]
    if contrasts := metrics.get("contrasts"):
        shares = [f"{name} {share}" for name, share in zip(contrasts, shares, strict=True)]
    each = ", ".join(shares)
    gain, low, high = (100 * metrics["gain"][key] for key in ("value", "low", "high"))
    return [
        f"  {metrics['n_members']} reward models as one: right in {show_share(metrics['used'])}, "
        f"alone in {each}; gain {gain:+.1f} points [{low:+.1f}, {high:+.1f}]"
    ]


def describe_self_play(metrics: SelfPlayMetrics) -> list[str]:
    """Say what choosing among candidates gained."""
    line = f"self-play: {metrics['n_kept']} answers kept of {metrics['n_candidates']} candidates"
    gain = metrics["gain"]
    if not gain:
        return [line]
    own = show_difference(gain["reward"], gain["reward_low"], gain["reward_high"])
    other = show_difference(gain["held_out_reward"], gain["held_out_low"], gain["held_out_high"])
    return [f"{line}; best of {gain['n']} gains {own} in reward, {other} in held-out reward"]


def describe_policies(metrics: PolicyMetrics) -> list[str]:
    """Say how policies differ in held-out reward, on prompts that nothing was trained on."""
    lines = []
    for name, values in metrics["differences"].items():
        held_out = values["held_out_reward"]
        difference = show_difference(held_out["value"], held_out["low"], held_out["high"])
        new, old = name.split("-vs-")
        caveat = "" if metrics["gate_passed"] else " (gate not passed)"
        lines.append(
            f"{new} against {old}, {values['n']} test prompts: held-out reward {difference}{caveat}"
        )
        if repeats := show_repetition(name, metrics):
            lines.append(f"  {repeats}")
    return lines


def describe_evaluation(metrics: EvaluationMetrics) -> list[str]:
    """Put all models side by side, the floors below them."""
    questions = metrics["questions"]
    rows = [
        [
            "",
            *(
                f"{each.title} ({each.find_report(metrics)['n']} {each.unit})"
                for each in BENCHMARKS
            ),
            f"wins against base ({questions['n']} questions)",
        ],
        *(
            [name.replace("_", " "), *(show_share(share) if share else "" for share in shares)]
            for name, _, shares in list_results(metrics)
        ),
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    caveat = "" if metrics["gate_passed"] else " (gate not passed)"
    lines = [f"all models, with 95 % intervals{caveat}:"]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append(f"  {'  '.join(cells)}".rstrip())
    for each in BENCHMARKS:
        flips = [
            f"{name} {value:.0%}" for name, value in read_flips(each.find_report(metrics)).items()
        ]
        if flips:
            same = ", ".join(flips)
            lines.append(f"  {each.title} answered with the same letter in both orders: {same}")
    lines += map(describe_preferences, metrics["preferences"], metrics["preferences"].values())
    trained = metrics["contamination"]["training"]
    repeats = (
        f"{trained['prompts_that_repeat']} of {trained['n_prompts']} prompts, "
        f"{trained['demonstrations_that_repeat']} of {trained['n_demonstrations']} demonstrations"
    )
    lines.append(f"  judge of the answers: {show_judge(questions)}")
    if invalid := show_invalid_votes(questions):
        lines.append(f"  of the judge, {invalid}: kedro rows judge_votes --where valid=false")
    return [*lines, f"  of what they were trained on, {repeats} repeat a benchmark item"]


def describe_preferences(name: str, report: PreferenceReport) -> str:
    """Say how often each judge of a preference set prefers the right answer."""
    judges = {**report["models"], "longer wins": report["floors"]["longer_wins"]}
    found = ", ".join(
        f"{judge.replace('_', ' ')} {show_share(each['accuracy'])}"
        for judge, each in judges.items()
    )
    about = f"{report['n']} items; policies by implicit reward"
    return f"  right answer preferred in {name} ({about}): {found}"


def conclude(found: Documents) -> list[str]:
    """Say in three lines whether the run shows what it is made for; `found` is by dataset name.

    "Not shown" is said wherever an interval does not leave out that there is no gain, where there
    are too few prompts for one, and of a reward model that did not pass the gate.
    """
    report, gain = found["reward_model_metrics"], found["self_play_metrics"]["gain"]
    learned = helps = "there is nothing to test it on"
    if report["n"]:
        floor = report["best_floor"]
        learned = (
            f"{_mark(judge_reward_model(report, found['gate']).mark == 'yes')}, right in "
            f"{show_share(report['accuracy'])} of held-out comparisons, {floor.replace('_', ' ')} "
            f"in {show_share(report['floors'][floor])}"
        )
    if gain:
        values = (gain[f"held_out_{key}"] for key in ("reward", "low", "high"))
        best = f"best of {gain['n']} {show_difference(*values)} in held-out reward"
        helps = f"{_mark(shows_gain(gain['held_out_low'], gain['n_groups']))}, {best}"
    better = []
    for stage in STAGES:
        difference = found[stage.metrics]["differences"][f"{stage.name}-vs-{stage.base}"]
        reward = difference["held_out_reward"]
        values = (reward[key] for key in ("value", "low", "high"))
        pair = f"{stage.name} against {stage.base}"
        mark = _mark(shows_gain(reward["low"], difference["n"]))
        better.append(f"{mark} of {pair}, {show_difference(*values)}")
    return [
        "what this shows, each step on prompts that were held out from all before:",
        f"  the reward model learned more than what reads nothing: {learned}",
        f"  choosing by it helps: {helps}",
        f"  the policies are better than what they started from: {'; '.join(better)}",
    ]


def _mark(shown: bool) -> str:
    return "shown" if shown else "not shown"


def show_difference(value: float, low: float, high: float) -> str:
    """Write a difference with its interval."""
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"
