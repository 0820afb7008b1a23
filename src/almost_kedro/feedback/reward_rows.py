"""From comparisons to the rows that reward models are trained on and tested with (rule 19)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NotRequired, TypedDict

from almost_kedro.errors import UserError
from almost_kedro.feedback.ledger import RuleVerdict, make_ledger_rows
from almost_kedro.feedback.responses import build_question
from almost_kedro.options.rules import Rules
from almost_kedro.rows.feedback import Comparison, LedgerRow


class RewardRow(TypedDict):
    """A comparison as the reward program reads it; `mismatched` are answers to other prompts."""

    id: str
    dialogue: str
    chosen: str
    rejected: str
    mismatched: NotRequired[list[str]]
    mismatched_weight: NotRequired[float]


class AnswerRow(TypedDict):
    """An answer as the scoring program reads it."""

    id: str
    dialogue: str
    answer: str


def choose_separator(rules: Rules) -> str:
    """Return what stands between a dialogue and its answer; see `build_question`."""
    return "" if rules == "original" else " "


def drop_identical(
    comparisons: Sequence[Comparison], rules: Rules
) -> tuple[list[Comparison], list[LedgerRow]]:
    """Rule 19: drop identical answers, which teach nothing; raise UserError for an empty one."""
    kept, ledger = [], []
    for row in comparisons:
        for side in ("chosen", "rejected"):
            if not row[side].strip():
                raise UserError(
                    f"comparisons: {row['comparison_id']} has no {side} answer; mend the row, or "
                    "compare anew (kedro run --pipeline synthetic_feedback)"
                )
        if row["chosen"] == row["rejected"]:
            verdict = RuleVerdict("rule_19_identical", "chosen and rejected are the same text")
            ledger += make_ledger_rows(row["comparison_id"], rules, verdict)
        else:
            kept.append(row)
    return kept, ledger


def check_enough(comparisons: Sequence[Comparison], n_before: int, split: str) -> None:
    """Raise UserError if no comparison is left; `n_before` counts them before rule 19."""
    if comparisons:
        return
    if n_before:
        raise UserError(
            f"comparisons of split {split}: in all {n_before} both answers are the same text; "
            "raise response_generation.temperature, or let assistants differ more"
        )
    raise UserError(
        f"comparisons of split {split}: there are none; ask for more prompts "
        "(prompt_generation.n_prompts), or see which rules drop the pairs (kedro rows "
        "ledger_comparisons) and the answers (kedro rows ledger_responses)"
    )


def build_reward_rows(comparisons: Sequence[Comparison], rules: Rules) -> list[RewardRow]:
    """Write each comparison's prompt as a dialogue of one turn, as generation asks it (rule 9)."""
    return [
        RewardRow(
            id=row["comparison_id"],
            dialogue=build_question(row["prompt"], rules),
            chosen=row["chosen"],
            rejected=row["rejected"],
        )
        for row in comparisons
    ]


def build_answer_rows(comparisons: Sequence[Comparison], rules: Rules) -> list[AnswerRow]:
    """Return both answers of each comparison, named COMPARISON:chosen and COMPARISON:rejected."""
    return list_answers(build_reward_rows(comparisons, rules))


def list_answers(rows: Sequence[RewardRow]) -> list[AnswerRow]:
    """Return both answers of each training row as the scoring program reads them."""
    return [
        AnswerRow(
            id=f"{row['id']}:{side}",
            dialogue=row["dialogue"],
            answer=row["chosen"] if side == "chosen" else row["rejected"],
        )
        for row in rows
        for side in ("chosen", "rejected")
    ]
