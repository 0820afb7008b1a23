"""Commands on what runs share: `kedro models`, `kedro cache`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from kedro.framework.cli.utils import env_option
from kedro.framework.startup import ProjectMetadata

from almost_kedro.cli.project import load_catalog, load_options, one_clear_line, params_option
from almost_kedro.processes.locks import hold_root


@click.group()
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


@click.group()
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
        with hold_root(Path(catalog.load("parameters")["data_root"])):
            kept, damaged = repair_cache(catalog.load("workplace").generation / CACHE)
        click.echo(f"{kept} answers kept; the damaged file is {damaged}")
