"""Votes of people on two policies: what is kept of a page, and the file that a voter sends back."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, with_config
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from almost_kedro.rows.validator import STRICT

Choice = Literal["left", "right", "tie", "skip"]
Side = Literal["left", "right"]
# The form of votes files, which the page's script writes into them.
FORM = "almost_kedro votes 1"


class ShownQuestion(TypedDict):
    """A question as the page has it; `vote_id` tells nothing of the policies."""

    vote_id: str
    question: str
    left: str
    right: str


class VotePage(TypedDict):
    """All that a voter's browser gets; `page` is the digest of the questions, in their order."""

    page: str
    questions: list[ShownQuestion]


class KeyQuestion(TypedDict):
    """What the page does not tell of a question.

    `a_is` is the side of model_a's answer. `judges` has model_a's score by each judge of the run
    that compared these answers: 1 if it prefers model_a's, 0.5 for a tie, 0 if not.
    """

    vote_id: str
    source: str
    item_id: str
    a_is: Side
    answer_a: str
    answer_b: str
    judges: dict[str, float]


class VoteKey(TypedDict):
    """`human_vote_key`: which side of a page is whose.

    `answers` has the version of each dataset that the answers are from; `judge` says who compared
    the answers to the open questions, empty if nobody did.
    """

    page: str
    model_a: str
    model_b: str
    seed: int
    answers: dict[str, str]
    judge: str
    questions: list[KeyQuestion]


@with_config(STRICT)
class SavedVote(TypedDict):
    """One vote, and when it was given."""

    vote_id: str
    choice: Choice
    time: AwareDatetime


@with_config(STRICT)
class VotesFile(TypedDict):
    """What a voter saves; `ballot` is drawn by the browser that voted, `voter` may be empty."""

    form: Literal["almost_kedro votes 1"]
    page: str
    ballot: Annotated[str, Field(min_length=1, max_length=64)]
    voter: Annotated[str, Field(max_length=200)]
    saved: AwareDatetime
    votes: list[SavedVote]
