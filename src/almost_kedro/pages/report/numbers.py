"""Figures as the report and the cards write them; no figure without its interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from almost_kedro.evaluation.statistics import show_share
from almost_kedro.pages.table import MISSING
from almost_kedro.rows.metrics import Estimate


def show_estimate(share: Estimate | None) -> str:
    """Write a share with its interval, or a dash if there is none."""
    return show_share(share) if share else MISSING


def show_points(difference: Estimate) -> str:
    """Write a difference of shares in percentage points, with its interval."""
    value, low, high = (100 * difference[key] for key in ("value", "low", "high"))
    return f"{value:+.1f} points [{low:+.1f}, {high:+.1f}]"


def show_difference(difference: Estimate) -> str:
    """Write a difference of rewards (log-odds) with its interval."""
    return "{value:+.2f} [{low:+.2f}, {high:+.2f}]".format(**difference)


def show_length(length: Estimate) -> str:
    """Write a mean length with its interval, in whole characters."""
    return "{value:,.0f} [{low:,.0f}, {high:,.0f}]".format(**length)


def show_count(value: Any) -> str:
    """Write a whole number with thousands apart; a dash if there is none."""
    return MISSING if value is None else f"{value:,.0f}"


def show_name(name: str) -> str:
    """Write a name without underscores."""
    return name.replace("_", " ")


def drop_prefix(value: Any, prefix: str) -> Any:
    """Drop what all assistants' names begin with from all texts in metrics or in a chart.

    Args:
        value: Texts, in mappings and lists, or anything else, which stays.
        prefix: What is dropped wherever it stands; empty drops nothing.
    """
    match value:
        case str():
            return value.replace(prefix, "") if prefix else value
        case Mapping():
            return {drop_prefix(key, prefix): drop_prefix(v, prefix) for key, v in value.items()}
        case list():
            return [drop_prefix(each, prefix) for each in value]
        case _:
            return value


def show_edge(edge: str) -> str:
    """Write an edge of the rubric: who is chosen over whom."""
    return edge.replace("-vs-", " over ")
