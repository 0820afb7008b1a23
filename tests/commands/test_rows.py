"""`kedro rows`, as a user meets it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from kedro.io import Version
from made_responses import make_numbered, open_responses
from made_rows import make_request

from almost_kedro.commands.rows import select_rows
from almost_kedro.errors import UserError

HOSTILE = "\x1b[2Jgone \u202eflipped\x7f \x9b31m \x00 🧑 \u2028"
REQUESTS = [
    make_request("a", verdict="rule_5_too_long", n_tokens=7, shot_ids=[]),
    make_request("b", verdict="rule_6_overlap", n_tokens=17, shot_ids=["p", "x", "y"]),
    make_request("c", verdict="rule_6_overlap", n_tokens=7, shot_ids=["p", "x", "z"]),
]


def kedro_rows(project: Path, root: Path, *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kedro", "rows", *args]
    command += ["--env", "smoke", "--params", f"data_root={root}"]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with two versions of responses: three rows, then 50,001."""
    root = tmp_path_factory.mktemp("root")
    path = root / "03_primary/responses.parquet"
    few = [make_numbered(n, text=HOSTILE) for n in range(3)]
    open_responses(path, Version(None, "v1")).save(few)
    many = [make_numbered(n, verdict="rule_12_short" if n % 5 else "ok") for n in range(50_001)]
    open_responses(path, Version(None, "v2")).save(many)
    return root


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ([], "abc"),
        (["verdict=rule_6_overlap"], "bc"),
        (["verdict=rule_6_overlap", "n_tokens=7"], "c"),
        (["shot_ids=x"], "bc"),
        (["shot_ids=z"], "c"),
        (["shot_ids=q"], ""),
        (["verdict="], ""),
    ],
)
def test_rows_that_meet_all_conditions_are_selected(where: list[str], ids: str) -> None:
    assert "".join(row["request_id"] for row in select_rows(REQUESTS, where)) == ids


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("rule", "--where rule: give FIELD=VALUE"),
        ("rul=x", "--where rul: the rows have request_id, round, shot_ids, output, .*, verdict"),
    ],
)
def test_bad_conditions_are_named(where: str, message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}$"):
        list(select_rows(REQUESTS, [where]))


def test_the_newest_version_is_printed_as_json_lines(project: Path, root: Path) -> None:
    args = ("--where", "verdict=rule_12_short", "--where", "prompt_id=p3", "--limit", "2")
    done = kedro_rows(project, root, "responses", *args)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert rows == [make_numbered(n, verdict="rule_12_short") for n in (3, 7)]


def test_no_text_of_a_row_reaches_the_terminal_as_it_is(project: Path, root: Path) -> None:
    done = kedro_rows(project, root, "responses", "--version", "v1")
    assert done.stdout.isascii()
    assert all(c.isprintable() or c == "\n" for c in done.stdout)
    assert [json.loads(line)["text"] for line in done.stdout.splitlines()] == [HOSTILE] * 3


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ["nonsense"],
            "'nonsense' is no dataset of rows; there are as_is_pairs, assistants, comparisons, ",
        ),
        (
            ["feedback_plan"],
            "'feedback_plan' is no dataset of rows; there are as_is_pairs, assistants",
        ),
        (["prompts"], "prompts: there are no rows yet; run the pipeline that makes them"),
        (
            ["responses", "--version", "v3"],
            "responses: there is no version 'v3'; the newest are v2, v1",
        ),
        (["responses", "--where", "rule=ok"], "--where rule: the rows have response_id, prompt_id"),
    ],
)
def test_what_can_not_be_shown_is_one_clear_line(
    args: list[str], message: str, project: Path, root: Path
) -> None:
    done = kedro_rows(project, root, *args)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"Error: {message}")


def test_a_damaged_file_is_one_clear_line(project: Path, tmp_path: Path) -> None:
    path = tmp_path / "03_primary/responses.parquet/v1/responses.parquet"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"PAR1 and no more")
    done = kedro_rows(project, tmp_path, "responses")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"Error: {path}: cut short, damaged or not")


def test_a_pipe_that_is_closed_early_is_no_error(project: Path, root: Path) -> None:
    command: Any = [sys.executable, "-m", "kedro", "rows", "responses", "--env", "smoke"]
    command += ["--params", f"data_root={root}"]
    with subprocess.Popen(
        command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["response_id"] == "r0"
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0
