"""Figures are finite or refused: one that is not would spread through sums and win comparisons."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from almost_kedro.errors import UserError


def require_finite(value: float, what: str) -> float:
    """Return a figure.

    Args:
        value: The figure.
        what: What it is, for the error.

    Raises:
        UserError: If it is not finite.
    """
    if not math.isfinite(value):
        raise UserError(f"{what} is {value}; only finite figures count")
    return value


def find_endless(value: Any, where: str = "") -> str:
    """Return where the first number is that is not finite, and the number; empty if there is none.

    Args:
        value: A row or a document.
        where: What it is itself called.
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
