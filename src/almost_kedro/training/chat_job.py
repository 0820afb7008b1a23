"""The job file of the chat program, its requests and its replies, as JSON."""

from __future__ import annotations

from typing import Literal, TypedDict

from almost_kedro.contract import FinishReason, ModelFolder, Part, Sampling
from almost_kedro.options.generation import GenerationOptions
from almost_kedro.options.rules import Rules
from almost_kedro.training.job import ScoreJob


class Speaker(Part):
    """A model that answers, and the text before each dialogue (demonstrations or nothing)."""

    name: str
    model: ModelFolder
    prefix: str = ""


class ChatJob(Part):
    """Who answers, how, and who rewards the answers.

    `judges` have the reward model and the held-out one, or nobody; their rows and folders stay
    unused.
    """

    speakers: list[Speaker]
    generation: GenerationOptions
    sampling: Sampling
    rules: Rules
    judges: list[ScoreJob]


class Question(TypedDict):
    """A request: `speaker` answers a dialogue, which ends where the answer begins."""

    speaker: str
    dialogue: str
    rewards: bool


class Ready(TypedDict):
    """The first reply: the models are loaded."""

    kind: Literal["ready"]


class Piece(TypedDict):
    """The next piece of an answer's text; no later one changes it."""

    kind: Literal["piece"]
    text: str


class Answer(TypedDict):
    """A finished answer.

    Its text is the pieces together, or their beginning: rule 11 cuts an unfinished sentence off.
    `finish_reason` is "interrupted" if the asker stopped it. `rewards` are in the order of the
    job's judges, and empty if none were asked for or the answer was interrupted.
    """

    kind: Literal["answer"]
    text: str
    finish_reason: FinishReason | Literal["interrupted"]
    n_tokens: int
    rewards: list[float]


class Refusal(TypedDict):
    """Why there is no answer, in one line that says what to do."""

    kind: Literal["refusal"]
    message: str


Reply = Ready | Piece | Answer | Refusal
