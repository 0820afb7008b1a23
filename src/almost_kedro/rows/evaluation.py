"""The rows of the evaluation, and the checks that the catalog runs."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import with_config
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from almost_kedro.contract import FinishReason
from almost_kedro.rows.validator import STRICT, RowsValidator

OutcomeName = Literal["right", "wrong", "tie"]


class Outcome(TypedDict):
    """A judge's outcome on an item; `hit` is what it adds to the accuracy, 0 to 1."""

    item_id: str
    category: str
    verdict: OutcomeName
    hit: float


class PairVerdict(Outcome):
    """The outcome of a pair, with the answers' scores."""

    score_chosen: float
    score_rejected: float


class OrderedVerdict(PairVerdict):
    """The verdict on a pair, with the model's probabilities of both letters in both orders."""

    chosen_first_a: float
    chosen_first_b: float
    rejected_first_a: float
    rejected_first_b: float


class ChoiceVerdict(Outcome):
    """The outcome of a question; `n_best` choices share the highest score.

    `score_wrong` is the score of the best wrong choice.
    """

    n_choices: int
    score_right: float
    score_wrong: float
    n_best: int


# "any": a reward model reads each answer by itself, so there is no order.
Order = Literal["a_first", "b_first", "any"]
Result = Literal["win", "tie", "loss"]


class Vote(TypedDict):
    """One judgement of two answers to a question; `review` is empty from a reward model.

    `verdict` is model_a's. The scores are in the order shown (a's first in order "any"). All three
    are null in an invalid vote, and `reason` says why.
    """

    item_id: str
    model_a: str
    model_b: str
    order: Order
    score_first: float | None
    score_second: float | None
    verdict: Result | None
    valid: bool
    reason: str
    review: str


@with_config(STRICT)
class Source(TypedDict):
    """Where a benchmark's items are from; stands beside every figure.

    `location` is a path, or a dataset's name on the hub, `n` the number of items.
    """

    name: str
    kind: Literal["own", "file", "hub"]
    location: str
    n: int
    sha256: str


@with_config(STRICT)
class PairItem(TypedDict):
    r"""A pair of static HHH: a dialogue, and two last answers (rule 26).

    `item_id` is the benchmark's name and the item's position in its file, counted from 1, such as
    "hhh-0001". The dialogue starts with "\n\nHuman:" and ends with the last "\n\nAssistant:", with
    no space after it; the answers are stripped.
    """

    item_id: str
    category: str
    dialogue: str
    chosen: str
    rejected: str


@with_config(STRICT)
class ChoiceItem(TypedDict):
    """A question of TruthfulQA-MC1 (rule 27): the first choice is right; category can be empty."""

    item_id: str
    category: str
    question: str
    choices: list[str]


@with_config(STRICT)
class OpenItem(TypedDict):
    """An open question of the Vicuna kind (rule 28)."""

    item_id: str
    category: str
    question: str


class Overlap(TypedDict):
    """A text that repeats a benchmark item.

    `value` is, for "ngram", the length in words of the longest common run, and for "rouge_l"
    ROUGE-L F. `matched` is the run, in lower case without punctuation, or the item's turn.
    """

    text_id: str
    item_id: str
    kind: Literal["ngram", "rouge_l"]
    value: float
    matched: str


@with_config(STRICT)
class HHHVerdict(OrderedVerdict):
    """A policy's verdict on a pair; `verdict_id` is MODEL/ITEM."""

    verdict_id: str
    model: str


@with_config(STRICT)
class MC1Verdict(ChoiceVerdict):
    """A policy's verdict on a question; `verdict_id` is MODEL/ITEM."""

    verdict_id: str
    model: str


@with_config(STRICT)
class RewardVerdict(PairVerdict):
    """A reward model's verdict on a pair; `verdict_id` is MODEL/ITEM."""

    verdict_id: str
    model: str


@with_config(STRICT)
class LikelihoodVerdict(PairVerdict):
    """A policy's verdict on a pair, by log-probabilities (nats); `verdict_id` is MODEL/ITEM."""

    verdict_id: str
    model: str


@with_config(STRICT)
class OpenAnswer(TypedDict):
    """A model's answer to an open question."""

    answer_id: str
    item_id: str
    policy: str
    text: str
    finish_reason: FinishReason
    n_tokens: int


@with_config(STRICT)
class JudgeVote(Vote):
    """A vote, with the ids of both answers; `vote_id` is MODEL-vs-MODEL/ITEM/ORDER."""

    vote_id: str
    answer_a: str
    answer_b: str


@with_config(STRICT)
class ContaminationRow(Overlap):
    """A text that repeats a benchmark item.

    `text_id` is the id of a prompt, of a hand-written demonstration (NAME/NUMBER) or, for
    self-play, of the candidate that ends the dialogue.
    """

    overlap_id: str


class PairItems(RowsValidator):
    """Validator of `hhh_items`."""

    row, key = PairItem, "item_id"
    texts = ("dialogue", "chosen", "rejected")


class ChoiceItems(RowsValidator):
    """Validator of `mc1_items`."""

    row, key = ChoiceItem, "item_id"
    texts = ("question",)


class OpenItems(RowsValidator):
    """Validator of `open_questions`."""

    row, key = OpenItem, "item_id"
    texts = ("question",)


class HHHVerdicts(RowsValidator):
    """Validator of `hhh_verdicts`."""

    row, key = HHHVerdict, "verdict_id"
    parents: ClassVar = {"item_id": ("hhh_items",)}
    model, plan = "model", "policy_verdicts_metrics"


class MC1Verdicts(RowsValidator):
    """Validator of `mc1_verdicts`."""

    row, key = MC1Verdict, "verdict_id"
    parents: ClassVar = {"item_id": ("mc1_items",)}
    model, plan = "model", "policy_verdicts_metrics"


class RewardVerdicts(RowsValidator):
    """Validator of `reward_verdicts`."""

    row, key = RewardVerdict, "verdict_id"
    parents: ClassVar = {"item_id": ("hhh_items",)}
    model, plan = "model", "reward_verdicts_metrics"


class LikelihoodVerdicts(RowsValidator):
    """Validator of `hhh_likelihood_verdicts` and `hhh_per_token_verdicts`."""

    row, key = LikelihoodVerdict, "verdict_id"
    parents: ClassVar = {"item_id": ("hhh_items",)}
    model, plan = "model", "policy_verdicts_metrics"


class OpenAnswers(RowsValidator):
    """Validator of `open_answers`."""

    row, key = OpenAnswer, "answer_id"
    parents: ClassVar = {"item_id": ("open_questions",)}
    texts = ("text",)
    model, plan = "policy", "open_answers_metrics"


class JudgeVotes(RowsValidator):
    """Validator of `judge_votes`."""

    row, key = JudgeVote, "vote_id"
    parents: ClassVar = {"answer_a": ("open_answers",), "answer_b": ("open_answers",)}
    texts = ("reason", "review")
    model, plan = "judge", "judge_cards"


class Contamination(RowsValidator):
    """Validator of `contamination` and `sft_contamination`."""

    row, key = ContaminationRow, "overlap_id"
    traced = False
