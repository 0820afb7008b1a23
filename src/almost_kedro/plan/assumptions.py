"""What no one can know before a run, as numbers with their source; the plan prints them all.

Measured in `kedro run` (base, SmolLM2-135M, 200 prompts, limits of 110 tokens): its metrics and
rows say each of them. Other models and limits have others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from almost_kedro.options import Rules

# Characters of English a token, where there is no tokenizer to ask.
CHARACTERS = 4.0


@dataclass(frozen=True)
class Assumptions:
    """Shares by which options become counts.

    Attributes:
        prompts_kept: Of requests for a prompt, those that give one.
        prompt_length: Tokens of a written prompt, as a multiple of a seed prompt's.
        answer_length: Mean tokens of an answer after demonstrations, as a share of its limit.
        policy_length: The same without demonstrations.
        answers_usable: Of answers, those that rule 12 keeps.
        pairs_kept: Of the pairs that the rubric could give, those compared, by length control.
        compared_length: Mean tokens of a compared answer, as a share of its limit.
        turns_kept: Of self-play's turns, those with an answer to keep.
        dialogues_on: Of kept answers, those that the simulated user goes on from.
        question_length: Mean tokens of its questions, as a share of their limit.
        rollout_length: Mean tokens of a rollout, as a share of its limit.
        review_length: Mean tokens of a judge's review, as a share of its limit.
    """

    prompts_kept: float = 0.81
    prompt_length: float = 0.8
    answer_length: float = 0.65
    policy_length: float = 0.65
    answers_usable: float = 0.85
    pairs_kept: Mapping[str, float] = field(
        default_factory=lambda: {"none": 0.73, "heuristic": 0.4, "matched": 0.31}
    )
    compared_length: float = 0.65
    turns_kept: float = 1.0
    dialogues_on: float = 0.8
    question_length: float = 0.5
    rollout_length: float = 0.8
    review_length: float = 1.0

    def for_rules(self, rules: Rules) -> Assumptions:
        """Return what holds under a rule set.

        original has no stop strings (rules 3 and 10), so models write up to the limit.
        """
        if rules == "corrected":
            return self
        return replace(self, answer_length=1.0, policy_length=1.0)


# What each is, and where its value is from.
SOURCES = {
    "prompts_kept": "of requests for a prompt give one (prompts_metrics: 207 of 256)",
    "prompt_length": "tokens of a written prompt for each of a seed prompt's (prompts)",
    "answer_length": "of its limit is an answer's mean length (responses); 1 without stop strings",
    "policy_length": "of its limit is a policy's answer (sft_answers, open_answers); 1 likewise",
    "answers_usable": "of answers pass rule 12 (ledger_responses: 384 of 450)",
    "pairs_kept": "of the rubric's pairs are compared, by comparisons.length_control",
    "compared_length": "of its limit is a compared answer, which has lost what was cut off",
    "turns_kept": "of self-play's turns have an answer to keep (self_play)",
    "dialogues_on": "of kept answers are gone on from (ledger_self_play)",
    "question_length": "of its limit is the simulated user's question",
    "rollout_length": "of its limit is a rollout (rollouts)",
    "review_length": "of its limit is a judge's review; a guess",
}


def describe_assumptions(values: Mapping[str, Any]) -> list[str]:
    """Write each assumption on a line: value, meaning, source.

    Args:
        values: By name, as plain values.
    """
    lines = []
    for name, value in values.items():
        shown = (
            f"{value:g}"
            if not isinstance(value, Mapping)
            else ", ".join(f"{kind} {share:g}" for kind, share in value.items())
        )
        lines.append(f"{name}: {shown} {SOURCES[name]}")
    return lines
