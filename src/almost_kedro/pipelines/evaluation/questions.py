"""The node that lets all models answer the open questions (rule 28)."""

from __future__ import annotations

from typing import Any

from almost_kedro.contract import row_id
from almost_kedro.evaluation.statistics import estimate_mean
from almost_kedro.feedback.responses import build_question, extract_answer, response_sampling
from almost_kedro.jobs.policies import leave_out, let_answer, list_policies, name_models
from almost_kedro.models.checkpoints import Checkpoint
from almost_kedro.options.all import Options
from almost_kedro.processes.workplace import Workplace
from almost_kedro.rows.evaluation import OpenAnswer, OpenItem
from almost_kedro.rows.feedback import Assistant
from almost_kedro.rows.training import PromptSplit


def answer_questions(
    open_questions: list[OpenItem],
    prompt_splits: list[PromptSplit],
    assistants: list[Assistant],
    options: Options,
    workplace: Workplace,
    **checkpoints: Checkpoint | None,
) -> tuple[list[OpenAnswer], dict[str, Any]]:
    """Let base model, best assistant and trained policies answer; return answers and figures."""
    policies = list_policies(checkpoints, prompt_splits, assistants, options, workplace)
    asked = options.evaluation
    sampling = response_sampling(asked, asked.max_new_tokens, options.rules, options.seed)
    # Under either rule set, rule 28's template has no space at the end.
    texts = [build_question(item["question"], "corrected") for item in open_questions]
    answers, costs = let_answer(
        "open questions", policies, texts, sampling, options.generation, workplace
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
                text=extract_answer(completion.text, completion.finish_reason, options.rules),
                finish_reason=completion.finish_reason,
                n_tokens=completion.n_tokens,
            )
            for item, (key, completion) in zip(open_questions, answers[policy.name], strict=True)
        ]
        rows += found
        figures[policy.name] = {
            "n": len(found),
            "length": estimate_mean([len(row["text"]) for row in found], items, options.seed),
            "share_cut_off": estimate_mean(
                [row["finish_reason"] == "length" for row in found], items, options.seed
            ),
        }
    return rows, figures
