"""The rows and models of two runs: which are the same, and how those that differ do."""

from __future__ import annotations

import filecmp
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq

from almost_kedro.compare.side import Side
from almost_kedro.datasets.checkpoint import CheckpointDataset
from almost_kedro.datasets.whole_file import FigureDataset, StreamedRowsDataset

CHUNK = 1 << 20


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


def list_differing_rows(a: Side, b: Side) -> tuple[list[RowsDifference], list[str]]:
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


def list_missing(a: Side, b: Side) -> list[str]:
    """Return the datasets that the first run has and the second has not; charts don't count."""
    names = sorted(a.versions.keys() - b.versions.keys())
    return [name for name in names if not isinstance(a.open(name), FigureDataset | None)]


def pair_models(a: Side, b: Side) -> list[ModelPair]:
    """Put the fingerprints of all models side by side: those at the start, then trained ones."""
    sides = read_models(a), read_models(b)
    names = dict.fromkeys([*sides[0], *sides[1]])
    return [ModelPair(name, sides[0].get(name), sides[1].get(name)) for name in names]


def read_models(side: Side) -> Mapping[str, str]:
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
