"""Names of runs: what each means, and what is said of one that means none."""

import pytest

from almost_kedro.commands.compare.runs import Run, find_run
from almost_kedro.errors import UserError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def make_run(session: str, id_: str, **values: object) -> Run:
    fields = {
        "id": id_,
        "session": session,
        "started": 1_767_226_200_000,  # 2026-01-01 00:10 UTC
        "ended": None,
        "pipelines": "rl",
        "env": "base",
        "status": "FINISHED",
        "commit": COMMIT,
        "options": {},
        "versions": {},
    }
    return Run(**(fields | values))  # type: ignore[arg-type]


NEW = make_run("2026-03-02T10.00.00.000Z", "abc1")
OLD = make_run("2026-03-01T10.00.00.000Z", "abd2")
RUNS = [NEW, OLD]


@pytest.mark.parametrize(
    ("name", "run"),
    [
        ("latest", NEW),
        ("latest~0", NEW),
        ("latest~1", OLD),
        (OLD.session, OLD),
        ("2026-03-01", OLD),
        ("abd2", OLD),
        ("abc", NEW),
    ],
)
def test_a_run_is_found_by_each_of_its_names(name: str, run: Run) -> None:
    assert find_run(RUNS, name, "here") is run


def test_a_whole_id_is_no_beginning_of_another() -> None:
    longer = make_run("2026-03-03T10.00.00.000Z", "abc12")
    assert find_run([longer, NEW], "abc1", "here") is NEW


def test_a_name_of_two_runs_is_refused_with_both() -> None:
    with pytest.raises(UserError) as error:
        find_run(RUNS, "ab", "here")
    assert str(error.value) == (
        "run 'ab' may be any of 2 here: 2026-03-02T10.00.00.000Z (abc1), "
        "2026-03-01T10.00.00.000Z (abd2); write more of one"
    )


@pytest.mark.parametrize("name", ["nope", "", "latest~", "latest~-1", "Latest", "../../x"])
def test_a_name_of_no_run_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(UserError) as error:
        find_run(RUNS, name, "here")
    assert str(error.value) == (
        f"there is no run {name!r} here; there are 2026-03-02T10.00.00.000Z, "
        "2026-03-01T10.00.00.000Z: `kedro compare` lists them"
    )


def test_further_back_than_the_first_run_is_refused() -> None:
    with pytest.raises(UserError, match="there is no run 'latest~2' here; there are 2"):
        find_run(RUNS, "latest~2", "here")


def test_without_runs_the_remedy_is_to_make_one() -> None:
    with pytest.raises(UserError, match="there are no runs here; run `kedro run` first"):
        find_run([], "latest", "here")


def test_a_hostile_name_is_repeated_harmlessly_and_in_part() -> None:
    with pytest.raises(UserError) as error:
        find_run(RUNS, "\x1b[31m\u202e" + "x" * 1_000_000, "here")
    assert r"'\x1b[31m\u202exxx" in str(error.value)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 300


def test_times_and_commits_are_written_short() -> None:
    run = make_run("", "", ended=1_767_226_201_500, commit=COMMIT + "-dirty")
    assert (run.when, run.seconds) == ("2026-01-01 00:10 UTC", 1.5)
    assert run.short_commit == "01234567-dirty"
    assert make_run("", "", commit="unknown").short_commit == "unknown"
