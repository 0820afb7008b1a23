"""Answers a file of questions without a terminal: JSON lines."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NotRequired, TypedDict

from almost_kedro.errors import UserError
from almost_kedro.feedback.self_play import build_dialogue
from almost_kedro.jobs.chat import Chat, RefusalError
from almost_kedro.options.rules import Rules

# The file that stands for standard input.
STDIN = "-"


class AnsweredQuestion(TypedDict):
    """A policy's answer to a question; the rewards are there if they were asked for."""

    question: str
    policy: str
    answer: str
    finish_reason: str
    n_tokens: int
    reward: NotRequired[float]
    held_out_reward: NotRequired[float]


def read_questions(file: str) -> list[str]:
    """Read questions, one a line, or JSON lines with `prompt`; "-" is standard input.

    Raises UserError if there is no such file, no question in it, or a line without `prompt`.
    """
    try:
        content = sys.stdin.buffer.read() if file == STDIN else Path(file).read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as exc:
        raise UserError(
            f"--ask {file}: {exc.strerror}; give a file with a question a line"
        ) from exc
    except UnicodeDecodeError as exc:
        raise UserError(f"--ask {file}: not UTF-8 ({exc.reason}); convert it") from exc
    lines = [(n, line.strip()) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        raise UserError(f"--ask {file}: there is no question in it; give one a line")
    if not lines[0][1].startswith("{"):
        return [line for _, line in lines]
    return [read_prompt(line, f"--ask {file}, line {number}") for number, line in lines]


def read_prompt(line: str, where: str) -> str:
    """Read the `prompt` of a JSON line; raise UserError, with `where`, if it has none."""
    try:
        prompt = json.loads(line)["prompt"]
    except (ValueError, KeyError, TypeError):
        prompt = None
    if not isinstance(prompt, str) or not prompt.strip():
        raise UserError(f'{where}: no JSON object with a "prompt"; write {{"prompt": "..."}}')
    return prompt.strip()


def answer_questions(
    questions: Sequence[str], names: Sequence[str], chat: Chat, rules: Rules, rewards: bool
) -> Iterator[AnsweredQuestion]:
    """Let each policy answer each question, in a dialogue of its own.

    Raises UserError at a question that is too long, or if the program has ended.
    """
    for number, question in enumerate(questions, 1):
        dialogue = build_dialogue([], question, rules)
        for name in names:
            try:
                answer = chat.ask(name, dialogue, rewards)
            except RefusalError as exc:
                raise UserError(f"question {number}, policy {name}: {exc}") from exc
            row = AnsweredQuestion(
                question=question,
                policy=name,
                answer=answer["text"],
                finish_reason=answer["finish_reason"],
                n_tokens=answer["n_tokens"],
            )
            if rewards:
                row["reward"], row["held_out_reward"] = answer["rewards"]
            yield row
            sys.stdout.flush()
