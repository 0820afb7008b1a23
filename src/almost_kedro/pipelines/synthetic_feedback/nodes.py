"""Nodes of `synthetic_feedback`: rows and options become a job, its folder becomes rows again."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from almost_kedro.charts import feedback as charts
from almost_kedro.charts.style import Plot
from almost_kedro.feedback import splits
from almost_kedro.feedback.comparisons import make_comparisons, summarise_comparisons
from almost_kedro.feedback.ledger import summarise_ledger
from almost_kedro.feedback.off_topic import answer_off_topic
from almost_kedro.feedback.planning import Demonstrations, check_answer_context
from almost_kedro.feedback.prompts import format_prompts_txt
from almost_kedro.feedback.responses import (
    align_responses,
    build_question,
    build_responses,
    response_sampling,
)
from almost_kedro.generation.job import PromptsTask, RequestGroup, ResponsesTask
from almost_kedro.jobs.generate import read_answers, run_worker
from almost_kedro.jobs.models import find_model
from almost_kedro.models.lengths import context_length
from almost_kedro.options.all import Options
from almost_kedro.options.evaluation import EvaluationOptions
from almost_kedro.options.feedback import ComparisonOptions
from almost_kedro.options.rules import Rules
from almost_kedro.options.training import PromptSplitOptions
from almost_kedro.pipelines.contamination import refuse_contaminated_demonstrations
from almost_kedro.pipelines.synthetic_feedback.checks import (
    plan_responses,
    token_counter,
)
from almost_kedro.processes.workplace import Workplace
from almost_kedro.rows.evaluation import ContaminationRow
from almost_kedro.rows.feedback import Assistant, Comparison, LedgerRow, Prompt, Response
from almost_kedro.rows.json_lines import read_rows, share_texts
from almost_kedro.rows.metrics import ComparisonsMetrics, ProgramMetrics
from almost_kedro.rows.training import PromptSplit


def write_prompts(
    feedback_plan: dict[str, Any],
    seed_prompts: str,
    options: Options,
    workplace: Workplace,
) -> tuple[list[Prompt], str, list[dict[str, Any]], list[LedgerRow], dict[str, Any]]:
    """Generate prompts from the seeds.

    `feedback_plan` is not read: the node only waits for the checks. Returns prompts, the same as
    the text of prompts.txt, requests, ledger and metrics.
    """
    name = options.prompt_generation.model
    model = find_model(name, options, workplace, options.generation.engine)
    task = PromptsTask(
        seed_file=seed_prompts,
        options=options.prompt_generation,
        rules=options.rules,
        seed=options.seed,
    )
    folder, cost = run_worker(
        "prompts", model, options.generation, task, workplace.generation, workplace.keys
    )
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
    prompt_splits_options: PromptSplitOptions,
    evaluation_options: EvaluationOptions,
    seed: int,
) -> list[PromptSplit]:
    """Give each prompt its split.

    With `drop_contaminated`, a prompt that repeats a benchmark item is used for nothing, and such a
    hand-written demonstration raises UserError (here only if the first check was skipped).
    """
    if not evaluation_options.drop_contaminated:
        return splits.split_prompts(prompts, prompt_splits_options, seed)
    refuse_contaminated_demonstrations(contamination)
    contaminated = {row["text_id"] for row in contamination}
    return splits.split_prompts(prompts, prompt_splits_options, seed, contaminated)


def write_responses(
    prompts: list[Prompt],
    prompt_splits: list[PromptSplit],
    demonstrations: Demonstrations,
    options: Options,
    workplace: Workplace,
) -> tuple[list[Assistant], list[Response], dict[str, list[str]], list[LedgerRow], dict[str, Any]]:
    """Let every assistant answer every prompt that comparisons need.

    Each model has one worker job for all its assistants. Off-topic assistants take the answers of
    others. The third output is the responses as lists aligned with the prompts.
    """
    assistants, folders = plan_responses(demonstrations, options, workplace)
    prompts = splits.select_prompts(prompts, prompt_splits, splits.ANSWERED)
    # Prompts may be a user's own, and this is the first node that reads them.
    count = token_counter(folders)
    longest = max((prompt["text"] for prompt in prompts), key=len, default="")
    answering = [assistant for assistant in assistants if not assistant["off_topic"]]
    for assistant in answering:
        limit = context_length(folders[assistant["model"]].folder)
        tokens = count(assistant["model"], longest) or 0
        check_answer_context(assistant, tokens, limit, count)
    questions = [build_question(prompt["text"], options.rules) for prompt in prompts]
    answers: dict[str, Path] = {}
    costs: dict[str, ProgramMetrics] = {}
    for name, model in folders.items():
        groups = [
            RequestGroup(
                name=assistant["name"],
                prefix=assistant["prefix"],
                sampling=response_sampling(
                    options.response_generation,
                    assistant["max_new_tokens"],
                    options.rules,
                    options.seed,
                ),
                texts=questions,
            )
            for assistant in answering
            if assistant["model"] == name
        ]
        folder, costs[name] = run_worker(
            "responses",
            model,
            options.generation,
            ResponsesTask(groups=groups),
            workplace.generation,
            workplace.keys,
        )
        answers |= {group.name: folder / f"answers_{i}.jsonl" for i, group in enumerate(groups)}
    responses: list[Response] = []
    ledger: list[LedgerRow] = []
    for assistant in answering:
        completions = read_answers(answers[assistant["name"]])
        rows, entries = build_responses(
            prompts,
            assistant,
            completions,
            options.rules,
            options.response_generation.max_repetition,
        )
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
    comparisons_options: ComparisonOptions,
    rules: Rules,
) -> tuple[list[Comparison], list[LedgerRow], ComparisonsMetrics]:
    """Pair the answers by the rubric; return comparisons, ledger and metrics."""
    prompts = splits.select_prompts(prompts, prompt_splits, splits.ANSWERED)
    rows, ledger = make_comparisons(
        prompts, responses, ledger_responses, assistants, comparisons_options, rules
    )
    metrics = {**summarise_ledger(ledger), **summarise_comparisons(rows, ledger)}
    return rows, ledger, cast(ComparisonsMetrics, metrics)


def draw_prompt_chart(prompts_metrics: dict[str, Any], ledger_prompts: list[LedgerRow]) -> Plot:
    """Draw what became of the requests for prompts."""
    start = prompts_metrics["n_requests"]
    return charts.draw_ledger_waterfall([("prompt requests", start, ledger_prompts, "prompts")])


def draw_feedback_charts(
    responses: list[Response],
    ledger_responses: list[LedgerRow],
    comparisons: list[Comparison],
    comparisons_metrics: ComparisonsMetrics,
    ledger_comparisons: list[LedgerRow],
) -> tuple[Plot, Plot, Plot]:
    """Draw the ledger waterfall, the lengths of the answers, and the comparisons by edge."""
    n_pairs = comparisons_metrics["n_candidates"]
    waterfall = charts.draw_ledger_waterfall(
        [
            ("responses", len(responses), ledger_responses, "usable responses"),
            ("pairs", n_pairs, ledger_comparisons, "comparisons"),
        ]
    )
    return waterfall, charts.draw_response_lengths(responses), charts.draw_comparisons(comparisons)
