"""Nodes that let the models answer the benchmarks."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from almost_kedro.contract import Likelihood, LogProb
from almost_kedro.evaluation import stages
from almost_kedro.evaluation.benchmark_records import BENCHMARKS, SETS
from almost_kedro.evaluation.hhh import build_hhh_answers, score_hhh_rewards
from almost_kedro.feedback.responses import end_dialogue
from almost_kedro.jobs.likelihood import compute_all_logprobs
from almost_kedro.jobs.policies import find_misfits, list_policies, name_models
from almost_kedro.jobs.policy_likelihoods import ask_for_answers, ask_for_texts
from almost_kedro.jobs.reward_models import find_judges
from almost_kedro.jobs.score import score_by_all
from almost_kedro.models.checkpoints import Checkpoint
from almost_kedro.options.all import Options
from almost_kedro.options.evaluation import EvaluationOptions
from almost_kedro.processes.run import PLAIN
from almost_kedro.processes.workplace import Workplace
from almost_kedro.rows.evaluation import PairItem, RewardVerdict
from almost_kedro.rows.feedback import Assistant
from almost_kedro.rows.training import PromptSplit

logger = logging.getLogger(__name__)
# Datasets: what benchmarks ask; the trained policies, and the reward model that they fit.
ASKED = (
    *(each.items for each in SETS),
    *(each.preset for each in BENCHMARKS if each.has_forms),
)
TRAINED = (*(stage.policy for stage in stages.TRAINED), "reward_model")


def evaluate_policies(
    prompt_splits: list[PromptSplit],
    assistants: list[Assistant],
    options: Options,
    workplace: Workplace,
    **found: Any,
) -> list[Any]:
    """Let base model, best assistant and trained policies answer all benchmarks.

    The assistant sees its demonstrations before each question. `found` has `ASKED` and `TRAINED`.
    Returns the verdicts on each benchmark, then each model's figures.
    """
    asked = options.evaluation
    texts, answers = list_requests(found, asked)
    for name, why in find_misfits(found, prompt_splits, options, workplace).items():
        logger.warning("policy %s is left out: %s", name, why, extra=PLAIN)
    policies = list_policies(found, prompt_splits, assistants, options, workplace)
    computed = compute_all_logprobs(
        [
            job
            for policy in policies
            for job in (
                ask_for_texts(policy, texts, options, workplace),
                ask_for_answers(policy, answers, options, workplace),
            )
        ]
    )
    verdicts: dict[str, list[dict[str, Any]]] = {each.name: [] for each in BENCHMARKS}
    figures: dict[str, Any] = {"models": name_models(policies)}
    for policy, *parts in zip(policies, computed[::2], computed[1::2], strict=True):
        figures[policy.name] = {}
        for each in BENCHMARKS:
            logprobs = read_logprobs(parts[each.whole_answers][0], each.per_token)
            scored, accuracy = each.score(found[each.items], logprobs, asked.scoring)
            figures[policy.name][each.name] = accuracy
            verdicts[each.name] += [
                {**row, "verdict_id": f"{policy.name}/{row['item_id']}", "model": policy.name}
                for row in scored
            ]
        for name, (_, cost) in zip(("cost", "answers"), parts, strict=True):
            figures[policy.name][name] = cost
    return [*verdicts.values(), figures]


def list_requests(
    found: Mapping[str, Any], asked: EvaluationOptions
) -> tuple[list[Likelihood], list[Likelihood]]:
    """List what all benchmarks ask: continuations of texts, and whole answers, each row once."""
    requests: tuple[dict[str, Likelihood], dict[str, Likelihood]] = {}, {}
    for each in BENCHMARKS:
        preset = found[each.preset]["text"] if each.has_forms else ""
        for row in each.ask(found[each.items], asked, preset):
            requests[each.whole_answers][row["id"]] = row
    texts, answers = (list(rows.values()) for rows in requests)
    return texts, answers


def read_logprobs(answers: Mapping[str, LogProb], per_token: bool) -> dict[str, float]:
    """Return log-probabilities by id, in nats; divided by the number of tokens if asked for."""
    return {
        id_: found["logprob"] / (found["n_tokens"] if per_token else 1)
        for id_, found in answers.items()
    }


def evaluate_reward_models(
    hhh_items: list[PairItem],
    prompt_splits: list[PromptSplit],
    reward_model: Checkpoint,
    held_out_reward_model: Checkpoint,
    options: Options,
    workplace: Workplace,
) -> tuple[list[RewardVerdict], dict[str, Any]]:
    """Let both reward models score the pairs of static HHH; return verdicts and figures."""
    judges = find_judges(reward_model, held_out_reward_model, prompt_splits, options, workplace)
    rows = [
        {**row, "dialogue": end_dialogue(row["dialogue"], options.rules)}
        for row in build_hhh_answers(hhh_items)
    ]
    verdicts: list[RewardVerdict] = []
    figures: dict[str, Any] = {"models": {}}
    names = ("reward_model", "held_out_reward_model")
    scored = score_by_all(judges, rows)
    for name, judge, (rewards, cost) in zip(names, judges, scored, strict=True):
        found, hhh = score_hhh_rewards(hhh_items, rewards)
        verdicts += [
            RewardVerdict(**row, verdict_id=f"{name}/{row['item_id']}", model=name) for row in found
        ]
        figures[name] = {"hhh": hhh, "cost": cost}
        figures["models"][name] = {"fingerprint": judge.model.fingerprint}
    return verdicts, figures
