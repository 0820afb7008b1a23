"""Options of the evaluation, explained where they are defined."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator

from almost_kedro.options.block import Block, Positive, Share

HELD_OUT = "held_out_reward_model"
# Preference sets that each run has: static HHH, and its own comparisons of held-out prompts.
HHH_SET, HELD_OUT_SET = "hhh", "held_out"
# Sets of the user's can't have these names: items of other benchmarks begin with them, too.
TAKEN = (HHH_SET, HELD_OUT_SET, "mc1", "open")


class EvaluationOptions(Block):
    """Benchmarks and pairwise judging (rules 26 to 28)."""

    hhh: str = Field(
        "own",
        min_length=1,
        description="Pairs of static HHH: own (assets/benchmarks), hub, or the path of a file like "
        "hhh_eval.json",
    )
    truthfulqa: str = Field(
        "own",
        min_length=1,
        description="Questions of TruthfulQA-MC1: own, hub, or the path of TruthfulQA.csv or "
        "mc_task.json",
    )
    questions: str = Field(
        "own",
        min_length=1,
        description="Open questions: own, or the path of a file like Vicuna's question.jsonl",
    )
    preferences: dict[str, Annotated[str, Field(min_length=1)]] = Field(
        default_factory=dict,
        description="Sets like RewardBench's, by a name of yours: paths of JSON-lines files with "
        "prompt, chosen, rejected (or a list of them) and subset",
    )
    judge: str = Field(
        HELD_OUT,
        description="Who compares answers: held_out_reward_model, or the name of a model in "
        "models.yml. One of this machine names the better answer by its letter; one of servers "
        "(source: server) writes reviews, and generation.servers must serve it",
    )
    judge_max_new_tokens: Positive = Field(
        300,
        description="Token limit of a review by a model on servers; one that thinks first needs "
        "thousands. Another limit asks for all reviews anew",
    )
    scoring: Literal["original", "corrected"] = Field(
        "corrected",
        description="original: a tie is a hit, and letters' probabilities are summed as they are; "
        "corrected: a tie is half a hit, or less with more choices, and both orders weigh the same",
    )
    mc1_form: Literal["true", "likelihood"] = Field(
        "true",
        description="true: asks whether a choice is true (rule 27); likelihood: the choice is an "
        "answer to the question, as in lm-evaluation-harness",
    )
    mc1_preset: str = Field(
        "own",
        min_length=1,
        description="Question-answer pairs shown before the question in the likelihood form: own, "
        "none, or the path of a text file",
    )
    drop_contaminated: bool = Field(
        False,
        description="Train on no generated prompt and on no dialogue of self-play that repeats a "
        "benchmark item, and stop if a hand-written demonstration does; false: they are listed",
    )
    limit: Positive | None = Field(
        None,
        description="Pairs of static HHH, questions of MC1, and items of each preference set, "
        "spread evenly over their files; null: all",
    )
    question_limit: Positive | None = Field(
        None, description="Open questions, spread evenly over their file; null: all"
    )
    temperature: float = Field(0.7, ge=0, description="Divides the logits of answers")
    top_p: Share = Field(1.0, description="Mass of the nucleus")
    max_new_tokens: Positive = Field(1024, description="Token limit of an answer")

    @field_validator("mc1_form", mode="before")
    @classmethod
    def read_form(cls, form: object) -> object:
        """Read a bare `true` as the form of that name; YAML makes a boolean of it."""
        return "true" if form is True else form

    @field_validator("preferences")
    @classmethod
    def check_names(cls, preferences: dict[str, str]) -> dict[str, str]:
        """Refuse names that can't be part of ids, or that other items have."""
        for name in preferences:
            if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
                raise ValueError(f"the name {name!r} may have letters, digits, '_', '.' and '-'")
            if name in TAKEN:
                raise ValueError(f"the name {name!r} is taken; give the set another one")
        return preferences

    @field_validator("questions")
    @classmethod
    def check_questions(cls, questions: str) -> str:
        """Refuse the hub, which has no such dataset."""
        if questions == "hub":
            raise ValueError("the hub has no open questions; give own, or a file's path")
        return questions
