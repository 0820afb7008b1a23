"""A process that has imported torch and transformers, and turns into each program by forking.

Importing them takes a program seconds, and a run starts dozens. The first program of a `kedro run`
starts this process, too. Where it does not fit (see `fits`) or has died, programs start the plain
way (see `processes.run`), with the same result.

The parent sends a request over a socket: the program, its folder and environment, and its three
standard streams. A socket of its own brings the program's process id, then its exit status.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from setproctitle import setproctitle

from almost_kedro.processes.lean_start import leave_out

# Bytes; a request holds file names and a few variables. A longer one can't be sent.
LARGEST = 2**20
# Names that no library reads before it is used.
LATE = ("ALMOST_KEDRO_", "MLFLOW_", "_MLFLOW_")
# NVIDIA's and AMD's drivers.
GPUS = (Path("/dev/nvidiactl"), Path("/dev/kfd"))
PRELOADED = ("torch", "transformers.modeling_utils", "transformers.models.auto.modeling_auto")


def fits() -> bool:
    """Whether programs may start by forking here.

    A GPU's driver does not survive a fork, vLLM sets up its environment before torch is imported,
    and on macOS the system's own libraries refuse to be forked.
    """
    if sys.platform != "linux" or any(device.exists() for device in GPUS) or find_spec("vllm"):
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:  # Linux before 5.3
        return False
    return True


class Child:
    """A running program, with what `run_command` needs of a `subprocess.Popen`."""

    def __init__(self, channel: socket.socket, stdin: IO[str], stdout: IO[str]):
        """Nothing has started yet; see `has_started`."""
        self.stdin, self.stdout = stdin, stdout
        self.pid = 0
        self._channel = channel
        self._status: int | None = None

    def has_started(self) -> bool:
        """Wait for the program to start; False, with everything closed, if it does not."""
        with suppress(OSError):
            self.pid = int(self._channel.recv(LARGEST) or 0)
        if not self.pid:
            self.close()
        return bool(self.pid)

    def close(self) -> None:
        """Close this end of all that leads to the program."""
        for opened in (self._channel, self.stdin, self.stdout):
            opened.close()

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status, or minus the signal that ended the program.

        Raises subprocess.TimeoutExpired after `timeout` seconds.
        """
        if self._status is None:
            self._channel.settimeout(timeout)
            try:
                answer = self._channel.recv(LARGEST)
            except TimeoutError:
                raise subprocess.TimeoutExpired("program", timeout or 0.0) from None
            if not answer:  # nobody is left who could tell how the program ends
                with suppress(ProcessLookupError):
                    os.killpg(self.pid, signal.SIGKILL)
            self._status = int(answer) if answer else -signal.SIGKILL
            self._channel.close()
        return self._status


class Prepared:
    """The parent's end."""

    def __init__(self, environment: Mapping[str, str]):
        """Start the process, with all of its programs' environment but `LATE`."""
        self.environment, self.owner = dict(environment), os.getpid()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=dict(environment),
                start_new_session=True,
            )

    def start(
        self, arguments: Sequence[str], environment: Mapping[str, str], stderr: int | None
    ) -> Child | None:
        """Start a program; return None if this process has died.

        `stderr` is a file's number; None is where the standard output goes.
        """
        stdin, write_end = os.pipe()
        read_end, stdout = os.pipe()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        late = {k: v for k, v in environment.items() if k.startswith(LATE)}
        request = {"arguments": list(arguments), "late": late, "folder": os.getcwd()}
        numbers = [stdin, stdout, stdout if stderr is None else stderr, theirs.fileno()]
        child = Child(
            ours,
            os.fdopen(write_end, "w", encoding="utf-8"),
            os.fdopen(read_end, "r", encoding="utf-8", errors="replace"),
        )
        try:
            with theirs, suppress(OSError):
                socket.send_fds(self._socket, [json.dumps(request).encode()], numbers)
            os.close(stdin)
            os.close(stdout)
            return child if child.has_started() else None
        except BaseException:  # Ctrl-C: the end of its lifeline ends the program
            child.close()
            raise

    def end(self) -> None:
        """End the process, once its programs have ended."""
        self._socket.close()
        self._process.kill()
        self._process.wait()


