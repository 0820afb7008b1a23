"""Training by adapters goes on after a kill, and over shards, as if nothing had been."""

from pathlib import Path
from typing import Any

import pytest
import torch
from crashes import kill_at_checkpoint
from fsdp_proof import Pair
from training_jobs import FSDP_ON_CPU, Run, make_rows, train, write_job

from almost_kedro.training.launch import launch

pytestmark = pytest.mark.slow

LORA = {"rank": 4, "alpha": 8, "dropout": 0.0}
# As in test_fsdp.py.
LOSSES, WEIGHTS, OUTPUTS = 1e-5, 3e-4, 1e-4


@pytest.mark.parametrize("load_in_4bit", [False, True])
def test_a_killed_training_ends_with_the_same_bits(
    load_in_4bit: bool, tiny: Path, tmp_path: Path
) -> None:
    """A reward model: adapters with dropout, and a head that is trained whole."""
    lora = {**LORA, "dropout": 0.1, "load_in_4bit": load_in_4bit}
    options: dict[str, Any] = {"lora": lora, "save_every": 2}
    rows = make_rows(24, seed=0)
    undisturbed = train("reward", tmp_path / "undisturbed", tiny, rows, **options)
    killed = write_job("reward", tmp_path / "killed", tiny, rows, **options)
    kill_at_checkpoint(killed, "rank", 1)
    launch(killed.job, killed.job_file)
    assert killed.metrics["resumed_from_step"] >= 2
    one, other = undisturbed.load(), killed.load()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert undisturbed.losses == killed.losses


@pytest.mark.parametrize("program", ["reward", "rl"])
def test_shards_train_the_same_adapters(
    program: str, tiny: Path, sft_run: Run, reward_run: Run, tmp_path: Path
) -> None:
    """In RL, the reference is the sharded policy without its adapters."""
    base = sft_run.model if program == "rl" else tiny
    judge = reward_run.model
    pair = Pair(program, tmp_path, base, judge, ranks=2, env=FSDP_ON_CPU, lora=LORA)
    pair.check_sharding()
    pair.check_resumed()
    assert pair.measure_losses() < LOSSES
    assert pair.measure_weights() < WEIGHTS
    assert pair.measure_outputs(tmp_path / "scores") < OUTPUTS
    sharded, whole = (run.metrics["trained_parameters"] for run in (pair.sharded, pair.whole))
    assert sharded == whole
