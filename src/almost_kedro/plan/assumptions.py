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
        best_length: The same of the best of the rubric, whose demonstrations are the longest.
        policy_length: The same without demonstrations.
        answers_usable: Of answers, those that rule 12 keeps.
        pairs_kept: Of the pairs that the rubric could give, those compared, by length control;
            `matched` is for each unit of `length_tolerance`.
        compared_length: Mean tokens of a compared answer, as a share of its limit.
        turns_kept: Of self-play's turns, those with an answer to keep.
        dialogues_on: Of kept answers, those that the simulated user goes on from.
        question_length: Mean tokens of its questions, as a share of their limit.
        rollout_length: Mean tokens of a rollout, as a share of its limit.
        review_length: Mean tokens of a judge's review, as a share of its limit.
    """

    prompts_kept: float = 0.81
    prompt_length: float = 0.87
    answer_length: float = 0.64
    best_length: float = 0.78
    policy_length: float = 0.64
    answers_usable: float = 0.85
    pairs_kept: Mapping[str, float] = field(
        default_factory=lambda: {"none": 0.73, "heuristic": 0.55, "matched": 0.77}
    )
    compared_length: float = 0.64
    turns_kept: float = 1.0
    dialogues_on: float = 1.0
    question_length: float = 0.54
    rollout_length: float = 0.9
    review_length: float = 1.0

    def for_rules(self, rules: Rules) -> Assumptions:
        """Return what holds under a rule set.

        original has no stop strings (rules 3 and 10), so models write up to the limit.
        """
        if rules == "corrected":
            return self
        return replace(self, answer_length=1.0, best_length=1.0, policy_length=1.0)


# What each is, and where its value is from.
SOURCES = {
    "prompts_kept": "of requests for a prompt give one (prompts_metrics: 207 of 256)",
    "prompt_length": "tokens of a prompt for each of a seed prompt's (prompts: 13.8 of 15.7)",
    "answer_length": "of its limit is an answer (responses: 70.9 of 110); 1 without stop strings",
    "best_length": "of its limit is the best assistant's (responses: 85.2 of 110); 1 likewise",
    "policy_length": "of its limit is a policy's answer, taken to be like others; 1 likewise",
    "answers_usable": "of answers pass rule 12 (ledger_responses: 384 of 450)",
    "pairs_kept": "of the rubric's pairs are compared, by length control; matched: times its "
    "tolerance (comparisons_metrics: 328, 248 and 138 of 450, at a tolerance of 0.4)",
    "compared_length": "of its limit is a compared answer (comparisons: 69.9 of 110)",
    "turns_kept": "of self-play's turns have an answer to keep (README: 40 of 40)",
    "dialogues_on": "of kept answers are gone on from (README: 20 of 20)",
    "question_length": "of its limit is a question of self-play (26.1 of 48)",
    "rollout_length": "of its limit of 64 is a rollout, taken to be like self-play's answers",
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
