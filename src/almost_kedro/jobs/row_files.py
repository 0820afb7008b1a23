"""Row files named after their content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from almost_kedro.rows.json_lines import encode_rows, write_whole

Rows = Sequence[Mapping[str, Any]]


def write_content(folder: Path, rows: Rows) -> tuple[Path, str]:
    """Write rows to a file named after their content; return it and its SHA-256."""
    folder.mkdir(parents=True, exist_ok=True)
    content = b"".join(encode_rows(rows))
    sha256 = hashlib.sha256(content).hexdigest()
    file = folder / f"{sha256[:16]}.jsonl"
    if not file.is_file():
        with write_whole(file) as out:
            out.write(content)
    return file, sha256


def digest_rows(rows: Rows) -> str:
    """Return the SHA-256 of rows."""
    return hashlib.sha256(b"".join(encode_rows(rows))).hexdigest()
