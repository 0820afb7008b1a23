"""The console of the commands, and their tables; nothing in a name or a value is markup."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from almost_kedro.pages.table import Table
from almost_kedro.rows.visible_text import make_line

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


@contextmanager
def until_the_pipe_closes() -> Iterator[None]:
    """End the block without an error when nobody reads the output any more: `| head` has enough."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def draw_table(table: Table) -> Grid:
    """Draw a table with its caption above it; figures stand on the right."""
    grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    if table.caption:
        grid.title = Text(make_line(table.caption), style="italic")
        grid.title_justify = "left"
    for number, head in enumerate(table.heads):
        grid.add_column(
            Text(make_line(head), style="bold"),
            justify="left" if number in (0, *table.texts) else "right",
            overflow="fold",
        )
    for number, row in enumerate(table.rows):
        cells = [Text(make_line(cell)) for cell in row]
        grid.add_row(*cells, style="bold" if number in table.strong else None)
    return grid
