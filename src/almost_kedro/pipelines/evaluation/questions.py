"""The node that lets all models answer the open questions (rule 28)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from almost_kedro.checkpoints import Checkpoint
from almost_kedro.evaluation.benchmarks import OpenItem
from almost_kedro.evaluation.statistics import estimate_mean
from almost_kedro.evaluation_options import EvaluationOptions
from almost_kedro.evaluation_rows import OpenAnswer
from almost_kedro.feedback.responses import STOPS, build_question, extract_answer
from almost_kedro.generation.engine import Sampling
from almost_kedro.options import ComparisonOptions, GenerationOptions, Models, Rules
from almost_kedro.rows import Assistant, row_id
from almost_kedro.training_options import SFTOptions
from almost_kedro.training_rows import PromptSplit

from ..rmsp_sft.policy_test import leave_out, let_answer, name_models
from .models import list_policies


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
    open_questions, answers = leave_out("open questions", open_questions, answers)
    items = [item["item_id"] for item in open_questions]
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
            "length": estimate_mean([len(row["text"]) for row in found], items, seed),
            "share_cut_off": estimate_mean(
                [row["finish_reason"] == "length" for row in found], items, seed
            ),
        }
    return rows, figures
