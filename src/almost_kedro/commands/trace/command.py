"""What `kedro trace` does: find the row, walk, print."""

from __future__ import annotations

import functools
import io
import sys
from collections.abc import Iterator

from kedro.framework.context import KedroContext
from kedro.io import DataCatalog
from rich.console import Console

from almost_kedro.commands.trace.ancestry import walk_back, walk_forward
from almost_kedro.commands.trace.catalog import open_tables, read_plans
from almost_kedro.commands.trace.show import AncestryTree, write_headline, write_made
from almost_kedro.commands.trace.tables import Step, Tables, find_start, list_versions
from almost_kedro.errors import UserError

# Columns: nothing is cut in a pipe. On a terminal, a row has ROW, and each level above it LEVEL.
NO_LIMIT, LEVEL, ROW = 2**31, 4, 60


def trace(
    context: KedroContext,
    id_: str,
    *,
    forward: bool = False,
    version: str | None = None,
    depth: int | None = None,
    full: bool = False,
) -> None:
    """Print where a row comes from; with `forward`, what was made from it.

    `version` None is the newest that holds the row, `depth` None walks all levels back. Raises
    UserError if the row is not found.
    """
    catalog = context.catalog
    assert isinstance(catalog, DataCatalog)
    tables = open_tables(catalog)
    id_ = id_.encode(errors="replace").decode()  # bytes of an argument that are no UTF-8
    start = require_start(context, tables, id_, version)
    ancestry = walk_back(start, tables, 0 if forward else depth)
    drawing = AncestryTree(ancestry, read_plans(catalog), full)
    tree = drawing.draw()
    console = open_console(drawing.depth)
    console.print(tree.label if forward else tree)
    if forward:
        for block in list_made(start, tables, version, full):
            console.out("\n" + block, highlight=False)


def list_made(start: Step, tables: Tables, version: str | None, full: bool) -> Iterator[str]:
    """Write what was made from a row: a block for each dataset."""
    made = walk_forward(start, tables, version, functools.partial(write_headline, full=full))
    yield from map(write_made, made)
    if not made:
        where = f"version {version}" if version else "the newest version of any dataset"
        old = not version and start.version != start.table.versions[0]
        hint = f"; it is of an older one: try --version {start.version}" if old else ""
        yield f"Nothing was made from it in {where}{hint}."


def require_start(context: KedroContext, tables: Tables, id_: str, version: str | None) -> Step:
    """Find the row; raise a UserError that says where it was looked for if it is nowhere."""
    versions = list_versions(tables)
    root = context.config_loader["parameters"]["data_root"]
    where = f"below data_root {root} (environment {context.env or 'base'})"
    remedy = "give another --env or --params data_root=..."
    if not versions:
        raise UserError(f"there are no rows yet {where}; run `kedro run` first, or {remedy}")
    if version and version not in versions:
        newest = ", ".join(versions[:5]) + (", ..." if len(versions) > 5 else "")
        raise UserError(f"no dataset has a version {version!r} {where}; there are {newest}")
    start = find_start(tables, id_, version)
    if start is not None:
        return start
    elsewhere = find_start(tables, id_) if version else None
    if elsewhere is not None:
        raise UserError(
            f"row {id_!r} is not in version {version}; the newest version that holds it is "
            f"{elsewhere.version} of {elsewhere.table.name}"
        )
    raise UserError(
        f"row {id_!r}: found in none of {len(tables)} datasets ({', '.join(tables)}) in any of "
        f"{len(versions)} versions {where}; copy a whole id, or {remedy}"
    )


def open_console(depth: int) -> Console:
    """Return a console with room for text at each depth, which prints whatever it is given."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # An encoding other than UTF-8 lacks most characters.
        sys.stdout.reconfigure(errors="backslashreplace")
    console = Console(highlight=False)
    console.width = max(console.width, LEVEL * depth + ROW) if console.is_terminal else NO_LIMIT
    return console
