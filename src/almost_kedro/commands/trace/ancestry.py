"""Walks from a row back to what it was made of, and on to what was made from it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from almost_kedro.commands.trace.tables import (
    Key,
    Reference,
    Row,
    Step,
    Table,
    Tables,
    find_rows,
    is_ledger,
    list_references,
    order_versions,
)
from almost_kedro.rows.validator import RowsValidator

# Where each parent was found (None: nowhere), by the datasets that may hold it and its id.
Known = dict[tuple[tuple[str, ...], str], Key | None]


@dataclass(frozen=True)
class Link:
    """A reference and its parent; None if the parent is in no version of the datasets.

    `first` marks the link that met the parent first: it is nearest to the start.
    """

    reference: Reference
    parent: Key | None
    first: bool


@dataclass
class Ancestry:
    """A row and everything that it was made of.

    Attributes:
        steps: All rows, nearest first.
        links: The parents of each row; a row at the end of a limited walk has no entry.
        verdicts: Each row's entries in ledgers.
    """

    start: Step
    steps: dict[Key, Step]
    links: dict[Key, list[Link]] = field(default_factory=dict)
    verdicts: dict[Key, list[Step]] = field(default_factory=dict)


@dataclass(frozen=True)
class Made:
    """What a version of a dataset has that was made from a row: ids, each with a headline."""

    dataset: str
    version: str
    headlines: dict[str, str]


def walk_back(start: Step, tables: Tables, depth: int | None = None) -> Ancestry:
    """Walk from a row to everything that it was made of, or only `depth` levels back.

    The walk goes level by level, so it meets each row on its shortest way from the start, and a
    level costs one pass over a dataset. It looks for a parent in its child's version first, since
    one run saves all its datasets under one.
    """
    ancestry = Ancestry(start, {start.key: start})
    known: Known = {}
    level = [start]
    while level and depth != 0:
        found = find_parents(level, tables, known)
        level = _climb(ancestry, level, known, found)
        depth = None if depth is None else depth - 1
    ancestry.verdicts = find_verdicts(ancestry, tables)
    return ancestry


def find_parents(level: Sequence[Step], tables: Tables, known: Known) -> dict[Key, Step]:
    """Find the parents of many rows that are not known yet, and enter them into `known`."""
    wanted: dict[tuple[str, tuple[str, ...]], set[str]] = defaultdict(set)
    for step in level:
        for reference in list_references(step.table.kind, step.row):
            if (reference.datasets, reference.id) not in known:
                wanted[step.version, reference.datasets].add(reference.id)
    found: dict[Key, Step] = {}
    for (version, datasets), ids in wanted.items():
        parents = find_rows(tables, datasets, ids, version)
        for id_ in ids:
            parent = parents.get(id_)
            known[datasets, id_] = parent.key if parent else None
            if parent:
                found.setdefault(parent.key, parent)
    return found


def _climb(
    ancestry: Ancestry, level: Sequence[Step], known: Known, found: Mapping[Key, Step]
) -> list[Step]:
    """Link a level to its parents; return those that the walk had not met."""
    new: list[Step] = []
    for step in level:
        links = ancestry.links[step.key] = []
        for reference in list_references(step.table.kind, step.row):
            key = known[reference.datasets, reference.id]
            first = key is not None and key not in ancestry.steps
            links.append(Link(reference, key, first))
            if key is not None and first:
                ancestry.steps[key] = found[key]
                new.append(found[key])
    return new


def find_verdicts(ancestry: Ancestry, tables: Tables) -> dict[Key, list[Step]]:
    """Find what the ledgers of each row's version, and of the start's, say about it.

    A pipeline that runs later, in a session of its own, saves its ledger under a later version. So
    where a ledger lacks a row's version, its next version counts.
    """
    by_id = defaultdict(list)
    for step in ancestry.steps.values():
        by_id[step.id].append(step)
    versions = {step.version for step in ancestry.steps.values()}
    verdicts = defaultdict(list)
    for ledger in filter(is_ledger, tables.values()):
        following = {version: find_next(ledger.versions, version) for version in versions}
        looked_at = {ancestry.start.version, *following.values()} & set(ledger.versions)
        for version in sorted(looked_at):
            for row in ledger.find(version, by_id.keys()):
                entry = Step(ledger, version, row)
                for step in by_id[entry.id]:
                    told = version in (following[step.version], ancestry.start.version)
                    if told and step != entry:
                        verdicts[step.key].append(entry)
    return dict(verdicts)


def find_next(versions: Sequence[str], at: str) -> str:
    """Return the first version from `at` on; `at` itself if there is none."""
    return min((version for version in versions if version >= at), default=at)


def walk_forward(
    start: Step,
    tables: Tables,
    version: str | None,
    headline: Callable[[type[RowsValidator], Row], str],
) -> list[Made]:
    """Find everything that was made from a row, and what the ledgers say about that.

    Looks in one version of each table: in `version` or the nearest that it has (see
    `order_versions`); None is its newest. `headline` describes a row in a line.
    """
    found: dict[str, dict[str, str]] = {start.table.name: {start.id: ""}}
    chosen = {name: order_versions(table.versions, version)[:1] for name, table in tables.items()}
    sources = {name: list_sources(table, tables) for name, table in tables.items()}
    # A table comes after all that it is made from, so that few are read twice.
    order = sorted(tables, key=lambda name: len(reach(name, sources)))
    stale = {name for name in tables if start.table.name in sources[name]}
    while stale:
        name = next(name for name in order if name in stale)
        stale.remove(name)
        table, known = tables[name], found.setdefault(name, {})
        before = len(known)
        for each in chosen[name]:
            for row in table.stream(each):
                id_ = row[table.kind.key]
                if id_ not in known and is_made(table, row, found, start):
                    known[id_] = headline(table.kind, row)
        if len(known) > before:
            stale |= {other for other in tables if name in sources[other]}
    del found[start.table.name][start.id]
    return [Made(name, chosen[name][0], known) for name, known in found.items() if known]


def list_sources(table: Table, tables: Tables) -> set[str]:
    """Return the datasets that a table's rows are made from or, in a ledger, tell of."""
    sources = {name for names in table.kind.parents.values() for name in names}
    if is_ledger(table):
        sources |= {name for name, other in tables.items() if not is_ledger(other)}
    return sources


def reach(name: str, sources: Mapping[str, set[str]]) -> set[str]:
    """Return a dataset and everything that goes into it."""
    reached: set[str] = set()
    names = {name}
    while names:
        reached |= names
        names = {source for each in names for source in sources.get(each, ())} - reached
    return reached


def is_made(table: Table, row: Row, found: Mapping[str, Mapping[str, str]], start: Step) -> bool:
    """True if a row has a parent in `found` or, in a ledger, tells of a row there but the start."""
    for reference in list_references(table.kind, row):
        if any(reference.id in found.get(name, ()) for name in reference.datasets):
            return True
    id_ = row[table.kind.key]
    return is_ledger(table) and id_ != start.id and any(id_ in ids for ids in found.values())
