"""Makes text of models harmless: it cannot act on a terminal, a page or a reader."""

from __future__ import annotations


def make_visible(text: str) -> str:
    """Escape all characters that are not printable, except line breaks.

    These are control characters (ANSI sequences start with one), marks that change the direction of
    writing, and halves of surrogate pairs.
    """
    if text.replace("\n", "").isprintable():
        return text  # nearly all texts, ten times as fast
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text
    )


def make_line(text: str) -> str:
    """Make text visible on one line: line breaks are escaped, too."""
    return make_visible(text).replace("\n", "\\n")
