"""Runs a program of ours as a child process: relayed, measured, and never left behind.

Programs know torch, the Kedro process does not. A program reads one JSON job file, prints progress
and log lines, and writes one folder.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from almost_kedro.errors import UserError
from almost_kedro.processes.child import LIFELINE
from almost_kedro.processes.output import PLAIN as PLAIN
from almost_kedro.processes.output import relay
from almost_kedro.processes.prepared import Child, start_prepared

Process = subprocess.Popen[str] | Child

LAST_LINES = 15
# Slurm's `scancel` and Kubernetes send SIGTERM, a lost terminal SIGHUP.
ENDING = (signal.SIGTERM, signal.SIGHUP)
# No bars and no advice of libraries: our bar is fed by the program itself.
QUIET = {
    "PYTHONUNBUFFERED": "1",
    "PYTHONWARNINGS": "ignore",
    "TQDM_DISABLE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
}
# Settings for a program's libraries; the environment can overrule them.
MEMORY = {
    # glibc gives large tensors back to the system at once, and every step takes new pages: on CPUs
    # that may cost more than computing does.
    "GLIBC_TUNABLES": (
        "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=1000000000000:glibc.malloc.arena_max=1"
    ),
}
THREADS = {
    # How often a libgomp thread checks the others before it sleeps. By default it checks longer
    # than its turn on a core, so that beside other work threads wait in turns for one another.
    # This lasts a little longer than the pause between two operations.
    "GOMP_SPINCOUNT": "10000",
}
TUNABLES = MEMORY | THREADS
# Against a want of memory.
REMEDY = "close other programs, or take a smaller model"
# Python and torchrun say so if a child of theirs was killed.
KILLED = re.compile(r"\bSIGKILL\b")


def run_program(
    module: str, job_file: Path, log_file: Path, env: dict[str, str] | None = None
) -> None:
    """Run `python -m MODULE JOB_FILE` to its end.

    The child has a session of its own. Whatever ends this call (an error, Ctrl-C) ends its whole
    process group. Its standard input is a lifeline: when this process dies, the child reads the end
    of it and dies too. `log_file` keeps every line that it prints; `env` adds to the environment.

    Raises:
        UserError: If the program reports something that the user can mend, or was killed.
        RuntimeError: If it fails otherwise, with its last lines.
    """
    run_command(module, build_command(module, job_file), log_file, env)


def build_command(module: str, *job_files: Path) -> list[str]:
    """Return the command that runs a program of ours on job files."""
    return [sys.executable, "-m", "almost_kedro.processes.lean_start", module, *map(str, job_files)]


def build_environment(
    env: Mapping[str, str] = MappingProxyType({}), tunables: Mapping[str, str] = TUNABLES
) -> dict[str, str]:
    """Return the environment of a program of ours, with `env` in addition to our own."""
    # Not first: glibc moves its own variable, and setproctitle looks for the first one.
    return {**os.environ, **tunables, **os.environ, **env, LIFELINE: "1", **QUIET}


def run_command(
    name: str,
    command: list[str],
    log_file: Path,
    env: dict[str, str] | None = None,
    remedy: str = REMEDY,
    tunables: Mapping[str, str] = TUNABLES,
) -> None:
    """Run a command to its end, with the log, environment and errors of `run_program`.

    No shell reads `command`. Messages call it `name`; they show `remedy` if it was killed, most
    often for want of memory. `tunables` are settings for its libraries.
    """
    log_file.parent.mkdir(parents=True, exist_ok=True)
    process = start(command, env or {}, tunables=tunables)
    last: deque[str] = deque(maxlen=LAST_LINES)
    errors: list[str] = []
    assert process.stdin
    assert process.stdout
    # In a thread, because what the child has started may hold the output open.
    reader = threading.Thread(target=relay, args=(process.stdout, log_file, last, errors))
    reader.start()
    try:
        status = process.wait()
    finally:
        end_group(process)
        # The end of the lifeline: what the child started in sessions of its own ends, too.
        process.stdin.close()
        reader.join()
        process.stdout.close()
    if status:
        raise make_error(name, status, errors, last, log_file, remedy)


def make_error(
    name: str,
    status: int,
    errors: Sequence[str],
    last: Iterable[str],
    log_file: Path,
    remedy: str = REMEDY,
) -> Exception:
    """Return what a program's failure is to the user; see `run_program`.

    `status` is its exit status, or minus the signal that ended it. `errors` is what it reported,
    `last` are its last lines.
    """
    if errors:
        return UserError(errors[0])
    shown = "\n".join(last)
    if status < 0 or KILLED.search(shown):
        return UserError(
            f"{explain_kill(name, status, remedy)}; what it finished is kept, so run again"
        )
    return RuntimeError(f"{name} ended with status {status}; see {log_file}. Last lines:\n{shown}")


def start(
    command: list[str],
    env: Mapping[str, str],
    stderr: int | None = None,
    tunables: Mapping[str, str] = TUNABLES,
) -> Process:
    """Start a command in a session of its own: by forking where that is prepared, or plainly.

    `stderr` is the number of an open file; None is where the standard output goes.
    """
    environment = build_environment(env, tunables)
    if command[:2] == [sys.executable, "-m"] and (
        child := start_prepared(command[2:], environment, stderr)
    ):
        return child
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if stderr is None else stderr,
        env=environment,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )


def exit_when_told() -> None:
    """Let SIGTERM and SIGHUP end this process as errors do: after what it has started."""
    for number in ENDING:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, lambda number, _: sys.exit(128 + number))


def explain_kill(name: str, status: int, remedy: str = REMEDY) -> str:
    """Say which signal killed a program, and what helps."""
    number = signal.Signals(-status) if status < 0 else signal.SIGKILL
    return (
        f"{name} was killed by {number.name} (if not by you, most often for want of memory: "
        f"{remedy})"
    )


def end_group(process: Process) -> None:
    """End a child and everything it started: politely, then by force."""
    for number, patience in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        except PermissionError:  # macOS: only zombies are left in the group
            break
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue
    process.wait()
