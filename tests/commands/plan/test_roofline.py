"""Given GPUs: seconds and memory by hand."""

from dataclasses import replace

import pytest

from almost_kedro.commands.plan.estimate import estimate, write
from almost_kedro.commands.plan.memory import (
    MB,
    activation_bytes,
    adapter_parameters,
    cache_bytes,
    training_bytes,
)
from almost_kedro.commands.plan.roofline import BASE_MB, GPUFigures, make_gpus, read_gpu_figures
from almost_kedro.commands.plan.workload import Ask, Training, Work
from almost_kedro.errors import UserError
from almost_kedro.options.models import ModelShape

# A thousand million parameters, a tenth of them embeddings.
SHAPE = ModelShape(parameters=1e9, layers=10, hidden_size=1000, kv_size=500, vocabulary=100_000)
# 40 % of 100 TFLOP/s are 4e13 operations a second; 60 % of 1000 GB/s are 6e11 bytes a second.
FIGURES = GPUFigures(tflops=100, bandwidth_gb_s=1000, memory_gb=80, count=4)
ONE = make_gpus(FIGURES, writing=1, sharded=False)
TRAINING = Training(steps=10, batch=4, longest=500, ranks=4)


def test_figures_are_read() -> None:
    text = "tflops=312, bandwidth_gb_s=2039,memory_gb=80,count=4"
    assert read_gpu_figures(text) == GPUFigures(312, 2039, 80, 4)
    assert read_gpu_figures("tflops=1,bandwidth_gb_s=1,memory_gb=1").count == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tflops=312", "bandwidth_gb_s, memory_gb missing"),
        ("tflop=312", "unknown 'tflop'"),
        ("tflops=fast,bandwidth_gb_s=1,memory_gb=1", "tflops is 'fast'"),
        ("tflops=-1,bandwidth_gb_s=1,memory_gb=1", "tflops is '-1'"),
        ("tflops=1,bandwidth_gb_s=1,memory_gb=1,count=1.5", "count is 1.5"),
        ("", "unknown ''"),
    ],
)
def test_bad_figures_are_one_line(text: str, says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        read_gpu_figures(text)
    assert "\n" not in str(caught.value)


def test_reading_takes_two_operations_a_parameter_and_token() -> None:
    assert ONE.read(SHAPE, 1e6) == pytest.approx(2e15 / 4e13)


def test_few_rows_wait_for_the_weights_many_for_the_processor() -> None:
    assert ONE.write_step(SHAPE, 1, 0) == pytest.approx(2e9 / 6e11)
    assert ONE.write_step(SHAPE, 1000, 0) == pytest.approx(2e12 / 4e13)
    # 64 rows read 64 x 1000 tokens of keys and values: 20 kB each.
    assert cache_bytes(SHAPE, 1, 2) == 20_000
    assert ONE.write_step(SHAPE, 64, 1000) == pytest.approx((2e9 + 64 * 1000 * 20_000) / 6e11)


def test_two_gpus_that_share_a_model_halve_its_time() -> None:
    two = make_gpus(FIGURES, writing=2, sharded=False)
    assert two.write_step(SHAPE, 8, 0) == pytest.approx(ONE.write_step(SHAPE, 8, 0) / 2)
    # Only what generates is spread over them.
    score = Work("s", "", "m", "score", requests=3, forward_tokens=1e6)
    assert estimate(score, SHAPE, two, SHAPE) == estimate(score, SHAPE, ONE, SHAPE)


def test_replicas_each_write_a_part_and_read_the_prefix() -> None:
    asks = (Ask(requests=400, prefix=1000, prompt=10, new=100, limit=200),)
    work = Work("s", "", "m", "generate", requests=400, asks=asks)
    four = replace(ONE, replicas=4)
    part = replace(asks[0], requests=100)
    by_hand = ONE.load(SHAPE) + ONE.read(SHAPE, 1000 + 100 * 10) + write(part, SHAPE, ONE)
    assert estimate(work, SHAPE, four, SHAPE)[0] == pytest.approx(by_hand)
    score = Work("s", "", "m", "score", requests=3, forward_tokens=1e6)
    assert estimate(score, SHAPE, four, SHAPE) == estimate(score, SHAPE, ONE, SHAPE)
    read = estimate(score, SHAPE, replace(four, reading=4), SHAPE)[0]
    assert read == pytest.approx(ONE.load(SHAPE) + ONE.read(SHAPE, 1e6) / 4)


def test_training_takes_six_operations_over_all_ranks() -> None:
    assert ONE.train(SHAPE, 1e6, "sft", TRAINING) == pytest.approx(6e15 / 4e13 / 4)
    # A reward model has no logits.
    assert ONE.train(SHAPE, 1e6, "reward", TRAINING) == pytest.approx(0.9 * 6e15 / 4e13 / 4)
    again = Training(10, 4, 500, ranks=4, checkpointing=True)
    assert ONE.train(SHAPE, 1e6, "sft", again) == pytest.approx(8e15 / 4e13 / 4)


def test_weights_gradients_and_moments_are_sharded() -> None:
    # 16 bytes a parameter over 4 ranks; keys have 500 numbers, and the inner width is 29,000.
    kept = 10 * (20 * 1000 + 4 * 500 + 8 * 29_000)
    assert activation_bytes(SHAPE) == pytest.approx(kept) == 2_540_000
    held = 4 * 500 * kept
    assert training_bytes(SHAPE, TRAINING, kept, None, shards=4) == 4e9 + held
    sharded = make_gpus(FIGURES, writing=1, sharded=True)
    assert sharded.training_mb(SHAPE, TRAINING, None) == pytest.approx(BASE_MB + (4e9 + held) / MB)
    # Beside a reward model, which is whole, writing takes more: the whole policy, 20 kB a token.
    # The held-out one is there only while it scores.
    judged = 3e9 + 2e9 + max(1e9 + held, 2e9 + 4 * 500 * 20_000)
    assert sharded.training_mb(SHAPE, TRAINING, SHAPE) == pytest.approx(BASE_MB + judged / MB)


def test_a_gpu_needs_what_the_largest_moment_takes() -> None:
    rl = replace(TRAINING, accumulation=4, reference=True)
    # Weights and moments (12 bytes) and the reference (4) over 4 ranks, and a reward model (2).
    base = 16e9 / 4 + 2e9
    # The step: gradients of all four batches are whole, in bfloat16, until the last.
    step = 4e9 / 4 + 4 * 500 * 340_000 + 2e9
    assert training_bytes(SHAPE, rl, 340_000, SHAPE, shards=4) == base + step
    # Writing long answers: the whole policy, and 20 kB a token of 16 rows.
    long = replace(rl, longest=20_000)
    writing = 2e9 + 4 * 4 * 20_000 * 20_000
    assert training_bytes(SHAPE, long, 0, SHAPE, shards=4) == base + writing
    # One rank has nothing to gather, and copies in bfloat16 of what it trains.
    alone = training_bytes(SHAPE, replace(rl, ranks=1), 0, SHAPE, shards=1)
    assert alone == 16e9 + 2e9 + 4e9 + 2e9


def test_adapters_are_trained_in_float32_above_weights_in_bfloat16() -> None:
    # A block has 9e7 numbers: 2 x 1000 x 1000 for queries and output, 2 x 1000 x 500 for keys and
    # values, and three matrices of 1000 by 29,000.
    of_a_layer = 2 * (1000 + 1000) + 2 * (1000 + 500) + 3 * (1000 + 29_000)
    trained = 10 * 8 * of_a_layer
    assert adapter_parameters(SHAPE, 8) == pytest.approx(trained)
    adapters = replace(TRAINING, rank=8, reference=True)
    held = 4 * 500 * 340_000
    needed = (2e9 + 16 * trained) / 4 + held  # the reference is the model without them
    assert training_bytes(SHAPE, adapters, 340_000, None, shards=4) == pytest.approx(needed)


def test_weights_in_4_bits_are_all_but_embeddings_and_head() -> None:
    # Twice 100,000 by 1,000 in bfloat16; the others have 4 bits and 0.127 for what scales them.
    above_4bit = replace(TRAINING, rank=8, in_4bit=True, ranks=1)
    trained = adapter_parameters(SHAPE, 8)
    needed = 2e8 * 2 + 8e8 * 4.127 / 8 + 16 * trained
    assert training_bytes(SHAPE, above_4bit, 0, None) == pytest.approx(needed)


def test_below_adapters_no_gradient_of_a_weight_is_computed() -> None:
    adapters = replace(TRAINING, rank=8)
    assert ONE.train(SHAPE, 1e6, "sft", adapters) == pytest.approx(4e15 / 4e13 / 4)
    again = replace(adapters, checkpointing=True)
    assert ONE.train(SHAPE, 1e6, "sft", again) == pytest.approx(6e15 / 4e13 / 4)


def test_checkpointed_activations_are_a_layer_s_and_what_goes_into_each() -> None:
    again = activation_bytes(SHAPE, checkpointing=True)
    assert again == pytest.approx(10 * 2 * 1000 + 254_000)
    # Where layers give float32, it goes into them.
    in_float32 = activation_bytes(SHAPE, checkpointing=True, stream=4)
    assert in_float32 == pytest.approx(again + 10 * 2 * 1000)


def test_adapters_keep_what_goes_into_them_in_float32() -> None:
    kept = 10 * (34 * 1000 + 4 * 500 + 10 * 29_000)
    assert activation_bytes(SHAPE, adapters=True) == pytest.approx(kept)


def test_vllm_writes_as_many_rows_as_there_is_room_for() -> None:
    small = GPUFigures(tflops=100, bandwidth_gb_s=1000, memory_gb=4)
    free = make_gpus(small, writing=1, sharded=False)
    # 0.9 x 4 GB less 1 GB and 2e9 bytes of weights, for texts of 1000 tokens of 20 kB, and logits.
    ask = Ask(500, 0, 600, 100, 400)
    assert free.rows(SHAPE, ask) == (2.6 * 2**30 - 2e9) // (2e7 + 10 * 100_000) == 37
    assert free.generation_mb(SHAPE, ask) < 0.9 * 4 * 1024
    assert (
        make_gpus(FIGURES, writing=1, sharded=False).rows(SHAPE, Ask(500, 0, 600, 100, 400)) == 256
    )


def test_places_are_refilled_and_the_longest_text_ends_last() -> None:
    ask = Ask(requests=100, prefix=0, prompt=0, new=32, limit=64)
    # All have a place: no fewer steps than the limit, with 50 rows on average.
    assert write(ask, SHAPE, ONE) == pytest.approx(64 * ONE.write_step(SHAPE, 50, 16))
    # 32,000 tokens in 256 places take 125 steps.
    many = Ask(requests=1000, prefix=0, prompt=0, new=32, limit=64)
    assert write(many, SHAPE, ONE) == pytest.approx(125 * ONE.write_step(SHAPE, 256, 16))


def test_a_model_without_a_size_has_requests_and_no_seconds() -> None:
    work = Work("s", "", "m", "score", requests=3, forward_tokens=10)
    found = estimate(work, None, ONE, SHAPE)
    assert found == (None, None)
    assert estimate(work, SHAPE, ONE, SHAPE)[0] == pytest.approx(1 + 2e10 / 4e13)


def test_ranks_share_the_rollouts_of_reinforcement_learning() -> None:
    asks = (Ask(400, 0, 10, 32, 64, calls=10),)
    alone = Work("s", "", "m", "rl", asks=asks, forward_tokens=1e6, training=Training(10, 4, 100))
    four = Work("s", "", "m", "rl", asks=asks, forward_tokens=1e6, training=TRAINING)
    sharded = make_gpus(FIGURES, writing=1, sharded=True)
    one = estimate(alone, SHAPE, ONE, SHAPE)[0]
    spread = estimate(four, SHAPE, sharded, SHAPE)[0]
    assert one
    assert spread
    # Reading is a fourth, loading the same, and steps of fewer rows wait for the weights as long.
    saved = 0.75 * (2e15 + 2e9 * 4000) / 4e13
    assert one - spread == pytest.approx(saved, rel=1e-3)
    # So do ranks that each have the whole model: ONE's are not sharded.
    assert estimate(four, SHAPE, ONE, SHAPE)[0] == pytest.approx(spread)
