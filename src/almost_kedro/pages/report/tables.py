"""Tables of the report: all models side by side, comparisons by edge, rewards on test prompts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from almost_kedro.evaluation.model_report import read_win_rates
from almost_kedro.pages.report.numbers import (
    MISSING,
    Table,
    show_count,
    show_difference,
    show_edge,
    show_estimate,
    show_length,
    show_name,
)

Metrics = Mapping[str, Any]


def tabulate_models(evaluation: Metrics) -> Table:
    """Put all models side by side, the floors below them.

    Args:
        evaluation: `evaluation_metrics`.
    """
    hhh, mc1, questions = (evaluation[name] for name in ("hhh", "mc1", "questions"))
    wins, controlled = read_win_rates(questions), _read_controlled(questions)
    rows = []
    for kind, first in (("models", questions["models"]), ("floors", ())):
        for name in dict.fromkeys([*first, *hhh[kind]]):
            answers = questions["models"].get(name) if kind == "models" else None
            rows.append(
                (
                    show_name(name) if kind == "models" else f"floor: {show_name(name)}",
                    *(show_estimate(_read_accuracy(each[kind], name)) for each in (hhh, mc1)),
                    show_estimate(wins.get(name)),
                    show_estimate(controlled.get(name)),
                    show_length(answers["length"]) if answers else MISSING,
                    show_estimate(answers["share_cut_off"]) if answers else MISSING,
                )
            )
    heads = (
        "model",
        f"HHH, {hhh['n']} pairs",
        f"MC1, {mc1['n']} questions",
        f"wins against base, {questions['n']} questions",
        "the same, were all answers of one length",
        "characters an answer",
        "answers cut off",
    )
    return Table("Accuracies and win rates with 95 % intervals", heads, tuple(rows))


def _read_accuracy(group: Metrics, name: str) -> Mapping[str, float] | None:
    return group[name]["accuracy"] if name in group else None


def _read_controlled(questions: Metrics) -> dict[str, Any]:
    return {
        card["model_a"]: card["length_controlled_win_rate"]
        for card in questions["cards"].values()
        if card["model_b"] == "base"
    }


def tabulate_rewards(sft: Metrics, rl: Metrics) -> Table:
    """Say how policies differ in reward, on prompts that nothing was trained on.

    Args:
        sft: `sft_policy_metrics`.
        rl: `rl_policy_metrics`.
    """
    rows = tuple(
        (
            show_edge(name).replace(" over ", " against "),
            str(found["n"]),
            show_difference(found["reward"]),
            show_difference(found["held_out_reward"]),
            show_estimate(found["held_out_win_rate"]),
        )
        for name, found in (*sft["differences"].items(), *rl["differences"].items())
    )
    heads = ("models", "test prompts", "reward", "held-out reward", "better answer (held-out)")
    return Table("Differences in reward (log-odds) with 95 % intervals", heads, rows)


def tabulate_edges(comparisons: Metrics, report: Metrics) -> Table:
    """Say how many comparisons each edge gave, and how well the reward model does on it.

    Args:
        comparisons: `comparisons_metrics`.
        report: `reward_model_metrics`.
    """
    held_out = report.get("by_edge", {})
    rows = tuple(
        (
            show_edge(edge),
            str(found["n"]),
            f"{found['chosen_longer']:.0%}",
            *_show_held_out(held_out.get(edge)),
        )
        for edge, found in comparisons["edges"].items()
    )
    heads = ("edge", "comparisons", "chosen is longer", "held out", "reward model is right")
    return Table("Comparisons by edge of the rubric", heads, rows)


def tabulate_factors(comparisons: Metrics, report: Metrics) -> Table:
    """Say how many comparisons differ in a factor, and how well the reward model does on them.

    A comparison that differs in two factors counts for both; held-out ones stand by all that
    differs.

    Args:
        comparisons: `comparisons_metrics`.
        report: `reward_model_metrics`.
    """
    held_out = report.get("by_factor", {})
    names = dict.fromkeys([*comparisons["factors"], *held_out])
    rows = tuple(
        (
            name.replace("+", " and "),
            show_count(comparisons["factors"].get(name)),
            *_show_held_out(held_out.get(name)),
        )
        for name in names
    )
    heads = ("what differs", "comparisons", "held out", "reward model is right")
    return Table("Comparisons by factor", heads, rows)


def _show_held_out(found: Metrics | None) -> tuple[str, str]:
    return (show_count(found["n"] if found else 0), show_estimate(found))


def tabulate_audit(audit: Metrics) -> Table:
    """Say how far reward models agree with what they were trained without.

    Args:
        audit: `rule_audit_metrics`.
    """
    rows = []
    for kind in ("by_edge", "by_factor"):
        for name, found in audit[kind].items():
            best = found.get("best_floor")
            floor = found["floors"][best] if best else None
            rows.append(
                (
                    show_edge(name).replace("+", " and "),
                    str(found["n_trained_on"]),
                    str(found["n"]),
                    found.get("note") or show_estimate(found["accuracy"]),
                    f"{show_name(best)}: {show_estimate(floor)}" if best else MISSING,
                )
            )
    heads = ("left out", "trained on", "tested on", "agreement", "best floor")
    return Table("Agreement of reward models with the rule they never saw", heads, tuple(rows))
