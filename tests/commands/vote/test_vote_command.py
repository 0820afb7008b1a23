"""`kedro vote`, as a user meets it."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from kedro.framework.context import KedroContext
from kedro.framework.startup import bootstrap_project
from sessions import kedro, read_document
from vote_sample import DATA, make_votes_file, read_key, read_page, write_dataset, write_root

from almost_kedro.cli.project import load_context
from almost_kedro.commands.vote.command import make_page
from almost_kedro.commands.vote.count import count_files
from almost_kedro.errors import UserError
from almost_kedro.processes.locks import RootLock

HOSTILE = "</script><script>alert(1)</script>\x1b[31m\u202e[red]"


def kedro_vote(project: Path, root: Path, *args: Any) -> subprocess.CompletedProcess[str]:
    params = ("--env", "smoke", "--params", f"data_root={root}")
    return kedro(project, "vote", *map(str, args), *params)


def open_root(project: Path, root: Path) -> KedroContext:
    bootstrap_project(project)
    return load_context(project, "smoke", {"data_root": str(root)})


def vote_here(
    project: Path, root: Path, *names: str, n: int | None = None, to: str | Path | None = None
) -> str:
    """What is wrong with a page that can't be made."""
    with pytest.raises(UserError) as caught:
        make_page(open_root(project, root), names, n, Path(to or root / "no.html"), None)
    return str(caught.value)


def count_here(project: Path, root: Path, *files: Path) -> str:
    """What is wrong with files that can't be counted."""
    with pytest.raises(UserError) as caught:
        count_files(open_root(project, root), files)
    return str(caught.value)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_root(tmp_path_factory.mktemp("root"), HOSTILE)


@pytest.fixture(scope="module")
def page(project: Path, root: Path) -> Path:
    """A page of sft and base with all five questions."""
    path = root / "page.html"
    done = kedro_vote(project, root, "sft", "base", "--to", path, "--seed", 3)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == f"page: {path} (5 questions)"
    return path


def save_votes(path: Path, page: Path, choices: list[str], **fields: Any) -> Path:
    shown = read_page(page)
    ids = [question["vote_id"] for question in shown["questions"]]
    votes = list(zip(ids, choices, strict=True))
    path.write_text(json.dumps(make_votes_file(shown["page"], votes, **fields)))
    return path


def test_a_page_has_both_answers_and_no_name(page: Path, root: Path) -> None:
    shown, key = read_page(page), read_key(root)
    assert shown["page"] == key["page"]
    for question, hidden in zip(shown["questions"], key["questions"], strict=True):
        sides = [question["left"], question["right"]]
        if hidden["a_is"] == "right":
            sides.reverse()
        assert [side.split()[0] for side in sides] == ["sft", "base"]
        assert question["question"].startswith(f"{hidden['item_id']}? ")
        assert re.fullmatch("[0-9a-f]{16}", question["vote_id"])
        assert set(question) == {"vote_id", "question", "left", "right"}
    assert set(shown) == {"page", "questions", "form"}
    rest = DATA.sub("", page.read_text())
    for word in ("sft", "prompted", "reward", "open_answers", "open-", str(root)):
        assert word not in rest, word


def test_the_same_arguments_make_the_same_page(project: Path, root: Path, page: Path) -> None:
    again = root / "again.html"
    make_page(open_root(project, root), ("sft", "base"), None, again, 3)
    assert again.read_bytes() == page.read_bytes()
    make_page(open_root(project, root), ("sft", "base"), 2, again, None)
    assert len(read_page(again)["questions"]) == 2


def test_policies_of_two_stages_are_compared_too(project: Path, root: Path) -> None:
    file = root / "rl.html"
    make_page(open_root(project, root), ("rl", "base"), None, file, None)
    sources = sorted(question["source"] for question in read_key_of(root, file))
    assert sources == ["open_answers"] * 3 + ["rl_answers+sft_answers"] * 2


def test_votes_are_counted_by_hand(project: Path, root: Path, page: Path) -> None:
    sides = [question["a_is"] for question in read_key_of(root, page)]
    other = {"left": "right", "right": "left"}
    ada = [sides[0], sides[1], sides[2], "tie", "skip"]
    bob = [sides[0], other[sides[1]], sides[2], "tie", other[sides[4]]]
    files = [
        save_votes(root / "ada.json", page, ada, voter="Ada", ballot="a"),
        save_votes(root / "bob.json", page, bob, voter="Bob", ballot="b"),
    ]
    done = kedro_vote(project, root, "--count", *files)
    assert done.returncode == 0, done.stderr
    [found] = read_document(root, "human_votes_metrics")["pages"]
    assert (found["model_a"], found["model_b"]) == ("sft", "base")
    assert (found["n_people"], found["n_votes"], found["n_skipped"]) == (2, 9, 1)
    assert (found["wins_a"], found["ties"], found["wins_b"]) == (5, 2, 2)
    assert found["win_rate"]["value"] == pytest.approx(6 / 9)
    assert found["agreement"]["value"] == 3 / 4
    assert found["answers"] == {"open_answers": "v1", "sft_answers": "v1"}
    # A majority: sft on the questions 0 and 2, base on the last.
    for name, kind, right in (
        ("judge", "open_answers", "sft"),
        ("reward_model", "sft_answers", "sft"),
        ("held_out_reward_model", "sft_answers", "base"),
    ):
        sources = [question["source"] for question in read_key_of(root, page)]
        asked = [most for n, most in ((0, "sft"), (2, "sft"), (4, "base")) if sources[n] == kind]
        share = found["judges"].get(name, {"n": 0, "value": None})
        assert share["n"] == len(asked)
        assert not asked or share["value"] == pytest.approx(asked.count(right) / len(asked))
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "wins of sft 5" in lines
    assert any(line.startswith("win rate of sft (a tie is half) 66.7% [") for line in lines)
    assert "questions with a vote 5 of 5" in lines


