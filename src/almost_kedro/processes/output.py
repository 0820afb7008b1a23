"""What a child program prints: progress as a bar or as lines, the rest as log lines."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from almost_kedro.processes.progress import MARK

logger = logging.getLogger(__name__)
PLAIN = {"markup": False, "highlighter": None}
SECONDS_BETWEEN_LINES = 5.0
# Seconds between two looks at a file that grows.
READ_PAUSE = 0.2
# Starts a line about something that the user can mend.
ERROR = "error: "


def relay(lines: Iterable[str], log_file: Path, last: deque[str], errors: list[str]) -> None:
    """Show a child's progress, log its other lines, keep the last ones and its errors.

    The caller raises the errors in the end. Lines after an error are how launchers and other ranks
    end: they go to the log file only.
    """
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
            if line and not errors:
                logger.info("%s", line, extra=PLAIN)


def read_growing(file: Path, ended: threading.Event) -> Iterator[str]:
    """Return the lines of a file while another process writes it, until that has ended."""
    position, part = 0, b""
    while True:
        last_time = ended.is_set()
        with suppress(OSError), file.open("rb") as opened:  # there is none before the job runs
            opened.seek(position)
            data = opened.read()
            position += len(data)
            *lines, part = (part + data).split(b"\n")
            yield from (line.decode("utf-8", "replace") + "\n" for line in lines)
        if last_time:
            break
        ended.wait(READ_PAUSE)
    if part:
        yield part.decode("utf-8", "replace")


class LogFile:
    """A log file that stops at a disk error: the child must not wait for a reader."""

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
            TextColumn("{task.fields[left]}", markup=False),
        )
        self.bar = Progress(*columns, console=console) if console.is_terminal else None
        self.task: int | None = None
        self.state: dict[str, float | str] = {"what": "", "rows": 0}
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
        """Show a child's state (see `processes.progress`)."""
        rows, total = float(state["rows"]), float(state["total"])
        seconds, tokens = float(state["seconds"]), float(state["tokens"])
        rate = f"{tokens / seconds:.0f} tokens/s" if seconds else ""
        # A program with several jobs starts anew with each.
        if state["what"] != self.state["what"] or rows < float(self.state["rows"]):
            self.task, self.done = None, False
        self.state = state
        if self.bar:
            if self.task is None:
                self.task = self.bar.add_task(str(state["what"]), total=total, rate="", left="")
            fields = {"rate": rate, "left": estimate_left(state)}
            self.bar.update(self.task, completed=rows, **fields)  # type: ignore[arg-type]
        finished = rows >= total
        if self.bar or (time.monotonic() - self.logged < SECONDS_BETWEEN_LINES and not finished):
            return
        if self.done:
            return
        self.done, self.logged = finished, time.monotonic()
        more = "".join(f", {each}" for each in (rate, estimate_left(state)) if each)
        logger.info("%s: %d of %d%s", state["what"], rows, total, more, extra=PLAIN)


def estimate_left(state: Mapping[str, float | str]) -> str:
    """Say how long a child will still take, by its state; nothing if that can't be told.

    Rows that are written together end together: while the first ones end, by their number there
    would be hours left. They take no more tokens than they may, though, at the rate so far.
    """
    done, seconds, tokens = (float(state[name]) for name in ("rows", "seconds", "tokens"))
    left, found = float(state["total"]) - done, []
    if new := done - float(state["rows_at_start"]):
        found.append(seconds * left / new)
    if tokens and (asked := float(state.get("asked_rows", 0))):
        each = float(state["asked_tokens"]) / asked
        found.append(seconds * left * each / tokens)
    return f"about {min(found):.0f} s left" if found and left > 0 else ""
