"""Turns errors of other people's code into one line."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

from almost_kedro.errors import UserError

# Characters of an error that are shown.
SHOWN = 160
Found = TypeVar("Found")


def read(failure: str, act: Callable[[], Found]) -> Found:
    """Load something by others' code; its error becomes a UserError that begins with `failure`."""
    try:
        return act()
    except UserError:
        raise
    except Exception as exc:
        if os.environ.get("ALMOST_KEDRO_DEBUG"):
            raise
        raise UserError(f"{failure} ({explain(exc)}); mend it, or give another model") from exc


def explain(exc: Exception) -> str:
    """Return an error as one short line."""
    return f"{type(exc).__name__}: {' '.join(str(exc).split())[:SHOWN]}"
