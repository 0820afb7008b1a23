"""The rows of the evaluation, and the checks that the catalog runs."""

from __future__ import annotations

from typing import ClassVar

from pydantic import with_config
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from almost_kedro.evaluation.benchmarks import ChoiceItem, OpenItem, PairItem
from almost_kedro.evaluation.judge import Vote
from almost_kedro.evaluation.verdicts import ChoiceVerdict, OrderedVerdict, Verdict
from almost_kedro.feedback.decontamination import Overlap
from almost_kedro.generation.engine import FinishReason
from almost_kedro.rows import STRICT, RowsValidator


@with_config(STRICT)
class HHHVerdict(OrderedVerdict):
    """What a policy makes of a pair; `verdict_id` is MODEL/ITEM."""

    verdict_id: str
    model: str


@with_config(STRICT)
class MC1Verdict(ChoiceVerdict):
    """What a policy makes of a question; `verdict_id` is MODEL/ITEM."""

    verdict_id: str
    model: str


@with_config(STRICT)
class RewardVerdict(Verdict):
    """What a reward model makes of a pair; `verdict_id` is MODEL/ITEM."""

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
    """A vote on two answers, and the answers; `vote_id` is MODEL-vs-MODEL/ITEM/ORDER."""

    vote_id: str
    answer_a: str
    answer_b: str


@with_config(STRICT)
class ContaminationRow(Overlap):
    """A text that repeats a benchmark item.

    `text_id` is a prompt's, a hand-written demonstration's (NAME/NUMBER) or, for self-play, that of
    the candidate that ends the dialogue.
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
