"""The command for each launch, and what becomes of the ranks that it starts."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from families import SIZES
from training_jobs import PROJECT, Run, make_rows, write_job
from transformers import DeepseekV3Config, LlamaConfig

from almost_kedro.errors import UserError
from almost_kedro.options.launch import LaunchOptions
from almost_kedro.options.training import LoraOptions
from almost_kedro.training import rank
from almost_kedro.training.launch import build_command, choose_tunables, count_threads, launch
from almost_kedro.training.sharding import READ_ONCE, choose_reading

ACCELERATE = [sys.executable, "-m", "accelerate.commands.launch", "--config_file"]
LAUNCH = [sys.executable, "-m", "almost_kedro.training.launch"]


def write(tmp_path: Path, base: Path, program: str = "reward", **launch: Any) -> Run:
    options = LaunchOptions(**{"dtype": "float32", **launch})
    file = PROJECT / f"conf/accelerate/{options.config}.yaml"
    changes = {"launch": options, "accelerate": file}
    return write_job(program, tmp_path, base, make_rows(8, seed=0), changes=changes)


def build(tmp_path: Path, node_rank: int = 0, **launch: Any) -> list[str]:
    run = write(tmp_path, Path("base"), **launch)
    return build_command(run.job, Path("job.json"), node_rank)


RANK = ["-m", "almost_kedro.training.rank", "job.json"]


def test_one_rank_on_a_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert build(tmp_path) == [
        *[*ACCELERATE, f"{PROJECT}/conf/accelerate/cpu.yaml", "--num_processes", "1"],
        *["--num_machines", "1", "--machine_rank", "0", "--main_process_port", "0"],
        *["--num_cpu_threads_per_process", "3", *RANK],
    ]


def test_several_ranks_on_a_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert build(tmp_path, processes=2) == [
        *[*ACCELERATE, f"{PROJECT}/conf/accelerate/cpu.yaml", "--num_processes", "2"],
        *["--num_machines", "1", "--machine_rank", "0", "--main_process_port", "0"],
        *["--num_cpu_threads_per_process", "1", "--multi_gpu", *RANK],
    ]


def test_ranks_on_gpus_give_memory_back_as_others_do(tmp_path: Path) -> None:
    for config, kept in (("cpu", True), ("fsdp", False)):
        tunables = choose_tunables(write(tmp_path, Path("base"), config=config).job)
        assert ("GLIBC_TUNABLES" in tunables) == kept
        assert "GOMP_SPINCOUNT" in tunables
    job = write(tmp_path, Path("base")).job
    lora = LoraOptions.model_validate({})
    adapters = job.model_copy(update={"options": job.options.model_copy(update={"lora": lora})})
    assert "GLIBC_TUNABLES" not in choose_tunables(adapters)


@pytest.mark.parametrize(("family", "once"), [("llama", True), ("deepseek", False)])
def test_one_rank_reads_the_weights_unless_shards_lack_a_part(
    family: str, once: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DeepSeek-V3 has how it corrects its choice of experts in a buffer, part of its state."""
    deepseek = DeepseekV3Config(**SIZES, n_routed_experts=4, first_k_dense_replace=1)
    bases = {"deepseek": deepseek, "llama": LlamaConfig(**SIZES)}
    bases[family].save_pretrained(tmp_path / "base")
    for config, expected in (("cpu", "true"), ("fsdp", "true" if once else None)):
        monkeypatch.setenv(READ_ONCE, "true")
        choose_reading(write(tmp_path / config, tmp_path / "base", config=config).job)
        assert os.environ.get(READ_ONCE) == expected


def test_four_gpus(tmp_path: Path) -> None:
    assert build(tmp_path, config="fsdp", processes=4) == [
        *[*ACCELERATE, f"{PROJECT}/conf/accelerate/fsdp.yaml", "--num_processes", "4"],
        *["--num_machines", "1", "--machine_rank", "0", "--main_process_port", "0", *RANK],
    ]


def test_gpus_that_each_have_the_whole_model(tmp_path: Path) -> None:
    one, two = (build(tmp_path, config="gpu", processes=n) for n in (1, 2))
    assert one[:6] == [*ACCELERATE, f"{PROJECT}/conf/accelerate/gpu.yaml", "--num_processes"]
    assert one[6] == "1"
    assert "--multi_gpu" not in one
    assert "--multi_gpu" in two
    assert "--num_cpu_threads_per_process" not in two


