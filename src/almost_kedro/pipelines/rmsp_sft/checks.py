"""First node of `rmsp_sft`: it needs no generated data."""

from __future__ import annotations

from typing import Any

from almost_kedro.feedback.planning import (
    Demonstrations,
    build_user_prefix,
    check_answer_context,
    find_best_assistant,
    plan_assistants,
)
from almost_kedro.jobs.models import find_model, plan_model
from almost_kedro.models.lengths import context_length, count_tokens
from almost_kedro.options.all import Options
from almost_kedro.processes.workplace import Workplace
from almost_kedro.rows.feedback import Assistant


def check_sft_inputs(
    demonstrations: Demonstrations,
    options: Options,
    workplace: Workplace,
) -> dict[str, Any]:
    """Find the assistant that plays and the model to fine-tune.

    Returns them as the plan, with the demonstrations for the simulated user. Raises UserError if
    demonstrations are missing or too few, or if a context is too short.
    """
    prefix = build_user_prefix(demonstrations, options.self_play, options.rules)
    assistants = plan_assistants(demonstrations, options.response_generation, options.rules)
    best = find_best_assistant(assistants, options.comparisons)
    model = find_model(best["model"], options, workplace, options.generation.engine)

    def count(_: str, text: str) -> int | None:
        return count_tokens(model.folder, text)

    asked = options.prompt_generation.max_new_tokens
    earlier = (options.self_play.turns - 1) * (
        options.self_play.max_new_tokens + options.self_play.user_max_new_tokens
    )
    player: Assistant = {**best, "max_new_tokens": options.self_play.max_new_tokens}
    limit = context_length(model.folder)
    check_answer_context(player, asked + earlier, limit, count)
    user: Assistant = {
        **player,
        "name": "self_play.user",
        "shots": options.self_play.user_shots,
        "prefix": prefix,
        "max_new_tokens": options.self_play.user_max_new_tokens,
    }
    check_answer_context(user, asked + earlier + options.self_play.max_new_tokens, limit, count)
    plan = plan_model(
        options.sft.model, "policy", options.sft.max_length, "sft.max_length", options, workplace
    )
    return {"assistant": best["name"], "user_prefix": prefix, **plan}
