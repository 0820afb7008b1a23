"""The tables of a catalog: every dataset whose `validator:` describes rows, and the seed file."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator
from itertools import islice
from typing import Any

from kedro.io import AbstractVersionedDataset, DataCatalog, Version
from kedro.utils import load_obj

from almost_kedro.commands.trace.tables import UNVERSIONED, Row, Step, Table
from almost_kedro.datasets.whole_file import StreamedRowsDataset
from almost_kedro.errors import UserError
from almost_kedro.feedback.seeds import make_seed_rows, read_seed_file
from almost_kedro.rows.feedback import Seeds
from almost_kedro.rows.validator import CHUNK, RowsValidator

SEEDS = "seed_prompts"


class CatalogTable(Table):
    """A versioned dataset of rows."""

    def __init__(self, name: str, kind: type[RowsValidator], catalog: DataCatalog):
        """Describe a dataset."""
        self.name = name
        self.kind = kind
        self.catalog = catalog
        self.versions = find_versions(catalog, name)

    def _open(self, version: str) -> StreamedRowsDataset:
        dataset = self.catalog.get(self.name, version=Version(version, None))
        if not isinstance(dataset, StreamedRowsDataset):
            raise UserError(
                f"dataset {self.name}: {type(dataset).__name__} can't be traced; use "
                "RowsDataset or ParquetRowsDataset of almost_kedro.datasets"
            )
        return dataset

    def find(self, version: str, ids: Collection[str]) -> list[Row]:
        """Return the rows with these ids, in one pass."""
        rows = list(self._open(version).find(self.kind.key, ids))
        self._check(rows, f"{version}, of those looked for")
        return rows

    def stream(self, version: str) -> Iterator[Row]:
        """Read the rows one by one."""
        rows = self._open(version).stream()
        start = 0
        while chunk := list(islice(rows, CHUNK)):
            self._check(chunk, version, start)
            yield from chunk
            start += len(chunk)

    def _check(self, rows: list[Row], source: str, start: int = 0) -> None:
        try:
            self.kind().check(rows, start)
        except ValueError as exc:
            raise UserError(f"{self.name}, version {source}: {exc}") from exc


class SeedTable(Table):
    """The seed prompts of the seed file."""

    name, kind, versions = SEEDS, Seeds, (UNVERSIONED,)

    def __init__(self, catalog: DataCatalog):
        """Read nothing yet."""
        self.catalog = catalog

    @functools.cached_property
    def rows(self) -> dict[str, Row]:
        """The seed prompts by id."""
        seeds = read_seed_file(self.catalog.load(SEEDS))
        return {row["seed_id"]: dict(row) for row in make_seed_rows(seeds)}

    def find(self, version: str, ids: Collection[str]) -> list[Row]:
        """Return the rows with these ids."""
        return [self.rows[id_] for id_ in ids if id_ in self.rows]

    def stream(self, version: str) -> Iterator[Row]:
        """Return the rows one by one."""
        return iter(self.rows.values())


def open_tables(catalog: DataCatalog) -> dict[str, Table]:
    """Find every dataset of rows that the catalog names a `RowsValidator` for."""
    tables: dict[str, Table] = {SEEDS: SeedTable(catalog)}
    for name, spec in catalog.validator_specs.items():
        kind = load_obj(spec.class_path)
        if isinstance(kind, type) and issubclass(kind, RowsValidator) and kind.traced:
            tables[name] = CatalogTable(name, kind, catalog)
    return tables


def find_versions(catalog: DataCatalog, name: str) -> list[str]:
    """Return a dataset's versions, newest first; none if the catalog doesn't version it."""
    dataset = catalog.get(name)
    if not isinstance(dataset, AbstractVersionedDataset):
        return []
    return list(dataset.list_versions(full_path=False))


def read_plans(catalog: DataCatalog) -> Callable[[Step], str | None]:
    """Return a function that names the model that wrote a row, with its fingerprint.

    The model is in the plan of the row's version or, if it has none, in the newest older plan.
    """

    @functools.cache
    def list_plans(name: str) -> list[str]:
        return find_versions(catalog, name)

    @functools.cache
    def load_plan(name: str, version: str) -> dict[str, Any]:
        plan: dict[str, Any] = catalog.load(name, version=version)
        return plan

    def describe_model(step: Step) -> str | None:
        kind = step.table.kind
        if kind.model is None:
            return None
        versions = [version for version in list_plans(kind.plan) if version <= step.version]
        plan = load_plan(kind.plan, versions[0]) if versions else {}
        name = step.row.get(kind.model) or plan.get(kind.model) or "unknown"
        model = plan.get("models", {}).get(name)
        if model is None:
            return f"{name}, fingerprint unknown: not in {kind.plan} of this version or before"
        source = "" if versions[0] == step.version else f" ({kind.plan} of {versions[0]})"
        return f"{name}, fingerprint {model['fingerprint']}{source}"

    return describe_model
