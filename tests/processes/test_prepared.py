"""Programs that start by forking from a prepared process are like those that start plainly."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from smoke_runs import run_smoke
from waiting import wait_for

from almost_kedro.errors import UserError
from almost_kedro.processes import prepared, run
from almost_kedro.processes.run import build_environment, run_program

# What a program may know of how it was started.
FACTS = """
import json, os, signal, sys
import torch, transformers.modeling_utils
facts = {
    "name": __name__,
    "arguments": sys.argv[1:],
    "file": os.path.basename(sys.argv[0]),
    "folder": os.getcwd(),
    "environment": dict(os.environ),
    "title": open("/proc/self/cmdline").read().replace(chr(0), " ").strip(),
    "open": sorted(os.listdir("/proc/self/fd")),
    "own session": os.getsid(0) == os.getpgid(0) == os.getpid(),
    "signals": [repr(signal.getsignal(n)) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)],
    "hidden": sys.modules["scipy"],
    "sum": float((torch.ones(2000, 2000) @ torch.ones(2000, 2000)).sum()),
    "threads": torch.get_num_threads(),
}
print(json.dumps(facts))
"""


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of programs; the prepared process finds them, as does any other."""
    folder = tmp_path_factory.mktemp("programs")
    (folder / "facts_program.py").write_text(FACTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        # Which test runs, in its environment.
        patch.setattr(prepared, "LATE", (*prepared.LATE, "PYTEST_CURRENT_TEST"))
        patch.setattr(prepared.Prepared, "start", start_and_count)
        prepared.prepare()
        yield folder
        prepared.end_prepared()


forks = 0
fork_program = prepared.Prepared.start


def start_and_count(self: prepared.Prepared, *args: Any) -> prepared.Child | None:
    global forks
    child = fork_program(self, *args)
    forks += child is not None
    return child


def start_sleeper(programs: Path, server: prepared.Prepared) -> prepared.Child:
    """A program that runs for a minute. It is none of ours: it does not watch its lifeline."""
    (programs / "sleeps.py").write_text("import time; print('began', flush=True); time.sleep(60)")
    sleeper = server.start(["sleeps"], build_environment(), None)
    assert sleeper
    assert sleeper.stdout.readline() == "began\n"
    return sleeper


def run_code(programs: Path, code: str, folder: Path) -> str:
    """Run a program of this text; return what it printed."""
    name = f"program_{time.monotonic_ns()}"
    (programs / f"{name}.py").write_text(code)
    run_program(name, folder / "job.json", folder / "log")
    return (folder / "log").read_text()


def read_facts(folder: Path) -> dict[str, Any]:
    env = {"ALMOST_KEDRO_OWN": "a key", "MLFLOW_RUN_ID": "abc"}
    run_program("facts_program", folder / "a job.json", folder / "log", env)
    facts: dict[str, Any] = json.loads((folder / "log").read_text())
    return facts


def test_a_program_can_not_tell_how_it_was_started(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = forks
    found = read_facts(tmp_path)
    assert forks == before + 1
    with monkeypatch.context() as patch:
        patch.setattr(prepared, "_wanted", False)
        wanted = read_facts(tmp_path)
    assert drop_test(found) == drop_test(wanted)
    assert wanted["own session"]
    assert wanted["environment"]["ALMOST_KEDRO_OWN"] == "a key"
    assert "ALMOST_KEDRO_OWN" not in read_environment(tmp_path)


def drop_test(facts: dict[str, Any]) -> dict[str, Any]:
    """Without the test that runs, which the prepared process does not know."""
    del facts["environment"]["PYTEST_CURRENT_TEST"]
    return facts


def read_environment(folder: Path) -> dict[str, str]:
    """The environment of a program without variables of its own, after one that had some."""
    run_program("facts_program", folder / "job.json", folder / "log")
    environment: dict[str, str] = json.loads((folder / "log").read_text())["environment"]
    return environment


def test_it_starts_at_once(programs: Path, tmp_path: Path) -> None:
    read_facts(tmp_path)  # waits for torch
    start = time.perf_counter()
    run_code(programs, "import torch, transformers.modeling_utils", tmp_path)
    assert time.perf_counter() - start < 2.0  # plainly: 5 s and more


@pytest.mark.parametrize("way", ["prepared", "plain"])
def test_each_end_is_told(
    way: str, programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = forks
    if way == "plain":
        monkeypatch.setattr(prepared, "_wanted", False)
    assert run_code(programs, "print('[as] it is')", tmp_path) == "[as] it is\n"
    line = "import sys; print('error: option x: too big', file=sys.stderr); sys.exit(2)"
    with pytest.raises(UserError, match=r"^option x: too big$"):
        run_code(programs, line, tmp_path)
    with pytest.raises(RuntimeError, match=r"(?s)status 1.*before.*ValueError: unexpected"):
        run_code(programs, "print('before'); raise ValueError('unexpected')", tmp_path)
    with pytest.raises(UserError, match=r"killed by SIGKILL"):
        run_code(programs, "import os; os.kill(os.getpid(), 9)", tmp_path)
    at_the_end = "import atexit; atexit.register(print, 'last', end=''); print('first', end=' ')"
    assert run_code(programs, at_the_end, tmp_path) == "first last"
    monkeypatch.undo()
    assert forks == before + (5 if way == "prepared" else 0)


def test_no_two_programs_draw_the_same_by_chance(programs: Path, tmp_path: Path) -> None:
    code = (
        "import random, uuid, tempfile, torch\n"
        "print(random.random(), torch.randn(1), uuid.uuid4(), tempfile.mktemp())\n"
    )
    first, second = (run_code(programs, code, tmp_path).split() for _ in range(2))
    assert not set(first) & set(second)


def test_a_variable_that_libraries_read_early_starts_it_plainly(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "import os, torch; print(os.environ['OMP_NUM_THREADS'], torch.get_num_threads())"
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    before = forks
    assert run_code(programs, code, tmp_path) == "2 2\n"
    assert forks == before


def test_programs_run_beside_each_other(programs: Path, tmp_path: Path) -> None:
    """Each ends for itself; the one that started later does not hold the other's streams open."""
    assert prepared._prepared
    sleeper = start_sleeper(programs, prepared._prepared)
    assert run_code(programs, "print('done')", tmp_path) == "done\n"
    with pytest.raises(subprocess.TimeoutExpired):
        sleeper.wait(0.1)
    sleeper.stdin.close()
    os.killpg(sleeper.pid, 15)
    assert sleeper.wait(30) == -15
    assert sleeper.wait() == -15
    assert sleeper.stdout.read() == ""
    sleeper.stdout.close()


@pytest.mark.slow
def test_where_the_prepared_process_dies_programs_start_plainly(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = prepared.Prepared(build_environment())
    monkeypatch.setattr(prepared, "_prepared", mine)
    assert run_code(programs, "print(1)", tmp_path) == "1\n"
    sleeper = start_sleeper(programs, mine)
    mine.end()
    assert sleeper.wait(30) == -9  # nobody could tell how it ends, so it does not go on
    sleeper.close()
    assert run_code(programs, "print(2)", tmp_path) == "2\n"


def test_it_ends_with_its_parent(programs: Path) -> None:
    """At once if it is ready, and after an import at most if it is not."""
    code = (
        "import time\n"
        "from almost_kedro.processes import prepared\n"
        "from almost_kedro.processes.run import build_environment\n"
        "prepared._prepared = prepared.Prepared(build_environment())\n"
        "print(prepared._prepared._process.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    server = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_for(lambda: not psutil.pid_exists(server), 30)


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_models")
def test_all_programs_of_a_run_start_so(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forked = []
    start = prepared.start_prepared
    monkeypatch.setattr(
        run, "start_prepared", lambda *args: forked.append(start(*args)) or forked[-1]
    )
    run_smoke(project, tmp_path, {"prompt_generation": {"n_prompts": 2}})
    assert len(forked) >= 2
    assert all(forked)
    assert prepared._prepared is None


@pytest.mark.parametrize("found", ["gpu", "vllm", "macOS", "old Linux"])
def test_it_keeps_away_from_what_can_not_be_forked(
    found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert prepared.fits()
    if found == "gpu":
        monkeypatch.setattr(prepared, "GPUS", (Path("/dev/null"),))
    elif found == "vllm":
        monkeypatch.setattr(prepared, "find_spec", lambda name: name == "vllm" or None)
    elif found == "macOS":
        monkeypatch.setattr(sys, "platform", "darwin")
    else:
        monkeypatch.setattr(os, "pidfd_open", lambda pid: os.stat("/nothing"))
    assert not prepared.fits()
