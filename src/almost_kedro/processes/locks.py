"""Locks that a process holds as long as it lives, however it ends."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from almost_kedro.errors import UserError
from almost_kedro.processes.output import PLAIN

logger = logging.getLogger(__name__)
LOCK = ".lock"
# Bytes; an MLflow store and the rows of a first run need more.
LEAST_FREE = 16 * 2**20
# Disk errors that a user can mend.
DISK_ERRORS = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EFBIG,
    errno.EIO,
}


class RootLock:
    """Keeps a second run away from a data root, and checks that the root can be written."""

    def __init__(self) -> None:
        """Nothing is locked yet."""
        self._file: IO[str] | None = None

    def acquire(self, root: Path) -> None:
        """Lock a data root, made if need be.

        Raises UserError if it is in use or can't be written, or if its disk is almost full.
        """
        self.release()
        try:
            root.mkdir(parents=True, exist_ok=True)
            file = (root / LOCK).open("a+", encoding="utf-8")
        except OSError as exc:
            raise UserError(explain_disk(exc, f"data root {root}")) from exc
        if not _try_lock(file):
            file.seek(0)
            raise UserError(
                f"data root {root}: in use by another run ({_read_holder(file)}); wait for it to "
                "end, or give this run a place of its own with --params data_root=PATH"
            )
        self._file = file
        try:
            file.truncate(0)
            now = time.strftime("%Y-%m-%d %H:%M:%S")
            file.write(json.dumps({"process": os.getpid(), "since": now}))
            file.flush()
            os.fsync(file.fileno())
        except OSError as exc:
            self.release()
            raise UserError(explain_disk(exc, f"data root {root}")) from exc
        free = shutil.disk_usage(root).free
        if free < LEAST_FREE:
            self.release()
            raise UserError(
                f"data root {root}: {free / 2**20:.1f} MB are free on its disk, and a run needs "
                f"more than {LEAST_FREE / 2**20:.0f}; free some"
            )

    def release(self) -> None:
        """Let others in."""
        if self._file:
            self._file.close()
            self._file = None


@contextmanager
def hold_root(root: Path) -> Iterator[None]:
    """Hold a data root's lock; see `RootLock.acquire`."""
    lock = RootLock()
    lock.acquire(root)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def wait_for_lock(folder: Path, name: str = LOCK) -> Iterator[None]:
    """Wait for one of a folder's locks, and hold it."""
    with (folder / name).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def explain_disk(exc: Exception, where: str | None = None) -> str:
    """Say in one line what a disk refused, to us or to SQLite."""
    place = where or getattr(exc, "filename", None) or "disk"
    reason = getattr(exc, "strerror", None) or exc
    return (
        f"{place}: {reason}; free some space or mend the folder's permissions, then run again: "
        "what was finished is kept"
    )


def _try_lock(file: IO[Any]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as exc:  # better no lock than no run
        logger.warning(
            "%s: its file system has no locks (%s); see that no second run works there",
            Path(file.name).parent,
            exc.strerror,
            extra=PLAIN,
        )
    return True


def _read_holder(file: IO[str]) -> str:
    try:
        holder = json.loads(file.read())
        return f"process {holder['process']}, since {holder['since']}"
    except (ValueError, KeyError, TypeError):
        return "just starting"
