"""Reads a judge's review: the scores of two answers, in the ways in which judges write them.

Only what has a single reading is read. Anything else is no review: nothing here is a guess.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import islice

Scores = tuple[float, float]

# How models mark their thoughts before the answer: DeepSeek and Qwen (<think>), Mistral
# ([THINK]), Kimi, Seed (<seed:think>), gpt-oss (channels). Most servers take it out.
_THOUGHT = r"(?:\w+:)?(?:think|thinking|thoughts?|reasoning|analysis|reflection|scratchpad)"
_OPEN = re.compile(rf"[<\[◁]{_THOUGHT}[>\]▷]|<\|channel\|>(?:analysis|commentary)", re.I)
_CLOSE = re.compile(rf"[<\[◁]/{_THOUGHT}[>\]▷]|<\|channel\|>final<\|message\|>", re.I)
# The frame of an answer, and a model's own marks.
_FRAMES = re.compile(r"</?(?:answer|response|output|result|scores?)>|<\|\w+\|>|</s>", re.I)
_FENCE = re.compile(r"(?:`{3,}|~{3,})\w*")
# Marks around a score or a line without a meaning. A single star or angle may have one: 8*7, 8 > 7.
_WRAPPERS = [
    re.compile(pattern)
    for pattern in (
        r"\*+([^*]+)\*+",
        r"`+([^`]+)`+",
        r'["\u201c\u201d]([^"\u201c\u201d]+)["\u201c\u201d]',
        r"(?<!\w)_+([^_]+)_+(?!\w)",
        r"\[+([^\[\]]*)\]+",
        r"<([^<>]*)>",
        r"\{([^{}]*)\}",
    )
]
_BULLET = re.compile(r"(?:[-*\u2022>|]|#+)\s+")

# A score from 1 to 10, perhaps with the end of the scale. Both scores have the same form.
_UNIT = r"(?:\s*(?:points?|pts|分|점|点))?"
_FORMS = [rf"{of}{_UNIT}" for of in ("", r"\s*/\s*10", r"\s+out\s+of\s+10")]
_POINT, _COMMA = r"([0-9]+(?:\.[0-9]+)?)", r"([0-9]+(?:,(?!10\b)[0-9]{1,2})?)"
# Between two scores. Where a comma may be a decimal one, it needs a space to separate scores.
_PART, _WIDE_PART = (rf"(?:\s*[{marks}]\s*|,\s+|\s+(?:and\s+)?)" for marks in (",;|", ";|"))
_PAIRS = [
    re.compile(number + form + part + number + form, re.I)
    for number, part in ((_POINT, _PART), (_COMMA, _WIDE_PART))
    for form in _FORMS
]
# The name of an answer before its score: "Assistant 1:", "score of B =", "Answer 2 -", "1.".
_NAMES = {"1": 0, "a": 0, "one": 0, "first": 0, "2": 1, "b": 1, "two": 1, "second": 1}
_NAME = r"(?:\b|(?<=[^\W\d_]))([12]|\ba|\bb|\bone|\btwo|\bfirst|\bsecond)\b"
_WORDS = r"[^\d:=,;|]*?"
_DASH = r"\s+[-\u2013\u2014]\s+"
_LABEL = rf"(?:(?![12]{_DASH}){_WORDS}{_NAME}{_WORDS}(?:\s*[:=]\s*|{_DASH})|([12])[.)]\s+)"
_SCORE = rf"(?:{_POINT}|{_COMMA})(?:{'|'.join(_FORMS)})"
_SINGLE = re.compile(rf"({_LABEL})?\s*{_SCORE}", re.I)
# A line above the scores, or words before them, with no digit in them.
_HEADING = re.compile(r"[^\d:]*:|(?:the\s+|my\s+)?(?:final\s+)?(?:scores?|ratings?|json)", re.I)
_PREAMBLE = re.compile(r"([^\d:]*):\s*(?=\d)")
_OF_ONE = re.compile(r"\b(?:A|B|(?i:first|second))\b")
# Scores are in the first lines; a line of more characters than this is prose.
_LINES, _LONGEST = 4, 200


def parse_review(text: str, cut_off: bool = False) -> Scores | None:
    """Read the scores of both answers: two numbers from 1 to 10, before anything else is said.

    None if there are no scores, or if they could be read in two ways. The judge's earlier thoughts
    do no harm where their end is marked. Nor do a heading, a code fence, emphasis, "/10", names of
    the answers, decimal commas, or digits of another script.

    `cut_off`: the token limit ended the reply; its last line may then be incomplete.
    """
    text = simplify(text.rpartition("\n")[0] if cut_off else text)
    before, *after = _CLOSE.split(text)
    thinks = _OPEN.match(before.lstrip()) is not None
    ends = [None if thinks else read_scores(before), *map(read_scores, after)]
    # A reply may also quote the mark, so scores must be at the beginning or after the last mark.
    found = set(ends) - {None}
    return found.pop() if len(found) == 1 and (ends[0] or ends[-1]) else None


def simplify(text: str) -> str:
    """Write digits and full-width marks as ASCII, and drop invisible characters."""
    plain = []
    for character in text:
        if character.isdecimal():
            character = str(unicodedata.decimal(character))
        elif "\uff01" <= character <= "\uff5e":
            character = chr(ord(character) - 0xFEE0)
        elif unicodedata.category(character) == "Cf":
            character = ""
        plain.append({"\u3001": ",", "\u060c": ",", "\u066b": "."}.get(character, character))
    return "".join(plain)


def read_scores(text: str) -> Scores | None:
    """Read the scores at the beginning of a text: on one line, or on a line each."""
    cleaned = map(clean_line, _FRAMES.sub("\n", text).splitlines())
    lines = list(islice(filter(None, cleaned), _LINES))
    if lines and _HEADING.fullmatch(lines[0]):
        del lines[0]
    if not lines:
        return None
    first = lines[0]
    preamble = _PREAMBLE.match(first)
    if preamble and not _OF_ONE.search(preamble[1]):
        first = first[preamble.end() :]
    found = read_pair(first)
    if found is None and len(lines) > 1 and not any(map(_SINGLE.fullmatch, lines[2:3])):
        found = join_singles(*map(_SINGLE.fullmatch, lines[:2]))
    if found is None or min(found) < 1 or max(found) > 10:
        return None
    return found


def clean_line(line: str) -> str:
    """Take a line out of its markup; a line of only markup becomes empty."""
    line = line.strip()
    if _FENCE.fullmatch(line) or not any(map(str.isalnum, line)):
        return ""
    if len(line) > _LONGEST:
        return "..."
    line = _BULLET.sub("", line, count=1) if _BULLET.match(line) else line
    for wrapper in _WRAPPERS:
        line = wrapper.sub(r" \1 ", line)
    # An underscore separates words; between digits it might have a meaning.
    line = re.sub(r"(?<=[^\W\d_])_|_(?=[^\W\d_])", " ", line)
    return line.strip().strip("{}|,;").rstrip(".").strip()


def read_pair(line: str) -> Scores | None:
    """Read two scores on a line, bare or each after the name of its answer."""
    line = line[1:-1].strip() if line.startswith("(") and line.endswith(")") else line
    for pattern in _PAIRS:
        if found := pattern.fullmatch(line):
            return _number(found[1]), _number(found[2])
    for part in re.finditer(r"\s*[,;|.]?\s+(?:and\s+)?|[,;|]", line):
        singles = [_SINGLE.fullmatch(line[: part.start()]), _SINGLE.fullmatch(line[part.end() :])]
        if all(single and single[1] for single in singles):
            return join_singles(*singles)
    return None


def join_singles(first: re.Match[str] | None, second: re.Match[str] | None) -> Scores | None:
    """Put two scores in order: by the names of their answers, if both have one."""
    if first is None or second is None:
        return None
    scores = [_number(found[4] or found[5]) for found in (first, second)]
    names = [_NAMES.get((found[2] or found[3] or "").lower()) for found in (first, second)]
    if names == [1, 0]:
        scores.reverse()
    elif names not in ([0, 1], [None, None]):
        return None
    return scores[0], scores[1]


def _number(text: str) -> float:
    return float(text.replace(",", "."))
