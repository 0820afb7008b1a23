"""Takes part in a run on several machines."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from kedro.io import DataCatalog

from almost_kedro.errors import UserError
from almost_kedro.options.all import Options
from almost_kedro.options.launch import LaunchOptions
from almost_kedro.processes.machines import answer_calls
from almost_kedro.processes.run import PLAIN, exit_when_told

logger = logging.getLogger(__name__)
# Kubernetes numbers the pods of an indexed job.
INDEX = "JOB_COMPLETION_INDEX"


def find_node_rank(given: int | None, launch: LaunchOptions) -> int:
    """Return which machine this is, counted from 0; raise UserError if it is none of the run's."""
    if launch.backend == "slurm":
        raise UserError(
            "launch.backend is slurm, which starts every machine's part itself: type `kedro run`"
        )
    found = os.environ.get(INDEX) if given is None else str(given)
    if found is None:
        raise UserError(
            "which machine is this? Give --node-rank: 0 runs Kedro, 1 and up take part in its "
            f"trainings (in a pod of an indexed Job, {INDEX} says it)"
        )
    if not found.isdecimal() or int(found) >= launch.nodes:
        where = INDEX if given is None else "--node-rank"
        raise UserError(
            f"{where} {found}: launch.nodes is {launch.nodes}, and they are counted from 0"
        )
    return int(found)


def join(
    catalog: DataCatalog, options: Options, node_rank: int | None, run_options: Sequence[str]
) -> None:
    """Become `kedro run` on the first machine; on the others, start their part of its trainings.

    Raises UserError if this machine is none of the run's.
    """
    rank = find_node_rank(node_rank, options.launch)
    if rank == 0:
        become_run(run_options)
    address = options.launch.main_address
    if address == LaunchOptions().main_address:
        logger.warning(
            "launch.main_address is %s: machine 0 has to be this one, too; elsewhere, set it to "
            "machine 0's address",
            address,
            extra=PLAIN,
        )
    exit_when_told()
    folder: Path = catalog.load("workplace").training
    answer_calls(folder, "almost_kedro.training.launch", rank)


def become_run(run_options: Sequence[str]) -> NoReturn:
    """Turn into `kedro run`."""
    command = [sys.executable, "-m", "kedro", "run", *run_options]
    sys.stdout.flush()
    os.execv(command[0], command)  # noqa: S606 - no shell reads it
