"""Programs that test how jobs of Slurm are followed, without torch."""

import sys
from pathlib import Path
from typing import Any

from almost_kedro.processes import slurm
from almost_kedro.processes.slurm import Program

# A program whose first attempt waits for a file; what it does in the end is `last`.
CODE = """
import os, pathlib, sys, time
from almost_kedro.processes.progress import Progress
folder = pathlib.Path(sys.argv[1]).parent
attempts = folder / "attempts"
attempts.open("a").write("x")
print("attempt", len(attempts.read_text()), flush=True)
while len(attempts.read_text()) == {waits}:
    time.sleep(0.05)
progress = Progress("answers [red]", 2, every=0)
progress.add_tokens(10)
progress.add_rows(2)
progress.finish()
{last}
(folder / "metrics.json").touch()
"""


def make_program(folder: Path, waits: int = 0, last: str = "", **changes: Any) -> Program:
    """A program that does not end by itself as long as attempt number `waits` lasts."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "child_program.py").write_text(CODE.format(waits=waits, last=last))
    job_file, done = folder / "job.json", folder / "metrics.json"
    job_file.touch()
    command = [sys.executable, "-m", "child_program", str(job_file)]
    fields = {
        "name": "child",
        "job_files": [job_file],
        "list_command": lambda: [] if done.exists() else command,
        "log_file": folder / "program.log",
        "env": {"PYTHONPATH": f"{folder}:{Path(slurm.__file__).parents[2]}"},
    }
    return Program(**{**fields, **changes})
