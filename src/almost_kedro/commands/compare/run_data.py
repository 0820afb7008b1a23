"""What a run left, each dataset in the version that it used, and how that of two runs differs."""

from __future__ import annotations

import filecmp
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
from kedro.io import AbstractDataset, AbstractVersionedDataset, DataCatalog, DatasetError, Version
from kedro.utils import load_obj

from almost_kedro.commands.compare.runs import Run
from almost_kedro.contract import digest
from almost_kedro.datasets.checkpoint import CheckpointDataset
from almost_kedro.datasets.whole_file import (
    FigureDataset,
    StreamedRowsDataset,
    WholeFileDataset,
)

Row = dict[str, Any]
CHUNK = 1 << 20


class RunData:
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
        """Return the fingerprint of a trained model, with its members; None if the run has none."""
        checkpoint = self._load(name)
        if checkpoint is None:
            return None
        own, *others = (each.manifest["fingerprint"] for each in (checkpoint, *checkpoint.members))
        return digest(own, others, checkpoint.manifest["scales"]) if others else str(own)

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


class Rows(NamedTuple):
    """A version of rows."""

    version: str
    n: int


class RowsDifference(NamedTuple):
    """A dataset that has other bytes in the two runs."""

    name: str
    a: Rows
    b: Rows


class ModelPair(NamedTuple):
    """A model's fingerprints; None where the run has no such model."""

    name: str
    a: str | None
    b: str | None


def list_differing_rows(a: RunData, b: RunData) -> tuple[list[RowsDifference], list[str]]:
    """Compare all rows that both runs have, byte by byte.

    Returns:
        Those that differ; the names of those that are the same.
    """
    differing, same = [], []
    for name in sorted(a.versions.keys() & b.versions.keys()):
        if not isinstance(a.open(name), StreamedRowsDataset):
            continue
        files = a.find_file(name), b.find_file(name)
        if files[0] is None or files[1] is None:
            continue
        if filecmp.cmp(files[0], files[1], shallow=False):
            same.append(name)
        else:
            rows = [
                Rows(side.versions[name], count_rows(file))
                for side, file in zip((a, b), files, strict=True)
                if file is not None
            ]
            differing.append(RowsDifference(name, *rows))
    return differing, same


def count_rows(file: Path) -> int:
    """Count the rows of a file of JSON lines or Parquet without reading them into memory."""
    if file.suffix == ".parquet":
        return int(pq.read_metadata(file).num_rows)
    with file.open("rb") as lines:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: lines.read(CHUNK), b""))


def list_missing(a: RunData, b: RunData) -> list[str]:
    """Return the datasets that the first run has and the second has not; charts don't count."""
    names = sorted(a.versions.keys() - b.versions.keys())
    return [name for name in names if not isinstance(a.open(name), FigureDataset | None)]


def pair_models(a: RunData, b: RunData) -> list[ModelPair]:
    """Put the fingerprints of all models side by side: those at the start, then trained ones."""
    sides = read_models(a), read_models(b)
    names = dict.fromkeys([*sides[0], *sides[1]])
    return [ModelPair(name, sides[0].get(name), sides[1].get(name)) for name in names]


def read_models(side: RunData) -> Mapping[str, str]:
    """Return the fingerprint of every model that a run started from or trained."""
    models: dict[str, str] = {}
    for plan in sorted(name for name in side.versions if name.endswith("_plan")):
        for name, model in side.load_document(plan).get("models", {}).items():
            models[name] = str(model["fingerprint"])
    for name in sorted(side.versions):
        if isinstance(side.open(name), CheckpointDataset):
            fingerprint = side.load_fingerprint(name)
            if fingerprint:
                models[name] = fingerprint
    return models
