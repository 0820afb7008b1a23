"""Commands that use what a run made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from kedro.framework.cli.utils import env_option
from kedro.framework.startup import ProjectMetadata

from almost_kedro.cli.project import load_context, one_clear_line, params_option
from almost_kedro.errors import UserError


@click.command("vote")
@click.argument("names", metavar="A B | VOTES.json...", nargs=-1)
@click.option("--count", is_flag=True, help="Count the votes in files that voters saved.")
@click.option(
    "--questions", type=click.IntRange(min=1), help="Questions on the page; by default all."
)
@click.option(
    "--to",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.html",
    help="Where the page is written; by default vote.html. A file that is there is replaced.",
)
@click.option(
    "--seed", type=int, help="Draws questions, order and sides; by default the option seed."
)
@env_option
@params_option
@click.pass_obj
def vote_command(
    metadata: ProjectMetadata,
    /,
    names: tuple[str, ...],
    count: bool,
    questions: int | None,
    to: Path | None,
    seed: int | None,
    env: str | None,
    params: dict[str, Any],
) -> None:
    """Let people compare the answers of two policies, without telling them whose they are.

    A and B are two of base, prompted, sft and rl. Nothing is generated: the page has answers that
    the run already has. With --count, the arguments are files that voters saved on such a page.
    """
    with one_clear_line():
        if count and (questions, to, seed) != (None, None, None):
            raise UserError(
                "--count: --questions, --to and --seed are for a new page; leave them out"
            )
        context = load_context(metadata.project_path, env, params)
        if count:
            from almost_kedro.commands.vote.count import count_files

            count_files(context, [Path(name) for name in names])
        else:
            from almost_kedro.commands.vote.command import make_page

            make_page(context, names, questions, to, seed)
