"""Reads dialogues and answers in the forms that files of them have."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from almost_kedro.errors import UserError
from almost_kedro.feedback.dialogues import write_dialogue
from almost_kedro.feedback.reward_rows import AnswerRow
from almost_kedro.options.rules import Rules
from almost_kedro.rows.dialogues import Message, check_turns

# Names of the column that holds a single answer.
ANSWERS = ("completion", "answer", "response")
FORMS = (
    "messages; prompt and completion (or answer, response); prompt, chosen and rejected; "
    "chosen and rejected; dialogue and answer; question and answer"
)


def read_file(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Read JSON lines with their line numbers; raise UserError for a line that is no object."""
    try:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield number, read_line(line, f"{file}, line {number}")
    except OSError as exc:
        raise UserError(f"{file}: can't be read ({exc.strerror or exc})") from exc
    except UnicodeDecodeError as exc:
        raise UserError(f"{file}: is not UTF-8 text ({exc.reason}); give JSON lines") from exc


def read_line(line: str, where: str) -> dict[str, Any]:
    """Read a JSON object."""
    try:
        found = json.loads(line)
    except ValueError as exc:
        raise UserError(f"{where}: is not JSON ({exc}); give one object a line") from exc
    if not isinstance(found, dict):
        raise UserError(f"{where}: is no JSON object; give one object a line")
    return found


def list_answers(
    rows: Iterable[tuple[int, Mapping[str, Any]]], file: Path, rules: Rules
) -> dict[int, list[AnswerRow]]:
    """Return each line's answers: one, or of a pair the chosen and the rejected one.

    Raises UserError for the first line in none of the `FORMS`, and if there is no line.
    """
    answers: dict[int, list[AnswerRow]] = {}
    for number, row in rows:
        try:
            answers[number] = [
                AnswerRow(id=f"{number}:{side}", dialogue=dialogue, answer=answer)
                for side, (dialogue, answer) in read_sides(row, rules).items()
            ]
        except ValueError as exc:
            raise UserError(f"{file}, line {number}: {exc}; a line has {FORMS}") from exc
    if not answers:
        raise UserError(f"{file}: has no line to score; a line has {FORMS}")
    return answers


def read_sides(row: Mapping[str, Any], rules: Rules) -> dict[str, tuple[str, str]]:
    """Return dialogue and answer by "chosen" and "rejected", or one of them as "answer"."""
    if {"chosen", "rejected"} <= row.keys():
        return {side: split(row.get("prompt"), row[side], rules) for side in ("chosen", "rejected")}
    if "messages" in row:
        return {"answer": split(None, row["messages"], rules)}
    name = next((name for name in ANSWERS if name in row), None)
    if name and "dialogue" in row:
        return {"answer": (read_text(row["dialogue"], "dialogue"), read_text(row[name], name))}
    if name and "prompt" in row:
        return {"answer": split(row["prompt"], row[name], rules)}
    if name == "answer" and "question" in row:
        return {"answer": split_row_of_chat(row["question"], row[name], rules)}
    raise ValueError(f"found the columns {', '.join(row) or 'none'}")


def split_row_of_chat(question: Any, answer: Any, rules: Rules) -> tuple[str, str]:
    """Return dialogue and answer of a row of `kedro chat --ask`.

    A policy may have answered nothing that counts: that is rewarded too, as in a run's own tests.
    """
    text = read_text(question, "question")
    if answer == "":
        return write_dialogue([Message(role="user", content=text)], rules), ""
    return split(text, answer, rules)


def split(prompt: Any, answer: Any, rules: Rules) -> tuple[str, str]:
    """Return a dialogue up to the last answer, and that answer.

    Both are a text or a list of messages; without a prompt, `answer` is the whole dialogue.
    """
    messages = [*as_messages(prompt, "user", "prompt"), *as_messages(answer, "assistant", "answer")]
    check_turns(messages)
    if messages[-1]["role"] != "assistant":
        raise ValueError("the last message is not the assistant's")
    return write_dialogue(messages[:-1], rules), messages[-1]["content"].strip()


def as_messages(found: Any, role: str, name: str) -> list[Any]:
    """Return messages, of which a text is one; None has none."""
    if found is None or isinstance(found, list):
        return found or []
    return [{"role": role, "content": read_text(found, name)}]


def read_text(found: Any, name: str) -> str:
    """Return a text that is not blank."""
    if not isinstance(found, str) or not found.strip():
        raise ValueError(f"{name} is {found!r:.60} and no text")
    return found
