"""From messages, as other programs have them, to the text of a dialogue."""

from __future__ import annotations

from collections.abc import Sequence

from almost_kedro.feedback.self_play import build_dialogue
from almost_kedro.options.rules import Rules
from almost_kedro.rows.dialogues import Message, check_turns


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
