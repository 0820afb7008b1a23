"""What `kedro compare` prints: plain lines into a pipe; nothing in a name or a value is markup."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from almost_kedro.commands.compare.runs import Run
from almost_kedro.commands.compare.sections import Section
from almost_kedro.commands.compare.wording import write_seconds
from almost_kedro.commands.terminal import draw_table
from almost_kedro.pages.table import Table
from almost_kedro.rows.visible_text import make_line


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


def draw_runs(runs: Sequence[Run]) -> RenderableType:
    """Draw the list of runs, newest first, with the names that `kedro compare` takes."""
    heads = (
        "name",
        "run",
        "took",
        "pipelines",
        "environment",
        "ended as",
        "commit",
        "MLflow run",
    )
    rows = [
        (
            f"latest~{back}" if back else "latest",
            run.session,
            write_seconds(run.seconds),
            run.pipelines,
            run.env,
            run.status.lower(),
            run.short_commit,
            run.id[:8],
        )
        for back, run in enumerate(runs)
    ]
    return draw_table(Table("", heads, rows, range(len(heads))))
