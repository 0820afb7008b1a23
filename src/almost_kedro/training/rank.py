"""One rank of a training program: what `launch` starts, once for each rank.

Run by hand: `accelerate launch -m almost_kedro.training.rank JOB.json`.
"""

from __future__ import annotations

import sys
from importlib import import_module

from almost_kedro.processes.child import carry_out
from almost_kedro.processes.lean_start import leave_out
from almost_kedro.training.job import TrainingJob


def run(text: str) -> None:
    """Train as the text of a job file says."""
    job = TrainingJob.model_validate_json(text)
    leave_out(adapters=job.options.lora is None)
    devices = import_module("almost_kedro.training.devices")
    devices.check_devices(job)
    import_module("almost_kedro.training.sharding").choose_reading(job)
    import_module(f"almost_kedro.training.{job.program}").run(job)


def main(job_file: str) -> int:
    """Carry out a job file; return the exit status, with one line on stderr if it failed."""
    return carry_out(run, job_file)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
