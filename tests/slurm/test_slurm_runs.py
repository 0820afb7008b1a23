"""Whole runs of Kedro whose programs are jobs of a real Slurm."""

import signal
import subprocess
from pathlib import Path

import pytest
from kept_completions import count_cached, try_sqlite
from sessions import find_versions, make_command, make_options
from slurm_cluster import ask, find_job, list_my_jobs
from waiting import wait_for

pytestmark = pytest.mark.slurm
SLURM = "launch.backend=slurm"


def start_kedro(project: Path, root: Path, names: str) -> subprocess.Popen[str]:
    command = make_command("run", *make_options(root, names, SLURM))
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(command, cwd=project, text=True, **streams)  # type: ignore[call-overload]


def end_well(kedro: "subprocess.Popen[str]") -> str:
    output, _ = kedro.communicate(timeout=300)
    assert kedro.returncode == 0, output
    return output


def list_jobs_of(root: Path) -> list[str]:
    """The ids of the jobs that Slurm ran in a data root, in their order."""
    logs = root.rglob("slurm-*.out")
    return sorted((log.stem.removeprefix("slurm-") for log in logs), key=int)


def test_a_run_goes_on_with_the_job_of_a_kedro_that_was_killed(
    project: Path, tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    """Kill -9 amid the generation, then SIGTERM amid a training; each time, the run goes on."""
    killed = start_kedro(project, tmp_path, "synthetic_feedback")
    job = find_job(tmp_path)
    wait_for(try_sqlite(lambda: count_cached(tmp_path) >= 5))
    killed.kill()
    killed.communicate()
    output = end_well(start_kedro(project, tmp_path, "synthetic_feedback"))
    assert f"Slurm job {job} is still there" in output
    assert list_jobs_of(tmp_path)[0] == job

    ended = start_kedro(project, tmp_path, "reward_model")
    job = find_job(tmp_path)
    ended.send_signal(signal.SIGTERM)
    output, _ = ended.communicate(timeout=60)
    assert ended.returncode == 128 + signal.SIGTERM, output
    assert "JobState=CANCELLED" in ask("scontrol", "show", "job", job)

    end_well(start_kedro(project, tmp_path, "reward_model,rmsp_sft,rl,evaluation"))
    assert find_versions(tmp_path, "rl_policy")
    assert list(tmp_path.glob("08_reporting/report.html/*/report.html"))
    # Each program was a job, and its log is there.
    marks = [file.with_name(".slurm_folder") for file in tmp_path.glob("0[4-8]*/**/job.json")]
    assert len(marks) > 10
    assert all(list(Path(mark.read_text()).glob("slurm-*.out")) for mark in marks)
    assert set(list_jobs_of(tmp_path)) <= set(list_my_jobs())
