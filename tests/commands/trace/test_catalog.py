"""Tables are found by their validators: row types that no pipeline has yet, on real files."""

from pathlib import Path
from typing import Any, ClassVar

import pytest
from kedro.io import DataCatalog
from made_rows import make_prompt, make_request
from pydantic import ConfigDict, with_config
from tables_in_memory import candidate
from typing_extensions import TypedDict

from almost_kedro.commands.trace.ancestry import walk_back, walk_forward
from almost_kedro.commands.trace.catalog import find_versions, open_tables, read_plans
from almost_kedro.commands.trace.tables import Table, find_start
from almost_kedro.contract import row_id
from almost_kedro.errors import UserError
from almost_kedro.rows.validator import RowsValidator

OLD, NEW = "2026-01-01T00.00.00.000Z", "2026-01-02T00.00.00.000Z"
DATASETS = "almost_kedro.datasets"


@with_config(ConfigDict(extra="forbid", strict=True))
class Turn(TypedDict):
    candidate_id: str
    prompt_id: str
    previous_id: str
    text: str


@with_config(ConfigDict(extra="forbid", strict=True))
class Generation(TypedDict):
    generation_id: str
    turn_ids: list[str]
    policy: str
    completion: str


class Turns(RowsValidator):
    row, key = Turn, "candidate_id"
    parents: ClassVar = {"prompt_id": ("prompts",), "previous_id": ("self_play",)}
    texts = ("text",)


class Generations(RowsValidator):
    row, key = Generation, "generation_id"
    parents: ClassVar = {"turn_ids": ("self_play",)}
    texts = ("completion",)
    model = "policy"
    plan = "rl_plan"


def open_catalog(folder: Path, version: str) -> DataCatalog:
    def rows(name: str, kind: str, row: str | None = None) -> dict[str, Any]:
        place = folder / f"{name}.{'parquet' if row else 'jsonl'}"
        entry = {"filepath": str(place), "versioned": True, "validator": kind}
        if row:
            return entry | {"type": f"{DATASETS}.parquet_rows.ParquetRowsDataset", "row": row}
        return entry | {"type": f"{DATASETS}.whole_file.RowsDataset"}

    seeds = {"filepath": str(folder / "seeds.txt")}
    plan = {"filepath": str(folder / "rl_plan.json"), "versioned": True}
    config = {
        "seed_prompts": seeds | {"type": f"{DATASETS}.whole_file.TextFileDataset"},
        "rl_plan": plan | {"type": f"{DATASETS}.whole_file.JSONFileDataset"},
        "prompts": rows("prompts", "almost_kedro.rows.feedback.Prompts"),
        "prompt_requests": rows(
            "requests",
            "almost_kedro.rows.feedback.PromptRequests",
            "almost_kedro.rows.feedback.PromptRequest",
        ),
        "self_play": rows("self_play", f"{__name__}.Turns", f"{__name__}.Turn"),
        "generations": rows("generations", f"{__name__}.Generations"),
    }
    return DataCatalog.from_config(config, save_version=version)


def generation(id_: str, *turns: str) -> dict[str, Any]:
    return {"generation_id": id_, "turn_ids": list(turns), "policy": "sft", "completion": "So."}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "seeds.txt").write_text("Write prompts.\nWhy is the sky blue?\n")
    seed = row_id("seed", "Why is the sky blue?")
    old, new = (open_catalog(tmp_path, version) for version in (OLD, NEW))
    old.save("prompt_requests", [make_request("q1", shot_ids=[seed])])
    old.save("prompts", [make_prompt("p1", request_id="q1", shot_ids=[seed])])
    old.save("rl_plan", {"models": {"sft": {"fingerprint": "f00"}}})
    new.save("self_play", [candidate("t1", "p1", ""), candidate("t2", "p1", "t1")])
    new.save("generations", [generation("g1", "t2"), generation("g2")])
    return tmp_path


@pytest.fixture
def tables(folder: Path) -> dict[str, Table]:
    return open_tables(open_catalog(folder, NEW))


def test_tables_are_the_datasets_with_a_rows_validator(tables: dict[str, Table]) -> None:
    versions = {name: list(table.versions) for name, table in tables.items()}
    assert versions == {
        "seed_prompts": [""],
        "prompts": [OLD],
        "prompt_requests": [OLD],
        "self_play": [NEW],
        "generations": [NEW],
    }


def test_a_policys_answer_goes_back_to_seeds(tables: dict[str, Table]) -> None:
    start = find_start(tables, "g1")
    assert start is not None
    met = list(walk_back(start, tables).steps)
    assert met == [
        ("generations", "g1"),
        ("self_play", "t2"),
        ("prompts", "p1"),
        ("self_play", "t1"),
        ("prompt_requests", "q1"),
        ("seed_prompts", row_id("seed", "Why is the sky blue?")),
    ]
    seed = find_start(tables, met[-1][1])
    assert seed is not None
    made = walk_forward(seed, tables, None, lambda kind, row: "")
    assert {(each.dataset, id_) for each in made for id_ in each.headlines} == set(met[:-1])


def test_a_model_is_that_of_the_newest_older_plan(folder: Path) -> None:
    catalog = open_catalog(folder, NEW)
    tables = open_tables(catalog)
    steps = {id_: find_start(tables, id_) for id_ in ("g1", "t1", "q1")}
    models = {id_: read_plans(catalog)(step) for id_, step in steps.items() if step}
    assert models["g1"] == f"sft, fingerprint f00 (rl_plan of {OLD})"
    assert models["t1"] is None
    assert models["q1"] == (
        "unknown, fingerprint unknown: not in feedback_plan of this version or before"
    )
    catalog.save("rl_plan", {"models": {"sft": {"fingerprint": "f11"}}})
    assert steps["g1"] is not None
    assert read_plans(catalog)(steps["g1"]) == "sft, fingerprint f11"


@pytest.mark.parametrize("name", ["self_play", "generations"])
def test_rows_are_found_by_id_and_streamed(tables: dict[str, Table], name: str) -> None:
    """In Parquet and in JSON lines."""
    table = tables[name]
    key = table.kind.key
    ids = [row[key] for row in table.stream(NEW)]
    assert len(ids) == 2
    assert [row[key] for row in table.find(NEW, {ids[1], "nonsense", "\ud800"})] == [ids[1]]
    assert [row[key] for row in table.find(NEW, ids)] == ids
    assert table.find(NEW, []) == []


def test_a_bad_row_is_named(folder: Path, tables: dict[str, Table]) -> None:
    file = next(folder.glob("generations.jsonl/*/*"))
    file.write_text(file.read_text() + '{"generation_id": "g3"}\n')
    with pytest.raises(UserError, match=f"^generations, version {NEW}: row 3, turn_ids: "):
        list(tables["generations"].stream(NEW))
    with pytest.raises(UserError, match=r", of those looked for: row 1, turn_ids: "):
        find_start(tables, "g3")


def test_a_dataset_of_another_kind_is_named(folder: Path) -> None:
    config = {
        "type": f"{DATASETS}.whole_file.JSONFileDataset",
        "filepath": str(folder / "rl_plan.json"),
        "versioned": True,
        "validator": f"{__name__}.Turns",
    }
    catalog = DataCatalog.from_config({"self_play": config})
    with pytest.raises(UserError, match="dataset self_play: JSONFileDataset can't be traced"):
        open_tables(catalog)["self_play"].find(OLD, ["t1"])


def test_what_is_not_versioned_has_no_versions(folder: Path) -> None:
    catalog = open_catalog(folder, NEW)
    assert find_versions(catalog, "seed_prompts") == []
    assert find_versions(catalog, "nonsense") == []
