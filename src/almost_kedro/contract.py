"""Requests to models, their answers, and the names of both: the words that all rooms share."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NotRequired, TypedDict

from pydantic import BaseModel, ConfigDict


def row_id(*parts: object) -> str:
    """Name a row after what made it: the first 16 digits of the parts' SHA-256."""
    return digest(*parts)[:16]


# By which a model names one of two answers.
LETTERS = ("A", "B")
# Without a text: "withheld" by a server's content filter; "refused", a server rejected the request.
FinishReason = Literal["eos", "stop", "length", "withheld", "refused"]


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn.

    Attributes:
        temperature: Divides the logits; 0 takes the most probable token.
        top_p: Mass of the nucleus, 0 < top_p <= 1.
        stop: Strings that end a row; the text is cut before the first of them.
        seed: Start of every request's random stream.
    """

    temperature: float
    top_p: float
    max_new_tokens: int
    stop: tuple[str, ...] = ()
    seed: int = 0


@dataclass(frozen=True)
class Request:
    """One text to be continued.

    Attributes:
        text: What follows the prefix.
        prefix: The part shared with other requests (demonstrations); computed once.
        sample: Distinguishes requests of the same text, so that each draws its own tokens.
    """

    text: str
    prefix: str = ""
    sample: int = 0

    def hash(self) -> str:
        """Hash the whole text and the sample number; where the prefix ends does not matter."""
        return digest(self.prefix + self.text, self.sample)


@dataclass(frozen=True)
class Completion:
    """What a model wrote: text before any stop string, why it ended, tokens generated."""

    text: str
    finish_reason: FinishReason
    n_tokens: int


def digest(*parts: object) -> str:
    """Return the SHA-256 of the parts' JSON as 64 hexadecimal digits."""
    text = json.dumps(parts, ensure_ascii=True, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def tell_version(version: int) -> list[str]:
    """Return what a version adds to the parts of an identity.

    The first version adds nothing: files from before there were versions are named without it.
    """
    return [f"version {version}"] if version > 1 else []


class Likelihood(TypedDict):
    """A question to a model: how probable is this continuation after this context?

    `prefix` stands before the context. It is computed once for all rows with it (demonstrations).
    """

    id: str
    context: str
    continuation: str
    prefix: NotRequired[str]


class LogProb(TypedDict):
    """The answer to the `Likelihood` of the same id.

    `logprob` is the sum of the natural logarithms of the probabilities of the continuation's
    `n_tokens` tokens. `cut` tokens of the context's left did not fit.
    """

    id: str
    logprob: float
    n_tokens: int
    cut: int


class Part(BaseModel):
    """Part of a job file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelFolder(Part):
    """A model as the worker needs it; `folder` is None if only servers know its tokenizer.

    `chat`: servers are asked for it by messages. `pad_token` is the one in models.yml. `template`
    identifies the chat template by which it reads dialogues; None: it reads them as plain text.
    """

    name: str
    folder: Path | None
    fingerprint: str
    bos: bool | None = None
    trust_remote_code: bool = False
    chat: bool = False
    pad_token: str | None = None
    template: str | None = None
