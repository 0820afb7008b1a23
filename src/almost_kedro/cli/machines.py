"""Commands for runs on other machines than this one: `kedro join`, `kubernetes`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.context import KedroContext
from kedro.framework.startup import ProjectMetadata
from kedro.io import DataCatalog

from almost_kedro.cli.project import load_context, one_clear_line
from almost_kedro.options.all import Options, check_options

# What these commands do not know is an option of `kedro run`.
PASS_ON = {"ignore_unknown_options": True}
run_options = click.argument(
    "run_options", metavar="[OPTIONS OF kedro run]", nargs=-1, type=click.UNPROCESSED
)


def load_run(project: Path, run_options: Sequence[str]) -> tuple[KedroContext, Options]:
    """Return what `kedro run` would work with; click says what is wrong with its options."""
    with kedro_run.make_context("run", list(run_options)) as command:
        context = load_context(project, command.params["env"], command.params["params"])
        return context, check_options(context.config_loader["parameters"])


@click.command("join", context_settings=PASS_ON)
@click.option(
    "--node-rank",
    type=click.IntRange(min=0),
    help="Which machine this is; by default what Kubernetes says in a pod of an indexed Job.",
)
@run_options
@click.pass_obj
def join_command(
    metadata: ProjectMetadata, node_rank: int | None, run_options: tuple[str, ...]
) -> None:
    """Take part in a run on several machines (launch.nodes).

    Type the same on each of them, but for the rank. Machine 0 runs `kedro run`, with these options;
    the others start their ranks of each training, and end when the run has ended well.
    """
    from almost_kedro.commands.join import join

    with one_clear_line():
        context, options = load_run(metadata.project_path, run_options)
        catalog = context.catalog
        assert isinstance(catalog, DataCatalog)
        join(catalog, options, node_rank, run_options)


@click.command("kubernetes", context_settings=PASS_ON)
@click.option("--image", required=True, help="Image that has Python with the project's packages.")
@click.option(
    "--volume",
    metavar="CLAIM:PATH",
    required=True,
    help="A PersistentVolumeClaim that all pods can write to, and where they see it.",
)
@click.option("--folder", help="The project's folder in the pods; by default the volume's.")
@click.option("--name", default="almost-kedro", show_default=True, help="Name of the Job.")
@click.option(
    "--gpus",
    type=click.IntRange(min=0),
    help="GPUs of each pod; by default one for each rank that needs one.",
)
@click.option("--cpus", help="Cores of each pod.")
@click.option("--memory", help="Memory of each pod, such as 64Gi.")
@click.option("--secret", help="Secret with keys, which become environment variables.")
@run_options
@click.pass_obj
def kubernetes_command(
    metadata: ProjectMetadata, /, run_options: tuple[str, ...], **pod: Any
) -> None:
    """Print a run as an indexed Job of Kubernetes, for `kubectl apply -f -`.

    There is a pod for each machine (launch.nodes). The project, with its data root and models, lies
    on the volume.
    """
    from almost_kedro.commands.kubernetes.command import print_manifest

    with one_clear_line():
        _, options = load_run(metadata.project_path, run_options)
        print_manifest(options.launch, run_options, **pod)
