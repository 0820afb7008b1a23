"""Child processes: real ones, killed for real."""

import json
import os
import pty
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from kept_completions import count_cached, try_sqlite
from waiting import wait_for

from almost_kedro.errors import UserError
from almost_kedro.processes.output import estimate_left
from almost_kedro.processes.progress import MARK, Progress
from almost_kedro.processes.run import TUNABLES, run_program


def write_module(folder: Path, code: str) -> dict[str, str]:
    (folder / "child_program.py").write_text(code)
    return {"PYTHONPATH": str(folder)}


def test_output_is_kept_in_the_log_file(tmp_path: Path) -> None:
    env = write_module(tmp_path, "import sys; print('[bold]as it is[/bold]', sys.argv[1])")
    run_program("child_program", tmp_path / "job.json", tmp_path / "child.log", env)
    assert (tmp_path / "child.log").read_text() == f"[bold]as it is[/bold] {tmp_path}/job.json\n"


@pytest.mark.parametrize("name", TUNABLES)
def test_libraries_are_told_what_suits_our_programs_unless_the_user_says_otherwise(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = write_module(tmp_path, f"import os; print(os.environ[{name!r}])")
    monkeypatch.delenv(name, raising=False)
    run_program("child_program", tmp_path, tmp_path / "ours", env)
    monkeypatch.setenv(name, "7")
    run_program("child_program", tmp_path, tmp_path / "theirs", env)
    assert (tmp_path / "ours").read_text() == f"{TUNABLES[name]}\n"
    assert (tmp_path / "theirs").read_text() == "7\n"


def test_progress_is_a_log_line_where_there_is_no_terminal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    code = (
        "from almost_kedro.processes.progress import Progress\n"
        "progress = Progress('answers [red]', 8, every=0)\n"
        "progress.add_tokens(100)\n"
        "progress.add_rows(2)\n"
        "progress.add_rows(6)\n"
        "progress.finish()\n"
    )
    with caplog.at_level("INFO", logger="almost_kedro"):
        run_program("child_program", tmp_path, tmp_path / "log", write_module(tmp_path, code))
    lines = [r.getMessage() for r in caplog.records if "answers" in r.getMessage()]
    assert len(lines) == 1
    assert lines[0].startswith("answers [red]: 8 of 8")
    assert (tmp_path / "log").read_text() == ""


def test_each_job_of_a_program_shows_its_progress(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    code = (
        "from almost_kedro.processes.progress import Progress\n"
        "for what, total in (('answers a', 8), ('answers b', 4), ('answers b', 4)):\n"
        "    progress = Progress(what, total, every=0)\n"
        "    progress.add_rows(total - 1)\n"
        "    progress.add_rows(1)\n"
        "    progress.finish()\n"
    )
    with caplog.at_level("INFO", logger="almost_kedro"):
        run_program("child_program", tmp_path, tmp_path / "log", write_module(tmp_path, code))
    lines = [r.getMessage() for r in caplog.records if "answers" in r.getMessage()]
    assert lines == ["answers a: 8 of 8", "answers b: 4 of 4", "answers b: 4 of 4"]


def state(**changed: float) -> dict[str, float]:
    known = {"rows": 0, "rows_at_start": 0, "total": 60, "tokens": 0, "seconds": 0}
    return {**known, "asked_rows": 0, "asked_tokens": 0, **changed}


@pytest.mark.parametrize(
    ("changed", "left"),
    [
        # Nothing is known.
        ({}, ""),
        # 20 of 30 rows that were not there before took 40 seconds.
        ({"rows": 50, "rows_at_start": 30, "seconds": 40, "tokens": 7}, "about 20 s left"),
        # The first of 60 ends after a minute, and the others have some 10 tokens each to go, at 100
        # tokens a second. By rows, an hour would be left.
        (
            {"rows": 1, "seconds": 60, "tokens": 6000, "asked_rows": 59, "asked_tokens": 590},
            "about 6 s left",
        ),
        # No row has ended. 30 of 60 are being written, and the others will be.
        (
            {"seconds": 10, "tokens": 1000, "asked_rows": 30, "asked_tokens": 3000},
            "about 60 s left",
        ),
        # The limit says more than rows do.
        (
            {"rows": 30, "seconds": 30, "tokens": 300, "asked_rows": 30, "asked_tokens": 3000},
            "about 30 s left",
        ),
        ({"rows": 60, "seconds": 60, "tokens": 6000}, ""),
    ],
)
def test_what_is_left_is_told_by_rows_or_by_the_tokens_that_they_may_take(
    changed: dict[str, float], left: str
) -> None:
    assert estimate_left(state(**changed)) == left


def test_rows_that_are_written_are_counted_down(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress("answers", 3, every=0)
    progress.ask(3, 10)
    progress.add_tokens(6)  # two of each
    progress.end_row(8)
    progress.add_rows(1)
    progress.add_tokens(2)
    last = json.loads(capsys.readouterr().out.splitlines()[-1].removeprefix(MARK))
    assert (last["asked_rows"], last["asked_tokens"]) == (2, 30 - 6 - 8 - 2)


def test_programs_do_without_what_only_costs_time(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "import transformers.generation\n"
        "found = {'sklearn', 'scipy', 'pandas'} & {n for n, m in sys.modules.items() if m}\n"
        "print(__name__, sys.argv[0].endswith('child_program.py'), found or 'nothing')\n"
    )
    run_program("child_program", tmp_path, tmp_path / "log", write_module(tmp_path, code))
    assert (tmp_path / "log").read_text() == "__main__ True nothing\n"


@pytest.mark.slow
def test_a_broken_progress_line_is_text(tmp_path: Path) -> None:
    code = "print('@progress {\"rows\": 1}[W123] a warning'); print('x\\n' * 100_000)"
    run_program("child_program", tmp_path, tmp_path / "log", write_module(tmp_path, code))
    assert (tmp_path / "log").read_text().startswith('@progress {"rows": 1}[W123] a warning')


def test_progress_is_a_bar_on_a_terminal(tmp_path: Path) -> None:
    code = (
        "from almost_kedro.processes.progress import Progress\n"
        "progress = Progress('answers', 8, every=0)\n"
        "progress.add_tokens(100)\n"
        "progress.add_rows(8)\n"
    )
    env = write_module(tmp_path, code)
    parent = (
        "import pathlib\nfrom almost_kedro.processes.run import run_program\n"
        f"folder = pathlib.Path({str(tmp_path)!r})\n"
        f"run_program('child_program', folder, folder / 'log', {env!r})\n"
    )
    shown, terminal = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-c", parent],
        stderr=terminal,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
        check=False,
    )
    os.close(terminal)
    assert done.returncode == 0
    text = os.read(shown, 65536).decode()
    assert "answers" in text
    assert "8/8" in text
    assert "\u2501" in text  # the bar itself


def test_what_the_user_can_mend_is_one_line(tmp_path: Path) -> None:
    code = "import sys; print('error: option x: too big; lower it', file=sys.stderr); sys.exit(2)"
    with pytest.raises(UserError, match=r"^option x: too big; lower it$"):
        run_program("child_program", tmp_path, tmp_path / "log", write_module(tmp_path, code))


def test_any_other_failure_shows_the_last_lines(tmp_path: Path) -> None:
    env = write_module(tmp_path, "print('before'); raise ValueError('unexpected')")
    with pytest.raises(RuntimeError, match=r"(?s)status 1.*before.*ValueError: unexpected"):
        run_program("child_program", tmp_path, tmp_path / "log", env)


def test_a_killed_program_is_said_to_be_killed(tmp_path: Path) -> None:
    env = write_module(tmp_path, "import os; os.kill(os.getpid(), 9)")
    with pytest.raises(UserError, match=r"killed by SIGKILL.*is kept"):
        run_program("child_program", tmp_path, tmp_path / "log", env)


def test_grandchildren_end_with_the_program(tmp_path: Path) -> None:
    code = (
        "import pathlib, subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "pathlib.Path(sys.argv[1]).write_text(str(child.pid))\n"
    )
    run_program("child_program", tmp_path / "pid", tmp_path / "log", write_module(tmp_path, code))
    wait_for(lambda: not is_running(int((tmp_path / "pid").read_text())), 10)


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def start_kedro(project: Path, root: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "kedro", "run", "--pipeline", "synthetic_feedback"]
    command += ["--env", "smoke", "--params", f"data_root={root}"]
    # Ctrl-C must reach Python even where the test runner's own parent ignores it.
    return subprocess.Popen(
        command,
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def find_worker(root: Path) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(str(root) in part for part in process.info["cmdline"] or [])
        and "almost_kedro.generation.worker" in (process.info["cmdline"] or [])
        and is_running(process.pid)
    ]


def read_statuses(root: Path) -> set[str]:
    """How MLflow says that the runs of a data root ended."""
    with sqlite3.connect(root / "08_reporting/mlflow/mlflow.db") as db:
        return {status for (status,) in db.execute("SELECT status FROM runs")}


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL, "worker"])
def test_nothing_generated_is_lost_or_generated_again(
    how: Any, project: Path, tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    """Ctrl-C, scancel, kill -9 of Kedro, kill -9 of the worker: amid the generation."""
    kedro = start_kedro(project, tmp_path)
    wait_for(try_sqlite(lambda: count_cached(tmp_path) >= 5))
    workers = find_worker(tmp_path)
    assert workers
    if how == "worker":
        workers[0].kill()
    else:
        os.kill(kedro.pid, how)
    output, _ = kedro.communicate(timeout=60)
    assert kedro.returncode != 0
    wait_for(lambda: not find_worker(tmp_path), 20)
    if how == "worker":
        assert output.splitlines()[-1].startswith(
            "Error: almost_kedro.generation.worker was killed"
        )
    assert not list(tmp_path.glob("*/prompts.jsonl/*/*"))
    if how in (signal.SIGINT, signal.SIGTERM):
        assert read_statuses(tmp_path) == {"KILLED"}
    before = count_cached(tmp_path)

    again = start_kedro(project, tmp_path)
    output, _ = again.communicate(timeout=300)
    assert again.returncode == 0, output
    costs = [
        json.loads(f.read_text()) for f in tmp_path.glob("04_feature/generation/*/metrics.json")
    ]
    assert sum(cost["requests_generated"] for cost in costs) == count_cached(tmp_path) - before
