"""The node that lets reward models and policies say which answers they prefer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from almost_kedro.contract import Likelihood
from almost_kedro.evaluation.benchmark_records import HHH
from almost_kedro.evaluation.benchmark_sources import name_source
from almost_kedro.evaluation.preferences import (
    judge_items,
    list_answers,
    list_held_out,
    list_hhh,
    report_preferences,
    subtract_base,
)
from almost_kedro.evaluation.stages import BASE, PROMPTED
from almost_kedro.feedback.responses import end_dialogue
from almost_kedro.feedback.splits import select_comparisons
from almost_kedro.jobs.likelihood import compute_all_logprobs
from almost_kedro.jobs.policies import Policy, list_policies, name_models
from almost_kedro.jobs.policy_likelihoods import ask_for_answers
from almost_kedro.jobs.reward_models import find_judges
from almost_kedro.jobs.score import Scorer, score_by_all
from almost_kedro.models.checkpoints import Checkpoint
from almost_kedro.options.all import Options
from almost_kedro.options.evaluation import HELD_OUT_SET, HHH_SET
from almost_kedro.options.rules import Rules
from almost_kedro.processes.workplace import Workplace
from almost_kedro.rows.evaluation import LikelihoodVerdict, PairItem, RewardVerdict, Source
from almost_kedro.rows.evaluation_metrics import PreferenceReport
from almost_kedro.rows.feedback import Assistant, Comparison
from almost_kedro.rows.metrics import ProgramMetrics
from almost_kedro.rows.preferences import PreferenceItem, PreferenceVerdict
from almost_kedro.rows.training import PromptSplit, ScoredComparison

# The reward models, and what `held_out_scores` calls them.
READERS = {"reward_model": "reward", "held_out_reward_model": "held_out"}
# Where the sources of sets are that have names of their own there.
SOURCES = {HHH_SET: HHH.option}
# By judge, the scores of answers by their ids (see `list_answers`).
Scores = dict[str, dict[str, float]]


def judge_preferences(
    hhh_items: list[PairItem],
    hhh_likelihood_verdicts: list[LikelihoodVerdict],
    reward_verdicts: list[RewardVerdict],
    reward_pairs: list[Comparison],
    held_out_scores: list[ScoredComparison],
    preference_items: list[PreferenceItem],
    benchmark_sources: dict[str, Source],
    prompt_splits: list[PromptSplit],
    assistants: list[Assistant],
    reward_model: Checkpoint,
    held_out_reward_model: Checkpoint,
    options: Options,
    workplace: Workplace,
    **checkpoints: Checkpoint | None,
) -> tuple[list[PreferenceVerdict], dict[str, Any]]:
    """Let both reward models, and trained policies by implicit rewards, judge preference sets.

    These are static HHH, the run's comparisons of held-out prompts, and the user's sets. What was
    scored for other nodes is not scored again. Returns the verdicts; and models, reports, costs.
    """
    named = group_by_set(preference_items)
    held_out = list_held_out(select_comparisons(reward_pairs, prompt_splits, "held_out"))
    found = {**checkpoints, "reward_model": reward_model}
    policies = list_policies(found, prompt_splits, assistants, options, workplace)
    judges = find_judges(reward_model, held_out_reward_model, prompt_splits, options, workplace)
    scores, costs = score_by_policies(
        policies, {HELD_OUT_SET: held_out, **named}, options, workplace
    )
    for name, items in named.items():
        rewards, cost = score_by_readers(judges, items, options.rules)
        scores[name] = rewards | scores[name]
        costs[name] |= cost
    scores[HELD_OUT_SET] = read_held_out(held_out_scores) | scores[HELD_OUT_SET]
    likelihoods = read_scores(hhh_likelihood_verdicts)
    scores[HHH_SET] = read_scores(reward_verdicts) | subtract_bases(policies, likelihoods)
    verdicts: list[PreferenceVerdict] = []
    reports: dict[str, PreferenceReport] = {}
    for name, items in {HHH_SET: list_hhh(hhh_items), HELD_OUT_SET: held_out, **named}.items():
        judged = {judge: judge_items(items, judge, each) for judge, each in scores[name].items()}
        verdicts += [row for rows in judged.values() for row in rows]
        if items:
            source = benchmark_sources.get(SOURCES.get(name, name_source(name)))
            reports[name] = report_preferences(items, judged, source, options.seed)
    models = name_models(policies) | {
        reader: {"fingerprint": judge.model.fingerprint}
        for reader, judge in zip(READERS, judges, strict=True)
    }
    return verdicts, {"models": models, "sets": reports, "cost": costs}


def group_by_set(items: Sequence[PreferenceItem]) -> dict[str, list[PreferenceItem]]:
    """Group items by their set."""
    groups: dict[str, list[PreferenceItem]] = {}
    for item in items:
        groups.setdefault(item["set"], []).append(item)
    return groups


def score_by_policies(
    policies: Sequence[Policy],
    sets: Mapping[str, Sequence[PreferenceItem]],
    options: Options,
    workplace: Workplace,
) -> tuple[dict[str, Scores], dict[str, dict[str, ProgramMetrics]]]:
    """Return, for each set, implicit rewards by policy and what each policy's job cost."""
    asked = [policy for policy in policies if policy.name != PROMPTED]
    jobs = []
    for items in sets.values():
        rows = [
            Likelihood(id=row["id"], context=row["dialogue"], continuation=row["answer"])
            for row in list_answers(items)
        ]
        jobs += [ask_for_answers(policy, rows, options, workplace) for policy in asked]
    computed = iter(compute_all_logprobs(jobs))
    scores, costs = {}, {}
    for name in sets:
        found = {policy.name: next(computed) for policy in asked}
        logprobs = {
            policy: {id_: answer["logprob"] for id_, answer in answers.items()}
            for policy, (answers, _) in found.items()
        }
        scores[name] = subtract_bases(policies, logprobs)
        costs[name] = {policy: cost for policy, (_, cost) in found.items()}
    return scores, costs


