"""How figures, differences and times are written."""

from __future__ import annotations

from almost_kedro.commands.compare.differences import MIN_DIFFERING, Measure, Outcome
from almost_kedro.commands.compare.measures import Unit
from almost_kedro.commands.compare.report import FigurePair
from almost_kedro.pages.table import MISSING

# A difference in a unit: its factor, its form, and the name of it.
DIFFERENCES = {
    "share": (100, "+.1f", " points"),
    "points": (100, "+.1f", " points"),
    "number": (1, "+.3f", ""),
}


def write_measure(measure: Measure, unit: Unit) -> str:
    """Write a figure with its interval."""
    if isinstance(measure.value, str):
        return measure.value
    value = write_value(measure.value, unit)
    if measure.low is None or measure.high is None:
        return value
    return f"{value} [{write_value(measure.low, unit)}, {write_value(measure.high, unit)}]"


def write_value(value: float, unit: Unit) -> str:
    """Write a number in its unit."""
    match unit:
        case "share":
            return f"{value:.1%}"
        case "points":
            return f"{100 * value:+.1f}"
        case "number":
            return f"{value:.3f}"
        case _:
            return f"{value:,.0f}"


def write_difference(pair: FigurePair) -> str:
    """Write a difference with its interval."""
    outcome = pair.outcome
    if outcome.value is None:
        return MISSING
    scale, form, unit = DIFFERENCES.get(pair.figure.unit, (1, "+,.0f", ""))
    value, low, high = (
        "" if each is None else format(scale * each, form)
        for each in (outcome.value, outcome.low, outcome.high)
    )
    return value + unit + (f" [{low}, {high}]" if low and high else "")


def write_items(pair: FigurePair) -> str:
    """Say on how many items the runs were compared."""
    if not pair.a.scores or not pair.b.scores:
        return ""
    n = len(pair.a.scores), len(pair.b.scores)
    common = pair.outcome.n_common
    if pair.outcome.test == "paired":
        return f"{common}" if n == (common, common) else f"{common} of {n[0]} and {n[1]}"
    return f"{n[0]} and {n[1]}" if pair.outcome.test == "unpaired" else ""


def write_verdict(outcome: Outcome) -> str:
    """Say what a test shows."""
    if outcome.test == "none":
        return outcome.why
    if outcome.shown and outcome.value is not None:
        return f"shown: {'higher' if outcome.value > 0 else 'lower'} ({outcome.test})"
    if is_equal(outcome):
        return "same on every item"
    few = outcome.test == "paired" and outcome.n_groups < MIN_DIFFERING
    return f"not shown ({f'only {outcome.n_groups} differ' if few else outcome.test})"


def is_equal(outcome: Outcome) -> bool:
    """True if all pairs have the same scores."""
    return outcome.test == "paired" and not outcome.n_differing


def write_seconds(seconds: float | None) -> str:
    """Write a time as people do."""
    if seconds is None:
        return MISSING
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
