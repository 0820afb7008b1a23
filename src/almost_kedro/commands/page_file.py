"""Writes a page where the user wants it."""

from __future__ import annotations

from pathlib import Path

from almost_kedro.errors import UserError
from almost_kedro.rows.json_lines import encode, write_whole


def write_page(path: Path, page: str) -> None:
    """Write the page; one that is there is replaced.

    Raises:
        UserError: If it can't be written there.
    """
    try:
        with write_whole(path) as file:
            file.write(encode(page))
    except OSError as exc:
        raise UserError(f"page {path}: could not be written: {exc.strerror or exc}") from exc
