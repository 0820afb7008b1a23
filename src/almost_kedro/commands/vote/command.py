"""`kedro vote A B`: writes the page, and keeps in the data root which side is whose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kedro.framework.context import KedroContext
from kedro.io import DataCatalog
from rich.text import Text

from almost_kedro.commands.page_file import write_page
from almost_kedro.commands.terminal import open_console
from almost_kedro.commands.vote.answers import check_models, find_answers
from almost_kedro.errors import UserError
from almost_kedro.evaluation.human_votes import draw_questions, make_vote_page
from almost_kedro.pages.vote import render_vote
from almost_kedro.processes.locks import hold_root
from almost_kedro.rows.visible_text import make_line

KEY = "human_vote_key"
METRICS = "human_votes_metrics"
PAGE = Path("vote.html")


def make_page(
    context: KedroContext,
    names: tuple[str, ...],
    n: int | None,
    path: Path | None,
    seed: int | None,
) -> None:
    """Write the page and keep its key.

    Args:
        context: Of the environment that has the answers.
        names: Two policies.
        n: Questions on the page; None for all.
        path: Where the page is written; None is `PAGE` in the working folder.
        seed: Draws questions, their order and the sides; None is the option `seed`.

    Raises:
        UserError: Bad policies, no answers, too many questions, a place that can't be written.
    """
    models = check_models(names)
    path = path or PAGE
    if not path.parent.is_dir():
        raise UserError(f"page {path}: there is no folder {path.parent}; make it, or give another")
    catalog, parameters = context.catalog, context.config_loader["parameters"]
    assert isinstance(catalog, DataCatalog)
    seed = parameters["seed"] if seed is None else seed
    with lock_root(parameters):
        found = find_answers(catalog, models)
        drawn = draw_questions(found.pairs, n, seed)
        page, key = make_vote_page(drawn, models, seed, found.versions, found.judge)
        # First: a page without a key could never be counted.
        catalog.save(KEY, key)
        write_page(path, render_vote(page))
    console = open_console()
    console.print(Text(f"page: {make_line(str(path))} ({len(drawn):,} questions)"))
    console.print(
        Text(
            "Send it to those who vote. Then count the files that they save:\n"
            "  kedro vote --count VOTES.json..."
        )
    )


@contextmanager
def lock_root(parameters: Mapping[str, Any]) -> Iterator[None]:
    """Hold the data root's lock; no folder is made for a root that is not there.

    Raises UserError if a run holds it, or if there is no such root.
    """
    root = Path(parameters["data_root"])
    if not root.is_dir():
        raise UserError(
            f"data root {root}: there is no such folder; run `kedro run` first, with the same --env"
        )
    with hold_root(root):
        yield
