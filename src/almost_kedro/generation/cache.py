"""The request cache: what was generated once is never generated again."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from almost_kedro.generation.engine import Completion


class CompletionCache:
    """Completions by request key in one SQLite file.

    SQLite because it survives a kill at any moment, is safe for two processes at once and costs no
    package. Each completion is committed when it is finished.
    """

    def __init__(self, path: Path):
        """Open the cache, or make it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, timeout=60, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS completions ("
            "key TEXT PRIMARY KEY, text TEXT NOT NULL, finish_reason TEXT NOT NULL,"
            " n_tokens INTEGER NOT NULL) WITHOUT ROWID"
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
        """Return the completions that are there, by key."""
        found = {}
        for key in keys:
            row = self._db.execute(
                "SELECT text, finish_reason, n_tokens FROM completions WHERE key = ?", (key,)
            ).fetchone()
            if row:
                found[key] = Completion(*row)
        return found

    def put(self, key: str, completion: Completion) -> None:
        """Store a completion; the first one stored under a key stays."""
        self._db.execute(
            "INSERT OR IGNORE INTO completions VALUES (?, ?, ?, ?)",
            (key, completion.text, completion.finish_reason, completion.n_tokens),
        )
