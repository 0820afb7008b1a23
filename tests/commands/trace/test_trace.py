"""`kedro trace` on a real run: every row of every dataset goes back to the seeds."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from heavy_imports import CHECK, run_python
from kedro.framework.context import KedroContext
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.io import DataCatalog
from sessions import kedro
from smoke_runs import run_smoke

from almost_kedro.commands.trace.ancestry import Ancestry, walk_back, walk_forward
from almost_kedro.commands.trace.catalog import open_tables
from almost_kedro.commands.trace.command import trace
from almost_kedro.commands.trace.tables import Key, Row, Table, find_start, list_references
from almost_kedro.errors import UserError

# Few enough for some prompts to come from prompts.
N_SEEDS = 10
NO_PARENTS = ("seed_prompts", "assistants", "hhh_items", "mc1_items", "open_questions")


def open_context(project: Path, root: Path) -> KedroContext:
    bootstrap_project(project)
    params = {"data_root": str(root), "assets_root": str(root / "assets")}
    with KedroSession.create(project, env="smoke", runtime_params=params) as session:
        return session.load_context()


def run(project: Path, root: Path, **options: Any) -> None:
    run_smoke(project, root, {"assets_root": str(root / "assets"), **options})


def trace_command(project: Path, root: Path, *args: str) -> subprocess.CompletedProcess[str]:
    params = f"data_root={root},assets_root={root / 'assets'}"
    return kedro(project, "trace", *args, "--env", "smoke", "--params", params)


def open_root(project: Path, root: Path) -> dict[str, Table]:
    catalog = open_context(project, root).catalog
    assert isinstance(catalog, DataCatalog)
    return open_tables(catalog)


@pytest.fixture(scope="module")
def root(
    project: Path, tiny_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    root = tmp_path_factory.mktemp("trace")
    shutil.copytree(project / "assets", root / "assets")
    file = root / "assets/seed_prompts.txt"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[: N_SEEDS + 1]))
    run(project, root)
    return root


@pytest.fixture(scope="module")
def tables(project: Path, root: Path) -> dict[str, Table]:
    return open_root(project, root)


@pytest.fixture(scope="module")
def rows(tables: dict[str, Table]) -> dict[str, list[Row]]:
    """The rows of every dataset."""
    return {
        name: list(table.stream(version))
        for name, table in tables.items()
        for version in table.versions
    }


@pytest.fixture(scope="module")
def ancestries(tables: dict[str, Table], rows: dict[str, list[Row]]) -> dict[str, Ancestry]:
    """The ancestry of every row of every dataset, by its id."""
    ids = {row[tables[name].kind.key] for name in rows for row in rows[name]}
    starts = {id_: find_start(tables, id_) for id_ in ids}
    return {id_: walk_back(start, tables) for id_, start in starts.items() if start}


@pytest.fixture
def copied(root: Path, tmp_path: Path) -> Path:
    """A data root that may be changed."""
    return Path(shutil.copytree(root, tmp_path / "data", dirs_exist_ok=True))


def show(
    project: Path, root: Path, id_: str, capsys: pytest.CaptureFixture[str], **how: Any
) -> str:
    trace(open_context(project, root), id_, **how)
    return capsys.readouterr().out


def test_every_row_of_every_dataset_goes_back_to_the_seeds(
    rows: dict[str, list[Row]], ancestries: dict[str, Ancestry], tables: dict[str, Table]
) -> None:
    # There are no preference sets but those that a user gives.
    assert [name for name, found in rows.items() if not found] == ["preference_items"]
    for ancestry in ancestries.values():
        links = [link for links in ancestry.links.values() for link in links]
        assert all(link.parent is not None for link in links)
        ends = {key[0] for key, links in ancestry.links.items() if not links}
        if ancestry.start.table.name not in NO_PARENTS:
            assert "seed_prompts" in ends
        assert ends <= set(NO_PARENTS)
    ids = {row[tables[name].kind.key] for name in rows for row in rows[name]}
    assert ids == set(ancestries)


def test_prompts_come_from_prompts_too(
    rows: dict[str, list[Row]], ancestries: dict[str, Ancestry]
) -> None:
    ancestors = [keys_of(ancestries[row["prompt_id"]], "prompts") for row in rows["prompts"]]
    assert max(map(len, ancestors)) > 1  # a prompt is among its own


def keys_of(ancestry: Ancestry, dataset: str) -> set[str]:
    return {id_ for name, id_ in ancestry.steps if name == dataset}


def test_a_comparison_has_both_answers_its_prompt_and_their_makers(
    rows: dict[str, list[Row]], ancestries: dict[str, Ancestry]
) -> None:
    prompts = {row["prompt_id"]: row for row in rows["prompts"]}
    responses = {row["response_id"]: row for row in rows["responses"]}
    for row in rows["comparisons"]:
        ancestry = ancestries[row["comparison_id"]]
        answers = {row["chosen_id"], row["rejected_id"]}
        # What is off topic is another assistant's answer.
        answers |= {responses[id_]["source_id"] for id_ in answers} - {""}
        assert keys_of(ancestry, "responses") == answers
        assert keys_of(ancestry, "assistants") == {responses[id_]["assistant"] for id_ in answers}
        assert row["prompt_id"] in keys_of(ancestry, "prompts")
        prompt = prompts[row["prompt_id"]]
        assert prompt["request_id"] in keys_of(ancestry, "prompt_requests")
        assert set(prompt["shot_ids"]) <= keys_of(ancestry, "seed_prompts") | keys_of(
            ancestry, "prompts"
        )


def test_an_answer_off_topic_goes_back_to_what_it_really_answers(
    rows: dict[str, list[Row]], ancestries: dict[str, Ancestry]
) -> None:
    moved = [row for row in rows["responses"] if row["source_id"]]
    assert moved
    responses = {row["response_id"]: row for row in rows["responses"]}
    for row in moved:
        ancestry = ancestries[row["response_id"]]
        links = {link.reference.role: link.parent for link in ancestry.links[ancestry.start.key]}
        assert links["source"] == ("responses", row["source_id"])
        asked = {row["prompt_id"], responses[row["source_id"]]["prompt_id"]}
        assert asked <= keys_of(ancestry, "prompts")


def test_a_dropped_pair_goes_back_to_both_answers_and_the_prompt(
    rows: dict[str, list[Row]], ancestries: dict[str, Ancestry]
) -> None:
    pairs = [row for row in rows["ledger_comparisons"] if row["parent_ids"]]
    assert pairs
    for row in pairs:
        ancestry = ancestries[row["row_id"]]
        assert ancestry.start.table.name == "ledger_comparisons"
        links = ancestry.links[ancestry.start.key]
        assert [link.reference.role for link in links] == ["prompt", "chosen", "rejected"]
        assert [link.parent for link in links] == [
            (name, id_)
            for name, id_ in zip(
                ("prompts", "responses", "responses"), row["parent_ids"], strict=True
            )
        ]


@pytest.mark.parametrize(
    ("dataset", "key", "ledger"),
    [
        ("prompt_requests", "request_id", "ledger_prompts"),
        ("responses", "response_id", "ledger_responses"),
    ],
)
def test_a_dropped_row_has_its_ledgers_verdict(
    dataset: str,
    key: str,
    ledger: str,
    rows: dict[str, list[Row]],
    ancestries: dict[str, Ancestry],
) -> None:
    dropped = [row for row in rows[dataset] if row["verdict"] != "ok"]
    assert dropped
    for row in dropped:
        verdicts = ancestries[row[key]].verdicts[dataset, row[key]]
        assert [(e.table.name, e.row["rule"]) for e in verdicts] == [(ledger, row["verdict"])]


def test_forward_of_a_seed_has_the_prompts_that_come_from_it(
    rows: dict[str, list[Row]], tables: dict[str, Table]
) -> None:
    for seed in rows["seed_prompts"]:
        made = {seed["seed_id"]}
        for prompt in rows["prompts"]:  # in the order in which they were made
            if made & set(prompt["shot_ids"]):
                made.add(prompt["prompt_id"])
        start = find_start(tables, seed["seed_id"])
        assert start is not None
        found = {each.dataset: each.headlines for each in walk_forward(start, tables, None, text)}
        assert set(found.get("prompts", ())) == made - {seed["seed_id"]}


def text(kind: object, row: Row) -> str:
    return str(row.get("text"))


def test_forward_and_back_agree(
    ancestries: dict[str, Ancestry], tables: dict[str, Table], rows: dict[str, list[Row]]
) -> None:
    ancestors = {each.start.key: set(each.steps) - {each.start.key} for each in ancestries.values()}
    sample = {
        row[tables[name].kind.key]
        for name in rows
        for row in rows[name][:: len(rows[name]) // 4 + 1]
    }
    for id_ in sample:
        start = ancestries[id_].start
        made: set[Key] = {
            (each.dataset, other)
            for each in walk_forward(start, tables, None, text)
            for other in each.headlines
        }
        # What a ledger has about a row that is there is a verdict, and no row of its own.
        assert made & ancestors.keys() == {key for key in ancestors if start.key in ancestors[key]}


def test_the_tree_shows_texts_verdicts_models_and_versions(
    project: Path, root: Path, rows: dict[str, list[Row]], capsys: pytest.CaptureFixture[str]
) -> None:
    row = rows["comparisons"][0]
    shown = show(project, root, row["comparison_id"], capsys)
    version = next(root.glob("*/comparisons.jsonl/*")).name
    assert shown.startswith(f"comparisons {row['comparison_id']}  {version}\n")
    for label in ("prompt: ", "chosen: ", "rejected: ", "text: ", "output: ", "verdict: ok"):
        assert label in shown
    assert f"├── chosen: responses {row['chosen_id']}  {version}\n" in shown
    plan = json.loads(next(root.glob("*/feedback_plan.json/*/*")).read_text())
    models = {row["chosen_assistant"][:10], row["rejected_assistant"][:10], "tiny-large"}
    for model in models:
        assert f"model: {model}, fingerprint {plan['models'][model]['fingerprint']}" in shown
    seeds = {row["text"] for row in rows["seed_prompts"]}
    assert any(f"text: {seed}\n" in shown for seed in seeds)
    assert "(see above)" in shown


def test_forward_lists_every_dataset(
    project: Path, root: Path, rows: dict[str, list[Row]], capsys: pytest.CaptureFixture[str]
) -> None:
    row = rows["comparisons"][0]
    shown = show(project, root, row["prompt_id"], capsys, forward=True)
    version = next(root.glob("*/comparisons.jsonl/*")).name
    answers = [r for r in rows["responses"] if r["prompt_id"] == row["prompt_id"]]
    assert len([answer for answer in answers if not answer["source_id"]]) == 4
    count = int(shown.split(f"\nresponses  {version}  ")[1].split("\n")[0])
    assert count >= len(answers)
    for answer in answers:
        assert f"\n  {answer['response_id']}  " in shown
    assert f"\n  {row['comparison_id']}  " in shown
    shown = show(project, root, row["comparison_id"], capsys, forward=True)
    assert shown.endswith("\nNothing was made from it in the newest version of any dataset.\n")


@pytest.mark.slow
def test_the_newest_version_is_taken_or_the_one_given(
    project: Path, copied: Path, rows: dict[str, list[Row]], capsys: pytest.CaptureFixture[str]
) -> None:
    """The second run keeps fewer pairs of the same answers."""
    old = next(copied.glob("*/comparisons.jsonl/*")).name
    run(project, copied, comparisons={"length_tolerance": 0.01})
    new = max(path.name for path in copied.glob("*/comparisons.jsonl/*"))
    capsys.readouterr()
    kept = {row["comparison_id"] for row in open_root(project, copied)["comparisons"].stream(new)}
    was_kept = [row["comparison_id"] for row in rows["comparisons"]]
    (id_, *_) = [id_ for id_ in was_kept if id_ not in kept]
    shown = show(project, copied, id_, capsys)
    assert shown.startswith(f"ledger_comparisons {id_}  {new}\n")
    assert old not in shown
    shown = show(project, copied, id_, capsys, version=old)
    assert shown.startswith(f"comparisons {id_}  {old}\n")
    assert new not in shown


def test_a_version_that_lacks_the_row_is_told_with_the_one_that_has_it(
    project: Path, copied: Path, rows: dict[str, list[Row]], capsys: pytest.CaptureFixture[str]
) -> None:
    """As after a run from old prompts."""
    old = next(copied.glob("*/comparisons.jsonl/*"))
    shutil.copytree(old, old.with_name("2999"))
    row = rows["comparisons"][0]
    with pytest.raises(UserError, match=f"not in version 2999; the newest.* {old.name} of prompts"):
        trace(open_context(project, copied), row["prompt_id"], version="2999")
    shown = show(project, copied, row["comparison_id"], capsys)
    assert shown.startswith(f"comparisons {row['comparison_id']}  2999\n")
    assert f"prompt: prompts {row['prompt_id']}  {old.name}\n" in shown


def test_what_only_an_older_version_has_is_told_when_nothing_was_made_from_it(
    project: Path, copied: Path, rows: dict[str, list[Row]], capsys: pytest.CaptureFixture[str]
) -> None:
    old = next(copied.glob("*/comparisons.jsonl/*"))
    newer = old.with_name("2999") / "comparisons.jsonl"
    newer.parent.mkdir()
    newer.write_text("")
    id_ = rows["comparisons"][0]["comparison_id"]
    shown = show(project, copied, id_, capsys, forward=True)
    assert shown.endswith(f"it is of an older one: try --version {old.name}.\n")


def test_hostile_text_is_shown_and_does_nothing(
    project: Path, copied: Path, rows: dict[str, list[Row]], capsys: pytest.CaptureFixture[str]
) -> None:
    file = next(copied.glob("*/prompts.jsonl/*/*"))
    lines = [json.loads(line) for line in file.read_text().split("\n") if line]
    id_ = rows["comparisons"][0]["prompt_id"]
    row = next(line for line in lines if line["prompt_id"] == id_)
    hostile = "\x1b]0;owned\x07\u202e[red]abc[/red]\ud800"
    row["text"] = hostile + "x" * (1_000_000 - len(hostile))
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    shown = show(project, copied, id_, capsys)
    assert r"text: \x1b]0;owned\x07\u202e[red]abc[/red]\ud800xxx" in shown
    assert "... (1,000,000 characters)" in shown
    assert all(char.isprintable() or char == "\n" for char in shown)
    assert max(map(len, shown.split("\n"))) < 2500
    assert "x" * 900_000 in show(project, copied, id_, capsys, full=True)
    made = show(project, copied, rows["comparisons"][0]["comparison_id"], capsys, forward=True)
    assert "\x1b" not in made


def test_the_command_prints_to_a_pipe(
    project: Path, root: Path, rows: dict[str, list[Row]]
) -> None:
    row = rows["comparisons"][0]
    done = trace_command(project, root, row["comparison_id"])
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"comparisons {row['comparison_id']}  ")
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) > 200
    done = trace_command(project, root, row["prompt_id"], "--depth", "1")
    assert done.stdout.splitlines()[-1].strip() == "└── ... (raise --depth for more)"
    done = trace_command(project, root, row["prompt_id"], "--forward")
    assert f"\n  {row['comparison_id']}  " in done.stdout


@pytest.mark.slow
def test_an_encoding_that_lacks_a_character_gets_its_escape(
    project: Path, root: Path, rows: dict[str, list[Row]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    for how in ((), ("--forward",)):
        done = trace_command(project, root, rows["comparisons"][0]["prompt_id"], *how)
        assert done.returncode == 0, done.stderr
        assert done.stdout.isascii()


def test_tracing_imports_nothing_heavy(
    project: Path, root: Path, rows: dict[str, list[Row]]
) -> None:
    run_python(
        f"""