def test_the_second_of_two_nodes(tmp_path: Path) -> None:
    nodes = {"nodes": 2, "main_address": "10.0.0.1", "main_port": 29501}
    assert build(tmp_path, 1, config="fsdp", processes=4, **nodes) == [
        *[*ACCELERATE, f"{PROJECT}/conf/accelerate/fsdp.yaml", "--num_processes", "8"],
        *["--num_machines", "2", "--machine_rank", "1", "--main_process_ip", "10.0.0.1"],
        *["--main_process_port", "29501", *RANK],
    ]


@pytest.mark.parametrize("node_rank", [-1, 2])
def test_a_node_that_is_not_there_is_refused(tmp_path: Path, node_rank: int) -> None:
    with pytest.raises(UserError, match=rf"^node rank {node_rank}: launch.nodes is 2, counted"):
        build(tmp_path, node_rank, nodes=2)


def test_threads_are_shared_by_ranks_unless_said_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    cores = os.cpu_count() or 1
    assert count_threads(1) == cores
    assert count_threads(1000 * cores) == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert count_threads(2) == 7


@pytest.mark.slow
def test_a_job_file_is_started_by_hand_on_two_nodes(tiny: Path, tmp_path: Path) -> None:
    """Two nodes on one machine: Kedro's, and one that was given the job file."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    run = write(tmp_path, tiny, nodes=2, main_port=port)
    second = subprocess.Popen([*LAUNCH, str(run.job_file), "--node-rank", "1"])
    try:
        launch(run.job, run.job_file)
        assert second.wait(30) == 0
    finally:
        second.kill()
    assert run.metrics["ranks"] == 2
    assert run.metrics["steps"] == 1
    assert (tmp_path / "train_node1.log").is_file()


@pytest.mark.slow
def test_fewer_ranks_than_asked_for_do_not_train(tiny: Path, tmp_path: Path) -> None:
    run = write(tmp_path, tiny, processes=2)
    command = build_command(run.job, run.job_file)
    command[command.index("--num_processes") + 1] = "1"
    command.remove("--multi_gpu")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "error: launch: 2 ranks were asked for, but 1 train together; see" in done.stderr
    assert not run.model.exists()


@pytest.mark.slow
def test_sharding_without_gpus_is_one_clear_line(
    tiny: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = write(tmp_path, tiny, config="fsdp", processes=2)
    with (
        caplog.at_level("INFO", logger="almost_kedro"),
        pytest.raises(UserError, match=r"^option launch.processes: 2 ranks .* it has 0 GPUs"),
    ):
        launch(run.job, run.job_file, env={"CUDA_VISIBLE_DEVICES": ""})
    # What torchrun says about it is in the log file.
    assert [line for line in caplog.messages if "accelerate.commands.launch" not in line] == []
    assert "Traceback" in (tmp_path / "train.log").read_text()


@pytest.mark.slow
def test_a_model_that_is_too_short_is_one_clear_line(tiny: Path, tmp_path: Path) -> None:
    run = write_job("reward", tmp_path, tiny, make_rows(8, seed=0), max_length=20_000)
    with pytest.raises(UserError, match=r"^option reward_model.max_length: 20000 tokens, but"):
        launch(run.job, run.job_file)


def test_no_rows_is_one_clear_line(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_job("sft", tmp_path, tiny, [])
    assert rank.main(str(run.job_file)) == 2
    assert capsys.readouterr().err == "error: sft: no rows to train on\n"


def test_a_job_file_by_hand_ends_in_one_line_too(tmp_path: Path) -> None:
    run = write(tmp_path, Path("base"))
    command = [*LAUNCH, str(run.job_file), "--node-rank", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: node rank 1: launch.nodes is 1, counted from 0\n"


def test_a_base_of_an_architecture_without_reward_models_is_one_clear_line(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = tmp_path / "fish"
    shutil.copytree(tiny, base)
    base.joinpath("config.json").write_text('{"model_type": "wav2vec2"}')
    run = write_job("reward", tmp_path, base, make_rows(8, seed=0))
    assert rank.main(str(run.job_file)) == 2
    assert "sequence classification for 'wav2vec2'" in capsys.readouterr().err


def test_answers_that_fill_no_step_are_one_clear_line(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_job("rl", tmp_path, tiny, make_rows(8, seed=0), reward_model=tiny, batch_size=6)
    assert rank.main(str(run.job_file)) == 2
    assert "x ranks = 6 answers, which is no multiple of 4" in capsys.readouterr().err
