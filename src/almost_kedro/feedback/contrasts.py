"""Contrasts: two or more ways to answer, of which one is taken to be better, compared apart.

What a contrast teaches a reward model beyond the floors says whether it belongs into the rubric.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from almost_kedro.errors import UserError
from almost_kedro.feedback.comparisons import make_comparisons, rank_rubric
from almost_kedro.feedback.responses import usable_ids
from almost_kedro.options import ComparisonOptions, Rules
from almost_kedro.rows import Assistant, Comparison, LedgerRow, Prompt, Response, row_id
from almost_kedro.training_rows import PromptSplit

# The last of a contrast: the same assistant's answer to another prompt.
OFF_TOPIC = "off_topic"


def check_contrasts(
    contrasts: Mapping[str, Sequence[str]], assistants: Sequence[Assistant]
) -> None:
    """Refuse contrasts that name nobody who answers.

    Args:
        contrasts: Assistants, best first, by the contrast's name; the last may be `off_topic`.
        assistants: Who answers.

    Raises:
        UserError: If there is no contrast, or which one is wrong.
    """
    if not contrasts:
        raise UserError(
            "option contrasts: there are none; run with --env contrasts, or name some in "
            "conf/<env>/parameters.yml, such as {topic: [ASSISTANT, off_topic]}"
        )
    known = [assistant["name"] for assistant in assistants]
    for name, rubric in contrasts.items():
        if not re.fullmatch(r"\w+", name):
            raise UserError(f"option contrasts: the name {name!r} has more than letters, digits, _")
        if OFF_TOPIC in rubric[:1] or OFF_TOPIC in rubric[1:-1]:
            raise UserError(f"option contrasts.{name}: {OFF_TOPIC} is the last one or none")
        try:
            rank_rubric(rubric, [*known, OFF_TOPIC])
        except UserError as exc:
            raise UserError(f"option contrasts.{name}: {exc}") from None


def compare_contrast(
    rubric: Sequence[str],
    prompts: Sequence[Prompt],
    prompt_splits: Sequence[PromptSplit],
    responses: Sequence[Response],
    ledger_responses: Sequence[LedgerRow],
    assistants: Sequence[Assistant],
    options: ComparisonOptions,
    rules: Rules,
) -> list[Comparison]:
    """Make the comparisons of one contrast, by the rules of all comparisons (14 to 18).

    Args:
        rubric: Assistants, best first; the last may be `off_topic`.
        prompts: All that were answered.
        prompt_splits: Their splits; answers change places within one.
        responses: All answers.
        ledger_responses: Their ledger.
        assistants: Who answered.
        options: Pairs and length control; the rubric is replaced.
        rules: The rule set in force.
    """
    options = options.model_copy(update={"rubric": list(rubric)})
    if rubric[-1] == OFF_TOPIC:
        best = next(each for each in assistants if each["name"] == rubric[0])
        usable = usable_ids(responses, ledger_responses, rules)
        own = [row for row in responses if row["assistant"] == rubric[0]]
        moved = exchange([row for row in own if row["response_id"] in usable], prompt_splits)
        responses = [*responses, *moved]
        assistants = [*assistants, {**best, "name": OFF_TOPIC}]
    comparisons, _ = make_comparisons(
        prompts, responses, ledger_responses, assistants, options, rules
    )
    return comparisons


def exchange(
    responses: Sequence[Response], prompt_splits: Sequence[PromptSplit]
) -> Iterator[Response]:
    """Give each answer to the prompt whose own answer is next to it in length, and vice versa.

    So every text is once right and once off topic: nothing but the prompt tells which.

    Args:
        responses: One assistant's.
        prompt_splits: Answers stay within a split. Of an odd number, the longest one stays out.
    """
    splits = {row["prompt_id"]: row["split"] for row in prompt_splits}
    groups = defaultdict(list)
    for row in responses:
        groups[splits[row["prompt_id"]]].append(row)
    for rows in groups.values():
        rows.sort(key=lambda row: (len(row["text"]), row["response_id"]))
        for one, other in zip(rows[::2], rows[1::2], strict=False):
            for row, prompt_id in ((one, other["prompt_id"]), (other, one["prompt_id"])):
                yield {
                    **row,
                    "response_id": row_id(OFF_TOPIC, row["response_id"], prompt_id),
                    "prompt_id": prompt_id,
                    "assistant": OFF_TOPIC,
                }
