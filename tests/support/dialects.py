"""How OpenAI-compatible servers write the reply to a completion, as their documentation has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from almost_kedro.contract import Completion

# Takes a completion, the tokens that were read and the request; returns the reply.
Dialect = Callable[[Completion, int, dict[str, Any]], dict[str, Any]]


def write(
    completion: Completion, read: int, said: str | None, text: str | None = None, **more: Any
) -> dict[str, Any]:
    """A reply in the words of OpenAI, with a finish reason of one's own."""
    text = completion.text if text is None else text
    return {
        "object": "text_completion",
        "choices": [{"index": 0, "text": text, "logprobs": None, "finish_reason": said, **more}],
        "usage": {
            "prompt_tokens": read,
            "completion_tokens": completion.n_tokens,
            "total_tokens": read + completion.n_tokens,
        },
    }


def name(eos: str, stop: str, length: str) -> Dialect:
    """A server that differs by its finish reasons alone."""
    names = {"eos": eos, "stop": stop, "length": length}
    return lambda completion, read, body: write(completion, read, names[completion.finish_reason])


def tgi(completion: Completion, read: int, body: dict[str, Any]) -> dict[str, Any]:
    """Leaves the stop string in the text."""
    names = {"eos": "eos_token", "stop": "stop_sequence", "length": "length"}
    text = completion.text
    if completion.finish_reason == "stop":
        text += body["stop"][0]
    return write(completion, read, names[completion.finish_reason], text)


def vllm(completion: Completion, read: int, body: dict[str, Any]) -> dict[str, Any]:
    said = "length" if completion.finish_reason == "length" else "stop"
    stopped = body["stop"][0] if completion.finish_reason == "stop" else None
    return write(completion, read, said, stop_reason=stopped)


def sglang(completion: Completion, read: int, body: dict[str, Any]) -> dict[str, Any]:
    said = "length" if completion.finish_reason == "length" else "stop"
    matched = {"eos": 2, "stop": body.get("stop", [""])[0], "length": None}
    return write(completion, read, said, matched_stop=matched[completion.finish_reason])


def ollama(completion: Completion, read: int, body: dict[str, Any]) -> dict[str, Any]:
    """Counts none of the tokens read if they were in its cache."""
    return OPENAI(completion, 0, body)


def without_reason(completion: Completion, read: int, body: dict[str, Any]) -> dict[str, Any]:
    return write(completion, read, None)


def without_usage(completion: Completion, read: int, body: dict[str, Any]) -> dict[str, Any]:
    return {**OPENAI(completion, read, body), "usage": None}


def without_both(completion: Completion, read: int, body: dict[str, Any]) -> dict[str, Any]:
    reply = without_reason(completion, read, body)
    del reply["usage"], reply["choices"][0]["finish_reason"]
    return reply


OPENAI = name("stop", "stop", "length")
# Servers that tell the end of text from a stop string.
CLEAR: dict[str, Dialect] = {
    "vLLM": vllm,
    "TGI": tgi,
    "SGLang": sglang,
    "LM Studio": name("eosFound", "stopStringFound", "maxPredictedTokensReached"),
    "Anthropic": name("end_turn", "stop_sequence", "max_tokens"),
}
# Those that call both "stop", or something as vague.
VAGUE: dict[str, Dialect] = {
    "OpenAI": OPENAI,
    "llama.cpp": name("stop", "stop", "limit"),
    "Ollama": ollama,
    "Google": name("STOP", "STOP", "MAX_TOKENS"),
    "Mistral": name("stop", "stop", "model_length"),
    "Cohere": name("COMPLETE", "COMPLETE", "MAX_TOKENS"),
    "tools": name("tool_calls", "tool_calls", "length"),
    "unheard of": name("done", "done", "length"),
    "no reason": without_reason,
}
