"""One of the two runs and what it left: its datasets, each in the version that it used."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, AbstractVersionedDataset, DataCatalog, DatasetError, Version
from kedro.utils import load_obj

from almost_kedro.compare.runs import Run
from almost_kedro.datasets.whole_file import WholeFileDataset

Row = dict[str, Any]


class Side:
    """One run.

    Attributes:
        run: The run.
        problems: Why a dataset that it used can't be read, by name.
    """

    def __init__(self, run: Run, catalog: DataCatalog):
        """Take a run, and the catalog of its data root."""
        self.run = run
        self.catalog = catalog
        self.problems: dict[str, str] = {}

    @functools.cached_property
    def versions(self) -> Mapping[str, str]:
        """The version of each dataset that it saved or loaded.

        A run that was killed couldn't say so in the end: of that one, all that it saved counts.
        """
        session = self.run.session
        return self.run.versions or {
            name: session for name in self.catalog if session in self._list_versions(name)
        }

    def _list_versions(self, name: str) -> list[str]:
        dataset = self.catalog.get(name)
        if not isinstance(dataset, AbstractVersionedDataset):
            return []
        return list(dataset.list_versions(full_path=False))

    def open(self, name: str) -> AbstractDataset[Any, Any] | None:
        """Return a dataset in the run's version; None if the run has none."""
        version = self.versions.get(name)
        if version is None or name not in self.catalog:
            return None
        return self.catalog.get(name, version=Version(version, None))

    def load_document(self, name: str) -> dict[str, Any]:
        """Read a document; an empty one if the run has none or it can't be read."""
        document = self._load(name)
        return document if isinstance(document, dict) else {}

    def load_rows(self, name: str) -> list[Row]:
        """Read and check rows; none if the run has none or they can't be read."""
        rows = self._load(name)
        spec = self.catalog.validator_specs.get(name)
        try:
            return load_obj(spec.class_path)().validate(rows) if rows and spec else rows or []
        except ValueError as exc:
            self.problems[name] = str(exc)
            return []

    def load_fingerprint(self, name: str) -> str | None:
        """Return the fingerprint of a trained model; None if the run has no such model."""
        checkpoint = self._load(name)
        return None if checkpoint is None else str(checkpoint.manifest["fingerprint"])

    def find_file(self, name: str) -> Path | None:
        """Return the file of a dataset; None if the run has none or it is gone."""
        dataset = self.open(name)
        if not isinstance(dataset, WholeFileDataset):
            return None
        if not dataset.exists():
            self.problems[name] = f"version {self.versions[name]} is gone"
            return None
        return dataset.load_path()

    def _load(self, name: str) -> Any | None:
        dataset = self.open(name)
        if dataset is None:
            return None
        try:
            return dataset.load()
        except DatasetError as exc:
            self.problems[name] = str(exc)
            return None
