"""The options in which two runs differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from almost_kedro.processes.tracking import hide_user

# Characters of a value that are shown, and those before the first difference.
SHOWN, BEFORE = 200, 20


class OptionDifference(NamedTuple):
    """An option's values; None where the run doesn't have it."""

    name: str
    a: str | None
    b: str | None


def compare_options(a: Mapping[str, str], b: Mapping[str, str]) -> list[OptionDifference]:
    """Return the options that differ, by name; what is secret in a value is never in it.

    Of long values, the part is returned where they begin to differ.
    """
    differences = []
    for name in sorted(a.keys() | b.keys()):
        values = [hide_user(side[name]) if name in side else None for side in (a, b)]
        if values[0] != values[1]:
            differences.append(OptionDifference(name, *_shorten(values)))
    return differences


def _shorten(values: list[str | None]) -> list[str | None]:
    texts = [value for value in values if value is not None]
    if max(map(len, texts)) <= SHOWN:
        return values
    start = max(0, _count_equal(*texts) - BEFORE) if len(texts) > 1 else 0
    return [value and _cut(value, start) for value in values]


def _count_equal(a: str, b: str) -> int:
    """Return how many characters both texts begin with."""
    pairs = enumerate(zip(a, b, strict=False))
    return next((i for i, (one, two) in pairs if one != two), min(len(a), len(b)))


def _cut(value: str, start: int) -> str:
    end = start + SHOWN
    return ("... " if start else "") + value[start:end] + (" ..." if end < len(value) else "")
