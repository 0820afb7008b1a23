"""One rank of a training program: what `launch` starts, once for each rank.

Run by hand: `accelerate launch -m almost_kedro.training.rank JOB.json`.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

from almost_kedro.errors import UserError
from almost_kedro.locks import DISK_ERRORS, explain_disk
from almost_kedro.programs import die_with_parent
from almost_kedro.training.job import TrainingJob


def main(job_file: str) -> int:
    """Carry out a job file; returns the exit status, with one line on stderr if it failed."""
    # First of all: torch takes seconds to import, and the parent may be gone by then.
    die_with_parent()
    try:
        job = TrainingJob.model_validate_json(Path(job_file).read_text(encoding="utf-8"))
        devices = import_module("almost_kedro.training.devices")
        devices.check_devices(job)
        import_module(f"almost_kedro.training.{job.program}").run(job)
    except UserError as exc:
        print(f"error: {exc}", file=sys.stderr, flush=True)
        return 2
    except OSError as exc:
        if exc.errno not in DISK_ERRORS:
            raise
        print(f"error: {explain_disk(exc)}", file=sys.stderr, flush=True)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
