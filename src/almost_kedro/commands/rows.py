"""Prints rows of any dataset as JSON lines: Parquet, too, can be read, searched and piped."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from kedro.io import DataCatalog, Version

from almost_kedro.commands.terminal import until_the_pipe_closes
from almost_kedro.datasets.whole_file import StreamedRowsDataset
from almost_kedro.errors import UserError

Row = dict[str, Any]


def find_rows(catalog: DataCatalog, name: str, version: str | None) -> StreamedRowsDataset:
    """Find a dataset of rows; `version` None is the newest.

    Raises UserError if there is no such dataset, no such version, or no version at all.
    """
    dataset = catalog.get(name, version=Version(version, None) if version else None)
    if not isinstance(dataset, StreamedRowsDataset):
        names = [n for n in catalog if isinstance(catalog.get(n), StreamedRowsDataset)]
        raise UserError(f"{name!r} is no dataset of rows; there are {', '.join(sorted(names))}")
    if not dataset.exists():
        versions = dataset.list_versions(full_path=False)
        if not versions:
            raise UserError(f"{name}: there are no rows yet; run the pipeline that makes them")
        newest = ", ".join(versions[:5])
        raise UserError(f"{name}: there is no version {version!r}; the newest are {newest}")
    return dataset


def select_rows(rows: Iterable[Row], conditions: Sequence[str]) -> Iterator[Row]:
    """Return the rows that meet all conditions, `field=value` each.

    A list meets a condition if one of its items does. Raises UserError for a condition without `=`,
    or for a field that the rows do not have.
    """
    wanted = [condition.partition("=") for condition in conditions]
    for field, equals, _ in wanted:
        if not equals:
            raise UserError(f"--where {field}: give FIELD=VALUE")
    for row in rows:
        for field, _, _ in wanted:
            if field not in row:
                raise UserError(f"--where {field}: the rows have {', '.join(row)}")
        if all(value in _as_texts(row[field]) for field, _, value in wanted):
            yield row


def _as_texts(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [item if isinstance(item, str) else json.dumps(item) for item in values]


def print_rows(rows: Iterable[Row]) -> None:
    """Print rows in plain ASCII: no text of theirs can move the cursor or hide what it says."""
    with until_the_pipe_closes():
        for row in rows:
            # JSON escapes all control characters but this one.
            sys.stdout.write(json.dumps(row).replace("\x7f", "\\u007f") + "\n")
        sys.stdout.flush()
