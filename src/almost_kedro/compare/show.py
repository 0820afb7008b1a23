"""What `kedro compare` prints: plain lines into a pipe; nothing in a name or a value is markup."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from almost_kedro.compare.runs import Run
from almost_kedro.compare.sections import Section, Table
from almost_kedro.compare.wording import write_seconds
from almost_kedro.visible_text import make_line

# Columns for what isn't a terminal: no line is folded there.
NO_LIMIT = 100_000


def open_console() -> Console:
    """Return a console that can print any text and cuts no line that goes into a pipe."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # An encoding other than UTF-8 lacks most characters.
        sys.stdout.reconfigure(errors="backslashreplace")
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = NO_LIMIT
    return console


def draw_sections(sections: Sequence[Section]) -> RenderableType:
    """Draw all sections, one below the other."""
    parts: list[RenderableType] = []
    for section in sections:
        parts.append(Text("\n" + make_line(section.title).upper(), style="bold"))
        parts += [Text(make_line(note)) for note in section.notes]
        parts += [Text(f"  {make_line(point)}", style="bold") for point in section.points]
        for table in section.tables:
            parts += [Text(""), draw_table(table)]
    return Group(*parts)


def draw_table(table: Table) -> Grid:
    """Draw a table with its caption above it."""
    grid = _open_grid(table.columns)
    grid.title = Text(make_line(table.caption), style="italic")
    grid.title_justify = "left"
    for line in table.lines:
        cells = [Text(make_line(cell)) for cell in line.cells]
        grid.add_row(*cells, style="bold" if line.strong else None)
    return grid


def draw_runs(runs: Sequence[Run]) -> Grid:
    """Draw the list of runs, newest first, with the names that `kedro compare` takes."""
    columns = (
        "name",
        "run",
        "took",
        "pipelines",
        "environment",
        "ended as",
        "commit",
        "MLflow run",
    )
    grid = _open_grid(columns)
    for back, run in enumerate(runs):
        cells = (
            f"latest~{back}" if back else "latest",
            run.session,
            write_seconds(run.seconds),
            run.pipelines,
            run.env,
            run.status.lower(),
            run.short_commit,
            run.id[:8],
        )
        grid.add_row(*(Text(make_line(cell)) for cell in cells))
    return grid


def _open_grid(columns: Sequence[str]) -> Grid:
    grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        grid.add_column(Text(make_line(column), style="bold"), overflow="fold")
    return grid
