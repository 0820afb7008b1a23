"""What servers reply: a completion, or an error and what it means for later requests.

Servers use different names for the end of a text, and leave out different fields. What can be found
out otherwise is. A reply that shows that the server read another text than it was sent is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

import httpx

from almost_kedro.contract import Completion, FinishReason, Sampling
from almost_kedro.rows.json_lines import encode

# Codes of a status 400 by which a server's filter refuses one text.
FILTERED = ("content_filter", "content_policy_violation")
WITHHELD = Completion("", "withheld", 0)
REFUSED = Completion("", "refused", 0)

# Servers' names for an end: OpenAI and vLLM, TGI (eos_token, stop_sequence), SGLang (abort), LM
# Studio (eosFound, maxPredictedTokensReached), Ollama (load, unload), Anthropic (end_turn,
# max_tokens), Google (SAFETY), Mistral (model_length). The first pattern found counts.
# If there is none ("stop", "tool_calls", null), the rest of the reply tells.
ENDS: Mapping[Literal[FinishReason, "broken"], str] = {
    "withheld": "filter|safety|recitation|blocklist|prohibited|sensitive|refus",
    "broken": "error|abort|cancel|fail|load|user|insufficient|interrupt",
    "length": "length|limit|max|full",
    "eos": "eos|eog|end",
    "stop": "sequence|string|word",
}
# A text that is tokenised again may have fewer token ids than were generated.
FEWER = 0.9


class TransientError(Exception):
    """A request failed, but another try may succeed."""

    def __init__(self, reason: str, pause: float | None = None, strikes: int = 1):
        """Say why; the server asks for `pause` seconds, and `strikes` is the failure's weight."""
        super().__init__(reason)
        self.pause, self.strikes = pause, strikes


class RefusalError(Exception):
    """A server is useless for all requests: no key, no such model, no such path."""


class RejectionError(Exception):
    """A server refuses one request; it may answer others."""


class WithheldError(Exception):
    """A server's content filter keeps back the reply to one request."""


def read_completion(
    reply: Any,
    body: Mapping[str, Any],
    sampling: Sampling,
    count: Callable[[str], int] | None = None,
) -> Completion:
    """Read a server's reply; the text is cut before any stop string left in it.

    `count` counts a text's tokens with a tokenizer here. Without it, and if the server gives no
    number either, `n_tokens` is 0.

    Raises:
        KeyError, IndexError, TypeError, ValueError: If the reply is no completion.
        RefusalError: If it shows that the server read another text than it was sent, or tells
            neither how a text ended nor how long it is.
    """
    choice = reply["choices"][0]
    said = choice.get("finish_reason")
    name = name_end(said)
    clear = name is not None or said == "stop"
    if name == "withheld":
        return WITHHELD
    if name == "broken":
        raise ValueError(f"finish_reason {said!r}")
    usage = reply.get("usage")
    check_reading(usage, body)
    # JSON can hold half a surrogate pair; UTF-8 cannot.
    text = encode(read_text(choice, chat="messages" in body)).decode()
    told = read_count(usage, "completion_tokens")
    tokens = count(text) if told is None and count else told
    if not said and tokens is None:
        raise RefusalError(
            "says neither how a text ended (finish_reason) nor how many tokens it has (usage); "
            "give the model a `tokenizer` in models.yml, to count them here"
        )
    ends = [text.find(stop) for stop in sampling.stop if stop in text]
    if ends:
        return Completion(text[: min(ends)], "stop", tokens or 0)
    enough = sampling.max_new_tokens * (FEWER if told is None else 1)
    if not clear and tokens is not None and tokens >= enough:
        name = "length"
    return Completion(text, name or read_stop(choice, sampling), tokens or 0)


def name_end(said: Any) -> Literal[FinishReason, "broken"] | None:
    """Return what a server's finish reason means; None if the rest of the reply must tell."""
    if isinstance(said, str):
        for name, pattern in ENDS.items():
            if re.search(pattern, said, re.IGNORECASE):
                return name
    return None


def read_stop(choice: Mapping[str, Any], sampling: Sampling) -> FinishReason:
    """Tell a stop string from the end of text, where the finish reason is only "stop".

    vLLM (`stop_reason`) and SGLang (`matched_stop`) say what stopped the text.
    """
    for field in ("stop_reason", "matched_stop"):
        if field in choice:
            return "stop" if choice[field] in sampling.stop else "eos"
    return "stop" if sampling.stop else "eos"


def read_text(choice: Mapping[str, Any], chat: bool) -> str:
    """Return a choice's text; null is an empty text, and of a list the text parts count.

    Raises KeyError or TypeError if there is none. A message counts only if a chat was requested.
    """
    found = choice["message"]["content"] if chat and "message" in choice else choice["text"]
    if isinstance(found, list):
        found = "".join(part["text"] for part in found if part["type"] == "text")
    if not isinstance(found, str | None):
        raise TypeError(f"a text is expected, not {found!r:.80}")
    return found or ""


def read_count(usage: Any, name: str) -> int | None:
    """Return a number of tokens that a server reports; None if it reports none."""
    found = usage.get(name) if isinstance(usage, dict) else None
    if isinstance(found, bool) or not isinstance(found, int | float) or found < 0:
        return None
    return int(found)


def check_reading(usage: Any, body: Mapping[str, Any]) -> None:
    """Raise RefusalError if a server read another number of tokens than it was sent.

    Some servers silently cut off the beginning of a text that is too long for them. Others put a
    template of their own around a text. Of token ids the number must be right, except for a bos
    token; a text has at least as many tokens as words. A `usage` without a number is accepted.
    """
    read = read_count(usage, "prompt_tokens")
    if not read:  # some report 0 for a cached text
        return
    sent = body["messages"][0]["content"] if "messages" in body else body["prompt"]
    if isinstance(sent, str):
        size, unit = len(sent.split()), "words"
        right = read >= size
    else:
        size, unit = len(sent), "tokens"
        details = usage.get("prompt_tokens_details") or {}
        cached = read_count(details, "cached_tokens") or 0
        right = not {read, read + cached}.isdisjoint((size, size + 1))
    if right:
        return
    help_ = "let it add nothing to a text"
    if read < size:
        help_ = f"let it read at least {size + body['max_tokens']} tokens (its context length)"
    raise RefusalError(
        f"read {read} tokens of a request of {size} {unit}, so it would answer another text; "
        f"{help_}"
    )


def read_error(reply: httpx.Response) -> tuple[str, str | None]:
    """Return a server's error message on one line, and its error code."""
    code = None
    try:
        error = reply.json()["error"]
        text = error["message"] if isinstance(error, dict) else error
        code = error.get("code") if isinstance(error, dict) else None
    except (ValueError, KeyError, TypeError):
        text = reply.text
    return " ".join(str(text).split())[:300] or reply.reason_phrase, code


def read_pause(header: str | None) -> float | None:
    """Read a Retry-After header in seconds; None if it is absent or a date."""
    try:
        return max(float(header), 0.0) if header is not None else None
    except ValueError:
        return None
