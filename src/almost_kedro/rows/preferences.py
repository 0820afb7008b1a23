"""The rows of preference sets, and what each judge makes of them."""

from __future__ import annotations

from typing import ClassVar

from pydantic import with_config
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from almost_kedro.rows.evaluation import ChoiceVerdict
from almost_kedro.rows.validator import STRICT, RowsValidator


@with_config(STRICT)
class PreferenceItem(TypedDict):
    """A dialogue with its right answer, the first of `choices`, and wrong ones.

    `item_id` is the set's name and the item's position in its file, counted from 1. `category` is
    its subset, empty if the file has none. Items with one dialogue share their `prompt_id`.
    """

    item_id: str
    set: str
    prompt_id: str
    category: str
    dialogue: str
    choices: list[str]


@with_config(STRICT)
class PreferenceScore(TypedDict):
    """A model's score of an answer, the one with this number among the item's choices, from 0.

    A reward model gives a reward (log-odds), a policy its log-probability (nats). `score_id` is
    SET/MODEL/ITEM/NUMBER.
    """

    score_id: str
    set: str
    model: str
    item_id: str
    answer: int
    score: float


@with_config(STRICT)
class PreferenceVerdict(ChoiceVerdict):
    """A judge's verdict on an item; `verdict_id` is SET/MODEL/ITEM.

    A reward model's scores are rewards (log-odds), a policy's are implicit rewards (nats).
    """

    verdict_id: str
    set: str
    prompt_id: str
    model: str


class PreferenceItems(RowsValidator):
    """Validator of `preference_items`."""

    row, key = PreferenceItem, "item_id"
    texts = ("dialogue",)


class PreferenceScores(RowsValidator):
    """Validator of `preference_scores`."""

    row, key = PreferenceScore, "score_id"
    parents: ClassVar = {"item_id": ("comparisons", "preference_items")}
    model, plan = "model", "preference_scores_metrics"


class PreferenceVerdicts(RowsValidator):
    """Validator of `preference_verdicts`."""

    row, key = PreferenceVerdict, "verdict_id"
    parents: ClassVar = {"item_id": ("hhh_items", "comparisons", "preference_items")}
    model, plan = "model", "preference_scores_metrics"
