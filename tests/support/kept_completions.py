"""What the request cache has kept, and whether it can be opened."""

import sqlite3
from pathlib import Path
from typing import Any


def count_cached(root: Path) -> int:
    file = root / "04_feature/generation/completions.sqlite"
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
