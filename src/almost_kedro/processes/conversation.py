"""A program of ours that answers requests while it runs: JSON lines there and back.

Requests go to its standard input, which is its lifeline, too: when this process dies, the program
reads the end of it and dies. Replies come on its standard output, and nothing else does.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

from almost_kedro.errors import UserError
from almost_kedro.processes.output import ERROR
from almost_kedro.processes.run import (
    KILLED,
    Process,
    build_command,
    end_group,
    explain_kill,
    start,
)

# The request that ends the reply under way; it has no reply of its own.
STOP = "stop"
Message = Mapping[str, Any]


class Conversation:
    """The parent's end."""

    def __init__(self, name: str, process: Process, log: Path):
        """Speak to a running program; messages call it `name`, and its stderr goes to `log`."""
        self.name, self.process, self.log = name, process, log
        self.keeps_log = False

    def send(self, request: Message | str) -> None:
        """Send a request; if the program has ended, `receive` says so."""
        assert self.process.stdin
        with suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()

    def receive(self) -> Any:
        """Return the next reply; raise UserError, with its last words, if the program has ended."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        if line.endswith("\n"):
            return json.loads(line)
        raise UserError(self._explain(self.process.wait()))

    def _explain(self, status: int) -> str:
        said = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        lines = [line for line in said if line.strip()]
        for line in lines:
            if line.startswith(ERROR):
                return line.removeprefix(ERROR)
        if status < 0 or any(map(KILLED.search, lines)):
            return explain_kill(self.name, status)
        self.keeps_log = True
        last = f" ({lines[-1].strip()})" if lines else ""
        return f"{self.name} ended with status {status}{last}; see {self.log}"


@contextmanager
def converse(
    name: str, module: str, job: str, env: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Conversation]:
    """Start `python -m MODULE JOB_FILE` on a job file's content, and end it with the block.

    It runs as `run_program` runs programs; `env` adds to the environment. Its log is kept only if
    an error names it.
    """
    folder = Path(tempfile.mkdtemp(prefix="almost_kedro-"))
    job_file, log = folder / "job.json", folder / "program.log"
    job_file.write_text(job, encoding="utf-8")
    with log.open("wb") as errors:
        process = start(build_command(module, job_file), env, errors.fileno())
    assert process.stdin
    assert process.stdout
    conversation = Conversation(name, process, log)
    try:
        yield conversation
    finally:
        end_group(process)
        with suppress(BrokenPipeError):
            process.stdin.close()
        process.stdout.close()
        if not conversation.keeps_log:
            shutil.rmtree(folder, ignore_errors=True)


class Requests:
    """The program's end: requests one after the other, and the wish to stop a reply."""

    def __init__(self) -> None:
        """Wait for requests. From now on, whatever else is printed goes to stderr."""
        self._waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._part = b""
        self._stop = threading.Event()
        self._replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)

    def hear(self, data: bytes) -> None:
        """Take what came from the parent; see `die_with_parent`."""
        *lines, self._part = (self._part + data).split(b"\n")
        for request in map(json.loads, lines):
            if request == STOP:
                self._stop.set()
                continue
            # Whoever sends it had the reply before, so no wish of then is meant for this one.
            self._stop.clear()
            self._waiting.put(request)

    def __iter__(self) -> Iterator[Any]:
        """Return requests for ever; the lifeline ends the program."""
        while True:
            yield self._waiting.get()

    @property
    def stopped(self) -> bool:
        """Whether the reply under way is to end."""
        return self._stop.is_set()

    def reply(self, message: Message) -> None:
        """Send a reply, or a part of one."""
        self._replies.write(json.dumps(message) + "\n")
        self._replies.flush()
