"""What the request cache has kept, and whether it can be opened."""

import sqlite3
from pathlib import Path
from typing import Any


def count_cached(root: Path) -> int:
    return count_rows(root / "04_feature/generation/completions.sqlite")


def count_lent(root: Path) -> int:
    """The same, of the copies that jobs on a cluster have."""
    copies = root.glob("04_feature/generation/*/completions.sqlite")
    return sum(map(count_rows, copies))


def count_rows(file: Path) -> int:
    if not file.exists():
        return 0
    with sqlite3.connect(file) as db:
        return int(db.execute("SELECT count(*) FROM completions").fetchone()[0])


def try_sqlite(condition: Any) -> Any:
    def safe() -> bool:
        try:
            return bool(condition())
        except sqlite3.OperationalError:  # the table is just being made
            return False

    return safe
