"""Walks over tables in memory; row types of pipelines that are not there yet included."""

import pytest
from made_rows import make_assistant, make_seed
from tables_in_memory import (
    SEEDS,
    MemoryTable,
    SelfPlay,
    candidate,
    entry,
    make_tables,
    one_run,
    prompt,
    request,
    walk,
)

from almost_kedro.commands.trace.ancestry import walk_back, walk_forward
from almost_kedro.commands.trace.tables import (
    UNVERSIONED,
    Step,
    Table,
    find_start,
    list_references,
    order_versions,
)
from almost_kedro.rows.feedback import Assistants, Ledger, PromptRequests, Prompts


def list_made(tables: dict[str, Table], id_: str, version: str | None = None) -> dict[str, set]:
    start = find_start(tables, id_)
    assert start is not None
    made = walk_forward(start, tables, version, lambda kind, row: "")
    return {each.dataset: set(each.headlines) for each in made}


def test_every_ancestor_is_met_once_and_nearest_first() -> None:
    ancestry = walk(one_run(), "p3")
    assert [id_ for _, id_ in ancestry.steps] == ["p3", "q3", "p1", "p2", "q1", "q2", "s1", "s2"]
    links = [link for links in ancestry.links.values() for link in links]
    assert all(link.parent in ancestry.steps for link in links)
    assert sum(link.first for link in links) == len(ancestry.steps) - 1


def test_a_parent_that_several_rows_share_belongs_to_the_nearest() -> None:
    """q1 and q2 both show s2, and q2 shows p1, which q3 shows, too."""
    ancestry = walk(one_run(), "p3")
    first = {row[1]: [link.first for link in links] for row, links in ancestry.links.items()}
    assert first["q3"] == [True, True]
    assert first["q1"] == [True, True]
    assert first["q2"] == [False, False]


def test_a_level_costs_one_pass_over_a_dataset() -> None:
    tables = one_run()
    start = find_start(tables, "p3")
    assert start is not None
    before = tables["prompts"].passes, tables["prompt_requests"].passes
    walk_back(start, tables)
    # q3; p1 and p2; q1 and q2. (s1 and s2 are seeds: `prompts` is not asked.)
    assert tables["prompts"].passes - before[0] == 1
    assert tables["prompt_requests"].passes - before[1] == 2


@pytest.mark.parametrize(
    ("depth", "met"), [(0, ["p2"]), (1, ["p2", "q2"]), (2, ["p2", "q2", "s2", "p1"])]
)
def test_depth_limits_the_walk(depth: int, met: list[str]) -> None:
    ancestry = walk(one_run(), "p2", depth=depth)
    assert [id_ for _, id_ in ancestry.steps] == met
    assert len(ancestry.links) == len(met) - (1 if depth < 2 else 2)


def test_a_parent_that_is_nowhere_is_looked_for_once() -> None:
    tables = make_tables(
        SEEDS,
        MemoryTable("prompt_requests", PromptRequests, v1=[request("q1", "gone", "s1")]),
        MemoryTable("prompts", Prompts, v1=[prompt("p1", "q1")]),
    )
    links = walk(tables, "p1").links["prompt_requests", "q1"]
    assert [(link.reference.id, link.parent) for link in links] == [
        ("gone", None),
        ("s1", ("seed_prompts", "s1")),
    ]


def test_rows_that_name_each_other_end_the_walk() -> None:
    rows = [candidate("a", "", "b"), candidate("b", "", "a")]
    ancestry = walk(make_tables(MemoryTable("self_play", SelfPlay, v1=rows)), "a")
    assert list(ancestry.steps) == [("self_play", "a"), ("self_play", "b")]


def test_a_new_row_type_needs_its_declaration_only() -> None:
    turns = [candidate("t1", "p2", ""), candidate("t2", "p2", "t1"), candidate("t3", "r1", "t2")]
    tables = one_run() | make_tables(
        MemoryTable("self_play", SelfPlay, v1=turns),
        MemoryTable("rl_prompts", Prompts, v1=[prompt("r1", "q1")]),
    )
    met = [id_ for _, id_ in walk(tables, "t3").steps]
    assert met == ["t3", "r1", "t2", "q1", "p2", "t1", "s1", "s2", "q2", "p1"]
    assert list_made(tables, "p2") == {
        "self_play": {"t1", "t2", "t3"},
        "prompt_requests": {"q3"},
        "prompts": {"p3"},
    }


def test_forward_is_the_reverse_of_back() -> None:
    tables = one_run()
    ids = ["s1", "s2", "s3", "q1", "q2", "q3", "p1", "p2", "p3"]
    ancestors = {id_: {other for _, other in walk(tables, id_).steps} - {id_} for id_ in ids}
    for id_ in ids:
        made = {other for each in list_made(tables, id_).values() for other in each}
        assert made == {other for other in ids if id_ in ancestors[other]}


def test_forward_reads_what_comes_later_once() -> None:
    """Requests and prompts make one another; answers come after both."""
    answers = MemoryTable("self_play", SelfPlay, v1=[candidate("t1", "p3", "")])
    tables = make_tables(answers) | one_run()
    assert list_made(tables, "s1")["self_play"] == {"t1"}
    assert answers.passes == 2  # once more, since turns are made from turns


