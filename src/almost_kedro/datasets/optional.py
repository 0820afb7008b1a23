"""Datasets of what may never have been made: each loads nothing as long as it has no version."""

from __future__ import annotations

from typing import Any

from kedro_datasets._typing import JSONPreview

from almost_kedro.datasets.checkpoint import CheckpointDataset
from almost_kedro.datasets.whole_file import FigureDataset, JSONFileDataset, RowsDataset
from almost_kedro.models.checkpoints import Checkpoint


class OptionalJSONDataset(JSONFileDataset):
    """A JSON document, or None as long as there is no version of it.

    YAML:
        rule_audit_metrics:
          type: almost_kedro.datasets.optional.OptionalJSONDataset
          filepath: data/08_reporting/rule_audit_metrics.json
          versioned: true

    Python:
        assert OptionalJSONDataset(filepath="none.json").load() is None
    """

    def load(self) -> Any:
        """Read the document; None if there is none."""
        return super().load() if self._exists() else None


class OptionalFigureDataset(FigureDataset):
    """A plotly figure, or None as long as there is no version of it."""

    def load(self) -> Any:
        """Read the description; None if there is none."""
        return super().load() if self._exists() else None


class OptionalRowsDataset(RowsDataset):
    """Rows as JSON lines, or no rows as long as there is no version of them."""

    def load(self) -> list[dict[str, Any]]:
        """Read all rows; none if there are none."""
        return super().load() if self._exists() else []


class OptionalCheckpointDataset(CheckpointDataset):
    """A trained model, or None as long as there is no version of it."""

    def load(self) -> Checkpoint | None:  # type: ignore[override]
        """Read the manifest and see that all files are there; None if it was never trained."""
        return super().load() if self._exists() else None

    def preview(self) -> JSONPreview:
        """Return for kedro-viz what the model is and was made from; nothing if there is none."""
        return super().preview() if self._exists() else JSONPreview("null")
