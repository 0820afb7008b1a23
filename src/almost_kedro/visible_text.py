"""Text that models wrote, made harmless: nothing in it acts on a terminal, a page or a reader."""

from __future__ import annotations


def make_visible(text: str) -> str:
    """Write as an escape what is no printable character and no line break.

    This is every control character (ANSI sequences start with one), every mark that changes the
    direction of writing, and every half of a surrogate pair.
    """
    if text.replace("\n", "").isprintable():
        return text  # nearly all texts, ten times as fast
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text
    )


def make_line(text: str) -> str:
    """Make visible what must stay on one line."""
    return make_visible(text).replace("\n", "\\n")
