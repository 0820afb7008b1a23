"""Tables of the report: all models side by side, comparisons by edge, rewards on test prompts."""

from __future__ import annotations

from collections.abc import Sequence

from almost_kedro.evaluation.benchmark_records import BENCHMARKS
from almost_kedro.evaluation.model_report import list_results
from almost_kedro.evaluation.stages import BASE
from almost_kedro.evaluation.ways import Way
from almost_kedro.pages.report.numbers import (
    show_count,
    show_difference,
    show_edge,
    show_estimate,
    show_length,
    show_name,
    show_points,
)
from almost_kedro.pages.table import MISSING, Table
from almost_kedro.rows.evaluation_metrics import EvaluationMetrics, QuestionsReport
from almost_kedro.rows.metrics import (
    ComparisonsMetrics,
    CountedEstimate,
    Estimate,
    PolicyMetrics,
    RewardModelMetrics,
    RuleAudit,
)


def tabulate_models(evaluation: EvaluationMetrics) -> Table:
    """Put all models side by side, the floors below them."""
    questions = evaluation["questions"]
    controlled = _read_controlled(questions)
    rows = []
    for name, is_floor, shares in list_results(evaluation):
        answers = None if is_floor else questions["models"].get(name)
        rows.append(
            (
                f"floor: {show_name(name)}" if is_floor else show_name(name),
                *map(show_estimate, shares),
                show_estimate(controlled.get(name)),
                show_length(answers["length"]) if answers else MISSING,
                show_estimate(answers["share_cut_off"]) if answers else MISSING,
            )
        )
    heads = (
        "model",
        *(f"{each.title}, {each.find_report(evaluation)['n']} {each.unit}" for each in BENCHMARKS),
        f"wins against base, {questions['n']} questions",
        "the same, were all answers of one length",
        "characters an answer",
        "answers cut off",
    )
    return Table("Accuracies and win rates with 95 % intervals", heads, tuple(rows))


def _read_controlled(questions: QuestionsReport) -> dict[str, Estimate | None]:
    return {
        card["model_a"]: card["length_controlled_win_rate"]
        for card in questions["cards"].values()
        if card["model_b"] == BASE
    }


def tabulate_rewards(*policies: PolicyMetrics) -> Table:
    """Say how policies differ in reward, on prompts that nothing was trained on."""
    rows = tuple(
        (
            show_edge(name).replace(" over ", " against "),
            str(found["n"]),
            show_difference(found["reward"]),
            show_difference(found["held_out_reward"]),
            show_estimate(found["held_out_win_rate"]),
            show_points(found["repetition"]) if "repetition" in found else MISSING,
        )
        for each in policies
        for name, found in each["differences"].items()
    )
    heads = (
        "models",
        "test prompts",
        "reward",
        "held-out reward",
        "better answer (held-out)",
        "words that repeat",
    )
    return Table("Differences in reward (log-odds) with 95 % intervals", heads, rows)


def tabulate_endings(*policies: PolicyMetrics) -> Table:
    """Say what ended the answers to the test prompts, by policy, where that was counted.

    A policy that two stages were tested with gave the same answers both times.
    """
    rows: dict[str, tuple[str, ...]] = {}
    for each in policies:
        for name, found in each["policies"].items():
            if "share_ended_by_eos" in found:
                n, own, cut = found["n"], found["share_ended_by_eos"], found["share_cut_off"]
                counts = (round(own * n), round((1 - own - cut) * n), round(cut * n))
                rows.setdefault(name, (show_name(name), str(n), *map(str, counts)))
    heads = ("policy", "answers", "its own end token", "a stop string", "token limit")
    return Table("What ended the answers to test prompts", heads, tuple(rows.values()))


def tabulate_ways(ways: Sequence[Way]) -> Table:
    """Put the ways to a better policy side by side: what each gains, and what it takes."""
    rows = tuple(
        (
            show_name(way.name),
            str(way.n),
            show_difference(way.held_out),
            show_points(way.repetition),
            *(
                cost if way.whole else f"at least {cost}"
                for cost in (f"{way.seconds:,.1f}", show_count(way.tokens))
            ),
            str(way.answers),
        )
        for way in ways
    )
    heads = (
        "policy",
        "test prompts",
        "held-out reward against base",
        "words that repeat, against base",
        "seconds to train",
        "tokens to train",
        "answers generated for one",
    )
    return Table("From the same comparisons: gains with 95 % intervals, and costs", heads, rows)


def tabulate_edges(comparisons: ComparisonsMetrics, report: RewardModelMetrics) -> Table:
    """Say how many comparisons each edge gave, and how well the reward model does on it."""
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


def tabulate_factors(comparisons: ComparisonsMetrics, report: RewardModelMetrics) -> Table:
    """Say how many comparisons differ in a factor, and how well the reward model does on them.

    A comparison that differs in two factors counts for both; held-out ones stand by all that
    differs.
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


def _show_held_out(found: CountedEstimate | None) -> tuple[str, str]:
    return (show_count(found["n"] if found else 0), show_estimate(found))


def tabulate_audit(audit: RuleAudit) -> Table:
    """Say how far reward models agree with what they were trained without."""
    rows = []
    for group in (audit["by_edge"], audit["by_factor"]):
        for name, found in group.items():
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
