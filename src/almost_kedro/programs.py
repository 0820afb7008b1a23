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
from collections.abc import Callable
from pathlib import Path

from almost_kedro.errors import UserError
from almost_kedro.locks import DISK_ERRORS, explain_disk
from almost_kedro.program_output import ERROR, relay
from almost_kedro.program_output import PLAIN as PLAIN

LAST_LINES = 15
LIFELINE = "ALMOST_KEDRO_LIFELINE"
# No bars and no advice of libraries: our bar is fed by the program itself.
QUIET = {
    "PYTHONUNBUFFERED": "1",
    "PYTHONWARNINGS": "ignore",
    "TQDM_DISABLE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
}
# What a program's libraries are told, unless the environment says otherwise.
TUNABLES = {
    # glibc gives large tensors back to the system at once, and every step takes new pages: on CPUs
    # that may cost more than computing does.
    "GLIBC_TUNABLES": (
        "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=1000000000000:glibc.malloc.arena_max=1"
    ),
    # How often a thread of libgomp looks whether the others are done before it sleeps. By default
    # it looks for longer than its turn on a core is, so that beside other work threads wait in
    # turns for one another. This outlasts the pause between two operations, and little more.
    "GOMP_SPINCOUNT": "10000",
}
# How Python and torchrun say that a child of theirs was killed.
KILLED = re.compile(r"\bSIGKILL\b")


def run_program(
    module: str, job_file: Path, log_file: Path, env: dict[str, str] | None = None
) -> None:
    """Run `python -m MODULE JOB_FILE` to its end.

    The child has a session of its own; whatever ends this call (an error, Ctrl-C) ends the whole
    process group. Its standard input is a lifeline: when this process dies, the child reads the end
    of it and dies too.

    Args:
        module: The program.
        job_file: Its only argument.
        log_file: Keeps every line it prints.
        env: Variables added to the environment.

    Raises:
        UserError: If the program reports something that the user can mend.
        RuntimeError: If it fails otherwise, with its last lines.
    """
    run_command(module, build_command(module, job_file), log_file, env)


def build_command(module: str, *job_files: Path) -> list[str]:
    """Return the command that runs a program of ours on job files."""
    return [sys.executable, "-m", "almost_kedro.lean_program", module, *map(str, job_files)]


def run_command(
    name: str,
    command: list[str],
    log_file: Path,
    env: dict[str, str] | None = None,
    remedy: str = "close other programs, or take a smaller model",
) -> None:
    """Run a command to its end, as `run_program` does.

    Args:
        name: What it is called in messages.
        command: Program and arguments; no shell reads them.
        log_file: Keeps every line it prints.
        env: Variables added to the environment.
        remedy: What helps if it was killed for want of memory.

    Raises:
        UserError: If it reports something that the user can mend.
        RuntimeError: If it fails otherwise, with its last lines.
    """
    log_file.parent.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**TUNABLES, **os.environ, **(env or {}), LIFELINE: "1", **QUIET},
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    last: deque[str] = deque(maxlen=LAST_LINES)
    errors: list[str] = []
    assert process.stdin
    assert process.stdout
    # In a thread, because the end of the output may be held open by what the child has started.
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
    if status and errors:
        raise UserError(errors[0])
    shown = "\n".join(last)
    if status < 0 or (status and KILLED.search(shown)):
        number = signal.Signals(-status) if status < 0 else signal.SIGKILL
        raise UserError(
            f"{name} was killed by {number.name} (if not by you, most often for want of memory: "
            f"{remedy}); what it finished is kept, so run again"
        )
    if status:
        raise RuntimeError(
            f"{name} ended with status {status}; see {log_file}. Last lines:\n{shown}"
        )


def end_group(process: subprocess.Popen[str]) -> None:
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


def die_with_parent() -> None:
    """In a child: end the whole process group when the parent is gone.

    Does nothing for a program run by hand.
    """
    if os.environ.get(LIFELINE) != "1":
        return

    def watch() -> None:
        while os.read(0, 1024):
            pass
        os.killpg(os.getpgid(0), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def carry_out(run: Callable[[str], None], *job_files: str) -> int:
    """In a child: carry out job files; returns the exit status.

    Args:
        run: Given a file's text. What it imports late is imported under the lifeline.
        job_files: The files, one after the other.

    Returns:
        0, or 2 with one line on stderr if it failed of something that the user can mend.
    """
    # First of all: torch takes seconds to import, and the parent may be gone by then.
    die_with_parent()
    try:
        for job_file in job_files:
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