def test_ledger_entries_follow_the_rows_that_they_tell_of() -> None:
    ledger = MemoryTable(
        "ledger_self_play",
        Ledger,
        v1=[entry("q2", "rule_5"), entry("s9", "x"), entry("d", "y", "p1")],
    )
    tables = one_run() | make_tables(ledger)
    assert list_made(tables, "s2")["ledger_self_play"] == {"q2", "d"}
    assert "ledger_self_play" not in list_made(tables, "q2")
    assert list_made(tables, "p1")["ledger_self_play"] == {"q2", "d"}


def test_verdicts_come_from_the_version_of_the_row_and_of_the_start() -> None:
    tables = make_tables(
        MemoryTable("prompts", Prompts, v1=[prompt("p1", ""), prompt("p2", "")]),
        MemoryTable("self_play", SelfPlay, v3=[candidate("t1", "p1", "")]),
        MemoryTable(
            "ledger",
            Ledger,
            v1=[entry("p1", "a"), entry("p2", "b")],
            v2=[entry("p1", "c")],
            v3=[entry("p1", "d")],
        ),
    )
    verdicts = walk(tables, "t1").verdicts
    assert list(verdicts) == [("prompts", "p1")]
    assert [(e.version, e.row["rule"]) for e in verdicts["prompts", "p1"]] == [
        ("v1", "a"),
        ("v3", "d"),
    ]


def test_a_pipeline_that_ran_later_has_its_say_about_the_row() -> None:
    """As post-validation in a session of its own; what came after that is not about this row."""
    tables = make_tables(
        MemoryTable("prompts", Prompts, v2=[prompt("p1", "")]),
        MemoryTable(
            "ledger",
            Ledger,
            v1=[entry("p1", "earlier")],
            v3=[entry("p1", "dropped later")],
            v4=[entry("p1", "later still")],
        ),
    )
    [verdict] = walk(tables, "p1").verdicts["prompts", "p1"]
    assert (verdict.version, verdict.row["rule"]) == ("v3", "dropped later")


def versions() -> dict[str, Table]:
    return make_tables(
        MemoryTable(
            "prompts",
            Prompts,
            v1=[prompt("p1", "", "1")],
            v2=[prompt("p1", "", "2"), prompt("p2", "", "2")],
            v4=[prompt("p1", "", "4")],
            v5=[prompt("p1", "", "5"), prompt("p5", "", "5")],
        ),
        MemoryTable(
            "self_play",
            SelfPlay,
            v2=[candidate("same", "p1", "")],
            v3=[candidate("older", "p1", ""), candidate("newer", "p5", "")],
            v4=[candidate("oldest", "p2", "")],
        ),
    )


@pytest.mark.parametrize(
    ("id_", "version"), [("same", "v2"), ("older", "v2"), ("newer", "v5"), ("oldest", "v2")]
)
def test_a_parent_is_of_the_same_version_or_the_newest_older_one(id_: str, version: str) -> None:
    _, parent = walk(versions(), id_).steps.values()
    assert parent.version == version


def test_versions_are_ordered_back_from_the_childs_then_on() -> None:
    assert order_versions(["v5", "v4", "v2"], "v4") == ["v4", "v2", "v5"]
    assert order_versions(["v5", "v4", "v2"], "v3") == ["v2", "v4", "v5"]
    assert order_versions(["v5", "v4", "v2"], None) == ["v5", "v4", "v2"]


def find(tables: dict[str, Table], id_: str, version: str | None = None) -> tuple[str, str] | None:
    start = find_start(tables, id_, version)
    return (start.table.name, start.version) if start else None


def test_the_start_is_in_the_newest_version_or_the_one_given() -> None:
    tables = versions()
    assert find(tables, "p1") == ("prompts", "v5")
    assert find(tables, "p1", "v2") == ("prompts", "v2")
    assert find(tables, "p1", "v3") is None
    assert find(tables, "nonsense") is None


def test_forward_looks_in_the_newest_versions_or_the_one_given() -> None:
    tables = versions()
    assert list_made(tables, "p1") == {}
    assert list_made(tables, "p1", "v3") == {"self_play": {"older"}}


def test_an_entry_stands_for_a_dropped_pair_but_not_for_a_row_that_is_there() -> None:
    tables = make_tables(
        MemoryTable("ledger", Ledger, v2=[entry("pair", "a", "p1"), entry("p1", "b")]),
        MemoryTable("prompts", Prompts, v1=[prompt("p1", ""), prompt("pair", "")]),
    )
    assert find(tables, "p1") == ("prompts", "v1")
    assert find(tables, "p1", "v2") == ("ledger", "v2")
    # The newest version dropped what an older one kept.
    assert find(tables, "pair") == ("ledger", "v2")
    assert [id_ for _, id_ in walk(tables, "pair").steps] == ["pair", "p1"]


def test_roles_come_from_the_field_or_the_type() -> None:
    row = request("q", "s1", "s2")
    assert [ref.role for ref in list_references(PromptRequests, row)] == ["shot", "shot"]
    row = entry("pair", "a", "p", "x", "y", "z")
    roles = [ref.role for ref in list_references(Ledger, row)]
    assert roles == ["prompt", "chosen", "rejected", "parent"]
    assert list_references(Assistants, make_assistant()) == []


def test_a_step_is_known_by_dataset_and_id() -> None:
    assert Step(SEEDS, UNVERSIONED, make_seed("s1")).key == ("seed_prompts", "s1")
