"""Extra `kedro` commands, and `kedro run` with one clear line where the user can mend something."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click
from kedro.framework.cli.project import run as kedro_run

from almost_kedro.cli.look import compare_command, plan_command, rows_command, trace_command
from almost_kedro.cli.machines import join_command, kubernetes_command
from almost_kedro.cli.project import one_clear_line
from almost_kedro.cli.share import export_command, publish_command, vote_command
from almost_kedro.cli.stores import cache, models
from almost_kedro.cli.use import chat_command, score_command, serve_command


@click.group(name="almost_kedro")
def cli() -> None:
    """Commands of the project."""


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
LOOK = (rows_command, trace_command, compare_command, plan_command)
USE = (chat_command, score_command, serve_command)
SHARE = (export_command, publish_command, vote_command)
MACHINES = (join_command, kubernetes_command)
for command in (models, cache, *LOOK, *USE, *SHARE, *MACHINES):
    cli.add_command(command)
