"""The request cache: what was generated once is never generated again."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from almost_kedro.contract import Completion
from almost_kedro.errors import UserError
from almost_kedro.processes.locks import explain_disk

# Fewest bytes of a row: its key alone has 64. Limits how many rows a damaged cache may hold.
SMALLEST_ROW = 64


class CompletionCache:
    """Completions by request key in one SQLite file.

    SQLite survives a kill at any moment, is safe for two processes at once and needs no package.
    Each completion is committed when it is finished.
    """

    def __init__(self, path: Path):
        """Open the cache, or create it; every use may raise the UserError of `explained`."""
        self._path = path
        with explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=60, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS completions ("
                "key TEXT PRIMARY KEY, text TEXT NOT NULL, finish_reason TEXT NOT NULL,"
                " n_tokens INTEGER NOT NULL)"
            )

    def __enter__(self) -> CompletionCache:
        """Return the cache."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file."""
        self._db.close()

    def get(self, keys: Iterable[str]) -> dict[str, Completion]:
        """Return the stored completions by key."""
        found = {}
        with explained(self._path):
            for key in keys:
                row = self._db.execute(
                    "SELECT text, finish_reason, n_tokens FROM completions WHERE key = ?", (key,)
                ).fetchone()
                if row:
                    found[key] = Completion(*row)
        return found

    def put(self, key: str, completion: Completion) -> None:
        """Store a completion; the first one stored under a key stays."""
        with explained(self._path):
            self._db.execute(
                "INSERT OR IGNORE INTO completions VALUES (?, ?, ?, ?)",
                (key, completion.text, completion.finish_reason, completion.n_tokens),
            )

    def take(self, other: Path) -> None:
        """Store what another cache has; the first one stored under a key stays."""
        with explained(other):
            self._db.execute("ATTACH ? AS other", (str(other),))
            self._db.execute(
                "INSERT OR IGNORE INTO completions"
                " SELECT key, text, finish_reason, n_tokens FROM other.completions"
            )
            self._db.execute("DETACH other")


def copy_cache(path: Path, copy: Path) -> None:
    """Copy a cache, if there is one, whole or not at all; others may be writing to it."""
    if not path.is_file():
        return
    part = copy.with_name(copy.name + ".part")
    with explained(path):
        copy.parent.mkdir(parents=True, exist_ok=True)
        part.unlink(missing_ok=True)
        with closing(sqlite3.connect(path, timeout=60)) as db, closing(sqlite3.connect(part)) as to:
            db.backup(to)
        os.replace(part, copy)


def take_back(copy: Path, path: Path) -> None:
    """Move what is in a copy of a cache to it, and remove the copy, if there is one."""
    if not copy.is_file():
        return
    with CompletionCache(copy):  # has its table then, and what a kill left in its journal
        pass
    with CompletionCache(path) as cache:
        cache.take(copy)
    for suffix in ("", "-wal", "-shm"):
        copy.with_name(copy.name + suffix).unlink(missing_ok=True)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn a full disk, missing permissions or a damaged file into a UserError with a remedy."""
    try:
        yield
    except (OSError, sqlite3.DatabaseError) as exc:
        code = getattr(exc, "sqlite_errorcode", 0)
        if code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise UserError(
                f"request cache {path}: damaged ({exc}); run `kedro cache repair` with the same "
                "--env and --params: it keeps every answer that can be read"
            ) from exc
        raise UserError(explain_disk(exc, f"request cache {path}")) from exc


def repair_cache(path: Path) -> tuple[int, Path]:
    """Build a new cache from a damaged one; return the answers kept and the damaged file's path.

    SQLite numbers rows in the order in which they were written. Whichever page of the file is
    missing, queries for ever smaller ranges of these numbers find the other rows. Raises UserError
    if the cache does not exist, or the disk refuses.
    """
    if not path.is_file():
        raise UserError(f"request cache {path}: no such file; there is nothing to repair")
    with explained(path), tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        copy = Path(scratch) / "damaged.sqlite"
        shutil.copy(path, copy)
        journal = path.with_name(path.name + "-wal")
        if journal.is_file():
            shutil.copy(journal, copy.with_name(copy.name + "-wal"))
        length = _extend_to_full_length(copy)
        repaired = Path(scratch) / "repaired.sqlite"
        kept = 0
        with CompletionCache(repaired) as cache, closing(sqlite3.connect(copy)) as db:
            # Bytes that are not UTF-8 are damage, too, and not worth keeping.
            for key, *completion in _read_range(db, 0, length // SMALLEST_ROW + 1):
                cache.put(key, Completion(*completion))
                kept += 1
        damaged = path.with_name(f"{path.stem}.damaged-{int(time.time())}{path.suffix}")
        os.replace(path, damaged)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        os.replace(repaired, path)
    return kept, damaged


def _extend_to_full_length(file: Path) -> int:
    """Extend a truncated file, as SQLite reads none without its last page; return its size."""
    with file.open("r+b") as db:
        header = db.read(100)
        size = int.from_bytes(header[16:18], "big")
        pages = int.from_bytes(header[28:32], "big")
        size = 65536 if size == 1 else size or 4096
        found = file.stat().st_size
        db.truncate(found - found % size)  # half a page would be read as rows with holes
        # A damaged header could ask for anything.
        if found < size * pages < 100 * found:
            db.truncate(size * pages)
    return file.stat().st_size


def _read_range(db: sqlite3.Connection, start: int, end: int) -> Iterator[tuple[Any, ...]]:
    """Read the rows with these numbers; where that fails, try each sixteenth of the range."""
    try:
        rows = db.execute(
            "SELECT key, text, finish_reason, n_tokens FROM completions"
            " WHERE rowid >= ? AND rowid < ?",
            (start, end),
        ).fetchall()
    except sqlite3.DatabaseError:
        if end - start > 1:
            step = -(-(end - start) // 16)
            for part in range(start, end, step):
                yield from _read_range(db, part, min(part + step, end))
        return
    yield from rows
