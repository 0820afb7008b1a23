"""The formats, after TRL's conversational ones, and how each type of rows becomes one.

Other programs take TRL's columns as they are. The columns before them lead back: `kedro trace` and
`kedro rows` know every id in them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Any, Literal

from typing_extensions import TypedDict

from almost_kedro.feedback.responses import build_question
from almost_kedro.rows.dialogues import Message, read_dialogue
from almost_kedro.rows.feedback import Comparison
from almost_kedro.rows.training import AsIsPair, Demonstration, MismatchedPair

Format = Literal["preference", "prompt-completion", "messages"]


class PreferenceRow(TypedDict):
    """A comparison: `prompt` is the dialogue, the others are one answer each.

    What a pair has no column for is empty: a pair of the user's has no ids but its own, and nobody
    who wrote it. A mismatched pair's id stands in `comparison_id`, and its rejected answer is to
    another prompt.
    """

    comparison_id: str
    prompt_id: str
    chosen_id: str
    rejected_id: str
    chosen_assistant: str
    rejected_assistant: str
    prompt: list[Message]
    chosen: list[Message]
    rejected: list[Message]


class CompletionRow(TypedDict):
    """A dialogue, and the answer to be learned; `row_id` names what the answer is from."""

    row_id: str
    prompt_id: str
    prompt: list[Message]
    completion: list[Message]


class MessagesRow(TypedDict):
    """A whole dialogue, which ends with an answer; see `CompletionRow`."""

    row_id: str
    prompt_id: str
    messages: list[Message]


Row = Mapping[str, Any]
ROW_TYPES: Mapping[Format, type] = {
    "preference": PreferenceRow,
    "prompt-completion": CompletionRow,
    "messages": MessagesRow,
}


def compare_answers(rows: Iterable[Row], key: str) -> Iterator[PreferenceRow]:
    """Write pairs as preferences; `key` names the column with a pair's own id."""
    for row in rows:
        yield PreferenceRow(
            comparison_id=row[key],
            prompt_id=row.get("prompt_id", ""),
            chosen_id=row.get("chosen_id", ""),
            rejected_id=row.get("rejected_id", ""),
            chosen_assistant=row.get("chosen_assistant", ""),
            rejected_assistant=row.get("rejected_assistant", ""),
            prompt=ask(row["prompt"]),
            chosen=answer(row["chosen"]),
            rejected=answer(row["rejected"]),
        )


def complete_prompts(rows: Iterable[Comparison]) -> Iterator[CompletionRow]:
    """Write chosen answers as completions: each once, though it may beat several others."""
    for row in {row["chosen_id"]: row for row in rows}.values():
        yield CompletionRow(
            row_id=row["chosen_id"],
            prompt_id=row["prompt_id"],
            prompt=ask(row["prompt"]),
            completion=answer(row["chosen"]),
        )


def complete_as_is(rows: Iterable[AsIsPair]) -> Iterator[CompletionRow]:
    """Write the chosen answers of the user's pairs as completions."""
    for row in rows:
        yield CompletionRow(
            row_id=row["pair_id"],
            prompt_id="",
            prompt=ask(row["prompt"]),
            completion=answer(row["chosen"]),
        )


def complete_dialogues(rows: Iterable[Demonstration]) -> Iterator[CompletionRow]:
    """Write demonstrations as completions of their dialogues."""
    for row in rows:
        yield CompletionRow(
            row_id=row["demonstration_id"],
            prompt_id=row["prompt_id"],
            prompt=read_dialogue(row["dialogue"]),
            completion=answer(row["answer"]),
        )


def select_whole(rows: Iterable[Demonstration]) -> Iterator[Demonstration]:
    """Return the last demonstration of each dialogue, up to which none was dropped.

    The others are its beginning. An answer that was dropped must not be learned as part of a later
    turn's dialogue, so turns after it are left out, too.
    """
    ordered = sorted(rows, key=itemgetter("prompt_id", "turn"))
    for _, turns in groupby(ordered, key=itemgetter("prompt_id")):
        whole = [row for turn, row in enumerate(turns, 1) if row["turn"] == turn]
        yield from whole[-1:]


def hold_dialogues(rows: Iterable[CompletionRow]) -> Iterator[MessagesRow]:
    """Write completions as whole dialogues."""
    for row in rows:
        yield MessagesRow(
            row_id=row["row_id"],
            prompt_id=row["prompt_id"],
            messages=[*row["prompt"], *row["completion"]],
        )


def ask(prompt: str) -> list[Message]:
    """Write a prompt as messages; one that has turns of its own is read as these."""
    return read_dialogue(build_question(prompt, "corrected"))


def answer(text: str) -> list[Message]:
    """Write an answer as messages."""
    return [Message(role="assistant", content=text)]


Maker = Callable[[Iterable[Any]], Iterator[Any]]
# By type of row: what can be made of it.
MAKERS: Mapping[type, Mapping[Format, Maker]] = {
    Comparison: {
        "preference": partial(compare_answers, key="comparison_id"),
        "prompt-completion": complete_prompts,
        "messages": lambda rows: hold_dialogues(complete_prompts(rows)),
    },
    AsIsPair: {
        "preference": partial(compare_answers, key="pair_id"),
        "prompt-completion": complete_as_is,
        "messages": lambda rows: hold_dialogues(complete_as_is(rows)),
    },
    MismatchedPair: {"preference": partial(compare_answers, key="mismatched_id")},
    Demonstration: {
        "prompt-completion": complete_dialogues,
        "messages": lambda rows: hold_dialogues(complete_dialogues(select_whole(rows))),
    },
}
