"""docs/using.md as it stands: each of its commands, in order, on a finished run."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import NamedTuple

import pytest
from hub_server import TOKEN, HubServer, serve_hub
from page_commands import list_commands, list_snippets
from vote_sample import make_votes_file, read_page

# How commands begin that need what is not here, and why.
ELSEWHERE = {
    "curl http://127.0.0.1:8000/": "asks vLLM; test_serve.py does, in an environment of its own",
    "python convert_hf_to_gguf.py": "is of llama.cpp",
    "llama-completion": "is of llama.cpp",
    "llama-server": "is of llama.cpp",
}
# Commands that can't be run as they stand: why not, and what is run instead, if anything.
INSTEAD = {
    "kedro serve rl": ("vLLM has an environment of its own", "kedro serve rl --print"),
    "kedro serve rl --port 8001 --max-model-len 2048": (
        "vLLM has an environment of its own",
        "kedro serve rl --port 8001 --max-model-len 2048 --print",
    ),
    "kedro serve reward_model": (
        "vLLM has an environment of its own",
        "kedro serve reward_model --print",
    ),
    "kedro vote rl sft --questions 30 --to ask.html --seed 1": (
        "this run has five questions",
        "kedro vote rl sft --questions 3 --to ask.html --seed 1",
    ),
    "kedro run --params dialogue=chat_template": (
        "trains everything anew; test_chat_template_smoke.py does",
        "",
    ),
}
# They compute with models or hold the data root, so they run one after the other.
ALONE = ("kedro chat", "kedro score", "kedro vote")
SNIPPETS = "python snippets.py"
# Without a terminal, a chat reads lines; other commands read none.
TYPED = "How do I boil an egg?\nAnd a potato?\n"


class Done(NamedTuple):
    """What became of a command of the page; `ran` is what was run in its place."""

    command: str
    ran: str
    process: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def page(project: Path) -> str:
    return (project / "docs/using.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def place(project: Path, evaluated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose `kedro run` was that of the smoke environment."""
    place = tmp_path_factory.mktemp("using")
    for name in ("assets", "conf", "src"):
        shutil.copytree(project / name, place / name)
    for name in ("pyproject.toml", ".telemetry"):
        shutil.copy(project / name, place)
    (place / "data/01_raw").mkdir(parents=True)
    evaluated.rename(place / "data/smoke")
    (place / "data/01_raw/models").symlink_to(project / "data/01_raw/models")
    return place


@pytest.fixture(scope="module")
def hub() -> Iterator[HubServer]:
    with serve_hub() as server:
        yield server


@pytest.fixture(scope="module")
def environment(place: Path, hub: HubServer) -> dict[str, str]:
    """What the reader has set: the environment, and a token for the hub."""
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(place / "src"),
        "KEDRO_ENV": "smoke",
        "HF_HOME": str(place / "cache"),
        "HF_TOKEN": TOKEN,
        "HF_ENDPOINT": hub.url,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "0",
        "TRANSFORMERS_OFFLINE": "0",
    }


@pytest.fixture(scope="module")
def done(page: str, place: Path, environment: dict[str, str]) -> list[Done]:
    """Every command of the page that can be run here, and its snippets, two at a time.

    Each waits for the one before it of its kind, and for what writes a file that it names.
    """
    write_snippets(page, place)
    planned = [*plan_commands(list_commands(page)), (SNIPPETS, SNIPPETS)]
    written = {file: Event() for _, ran in planned for file in find_written(ran)}

    def run_all(those: list[tuple[str, str]]) -> list[Done]:
        return [run(command, ran, place, environment, written) for command, ran in those]

    alone = [each for each in planned if each[0].startswith(ALONE)]
    with ThreadPoolExecutor() as pool:
        others = pool.submit(run_all, [each for each in planned if each not in alone])
        return run_all(alone) + others.result()


def plan_commands(commands: list[str]) -> list[tuple[str, str]]:
    """The commands of a page that something is run for, with what is run."""
    planned = [
        (command, INSTEAD.get(command, ("", command))[1])
        for command in commands
        if not command.startswith(tuple(ELSEWHERE))
    ]
    return [(command, ran) for command, ran in planned if ran]


def find_written(command: str) -> list[str]:
    return re.findall("> ([^ ]+)", command)


