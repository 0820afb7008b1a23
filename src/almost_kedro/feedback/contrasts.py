"""Contrasts: each compares two or more kinds of answers, best first.

Apart from the rubric, what a contrast teaches a reward model beyond the floors tells whether it
belongs in there. Within it, a contrast is a part of the comparisons: reward models of several parts
may reward together.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

from almost_kedro.errors import UserError
from almost_kedro.feedback.comparisons import list_levels, make_comparisons, rank_rubric
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


def check_parts(
    names: Sequence[str],
    contrasts: Mapping[str, Sequence[str]],
    rubric: Sequence[str | Sequence[str]],
) -> None:
    """Raise UserError if a reward model can't be trained on each of these parts of the rubric.

    A contrast that isn't named, with whom the rubric does not rank, or against the rubric's order.
    """
    ranks = {name: rank for rank, level in enumerate(list_levels(rubric)) for name in level}
    for name in names:
        option = f"option reward_model.ensemble: contrast {name!r}"
        if name not in contrasts:
            known = f"contrasts has {', '.join(contrasts)}" if contrasts else "contrasts has none"
            raise UserError(
                f"{option} is unknown; {known}. Name it there, such as "
                f"{{{name}: [ASSISTANT, ASSISTANT]}}"
            )
        if strangers := [each for each in contrasts[name] if each not in ranks]:
            raise UserError(
                f"{option} has {strangers[0]!r}, whom comparisons.rubric does not rank; reward "
                f"models learn from its comparisons alone: add it there, or leave it out"
            )
        own = [ranks[each] for each in contrasts[name]]
        if len(own) < 2 or any(a >= b for a, b in pairwise(own)):
            raise UserError(
                f"{option} must name two or more assistants in the order of comparisons.rubric, "
                f"best first and without ties; found {', '.join(contrasts[name])}"
            )


def select_contrast(contrast: Sequence[str], comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Return the comparisons of whom a contrast names, in order."""
    return [
        row
        for row in comparisons
        if row["chosen_assistant"] in contrast and row["rejected_assistant"] in contrast
    ]
