"""Commands that look at runs: `kedro rows`, `trace`, `compare`, `plan`."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import click
from kedro.framework.cli.utils import env_option
from kedro.framework.context import KedroContext
from kedro.framework.startup import ProjectMetadata
from kedro.io import DataCatalog

from almost_kedro.cli.project import load_context, one_clear_line, params_option


@click.command("rows")
@click.argument("dataset")
@click.option("--version", help="Version to read; by default the newest.")
@click.option(
    "--where",
    metavar="FIELD=VALUE",
    multiple=True,
    help="Only rows with this value; a list has it if one of its items is it. Can be repeated.",
)
@click.option("--limit", type=click.IntRange(min=0), help="Only so many rows.")
@click.option(
    "--tokens",
    is_flag=True,
    help="Print what a model reads of a row, token by token; one row unless --limit says more.",
)
@env_option
@params_option
@click.pass_obj
def rows_command(
    metadata: ProjectMetadata,
    dataset: str,
    version: str | None,
    where: tuple[str, ...],
    limit: int | None,
    tokens: bool,
    env: str | None,
    params: dict[str, Any],
) -> None:
    """Print rows of DATASET as JSON lines."""
    from almost_kedro.commands.rows import find_rows, print_rows, select_rows

    with one_clear_line():
        context = load_context(metadata.project_path, env, params)
        catalog = context.catalog
        assert isinstance(catalog, DataCatalog)
        selected = select_rows(find_rows(catalog, dataset, version).stream(), where)
        if tokens:
            from almost_kedro.commands.tokens import print_tokens

            print_tokens(context, dataset, islice(selected, 1 if limit is None else limit))
        else:
            print_rows(islice(selected, limit))


@click.command("trace")
@click.argument("id_", metavar="ID")
@click.option("--forward", is_flag=True, help="List what was made from it.")
@click.option("--version", help="Version to look in; by default the newest that holds the row.")
@click.option("--depth", type=click.IntRange(min=0), help="Levels to walk back; by default all.")
@click.option("--full", is_flag=True, help="Cut no text.")
@env_option
@params_option
@click.pass_obj
def trace_command(
    metadata: ProjectMetadata, /, id_: str, env: str | None, params: dict[str, Any], **how: Any
) -> None:
    """Show where the row ID comes from: every step back to seed prompts.

    ID is the id of any row, also of a seed prompt, of a dropped request or answer, or of a dropped
    pair, which only a ledger has.
    """
    from almost_kedro.commands.trace.command import trace

    with one_clear_line():
        trace(load_context(metadata.project_path, env, params), id_, **how)


@click.command("compare")
@click.argument("names", metavar="[RUN RUN]", nargs=-1)
@click.option(
    "--page",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.html",
    help="Write a page, too.",
)
@env_option
@params_option
@click.pass_obj
def compare_command(
    metadata: ProjectMetadata,
    /,
    names: tuple[str, ...],
    page: Path | None,
    env: str | None,
    params: dict[str, Any],
) -> None:
    """Show how the second RUN differs from the first; without any, list the runs.

    RUN is latest, latest~1 for the one before, a session (the version of what the run saved) or an
    MLflow run, or the beginning of either. ENV@RUN is a run of another environment, and FOLDER@RUN
    one of another data root (a path with a "/" in it, from the project's folder).
    """
    from almost_kedro.commands.compare.command import compare, split_place

    def open_place(place: str | None) -> KedroContext:
        return load_context(metadata.project_path, *split_place(place, env, params))

    with one_clear_line():
        compare(open_place, names, page)


@click.command("plan")
@click.option(
    "--pipeline", default="__default__", help="dpo, or one of the five; by default all of the five."
)
@click.option(
    "--gpu",
    metavar="FIGURES",
    help="Compute it for GPUs instead of measuring this machine: "
    "tflops=312,bandwidth_gb_s=2039,memory_gb=80,count=4",
)
@click.option(
    "--fit",
    is_flag=True,
    help="Search batches, checkpointing, adapters, sharding and replicas for what fits the GPUs of "
    "--gpu and is fastest; print these options, and plan under them.",
)
@click.option("--calibrate", is_flag=True, help="Measure this machine anew.")
@env_option
@params_option
@click.pass_obj
def plan_command(
    metadata: ProjectMetadata,
    /,
    pipeline: str,
    gpu: str | None,
    fit: bool,
    calibrate: bool,
    env: str | None,
    params: dict[str, Any],
) -> None:
    """Show what a run will cost: requests, tokens, seconds and memory of each program.

    Without --gpu, this machine is measured for about half a minute, once.
    """
    from almost_kedro.commands.plan.command import plan_run

    with one_clear_line():
        context = load_context(metadata.project_path, env, params)
        plan_run(context, pipeline, gpu, calibrate, fit)
