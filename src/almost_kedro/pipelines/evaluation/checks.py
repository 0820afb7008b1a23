"""First node of `evaluation`: it needs no generated data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from almost_kedro.errors import UserError
from almost_kedro.evaluation.letter_judge import build_letter_prompt, list_pair_cases
from almost_kedro.feedback.planning import (
    Demonstrations,
    check_answer_context,
    find_best_assistant,
    plan_assistants,
)
from almost_kedro.jobs.models import find_letter_judge, find_model
from almost_kedro.jobs.servers import warn_of_silent_servers
from almost_kedro.models.lengths import context_length, count_tokens
from almost_kedro.options.all import Options
from almost_kedro.processes.workplace import Workplace
from almost_kedro.rows.evaluation import OpenItem, PairItem
from almost_kedro.rows.feedback import Assistant


def check_evaluation_inputs(
    open_questions: list[OpenItem],
    hhh_items: list[PairItem],
    demonstrations: Demonstrations,
    options: Options,
    workplace: Workplace,
) -> dict[str, Any]:
    """Check that questions and answers fit into the contexts, and that the judge is there.

    Returns the plan: the models that answer, and the judge. Raises UserError if something does not
    fit, or if a server of the judge lacks its key or refuses it.
    """
    if options.judge_kind == "letters":
        check_letter_judge(open_questions, hhh_items, options, workplace)
    if options.judge_kind == "reviews":
        find_model(options.evaluation.judge, options, workplace)
        warn_of_silent_servers(
            [options.evaluation.judge], options.generation.on_servers(), workplace.keys
        )
    plans: dict[str, Any] = {}
    best = find_best_assistant(
        plan_assistants(demonstrations, options.response_generation, options.rules),
        options.comparisons,
    )
    bare: Assistant = {**best, "name": "base", "model": options.sft.model, "shots": 0, "prefix": ""}
    for assistant in (best, bare):
        model = find_model(assistant["model"], options, workplace)

        def count(_: str, text: str, folder: Path | None = model.folder) -> int | None:
            return count_tokens(folder, text)

        longest = max(count("", item["question"]) or 0 for item in open_questions)
        asked: Assistant = {**assistant, "max_new_tokens": options.evaluation.max_new_tokens}
        check_answer_context(asked, longest, context_length(model.folder), count)
        plans[assistant["model"]] = model.model_dump(mode="json")
    return {"assistant": best["name"], "models": plans, "judge": options.evaluation.judge}


def check_letter_judge(
    open_questions: list[OpenItem],
    hhh_items: list[PairItem],
    options: Options,
    workplace: Workplace,
) -> None:
    """Raise UserError if the judge is missing, knows no letters or can't read two answers.

    It must read whole pairs of static HHH, too, which say what its word is worth. A chat template's
    own tokens are not counted here.
    """
    name, most = options.evaluation.judge, options.evaluation.max_new_tokens
    folder = find_letter_judge(name, options, workplace).folder
    limit = context_length(folder)
    asked = [build_letter_prompt(item["question"], "", "") for item in open_questions]
    longest = max(count_tokens(folder, text) or 0 for text in asked)
    if limit and longest + 2 * most > limit:
        raise UserError(
            f"option evaluation.judge: a question and two answers of evaluation.max_new_tokens = "
            f"{most} take up to {longest + 2 * most} tokens, but model {name!r} has a context of "
            f"{limit}; lower evaluation.max_new_tokens, or name another judge"
        )
    pairs = {case.item_id: case.prompt for case in list_pair_cases(hhh_items)}
    for item, prompt in pairs.items():
        if limit and (found := count_tokens(folder, prompt) or 0) > limit:
            raise UserError(
                f"option evaluation.judge: item {item} of static HHH takes {found} tokens with "
                f"both answers, but model {name!r} has a context of {limit}; name another judge, "
                "or other items (evaluation.hhh)"
            )
