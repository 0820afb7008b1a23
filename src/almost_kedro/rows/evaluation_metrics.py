"""The documents of the evaluation, as its nodes write them and pages read them."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from almost_kedro.rows.evaluation import Source
from almost_kedro.rows.metrics import (
    CountedEstimate,
    Estimate,
    Gated,
    Models,
    PairedDifference,
    ProgramMetrics,
)


class MeasuredGroup(TypedDict):
    """Verdicts of one judge; `share_right` counts a tie as wrong."""

    n: int
    n_right: int
    n_wrong: int
    n_ties: int
    share_right: float
    accuracy: Estimate


class Measured(MeasuredGroup):
    """Verdicts of one judge, also by category."""

    by_category: dict[str, MeasuredGroup]


class PositionBias(TypedDict):
    """How the place of an answer changes a policy's choice.

    `prefers_a` is the share of orders in which A is more probable than B (equal counts as half).
    `flips` is the share of items with the same preferred letter in both orders, so with the other
    answer. `letter_mass` is the mean of P(A) + P(B); near 0, the policy answers without letters.
    """

    n: int
    prefers_a: Estimate
    flips: Estimate
    letter_mass: Estimate


class BenchmarkReport(TypedDict):
    """A benchmark: models and floors by name, and differences in accuracy by "new-vs-old"."""

    source: Source
    n: int
    models: dict[str, Measured]
    floors: dict[str, Measured]
    differences: dict[str, PairedDifference]
    position_bias: NotRequired[dict[str, PositionBias]]


class PreferenceReport(TypedDict):
    """A preference set: judges and floors by name, and differences from "longer wins".

    Judges are reward models, and policies by their implicit rewards. `source` is missing where the
    items are the run's own comparisons.
    """

    source: NotRequired[Source]
    n: int
    n_prompts: int
    models: dict[str, Measured]
    floors: dict[str, Measured]
    differences: dict[str, PairedDifference]


class Trust(TypedDict):
    """How far a judge can be trusted; a figure is null where no vote tells it.

    `flip_rate`: how often the verdicts differ between the orders, over questions with both valid.
    `first_wins`: how often the answer shown first scores more, of all valid votes; a tie is half.
    """

    n_valid: int
    invalid_rate: Estimate
    flip_rate: Estimate | None
    first_wins: Estimate | None


class JudgeCard(Trust):
    """Two models and their judge: model_a's figures, over valid votes; null without valid votes.

    A tie is half a win in both win rates. The sums are of scores, the lengths means in characters.
    """

    model_a: str
    model_b: str
    n_questions: int
    n_votes: int
    win: Estimate | None
    tie: Estimate | None
    loss: Estimate | None
    win_rate: Estimate | None
    length_controlled_win_rate: Estimate | None
    score_sum_a: float
    score_sum_b: float
    length_a: float
    length_b: float


class JudgeWorth(TypedDict):
    """What a judge's word is worth: how often it is right on pairs of static HHH, in both orders.

    A tie is half a hit. `letter_mass` is the mean of P(A) + P(B); near 0, it answers without
    letters.
    """

    n: int
    accuracy: Estimate
    flip_rate: Estimate
    letter_mass: float


class AnswersReport(TypedDict):
    """A model's answers to the open questions; lengths in characters."""

    n: int
    length: Estimate
    share_cut_off: Estimate


class QuestionsReport(TypedDict):
    """The open questions: models by name, cards by "a-vs-b"."""

    source: Source
    n: int
    judge: str
    judge_model: Models
    judge_worth: NotRequired[JudgeWorth]
    models: dict[str, AnswersReport]
    cards: dict[str, JudgeCard]


class TrainingContamination(TypedDict):
    """Training texts that repeat a benchmark item; `by_split` is over all prompts."""

    n_prompts: int
    prompts_that_repeat: int
    n_demonstrations: int
    demonstrations_that_repeat: int
    by_split: dict[str, int]


class Repeated(TypedDict):
    """Items that are repeated, and overlaps by kind."""

    items_repeated: int
    by_kind: dict[str, int]


class ContaminationMetrics(Repeated):
    """Generated prompts and hand-written demonstrations that repeat a benchmark item."""

    n_prompts: int
    n_demonstrations: int
    n_items: int
    prompts_that_repeat: int
    demonstrations_that_repeat: int


class Contamination(ContaminationMetrics):
    """Contamination of all texts, and of those that models are trained on."""

    training: TrainingContamination


class EvaluationMetrics(Gated):
    """`evaluation_metrics`; each benchmark's report also stands here, under its name.

    `preferences` has the sets in which both reward models and implicit rewards judge.
    """

    scoring: str
    preferences: dict[str, PreferenceReport]
    questions: QuestionsReport
    contamination: Contamination
    models: Models


class JudgeMetrics(TypedDict):
    """Who judged, and the cost."""

    judge: str
    description: str
    models: Models
    cost: ProgramMetrics
    worth: NotRequired[JudgeWorth]


class JudgeCards(JudgeMetrics):
    """`judge_cards`, by "a-vs-b"."""

    cards: dict[str, JudgeCard]


class HumanVotes(TypedDict):
    """People's votes on one page; both rates count a tie as half.

    `answers` has the versions of the datasets that the answers are from. `n_voted` is the number of
    questions with a vote that is no skip. `agreement` is over pairs of votes on one question (its
    `n`), `alpha` is Krippendorff's. `judges` says how often the reward model, the held-out reward
    model and the judge (`judge` says who) prefer what most people prefer; `n` is in questions.
    """

    page: str
    model_a: str
    model_b: str
    answers: dict[str, str]
    n_people: int
    n_questions: int
    n_voted: int
    n_votes: int
    n_skipped: int
    wins_a: int
    ties: int
    wins_b: int
    win_rate: Estimate | None
    left_wins: Estimate | None
    agreement: CountedEstimate | None
    alpha: float | None
    judge: str
    judges: dict[str, CountedEstimate]


class HumanVotesMetrics(TypedDict):
    """`human_votes_metrics`: an entry for each page that was counted."""

    pages: list[HumanVotes]
