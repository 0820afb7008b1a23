"""First node of `synthetic_feedback`: it needs no generated data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

from almost_kedro.contract import ModelFolder
from almost_kedro.feedback.decontamination import list_benchmark_texts
from almost_kedro.feedback.planning import (
    Demonstrations,
    check_answer_context,
    check_request_context,
    check_rubric,
    check_seeds,
    plan_assistants,
)
from almost_kedro.feedback.seeds import read_seed_file
from almost_kedro.feedback.wordpiece import choose_tokenizers
from almost_kedro.generation.engine import check_engine_installed
from almost_kedro.jobs.models import find_model
from almost_kedro.jobs.servers import warn_of_silent_servers
from almost_kedro.models.lengths import context_length, count_tokens
from almost_kedro.options.all import Options
from almost_kedro.pipelines.contamination import (
    list_demonstrations,
    list_overlaps,
    refuse_contaminated_demonstrations,
)
from almost_kedro.processes.workplace import Workplace
from almost_kedro.rows.feedback import Assistant


def check_feedback_inputs(
    seed_prompts: str,
    demonstrations: Demonstrations,
    options: Options,
    workplace: Workplace,
    **items: list[Any],
) -> dict[str, Any]:
    """Raise UserError for the first fault that would stop the pipeline, before it generates.

    Returns the plan: models with fingerprints, and the prefix tokens of assistants that generate.
    """
    seeds = read_seed_file(seed_prompts)
    check_seeds(seeds, options.prompt_generation)
    choose_tokenizers(options.rules, options.prompt_generation.wordpiece)
    assistants, folders = plan_responses(demonstrations, options, workplace)
    name = options.prompt_generation.model
    folders[name] = find_model(name, options, workplace, options.generation.engine)
    count = token_counter(folders)
    check_request_context(
        seeds, options.prompt_generation, context_length(folders[name].folder), count
    )
    answering = [assistant for assistant in assistants if not assistant["off_topic"]]
    for assistant in answering:
        limit = context_length(folders[assistant["model"]].folder)
        check_answer_context(assistant, options.prompt_generation.max_new_tokens, limit, count)
    # Includes demonstrations that no assistant uses.
    shown = list_demonstrations(demonstrations)
    if options.evaluation.drop_contaminated:
        texts = list_benchmark_texts(list(chain(*items.values())))
        refuse_contaminated_demonstrations(list_overlaps(shown, texts))
    warn_of_silent_servers(list(folders), options.generation, workplace.keys)
    return {
        "models": {name: model.model_dump(mode="json") for name, model in folders.items()},
        "prompt_model": name,
        "n_seeds": len(seeds.prompts),
        "assistants": {
            assistant["name"]: {"prefix_tokens": count(assistant["model"], assistant["prefix"])}
            for assistant in answering
        },
    }


def plan_responses(
    demonstrations: Demonstrations,
    options: Options,
    workplace: Workplace,
) -> tuple[list[Assistant], dict[str, ModelFolder]]:
    """Make the assistants and find their models; raise UserError before anything is generated."""
    check_engine_installed(options.generation.engine)
    assistants = plan_assistants(demonstrations, options.response_generation, options.rules)
    check_rubric(assistants, options.comparisons)
    names = dict.fromkeys(assistant["model"] for assistant in assistants)
    engine = options.generation.engine
    return assistants, {name: find_model(name, options, workplace, engine) for name in names}


def token_counter(folders: Mapping[str, ModelFolder]) -> Callable[[str, str], int | None]:
    """Return a function that counts a text's tokens, given a model's name and the text."""

    def count(model: str, text: str) -> int | None:
        return count_tokens(folders[model].folder, text)

    return count
