"""Writes an export: a folder that appears whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from almost_kedro.commands.export.formats import ROW_TYPES, Format
from almost_kedro.datasets.parquet_rows import ParquetRowsDataset
from almost_kedro.datasets.whole_file import RowsDataset
from almost_kedro.errors import UserError
from almost_kedro.rows.json_lines import encode, write_whole

FileType = Literal["parquet", "jsonl"]
CARD = "README.md"


def check_folder(folder: Path) -> None:
    """Raise UserError unless an export may be written there."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise UserError(f"--to {folder}: is no folder; give a new or an empty one")
    if folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"--to {folder}: is not empty; give a new or an empty folder")


@contextmanager
def write_folder(folder: Path) -> Iterator[Path]:
    """Open a folder beside `folder`; it takes its place once the block has ended without an error.

    Raises UserError if there is something in the way, or if nothing can be written there.
    """
    check_folder(folder)
    place = folder.absolute()
    part = place.with_name(f".{place.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # left by an export that was killed
    try:
        with _named(folder):
            part.mkdir(parents=True)
        yield part
        with _named(folder):
            part.replace(place)
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextmanager
def _named(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        reason = exc.strerror or exc
        raise UserError(f"--to {folder}: can't be made there ({reason}); give another") from exc


def name_file(split: str, file_type: FileType) -> str:
    """Return where a split's rows are, by the hub's convention for unnamed configurations."""
    return f"data/{split}-00000-of-00001.{file_type}"


def write_split(
    path: Path, rows: Sequence[Mapping[str, Any]], form: Format, file_type: FileType
) -> None:
    """Write the rows of a split."""
    if file_type == "jsonl":
        RowsDataset(filepath=str(path)).save(rows)
    else:
        kind = ROW_TYPES[form]
        row = f"{kind.__module__}.{kind.__name__}"
        ParquetRowsDataset(filepath=str(path), row=row).save(rows)


def write_card(folder: Path, card: str) -> None:
    """Write the card."""
    with write_whole(folder / CARD) as file:
        file.write(encode(card))
