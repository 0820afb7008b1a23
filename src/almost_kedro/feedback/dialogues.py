"""Between messages, as other programs have them, and the texts that models are trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

from almost_kedro.feedback.self_play import build_dialogue
from almost_kedro.options.rules import Rules


class Message(TypedDict):
    """A turn of a dialogue; `role` is user or assistant."""

    role: str
    content: str


def write_dialogue(messages: Sequence[Message], rules: Rules) -> str:
    """Write messages up to where the assistant answers (rule 9); the last one is of the user.

    White space around a text is dropped, as the rules do. Raises ValueError for another role or
    another order of turns than user, assistant, user.
    """
    check_turns(messages)
    if len(messages) % 2 == 0:
        raise ValueError("the last message is not the user's")
    texts = [message["content"].strip() for message in messages]
    turns = list(zip(texts[:-1:2], texts[1::2], strict=True))
    return build_dialogue(turns, texts[-1], rules)


def check_turns(messages: Any) -> None:
    """Raise ValueError unless user and assistant take turns, the user first, with texts."""
    if not isinstance(messages, list) or not messages:
        raise ValueError(f"found {messages!r:.60} and no list of messages")
    for number, message in enumerate(messages):
        wanted = "assistant" if number % 2 else "user"
        role = message.get("role") if isinstance(message, dict) else None
        if role != wanted:
            raise ValueError(f"message {number + 1} is of role {role!r}, and {wanted} is expected")
        if not isinstance(message.get("content"), str) or not message["content"].strip():
            raise ValueError(f"message {number + 1} has no text")
