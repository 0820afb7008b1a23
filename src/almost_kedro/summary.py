"""What a run says in the end: its figures, their floors and intervals, and how to look further."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from almost_kedro.evaluation.model_report import read_win_rates, show_invalid_votes
from almost_kedro.evaluation.statistics import show_share

Metrics = Mapping[str, Any]
# What helps where a length control has dropped every pair.
MORE_PROMPTS = "ask for more prompts (prompt_generation.n_prompts)"
PAIR_REMEDIES = {
    "matched_length": "widen comparisons.length_tolerance",
    "matched_tie": MORE_PROMPTS,
    "matched_balance": MORE_PROMPTS,
    "rule_17_heuristic": MORE_PROMPTS,
}


def describe_comparisons(metrics: Metrics, path: object, first: str | None, same: str) -> list[str]:
    """Say how many comparisons there are, where they are, and how to ask where one comes from.

    Args:
        metrics: `comparisons_metrics`.
        path: Their file.
        first: Id of the first one, if there is one.
        same: Options with which another command finds what this run made.
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


def explain_no_comparisons(metrics: Metrics, same: str) -> str:
    """Say why there are no comparisons, and only what can help against that.

    Args:
        metrics: `comparisons_metrics`.
        same: Options with which another command finds what this run made.
    """
    if not metrics["n_candidates"]:
        return (
            "no comparisons, as there is no prompt with usable answers on two levels of the "
            f"rubric: see by which rules answers were dropped (kedro rows ledger_responses{same})"
        )
    found = {name: metrics.get(f"dropped_{name}", 0) for name in PAIR_REMEDIES}
    helps = [PAIR_REMEDIES[name] for name, n in found.items() if n]
    reasons = ", ".join(f"{name}: {n}" for name, n in found.items() if n)
    remedies = [*dict.fromkeys(helps), "set comparisons.length_control: none"]
    return (
        f"no comparisons, as all {metrics['n_candidates']} candidate pairs were dropped "
        f"({reasons}): {', or '.join(remedies)}"
    )


def describe_reward_model(metrics: Metrics, gate: Metrics) -> list[str]:
    """Say how well the reward model judges held-out prompts, beside the floors.

    Args:
        metrics: `reward_model_metrics`.
        gate: Whether it may train a policy.
    """
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


def describe_seeds(metrics: Metrics) -> list[str]:
    """Say how far chance moves the reward model's accuracy; nothing if there was one training.

    Args:
        metrics: `reward_model_seeds_metrics`.
    """
    if metrics["n_seeds"] == 1 or "mean" not in metrics:
        return []
    each = ", ".join(f"{value:.1%}" for value in metrics["accuracies"])
    mean = show_share(metrics["mean"])
    return [f"  trained with {metrics['n_seeds']} seeds: {each}; right in {mean} on average"]


def describe_self_play(metrics: Metrics) -> list[str]:
    """Say what choosing among candidates gained."""
    line = f"self-play: {metrics['n_kept']} answers kept of {metrics['n_candidates']} candidates"
    gain = metrics["gain"]
    if not gain:
        return [line]
    own = show_difference(gain["reward"], gain["reward_low"], gain["reward_high"])
    other = show_difference(gain["held_out_reward"], gain["held_out_low"], gain["held_out_high"])
    return [f"{line}; best of {gain['n']} gains {own} in reward, {other} in held-out reward"]


def describe_policies(metrics: Metrics) -> list[str]:
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
    return lines


def describe_evaluation(metrics: Metrics) -> list[str]:
    """Put all models side by side, the floors below them.

    Args:
        metrics: `evaluation_metrics`.
    """
    hhh, mc1, questions = (metrics[name] for name in ("hhh", "mc1", "questions"))
    wins = read_win_rates(questions)
    heads = [
        f"HHH ({hhh['n']} pairs)",
        f"MC1 ({mc1['n']} questions)",
        f"wins against base ({questions['n']} questions)",
    ]
    rows = [["", *heads]]
    for kind, first in (("models", questions["models"]), ("floors", ())):
        for name in dict.fromkeys([*first, *hhh[kind]]):
            shares = [found[kind].get(name, {}).get("accuracy") for found in (hhh, mc1)]
            shares.append(wins.get(name))
            cells = [show_share(share) if share else "" for share in shares]
            rows.append([name.replace("_", " "), *cells])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    caveat = "" if metrics["gate_passed"] else " (gate not passed)"
    lines = [f"all models, with 95 % intervals{caveat}:"]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append(f"  {'  '.join(cells)}".rstrip())
    flips = ", ".join(
        f"{name} {bias['flips']['value']:.0%}" for name, bias in hhh["position_bias"].items()
    )
    lines.append(f"  HHH answered with the same letter in both orders: {flips}")
    trained = metrics["contamination"]["training"]
    repeats = ", ".join(
        f"{trained[f'{name}_that_repeat']} of {trained[f'n_{name}']} {name}"
        for name in ("prompts", "demonstrations")
    )
    lines.append(f"  judge of the answers: {questions['judge']}")
    if invalid := show_invalid_votes(questions):
        lines.append(f"  of the judge, {invalid}: kedro rows judge_votes --where valid=false")
    return [*lines, f"  of what they were trained on, {repeats} repeat a benchmark item"]


def show_difference(value: float, low: float, high: float) -> str:
    """Write a difference with its interval."""
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"
