"""Runs of Kedro whose programs are jobs of a real Slurm; two are killed on their way."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from kept_completions import count_cached, count_lent, try_sqlite
from sessions import find_versions, make_command, make_options
from slurm_cluster import ask, find_job, list_my_jobs
from smoke_runs import read_latest
from waiting import wait_for

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(1200)]


class Ended(NamedTuple):
    """A data root, what Kedro said and its status, and the job that ran when Kedro was killed."""

    root: Path
    output: str
    status: int
    job: str


@contextmanager
def start_kedro(project: Path, root: Path, names: str) -> Iterator["subprocess.Popen[str]"]:
    """Start a run; if it is still there at the end of the block, it is killed."""
    command = make_command("run", *make_options(root, names, "launch.backend=slurm"))
    log = subprocess.PIPE
    kedro = subprocess.Popen(command, cwd=project, stdout=log, stderr=subprocess.STDOUT, text=True)
    with kedro:
        try:
            yield kedro
        finally:
            kedro.kill()


def run_kedro(project: Path, root: Path, names: str) -> str:
    with start_kedro(project, root, names) as kedro:
        output, _ = kedro.communicate()
    assert kedro.returncode == 0, output
    return output


@pytest.fixture(scope="module")
def generated(
    project: Path, tiny_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Ended:
    """A generation: kill -9 of Kedro amid its first job, then the same command again."""
    root = tmp_path_factory.mktemp("run")
    with start_kedro(project, root, "synthetic_feedback") as kedro:
        job = find_job(root)
        wait_for(try_sqlite(lambda: count_lent(root) >= 5))
        assert count_cached(root) == 0
        # It would be done before the next Kedro asks for it.
        ask("scancel", "--signal=STOP", "--full", job)
    with start_kedro(project, root, "synthetic_feedback") as again:
        assert again.stdout
        output = ""
        while "is still there" not in output:
            output += again.stdout.readline()
        ask("scancel", "--signal=CONT", "--full", job)
        output += again.communicate()[0]
    assert again.returncode == 0, output
    return Ended(root, output, kedro.returncode, job)


@pytest.fixture(scope="module")
def stopped(project: Path, generated: Ended) -> Ended:
    """The next pipeline: SIGTERM to Kedro amid its first job."""
    with start_kedro(project, generated.root, "reward_model") as kedro:
        job = find_job(generated.root)
        kedro.terminate()
        output, _ = kedro.communicate()
    return Ended(generated.root, output, kedro.returncode, job)


@pytest.fixture(scope="module")
def finished(project: Path, stopped: Ended) -> Path:
    """A data root with everything."""
    run_kedro(project, stopped.root, "reward_model,rmsp_sft,rl,evaluation")
    return stopped.root


def list_jobs_of(root: Path) -> list[str]:
    """The ids of the jobs that ran in a data root, in their order."""
    logs = root.rglob("slurm-*.out")
    return sorted((log.stem.removeprefix("slurm-") for log in logs), key=int)


def test_a_run_goes_on_with_the_job_of_a_kedro_that_was_killed(generated: Ended) -> None:
    assert generated.status == -signal.SIGKILL
    assert f"Slurm job {generated.job} is still there: STOPPED" in generated.output
    prompts, *responses = list_jobs_of(generated.root)
    assert prompts == generated.job
    # One for each size of model.
    assert len(responses) == 2
    assert "JobState=COMPLETED" in ask("scontrol", "show", "job", prompts)


def test_what_jobs_generated_is_in_the_cache_that_only_kedro_opens(generated: Ended) -> None:
    root = generated.root
    assert count_cached(root) > len(read_latest(root, "responses")) > 10
    assert count_lent(root) == 0
    jobs = [json.loads(file.read_text()) for file in root.glob("04_feature/**/job.json")]
    caches = [job["cache"] for job in jobs if "cache" in job]
    assert len(caches) == 3
    assert str(root / "04_feature/generation/completions.sqlite") not in caches


def test_a_job_is_cancelled_with_the_run_that_started_it(stopped: Ended) -> None:
    assert stopped.status == 128 + signal.SIGTERM, stopped.output
    assert "JobState=CANCELLED" in ask("scontrol", "show", "job", stopped.job)


def test_each_program_of_a_run_is_a_job(finished: Path) -> None:
    assert find_versions(finished, "rl_policy")
    assert list(finished.glob("08_reporting/report.html/*/report.html"))
    marks = [file.with_name(".slurm_folder") for file in finished.glob("0[4-8]*/**/job.json")]
    assert len(marks) > 30
    assert all(list(Path(mark.read_text()).glob("slurm-*.out")) for mark in marks)
    assert set(list_jobs_of(finished)) <= set(list_my_jobs())
