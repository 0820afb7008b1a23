"""`kedro join`: several machines take part in one run."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import yaml
from sessions import find_versions, kedro, make_command, make_options
from training_jobs import make_rows, write_job
from waiting import wait_for

from almost_kedro.commands.join import INDEX
from almost_kedro.options.launch import LaunchOptions
from almost_kedro.processes.machines import call_machines, read_call


def find_free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def start_pod(
    project: Path, command: list[str], index: int, log: Path
) -> Iterator[subprocess.Popen[str]]:
    """What a pod of an indexed Job starts; `command` is without its Python."""
    with log.open("w") as output:
        process = subprocess.Popen(
            make_command()[:1] + command,
            cwd=project,
            env={**os.environ, INDEX: str(index)},
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


@pytest.mark.slow
def test_the_pods_of_a_manifest_train_together(
    project: Path, aligned: Path, tmp_path: Path
) -> None:
    """A run that trains anew, by the very commands of a manifest, but for the name of a pod."""
    before = find_versions(aligned, "sft_policy")
    place = ("launch.nodes=2", f"launch.main_port={find_free_port()}")
    done = kedro(
        project,
        *("kubernetes", "--image", "almost", "--volume", "work:/work"),
        *make_options(aligned, "rmsp_sft", *place),
    )
    job = list(yaml.safe_load_all(done.stdout))[1]
    [container] = job["spec"]["template"]["spec"]["containers"]
    python, *command = container["command"]
    command[-1] = command[-1].replace("almost-kedro-0.almost-kedro", "127.0.0.1")
    assert python == "python"
    logs = [tmp_path / f"pod{index}.log" for index in range(2)]
    with (
        start_pod(project, command, 1, logs[1]) as other,
        start_pod(project, command, 0, logs[0]) as first,
    ):
        assert first.wait(300) == 0, logs[0].read_text()
        # The run has ended well, and so does the other pod.
        assert other.wait(30) == 0, logs[1].read_text()
    [made] = [each for each in find_versions(aligned, "sft_policy") if each not in before]
    manifest = yaml.safe_load((made / "manifest.json").read_text())
    assert manifest["metrics"]["ranks"] == 2
    assert "node 1: takes part in" in logs[1].read_text()
    assert "launch.main_address is 127.0.0.1: machine 0 has to be this one" in logs[1].read_text()
    assert "Traceback" not in logs[1].read_text()


@pytest.mark.slow
def test_a_machine_that_is_told_to_end_leaves_nothing(
    project: Path, tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    """As Kubernetes does to move a pod, while its ranks wait for the first machine."""
    work = tmp_path / "06_models/work"
    launch = {"launch": LaunchOptions(nodes=2, main_port=find_free_port(), dtype="float32")}
    job = write_job(
        "sft", work / "sft", tiny_models["tiny-large"], make_rows(8, seed=0), changes=launch
    )
    command = ["-m", "kedro", "join", *make_options(tmp_path, "rmsp_sft", "launch.nodes=2")]
    log = tmp_path / "pod.log"
    with call_machines(work, job.job_file), start_pod(project, command, 1, log) as pod:
        wait_for(lambda: (work / "sft/train_node1.log").is_file())
        wait_for(lambda: len(psutil.Process(pod.pid).children(recursive=True)) > 1)
        children = psutil.Process(pod.pid).children(recursive=True)
        pod.send_signal(signal.SIGTERM)
        assert pod.wait(30) == 128 + signal.SIGTERM
        assert psutil.wait_procs(children, timeout=30)[1] == []
        # The training is the first machine's: it is still called to.
        assert read_call(work) is not None


@pytest.mark.parametrize(
    ("args", "index", "message"),
    [
        (["--params", "launch.nodes=2"], None, "Error: which machine is this? Give --node-rank"),
        (["--params", "launch.nodes=2", "--node-rank", "2"], None, "Error: --node-rank 2: launch"),
        (["--params", "launch.nodes=2"], "2", f"Error: {INDEX} 2: launch.nodes is 2, and they"),
        ([], "1", f"Error: {INDEX} 1: launch.nodes is 1"),
        (["--params", "launch.nodes=2"], "one", f"Error: {INDEX} one: launch.nodes is 2"),
        (["--params", "launch.backend=slurm"], "0", "Error: launch.backend is slurm, which starts"),
        (["--pipelin", "rl"], "1", "Error: No such option"),
    ],
)
def test_a_machine_that_is_none_of_the_runs_is_one_line(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    args: list[str],
    index: str | None,
    message: str,
) -> None:
    monkeypatch.delenv(INDEX, raising=False)
    if index:
        monkeypatch.setenv(INDEX, index)
    done = kedro(project, "join", *args)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
