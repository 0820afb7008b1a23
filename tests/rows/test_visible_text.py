"""Nothing that a model wrote acts on a terminal, a page or a reader."""

import pytest

from almost_kedro.rows.visible_text import make_line, make_visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("naïve 漢字 🙂 a\u0301", "naïve 漢字 🙂 a\u0301"),
        ("one\ntwo", "one\ntwo"),
        ("\x1b[31mred\x1b]0;title\x07", r"\x1b[31mred\x1b]0;title\x07"),
        ("\x9b2J\x00\x08\x7f\r\t", r"\x9b2J\x00\x08\x7f\r\t"),
        (
            "\u202eevil\u202c \u2066a\u2069 \u200f\u200e",
            r"\u202eevil\u202c \u2066a\u2069 \u200f\u200e",
        ),
        ("\u2028\u2029\x85\u200b\ufeff", r"\u2028\u2029\x85\u200b\ufeff"),
        ("half \ud83d", r"half \ud83d"),
        ("\U000e0041tag", r"\U000e0041tag"),
    ],
)
def test_what_acts_on_a_terminal_is_shown_as_an_escape(text: str, shown: str) -> None:
    assert make_visible(text) == shown


def test_a_line_stays_one_line() -> None:
    assert make_line("one\ntwo\r\x1b[2J") == r"one\ntwo\r\x1b[2J"
