"""The models that are evaluated, and nodes that let them answer static HHH and MC1."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from almost_kedro.checkpoints import Checkpoint, as_model, check_same_base, check_same_data
from almost_kedro.evaluation.benchmarks import ChoiceItem, PairItem
from almost_kedro.evaluation.hhh import (
    build_hhh_answers,
    build_hhh_requests,
    score_hhh,
    score_hhh_rewards,
)
from almost_kedro.evaluation.truthfulqa import Preset, build_mc1_requests, score_mc1
from almost_kedro.evaluation_options import EvaluationOptions
from almost_kedro.evaluation_rows import HHHVerdict, MC1Verdict, RewardVerdict
from almost_kedro.feedback.responses import end_dialogue
from almost_kedro.feedback.splits import digest_splits
from almost_kedro.generation.likelihood_client import compute_all_logprobs
from almost_kedro.generation.likelihood_job import Likelihood, LikelihoodJob
from almost_kedro.models import resolve_model
from almost_kedro.options import ComparisonOptions, GenerationOptions, Models, Rules
from almost_kedro.rows import Assistant
from almost_kedro.training.client import score_by_all
from almost_kedro.training_options import LaunchOptions, RewardModelOptions, SFTOptions
from almost_kedro.training_rows import PromptSplit

from ..early_checks import find_best_assistant
from ..rl.nodes import SFT_REMEDY
from ..rmsp_sft.nodes import check_judge
from ..rmsp_sft.policy_test import Policy, checkpoint_policy, make_judges, name_models

RL_REMEDY = "run `kedro run --pipeline rl` with these options first"


def list_policies(
    sft_policy: Checkpoint,
    rl_policy: Checkpoint,
    prompt_splits: list[PromptSplit],
    assistants: list[Assistant],
    models: Models,
    comparisons: ComparisonOptions,
    sft: SFTOptions,
    model_store: Path,
) -> list[Policy]:
    """Return base model, best assistant ("prompted"), SFT policy and RL policy.

    Raises:
        UserError: If one was not trained from the one before, or with other prompt splits.
    """
    base = resolve_model(sft.model, models.root, model_store)
    digest = digest_splits(prompt_splits)
    check_same_base(sft_policy, base, SFT_REMEDY)
    check_same_data(sft_policy, "prompt_splits", digest, SFT_REMEDY)
    check_same_base(rl_policy, as_model(sft_policy, base.bos), RL_REMEDY)
    check_same_data(rl_policy, "prompt_splits", digest, RL_REMEDY)
    best = find_best_assistant(assistants, comparisons)
    prompted = resolve_model(best["model"], models.root, model_store)
    return [
        Policy("base", base),
        Policy("prompted", prompted, best["prefix"]),
        checkpoint_policy("sft", sft_policy, base.bos),
        checkpoint_policy("rl", rl_policy, base.bos),
    ]


def evaluate_policies(
    hhh_items: list[PairItem],
    mc1_items: list[ChoiceItem],
    mc1_preset: Preset,
    prompt_splits: list[PromptSplit],
    assistants: list[Assistant],
    sft_policy: Checkpoint,
    rl_policy: Checkpoint,
    models: Models,
    generation: GenerationOptions,
    comparisons: ComparisonOptions,
    sft: SFTOptions,
    evaluation: EvaluationOptions,
    model_store: Path,
    evaluation_work: Path,
) -> tuple[list[HHHVerdict], list[MC1Verdict], dict[str, Any]]:
    """Let base model, best assistant, SFT and RL policy answer static HHH in both orders, and MC1.

    The assistant sees its demonstrations before each question.

    Returns:
        Verdicts on pairs and on questions, and each model's figures.
    """
    pairs: list[HHHVerdict] = []
    questions: list[MC1Verdict] = []
    requests = [
        *build_hhh_requests(hhh_items),
        *build_mc1_requests(mc1_items, evaluation.mc1_form, mc1_preset["text"]),
    ]
    policies = list_policies(
        sft_policy, rl_policy, prompt_splits, assistants, models, comparisons, sft, model_store
    )
    figures: dict[str, Any] = {"models": name_models(policies)}
    asked = [
        (
            LikelihoodJob(model=policy.model, dtype=generation.dtype, out=evaluation_work),
            [
                Likelihood(**{**row, "prefix": policy.prefix + row.get("prefix", "")})
                for row in requests
            ],
        )
        for policy in policies
    ]
    for policy, (answers, cost) in zip(policies, compute_all_logprobs(asked), strict=True):
        logprobs = {id_: answer["logprob"] for id_, answer in answers.items()}
        hhh_rows, hhh = score_hhh(hhh_items, logprobs, evaluation.scoring)
        mc1_rows, mc1 = score_mc1(mc1_items, logprobs, evaluation.scoring)
        figures[policy.name] = {"hhh": hhh, "mc1": mc1, "cost": cost}
        pairs += [
            HHHVerdict(**row, verdict_id=f"{policy.name}/{row['item_id']}", model=policy.name)
            for row in hhh_rows
        ]
        questions += [
            MC1Verdict(**row, verdict_id=f"{policy.name}/{row['item_id']}", model=policy.name)
            for row in mc1_rows
        ]
    return pairs, questions, figures


def evaluate_reward_models(
    hhh_items: list[PairItem],
    prompt_splits: list[PromptSplit],
    reward_model_checkpoint: Checkpoint,
    held_out_reward_model_checkpoint: Checkpoint,
    models: Models,
    reward_model: RewardModelOptions,
    launch: LaunchOptions,
    rules: Rules,
    model_store: Path,
    training_work: Path,
) -> tuple[list[RewardVerdict], dict[str, Any]]:
    """Let both reward models score the pairs of static HHH; returns verdicts and figures."""
    checkpoints = (reward_model_checkpoint, held_out_reward_model_checkpoint)
    for checkpoint in checkpoints:
        check_judge(checkpoint, prompt_splits, models, reward_model, model_store)
    judges = make_judges(checkpoints, models, reward_model, launch, rules, training_work)
    rows = [
        {**row, "dialogue": end_dialogue(row["dialogue"], rules)}
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
