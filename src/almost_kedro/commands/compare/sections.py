"""A comparison of two runs in words and tables, as the terminal and the page both show it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import groupby

from almost_kedro.commands.compare.costs import Cost
from almost_kedro.commands.compare.differences import MIN_DIFFERING
from almost_kedro.commands.compare.measures import Figure
from almost_kedro.commands.compare.report import FigurePair, Report
from almost_kedro.commands.compare.runs import Run
from almost_kedro.commands.compare.wording import (
    is_equal,
    write_difference,
    write_items,
    write_measure,
    write_seconds,
    write_verdict,
)
from almost_kedro.pages.table import MISSING, Mark, Table

HEADS = ("figure", "A", "B", "B - A", "items", "verdict")
# All columns have words.
TEXTS = range(len(HEADS))
# Width of a drawn interval, and what is left free at each end.
WIDTH, MARGIN = 120, 4
# Digits of a fingerprint that tell it from others.
DIGITS = 12


@dataclass(frozen=True)
class Section:
    """A heading, sentences, points of a list, and tables."""

    title: str
    notes: Sequence[str] = ()
    points: Sequence[str] = ()
    tables: Sequence[Table] = ()


def write_sections(report: Report) -> list[Section]:
    """Write all that is compared, the result first."""
    return [
        Section("In short", write_summary(report), list_shown(report), [write_runs(report.runs)]),
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
    lines = [[name, *values] for name, values in rows]
    return Table("The two runs; differences are B - A", ("what", "A", "B"), lines, TEXTS)


def write_summary(report: Report) -> list[str]:
    """Say in a few lines how much differs, and which figures are shown to."""
    models = [model for model in report.models if model.a and model.b]
    changed = sum(model.a != model.b for model in models)
    n_rows = len(report.rows) + len(report.same_rows)
    notes = [
        f"Options that differ: {len(report.options)}. Datasets of rows with other bytes: "
        f"{len(report.rows)} of {n_rows}. Models with other weights: {changed} of {len(models)}."
    ]
    if report.runs[0] == report.runs[1]:
        notes.insert(0, "A and B are the same run.")
    tested = report.tested
    shown = list_shown(report)
    if not tested:
        notes.append("No figure could be tested.")
    elif all(is_equal(pair.outcome) for pair in tested):
        notes.append(f"All {len(tested)} figures with a test are the same on every item.")
    else:
        notes.append(
            f"Of {len(tested)} figures with a test, {len(shown)} are shown to differ; by chance "
            f"alone, some {len(tested) * 0.05:.1f} would be."
        )
    return notes + [
        f"{label} ended as {run.status.lower()}: what it did not reach is missing."
        for label, run in zip("AB", report.runs, strict=True)
        if run.status != "FINISHED"
    ]


def list_shown(report: Report) -> list[str]:
    """Name the figures that are shown to differ, with their differences."""
    return [
        f"{pair.figure.section}, {pair.figure.name}: {write_difference(pair)}"
        for pair in report.tested
        if pair.outcome.shown
    ]


def write_options(report: Report) -> Section:
    """List the options that differ."""
    if not report.options:
        return Section("Options", ["No option differs."])
    lines = [
        [name, *("(not set)" if value is None else value for value in (a, b))]
        for name, a, b in report.options
    ]
    table = Table("Options that differ", ("option", "A", "B"), lines, TEXTS)
    return Section("Options", tables=[table])


def write_figures(report: Report) -> Section:
    """Write a table for each kind of figure."""
    common = {pair.figure.section for pair in report.figures}
    single = [
        f"Only {label} has {write_names(figures, common)}."
        for label, figures in zip("AB", report.single_figures, strict=True)
        if figures
    ]
    if not report.figures:
        return Section("Figures", ["Both runs have none in common.", *single])
    marks = draw_marks(report.figures)
    tables = []
    for title, group in groupby(enumerate(report.figures), lambda each: each[1].figure.section):
        numbers, pairs = zip(*group, strict=True)
        rows = [write_pair(pair) for pair in pairs]
        # Columns that have nothing in any row are left out.
        kept = [i for i in range(len(HEADS)) if any(row[i] for row in rows)]
        tables.append(
            Table(
                title,
                [HEADS[i] for i in kept],
                [[row[i] for i in kept] for row in rows],
                TEXTS,
                [row for row, pair in enumerate(pairs) if pair.outcome.shown],
                {row: marks[at] for row, at in enumerate(numbers) if at in marks},
            )
        )
    notes = [
        "With 95 % intervals, by bootstrap. A difference is shown where its interval leaves 0 out; "
        f"where it is paired, {MIN_DIFFERING} or more questions or prompts must differ.",
        "An interval knows the items, not the training: another seed moves figures, too.",
        *single,
    ]
    return Section("Figures", notes, tables=tables)


def write_names(figures: Sequence[Figure], sections: Collection[str]) -> str:
    """Name figures in one sentence: each by itself in these sections, all together in others."""
    return "; ".join(
        f"{section}: {', '.join(figure.name for figure in found)}"
        if section in sections
        else section
        for section, found in groupby(figures, key=lambda figure: figure.section)
    )


def write_pair(pair: FigurePair) -> list[str]:
    """Write a figure of both runs."""
    unit = pair.figure.unit
    return [
        pair.figure.name,
        write_measure(pair.a, unit),
        write_measure(pair.b, unit),
        write_difference(pair),
        write_items(pair),
        write_verdict(pair.outcome),
    ]


def draw_marks(pairs: Sequence[FigurePair]) -> dict[int, Mark]:
    """Return a mark for each difference with a test; what has one unit shares one scale."""
    bounds = {
        number: [each or 0.0 for each in (pair.outcome.low, pair.outcome.value, pair.outcome.high)]
        for number, pair in enumerate(pairs)
        if pair.outcome.low is not None and not is_equal(pair.outcome)
    }
    widest: dict[str, float] = {}
    for number, found in bounds.items():
        unit = pairs[number].figure.unit
        widest[unit] = max(widest.get(unit, 0.0), *map(abs, found))
    half = WIDTH / 2 - MARGIN
    marks = {}
    for number, found in bounds.items():
        scale = widest[pairs[number].figure.unit] or 1.0
        marks[number] = Mark(*(round(WIDTH / 2 + half * each / scale, 1) for each in found))
    return marks


def write_data(report: Report) -> Section:
    """List the rows that differ, and what only one of the runs has."""
    notes = []
    if report.same_rows:
        notes.append(f"Datasets of rows with the same bytes in both runs: {len(report.same_rows)}.")
    for label, names in zip("AB", report.missing, strict=True):
        if names:
            notes.append(f"Only {label} has {', '.join(names)}.")
    notes += [f"Not read, {problem}" for problem in report.problems]
    if not report.rows:
        return Section("Data", ["No rows differ.", *notes])
    lines = [[name, a.version, b.version, f"{a.n:,}", f"{b.n:,}"] for name, a, b in report.rows]
    columns = ("dataset", "version A", "version B", "rows A", "rows B")
    return Section(
        "Data", notes, tables=[Table("Datasets with other bytes", columns, lines, TEXTS)]
    )


def write_models(report: Report) -> Section:
    """List the models' fingerprints."""
    if not report.models:
        return Section("Models", ["Neither run has any."])
    lines = [
        [
            name,
            (a or MISSING)[:DIGITS],
            (b or MISSING)[:DIGITS],
            "" if a is None or b is None else "same" if a == b else "differ",
        ]
        for name, a, b in report.models
    ]
    columns = ("model", "A", "B", "weights")
    return Section("Models", tables=[Table("Fingerprints of the models", columns, lines, TEXTS)])


def write_costs(report: Report) -> Section:
    """Put what each step took side by side."""
    lines = [[name, *_write_cost(a, b)] for name, a, b in report.costs]
    total = [write_seconds(run.seconds) for run in report.runs]
    lines.append(["the whole run", *total, "", ""])
    notes = ["What was kept from earlier runs costs nothing. Steps may overlap."]
    columns = ("program", "time A", "time B", "tokens A", "tokens B")
    return Section(
        "Costs", notes, tables=[Table("Time and tokens by program", columns, lines, TEXTS)]
    )


def _write_cost(a: Cost | None, b: Cost | None) -> list[str]:
    sides = (a, b)
    return [write_seconds(side.seconds) if side else MISSING for side in sides] + [
        f"{side.tokens:,.0f}" if side else MISSING for side in sides
    ]
