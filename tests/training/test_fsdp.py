"""Sharded training is training: two ranks with FSDP version 2 against two whole copies.

On CPUs over gloo, which needs the patch in tests/support/fsdp_on_cpu; everything else is the real
code. The sharded run is killed once its first checkpoint is whole, and resumed. The same on GPUs is
in test_gpu.py; what happens without the patch is in test_launch.py.
"""

from pathlib import Path

import pytest
from fsdp_proof import PROGRAMS, Pair, make_pairs
from safetensors.torch import load_file
from training_jobs import FSDP_ON_CPU, WATCHED, Run, compare
from transformers import AutoModelForCausalLM

from almost_kedro.errors import UserError
from almost_kedro.training.devices import check_sharding
from almost_kedro.training.launch import check_trained

pytestmark = pytest.mark.slow

# Measured here: 1e-7 at most. Gradients may be added in another order elsewhere.
TOLERANCE = 1e-5
# Measured here: 1.3e-4 and 1e-5 at most, of a learning rate of 3e-3. Adam's first step is the rate
# times g / (|g| + 1e-8), which makes as much of the rounding of a tiny gradient as of a large one.
WEIGHTS, OUTPUTS = 3e-4, 1e-4


@pytest.fixture(scope="module")
def pairs(
    tiny: Path, sft_run: Run, reward_run: Run, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Pair]:
    root = tmp_path_factory.mktemp("fsdp")
    return make_pairs(root, tiny, sft_run.model, reward_run.model, 2, FSDP_ON_CPU)


@pytest.fixture(params=PROGRAMS)
def pair(request: pytest.FixtureRequest, pairs: dict[str, Pair]) -> Pair:
    return pairs[request.param]


def test_the_one_was_sharded_and_its_checkpoint_is_whole(pair: Pair) -> None:
    pair.check_sharding()
    pair.check_state()


def test_it_went_on_where_it_was_killed(pair: Pair) -> None:
    pair.check_resumed()


def test_losses_of_all_steps_are_the_same(pair: Pair) -> None:
    assert pair.measure_losses() < TOLERANCE


def test_weights_are_the_same(pair: Pair) -> None:
    assert pair.measure_weights() < WEIGHTS
    if pair.program != "reward":
        base = {k: v.float() for k, v in load_file(pair.base / "model.safetensors").items()}
        assert compare(base, pair.sharded.load()) > 100 * TOLERANCE


def test_scores_of_the_watch_are_the_same(pair: Pair) -> None:
    """Each rank answers half of the prompts, in whole copies as in shards."""
    if pair.program in WATCHED:
        whole, sharded = (run.read("watch.jsonl") for run in (pair.whole, pair.sharded))
        assert len(whole) == len(sharded) > 1
        for one, other in zip(whole, sharded, strict=True):
            assert other == pytest.approx(one, abs=OUTPUTS)


def test_rewards_and_logits_are_the_same(pair: Pair, tmp_path: Path) -> None:
    assert pair.measure_outputs(tmp_path) < OUTPUTS


def test_other_shards_than_asked_for_are_refused(pair: Pair, tiny: Path) -> None:
    network = AutoModelForCausalLM.from_pretrained(tiny)
    check_sharding(pair.whole.job, network)
    with pytest.raises(UserError, match=r"^launch.config: fsdp was asked for, .* not sharded; see"):
        check_sharding(pair.sharded.job, network)


def test_a_launch_that_trained_other_ranks_or_shards_fails(pair: Pair) -> None:
    for asked, done in ((pair.whole, pair.sharded), (pair.sharded, pair.whole)):
        job = asked.job.model_copy(update={"out": done.job.out})
        with pytest.raises(UserError, match=r"asked for ranks and shards \(2, .*, found \(2, "):
            check_trained(job)
