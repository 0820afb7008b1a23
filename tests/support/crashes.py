"""Pulls the plug on launches: real processes, killed for real."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import psutil
from training_jobs import Run

Victim = Literal["caller", "launcher", "rank"]
# Imports take that long on a busy machine.
PATIENCE = 120.0


def start(run: Run, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """Call `launch` in a process of its own."""
    command = [sys.executable, "-m", "almost_kedro.training.launch", str(run.job_file)]
    return subprocess.Popen(
        command,
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def find(run: Run, victim: Victim) -> list[psutil.Process]:
    """The processes of a launch: who called it, accelerate's, or the ranks."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        line = process.info["cmdline"] or []
        if str(run.job_file) not in line or process.info["status"] == psutil.STATUS_ZOMBIE:
            continue
        if "almost_kedro.training.launch" in line:
            kind = "caller"
        else:
            kind = "launcher" if "accelerate.commands.launch" in line else "rank"
        if kind == victim:
            found.append(process)
    return found


def list_checkpoints(run: Run) -> list[Path]:
    folders = (run.job.out / "state").glob("checkpoint-*")
    return sorted(folders, key=lambda folder: int(folder.name.split("-")[1]))


def count_whole(run: Run) -> int:
    """The step of the newest whole checkpoint."""
    whole = [f for f in list_checkpoints(run) if (f / "complete").exists()]
    return int(whole[-1].name.split("-")[1]) if whole else 0


def is_saving(run: Run) -> bool:
    return any(not (f / "complete").exists() for f in list_checkpoints(run))


def kill_when(
    run: Run, victim: Victim, condition: Callable[[], bool], env: dict[str, str] | None = None
) -> str | None:
    """Launch, kill the victim as soon as something holds, and see that nobody outlives it.

    Returns what the caller printed; None if it ended before.
    """
    caller = start(run, env)
    deadline = time.monotonic() + PATIENCE
    while not (condition() and freeze(run, condition)):
        assert time.monotonic() < deadline
        if caller.poll() == 0:
            return None
        assert caller.poll() is None, caller.communicate()[0]
        time.sleep(0.0005)
    for process in find(run, victim)[-1:]:
        process.kill()
    for process in find(run, "rank"):
        process.resume()
    output, _ = caller.communicate(timeout=60)
    assert caller.returncode != 0, output
    wait_until_gone(run)
    return output


def freeze(run: Run, condition: Callable[[], bool]) -> bool:
    """Hold all ranks; let them go if the moment has passed."""
    ranks = find(run, "rank")
    for process in ranks:
        process.suspend()
    if condition():
        return True
    for process in ranks:
        process.resume()
    return False


def kill_at_checkpoint(
    run: Run, victim: Victim, step: int, env: dict[str, str] | None = None
) -> str | None:
    """Kill once a checkpoint of at least that step is whole."""
    return kill_when(run, victim, lambda: count_whole(run) >= step, env)


def wait_until_gone(run: Run, seconds: float = 10) -> None:
    """Neither launchers nor ranks outlive who started them."""
    deadline = time.monotonic() + seconds
    while find(run, "launcher") or find(run, "rank"):
        assert time.monotonic() < deadline, "a rank outlives its parent"
        time.sleep(0.05)
