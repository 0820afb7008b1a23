"""Contrasts: two or more ways to answer, of which one is taken to be better, compared apart.

What a contrast teaches a reward model beyond the floors says whether it belongs into the rubric.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from almost_kedro.errors import UserError
from almost_kedro.feedback.comparisons import make_comparisons, rank_rubric
from almost_kedro.options import ComparisonOptions, Rules
from almost_kedro.rows import Assistant, Comparison, LedgerRow, Prompt, Response


def check_contrasts(
    contrasts: Mapping[str, Sequence[str]], assistants: Sequence[Assistant]
) -> None:
    """Refuse contrasts that are no rubrics of those who answer (see `rank_rubric`).

    Args:
        contrasts: Assistants, best first, by the contrast's name.
        assistants: Who answers.

    Raises:
        UserError: If there is no contrast, or which one is wrong.
    """
    if not contrasts:
        raise UserError(
            "option contrasts: there are none; run with --env contrasts, or name some in "
            "conf/<env>/parameters.yml, such as {topic: [ASSISTANT, ASSISTANT-off-topic]}"
        )
    for name, rubric in contrasts.items():
        if not re.fullmatch(r"\w+", name):
            raise UserError(f"option contrasts: the name {name!r} has more than letters, digits, _")
        try:
            rank_rubric(rubric, assistants)
        except UserError as exc:
            raise UserError(f"option contrasts.{name}: {exc}") from None


def compare_contrast(
    rubric: Sequence[str],
    prompts: Sequence[Prompt],
    responses: Sequence[Response],
    ledger_responses: Sequence[LedgerRow],
    assistants: Sequence[Assistant],
    options: ComparisonOptions,
    rules: Rules,
) -> list[Comparison]:
    """Make the comparisons of one contrast, by the rules of all comparisons (14 to 18).

    Args:
        rubric: Assistants, best first.
        prompts: All that were answered.
        responses: All answers.
        ledger_responses: Their ledger.
        assistants: Who answered.
        options: Pairs and length control; the rubric is replaced.
        rules: The rule set in force.
    """
    options = options.model_copy(update={"rubric": list(rubric)})
    comparisons, _ = make_comparisons(
        prompts, responses, ledger_responses, assistants, options, rules
    )
    return comparisons
