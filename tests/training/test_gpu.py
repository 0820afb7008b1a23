"""The proof of test_fsdp.py on real GPUs, for `make test-gpu`; without the patch."""

from pathlib import Path

import pytest
import torch
from fsdp_proof import PROGRAMS, Pair, make_pairs
from training_jobs import Run

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
]
# A GPU multiplies otherwise than the CPU that is compared with.
LOSSES, OUTPUTS = 1e-2, 5e-2


@pytest.fixture(scope="module")
def pairs(
    tiny: Path, sft_run: Run, reward_run: Run, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Pair]:
    root = tmp_path_factory.mktemp("gpu")
    return make_pairs(
        root, tiny, sft_run.model, reward_run.model, min(2, torch.cuda.device_count())
    )


@pytest.fixture(params=PROGRAMS)
def pair(request: pytest.FixtureRequest, pairs: dict[str, Pair]) -> Pair:
    return pairs[request.param]


def test_gpus_shard_and_their_checkpoints_are_whole(pair: Pair) -> None:
    pair.check_sharding()
    pair.check_state()
    assert pair.sharded.metrics["peak_gpu_memory_mb"] > 0


def test_a_killed_run_on_gpus_goes_on(pair: Pair) -> None:
    pair.check_resumed()


def test_gpus_compute_what_cpus_do(pair: Pair, tmp_path: Path) -> None:
    if pair.program == "rl":
        pytest.skip("a GPU draws other random numbers, so answers differ")
    assert pair.measure_losses() < LOSSES
    assert pair.measure_outputs(tmp_path) < OUTPUTS
