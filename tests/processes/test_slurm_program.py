"""Jobs of Slurm as far as there is none: the script, a growing log, what is refused early."""

import os
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
from slurm_programs import make_program

from almost_kedro.errors import UserError
from almost_kedro.options.launch import LaunchOptions
from almost_kedro.processes import slurm
from almost_kedro.processes.child import LIFELINE, METRICS, carry_out
from almost_kedro.processes.output import read_growing
from almost_kedro.processes.slurm import MARK, SCRIPT, call, find_folders
from almost_kedro.processes.slurm_checks import check_cluster
from almost_kedro.processes.slurm_node import Node, find_node


def run_script(*arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
    command = ["bash", str(SCRIPT), *arguments]
    return subprocess.run(
        command, env={**os.environ, **env}, capture_output=True, text=True, check=False
    )


def test_the_script_starts_the_program_word_by_word_in_kedros_folder(tmp_path: Path) -> None:
    file = tmp_path / 'a "job" $(of).json'
    file.touch()
    words = ['two words "', "$(echo x)", "", "a\nb"]
    done = run_script("0", str(file), str(tmp_path), "printf", "<%s>", *words)
    assert done.stdout == '<two words "><$(echo x)><><a\nb>'
    done = run_script("0", str(file), str(tmp_path), "pwd")
    assert done.stdout == f"{tmp_path}\n"


def test_the_scripts_status_says_what_the_node_does_not_see(tmp_path: Path) -> None:
    file = tmp_path / "job.json"
    assert run_script("1", str(file), str(tmp_path), "true").returncode == 66
    file.touch()
    assert run_script("1", str(file), str(tmp_path / "nowhere"), "true").returncode == 66
    assert run_script("1", str(file), str(tmp_path), str(tmp_path / "python")).returncode == 127
    assert run_script("1", str(file), str(tmp_path), "false").returncode == 1


def test_the_script_waits_for_a_file_that_comes_late(tmp_path: Path) -> None:
    file = tmp_path / "job.json"
    timer = threading.Timer(0.5, file.touch)
    timer.start()
    assert run_script("20", str(file), str(tmp_path), "true").returncode == 0


def test_the_script_hands_its_cores_to_srun(tmp_path: Path) -> None:
    words = ["0", str(SCRIPT), str(tmp_path), "printenv", "SRUN_CPUS_PER_TASK"]
    assert run_script(*words, SLURM_CPUS_PER_TASK="8").stdout == "8\n"
    assert run_script(*words).stdout == ""


def test_a_growing_file_is_read_line_by_line_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("almost_kedro.processes.output.READ_PAUSE", 0.01)
    file, ended = tmp_path / "log", threading.Event()
    lines = read_growing(file, ended)
    file.write_bytes(b"first\nsec")
    assert next(lines) == "first\n"
    with file.open("ab") as log:
        log.write("ond \u00e9\n".encode() + b"\xff\nlast")
    assert [next(lines), next(lines)] == ["second \u00e9\n", "\ufffd\n"]
    ended.set()
    assert list(lines) == ["last"]


def test_a_file_that_never_comes_has_no_lines(tmp_path: Path) -> None:
    ended = threading.Event()
    ended.set()
    assert list(read_growing(tmp_path / "log", ended)) == []


def test_a_jobs_folder_is_found_from_each_of_its_work_folders(tmp_path: Path) -> None:
    files = [tmp_path / name / "job.json" for name in ("a", "b")]
    for file in files:
        file.parent.mkdir()
    assert find_folders(files) == {str(tmp_path / "a"), str(tmp_path / "b")}
    files[0].with_name(MARK).write_text("/elsewhere")
    assert find_folders(files[:1]) == {str(tmp_path / "a"), "/elsewhere"}


def test_a_job_learns_nothing_of_one_in_which_kedro_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "1")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    monkeypatch.setenv("SQUEUE_FORMAT", "%i")
    seen = call("env", env={"MLFLOW_RUN_ID": "7"}).stdout.splitlines()
    assert {"SLURM_CONF=/etc/slurm.conf", "MLFLOW_RUN_ID=7", "TQDM_DISABLE=1"} <= set(seen)
    left = [line for line in seen if line.startswith(("SLURM_MEM", "SQUEUE", LIFELINE))]
    assert left == []


def test_a_job_that_completed_without_its_files_is_waited_for_and_left_to_its_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm, "PATIENCE", 0.5)
    slurm.wait_for_files(make_program(tmp_path))
    monkeypatch.setattr(slurm, "PATIENCE", 20)
    threading.Timer(0.3, (tmp_path / "metrics.json").touch).start()
    slurm.wait_for_files(make_program(tmp_path))
    assert (tmp_path / "metrics.json").exists()


def test_no_slurm_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"^option launch.backend: slurm, .* no sbatch on the PATH"):
        check_cluster(LaunchOptions(backend="slurm"))


@pytest.mark.parametrize(("requeued", "done"), [(True, ["b"]), (False, ["a", "b"])])
def test_a_requeued_job_leaves_out_what_it_finished(
    requeued: bool, done: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [tmp_path / name / "job.json" for name in ("a", "b")]
    for file in files:
        file.parent.mkdir()
        file.write_text(file.parent.name)
    files[0].with_name(METRICS).touch()
    monkeypatch.delenv("SLURM_RESTART_COUNT", raising=False)
    if requeued:
        monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    ran: list[str] = []
    assert carry_out(ran.append, *map(str, files)) == 0
    assert ran == done
    # Of a single job, the metrics may be those of another program.
    assert carry_out(ran.append, str(files[0])) == 0
    assert ran == [*done, "a"]


@pytest.fixture
def on_a_node(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The second of two nodes, as Slurm describes them."""
    shown = {
        ("hostnames", "gpu[03-04]"): "gpu03\ngpu04\n",
        ("node", "gpu03"): "NodeName=gpu03 Arch=x86_64\n   NodeAddr=10.0.0.3 NodeHostName=gpu03\n",
    }
    monkeypatch.setattr("almost_kedro.processes.slurm_node.show", lambda *what: shown[what])
    for name, value in {
        "SLURM_JOB_ID": "71234",
        "SLURM_NODEID": "1",
        "SLURM_JOB_NODELIST": "gpu[03-04]",
        "SLURM_CPUS_ON_NODE": "32",
    }.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_a_node_learns_its_rank_and_the_first_ones_address(on_a_node: Any) -> None:
    assert find_node() == Node(job_id=71234, rank=1, main_address="10.0.0.3", cores=32)


def test_jobs_have_ports_of_their_own() -> None:
    assert Node(71234, 0, "", 1).choose_port(29500) == 29734
    assert Node(71999, 0, "", 1).choose_port(65535) == 65534


def test_outside_of_a_job_there_is_no_node(on_a_node: Any) -> None:
    on_a_node.delenv("SLURM_NODEID")
    with pytest.raises(UserError, match=r"^--slurm: SLURM_NODEID is not set; Slurm does so in"):
        find_node()
