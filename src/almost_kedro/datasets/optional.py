"""Datasets of what may never have been made."""

from __future__ import annotations

from typing import Any

from almost_kedro.datasets.whole_file import JSONFileDataset


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
