"""Trainings over several machines: who is called, when, and until when."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import some_part
from waiting import wait_for

from almost_kedro.processes import machines
from almost_kedro.processes.machines import (
    NOTE,
    answer_calls,
    call_machines,
    dismiss_machines,
    read_call,
)


class Machine:
    """The second of two, in a thread."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.thread = threading.Thread(
            target=answer_calls, args=(folder, "some_part", 1), daemon=True
        )
        self.thread.start()

    def write_job(self, name: str, seconds: float = 60, status: int = 0) -> Path:
        file = self.folder / f"{name}.json"
        file.write_text(json.dumps({"seconds": seconds, "status": status}))
        return file

    def list_parts(self, job: Path) -> list[int]:
        """The processes that were started for a job."""
        file = job.with_suffix(".started")
        lines = file.read_text().splitlines() if file.is_file() else []
        assert all(line.startswith("1 ") for line in lines)
        return [int(line.split()[1]) for line in lines]

    def wait_for_parts(self, job: Path, n: int) -> list[int]:
        wait_for(lambda: len(self.list_parts(job)) == n)
        return self.list_parts(job)

    def has_ended(self) -> bool:
        self.thread.join(10)
        return not self.thread.is_alive()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    monkeypatch.setenv("PYTHONPATH", str(Path(some_part.__file__).parent))
    monkeypatch.setattr(machines, "LOOK", 0.02)
    found = Machine(tmp_path)
    yield found
    dismiss_machines(tmp_path)
    assert found.has_ended()


def test_it_takes_part_in_one_training_after_the_other(machine: Machine) -> None:
    for name in ("sft", "rl"):
        job = machine.write_job(name, seconds=0.1)
        with call_machines(machine.folder, job):
            wait_for(job.with_suffix(".ended").exists)
        assert read_call(machine.folder) is None
        machine.wait_for_parts(job, 1)


def test_a_training_that_goes_on_is_another_call(machine: Machine) -> None:
    """Kedro was killed, and the note is still there when it starts again."""
    job = machine.write_job("sft")
    killed = call_machines(machine.folder, job)
    killed.__enter__()
    [first] = machine.wait_for_parts(job, 1)
    with call_machines(machine.folder, job):
        _, second = machine.wait_for_parts(job, 2)
        assert not psutil.pid_exists(first)
        assert psutil.pid_exists(second)


def test_a_part_that_outlives_the_first_machines_is_ended(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machines, "GRACE", 0.5)
    job = machine.write_job("sft")
    with call_machines(machine.folder, job):
        [part] = machine.wait_for_parts(job, 1)
    assert psutil.pid_exists(part)  # the first machine's may have ended a little earlier
    wait_for(lambda: not psutil.pid_exists(part))
    assert machine.thread.is_alive()


def test_a_part_that_fails_does_not_end_the_waiting(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    job = machine.write_job("sft", seconds=0, status=2)
    with caplog.at_level("INFO", logger="almost_kedro"), call_machines(machine.folder, job):
        machine.wait_for_parts(job, 1)
        wait_for(lambda: any("its part ended with status 2" in line for line in caplog.messages))
        # One call is answered once.
        assert len(machine.list_parts(job)) == 1
    other = machine.write_job("rl", seconds=0)
    with call_machines(machine.folder, other):
        machine.wait_for_parts(other, 1)


def test_the_end_of_the_run_ends_it_and_what_it_runs(machine: Machine) -> None:
    job = machine.write_job("sft")
    with call_machines(machine.folder, job):
        [part] = machine.wait_for_parts(job, 1)
    dismiss_machines(machine.folder)
    assert machine.has_ended()
    assert not psutil.pid_exists(part)


def test_the_end_of_an_earlier_run_is_not_that_of_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(some_part.__file__).parent))
    monkeypatch.setattr(machines, "LOOK", 0.02)
    dismiss_machines(tmp_path)
    machine = Machine(tmp_path)
    job = machine.write_job("sft", seconds=0)
    with call_machines(tmp_path, job):
        machine.wait_for_parts(job, 1)
    dismiss_machines(tmp_path)
    assert machine.has_ended()


def test_a_machine_that_comes_late_finds_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(some_part.__file__).parent))
    monkeypatch.setattr(machines, "LOOK", 0.02)
    job = tmp_path / "sft.json"
    job.write_text(json.dumps({"seconds": 0, "status": 0}))
    with call_machines(tmp_path, job):
        machine = Machine(tmp_path)
        machine.wait_for_parts(job, 1)
    dismiss_machines(tmp_path)
    assert machine.has_ended()


def test_a_folder_that_nobody_has_made_has_no_call_and_nobody_to_dismiss(tmp_path: Path) -> None:
    assert read_call(tmp_path / "work") is None
    dismiss_machines(tmp_path / "work")
    assert not (tmp_path / "work").exists()


def test_no_half_written_note_is_left(tmp_path: Path) -> None:
    with call_machines(tmp_path, tmp_path / "job.json"):
        assert [file.name for file in tmp_path.iterdir()] == [NOTE]
    assert list(tmp_path.iterdir()) == []
