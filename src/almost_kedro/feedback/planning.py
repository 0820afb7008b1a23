"""Checks before anything is generated: assistants, demonstrations, rubric and context length."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from almost_kedro.errors import UserError
from almost_kedro.feedback.comparisons import rank_rubric
from almost_kedro.feedback.ledger import Rules
from almost_kedro.feedback.prompts import SeedFile, build_prompt_request
from almost_kedro.feedback.responses import build_prefix, build_question, name_assistant
from almost_kedro.options import (
    ComparisonOptions,
    PromptGenerationOptions,
    ResponseGenerationOptions,
)
from almost_kedro.rows import Assistant

# Tokens of a text under a model's tokenizer; None if that can't be told here.
CountTokens = Callable[[str, str], int | None]


def plan_assistants(
    demonstrations: Mapping[str, Callable[[], str] | str],
    options: ResponseGenerationOptions,
    rules: Rules,
) -> list[Assistant]:
    """Make the assistants that the options describe (rules 8 and 13).

    Args:
        demonstrations: Demonstration files by name, as text or as what loads it.
        options: The assistants.
        rules: The rule set in force.

    Raises:
        UserError: A missing file, too few demonstrations, or an assistant described twice.
    """
    assistants: list[Assistant] = []
    for assistant in options.assistants:
        name = name_assistant(assistant)
        if any(other["name"] == name for other in assistants):
            raise UserError(
                f"option response_generation.assistants: {name} is described twice; keep one"
            )
        wanted = assistant.demonstrations
        if wanted not in demonstrations:
            there = ", ".join(sorted(demonstrations)) or "none"
            raise UserError(
                f"option response_generation.assistants: demonstrations {wanted!r} need the file "
                f"{wanted}_prompt.txt in assets_root; there are {there}"
            )
        source = demonstrations[wanted]
        text = source if isinstance(source, str) else source()
        assistants.append(
            Assistant(
                name=name,
                model=assistant.model,
                demonstrations=wanted,
                shots=assistant.shots,
                max_new_tokens=assistant.max_new_tokens or options.max_new_tokens,
                prefix=build_prefix(text, wanted, assistant.shots, rules),
            )
        )
    return assistants


def check_seeds(seeds: SeedFile, options: PromptGenerationOptions) -> None:
    """Refuse fewer seeds than a request shows.

    Raises:
        UserError: How many there are.
    """
    if len(seeds.prompts) < options.shots:
        raise UserError(
            f"seed_prompts: found {len(seeds.prompts)} seed prompts, but a request shows "
            f"prompt_generation.shots = {options.shots}; add seeds or lower it"
        )


def check_rubric(assistants: list[Assistant], options: ComparisonOptions) -> None:
    """Refuse a rubric that does not fit the assistants (see `rank_rubric`)."""
    rank_rubric(options.rubric, [assistant["name"] for assistant in assistants])


def check_context(
    seeds: SeedFile,
    assistants: list[Assistant],
    prompt_options: PromptGenerationOptions,
    rules: Rules,
    context: Mapping[str, int | None],
    count_tokens: CountTokens,
) -> None:
    """Refuse requests that can outgrow a model's context.

    Args:
        seeds: The seed file; its longest prompts stand for the worst request.
        assistants: The assistants.
        prompt_options: A prompt is at most as long as its token limit.
        rules: The rule set in force.
        context: Tokens that each model's positions reach.
        count_tokens: Counts a text's tokens under a model.

    Raises:
        UserError: Which request is too long for which model, and by how much.
    """
    longest = sorted(seeds.prompts, key=len)[-prompt_options.shots :]
    request = "".join(build_prompt_request(seeds.instruction, longest))
    needs = [
        (
            "prompt_generation",
            prompt_options.model,
            f"{prompt_options.shots} shots",
            count_tokens(prompt_options.model, request),
            prompt_options.max_new_tokens,
        )
    ]
    for assistant in assistants:
        text = assistant["prefix"] + build_question("", rules)
        tokens = count_tokens(assistant["model"], text)
        needs.append(
            (
                f"assistant {assistant['name']}",
                assistant["model"],
                f"{assistant['shots']} shots",
                None if tokens is None else tokens + prompt_options.max_new_tokens,
                assistant["max_new_tokens"],
            )
        )
    for what, model, shots, tokens, new in needs:
        limit = context[model]
        if tokens is not None and limit is not None and tokens + new > limit:
            raise UserError(
                f"{what}: {shots} and the prompt take up to {tokens} tokens, {new} more are to be "
                f"generated, but model {model!r} has a context of {limit}; use fewer shots, "
                "shorter demonstrations or a lower max_new_tokens"
            )
