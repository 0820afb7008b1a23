"""Tables in memory; a row type that no pipeline has (`candidate`) included."""

from collections.abc import Collection, Iterator
from typing import Any, ClassVar

from made_rows import make_ledger_row, make_prompt, make_request, make_seed

from almost_kedro.commands.trace.ancestry import Ancestry, walk_back
from almost_kedro.commands.trace.tables import UNVERSIONED, Row, Table, find_start
from almost_kedro.rows.feedback import PromptRequests, Prompts, Seeds
from almost_kedro.rows.validator import RowsValidator


class SelfPlay(RowsValidator):
    """A candidate of a turn: made from a prompt and from the turn before."""

    key = "candidate_id"
    parents: ClassVar = {"prompt_id": ("rl_prompts", "prompts"), "previous_id": ("self_play",)}
    texts = ("text",)


class MemoryTable(Table):
    """Rows by version; counts the passes over them."""

    def __init__(self, name: str, kind: type[RowsValidator], **versions: list[Row]):
        self.name, self.kind, self.rows = name, kind, versions
        self.versions = sorted(versions, reverse=True)
        self.passes = 0

    def find(self, version: str, ids: Collection[str]) -> list[Row]:
        return [row for row in self.stream(version) if row[self.kind.key] in ids]

    def stream(self, version: str) -> Iterator[Row]:
        self.passes += 1
        yield from self.rows[version]


def request(id_: str, *shots: str) -> Row:
    return dict(make_request(id_, shot_ids=list(shots), output=id_))


def prompt(id_: str, request_id: str, text: str = "Why?", **fields: Any) -> Row:
    return dict(make_prompt(id_, text, request_id=request_id, **fields))


def candidate(id_: str, prompt_id: str, previous_id: str) -> Row:
    fields = {"candidate_id": id_, "prompt_id": prompt_id, "previous_id": previous_id}
    return {**fields, "text": f"Answer {id_}"}


def entry(id_: str, rule: str, *parents: str) -> Row:
    return dict(make_ledger_row(id_, rule, parent_ids=list(parents)))


def make_tables(*tables: MemoryTable) -> dict[str, Table]:
    return {table.name: table for table in tables}


SEED_ROWS: list[Row] = [dict(make_seed(id_, f"Seed {id_}?")) for id_ in ("s1", "s2", "s3")]
SEEDS = MemoryTable("seed_prompts", Seeds, **{UNVERSIONED: SEED_ROWS})


REQUESTS = [request("q1", "s1", "s2"), request("q2", "s2", "p1"), request("q3", "p1", "p2")]


PROMPTS = [
    prompt("p1", "q1", shot_ids=["s1", "s2"]),
    prompt("p2", "q2", shot_ids=["s2", "p1"]),
    prompt("p3", "q3", shot_ids=["p1", "p2"]),
]


def one_run() -> dict[str, Table]:
    return make_tables(
        SEEDS,
        MemoryTable("prompt_requests", PromptRequests, v1=REQUESTS),
        MemoryTable("prompts", Prompts, v1=PROMPTS),
    )


def walk(tables: dict[str, Table], id_: str, **how: Any) -> Ancestry:
    start = find_start(tables, id_)
    assert start is not None
    return walk_back(start, tables, **how)
