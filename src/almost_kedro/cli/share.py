"""Commands that give to others what a run made: `kedro export`, `publish`, `vote`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from kedro.framework.cli.utils import env_option
from kedro.framework.startup import ProjectMetadata

from almost_kedro.cli.project import load_catalog, load_context, one_clear_line, params_option


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

    NAME is sft, rl, reward_model, held_out_reward_model or comparisons.
    """
    from almost_kedro.commands.publish.command import publish

    with one_clear_line():
        for line in publish(load_context(metadata.project_path, env, params), name, **how):
            click.echo(line)
