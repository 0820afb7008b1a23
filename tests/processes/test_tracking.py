"""MLflow's store: made by several at once, and with its experiment deleted; real SQLite files."""

import multiprocessing
import os
import re
import shlex
import signal
import subprocess
import sys
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from almost_kedro.errors import UserError
from almost_kedro.processes import tracking
from almost_kedro.processes.tracking import EXPERIMENT, Tracker, make_store, open_client

AT_ONCE, TIMES = 3, 2


@pytest.fixture(autouse=True)
def making(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere, stores are copied."""
    monkeypatch.setattr(tracking, "make_store", make_store)


def start_and_end(barrier: Barrier, folder: Path, uri: str) -> None:
    barrier.wait()
    Tracker.start(folder, uri, "run", {}).end("FINISHED")


@pytest.mark.slow
def test_runs_that_make_one_store_at_once_all_have_it(tmp_path: Path) -> None:
    import mlflow  # noqa: F401  # once, before the processes are forked

    fork = multiprocessing.get_context("fork")
    for number in range(TIMES):
        uri = f"sqlite:///{tmp_path}/{number}/mlflow.db"
        barrier = fork.Barrier(AT_ONCE)
        runs = [
            fork.Process(target=start_and_end, args=(barrier, tmp_path, uri))
            for _ in range(AT_ONCE)
        ]
        for run in runs:
            run.start()
        for run in runs:
            run.join()
        assert [run.exitcode for run in runs] == [0] * AT_ONCE
        client = open_client(uri)
        experiment = client.get_experiment_by_name(EXPERIMENT)
        found = client.search_runs([experiment.experiment_id])
        assert [run.info.status for run in found] == ["FINISHED"] * AT_ONCE


@pytest.mark.slow
def test_a_deleted_experiment_is_restored_by_the_command_that_the_line_gives(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "a folder"
    tracker = Tracker.start(folder, None, "run", {})
    tracker.client.delete_experiment(tracker.experiment_id)
    with pytest.raises(UserError, match="experiment 'almost_kedro' was deleted") as caught:
        Tracker.start(folder, None, "run", {})
    assert "\n" not in str(caught.value)
    command = re.search("`(.*)`", str(caught.value))
    assert command
    variable, program, *rest = shlex.split(command[1])
    assert program == "mlflow"
    name, value = variable.split("=", 1)
    subprocess.run(
        [sys.executable, "-m", "mlflow", *rest], env={**os.environ, name: value}, check=True
    )
    assert Tracker.start(folder, None, "run", {}).experiment_id == tracker.experiment_id


def die_at_statement(number: int, folder: Path) -> None:
    """Start a run, killed before this SQL statement; counted from 1."""
    import sqlalchemy

    statements = iter(range(1, number))

    @sqlalchemy.event.listens_for(sqlalchemy.Engine, "before_cursor_execute")
    def count(*_: object) -> None:
        if next(statements, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    Tracker.start(folder, None, "run", {}).end("FINISHED")


@pytest.mark.slow
def test_a_kill_while_a_store_is_made_leaves_none_that_is_half_made(tmp_path: Path) -> None:
    import mlflow  # noqa: F401  # once, before the processes are forked

    fork = multiprocessing.get_context("fork")
    ends = []
    for number in (2, 493, 1200, 100_000):  # 1,683 make a store; 493 is amid a migration
        folder = tmp_path / str(number)
        killed = fork.Process(target=die_at_statement, args=(number, folder))
        killed.start()
        killed.join()
        ends.append(killed.exitcode)
        tracker = Tracker.start(folder, None, "run", {})
        tracker.end("FINISHED")
        assert tracker.client.get_run(tracker.run_id).info.status == "FINISHED"
        assert {path.name for path in folder.iterdir()} == {"mlflow.db", ".mlflow.db.lock"}
    assert ends == [-signal.SIGKILL] * (len(ends) - 1) + [0]