_wanted = False
_prepared: Prepared | None = None


def prepare() -> None:
    """From now on, start programs by forking where that works."""
    global _wanted
    end_prepared()
    _wanted = fits()


def start_prepared(
    arguments: Sequence[str], environment: Mapping[str, str], stderr: int | None = None
) -> Child | None:
    """Start `python -m ARGUMENTS` by forking; return None where that does not work.

    The first call starts the prepared process and waits for it. Libraries read the environment when
    they are loaded, so later calls need the same one, but for names that none of them reads so
    early (see `LATE`).
    """
    global _prepared
    if not _wanted:
        return None
    early = {k: v for k, v in environment.items() if not k.startswith(LATE)}
    if not _prepared:
        _prepared = Prepared(early)
    if _prepared.owner != os.getpid() or _prepared.environment != early:
        return None
    return _prepared.start(arguments, environment, stderr)


@atexit.register
def end_prepared() -> None:
    """Start programs plainly again, and end the prepared process, if any."""
    global _prepared, _wanted
    if _prepared and _prepared.owner == os.getpid():
        _prepared.end()
    _prepared, _wanted = None, False


class Server:
    """The prepared process's end."""

    def __init__(self, requests: socket.socket):
        """Wait for requests from a socket."""
        self._requests = requests
        self._selector = selectors.DefaultSelector()
        self._selector.register(requests, selectors.EVENT_READ)

    def serve(self) -> list[str]:
        """Fork for each request, and end with the parent.

        Returns in forks alone: the arguments of the program that it is to be.
        """
        for name in PRELOADED:
            # The parent may be gone by now.
            if self._selector.select(0) and not self._requests.recv(1, socket.MSG_PEEK):
                sys.exit()
            import_module(name)
        gc.freeze()  # what is not looked through stays in pages that all share
        while True:
            for key, _ in self._selector.select():
                if key.data:
                    self._report(key.fd, *key.data)
                elif arguments := self._fork():
                    return arguments

    def _fork(self) -> list[str]:
        """Carry out the next request; return its arguments in the fork, and none here."""
        message, numbers, _, _ = socket.recv_fds(self._requests, LARGEST, 4)
        if not message:
            sys.exit()
        *streams, channel = numbers
        ready, started = os.pipe()
        pid = os.fork()
        if not pid:
            self._close()
            return _become(json.loads(message), streams, [ready, started, channel])
        os.close(started)
        os.read(ready, 1)  # until it has a session of its own, or has died
        for number in (ready, *streams):
            os.close(number)
        answers = socket.socket(fileno=channel)
        self._selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, answers))
        with suppress(OSError):
            answers.send(str(pid).encode())
        return []

    def _close(self) -> None:
        """In a fork, close what is not the program's."""
        for key in list(self._selector.get_map().values()):
            if key.data:
                os.close(key.fd)
                key.data[1].close()
        self._selector.close()
        self._requests.close()

    def _report(self, number: int, pid: int, answers: socket.socket) -> None:
        """Tell how a program ended."""
        self._selector.unregister(number)
        os.close(number)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        with answers, suppress(OSError):
            answers.send(str(status).encode())


def _become(request: Any, streams: Sequence[int], others: Sequence[int]) -> list[str]:
    """Make this fork look like a program that has just started; return its arguments."""
    os.setsid()
    for wanted, number in enumerate(streams):
        os.dup2(number, wanted)
    for number in (*streams, *others):
        os.close(number)
    os.chdir(request["folder"])
    os.environ.update(request["late"])
    sys.modules["torch"].seed()  # as any start does: no two programs draw the same by chance
    arguments = list(request["arguments"])
    setproctitle(" ".join([sys.executable, "-m", *arguments]))  # in `ps` and `top`, too
    return arguments


if __name__ == "__main__":
    setproctitle(" ".join(sys.orig_argv))  # only works later if it has found its place by now
    leave_out()
    sys.argv = Server(socket.socket(fileno=os.dup(0))).serve()
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
