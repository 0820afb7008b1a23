"""Text files of a folder, with a preview."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError
from kedro_datasets._typing import TablePreview

from almost_kedro.datasets.whole_file import LONGEST_TEXT, read_text

# Names of files that editors and systems make for themselves begin so: ._X, .#X, ~$X, #X.
NOT_OURS = (".", "~", "#")


class TextFilesDataset(AbstractDataset[None, dict[str, Callable[[], str]]]):
    """Text files of a folder, by name without suffix; each is read when it is asked for.

    Files with another suffix, and files in folders below, are left out.

    YAML:
        demonstrations:
          type: almost_kedro.datasets.text_files.TextFilesDataset
          path: assets
          filename_suffix: _prompt.txt

    Python:
        files = TextFilesDataset(path="assets", filename_suffix="_prompt.txt").load()
        files["HHH"]()
    """

    def __init__(self, *, path: str, filename_suffix: str, metadata: dict[str, Any] | None = None):
        """Describe the files in the folder `path`."""
        self._path = Path(path)
        self._suffix = filename_suffix
        self.metadata = metadata

    def load(self) -> dict[str, Callable[[], str]]:
        """Return for each name a function that reads the file."""
        if not self._path.is_dir():
            raise DatasetError(f"{self._path}: no such folder; set the option assets_root")
        return {
            path.name.removesuffix(self._suffix): functools.partial(read_text, path)
            for path in sorted(self._path.glob(f"?*{self._suffix}"))
            if path.is_file() and not path.name.startswith(NOT_OURS)
        }

    def save(self, data: None) -> None:
        """Refuse."""
        raise DatasetError(f"{self._path}: files are written there by hand, not by nodes")

    def preview(self) -> TablePreview:
        """Return the beginning of each file as a table for kedro-viz."""
        rows = [[name, load()[:LONGEST_TEXT]] for name, load in self.load().items()]
        return TablePreview(
            {"index": list(range(len(rows))), "columns": ["name", "text"], "data": rows}
        )

    def _describe(self) -> dict[str, Any]:
        return {"path": self._path, "filename_suffix": self._suffix}
