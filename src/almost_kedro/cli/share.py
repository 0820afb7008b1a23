"""Commands that give to others what a run made: `kedro export`, `publish`, `vote`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from kedro.framework.cli.utils import env_option
from kedro.framework.startup import ProjectMetadata

from almost_kedro.cli.project import load_catalog, load_context, one_clear_line, params_option
from almost_kedro.errors import UserError


@click.command("export")
@click.argument("dataset")
@click.option(
    "--format",
    "form",
    type=click.Choice(["preference", "prompt-completion", "messages"]),
    required=True,
    help="Columns, after TRL: prompt, chosen, rejected; prompt, completion; or messages.",
)
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    required=True,
    help="A new or an empty folder.",
)
@click.option("--version", help="Version to export; by default the newest.")
@click.option(
    "--as",
    "file_type",
    type=click.Choice(["parquet", "jsonl"]),
    default="parquet",
    show_default=True,
    help="Type of the files.",
)
@env_option
@params_option
@click.pass_obj
def export_command(
    metadata: ProjectMetadata,
    /,
    dataset: str,
    folder: Path,
    env: str | None,
    params: dict[str, Any],
    **how: Any,
) -> None:
    """Write rows of DATASET for TRL, distilabel, axolotl and the hub.

    The splits of the run are kept: FOLDER/data has train, test and what a judge was trained on.
    """
    from almost_kedro.commands.export.command import describe_export, export_rows

    with one_clear_line():
        catalog = load_catalog(metadata.project_path, env, params)
        exported = export_rows(catalog, dataset, folder=folder, **how)
        for line in describe_export(exported, folder):
            click.echo(line)


@click.command("publish")
@click.argument("name")
@click.option("--repo", metavar="USER/NAME", required=True, help="Repository on the hub.")
@click.option("--license", "license_id", metavar="ID", help="What it may be used under.")
@click.option("--private", is_flag=True, help="Only for those whom you let in.")
@click.option("--dry-run", is_flag=True, help="Only list the files; needs no token.")
@click.option("--version", help="Version to publish; by default the newest.")
@env_option
@params_option
@click.pass_obj
def publish_command(
    metadata: ProjectMetadata,
    /,
    name: str,
    env: str | None,
    params: dict[str, Any],
    **how: Any,
) -> None:
    """Upload NAME to the Hugging Face hub, with a card.

    NAME is sft, rl, dpo, reward_model, held_out_reward_model or comparisons.
    """
    from almost_kedro.commands.publish.command import publish

    with one_clear_line():
        for line in publish(load_context(metadata.project_path, env, params), name, **how):
            click.echo(line)


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

    A and B are two of base, prompted, sft, rl and dpo. Nothing is generated: the page has answers
    that the run already has. With --count, the arguments are files that voters saved on such a
    page.
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
