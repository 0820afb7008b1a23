"""Prints the manifest of a run."""

from __future__ import annotations

from collections.abc import Sequence

import click
import yaml  # type: ignore[import-untyped]

from almost_kedro.commands.kubernetes.manifest import (
    Pod,
    build_manifest,
    check_pod,
    name_first_pod,
)
from almost_kedro.errors import UserError
from almost_kedro.options.launch import LaunchOptions


class PlainDumper(yaml.SafeDumper):  # type: ignore[misc]
    """Writes what is there twice twice, without a reference."""

    def ignore_aliases(self, data: object) -> bool:
        """Return that nothing is a reference."""
        return True


def print_manifest(
    launch: LaunchOptions,
    run_options: Sequence[str],
    *,
    volume: str,
    folder: str | None,
    gpus: int | None,
    name: str,
    image: str,
    cpus: str | None,
    memory: str | None,
    secret: str | None,
) -> None:
    """Print the manifest of `kedro run` with these options, as YAML.

    `volume` is CLAIM:PATH; see `Pod` for the rest. Raises UserError for what Kubernetes would not
    take.
    """
    claim, _, mount = volume.partition(":")
    if not claim or not mount:
        raise UserError(f"--volume {volume}: give it as CLAIM:PATH, such as work:/work")
    if gpus is None:
        gpus = 0 if launch.config == "cpu" else launch.processes
    pod = Pod(name, image, claim, mount, folder or mount, gpus, cpus, memory, secret)
    check_pod(pod, launch)
    if launch.nodes > 1 and launch.main_address == LaunchOptions().main_address:
        run_options = add_parameter(run_options, f"launch.main_address={name_first_pod(pod)}")
    manifest = build_manifest(pod, launch.nodes, run_options)
    click.echo(yaml.dump_all(manifest, Dumper=PlainDumper, sort_keys=False), nl=False)


def add_parameter(run_options: Sequence[str], parameter: str) -> list[str]:
    """Return options of `kedro run` with one more in `--params`, whose last one counts."""
    options = list(run_options)
    for place in reversed(range(len(options))):
        if options[place].startswith("--params="):
            options[place] += f",{parameter}"
            return options
        if options[place] == "--params":
            options[place + 1] += f",{parameter}"
            return options
    return [*options, "--params", parameter]
