"""First nodes of the pipelines: they need nothing that is made, so they run before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from almost_kedro.errors import UserError
from almost_kedro.evaluation.benchmarks import OpenItem
from almost_kedro.evaluation_options import HELD_OUT, EvaluationOptions
from almost_kedro.feedback.comparisons import rank_rubric
from almost_kedro.feedback.planning import check_answer_context, plan_assistants
from almost_kedro.feedback.responses import build_prefix
from almost_kedro.model_checks.job import Use
from almost_kedro.models import context_length, count_tokens, resolve_model
from almost_kedro.options import (
    ComparisonOptions,
    GenerationOptions,
    Models,
    PromptGenerationOptions,
    ResponseGenerationOptions,
    Rules,
)
from almost_kedro.rows import Assistant
from almost_kedro.training_options import (
    RewardModelOptions,
    RLOptions,
    SelfPlayOptions,
    SFTOptions,
)

from .synthetic_feedback.nodes import warn_of_silent_servers


def check_reward_inputs(
    models: Models, reward_model: RewardModelOptions, model_store: Path
) -> dict[str, Any]:
    """Find the model that reward models start from.

    Returns:
        The plan: the model with its fingerprint.

    Raises:
        UserError: If it is not here, or its context is too short.
    """
    name, length = reward_model.model, reward_model.max_length
    return _plan_model(name, models, model_store, length, "reward_model.max_length", "reward")


def check_sft_inputs(
    demonstrations: Mapping[str, Callable[[], str]],
    models: Models,
    generation: GenerationOptions,
    prompt_generation: PromptGenerationOptions,
    response_generation: ResponseGenerationOptions,
    comparisons: ComparisonOptions,
    self_play: SelfPlayOptions,
    sft: SFTOptions,
    rules: Rules,
    model_store: Path,
) -> dict[str, Any]:
    """Find who plays and what is fine-tuned.

    Returns:
        The plan: the assistant that plays, what is shown to the simulated user, and the model that
        is fine-tuned.

    Raises:
        UserError: Demonstrations that are missing or too few, or a context that is too short.
    """
    wanted = self_play.user_demonstrations
    if wanted not in demonstrations:
        raise UserError(
            f"option self_play.user_demonstrations: {wanted!r} needs the file {wanted}_prompt.txt "
            f"in assets_root; there are {', '.join(sorted(demonstrations))}"
        )
    prefix = build_prefix(demonstrations[wanted](), wanted, self_play.user_shots, rules)
    assistants = plan_assistants(demonstrations, response_generation, rules)
    best = find_best_assistant(assistants, comparisons)
    model = resolve_model(best["model"], models.root, model_store, generation.engine)

    def count(_: str, text: str) -> int | None:
        return count_tokens(model.folder, text)

    asked = prompt_generation.max_new_tokens
    earlier = (self_play.turns - 1) * (self_play.max_new_tokens + self_play.user_max_new_tokens)
    player: Assistant = {**best, "max_new_tokens": self_play.max_new_tokens}
    limit = context_length(model.folder)
    check_answer_context(player, asked + earlier, limit, count)
    user: Assistant = {
        **player,
        "name": "self_play.user",
        "shots": self_play.user_shots,
        "prefix": prefix,
        "max_new_tokens": self_play.user_max_new_tokens,
    }
    check_answer_context(user, asked + earlier + self_play.max_new_tokens, limit, count)
    plan = _plan_model(sft.model, models, model_store, sft.max_length, "sft.max_length", "policy")
    return {"assistant": best["name"], "user_prefix": prefix, **plan}


def check_rl_inputs(
    models: Models, sft: SFTOptions, rl: RLOptions, model_store: Path
) -> dict[str, Any]:
    """Find out whether prompts and answers fit into the policy's context.

    Returns:
        The plan: the model that the policy comes from.

    Raises:
        UserError: If they don't.
    """
    length = rl.max_length + rl.max_new_tokens
    option = "rl.max_length + rl.max_new_tokens"
    return _plan_model(sft.model, models, model_store, length, option, "policy")


def check_evaluation_inputs(
    open_questions: list[OpenItem],
    demonstrations: Mapping[str, Callable[[], str]],
    models: Models,
    generation: GenerationOptions,
    response_generation: ResponseGenerationOptions,
    comparisons: ComparisonOptions,
    evaluation: EvaluationOptions,
    sft: SFTOptions,
    rules: Rules,
    model_store: Path,
    server_keys: Mapping[str, SecretStr],
) -> dict[str, Any]:
    """Find out whether questions and answers fit into the contexts, and whether the judge is there.

    Returns:
        The plan: the models that answer, and the judge.

    Raises:
        UserError: If they don't fit; or if a server of the judge lacks its key, or refuses it.
    """
    if evaluation.judge != HELD_OUT:
        resolve_model(evaluation.judge, models.root, model_store)
        warn_of_silent_servers([evaluation.judge], generation.on_servers(), server_keys)
    plans: dict[str, Any] = {}
    best = find_best_assistant(
        plan_assistants(demonstrations, response_generation, rules), comparisons
    )
    bare: Assistant = {**best, "name": "base", "model": sft.model, "shots": 0, "prefix": ""}
    for assistant in (best, bare):
        model = resolve_model(assistant["model"], models.root, model_store)

        def count(_: str, text: str, folder: Path | None = model.folder) -> int | None:
            return count_tokens(folder, text)

        longest = max(count("", item["question"]) or 0 for item in open_questions)
        asked: Assistant = {**assistant, "max_new_tokens": evaluation.max_new_tokens}
        check_answer_context(asked, longest, context_length(model.folder), count)
        plans[assistant["model"]] = model.model_dump(mode="json")
    return {"assistant": best["name"], "models": plans, "judge": evaluation.judge}


def find_best_assistant(assistants: list[Assistant], options: ComparisonOptions) -> Assistant:
    """Return the assistant that the rubric ranks first; of a tie, the first named."""
    ranks = rank_rubric(options.rubric, assistants)
    return min(
        (assistant for assistant in assistants if assistant["name"] in ranks),
        key=lambda assistant: ranks[assistant["name"]],
    )


def _plan_model(
    name: str, models: Models, model_store: Path, length: int, option: str, use: Use
) -> dict[str, Any]:
    model = resolve_model(name, models.root, model_store, use)
    limit = context_length(model.folder)
    if limit is not None and length > limit:
        raise UserError(
            f"option {option}: {length} tokens, but model {name!r} has a context of {limit}; "
            "lower it"
        )
    return {"models": {name: model.model_dump(mode="json")}}
