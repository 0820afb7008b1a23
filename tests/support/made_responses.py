"""Many responses, in Parquet."""

from pathlib import Path
from typing import Any

from kedro.io import Version
from made_rows import make_response

from almost_kedro.datasets.parquet_rows import ParquetRowsDataset

RESPONSE = "almost_kedro.rows.feedback.Response"


def make_numbered(number: int, **fields: Any) -> Any:
    return make_response(f"p{number % 4}", response_id=f"r{number}", n_tokens=number, **fields)


def open_responses(path: Path, version: Version | None = None) -> ParquetRowsDataset:
    return ParquetRowsDataset(filepath=str(path), row=RESPONSE, version=version)
