"""Rows by the million: Parquet takes a third of the disk that JSON lines take, or less."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from types import NoneType
from typing import Any, BinaryIO, Literal, get_args, get_origin, get_type_hints

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from kedro.io import DatasetError, Version
from kedro.utils import load_obj
from typing_extensions import is_typeddict

from almost_kedro.datasets.whole_file import StreamedRowsDataset
from almost_kedro.rows.json_lines import encode

Row = dict[str, Any]
BATCH = 10_000
ARROW_TYPES = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}


class ParquetRowsDataset(StreamedRowsDataset):
    """Rows as Parquet, written and read in batches; the same rows give the same bytes.

    YAML:
        responses:
          type: almost_kedro.datasets.parquet_rows.ParquetRowsDataset
          filepath: data/03_primary/responses.parquet
          row: almost_kedro.rows.feedback.Response
          versioned: true
          validator: almost_kedro.rows.feedback.Responses

    Python:
        row = "almost_kedro.rows.feedback.Response"
        ParquetRowsDataset(filepath="responses.parquet", row=row).load()
    """

    def __init__(
        self,
        *,
        filepath: str,
        row: str,
        version: Version | None = None,
        metadata: dict[str, Any] | None = None,
    ):
        """Describe a file; `row` is the rows' type, which gives the columns even without rows."""
        super().__init__(filepath=filepath, version=version, metadata=metadata)
        self.schema = make_schema(load_obj(row))

    def _write(self, data: Iterable[Row], file: BinaryIO) -> None:
        rows = iter(data)
        with pq.ParquetWriter(
            file, self.schema, compression="zstd", write_page_checksum=True
        ) as writer:
            while batch := list(islice(rows, BATCH)):
                writer.write_batch(make_batch(batch, self.schema))

    def stream(self) -> Iterator[Row]:
        """Read the rows one by one."""
        with self._open() as file:
            for batch in file.iter_batches(BATCH):
                yield from batch.to_pylist()

    def find(self, key: str, ids: Collection[str]) -> Iterator[Row]:
        """Read the rows whose field `key` is one of the ids; skip other fields of most rows."""
        wanted = pa.array(mend(list(ids)), pa.string())
        with self._open() as file:
            for group in range(file.num_row_groups):
                chosen = pc.is_in(file.read_row_group(group, [key])[key], value_set=wanted)
                if pc.any(chosen).as_py():
                    yield from file.read_row_group(group).filter(chosen).to_pylist()

    @contextmanager
    def _open(self) -> Iterator[pq.ParquetFile]:
        path = self.load_path()
        try:
            # Without pre_buffer=False, Arrow reads the whole file ahead and keeps it.
            with pq.ParquetFile(path, page_checksum_verification=True, pre_buffer=False) as file:
                yield file
        except FileNotFoundError:
            raise
        except (pa.ArrowException, OSError) as exc:
            raise DatasetError(
                f"{path}: cut short, damaged or not a Parquet file ({exc}); delete it and run "
                "again, or load another version"
            ) from exc


def make_schema(row: type) -> pa.Schema:
    """Return the columns of a row type; a column may be empty only if its field may be None."""
    hints = get_type_hints(row)
    return pa.schema(
        [pa.field(name, arrow_type(hint), is_optional(hint)) for name, hint in hints.items()]
    )


def is_optional(hint: Any) -> bool:
    """True for `X | None`."""
    return NoneType in get_args(hint)


def arrow_type(hint: Any) -> pa.DataType:
    """Return the Arrow type of str, int, float, bool, `X | None`, a Literal, a list, or a row."""
    if is_optional(hint):
        [hint] = [each for each in get_args(hint) if each is not NoneType]
    if get_origin(hint) is Literal:
        return ARROW_TYPES[type(get_args(hint)[0])]
    if get_origin(hint) is list:
        return pa.list_(arrow_type(get_args(hint)[0]))
    if is_typeddict(hint):
        return pa.struct(list(make_schema(hint)))
    return ARROW_TYPES[hint]


def make_batch(rows: list[Row], schema: pa.Schema) -> pa.RecordBatch:
    """Turn rows into columns.

    Raises DatasetError for a row with other fields than the schema: Arrow would drop or empty them.
    """
    names = set(schema.names)
    for row in rows:
        if row.keys() != names:
            found = ", ".join(sorted(row.keys() ^ names))
            raise DatasetError(f"a row has fields too many or too few: {found}")
    try:
        return pa.RecordBatch.from_pylist(rows, schema)
    except UnicodeEncodeError:
        mended = [{name: mend(value) for name, value in row.items()} for row in rows]
        return pa.RecordBatch.from_pylist(mended, schema)


def mend(value: Any) -> Any:
    """Replace in texts what UTF-8 can't hold, as JSON lines do."""
    if isinstance(value, list):
        return [mend(item) for item in value]
    if isinstance(value, dict):
        return {name: mend(item) for name, item in value.items()}
    return encode(value).decode() if isinstance(value, str) else value
