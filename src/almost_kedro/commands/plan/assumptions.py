"""What no one can know before a run, as numbers with their source; the plan prints them all.

Measured in `kedro run` (base, SmolLM2-135M, 200 prompts, limits of 110 tokens): its metrics and
rows say each of them. Other models and limits have others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from almost_kedro.options.rules import Rules

# Characters of English a token, where there is no tokenizer to ask.
CHARACTERS = 4.0
SAYS = "says"


def assume(value: float, says: str) -> Any:
    """Return a field: its value, and what the plan says of it (meaning and source)."""
    return field(default=value, metadata={SAYS: says})


@dataclass(frozen=True)
class Assumptions:
    """Shares by which options become counts; lengths are in tokens, on average."""

    prompts_kept: float = assume(
        0.81, "of requests for a prompt give one (prompts_metrics: 207 of 256)"
    )
    prompt_length: float = assume(
        0.87, "tokens of a prompt for each of a seed prompt's (prompts: 13.8 of 15.7)"
    )
    # After demonstrations.
    answer_length: float = assume(
        0.64, "of its limit is an answer (responses: 70.9 of 110); 1 without stop strings"
    )
    # The best of the rubric has the longest demonstrations.
    best_length: float = assume(
        0.78, "of its limit is the best assistant's (responses: 85.2 of 110); 1 likewise"
    )
    policy_length: float = assume(
        0.64, "of its limit is a policy's answer, taken to be like others; 1 likewise"
    )
    answers_usable: float = assume(0.85, "of answers pass rule 12 (ledger_responses: 384 of 450)")
    pairs_kept: Mapping[str, float] = field(
        default_factory=lambda: {"none": 0.73, "heuristic": 0.55, "matched": 0.77},
        metadata={
            SAYS: "of the rubric's pairs are compared, by length control; matched: times its "
            "tolerance (comparisons_metrics: 328, 248 and 138 of 450, at a tolerance of 0.4)"
        },
    )
    compared_length: float = assume(
        0.64, "of its limit is a compared answer (comparisons: 69.9 of 110)"
    )
    turns_kept: float = assume(
        1.0, "of self-play's turns have an answer to keep (docs/plan.md: 40 of 40)"
    )
    dialogues_on: float = assume(1.0, "of kept answers are gone on from (docs/plan.md: 20 of 20)")
    question_length: float = assume(0.54, "of its limit is a question of self-play (26.1 of 48)")
    rollout_length: float = assume(
        0.9, "of its limit of 64 is a rollout, taken to be like self-play's answers"
    )
    review_length: float = assume(1.0, "of its limit is a judge's review; a guess")

    def for_rules(self, rules: Rules) -> Assumptions:
        """Return what holds under a rule set.

        original has no stop strings (rules 3 and 10), so models write up to the limit.
        """
        if rules == "corrected":
            return self
        return replace(self, answer_length=1.0, best_length=1.0, policy_length=1.0)


def describe_assumptions(values: Mapping[str, Any]) -> list[str]:
    """Write each assumption on a line: value, meaning, source.

    Args:
        values: By name, as plain values.
    """
    says = {each.name: each.metadata[SAYS] for each in fields(Assumptions)}
    lines = []
    for name, value in values.items():
        shown = (
            f"{value:g}"
            if not isinstance(value, Mapping)
            else ", ".join(f"{kind} {share:g}" for kind, share in value.items())
        )
        lines.append(f"{name}: {shown} {says[name]}")
    return lines
