"""Versioned datasets whose files appear whole or not at all.

Kedro's own JSON datasets write in place: a kill leaves half a file, which then counts as the
latest version. These datasets write beside the file and rename.
"""

from __future__ import annotations

import html
import json
from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from kedro.io import AbstractDataset, AbstractVersionedDataset, DatasetError, Version
from kedro_datasets._typing import HTMLPreview, JSONPreview, PlotlyPreview, TablePreview

from almost_kedro.errors import UserError
from almost_kedro.rows.finite import find_endless
from almost_kedro.rows.json_lines import (
    dump,
    encode,
    encode_rows,
    read_rows,
    refuse_constant,
    share_texts,
    write_whole,
)
from almost_kedro.rows.visible_text import make_visible

# Characters of a text that a preview shows.
LONGEST_TEXT = 2000


class WholeFileDataset(AbstractVersionedDataset[Any, Any]):
    """Base: a local file written beside its place and renamed into it."""

    def __init__(
        self,
        *,
        filepath: str,
        version: Version | None = None,
        metadata: dict[str, Any] | None = None,
    ):
        """Describe a file; if versioned, `filepath` is a folder of versions."""
        super().__init__(PurePosixPath(filepath), version)
        self.metadata = metadata

    def _write(self, data: Any, file: BinaryIO) -> None:
        """Write data piece by piece."""
        raise NotImplementedError

    def save(self, data: Any) -> None:
        """Write the data."""
        path = Path(self._get_save_path())
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with write_whole(path) as file:
                self._write(data, file)
        except OSError as exc:
            raise DatasetError(f"{path}: could not be written: {exc.strerror or exc}") from exc
        except UserError as exc:
            raise DatasetError(f"{path}: {exc}") from exc

    def load_path(self) -> Path:
        """Return the file that `load` reads."""
        return Path(self._get_load_path())

    def _exists(self) -> bool:
        try:
            return self.load_path().is_file()
        except DatasetError:
            return False

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath, "version": self._version}


class StreamedRowsDataset(WholeFileDataset):
    """Base: rows that can be read one by one."""

    def load(self) -> list[dict[str, Any]]:
        """Read all rows."""
        return list(share_texts(self.stream()))

    def stream(self) -> Iterator[dict[str, Any]]:
        """Read the rows one by one."""
        raise NotImplementedError

    def find(self, key: str, ids: Collection[str]) -> Iterator[dict[str, Any]]:
        """Read the rows whose field `key` is one of the ids."""
        return (row for row in self.stream() if row.get(key) in ids)

    def preview(self, nrows: int = 20) -> TablePreview:
        """Return the first rows as a table for kedro-viz."""
        rows = list(islice(self.stream(), nrows))
        columns = list(rows[0]) if rows else []
        cells = [[_cell(row.get(column)) for column in columns] for row in rows]
        return TablePreview({"index": list(range(len(rows))), "columns": columns, "data": cells})


class RowsDataset(StreamedRowsDataset):
    """Rows as JSON lines.

    YAML:
        prompts:
          type: almost_kedro.datasets.whole_file.RowsDataset
          filepath: data/03_primary/prompts.jsonl
          versioned: true
          validator: almost_kedro.rows.feedback.Prompts

    Python:
        RowsDataset(filepath="prompts.jsonl").save([{"prompt_id": "007"}])
    """

    def _write(self, data: Iterable[dict[str, Any]], file: BinaryIO) -> None:
        file.writelines(encode_rows(data))

    def stream(self) -> Iterator[dict[str, Any]]:
        """Read the rows one by one."""
        try:
            yield from read_rows(self.load_path())
        except ValueError as exc:
            raise DatasetError(str(exc)) from exc


class JSONFileDataset(WholeFileDataset):
    """A JSON document."""

    def _write(self, data: Any, file: BinaryIO) -> None:
        # Piece by piece: `responses_aligned` is as large as all answers together.
        encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, indent=2)
        try:
            file.writelines(encode(piece) for piece in encoder.iterencode(data))
        except ValueError as exc:
            raise UserError(
                f"{find_endless(data) or exc}; only finite figures are written"
            ) from exc
        file.write(b"\n")

    def load(self) -> Any:
        """Read the document."""
        path = self.load_path()
        text = path.read_text(encoding="utf-8")
        try:
            return json.loads(text, parse_constant=refuse_constant)
        except ValueError as exc:
            raise DatasetError(
                f"{path}: {exc}; run again what makes it, or load another version"
            ) from exc

    def preview(self) -> JSONPreview:
        """Return the document for kedro-viz."""
        return JSONPreview(json.dumps(self.load()))


class TextFileDataset(WholeFileDataset):
    """A text file."""

    def _write(self, data: str, file: BinaryIO) -> None:
        file.write(encode(data))

    def load(self) -> str:
        """Read the text; a byte-order mark is not part of it."""
        path = self.load_path()
        if not path.is_file():
            raise DatasetError(f"{path}: no such file; put it there or set the option assets_root")
        return read_text(path)

    def preview(self, nrows: int = 20) -> TablePreview:
        """Return the beginning of the first lines as a table for kedro-viz."""
        lines = [line[:LONGEST_TEXT] for line in self.load().splitlines()[:nrows]]
        cells = [[line] for line in lines]
        return TablePreview({"index": list(range(len(lines))), "columns": ["line"], "data": cells})


class PageDataset(TextFileDataset):
    """An HTML page, which is too large to be shown within another one."""

    def preview(self) -> HTMLPreview:  # type: ignore[override]
        """Return where it is, for kedro-viz."""
        path = html.escape(make_visible(str(self.load_path())))
        return HTMLPreview(f"<p>To be opened in a browser:</p><p>{path}</p>")


class FigureDataset(WholeFileDataset):
    """A plotly figure as its JSON description."""

    def _write(self, data: dict[str, Any], file: BinaryIO) -> None:
        file.write(encode(dump(data) + "\n"))

    def load(self) -> dict[str, Any]:
        """Read the description."""
        figure: dict[str, Any] = json.loads(self.load_path().read_text(encoding="utf-8"))
        return figure

    def preview(self) -> PlotlyPreview:
        """Return the figure for kedro-viz."""
        return PlotlyPreview(self.load())


def read_text(path: Path) -> str:
    """Read a text without its byte-order mark; every kind of line end becomes a newline.

    Raises DatasetError if it is not UTF-8. UTF-16 without a mark may pass, but has zeros in it, so
    these raise it, too.
    """
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise DatasetError(f"{path}, byte {exc.start}: not UTF-8; save it as UTF-8") from exc
    if "\0" in text:
        at = data.index(0)
        raise DatasetError(f"{path}, byte {at}: a zero, which no text has; save it as UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _cell(value: Any) -> Any:
    if isinstance(value, int | float):
        return value
    return (value if isinstance(value, str) else json.dumps(value))[:LONGEST_TEXT]


class FolderDataset(AbstractDataset[Path, Path]):
    """A folder that programs work in; loading it returns its absolute path.

    YAML:
        mlflow_store:
          type: almost_kedro.datasets.whole_file.FolderDataset
          filepath: data/08_reporting/mlflow
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None):
        """Describe a folder."""
        self._filepath = PurePosixPath(filepath)
        self.metadata = metadata

    def load(self) -> Path:
        """Return the folder, made if need be."""
        folder = Path(self._filepath).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def save(self, data: Path) -> None:
        """Refuse: programs fill the folder, nodes don't."""
        raise DatasetError(f"{self._filepath} is filled by programs, not by nodes")

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath}
