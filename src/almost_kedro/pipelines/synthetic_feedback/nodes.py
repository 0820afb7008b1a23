"""Nodes of `synthetic_feedback`: rows and options become a job, its folder becomes rows again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from almost_kedro.evaluation.benchmarks import ChoiceItem, OpenItem, PairItem
from almost_kedro.evaluation_options import EvaluationOptions
from almost_kedro.evaluation_rows import ContaminationRow
from almost_kedro.feedback import charts, splits
from almost_kedro.feedback.comparisons import make_comparisons, summarise_comparisons
from almost_kedro.feedback.decontamination import list_benchmark_texts
from almost_kedro.feedback.ledger import summarise_ledger
from almost_kedro.feedback.off_topic import answer_off_topic
from almost_kedro.feedback.planning import (
    check_answer_context,
    check_request_context,
    check_rubric,
    check_seeds,
    plan_assistants,
)
from almost_kedro.feedback.prompts import format_prompts_txt, read_seed_file
from almost_kedro.feedback.responses import (
    align_responses,
    build_question,
    build_responses,
    response_sampling,
)
from almost_kedro.generation.client import read_answers, reveal, run_worker
from almost_kedro.generation.engine import check_engine_installed
from almost_kedro.generation.job import ModelFolder, PromptsTask, RequestGroup, ResponsesTask
from almost_kedro.json_lines import read_rows
from almost_kedro.models import context_length, count_tokens, resolve_model
from almost_kedro.options import (
    ComparisonOptions,
    GenerationOptions,
    Models,
    PromptGenerationOptions,
    ResponseGenerationOptions,
    Rules,
)
from almost_kedro.rows import Assistant, Comparison, LedgerRow, Prompt, Response, share_texts
from almost_kedro.training_options import PromptSplitOptions
from almost_kedro.training_rows import PromptSplit
from almost_kedro.wordpiece import choose_tokenizers

from ..contamination import list_overlaps, list_shown, refuse_shown

logger = logging.getLogger(__name__)
Demonstrations = Mapping[str, Callable[[], str]]
ServerKeys = Mapping[str, SecretStr]


def check_feedback_inputs(
    seed_prompts: str,
    demonstrations: Demonstrations,
    hhh_items: list[PairItem],
    mc1_items: list[ChoiceItem],
    open_questions: list[OpenItem],
    models: Models,
    generation: GenerationOptions,
    prompt_generation: PromptGenerationOptions,
    response_generation: ResponseGenerationOptions,
    comparisons: ComparisonOptions,
    evaluation: EvaluationOptions,
    rules: Rules,
    model_store: Path,
    server_keys: ServerKeys,
) -> dict[str, Any]:
    """Find everything that would stop the pipeline, before anything is generated.

    Returns:
        The plan: models with their fingerprints, assistants that generate with their prefix's
        tokens.

    Raises:
        UserError: The first thing that is wrong.
    """
    seeds = read_seed_file(seed_prompts)
    check_seeds(seeds, prompt_generation)
    choose_tokenizers(rules, prompt_generation.wordpiece)
    assistants, folders = plan_responses(
        demonstrations, models, generation, response_generation, comparisons, rules, model_store
    )
    name = prompt_generation.model
    folders[name] = resolve_model(name, models.root, model_store, generation.engine)
    count = token_counter(folders)
    check_request_context(seeds, prompt_generation, context_length(folders[name].folder), count)
    answering = [assistant for assistant in assistants if not assistant["off_topic"]]
    for assistant in answering:
        limit = context_length(folders[assistant["model"]].folder)
        check_answer_context(assistant, prompt_generation.max_new_tokens, limit, count)
    # All of them are compared with the benchmarks, those that nobody is shown, too.
    shown = list_shown(demonstrations)
    if evaluation.drop_contaminated:
        items = list_benchmark_texts([*hhh_items, *mc1_items, *open_questions])
        refuse_shown(list_overlaps(shown, items))
    warn_of_silent_servers(list(folders), generation, server_keys)
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
    models: Models,
    generation: GenerationOptions,
    response_generation: ResponseGenerationOptions,
    comparisons: ComparisonOptions,
    rules: Rules,
    model_store: Path,
) -> tuple[list[Assistant], dict[str, ModelFolder]]:
    """Make the assistants and find their models; raises UserError before anything is generated."""
    check_engine_installed(generation.engine)
    assistants = plan_assistants(demonstrations, response_generation, rules)
    check_rubric(assistants, comparisons)
    names = dict.fromkeys(assistant["model"] for assistant in assistants)
    engine = generation.engine
    return assistants, {
        name: resolve_model(name, models.root, model_store, engine) for name in names
    }


def warn_of_silent_servers(
    models: list[str], generation: GenerationOptions, server_keys: ServerKeys
) -> None:
    """Ask the servers of the models whether they are ready; raises UserError if one never will."""
    if generation.engine == "openai":
        from almost_kedro.generation.servers import check_servers

        for line in check_servers(models, generation, reveal(server_keys)):
            logger.warning("%s; it is needed for what the request cache lacks", line)


def token_counter(folders: Mapping[str, ModelFolder]) -> Callable[[str, str], int | None]:
    """Return what counts a text's tokens under a model, by the model's name."""

    def count(model: str, text: str) -> int | None:
        return count_tokens(folders[model].folder, text)

    return count


def write_prompts(
    feedback_plan: dict[str, Any],
    seed_prompts: str,
    models: Models,
    generation: GenerationOptions,
    prompt_generation: PromptGenerationOptions,
    rules: Rules,
    seed: int,
    model_store: Path,
    server_keys: ServerKeys,
    generation_work: Path,
) -> tuple[list[Prompt], str, list[dict[str, Any]], list[LedgerRow], dict[str, Any]]:
    """Generate prompts from the seeds.

    Args:
        feedback_plan: Not read: it is there once everything is checked.
        seed_prompts: Text of the seed file.
        models: models.yml.
        generation: Engine.
        prompt_generation: How many prompts, from which model.
        rules: Rule set.
        seed: Start of the random streams.
        model_store: Folder of models.
        server_keys: API keys of servers, by name.
        generation_work: Folder of the request cache and the jobs.

    Returns:
        Prompts, the same as prompts.txt, requests, ledger and metrics.
    """
    name = prompt_generation.model
    model = resolve_model(name, models.root, model_store, generation.engine)
    task = PromptsTask(seed_file=seed_prompts, options=prompt_generation, rules=rules, seed=seed)
    folder, cost = run_worker("prompts", model, generation, task, generation_work, server_keys)
    rows: dict[str, list[Any]] = {
        name: list(share_texts(read_rows(folder / f"{name}.jsonl")))
        for name in ("prompts", "requests", "ledger")
    }
    metrics = {
        "n_requests": len(rows["requests"]),
        "n_prompts": len(rows["prompts"]),
        **summarise_ledger(rows["ledger"]),
        "worker": cost,
    }
    text = format_prompts_txt(rows["prompts"])
    return rows["prompts"], text, rows["requests"], rows["ledger"], metrics


def split_prompts(
    prompts: list[Prompt],
    contamination: list[ContaminationRow],
    prompt_splits: PromptSplitOptions,
    evaluation: EvaluationOptions,
    seed: int,
) -> list[PromptSplit]:
    """Say of each prompt what it is used for: nothing, by option, if it repeats a benchmark item.

    Raises:
        UserError: By the same option, if a hand-written demonstration does; only where the first
            check was skipped is that found here.
    """
    if not evaluation.drop_contaminated:
        return splits.split_prompts(prompts, prompt_splits, seed)
    refuse_shown(contamination)
    contaminated = {row["text_id"] for row in contamination}
    return splits.split_prompts(prompts, prompt_splits, seed, contaminated)


def write_responses(
    prompts: list[Prompt],
    prompt_splits: list[PromptSplit],
    demonstrations: Demonstrations,
    models: Models,
    generation: GenerationOptions,
    response_generation: ResponseGenerationOptions,
    comparisons: ComparisonOptions,
    rules: Rules,
    seed: int,
    model_store: Path,
    server_keys: ServerKeys,
    generation_work: Path,
) -> tuple[list[Assistant], list[Response], dict[str, list[str]], list[LedgerRow], dict[str, Any]]:
    """Let every assistant answer every prompt that comparisons are for.

    One worker job a model, with all its assistants. Those that are off topic take the answers of
    others.

    Returns:
        Assistants, responses, the same as lists aligned with the prompts, ledger and metrics.
    """
    assistants, folders = plan_responses(
        demonstrations, models, generation, response_generation, comparisons, rules, model_store
    )
    prompts = splits.select_prompts(prompts, prompt_splits, splits.ANSWERED)
    # Prompts may be a user's own: this is the first node that meets them.
    count = token_counter(folders)
    longest = max((prompt["text"] for prompt in prompts), key=len, default="")
    answering = [assistant for assistant in assistants if not assistant["off_topic"]]
    for assistant in answering:
        limit = context_length(folders[assistant["model"]].folder)
        tokens = count(assistant["model"], longest) or 0
        check_answer_context(assistant, tokens, limit, count)
    questions = [build_question(prompt["text"], rules) for prompt in prompts]
    answers: dict[str, Path] = {}
    costs: dict[str, Any] = {}
    for name, model in folders.items():
        groups = [
            RequestGroup(
                name=assistant["name"],
                prefix=assistant["prefix"],
                sampling=response_sampling(
                    response_generation, assistant["max_new_tokens"], rules, seed
                ),
                texts=questions,
            )
            for assistant in answering
            if assistant["model"] == name
        ]
        folder, costs[name] = run_worker(
            "responses",
            model,
            generation,
            ResponsesTask(groups=groups),
            generation_work,
            server_keys,
        )
        answers |= {group.name: folder / f"answers_{i}.jsonl" for i, group in enumerate(groups)}
    responses: list[Response] = []
    ledger: list[LedgerRow] = []
    for assistant in answering:
        completions = read_answers(answers[assistant["name"]])
        rows, entries = build_responses(prompts, assistant, completions, rules)
        responses += rows
        ledger += entries
    moved, moved_entries = answer_off_topic(assistants, responses, ledger, prompt_splits)
    responses += moved
    ledger += moved_entries
    metrics = {
        "n_responses": len(responses),
        "n_off_topic": len(moved),
        **summarise_ledger(ledger),
        "worker": costs,
    }
    return assistants, responses, align_responses(prompts, responses), ledger, metrics


def compare_responses(
    prompts: list[Prompt],
    prompt_splits: list[PromptSplit],
    responses: list[Response],
    ledger_responses: list[LedgerRow],
    assistants: list[Assistant],
    comparisons: ComparisonOptions,
    rules: Rules,
) -> tuple[list[Comparison], list[LedgerRow], dict[str, Any]]:
    """Pair the answers by the rubric; returns comparisons, ledger and metrics."""
    prompts = splits.select_prompts(prompts, prompt_splits, splits.ANSWERED)
    rows, ledger = make_comparisons(
        prompts, responses, ledger_responses, assistants, comparisons, rules
    )
    metrics = {**summarise_ledger(ledger), **summarise_comparisons(rows, ledger)}
    return rows, ledger, metrics


def draw_prompt_chart(
    prompts_metrics: dict[str, Any], ledger_prompts: list[LedgerRow]
) -> dict[str, Any]:
    """Draw what became of the requests for prompts."""
    start = prompts_metrics["n_requests"]
    return charts.draw_ledger_waterfall([("prompt requests", start, ledger_prompts, "prompts")])


def draw_feedback_charts(
    responses: list[Response],
    ledger_responses: list[LedgerRow],
    comparisons: list[Comparison],
    comparisons_metrics: dict[str, Any],
    ledger_comparisons: list[LedgerRow],
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Draw the ledger waterfall, the lengths of the answers, and the comparisons by edge."""
    n_pairs = comparisons_metrics["n_candidates"]
    waterfall = charts.draw_ledger_waterfall(
        [
            ("responses", len(responses), ledger_responses, "usable responses"),
            ("pairs", n_pairs, ledger_comparisons, "comparisons"),
        ]
    )
    return waterfall, charts.draw_response_lengths(responses), charts.draw_comparisons(comparisons)
