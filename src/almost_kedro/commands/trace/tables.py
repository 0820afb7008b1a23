"""Rows in their tables: what a row says about its parents, and where a row is found."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any

from almost_kedro.rows.feedback import Ledger
from almost_kedro.rows.validator import RowsValidator

Row = dict[str, Any]
# A dataset and a row's id in it.
Key = tuple[str, str]
# Stands for the version of a table that has none.
UNVERSIONED = ""


class Table:
    """A dataset of rows: its name, the type of its rows, and its versions, newest first."""

    name: str
    kind: type[RowsValidator]
    versions: Sequence[str]

    def find(self, version: str, ids: Collection[str]) -> list[Row]:
        """Return the rows with these ids, in one pass."""
        raise NotImplementedError

    def stream(self, version: str) -> Iterator[Row]:
        """Read the rows one by one."""
        raise NotImplementedError


Tables = Mapping[str, Table]


@dataclass(frozen=True)
class Step:
    """A row, and the dataset and version that it was found in."""

    table: Table
    version: str
    row: Row

    @property
    def id(self) -> str:
        """The row's id."""
        return str(self.row[self.table.kind.key])

    @property
    def key(self) -> Key:
        """Dataset and id."""
        return self.table.name, self.id


@dataclass(frozen=True)
class Reference:
    """A row's reference to a parent: role (such as "shot"), id, and datasets that may hold it."""

    role: str
    id: str
    datasets: tuple[str, ...]


def list_references(kind: type[RowsValidator], row: Row) -> list[Reference]:
    """Return a row's references to its parents; an empty id is no reference.

    A role is the name of the field without "_id" or "_ids", unless the type gives roles.
    """
    references = []
    for field, datasets in kind.parents.items():
        ids = row[field] or []
        ids = [ids] if isinstance(ids, str) else ids
        role = field.removesuffix("s").removesuffix("_id")
        roles = chain(kind.roles.get(field, ()), repeat(role))
        pairs = zip(roles, ids, strict=False)
        references += [Reference(name, id_, tuple(datasets)) for name, id_ in pairs if id_]
    return references


def is_ledger(table: Table) -> bool:
    """True if the table's rows tell of rows of other tables."""
    return issubclass(table.kind, Ledger)


def list_versions(tables: Tables) -> list[str]:
    """Return the versions of all tables, newest first."""
    versions = {version for table in tables.values() for version in table.versions}
    return sorted(versions - {UNVERSIONED}, reverse=True)


def order_versions(versions: Sequence[str], at: str | None) -> list[str]:
    """Order versions by where to look first: `at` itself, older ones backward, newer ones onward.

    `versions` are newest first; `at` None stands for the newest.
    """
    if at is None:
        return list(versions)
    older = [version for version in versions if version <= at]
    return older + [version for version in reversed(versions) if version > at]


def find_rows(
    tables: Tables, datasets: Sequence[str], ids: Collection[str], at: str
) -> dict[str, Step]:
    """Find rows by id in the first dataset and version that holds them."""
    found: dict[str, Step] = {}
    for table in (tables[name] for name in datasets if name in tables):
        for version in order_versions(table.versions, at):
            missing = set(ids) - found.keys()
            if not missing:
                return found
            for row in table.find(version, missing):
                step = Step(table, version, row)
                found[step.id] = step
    return found


def find_start(tables: Tables, id_: str, version: str | None = None) -> Step | None:
    """Find a row in the newest version that holds it; None if it is nowhere.

    A ledger's entry stands for the row only if the row is in no dataset: it is a dropped pair, and
    names its parents, or the row's dataset is gone. `version` is the only version to look in,
    besides tables without versions.
    """
    versions = [version] if version else list_versions(tables)
    entry = None
    for each in (UNVERSIONED, *versions):
        for table in sorted(tables.values(), key=is_ledger):
            rows = table.find(each, [id_]) if each in table.versions else []
            if rows:
                step = Step(table, each, rows[0])
                if not is_ledger(table) or list_references(table.kind, step.row):
                    return step
                entry = entry or step
    return entry