def subtract_bases(policies: Sequence[Policy], logprobs: Scores) -> Scores:
    """Return the implicit rewards of all policies that were trained."""
    return {
        policy.name: subtract_base(logprobs[policy.name], logprobs[BASE])
        for policy in policies
        if policy.name not in (BASE, PROMPTED)
    }


def score_by_readers(
    judges: Sequence[Scorer], items: Sequence[PreferenceItem], rules: Rules
) -> tuple[Scores, dict[str, ProgramMetrics]]:
    """Return the rewards of a set's answers by both reward models, and what they cost."""
    rows = [
        {**row, "dialogue": end_dialogue(row["dialogue"], rules)} for row in list_answers(items)
    ]
    scored = dict(zip(READERS, score_by_all(judges, rows), strict=True))
    return (
        {name: rewards for name, (rewards, _) in scored.items()},
        {name: cost for name, (_, cost) in scored.items()},
    )


def read_scores(verdicts: Sequence[RewardVerdict] | Sequence[LikelihoodVerdict]) -> Scores:
    """Return the scores that each model gave to the answers of pairs."""
    scores: Scores = {}
    for row in verdicts:
        of_model = scores.setdefault(row["model"], {})
        of_model[f"{row['item_id']}/0"] = row["score_chosen"]
        of_model[f"{row['item_id']}/1"] = row["score_rejected"]
    return scores


def read_held_out(rows: Sequence[ScoredComparison]) -> Scores:
    """Return the rewards that each reward model gave to the answers of held-out comparisons."""
    return {
        name: {
            f"{row['comparison_id']}/{number}": row[f"{short}_{side}"]  # type: ignore[literal-required]
            for row in rows
            for number, side in enumerate(("chosen", "rejected"))
        }
        for name, short in READERS.items()
    }
