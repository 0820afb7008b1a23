"""The verdict in three lines: did the reward model learn, are the policies better, what is weak.

"Not shown" is said wherever an interval does not leave chance out. It isn't "no".
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from almost_kedro.evaluation.benchmark_records import BENCHMARKS
from almost_kedro.evaluation.gate import shows_gain
from almost_kedro.evaluation.model_report import (
    count_invalid_votes,
    find_silence,
    read_win_rates,
    show_invalid_votes,
)
from almost_kedro.evaluation.stages import BASE, TRAINED
from almost_kedro.evaluation.statistics import show_share
from almost_kedro.pages.report.numbers import show_name, show_points
from almost_kedro.pages.report.weak_link import find_weakest_link
from almost_kedro.rows.evaluation_metrics import EvaluationMetrics
from almost_kedro.rows.metrics import Documents, Estimate, GateResult, RewardModelMetrics

EVEN = 0.5


class Line(NamedTuple):
    """A question, its answer in a sentence, and the figures that it rests on."""

    question: str
    mark: Literal["yes", "open", "no"]
    answer: str
    details: tuple[str, ...]


class Gain(NamedTuple):
    """A policy against the base model in one measure; `shown` has the figure in words.

    It is told by nothing if one of the two mostly goes by the letter, or if neither is shown to be
    above chance: then neither is better.
    """

    policy: str
    measure: str
    shown: str
    better: bool = False
    worse: bool = False
    told: bool = True


def reach_verdict(metrics: Documents) -> list[Line]:
    """Answer the three questions that a run is made for."""
    report, gate = metrics["reward_model_metrics"], metrics["gate"]
    return [
        judge_reward_model(report, gate),
        judge_policies(metrics["evaluation_metrics"]),
        judge_chain(metrics),
    ]


def judge_reward_model(report: RewardModelMetrics, gate: GateResult) -> Line:
    """Say whether the reward model learned more than what reads nothing."""
    question = "Did the reward model learn?"
    if not report["n"]:
        return Line(question, "open", "Unknown: there are no held-out comparisons.", ())
    above = report["above_best_floor"]
    low = 100 * above["low_one_sided"]
    details = (
        f"It is right in {show_share(report['accuracy'])} of {report['n']} held-out comparisons; "
        f"the best judge that reads nothing ({show_name(report['best_floor'])}) in "
        f"{show_share(report['floors'][report['best_floor']])}.",
        f"The difference is {100 * above['difference']:+.1f} points; with 95 % confidence it is "
        f"above {low:+.1f}. The gate is {'passed' if gate['passed'] else 'not passed'}.",
    )
    if not shows_gain(low, report["n_prompts"]):
        answer = "Not shown: it may be no better than a judge that reads nothing."
        return Line(question, "open", answer, details)
    if not gate["passed"]:
        answer = "Yes, more than the floors; but it did not pass the gate."
        return Line(question, "open", answer, details)
    return Line(question, "yes", "Yes: more than any judge that reads nothing.", details)


def judge_policies(evaluation: EvaluationMetrics) -> Line:
    """Say whether what was trained is better than the base model."""
    question = "Are the trained models better than the base model?"
    gains = list_gains(evaluation)
    better, worse = [g for g in gains if g.better], [g for g in gains if g.worse]
    details = tuple(
        f"{policy}: {'; '.join(g.shown for g in gains if g.policy == policy)}."
        for policy in dict.fromkeys(gain.policy for gain in gains)
    )
    questions = evaluation["questions"]
    if invalid := show_invalid_votes(questions):
        details += (f"Of the judge, {invalid} and count for nothing.",)
    n_invalid, n_votes = count_invalid_votes(questions)
    silent = invalid and n_invalid == n_votes
    unheard = " The judge says nothing: none of its votes is valid." if silent else ""
    count = f"{sum(gain.told for gain in gains)} comparisons"
    if worse:
        answer = f"{'Mixed' if better else 'No'}: worse in {_name_gains(worse)}"
        answer += f"; better in {_name_gains(better)}." if better else "."
        return Line(question, "no", answer + unheard, details)
    if better:
        answer = f"Yes, in {len(better)} of {count}: {_name_gains(better)}."
        return Line(question, "yes", answer + unheard, details)
    answer = f"Not shown: none of {count} shows a gain."
    return Line(question, "open", answer + unheard, details)


def list_gains(evaluation: EvaluationMetrics) -> list[Gain]:
    """Compare what was trained with the base model, by the judge and on the benchmarks."""
    questions = evaluation["questions"]
    wins = read_win_rates(questions)
    found = questions.get("judge_worth")
    worth = f" (right in {show_share(found['accuracy'])} of HHH pairs)" if found else ""
    gains = []
    for stage in TRAINED:
        pair = f"{stage.name}-vs-{BASE}"
        if rate := wins.get(stage.name):
            text = f"wins {show_share(rate)} of {questions['n']} questions by the judge{worth}"
            gains.append(_make_gain(stage.name, "the judge's votes", text, rate, EVEN))
        for each in BENCHMARKS:
            report = each.find_report(evaluation)
            if difference := report["differences"].get(pair):
                text = f"{each.title} {show_points(difference)}"
                if why := find_silence(report, (stage.name, BASE)):
                    shown = f"{text}: {why}, so it tells nothing"
                    gains.append(Gain(stage.name, each.title, shown, told=False))
                else:
                    gains.append(_make_gain(stage.name, each.title, text, difference, 0))
    return gains


def _make_gain(policy: str, measure: str, text: str, found: Estimate, even: float) -> Gain:
    better, worse = found["low"] > even, found["high"] < even
    result = "better" if better else "worse" if worse else "not shown"
    return Gain(policy, measure, f"{text}: {result}", better, worse)


def _name_gains(gains: list[Gain]) -> str:
    return ", ".join(f"{gain.measure} ({gain.policy})" for gain in gains)


def judge_chain(metrics: Documents) -> Line:
    """Name the first link of the chain that is not shown to hold, and what to do about it."""
    question = "What is the weakest link, and what comes next?"
    link = find_weakest_link(metrics)
    if link is None:
        answer = "None: each step shows a gain over the one before."
        return Line(question, "yes", answer, ("Next: a larger model, or other rules of thumb.",))
    return Line(question, "open", f"The weakest link: {link.name}.", (link.why, link.next_step))
