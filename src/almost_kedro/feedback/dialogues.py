"""From a dialogue in plain text to messages, as chat templates and other programs take them."""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict  # so that it can be a field of other rows, too

from almost_kedro.errors import UserError

Role = Literal["user", "assistant"]
# How a turn begins, and who speaks next.
MARKS: dict[Role, str] = {"user": "\n\nHuman:", "assistant": "\n\nAssistant:"}
NEXT: dict[Role, Role] = {"user": "assistant", "assistant": "user"}
SHOWN = 40


class Message(TypedDict):
    """One turn of a dialogue."""

    role: Role
    content: str


def read_dialogue(dialogue: str) -> list[Message]:
    """Read a dialogue of `build_question` or `build_dialogue` as messages, which take turns.

    The one space after a label is not part of a text; "Assistant:" at the end, where an answer is
    awaited, is no message. A text ends only where the other speaker begins: "Human:" within a
    question stays in it.

    Raises UserError if the dialogue does not begin with "Human:" after an empty line.
    """
    role: Role = "user"
    if not dialogue.startswith(MARKS[role]):
        raise UserError(
            f"a dialogue begins with {dialogue[:SHOWN]!r}; it has to begin with {MARKS[role]!r}"
        )
    messages: list[Message] = []
    rest = dialogue.removeprefix(MARKS[role])
    while True:
        text, mark, after = rest.partition(MARKS[NEXT[role]])
        content = text.removeprefix(" ")
        if mark or content:
            messages.append(Message(role=role, content=content))
        if not mark:
            return messages
        role, rest = NEXT[role], after
