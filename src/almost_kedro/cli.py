"""Extra `kedro` commands, and `kedro run` with one clear line where the user can mend something."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import click
from kedro.config import MissingConfigException
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.cli.utils import env_option
from kedro.framework.context import KedroContext
from kedro.framework.session import KedroSession
from kedro.framework.startup import ProjectMetadata
from kedro.io import DataCatalog, DatasetError

from almost_kedro.errors import UserError
from almost_kedro.options.all import Options, check_options
from almost_kedro.processes.locks import DISK_ERRORS, RootLock, explain_disk


def params_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the option `--params` of `kedro run`."""
    like = next(param for param in kedro_run.params if param.name == "params")
    assert isinstance(like, click.Option)
    option = click.option(
        "--params", type=like.type, default=like.default, callback=like.callback, help=like.help
    )
    return option(command)


@click.group(name="almost_kedro")
def cli() -> None:
    """Commands of the project."""


@contextmanager
def one_clear_line() -> Iterator[None]:
    """Turn what the user can mend into an error message without a traceback."""
    try:
        yield
    except (UserError, DatasetError, MissingConfigException) as exc:
        if os.environ.get("ALMOST_KEDRO_DEBUG"):
            raise
        raise click.ClickException(" ".join(str(exc).split())) from exc
    except OSError as exc:
        if exc.errno not in DISK_ERRORS or os.environ.get("ALMOST_KEDRO_DEBUG"):
            raise
        raise click.ClickException(explain_disk(exc)) from exc


def _explain(callback: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(callback)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with one_clear_line():
            return callback(*args, **kwargs)

    return wrapped


cli.add_command(
    click.Command(
        "run",
        params=kedro_run.params,
        callback=_explain(kedro_run.callback),  # type: ignore[arg-type]
        help=kedro_run.help,
    )
)


@cli.group()
def models() -> None:
    """Language models: what there is, and fetching one."""


@models.command("list")
@env_option
@click.pass_obj
def list_command(metadata: ProjectMetadata, env: str | None) -> None:
    """List the models of models.yml and where they are."""
    from almost_kedro.models.find import list_models

    with one_clear_line():
        options, store = load_options(metadata.project_path, env)
        for name, source, state in list_models(options.models.root, store):
            click.echo(f"{name:20} {source:7} {state}")


@models.command("get")
@click.argument("name")
@click.option("--accept-terms", is_flag=True, help="Accept the terms that the model comes under.")
@env_option
@click.pass_obj
def get_command(metadata: ProjectMetadata, name: str, accept_terms: bool, env: str | None) -> None:
    """Fetch model NAME, or make it, unless it is here; then look its files over."""
    from almost_kedro.models.fetch import get_model
    from almost_kedro.models.find import resolve_model

    with one_clear_line():
        options, store = load_options(metadata.project_path, env)
        folder = get_model(name, options.models.root, store, accept_terms)
        resolve_model(name, options.models.root, store)
        click.echo(f"{name}: {folder}")


@params_option
@cli.command("rows")
@click.argument("dataset")
@click.option("--version", help="Version to read; by default the newest.")
@click.option(
    "--where",
    metavar="FIELD=VALUE",
    multiple=True,
    help="Only rows with this value; a list has it if one of its items is it. Can be repeated.",
)
@click.option("--limit", type=click.IntRange(min=0), help="Only so many rows.")
@env_option
@click.pass_obj
def rows_command(
    metadata: ProjectMetadata,
    dataset: str,
    version: str | None,
    where: tuple[str, ...],
    limit: int | None,
    env: str | None,
    params: dict[str, Any],
) -> None:
    """Print rows of DATASET as JSON lines."""
    from almost_kedro.commands.rows import find_rows, print_rows, select_rows

    with one_clear_line():
        rows = find_rows(load_catalog(metadata.project_path, env, params), dataset, version)
        print_rows(islice(select_rows(rows.stream(), where), limit))


@cli.group()
def cache() -> None:
    """The request cache: what was generated once."""


@params_option
@cache.command("repair")
@env_option
@click.pass_obj
def repair_command(metadata: ProjectMetadata, env: str | None, params: dict[str, Any]) -> None:
    """Make a damaged request cache anew from what can be read of it."""
    from almost_kedro.generation.cache import repair_cache
    from almost_kedro.jobs.generate import CACHE

    with one_clear_line():
        catalog = load_catalog(metadata.project_path, env, params)
        lock = RootLock()
        lock.acquire(Path(catalog.load("parameters")["data_root"]))
        kept, damaged = repair_cache(catalog.load("workplace").generation / CACHE)
        lock.release()
        click.echo(f"{kept} answers kept; the damaged file is {damaged}")


@cli.command("trace")
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


@cli.command("compare")
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


@cli.command("plan")
@click.option("--pipeline", default="__default__", help="One of the five; by default all of them.")
@click.option(
    "--gpu",
    metavar="FIGURES",
    help="Compute it for GPUs instead of measuring this machine: "
    "tflops=312,bandwidth_gb_s=2039,memory_gb=80,count=4",
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
    calibrate: bool,
    env: str | None,
    params: dict[str, Any],
) -> None:
    """Show what a run will cost: requests, tokens, seconds and memory of each program.

    Without --gpu, this machine is measured for about half a minute, once.
    """
    from almost_kedro.commands.plan.command import plan_run

    with one_clear_line():
        plan_run(load_context(metadata.project_path, env, params), pipeline, gpu, calibrate)


def load_context(
    project: Path, env: str | None, params: dict[str, Any] | None = None
) -> KedroContext:
    """Return an environment's context."""
    with KedroSession.create(project_path=project, env=env, runtime_params=params) as session:
        assert isinstance(session, KedroSession)
        return session.load_context()


def load_catalog(
    project: Path, env: str | None, params: dict[str, Any] | None = None
) -> DataCatalog:
    """Return an environment's catalog, with `--params` as for `kedro run`."""
    catalog = load_context(project, env, params).catalog
    assert isinstance(catalog, DataCatalog)
    return catalog


def load_options(project: Path, env: str | None) -> tuple[Options, Path]:
    """Return an environment's options and its folder of models."""
    with KedroSession.create(project_path=project, env=env) as session:
        assert isinstance(session, KedroSession)
        context = session.load_context()
        options = check_options(context.config_loader["parameters"])
        return options, context.catalog.load("workplace").models
