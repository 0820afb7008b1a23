"""Sentence ends, words and text lengths in any script (`corrected`).

The paper's rules count characters, words and final punctuation of English. Here they follow
Unicode's properties, so that they mean about the same in other scripts; English stays as before.
Chinese, Japanese, Thai, Lao, Khmer and Burmese have no spaces between words. Thai and Lao have no
mark at a sentence's end.
"""

from __future__ import annotations

import re

import regex

# How many English characters one character of a script is worth: our own rounded estimates.
WIDTHS = {
    3: regex.compile(r"\p{Script=Han}"),
    2: regex.compile(r"[\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}]"),
}
# Each character counts as a word: there are many, so two texts share few by chance.
SYLLABIC = r"\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Bopomofo}"
# Alphabets without spaces: single letters would be in every text.
UNSPACED = r"\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}"
# This many letters in a row, each with its marks, distinguish texts about as well as words.
LETTERS = 2
# Marks that are part of a word. Accents, keycaps and forms of emoji are not: they split English
# words as before.
MARK = r"[\p{M}--[\u0300-\u036f\u20d0-\u20ff\ufe00-\ufe0f]]"
SPACED = rf"[[\p{{L}}\p{{N}}_]--[{SYLLABIC}{UNSPACED}]]"
TOKEN = regex.compile(
    rf"(?P<unspaced>[{UNSPACED}]+)|[{SYLLABIC}]|{SPACED}(?:{SPACED}|{MARK})*|[^\p{{L}}\p{{N}}_\s]",
    regex.VERSION1,
)
ASCII_TOKEN = re.compile(r"\w+|[^\w\s]")
LETTER = regex.compile(r"\X")
WITHOUT_SPACES = regex.compile(rf"[{SYLLABIC}{UNSPACED}]")

# May follow a mark that ends a sentence.
CLOSERS = r"[\p{Pe}\p{Pf}\p{Pi}\"'\uff02\uff07*_]*"
# Sentence ends outside ASCII: Unicode's property, and Tibetan's strokes, which lack it. A full
# stop of full width can be a decimal point. In Greek, ";" is the question mark; in Armenian, ":" is
# often typed for the full stop.
END = (
    r"(?:[[\p{Sentence_Terminal}\u0f0d\u0f0e]--[.!?\uff0e]]|\uff0e(?!\d)"
    r"|(?<=\p{Script=Greek}[\"')\u00bb]*)[;\u037e]|(?<=\p{Script=Armenian}):)"
)
ENDS = regex.compile(rf"{END}(?:{END}|[.!?])*{CLOSERS}", regex.VERSION1)
LAST_END = regex.compile(rf"{END}[.!?]*{CLOSERS}\Z", regex.VERSION1)
# Armenian's question mark stands within the sentence, which ends as any other.
QUESTION_MARKS = (
    "\u061f\u1367\u1945\u2047\u2048\u2049\u2cfa\u2cfb\u2e2e\u2e54"
    "\ua60f\ua6f7\ufe16\ufe56\uff1f\U00011143"
)
LAST_QUESTION = regex.compile(
    rf"(?:[{QUESTION_MARKS}]|(?<=\p{{Script=Greek}})[;\u037e]|\u055e[^\u0589:.!?]*[\u0589:]?)"
    rf"{CLOSERS}\Z"
)
LAST_COLON = regex.compile(r"[\uff1a\ufe55\ufe13]\Z|(?<!\p{Script=Armenian}):\Z")
WITHOUT_MARKS = regex.compile(rf"[\p{{Script=Thai}}\p{{Script=Lao}}]{CLOSERS}\Z")


def measure_length(text: str) -> int:
    """Return a text's length in characters of English.

    Chinese says in about 10 characters what takes 30 in English.
    """
    if text.isascii():
        return len(text)
    extra = sum((width - 1) * len(kind.findall(text)) for width, kind in WIDTHS.items())
    return len(text) + extra


def ends_sentence(text: str) -> bool:
    """Tell whether a text ends in final punctuation.

    A mark in ASCII must be the last character, as in the original; closing quotes and brackets may
    follow any other mark.
    """
    return text.endswith((".", "?", "!")) or bool(LAST_END.search(text))


def can_end_without_mark(text: str) -> bool:
    """Tell whether a text ends in a script whose sentences end without a mark."""
    return bool(WITHOUT_MARKS.search(text))


def find_other_ends(text: str) -> list[int]:
    """Find the sentence ends that are not in ASCII; no space need follow."""
    return [] if text.isascii() else [match.end() for match in ENDS.finditer(text)]


def ends_openly(text: str) -> bool:
    """Tell whether a text ends in a question or in a colon (rule 12)."""
    if text.isascii():
        return text.endswith(("?", ":"))
    return text.endswith("?") or bool(LAST_QUESTION.search(text) or LAST_COLON.search(text))


def split_words(text: str) -> list[str]:
    """Split into words and punctuation marks.

    Scripts without spaces are split into characters (Chinese, Japanese) or overlapping pairs of
    letters (Thai, Lao, Khmer, Burmese).
    """
    if text.isascii():
        return ASCII_TOKEN.findall(text)
    tokens: list[str] = []
    for match in TOKEN.finditer(text):
        tokens += _list_runs(match[0]) if match["unspaced"] else [match[0]]
    return tokens


def _list_runs(text: str) -> list[str]:
    letters = LETTER.findall(text)
    last = max(len(letters) - LETTERS, 0)
    return ["".join(letters[i : i + LETTERS]) for i in range(last + 1)]


def is_word(token: str) -> bool:
    """Tell a word from a punctuation mark."""
    return token[0].isalnum() or token[0] == "_"


def has_no_spaces(token: str) -> bool:
    """Tell whether a token is of a script without spaces: it is then less than a word."""
    return bool(WITHOUT_SPACES.match(token))