import sys
sys.argv = ["kedro", "trace", {rows["comparisons"][0]["comparison_id"]!r}, "--env", "smoke",
    "--params", "data_root={root},assets_root={root}/assets"]
from kedro.framework.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
{CHECK}
assert "mlflow" not in sys.modules
""",
        project,
    )


@pytest.mark.parametrize(
    ("id_", "version", "message"),
    [
        ("nonsense", None, r"row 'nonsense': found in none of \d+ datasets \(seed_prompts, "),
        ("nonsense", None, r"in any of 1 versions below data_root /.* \(environment smoke\); "),
        ("\udcff", None, r"row '\?': found in none"),
        ("nonsense", "2020", r"no dataset has a version '2020' below data_root .*; there are 2"),
    ],
)
def test_what_is_not_there_is_one_clear_line(
    id_: str, version: str | None, message: str, project: Path, root: Path
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        trace(open_context(project, root), id_, version=version)
    assert "\n" not in str(caught.value)


def test_before_the_first_run_there_is_nothing_to_trace(project: Path, tmp_path: Path) -> None:
    done = trace_command(project, tmp_path, "x")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"Error: there are no rows yet below data_root {tmp_path} (environment smoke); "
        "run `kedro run` first, or give another --env or --params data_root=..."
    )


def test_every_reference_names_a_dataset_of_the_catalog(tables: dict[str, Table]) -> None:
    for table in tables.values():
        assert {name for names in table.kind.parents.values() for name in names} <= set(tables)
        assert table.kind.key in table.kind.row.__annotations__
        for field in (*table.kind.parents, *table.kind.texts, *table.kind.roles):
            assert field in table.kind.row.__annotations__
    assert list_references(tables["seed_prompts"].kind, {"seed_id": "a", "text": "b"}) == []
