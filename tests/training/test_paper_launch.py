"""What `--env paper` launches: 4 GPUs under FSDP with the published settings (rules 21 and 22)."""

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from kedro.config import OmegaConfigLoader

from almost_kedro.contract import ModelFolder
from almost_kedro.options.all import Options, check_options
from almost_kedro.settings import CONFIG_LOADER_ARGS
from almost_kedro.training.job import TrainingJob
from almost_kedro.training.launch import build_command


@pytest.fixture(scope="module")
def options(project: Path) -> Options:
    arguments: dict[str, Any] = dict(CONFIG_LOADER_ARGS)
    loader = OmegaConfigLoader(str(project / "conf"), env="paper", **arguments)
    return check_options(loader["parameters"])


def make_job(options: Options, program: Any, block: Any, project: Path) -> TrainingJob:
    base = ModelFolder(name=options.sft.model, folder=Path("/models/7b"), fingerprint="f")
    return TrainingJob(
        program=program,
        name=program,
        base=base,
        rows=Path("rows.jsonl"),
        rows_sha256="",
        options=block,
        separator="",
        seed=options.seed,
        launch=options.launch,
        accelerate=project / "conf/accelerate" / f"{options.launch.config}.yaml",
        out=Path("work"),
    )


@pytest.mark.parametrize(
    ("program", "block", "rows_a_step"),
    [("reward", "reward_model", 128), ("sft", "sft", 64), ("rl", "rl", 128)],
)
def test_each_program_is_launched_on_four_gpus(
    program: str, block: str, rows_a_step: int, options: Options, project: Path
) -> None:
    job = make_job(options, program, getattr(options, block), project)
    assert build_command(job, Path("job.json")) == [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--config_file",
        str(project / "conf/accelerate/fsdp.yaml"),
        "--num_processes",
        "4",
        "--num_machines",
        "1",
        "--machine_rank",
        "0",
        "--main_process_port",
        "0",
        "-m",
        "almost_kedro.training.rank",
        "job.json",
    ]
    assert job.options.batch_size * job.options.accumulation * job.ranks == rows_a_step


def test_the_settings_are_the_published_ones(options: Options) -> None:
    reward, sft = options.reward_model, options.sft
    for block in (reward, sft):
        assert block.learning_rate == 2e-5
        assert block.warmup_share == 0.03
        assert block.gradient_checkpointing
    assert (reward.epochs, reward.max_length, reward.weight_decay) == (1, 1024, 0.1)
    assert (sft.epochs, sft.max_length, sft.weight_decay) == (3, 512, 0)
    assert options.launch.dtype == "bfloat16"
    assert options.gate.on_failure == "stop"


def test_there_are_as_many_prompts_as_the_published_amounts_take(options: Options) -> None:
    """As `kedro plan` assumes: 0.85 of the answers are usable, 0.55 of the pairs kept."""
    splits = options.prompt_splits
    counts = {
        name: share * options.prompt_generation.n_prompts
        for name, share in splits.model_dump().items()
    }
    nearest = len(options.comparisons.rubric) - 1
    assert counts["reward_model"] * nearest * 0.55 == pytest.approx(13_000, rel=0.02)
    assert counts["self_play"] * options.self_play.turns * 0.85 == pytest.approx(20_000, rel=0.03)
    answers = options.rl.batch_size * options.rl.accumulation * options.launch.processes
    assert counts["rl"] >= options.rl.steps * answers / options.rl.generations


def test_fsdp_is_version_two_and_finds_the_block_by_itself(project: Path) -> None:
    config = yaml.safe_load((project / "conf/accelerate/fsdp.yaml").read_text())
    assert config["distributed_type"] == "FSDP"
    fsdp = config["fsdp_config"]
    assert fsdp["fsdp_version"] == 2
    assert fsdp["fsdp_state_dict_type"] == "SHARDED_STATE_DICT"
    assert fsdp["fsdp_cpu_ram_efficient_loading"] is True
    assert fsdp["fsdp_auto_wrap_policy"] == "TRANSFORMER_BASED_WRAP"
    assert "fsdp_transformer_layer_cls_to_wrap" not in fsdp
    assert fsdp["fsdp_activation_checkpointing"] is False
