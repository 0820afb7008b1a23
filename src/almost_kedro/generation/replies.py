"""What servers reply: a completion, or an error and what it means for the requests after it."""

from __future__ import annotations

from typing import Any

import httpx

from almost_kedro.generation.engine import Completion, FinishReason, Sampling
from almost_kedro.json_lines import encode

# What an error of status 400 is called where the server's filter refuses one text.
FILTERED = ("content_filter", "content_policy_violation")
WITHHELD = Completion("", "withheld", 0)


class TransientError(Exception):
    """A request failed in a way that another try may mend."""

    def __init__(self, reason: str, pause: float | None = None, strikes: int = 1):
        """Say why.

        Args:
            reason: What happened.
            pause: For how long the server asks to be left alone (seconds).
            strikes: How heavily it counts.
        """
        super().__init__(reason)
        self.pause, self.strikes = pause, strikes


class RefusalError(Exception):
    """A server refuses all requests: no key, no such model, no such path."""


class WithheldError(Exception):
    """A server's content filter keeps back the reply to one request."""


def read_completion(reply: Any, sampling: Sampling, chat: bool = False) -> Completion:
    """Read a server's reply; the text is cut before any stop string that it left in.

    Raises:
        KeyError, IndexError, TypeError, ValueError: If it is no completion.
    """
    choice = reply["choices"][0]
    said = choice["finish_reason"]
    if said == "content_filter":
        return WITHHELD
    # A chat's content may be null: nothing was said.
    text = (choice["message"]["content"] or "") if chat else choice["text"]
    tokens = reply["usage"]["completion_tokens"]
    if not isinstance(text, str) or not isinstance(tokens, int):
        raise TypeError("a text and its number of tokens are expected")
    if said not in ("stop", "length"):
        raise ValueError(f"finish_reason {said!r}")
    reason: FinishReason = "length"
    if said == "stop":
        # Only vLLM says what stopped it; elsewhere the end of text may be called "stop".
        known = "stop_reason" in choice
        stopped = choice["stop_reason"] in sampling.stop if known else bool(sampling.stop)
        reason = "stop" if stopped else "eos"
    # JSON can hold half a surrogate pair, UTF-8 can not.
    text = encode(text).decode()
    ends = [text.find(stop) for stop in sampling.stop if stop in text]
    return Completion(text[: min(ends)] if ends else text, reason, tokens)


def read_error(reply: httpx.Response) -> tuple[str, str | None]:
    """Return what a server says of an error, on one line, and what it calls it."""
    code = None
    try:
        error = reply.json()["error"]
        text = error["message"] if isinstance(error, dict) else error
        code = error.get("code") if isinstance(error, dict) else None
    except (ValueError, KeyError, TypeError):
        text = reply.text
    return " ".join(str(text).split())[:300] or reply.reason_phrase, code


def read_pause(header: str | None) -> float | None:
    """Read a Retry-After in seconds; None if it is absent or a date."""
    try:
        return max(float(header), 0.0) if header is not None else None
    except ValueError:
        return None
