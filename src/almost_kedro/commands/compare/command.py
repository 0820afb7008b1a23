"""`kedro compare`: finds both runs, compares them, and shows what came of it."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kedro.framework.context import KedroContext
from kedro.io import DataCatalog
from rich.text import Text

from almost_kedro.commands.compare.costs import Step
from almost_kedro.commands.compare.report import compare_runs
from almost_kedro.commands.compare.run_data import RunData
from almost_kedro.commands.compare.runs import Run, find_run, read_runs, read_steps
from almost_kedro.commands.compare.sections import WIDTH, write_sections
from almost_kedro.commands.compare.show import draw_runs, draw_sections
from almost_kedro.commands.page_file import write_page
from almost_kedro.commands.terminal import open_console
from almost_kedro.errors import UserError
from almost_kedro.pages import read_asset, render_page
from almost_kedro.processes.tracking import TRACKING_FOLDER
from almost_kedro.rows.visible_text import make_line

# Between a place and one of its runs.
AT = "@"
# Opens a place; None is what `--env` and `--params` say.
OpenPlace = Callable[[str | None], KedroContext]


def compare(open_place: OpenPlace, names: Sequence[str], page: Path | None) -> None:
    """Print how two runs differ; without names, which runs there are.

    Args:
        open_place: Opens the environment or data root that stands before a run's name.
        names: Two runs, or none; see `find_run`. `PLACE@RUN` is a run of another place.
        page: Where the page is written; None for none.

    Raises:
        UserError: If a run is not found, or the page can't be written.
    """
    console = open_console()
    if not names:
        root = Root(open_place(None))
        if not root.runs:
            raise UserError(f"there are no runs {root.where}; run `kedro run` first")
        console.print(draw_runs(root.runs))
        return
    if len(names) != 2:
        raise UserError(f"give two runs, or none for a list of them; found {len(names)}")
    open_root = functools.cache(lambda place: Root(open_place(place)))
    found = [find_side(open_root, name) for name in names]
    sides = [RunData(run, root.catalog) for root, run in found]
    steps = [root.read_steps(run) for root, run in found]
    sections = write_sections(compare_runs(sides[0], sides[1], (steps[0], steps[1])))
    console.print(draw_sections(sections))
    if page:
        values = {"sections": sections, "width": WIDTH}
        write_page(page, render_page("compare.html", values, styles=[read_asset("compare.css")]))
        console.print(Text(f"\npage: {make_line(str(page))}"))


def find_side(open_root: Callable[[str | None], Root], name: str) -> tuple[Root, Run]:
    """Find a run and where it is from."""
    place, at, run = name.rpartition(AT)
    root = open_root(place if at else None)
    return root, find_run(root.runs, run, root.where)


def split_place(
    place: str | None, env: str | None, params: Mapping[str, Any]
) -> tuple[str | None, dict[str, Any]]:
    """Return the environment and the runtime parameters with which a place is opened.

    Args:
        place: A data root's path, which has a "/" in it, or an environment; None for neither.
        env: The environment that the command was given.
        params: Its runtime parameters.
    """
    if not place:
        return env, dict(params)
    if "/" in place or os.sep in place:
        return env, {**params, "data_root": place}
    return place, {name: value for name, value in params.items() if name != "data_root"}


class Root:
    """A data root: its catalog and its runs."""

    def __init__(self, context: KedroContext):
        """Open the data root of an environment."""
        catalog = context.catalog
        assert isinstance(catalog, DataCatalog)
        options = context.config_loader["parameters"]
        self.catalog = catalog
        self.uri: str | None = options["mlflow_uri"]
        self.path = str(options["data_root"])
        self.project = context.project_path
        self.where = f"below data_root {self.path} (environment {context.env or 'base'})"

    @functools.cached_property
    def runs(self) -> list[Run]:
        """Its runs, newest first; none if there is no such folder."""
        if self.uri is None and not Path(self.path).is_dir():
            return []
        return read_runs(self._folder, self.uri, self.path, self.project)

    def read_steps(self, run: Run) -> list[Step]:
        """Read what a run's programs cost."""
        return read_steps(self._folder, self.uri, run)

    @property
    def _folder(self) -> Path:
        folder: Path = self.catalog.load(TRACKING_FOLDER)
        return folder
