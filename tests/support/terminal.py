"""A program in a real terminal: what it shows, and keys for it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CTRL_C, CTRL_D = "\x03", "\x04"
# What moves the cursor or colours text.
ANSI = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[=>]|\r")


class Terminal:
    """The screen and keyboard of a program."""

    def __init__(self, pid: int, screen: int):
        self.pid, self.screen = pid, screen
        self.raw = b""
        self.seen = 0

    @property
    def text(self) -> str:
        return ANSI.sub("", self.raw.decode(errors="replace"))

    def press(self, keys: str) -> None:
        os.write(self.screen, keys.encode())

    def wait_for(self, pattern: str, seconds: float = 120) -> str:
        """Wait for new output that has the pattern; return it up to its end."""
        deadline = time.monotonic() + seconds
        while True:
            if found := re.search(pattern, self.text[self.seen :]):
                shown = self.text[self.seen : self.seen + found.end()]
                self.seen += found.end()
                return shown
            if time.monotonic() > deadline:
                raise TimeoutError(f"no {pattern!r} in {self.text!r}")
            if not self._read():
                raise AssertionError(f"ended without {pattern!r}: {self.text!r}")

    def press_until(self, keys: str, pattern: str) -> str:
        """Press keys, again after some seconds, until there is new output that has the pattern.

        Python notices a Ctrl-C that comes just before it waits for a line only with the next key.
        """
        for _ in range(20):
            self.press(keys)
            with contextlib.suppress(TimeoutError):
                return self.wait_for(pattern, 3)
        raise AssertionError(f"no {pattern!r} in {self.text!r}")

    def wait_for_end(self) -> int:
        """Read to the end; return the exit status."""
        while self._read():
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def _read(self) -> bool:
        if not select.select([self.screen], [], [], 0.2)[0]:
            return True
        try:
            data = os.read(self.screen, 65536)
        except OSError:  # Linux: nobody holds the other end
            return False
        self.raw += data
        return bool(data)


@contextmanager
def open_terminal(command: list[str], folder: Path, columns: int = 80) -> Iterator[Terminal]:
    """Run a command in a terminal of this width; it is ended with the block."""
    pid, screen = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execvpe(command[0], command, {**os.environ, "TERM": "xterm"})
    fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    terminal = Terminal(pid, screen)
    try:
        yield terminal
    finally:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os.close(screen)
