"""What may never have been made loads nothing, and what was made is read as ever."""

from pathlib import Path
from typing import Any

import pytest
from kedro.io import Version

from almost_kedro.datasets.optional import (
    OptionalCheckpointDataset,
    OptionalFigureDataset,
    OptionalJSONDataset,
    OptionalRowsDataset,
)
from almost_kedro.hooks.run_facts import read_versions


@pytest.mark.parametrize(
    ("kind", "nothing", "data"),
    [
        (OptionalJSONDataset, None, {"n": 1}),
        (OptionalFigureDataset, None, {"data": []}),
        (OptionalRowsDataset, [], [{"id": "007"}]),
    ],
)
def test_nothing_is_loaded_until_something_is_saved(
    kind: Any, nothing: Any, data: Any, tmp_path: Path
) -> None:
    dataset = kind(filepath=str(tmp_path / "file"), version=Version(None, None))
    assert dataset.load() == nothing
    assert not dataset.exists()
    assert read_versions({"file": dataset}, ["file"]) == {}  # type: ignore[arg-type]
    kind(filepath=str(tmp_path / "file"), version=Version(None, "V1")).save(data)
    again = kind(filepath=str(tmp_path / "file"), version=Version(None, None))
    assert again.load() == data
    assert read_versions({"file": again}, ["file"]) == {"file": "V1"}  # type: ignore[arg-type]


def test_no_checkpoint_is_none_and_its_preview_says_so(tmp_path: Path) -> None:
    dataset = OptionalCheckpointDataset(
        filepath=str(tmp_path / "policy"), version=Version(None, None)
    )
    assert dataset.load() is None
    assert dataset.preview() == "null"
    assert not dataset.exists()
