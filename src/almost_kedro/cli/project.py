"""What commands share: the project's context, catalog and options, and errors in one clear line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
from kedro.config import MissingConfigException
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.context import KedroContext
from kedro.framework.session import KedroSession
from kedro.io import DataCatalog, DatasetError

from almost_kedro.errors import UserError
from almost_kedro.options.all import Options, check_options
from almost_kedro.processes.locks import DISK_ERRORS, explain_disk

Decorated = TypeVar("Decorated", bound=Callable[..., Any] | click.Command)


def params_option(command: Decorated) -> Decorated:
    """Give a command the option `--params` of `kedro run`."""
    like = next(param for param in kedro_run.params if param.name == "params")
    assert isinstance(like, click.Option)
    option = click.option(
        "--params", type=like.type, default=like.default, callback=like.callback, help=like.help
    )
    return option(command)


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
