"""Figures are finite or refused: others would spread through sums and win comparisons."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from almost_kedro.errors import UserError


def require_finite(value: float, what: str) -> float:
    """Return the value; raise UserError, which names `what`, if it is not finite."""
    if not math.isfinite(value):
        raise UserError(f"{what} is {value}; only finite figures count")
    return value


def find_endless(value: Any, where: str = "") -> str:
    """Name the place and value of the first number that is not finite; empty if there is none.

    `where` is what the row or document itself is called.
    """
    match value:
        case float() if not math.isfinite(value):
            return f"{where or 'it'} is {value}"
        case Mapping():
            parts = [(f"{where}.{key}" if where else str(key), each) for key, each in value.items()]
        case list() | tuple():
            parts = [(f"{where}.{number}", each) for number, each in enumerate(value)]
        case _:
            return ""
    return next(filter(None, (find_endless(each, name) for name, each in parts)), "")
