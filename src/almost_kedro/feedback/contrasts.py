"""Contrasts: each compares two or more kinds of answers apart from the rubric, best first.

What a contrast teaches a reward model beyond the floors tells whether it belongs in the rubric.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from almost_kedro.errors import UserError
from almost_kedro.feedback.comparisons import make_comparisons, rank_rubric
from almost_kedro.options.feedback import ComparisonOptions
from almost_kedro.options.rules import Rules
from almost_kedro.rows.feedback import Assistant, Comparison, LedgerRow, Prompt, Response


def check_contrasts(
    contrasts: Mapping[str, Sequence[str]], assistants: Sequence[Assistant]
) -> None:
    """Raise UserError if there is no contrast, or one is no valid rubric (see `rank_rubric`)."""
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
    """Make the comparisons of one contrast (rules 14 to 18); it replaces the options' rubric."""
    options = options.model_copy(update={"rubric": list(rubric)})
    comparisons, _ = make_comparisons(
        prompts, responses, ledger_responses, assistants, options, rules
    )
    return comparisons
