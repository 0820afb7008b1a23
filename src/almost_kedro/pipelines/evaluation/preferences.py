"""Nodes that let reward models and policies say which answers they prefer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from almost_kedro.contract import Likelihood
from almost_kedro.evaluation.benchmark_records import HHH
from almost_kedro.evaluation.benchmark_sources import name_source
from almost_kedro.evaluation.preferences import (
    Scores,
    judge_items,
    list_answers,
    list_held_out,
    list_hhh,
    report_preferences,
    subtract_base,
)
from almost_kedro.evaluation.stages import PROMPTED
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
from almost_kedro.rows.preferences import PreferenceItem, PreferenceScore, PreferenceVerdict
from almost_kedro.rows.training import PromptSplit, ScoredComparison

# The reward models, and what `held_out_scores` calls them.
READERS = {"reward_model": "reward", "held_out_reward_model": "held_out"}
# What each job cost, by set and by model.
Costs = dict[str, dict[str, ProgramMetrics]]


def score_preferences(
    reward_pairs: list[Comparison],
    preference_items: list[PreferenceItem],
    prompt_splits: list[PromptSplit],
    assistants: list[Assistant],
    reward_model: Checkpoint,
    held_out_reward_model: Checkpoint,
    options: Options,
    workplace: Workplace,
    **checkpoints: Checkpoint | None,
) -> tuple[list[PreferenceScore], dict[str, Any]]:
    """Let the base model and what was trained from it say how probable answers are.

    These are the answers of held-out comparisons and of the user's sets, which both reward models
    score, too. Returns the scores; and models and costs.
    """
    named = group_by_set(preference_items)
    held_out = list_held_out(select_comparisons(reward_pairs, prompt_splits, "held_out"))
    trained = {**checkpoints, "reward_model": reward_model}
    policies = list_policies(trained, prompt_splits, assistants, options, workplace)
    judges = find_judges(reward_model, held_out_reward_model, prompt_splits, options, workplace)
    scores, costs = score_by_policies(
        policies, {HELD_OUT_SET: held_out, **named}, options, workplace
    )
    for name, items in named.items():
        rewards, cost = score_by_readers(judges, items, options.rules)
        scores[name] |= rewards
        costs[name] |= cost
    rows = [
        PreferenceScore(
            score_id=f"{name}/{model}/{answer}",
            set=name,
            model=model,
            item_id=answer.rpartition("/")[0],
            answer=int(answer.rpartition("/")[2]),
            score=score,
        )
        for name, by_model in scores.items()
        for model, found in by_model.items()
        for answer, score in found.items()
    ]
    models = name_models(policies) | {
        reader: {"fingerprint": judge.model.fingerprint}
        for reader, judge in zip(READERS, judges, strict=True)
    }
    return rows, {"models": models, "cost": costs}


def judge_preferences(
    hhh_items: list[PairItem],
    hhh_likelihood_verdicts: list[LikelihoodVerdict],
    reward_verdicts: list[RewardVerdict],
    reward_pairs: list[Comparison],
    held_out_scores: list[ScoredComparison],
    preference_items: list[PreferenceItem],
    preference_scores: list[PreferenceScore],
    benchmark_sources: dict[str, Source],
    prompt_splits: list[PromptSplit],
    seed: int,
) -> tuple[list[PreferenceVerdict], dict[str, PreferenceReport]]:
    """Judge preference sets by the scores of both reward models, and by implicit rewards.

    The sets are static HHH, the run's comparisons of held-out prompts, and the user's. Returns the
    verdicts, and a report on each set that has items.
    """
    held_out = list_held_out(select_comparisons(reward_pairs, prompt_splits, "held_out"))
    sets = {HHH_SET: list_hhh(hhh_items), HELD_OUT_SET: held_out, **group_by_set(preference_items)}
    sources = {HHH_SET: HHH.option, **{name: name_source(name) for name in sets if name != HHH_SET}}
    scores = read_scores(preference_scores)
    scores[HHH_SET] = read_pairs(reward_verdicts) | read_pairs(hhh_likelihood_verdicts)
    scores.setdefault(HELD_OUT_SET, {}).update(read_held_out(held_out_scores))
    verdicts: list[PreferenceVerdict] = []
    reports: dict[str, PreferenceReport] = {}
    for name, items in sets.items():
        if items:
            judged = {
                judge: judge_items(items, judge, found)
                for judge, found in list_judges(scores[name]).items()
            }
            verdicts += [row for rows in judged.values() for row in rows]
            source = benchmark_sources.get(sources[name])
            reports[name] = report_preferences(items, judged, source, seed)
    return verdicts, reports


def list_judges(scores: Scores) -> Scores:
    """Return the rewards of both reward models, then the implicit rewards of trained policies."""
    policies = {name: found for name, found in scores.items() if name not in READERS}
    return {reader: scores[reader] for reader in READERS} | subtract_base(policies)


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
) -> tuple[dict[str, Scores], Costs]:
    """Return, for each set, log-probabilities by policy and costs; the assistant isn't asked."""
    asked = [policy for policy in policies if policy.name != PROMPTED]
    jobs = []
    for items in sets.values():
        rows = [
            Likelihood(id=row["id"], context=row["dialogue"], continuation=row["answer"])
            for row in list_answers(items)
        ]
        jobs += [ask_for_answers(policy, rows, options, workplace) for policy in asked]
    computed = iter(compute_all_logprobs(jobs))
    scores: dict[str, Scores] = {}
    costs: Costs = {}
    for name in sets:
        found = {policy.name: next(computed) for policy in asked}
        scores[name] = {
            policy: {id_: answer["logprob"] for id_, answer in answers.items()}
            for policy, (answers, _) in found.items()
        }
        costs[name] = {policy: cost for policy, (_, cost) in found.items()}
    return scores, costs


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


def read_scores(rows: Sequence[PreferenceScore]) -> dict[str, Scores]:
    """Return what `score_preferences` scored, by set."""
    scores: dict[str, Scores] = {}
    for row in rows:
        of_model = scores.setdefault(row["set"], {}).setdefault(row["model"], {})
        of_model[f"{row['item_id']}/{row['answer']}"] = row["score"]
    return scores


def read_pairs(verdicts: Sequence[RewardVerdict] | Sequence[LikelihoodVerdict]) -> Scores:
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