def read_key_of(root: Path, page: Path) -> Any:
    """The questions of a page's key."""
    digest = read_page(page)["page"]
    keys = map(
        json.loads, (p.read_text() for p in root.glob("08_reporting/human_vote_key.json/*/*"))
    )
    return next(key["questions"] for key in keys if key["page"] == digest)


def test_a_file_given_twice_counts_once(
    project: Path, root: Path, page: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = save_votes(root / "one.json", page, ["left"] * 5)
    count_files(open_root(project, root), [file, file])
    said = capsys.readouterr().out
    assert said.startswith("1 older or equal: the same browser saved again")
    [found] = read_document(root, "human_votes_metrics")["pages"]
    assert (found["n_people"], found["n_votes"]) == (1, 5)


@pytest.mark.parametrize(
    ("names", "how", "message"),
    [
        ([], {}, "give two of base, prompted, sft, rl, dpo; found 0"),
        (["sft"], {}, "give two of base, prompted, sft, rl, dpo; found 1"),
        (["sft", "best"], {}, "policy 'best': unknown; there are base, prompted, sft, rl, dpo"),
        (["sft", "sft"], {}, "policy 'sft' twice: a vote is between two"),
        (["sft", "base"], {"n": 6}, "--questions 6: there are 5 that both answered"),
        (["sft", "base"], {"to": "/nowhere/x.html"}, "page /nowhere/x.html: there is no folder"),
        (["sft", "base"], {"to": "/proc"}, "page /proc: could not be written: "),
    ],
)
def test_a_page_that_can_not_be_made_is_explained(
    names: list[str], how: dict[str, Any], message: str, project: Path, root: Path
) -> None:
    assert vote_here(project, root, *names, **how).startswith(message)


def test_a_failure_is_one_clear_line(project: Path, root: Path) -> None:
    for args, message in (
        (("--count", "x.json", "--seed", 1), "--count: --questions, --to and --seed are for a new"),
        (("--count", "/nowhere.json"), "/nowhere.json: could not be read: No such file or "),
    ):
        done = kedro_vote(project, root, *args)
        assert done.returncode == 1
        assert done.stdout == ""
        assert "Traceback" not in done.stderr
        assert done.stderr.splitlines()[-1].startswith(f"Error: {message}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\x00", "no votes file: Invalid JSON"),
        (b"[" * 100_000, "no votes file: Invalid JSON"),
        (b"[]", "no votes file: Input should be an object"),
        (json.dumps({**make_votes_file("x", {}), "\x1b[31m": 1}).encode(), "no votes file: \\x1b["),
        (
            json.dumps(make_votes_file("x", {"v": "both"})).encode(),
            "no votes file: votes.0.choice: Input should be 'left', 'right', 'tie' or 'skip'",
        ),
        (
            json.dumps(make_votes_file("f" * 64, {"v": "tie"})).encode(),
            "votes on page 'fffffffffffffffffff, which is not from this data root",
        ),
    ],
)
def test_what_is_no_votes_file_of_this_root_is_one_clear_line(
    content: bytes, message: str, project: Path, root: Path, tmp_path: Path
) -> None:
    file = tmp_path / "votes.json"
    file.write_bytes(content)
    assert count_here(project, root, file).startswith(f"{file}: {message}")


def test_counting_nothing_is_refused(project: Path, root: Path) -> None:
    assert count_here(project, root).startswith("--count: give the files that the voters saved")


def test_without_answers_nothing_is_made(project: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    message = vote_here(project, gone, "sft", "base", to=tmp_path / "page.html")
    assert message.startswith(f"data root {gone}: there is no such folder")
    assert not gone.exists()
    page = tmp_path / "page.html"
    write_dataset(tmp_path, "03_primary/open_questions.jsonl", [])
    message = vote_here(project, tmp_path, "sft", "base", to=page)
    assert message.startswith("sft and base: there is no question that both answered")
    assert not page.exists()


def test_a_root_that_a_run_works_on_is_left_alone(project: Path, root: Path) -> None:
    lock = RootLock()
    lock.acquire(root)
    try:
        message = vote_here(project, root, "sft", "base")
    finally:
        lock.release()
    assert message.startswith(f"data root {root}: in use by another run")
    assert not (root / "no.html").exists()
