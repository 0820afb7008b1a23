"""A comparison of two runs in words and tables, as the terminal and the page both show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

from almost_kedro.compare.costs import Cost
from almost_kedro.compare.differences import MIN_DIFFERING, Measure, Outcome
from almost_kedro.compare.figures import Unit
from almost_kedro.compare.report import FigurePair, Report
from almost_kedro.compare.runs import Run

NONE = "-"
# Digits of a fingerprint, and differences and datasets that a sentence names.
DIGITS, NAMED = 12, 5


@dataclass(frozen=True)
class Line:
    """A row of a table; `pair` is the figure that it is about, `strong` what must not be missed."""

    cells: Sequence[str]
    strong: bool = False
    pair: FigurePair | None = None


@dataclass(frozen=True)
class Table:
    """A table: its first column names the rows."""

    caption: str
    columns: Sequence[str]
    lines: Sequence[Line]


@dataclass(frozen=True)
class Section:
    """A heading, sentences, and tables."""

    title: str
    notes: Sequence[str] = ()
    tables: Sequence[Table] = field(default_factory=tuple)


def write_sections(report: Report) -> list[Section]:
    """Write all that is compared, the result first."""
    return [
        Section("In short", write_summary(report), [write_runs(report.runs)]),
        write_options(report),
        write_figures(report),
        write_data(report),
        write_models(report),
        write_costs(report),
    ]


def write_runs(runs: Sequence[Run]) -> Table:
    """Describe both runs."""
    rows = (
        ("run", [run.session for run in runs]),
        ("began", [run.when for run in runs]),
        ("took", [write_seconds(run.seconds) for run in runs]),
        ("pipelines", [run.pipelines for run in runs]),
        ("environment", [run.env for run in runs]),
        ("ended as", [run.status.lower() for run in runs]),
        ("commit", [run.short_commit for run in runs]),
        ("MLflow run", [run.id for run in runs]),
    )
    lines = [Line([name, *values]) for name, values in rows]
    return Table("The two runs; differences are B - A", ("", "A", "B"), lines)


def write_summary(report: Report) -> list[str]:
    """Say in a few lines how much differs, and which figures are shown to."""
    models = [model for model in report.models if model.a and model.b]
    changed = sum(model.a != model.b for model in models)
    n_rows = len(report.rows) + len(report.same_rows)
    notes = [
        f"{len(report.options)} options differ, {len(report.rows)} of {n_rows} datasets of rows, "
        f"and {changed} of {len(models)} models."
    ]
    if report.runs[0] == report.runs[1]:
        notes.insert(0, "A and B are the same run.")
    tested = report.tested
    shown = [pair for pair in tested if pair.outcome.shown]
    if not tested:
        notes.append("No figure could be tested.")
    elif all(is_equal(pair.outcome) for pair in tested):
        notes.append(f"All {len(tested)} figures with a test are the same on every item.")
    else:
        notes.append(
            f"Of {len(tested)} figures with a test, {len(shown)} are shown to differ; some "
            f"{len(tested) * 0.05:.1f} would by chance alone."
        )
        notes += [
            f"  {pair.figure.section}, {pair.figure.name}: {write_outcome(pair)}" for pair in shown
        ]
        notes.append("Intervals know the items, not the training: another seed moves figures, too.")
    for label, run in zip("AB", report.runs, strict=True):
        if run.status != "FINISHED":
            notes.append(f"{label} {run.status.lower()}: what it did not reach is missing.")
    return notes


def write_options(report: Report) -> Section:
    """List the options that differ."""
    if not report.options:
        return Section("Options", ["No option differs."])
    lines = [
        Line([name, *("(not set)" if value is None else value for value in (a, b))])
        for name, a, b in report.options
    ]
    return Section("Options", (), [Table("Options that differ", ("option", "A", "B"), lines)])


def write_figures(report: Report) -> Section:
    """Write a table for each kind of figure."""
    if not report.figures:
        return Section("Figures", ["Neither run has any."])
    columns = ("", "A", "B", "B - A", "items", "difference")
    tables = [
        Table(title, columns, [write_pair(pair) for pair in pairs])
        for title, pairs in groupby(report.figures, key=lambda pair: pair.figure.section)
    ]
    notes = [
        "With 95 % intervals, by bootstrap. A difference is shown where its interval leaves 0 out; "
        f"of pairs, {MIN_DIFFERING} or more must differ."
    ]
    return Section("Figures", notes, tables)


def write_pair(pair: FigurePair) -> Line:
    """Write a figure of both runs."""
    unit = pair.figure.unit
    cells = [
        pair.figure.name,
        write_measure(pair.a, unit),
        write_measure(pair.b, unit),
        write_outcome(pair),
        write_items(pair),
        write_verdict(pair.outcome),
    ]
    return Line(cells, strong=pair.outcome.shown, pair=pair)


def write_measure(measure: Measure | None, unit: Unit) -> str:
    """Write a figure with its interval."""
    if measure is None:
        return NONE
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


def write_outcome(pair: FigurePair) -> str:
    """Write a difference with its interval."""
    outcome = pair.outcome
    if outcome.value is None:
        return NONE
    scale, form = {"share": (100, "+.1f"), "points": (100, "+.1f"), "number": (1, "+.3f")}.get(
        pair.figure.unit, (1, "+,.0f")
    )
    value = format(scale * outcome.value, form)
    if outcome.low is None or outcome.high is None:
        return value
    return f"{value} [{format(scale * outcome.low, form)}, {format(scale * outcome.high, form)}]"


def write_items(pair: FigurePair) -> str:
    """Say on how many items the runs were compared."""
    if pair.a is None or pair.b is None or not pair.a.scores or not pair.b.scores:
        return ""
    n = len(pair.a.scores), len(pair.b.scores)
    common = pair.outcome.n_common
    if pair.outcome.test == "paired":
        return f"{common} in both" + ("" if n == (common, common) else f" of {n[0]} and {n[1]}")
    return f"{n[0]} and {n[1]}, {common} in both" if pair.outcome.test == "unpaired" else ""


def write_verdict(outcome: Outcome) -> str:
    """Say what a test shows."""
    if outcome.test == "none":
        return outcome.why
    if outcome.shown and outcome.value is not None:
        return f"shown: {'higher' if outcome.value > 0 else 'lower'} ({outcome.test})"
    if is_equal(outcome):
        return "same on every item"
    few = outcome.test == "paired" and outcome.n_differing < MIN_DIFFERING
    return f"not shown ({f'only {outcome.n_differing} differ' if few else outcome.test})"


def is_equal(outcome: Outcome) -> bool:
    """True if all pairs have the same scores."""
    return outcome.test == "paired" and not outcome.n_differing


def write_data(report: Report) -> Section:
    """List the rows that differ, and what only one of the runs has."""
    notes = []
    if report.same_rows:
        notes.append(f"{len(report.same_rows)} datasets of rows have the same bytes in both runs.")
    for label, names in zip("AB", report.missing, strict=True):
        if names:
            notes.append(f"Only {label} has {', '.join(names)}.")
    notes += [f"Not read, {problem}" for problem in report.problems]
    if not report.rows:
        return Section("Data", ["No rows differ.", *notes])
    lines = [
        Line([name, a.version, b.version, f"{a.n:,}", f"{b.n:,}"]) for name, a, b in report.rows
    ]
    columns = ("dataset", "version A", "version B", "rows A", "rows B")
    return Section("Data", notes, [Table("Datasets with other bytes", columns, lines)])


def write_models(report: Report) -> Section:
    """List the models' fingerprints."""
    if not report.models:
        return Section("Models", ["Neither run has any."])
    lines = [
        Line(
            [
                name,
                (a or NONE)[:DIGITS],
                (b or NONE)[:DIGITS],
                "" if a is None or b is None else "same" if a == b else "differ",
            ]
        )
        for name, a, b in report.models
    ]
    columns = ("model", "A", "B", "weights")
    return Section("Models", (), [Table("Fingerprints of the models", columns, lines)])


def write_costs(report: Report) -> Section:
    """Put what each step took side by side."""
    lines = [Line([name, *_write_cost(a, b)]) for name, a, b in report.costs]
    total = [write_seconds(run.seconds) for run in report.runs]
    lines.append(Line(["the whole run", *total, "", ""]))
    notes = ["What was kept from earlier runs costs nothing. Steps may overlap."]
    columns = ("program", "time A", "time B", "tokens A", "tokens B")
    return Section("Costs", notes, [Table("Time and tokens by program", columns, lines)])


def _write_cost(a: Cost | None, b: Cost | None) -> list[str]:
    sides = (a, b)
    return [write_seconds(side.seconds) if side else NONE for side in sides] + [
        f"{side.tokens:,.0f}" if side else NONE for side in sides
    ]


def write_seconds(seconds: float | None) -> str:
    """Write a time as people do."""
    if seconds is None:
        return NONE
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
