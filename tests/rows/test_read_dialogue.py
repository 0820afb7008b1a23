"""Dialogues as messages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from almost_kedro.errors import UserError
from almost_kedro.feedback.responses import build_question
from almost_kedro.feedback.reward_rows import choose_separator
from almost_kedro.feedback.self_play import build_dialogue
from almost_kedro.options.rules import Rules
from almost_kedro.rows.dialogues import MARKS, Message, read_dialogue

# Pieces from which labels, spaces and line breaks come together at every place.
PIECES = st.sampled_from(["Human", "Assistant", ":", " ", "\n", "\n\n", "Human:", "x", "é", "?"])
TEXTS = st.lists(PIECES, min_size=1, max_size=12).map("".join)


def is_whole(text: str) -> bool:
    """Whether rules 11 and 24 could leave such a text: neither label follows an empty line."""
    around = f"\n\nHuman: {text}\n\nAssistant:"
    return all(around.count(mark) == 1 for mark in MARKS.values())


TURNS = TEXTS.filter(is_whole)


def say(role: str, content: str) -> Message:
    return {"role": role, "content": content}  # type: ignore[typeddict-item]


def test_a_question_is_one_message_under_both_rule_sets() -> None:
    assert build_question("Why?", "original").endswith("Assistant: ")
    for rules in ("original", "corrected"):
        assert read_dialogue(build_question("Why?", rules)) == [say("user", "Why?")]


def test_turns_become_messages() -> None:
    dialogue = "\n\nHuman: Hi.\n\nAssistant: Hello.\n\nHuman: Why?\n\nAssistant: One:\n\n- two"
    assert read_dialogue(dialogue) == [
        say("user", "Hi."),
        say("assistant", "Hello."),
        say("user", "Why?"),
        say("assistant", "One:\n\n- two"),
    ]


@given(earlier=st.lists(st.tuples(TURNS, TURNS), max_size=3), question=TURNS, answer=TURNS)
@pytest.mark.parametrize("rules", ["original", "corrected"])
def test_what_was_built_is_read_back(
    rules: Rules, earlier: list[tuple[str, str]], question: str, answer: str
) -> None:
    dialogue = build_dialogue(earlier, question, rules)
    messages = [
        say(role, text)
        for turn in earlier
        for role, text in zip(("user", "assistant"), turn, strict=True)
    ]
    messages.append(say("user", question))
    assert read_dialogue(dialogue) == messages
    whole = dialogue + choose_separator(rules) + answer
    assert read_dialogue(whole) == [*messages, say("assistant", answer)]


def test_a_label_within_a_text_ends_no_turn() -> None:
    text = "Write a play.\n\nHuman: I am one.\n Assistant: So am I."
    assert read_dialogue(build_question(text, "corrected")) == [say("user", text)]


def test_what_is_no_dialogue_is_refused() -> None:
    with pytest.raises(UserError, match=r"^a dialogue begins with 'Human: Why\?'; it has to begin"):
        read_dialogue("Human: Why?")
