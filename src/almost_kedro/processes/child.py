"""What every program of ours does first: it dies with its parent, and fails in one line."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from almost_kedro.errors import UserError
from almost_kedro.processes.locks import DISK_ERRORS, explain_disk
from almost_kedro.processes.output import ERROR
from almost_kedro.processes.output import PLAIN as PLAIN

LIFELINE = "ALMOST_KEDRO_LIFELINE"
# A program writes this file last: a job that has it is done.
METRICS = "metrics.json"


def die_with_parent(hear: Callable[[bytes], None] = lambda data: None) -> None:
    """In a child, end the whole process group when the parent is gone; by hand, do nothing.

    `hear` gets, in a thread of its own, what the parent writes before that.
    """
    if os.environ.get(LIFELINE) != "1":
        return

    def watch() -> None:
        while data := os.read(0, 65536):
            hear(data)
        os.killpg(os.getpgid(0), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def carry_out(
    run: Callable[[str], None], *job_files: str, hear: Callable[[bytes], None] = lambda data: None
) -> int:
    """In a child: carry out job files one after the other; return the exit status.

    `run` gets a file's text; what it imports late is imported under the lifeline, of which `hear`
    gets what comes (see `die_with_parent`). The status is 0, or 2 with one line on stderr after an
    error that the user can mend.
    """
    # Comes first: torch takes seconds to import, and the parent may be gone by then.
    die_with_parent(hear)
    try:
        for job_file in leave_out_finished(job_files):
            run(Path(job_file).read_text(encoding="utf-8"))
    except UserError as exc:
        print(f"{ERROR}{exc}", file=sys.stderr, flush=True)
        return 2
    except OSError as exc:
        if exc.errno not in DISK_ERRORS:
            raise
        print(f"{ERROR}{explain_disk(exc)}", file=sys.stderr, flush=True)
        return 2
    return 0


def leave_out_finished(job_files: Sequence[str]) -> Sequence[str]:
    """In a job that Slurm requeued, return which of several job files are left to do."""
    if not os.environ.get("SLURM_RESTART_COUNT") or len(job_files) == 1:
        return job_files
    return [file for file in job_files if not Path(file).with_name(METRICS).is_file()]