def run(
    command: str, ran: str, place: Path, environment: dict[str, str], written: dict[str, Event]
) -> Done:
    own = find_written(ran)
    for file in written.keys() & set(ran.split()) - set(own):
        assert written[file].wait(600), file
    if "--count" in command:
        let_people_vote(place, [word for word in command.split() if word.endswith(".json")])
    process = subprocess.run(
        ["bash", "-c", ran],
        cwd=place,
        env=environment,
        input=TYPED,
        capture_output=True,
        text=True,
        check=False,
    )
    for file in own:
        written[file].set()
    return Done(command, ran, process)


def let_people_vote(place: Path, files: list[str]) -> None:
    """Save what a browser would; each person has a favourite place."""
    page = read_page(place / "vote.html")
    for name, choice in zip(files, ("left", "right"), strict=True):
        votes = [(question["vote_id"], choice) for question in page["questions"]]
        saved = make_votes_file(page["page"], votes, voter=name, ballot=name.encode().hex())
        (place / name).write_text(json.dumps(saved))


def write_snippets(page: str, place: Path) -> None:
    """The snippets of the page with the newest versions in their paths, and what they came to."""

    def find(match: re.Match[str]) -> str:
        [*_, newest] = sorted((place / "data/smoke" / match[1]).iterdir())
        return f'"{newest}/'

    code = re.sub(r'"data/([^"]+)/VERSION/', find, "\n".join(list_snippets(page)))
    assert "VERSION" not in code
    told = "print(*rows, end=f', {judge.model.num_labels} label, ')"
    trained = "print('trained' if trainer.state.global_step else 'not trained')"
    (place / "snippets.py").write_text(f"{code}\n{told}\n{trained}\n")


def find_output(done: list[Done], command: str) -> list[str]:
    [found] = [each.process.stdout for each in done if each.command == command]
    return found.splitlines()


def test_every_command_is_run_or_named_with_a_reason(page: str) -> None:
    commands = list_commands(page)
    assert len([each for each in commands if each.startswith("kedro ")]) > 20
    assert set(INSTEAD) <= set(commands)
    assert all(any(each.startswith(start) for each in commands) for start in ELSEWHERE)


@pytest.mark.slow
def test_every_command_works_as_it_stands(done: list[Done]) -> None:
    failed = {
        each.ran: each.process.stderr[-2000:]
        for each in done
        if each.process.returncode or "Traceback" in each.process.stderr
    }
    assert failed == {}
    assert [each.ran for each in done if not (each.process.stdout or ">" in each.ran)] == []


@pytest.mark.slow
def test_they_leave_what_the_page_says(done: list[Done], place: Path, hub: HubServer) -> None:
    answers = [json.loads(line) for line in (place / "answers.jsonl").open()]
    assert [row["policy"] for row in answers] == ["sft", "rl"] * 2
    assert [row["question"] for row in answers[::2]] == [
        "Why is the sky blue?",
        "How do I boil an egg?",
    ]
    assert len(find_output(done, "kedro score answers.jsonl")) == len(answers)
    assert len(find_output(done, "kedro score pairs.jsonl")) == len(
        (place / "pairs.jsonl").read_text().splitlines()
    )
    for folder, kind in (
        ("pairs", "parquet"),
        ("demonstrations", "parquet"),
        ("dialogues", "jsonl"),
    ):
        assert list((place / folder).glob(f"data/train*.{kind}"))
    assert {name: (repo.kind, repo.private) for name, repo in hub.repos.items()} == {
        "ann/aligned": ("model", False),
        "ann/reward": ("model", True),
        "ann/pairs": ("dataset", False),
    }
    assert (place / "ask.html").is_file()
    [people] = [
        line
        for line in find_output(done, "kedro vote --count ada.json bob.json")
        if "people" in line
    ]
    assert people.split() == ["people", "2"]


@pytest.mark.slow
def test_a_chat_answers_what_is_typed(done: list[Done]) -> None:
    lines = find_output(done, "kedro chat base prompted sft rl")
    assert lines[0] == "base | prompted | sft | rl: /help lists the commands"
    assert len([line for line in lines if re.match(r"\[\d+ tokens?, ", line)]) == 8


@pytest.mark.slow
def test_the_snippets_run_on_what_the_commands_left(done: list[Done]) -> None:
    """Paths apart, they stand in one file as they stand on the page."""
    assert find_output(done, SNIPPETS)[-1] == "train test judge, 1 label, trained"
