"""Checks before anything is generated: assistants, demonstrations, rubric and context length."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from almost_kedro.errors import UserError
from almost_kedro.feedback.comparisons import rank_rubric
from almost_kedro.feedback.off_topic import OFF_TOPIC
from almost_kedro.feedback.prompts import build_prompt_request
from almost_kedro.feedback.responses import build_prefix, build_question, name_assistant
from almost_kedro.feedback.seeds import SeedFile
from almost_kedro.options.feedback import (
    AssistantOptions,
    ComparisonOptions,
    PromptGenerationOptions,
    ResponseGenerationOptions,
)
from almost_kedro.options.rules import Rules
from almost_kedro.options.training import SelfPlayOptions
from almost_kedro.rows.feedback import Assistant

# Takes a model and a text, returns the number of tokens; None if it can't be told here.
CountTokens = Callable[[str, str], int | None]


# Files of demonstrations by name, as the catalog has them: each is loaded when it is asked for.
Demonstrations = Mapping[str, Callable[[], str]]


def build_user_prefix(
    demonstrations: Mapping[str, Callable[[], str] | str], options: SelfPlayOptions, rules: Rules
) -> str:
    """Return the demonstrations that the simulated user of self-play sees.

    `demonstrations` as in `plan_assistants`. Raises UserError if they are missing or too few.
    """
    wanted = options.user_demonstrations
    if wanted not in demonstrations:
        raise UserError(
            f"option self_play.user_demonstrations: {wanted!r} needs the file {wanted}_prompt.txt "
            f"in assets_root; there are {', '.join(sorted(demonstrations))}"
        )
    text = load_text(demonstrations[wanted])
    return build_prefix(text, wanted, options.user_shots, rules)


def load_text(demonstration: Callable[[], str] | str) -> str:
    """Return a file of demonstrations as text."""
    return demonstration if isinstance(demonstration, str) else demonstration()


def plan_assistants(
    demonstrations: Mapping[str, Callable[[], str] | str],
    options: ResponseGenerationOptions,
    rules: Rules,
) -> list[Assistant]:
    """Make the assistants that the options describe (rules 8 and 13).

    `demonstrations` are files by name, as text or as a function that loads it. Raises UserError for
    a missing file, too few demonstrations, an assistant described twice, or an off-topic one
    without its source.
    """
    assistants: list[Assistant] = []
    for assistant in options.assistants:
        name = name_assistant(assistant)
        if any(other["name"] == name for other in assistants):
            raise UserError(
                f"option response_generation.assistants: {name} is described twice; keep one"
            )
        source = find_source(assistant, options.assistants)
        assistants.append(
            Assistant(
                name=name,
                model=assistant.model,
                demonstrations=assistant.demonstrations or "",
                shots=assistant.shots,
                max_new_tokens=source.max_new_tokens or options.max_new_tokens,
                prefix=_build_assistant_prefix(assistant, demonstrations, rules),
                off_topic=assistant.off_topic,
            )
        )
    return assistants


def _build_assistant_prefix(
    assistant: AssistantOptions,
    demonstrations: Mapping[str, Callable[[], str] | str],
    rules: Rules,
) -> str:
    wanted = assistant.demonstrations
    if wanted is None:
        return ""
    if wanted not in demonstrations:
        there = ", ".join(sorted(demonstrations)) or "none"
        raise UserError(
            f"option response_generation.assistants: demonstrations {wanted!r} need the file "
            f"{wanted}_prompt.txt in assets_root; there are {there}"
        )
    return build_prefix(load_text(demonstrations[wanted]), wanted, assistant.shots, rules)


def find_source(
    assistant: AssistantOptions, listed: Sequence[AssistantOptions]
) -> AssistantOptions:
    """Return the assistant that generates the answers: itself, or its on-topic counterpart.

    Raises UserError if an off-topic assistant has no counterpart in the list.
    """
    wanted = (assistant.model, assistant.demonstrations, assistant.shots)
    for other in listed:
        if not other.off_topic and (other.model, other.demonstrations, other.shots) == wanted:
            return other
    name = name_assistant(assistant)
    raise UserError(
        f"option response_generation.assistants: {name} exchanges the answers of "
        f"{name.removesuffix(OFF_TOPIC)}, which is not in the list; add it, or leave {name} out"
    )


def check_seeds(seeds: SeedFile, options: PromptGenerationOptions) -> None:
    """Raise UserError if there are fewer seeds than a request shows."""
    if len(seeds.prompts) < options.shots:
        raise UserError(
            f"seed_prompts: found {len(seeds.prompts)} seed prompts, but a request shows "
            f"prompt_generation.shots = {options.shots}; add seeds or lower it"
        )


def check_rubric(assistants: list[Assistant], options: ComparisonOptions) -> None:
    """Refuse a rubric that does not fit the assistants (see `rank_rubric`)."""
    rank_rubric(options.rubric, assistants)


def check_request_context(
    seeds: SeedFile,
    options: PromptGenerationOptions,
    limit: int | None,
    count_tokens: CountTokens,
) -> None:
    """Raise UserError if requests for prompts can outgrow the model's context.

    A shot is a seed or an accepted prompt, so each may be as long as a prompt's token limit.
    `limit` is the number of tokens that the model's positions reach; None if unknown.
    """
    longest = sorted(seeds.prompts, key=len)[-options.shots :]
    tokens = count_tokens(options.model, "".join(build_prompt_request(seeds.instruction, longest)))
    bare = count_tokens(options.model, "".join(build_prompt_request(seeds.instruction, [])))
    label = count_tokens(options.model, "\nQuery: ")
    if tokens is None or bare is None or label is None:
        return
    grown = bare + options.shots * (options.max_new_tokens + label)
    needed = max(tokens, grown)
    _check_fits(
        "prompt_generation", options.model, options.shots, needed, options.max_new_tokens, limit
    )


def check_answer_context(
    assistant: Assistant, prompt_tokens: int, limit: int | None, count_tokens: CountTokens
) -> None:
    """Raise UserError if an assistant's requests can outgrow its model's context.

    Args:
        prompt_tokens: Tokens of the longest prompt.
        limit: Tokens that the model's positions reach; None if unknown.
    """
    # The original's question is longer by a space.
    frame = assistant["prefix"] + build_question("", "original")
    tokens = count_tokens(assistant["model"], frame)
    if tokens is not None:
        needed = tokens + prompt_tokens
        new = assistant["max_new_tokens"]
        name = f"assistant {assistant['name']}"
        _check_fits(name, assistant["model"], assistant["shots"], needed, new, limit)


def _check_fits(
    what: str, model: str, shots: int, tokens: int, new: int, limit: int | None
) -> None:
    # One token more for the bos.
    if limit is not None and tokens + 1 + new > limit:
        texts = "seeds" if what == "prompt_generation" else "demonstrations"
        fewer = f"fewer shots, shorter {texts} or " if shots else ""
        raise UserError(
            f"{what}: {shots} shots and the prompt take up to {tokens} tokens, {new} more are to "
            f"be generated, but model {model!r} has a context of {limit}; use {fewer}a lower "
            "max_new_tokens"
        )


def find_best_assistant(assistants: list[Assistant], options: ComparisonOptions) -> Assistant:
    """Return the assistant that the rubric ranks first; of a tie, the first named."""
    ranks = rank_rubric(options.rubric, assistants)
    return min(
        (assistant for assistant in assistants if assistant["name"] in ranks),
        key=lambda assistant: ranks[assistant["name"]],
    )
