"""Turns of a chat, without a terminal; the chat program is a real one."""

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from option_values import make_options
from rich.console import Console

from almost_kedro.commands.chat.show import Columns, Lines, choose_view, describe_answer
from almost_kedro.commands.chat.talk import Talk
from almost_kedro.contract import ModelFolder, Request, Sampling
from almost_kedro.feedback.responses import STOPS
from almost_kedro.generation.embedded import EmbeddedEngine
from almost_kedro.jobs.chat import Chat, make_chat_job, open_chat
from almost_kedro.jobs.policies import Policy
from almost_kedro.training.chat_job import Answer, ChatJob

SAMPLING = Sampling(temperature=1.0, top_p=1.0, max_new_tokens=24, seed=4)
PREFIX = "Two talk.\n\nHuman: Hi.\n\nAssistant: Hello."


@pytest.fixture(scope="module")
def job(tiny_models: dict[str, Path]) -> ChatJob:
    """Two policies of one model; the original rules keep each answer as it is."""
    model = ModelFolder(name="tiny", folder=tiny_models["tiny-large"], fingerprint="tiny")
    options = make_options(rules="original", generation={"dtype": "float32"})
    policies = [Policy("base", model), Policy("prompted", model, PREFIX)]
    return make_chat_job(policies, [], SAMPLING, options)


@pytest.fixture(scope="module")
def chat(job: ChatJob) -> Iterator[Chat]:
    with open_chat(job) as chat:
        yield chat


def make_talk(chat: Chat, *names: str) -> tuple[Talk, io.StringIO]:
    screen = io.StringIO()
    return Talk(chat, names, "original", False, Console(file=screen, width=200)), screen


def test_each_policy_continues_its_own_dialogue(chat: Chat, tiny_models: dict[str, Path]) -> None:
    talk, screen = make_talk(chat, "base", "prompted")
    talk.answer("Why?")
    talk.answer("And so?")
    engine = EmbeddedEngine(tiny_models["tiny-large"], dtype="float32")
    first = "\n\nHuman: Why?\n\nAssistant:"
    for name, prefix in (("base", ""), ("prompted", PREFIX)):
        [(_, one), (_, two)] = talk.turns[name]
        # The rules read an answer up to the mark of the next turn.
        second = f"{first} {one}\n\nHuman: And so?\n\nAssistant: "
        for dialogue, answer in ((f"{first} ", one), (second, two)):
            [(_, completion)] = engine.generate([Request(dialogue, prefix)], SAMPLING)
            assert completion.text.strip() == answer
            assert not any(mark in answer for mark in STOPS)
    assert talk.turns["base"] != talk.turns["prompted"]
    assert screen.getvalue().count("24 tokens, cut off by the token limit") >= 2
    assert all(c.isprintable() or c == "\n" for c in screen.getvalue())


HOSTILE = ("\x1b[2J", "\u202e[red]x[/red]", "\x1b", "]0;title\x07", "\r<b>&amp;", "a\u2028b")


@pytest.mark.parametrize("names", [["rl"], ["base", "rl"]])
def test_what_a_policy_writes_does_nothing_in_the_terminal(names: list[str]) -> None:
    """Pieces arrive as they come: an escape sequence may be torn in two."""
    screen = io.StringIO()
    console = Console(file=screen, width=200, force_terminal=True, no_color=True)
    view = choose_view(console, names)
    assert isinstance(view, Columns if len(names) > 1 else Lines)
    with view:
        for name in names:
            view.begin(name)
            for piece in HOSTILE:
                view.add(piece)
            view.end("[bold]5 tokens[/bold]")
    shown = screen.getvalue()
    for mark in ("\x1b[2J", "\x1b]", "\u202e", "\x07", "\u2028", "\r<"):
        assert mark not in shown, repr(mark)
    for text in ("[red]x[/red]", "]0;title", "<b>&amp;", "[bold]5 tokens[/bold]"):
        assert text in shown, text


def test_a_dialogue_that_is_full_is_one_line_and_a_new_one_has_room(chat: Chat) -> None:
    talk, screen = make_talk(chat, "base")
    talk.turns["base"] = [("Why?", "x" * 16_400)]
    talk.answer("And so?")
    [line] = [line for line in screen.getvalue().splitlines() if "the dialogue has" in line]
    assert re.fullmatch(
        r"the dialogue has 164\d\d tokens \(demonstrations included\) and an answer may have 24, "
        r"but the model reads 16384; lower --max-new-tokens, or begin a new dialogue by /new *",
        line,
    )
    assert len(talk.turns["base"]) == 1
    talk._obey("/new")
    talk.answer("And so?")
    assert len(talk.turns["base"]) == 1


def test_rewards_without_reward_models_are_refused_in_one_line(chat: Chat) -> None:
    talk, screen = make_talk(chat, "base")
    talk._obey("/rewards")
    assert "no rewards: there are no reward models; run `kedro run" in screen.getvalue()
    assert not talk.rewards


@pytest.mark.parametrize(
    ("answer", "shown", "line"),
    [
        (
            ("Yes.", "eos", [0.25, -1.5]),
            "Yes.",
            "ended by itself; reward 0.250, held-out reward -1.500",
        ),
        (
            ("Yes.", "length", []),
            "Yes. And",
            "cut off by the token limit; its last 4 characters, an unfinished sentence, "
            "do not count",
        ),
        (
            ("", "length", []),
            "And",
            "cut off by the token limit; no answer is left, so the dialogue goes on without it",
        ),
    ],
)
def test_a_line_says_what_became_of_an_answer(
    answer: tuple[str, Any, list[float]], shown: str, line: str
) -> None:
    text, reason, rewards = answer
    told = Answer(kind="answer", text=text, finish_reason=reason, n_tokens=3, rewards=rewards)
    assert describe_answer(told, shown) == f"[3 tokens, {line}]"
