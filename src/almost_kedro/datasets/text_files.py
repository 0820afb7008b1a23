"""Text files of a folder, with a preview."""

from __future__ import annotations

from kedro_datasets._typing import TablePreview
from kedro_datasets.partitions.partitioned_dataset import PartitionedDataset

from almost_kedro.datasets.whole_file import LONGEST_TEXT


class TextFilesDataset(PartitionedDataset):  # type: ignore[misc]
    """Text files by name, each loaded when it is asked for.

    YAML:
        demonstrations:
          type: almost_kedro.datasets.text_files.TextFilesDataset
          path: assets
          filename_suffix: _prompt.txt
          dataset: text.TextDataset

    Python:
        files = TextFilesDataset(path="assets", dataset="text.TextDataset").load()
        files["seed_prompts.txt"]()
    """

    def preview(self) -> TablePreview:
        """Return the beginning of each file as a table for kedro-viz."""
        rows = [[name, load()[:LONGEST_TEXT]] for name, load in sorted(self.load().items())]
        return TablePreview(
            {"index": list(range(len(rows))), "columns": ["name", "text"], "data": rows}
        )
