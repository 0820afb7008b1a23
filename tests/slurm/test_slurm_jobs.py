"""One program as a job of a real Slurm, and each way in which a job ends."""

import logging
import re
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from slurm_cluster import ask, find_job, list_my_jobs, start_now
from slurm_programs import make_program
from waiting import wait_for

from almost_kedro.errors import UserError
from almost_kedro.options.launch import LaunchOptions
from almost_kedro.options.slurm import SlurmOptions
from almost_kedro.processes import slurm
from almost_kedro.processes.slurm import run_on_cluster
from almost_kedro.processes.slurm_checks import check_cluster

pytestmark = pytest.mark.slurm


@pytest.fixture
def started() -> Iterator[Callable[..., Future[None]]]:
    """Run programs in the background."""
    with ThreadPoolExecutor() as pool:
        yield lambda program, **asked: pool.submit(
            run_on_cluster, program, SlurmOptions.model_validate(asked)
        )


def test_a_job_speaks_as_a_child_process_does(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # No shell reads these names.
    folder = tmp_path / 'a "folder" $(of)'
    with caplog.at_level(logging.INFO, logger="almost_kedro"):
        run_on_cluster(make_program(folder), SlurmOptions())
    assert "attempt 1" in caplog.messages
    assert "answers [red]: 2 of 2" in caplog.text
    assert (folder / "program.log").read_text() == "attempt 1\n"
    # Once done, nothing is submitted.
    before = list_my_jobs()
    run_on_cluster(make_program(folder), SlurmOptions())
    assert list_my_jobs() == before


@pytest.mark.parametrize(
    ("last", "kind", "message"),
    [
        ("print('error: option x: too big'); sys.exit(2)", UserError, r"^option x: too big$"),
        ("raise ValueError('unexpected')", RuntimeError, r"(?s)status 1.*ValueError: unexpected"),
        ("os.kill(os.getpid(), 9)", UserError, r"^child was killed by SIGKILL .*is kept"),
    ],
)
def test_a_program_that_fails_does_so_as_on_this_machine(
    last: str, kind: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(kind, match=message):
        run_on_cluster(make_program(tmp_path, last=last), SlurmOptions())


def test_a_program_that_needs_too_much_memory_is_said_to(tmp_path: Path) -> None:
    last = "x = bytearray(2**30); x[::4096] = b'1' * 2**18; time.sleep(60)"
    with pytest.raises(UserError, match=r"^child: Slurm job \d+ on n\d needed more memory than"):
        run_on_cluster(make_program(tmp_path, last=last), SlurmOptions(memory="400M"))


def test_a_node_that_does_not_see_the_folder_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm, "PATIENCE", 1)
    program = make_program(tmp_path)
    program.job_files[0].unlink()
    with pytest.raises(UserError, match=r"^child: Slurm job \d+ on n\d does not see .*/job.json;"):
        run_on_cluster(program, SlurmOptions())


def test_a_node_that_has_no_such_folder_is_one_clear_line(tmp_path: Path, started: Any) -> None:
    folder = tmp_path / "unshared"
    running = started(make_program(folder), options={"hold": True})
    job = find_job(folder, "PENDING")
    shutil.rmtree(folder)
    ask("scontrol", "release", job)
    with pytest.raises(UserError, match=r"does not see .*/job.json; nodes need data root, models"):
        running.result(60)


def test_a_folder_that_slurm_can_not_name_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^work folder .*/50%: Slurm takes its % for a pattern"):
        run_on_cluster(make_program(tmp_path / "50%"), SlurmOptions())


def test_a_job_that_someone_cancels_is_one_clear_line(tmp_path: Path, started: Any) -> None:
    running = started(make_program(tmp_path, waits=1))
    ask("scancel", find_job(tmp_path))
    with pytest.raises(UserError, match=r"was cancelled by someone's scancel; what it finished"):
        running.result(60)


def test_a_requeued_job_goes_on(
    tmp_path: Path, started: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="almost_kedro"):
        running = started(make_program(tmp_path, waits=1))
        job = find_job(tmp_path)
        wait_for((tmp_path / "attempts").exists)
        ask("scontrol", "requeue", job)
        start_now(job)
        running.result(60)
    assert (tmp_path / "attempts").read_text() == "xx"
    assert "attempt 1\n" in (tmp_path / "program.log").read_text()
    assert (tmp_path / "program.log").read_text().endswith("attempt 2\n")
    assert f"Slurm job {job} waits: BeginTime (restart 1)" in caplog.text


def preempt(folder: Path) -> str:
    """Take its node from a running job; return its id."""
    job = find_job(folder)
    node = re.search(r"\bNodeList=(\w+)", ask("scontrol", "show", "job", job))
    assert node
    wait_for((folder / "attempts").exists)
    flags = ["--partition=urgent", f"--nodelist={node[1]}", "--output=/dev/null"]
    ask("sbatch", *flags, "--wrap=true")
    return job


def test_a_preempted_job_goes_on(tmp_path: Path, started: Any) -> None:
    running = started(make_program(tmp_path, waits=1))
    job = preempt(tmp_path)
    start_now(job)
    running.result(60)
    assert (tmp_path / "attempts").read_text() == "xx"
    assert "Restarts=1" in ask("scontrol", "show", "job", job)


def test_a_preempted_job_that_may_not_be_requeued_is_one_clear_line(
    tmp_path: Path, started: Any
) -> None:
    running = started(make_program(tmp_path, waits=1), options={"no-requeue": True})
    preempt(tmp_path)
    with pytest.raises(UserError, match=r"was preempted, and not requeued; what it finished"):
        running.result(60)


def test_a_job_goes_on_after_its_node_went_down(tmp_path: Path, started: Any) -> None:
    running = started(make_program(tmp_path, waits=1))
    job = find_job(tmp_path)
    wait_for((tmp_path / "attempts").exists)
    node = re.search(r"\bNodeList=(\w+)", ask("scontrol", "show", "job", job))
    assert node
    ask("scontrol", "update", f"nodename={node[1]}", "state=down", "reason=test")
    try:
        start_now(job)
        running.result(60)
        assert node[0] not in ask("scontrol", "show", "job", job)
    finally:
        ask("scontrol", "update", f"nodename={node[1]}", "state=resume")
    assert (tmp_path / "attempts").read_text() == "xx"


def test_a_job_that_is_there_is_followed_instead_of_submitted_again(
    tmp_path: Path, started: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Another set of job files, as after a change of options, finds it too."""
    program = make_program(tmp_path / "second", waits=1)
    first = make_program(tmp_path / "first", waits=1)
    both = program._replace(job_files=[*first.job_files, *program.job_files])
    before = list_my_jobs()
    earlier = started(both)
    job = find_job(tmp_path)
    (tmp_path / "first" / "metrics.json").touch()
    with caplog.at_level(logging.INFO, logger="almost_kedro"):
        later = started(first)
        wait_for(lambda: f"Slurm job {job} is still there: RUNNING" in caplog.text)
    (tmp_path / "second" / "attempts").write_text("xx")
    earlier.result(60)
    later.result(60)
    assert list_my_jobs() == [*before, job]


def test_whoever_stops_waiting_cancels_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(BaseException):
        pass

    def stop(job: str) -> None:
        find_job(tmp_path)
        raise Stopped

    monkeypatch.setattr(slurm, "wait_for_end", stop)
    with pytest.raises(Stopped):
        run_on_cluster(make_program(tmp_path, waits=1), SlurmOptions())
    assert str(tmp_path) not in ask("squeue", "--noheader", "--format=%Z")


def test_what_slurm_would_refuse_is_refused_before_anything_starts() -> None:
    asked = LaunchOptions(backend="slurm", slurm=SlurmOptions(partition="main", account="a"))
    check_cluster(asked)
    for slurm_options, nodes, message in (
        ({"partition": "mian"}, 1, r"no partition 'mian'; it has apart, main, urgent$"),
        ({}, 3, r"^option launch.slurm: Slurm refuses jobs on 3 nodes .*not available"),
        ({"gpus": 1}, 1, r"Invalid generic resource \(gres\) specification"),
        ({"options": {"nodes-list": "n1"}}, 1, r"unrecognized option '--nodes-list=n1'"),
    ):
        options = SlurmOptions.model_validate(slurm_options)
        with pytest.raises(UserError, match=message):
            check_cluster(LaunchOptions(backend="slurm", nodes=nodes, slurm=options))


def test_a_job_that_reaches_its_time_limit_is_one_clear_line(
    end_of_time: Callable[[], None],
) -> None:
    with pytest.raises(UserError, match=r"reached its time limit of 00:01:00; what it finished"):
        end_of_time()
