"""Trainings over several machines without a scheduler.

The first machine, where Kedro runs, leaves a note in a folder that all of them see: which training
runs. The others look there, and start their ranks of it.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from almost_kedro.processes.output import PLAIN
from almost_kedro.processes.run import end_group

logger = logging.getLogger(__name__)
NOTE = "now_training.json"
# Seconds between two looks, and for ranks to end after the first machine's have.
LOOK, GRACE = 1.0, 60.0


class Call(NamedTuple):
    """What the note says: the job file of the training that runs, or None after the run's end.

    A call has an id of its own: a training that is stopped and goes on is another call.
    """

    id: str
    job_file: str | None


@contextmanager
def call_machines(folder: Path, job_file: Path) -> Iterator[None]:
    """Call the other machines to a training, for as long as it runs."""
    _write(folder, Call(uuid.uuid4().hex, str(job_file)))
    try:
        yield
    finally:
        (folder / NOTE).unlink(missing_ok=True)


def dismiss_machines(folder: Path) -> None:
    """Tell the other machines that the run has ended, and that they may."""
    if folder.is_dir():
        _write(folder, Call(uuid.uuid4().hex, None))


def read_call(folder: Path) -> Call | None:
    """Return what the note says, or None without one."""
    with suppress(FileNotFoundError):
        return Call(**json.loads((folder / NOTE).read_text(encoding="utf-8")))
    return None


def answer_calls(folder: Path, module: str, node_rank: int) -> None:
    """Start this machine's part of every training, until the run has ended.

    A part is `python -m MODULE JOB_FILE --node-rank N`. It is ended when the first machine calls to
    another training, or to the same one anew, and some time after the first machine's part ended.
    """
    before = read_call(folder)
    # The end of an earlier run is not this one's.
    known = before.id if before and before.job_file is None else None
    process: subprocess.Popen[str] | None = None
    alone_since: float | None = None
    logger.info("node %d: waits for trainings in %s", node_rank, folder, extra=PLAIN)
    try:
        while True:
            call = read_call(folder)
            if call and call.id != known:
                known, alone_since = call.id, None
                _end(process)
                process = None
                if call.job_file is None:
                    return
                process = _start([sys.executable, "-m", module, call.job_file], node_rank)
            elif call is None and process:
                alone_since = alone_since or time.monotonic()
                if time.monotonic() - alone_since > GRACE:
                    _end(process)
            if process and process.poll() is not None:
                logger.info(
                    "node %d: its part ended with status %d; waits for the next",
                    node_rank,
                    process.returncode,
                    extra=PLAIN,
                )
                process = None
            time.sleep(LOOK)
    finally:
        _end(process)


def _start(command: list[str], node_rank: int) -> subprocess.Popen[str]:
    logger.info("node %d: takes part in %s", node_rank, command[-1], extra=PLAIN)
    return subprocess.Popen(
        [*command, "--node-rank", str(node_rank)], text=True, start_new_session=True
    )


def _end(process: subprocess.Popen[str] | None) -> None:
    if process:
        end_group(process)


def _write(folder: Path, call: Call) -> None:
    part = folder / f"{NOTE}.{call.id}"
    part.write_text(json.dumps(call._asdict()), encoding="utf-8")
    os.replace(part, folder / NOTE)
