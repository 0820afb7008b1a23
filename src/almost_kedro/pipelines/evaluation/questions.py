"""Nodes of pairwise judging (rule 28): models answer open questions, a reward model judges."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import mean
from typing import Any

from pydantic import SecretStr

from almost_kedro.checkpoints import Checkpoint
from almost_kedro.evaluation.benchmarks import OpenItem
from almost_kedro.evaluation.judge import votes_from_rewards
from almost_kedro.evaluation.judge_card import judge_card
from almost_kedro.evaluation_options import EvaluationOptions
from almost_kedro.evaluation_rows import JudgeVote, OpenAnswer
from almost_kedro.feedback.responses import STOPS, build_question, extract_answer
from almost_kedro.generation.engine import Sampling
from almost_kedro.options import ComparisonOptions, GenerationOptions, Models, Rules
from almost_kedro.rows import Assistant, row_id
from almost_kedro.training.client import score
from almost_kedro.training_options import LaunchOptions, RewardModelOptions, SFTOptions
from almost_kedro.training_rows import PromptSplit

from ..reward_model.nodes import make_score_job
from ..rmsp_sft.nodes import check_judge
from ..rmsp_sft.policy_test import let_answer, name_models
from .models import list_policies

# Whose wins are counted, and against whom.
PAIRS = (
    ("sft", "base"),
    ("rl", "sft"),
    ("rl", "base"),
    ("sft", "prompted"),
    ("rl", "prompted"),
    ("prompted", "base"),
)
JUDGE = "held-out reward model; it comes from the same synthetic rules"


def answer_questions(
    open_questions: list[OpenItem],
    prompt_splits: list[PromptSplit],
    assistants: list[Assistant],
    sft_policy: Checkpoint,
    rl_policy: Checkpoint,
    models: Models,
    generation: GenerationOptions,
    comparisons: ComparisonOptions,
    sft: SFTOptions,
    evaluation: EvaluationOptions,
    rules: Rules,
    seed: int,
    model_store: Path,
    server_keys: Mapping[str, SecretStr],
    generation_work: Path,
) -> tuple[list[OpenAnswer], dict[str, Any]]:
    """Let base model, best assistant, SFT and RL policy answer the open questions.

    Returns:
        Their answers, and what they are like.
    """
    policies = list_policies(
        sft_policy, rl_policy, prompt_splits, assistants, models, comparisons, sft, model_store
    )
    sampling = Sampling(
        evaluation.temperature,
        evaluation.top_p,
        evaluation.max_new_tokens,
        STOPS if rules == "corrected" else (),
        seed,
    )
    # Rule 28's template has no space at the end, whatever the rules.
    texts = [build_question(item["question"], "corrected") for item in open_questions]
    answers, costs = let_answer(
        "open questions", policies, texts, sampling, generation, generation_work, server_keys
    )
    rows: list[OpenAnswer] = []
    figures: dict[str, Any] = {"models": name_models(policies), "cost": costs}
    for policy in policies:
        found = [
            OpenAnswer(
                answer_id=row_id("open_answer", key, item["item_id"], policy.name),
                item_id=item["item_id"],
                policy=policy.name,
                text=extract_answer(completion.text, completion.finish_reason, rules),
                finish_reason=completion.finish_reason,
                n_tokens=completion.n_tokens,
            )
            for item, (key, completion) in zip(open_questions, answers[policy.name], strict=True)
        ]
        rows += found
        figures[policy.name] = {
            "n": len(found),
            "length": round(mean(len(row["text"]) for row in found), 1),
            "share_cut_off": mean(row["finish_reason"] == "length" for row in found),
        }
    return rows, figures


def judge_answers(
    open_questions: list[OpenItem],
    open_answers: list[OpenAnswer],
    prompt_splits: list[PromptSplit],
    held_out_reward_model_checkpoint: Checkpoint,
    models: Models,
    reward_model: RewardModelOptions,
    launch: LaunchOptions,
    rules: Rules,
    seed: int,
    model_store: Path,
    training_work: Path,
) -> tuple[list[JudgeVote], dict[str, Any]]:
    """Let the held-out reward model compare the answers of each pair of models.

    Returns:
        Votes, and a judge card a pair.
    """
    judge = held_out_reward_model_checkpoint
    check_judge(judge, prompt_splits, models, reward_model, model_store)
    bos = models.root[reward_model.model].bos
    job = make_score_job(judge, bos, reward_model, launch, rules, training_work)
    asked = {item["item_id"]: build_question(item["question"], rules) for item in open_questions}
    found, cost = score(
        job,
        [
            {"id": row["answer_id"], "dialogue": asked[row["item_id"]], "answer": row["text"]}
            for row in open_answers
        ],
    )
    ids: dict[str, dict[str, str]] = {}
    texts: dict[str, dict[str, str]] = {}
    for row in open_answers:
        ids.setdefault(row["policy"], {})[row["item_id"]] = row["answer_id"]
        texts.setdefault(row["policy"], {})[row["item_id"]] = row["text"]
    rewards = {
        model: {item: found[answer] for item, answer in answers.items()}
        for model, answers in ids.items()
    }
    votes: list[JudgeVote] = []
    cards = {}
    for a, b in PAIRS:
        pair = votes_from_rewards(a, b, rewards)
        cards[f"{a}-vs-{b}"] = judge_card(pair, texts, seed)
        votes += [
            JudgeVote(
                **vote,
                vote_id=f"{a}-vs-{b}/{vote['item_id']}/{vote['order']}",
                answer_a=ids[a][vote["item_id"]],
                answer_b=ids[b][vote["item_id"]],
            )
            for vote in pair
        ]
    return votes, {
        "judge": JUDGE,
        "fingerprint": judge.manifest["fingerprint"],
        "cards": cards,
        "cost": cost,
    }
