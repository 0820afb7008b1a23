"""First node of `evaluation`: it needs no generated data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from almost_kedro.feedback.planning import (
    Demonstrations,
    check_answer_context,
    find_best_assistant,
    plan_assistants,
)
from almost_kedro.jobs.models import find_model
from almost_kedro.jobs.servers import warn_of_silent_servers
from almost_kedro.models.lengths import context_length, count_tokens
from almost_kedro.options.all import Options
from almost_kedro.options.evaluation import HELD_OUT
from almost_kedro.processes.workplace import Workplace
from almost_kedro.rows.evaluation import OpenItem
from almost_kedro.rows.feedback import Assistant


def check_evaluation_inputs(
    open_questions: list[OpenItem],
    demonstrations: Demonstrations,
    options: Options,
    workplace: Workplace,
) -> dict[str, Any]:
    """Check that questions and answers fit into the contexts, and that the judge is there.

    Returns the plan: the models that answer, and the judge. Raises UserError if something does not
    fit, or if a server of the judge lacks its key or refuses it.
    """
    if options.evaluation.judge != HELD_OUT:
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
