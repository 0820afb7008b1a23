"""Extra `kedro` commands, and `kedro run` with one clear line where the user can mend something."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from kedro.config import MissingConfigException
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.cli.utils import env_option
from kedro.framework.session import KedroSession
from kedro.framework.startup import ProjectMetadata
from kedro.io import DatasetError

from almost_kedro.errors import UserError
from almost_kedro.options import Options, check_options


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
    from almost_kedro.models import list_models

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
    """Fetch model NAME, or make it, unless it is here."""
    from almost_kedro.models import get_model

    with one_clear_line():
        options, store = load_options(metadata.project_path, env)
        click.echo(f"{name}: {get_model(name, options.models.root, store, accept_terms)}")


def load_options(project: Path, env: str | None) -> tuple[Options, Path]:
    """Return an environment's options and its folder of models."""
    with KedroSession.create(project_path=project, env=env) as session:
        assert isinstance(session, KedroSession)
        context = session.load_context()
        options = check_options(context.config_loader["parameters"])
        return options, context.catalog.load("model_store")
