"""Runs a program of ours as a child process: relayed, measured, and never left behind.

Programs know torch, the Kedro process does not. A program reads one JSON job file, prints progress
and log lines, and writes one folder.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from almost_kedro.errors import UserError
from almost_kedro.generation.progress import MARK

logger = logging.getLogger(__name__)
PLAIN = {"markup": False, "highlighter": None}
SECONDS_BETWEEN_LINES = 5.0
LAST_LINES = 15
# Starts the line in which a program says what the user can mend.
ERROR = "error: "
LIFELINE = "ALMOST_KEDRO_LIFELINE"
# No bars of libraries: ours is fed by the program itself.
QUIET = {"PYTHONUNBUFFERED": "1", "TQDM_DISABLE": "1", "TOKENIZERS_PARALLELISM": "false"}


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
    run_command(module, [sys.executable, "-m", module, str(job_file)], log_file, env)


def run_command(
    name: str,
    command: list[str],
    log_file: Path,
    env: dict[str, str] | None = None,
    remedy: str = "lower generation.batch_size",
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
        env={**os.environ, **(env or {}), LIFELINE: "1", **QUIET},
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    last: deque[str] = deque(maxlen=LAST_LINES)
    errors: list[str] = []
    assert process.stdin and process.stdout
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
    if status < 0:
        raise UserError(
            f"{name} was killed by {signal.Signals(-status).name} (if not by you, most often for "
            f"want of memory: {remedy}); what it finished is kept, so run again"
        )
    if status and errors:
        raise UserError(errors[0])
    if status:
        shown = "\n".join(last)
        raise RuntimeError(
            f"{name} ended with status {status}; see {log_file}. Last lines:\n{shown}"
        )


def relay(lines: IO[str], log_file: Path, last: deque[str], errors: list[str]) -> None:
    """Show a child's progress, log its other lines, keep the last ones and what it complains of."""
    with LogFile(log_file) as log, ProgressView() as view:
        for line in lines:
            if line.startswith(MARK):
                try:
                    view.show(json.loads(line.removeprefix(MARK)))
                    continue
                except ValueError:
                    pass  # another thread of the child wrote into the line: it is text
            log.write(line)
            line = line.rstrip()
            if line.startswith(ERROR):
                errors.append(line.removeprefix(ERROR))
            if line:
                last.append(line)
                logger.info("%s", line, extra=PLAIN)


class LogFile:
    """A file that gives up where the disk does: the child must not wait for a reader."""

    def __init__(self, path: Path):
        """Open the file."""
        self.path = path
        self.file: IO[str] | None = None

    def __enter__(self) -> LogFile:
        """Open the file."""
        self._try(lambda: setattr(self, "file", self.path.open("w", 1, encoding="utf-8")))
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        if self.file:
            self._try(self.file.close)

    def write(self, line: str) -> None:
        """Write a line, if the file is still there."""
        if file := self.file:
            self._try(lambda: file.write(line))

    def _try(self, act: Callable[[], object]) -> None:
        try:
            act()
        except OSError as exc:
            self.file = None
            logger.warning("%s: %s; what the program prints is no longer kept", self.path, exc)


class ProgressView:
    """A bar on a terminal; elsewhere a log line every few seconds."""

    def __init__(self) -> None:
        """Find out where the output goes."""
        console = Console(stderr=True)
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f} {task.fields[rate]}", markup=False),
            TimeRemainingColumn(),
        )
        self.bar = Progress(*columns, console=console) if console.is_terminal else None
        self.task: int | None = None
        self.logged = time.monotonic()
        self.done = False

    def __enter__(self) -> ProgressView:
        """Start the bar."""
        if self.bar:
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the bar."""
        if self.bar:
            self.bar.stop()

    def show(self, state: dict[str, float | str]) -> None:
        """Show a child's state (see `generation.progress`)."""
        rows, total = float(state["rows"]), float(state["total"])
        seconds, tokens = float(state["seconds"]), float(state["tokens"])
        rate = f"{tokens / seconds:.0f} tokens/s" if seconds else ""
        if self.bar:
            if self.task is None:
                self.task = self.bar.add_task(str(state["what"]), total=total, rate="")
            self.bar.update(self.task, completed=rows, rate=rate)  # type: ignore[arg-type]
        finished = rows >= total
        if self.bar or (time.monotonic() - self.logged < SECONDS_BETWEEN_LINES and not finished):
            return
        if self.done:
            return
        self.done, self.logged = finished, time.monotonic()
        new = rows - float(state["rows_at_start"])
        left = (
            f", about {seconds * (total - rows) / new:.0f} s left" if new and not finished else ""
        )
        logger.info("%s: %d of %d, %s%s", state["what"], rows, total, rate, left, extra=PLAIN)


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
