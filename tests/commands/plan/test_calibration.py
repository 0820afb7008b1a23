"""The calibration as a real program on a tiny model, and what is derived from it by hand."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from almost_kedro.commands.plan import calibration
from almost_kedro.commands.plan.calibration import (
    PACKAGE,
    SOURCES,
    CalibrationJob,
    calibrate,
    identify,
)
from almost_kedro.commands.plan.estimate import write
from almost_kedro.commands.plan.machine import (
    Steps,
    ThisMachine,
    solve_steps,
    solve_training,
    solve_writing,
)
from almost_kedro.commands.plan.memory import MB
from almost_kedro.commands.plan.workload import Ask, Training
from almost_kedro.contract import ModelFolder
from almost_kedro.models.shape import body, count_parameters, read_shape
from almost_kedro.options.launch import LaunchOptions
from almost_kedro.options.models import ModelShape, TinyModel
from almost_kedro.options.reward_model import RewardModelOptions

SHAPE = ModelShape(parameters=1e8, layers=10, hidden_size=100, kv_size=50, vocabulary=1000)
HERE = ThisMachine(
    model="m",
    shape=SHAPE,
    device="cpu",
    number=2,
    memory_mb=8000,
    start_seconds=3.0,
    load_seconds=2.0,
    read_tokens=1000.0,
    step_seconds=0.01,
    token_seconds=0.001,
    context_seconds=1e-6,
    short_tokens=500.0,
    prefix_tokens=400.0,
    reward_tokens=200.0,
    policy_tokens=100.0,
    update_seconds=0.5,
    generation_base_mb=600.0,
    training_base_mb=700.0,
    activation_bytes=50_000.0,
)
TWICE = SHAPE.model_copy(update={"parameters": 2e8})


def make_job(folder: Path, out: Path) -> CalibrationJob:
    shape = read_shape(folder, TinyModel(source="tiny", layers=1, hidden_size=32))
    assert shape
    return CalibrationJob(
        model=ModelFolder(name="tiny", folder=folder, fingerprint="f"),
        shape=shape,
        dtype="float32",
        prefix="\n\nHuman: a\n\nAssistant: b\n\n-----" * 20,
        texts=["\n\nHuman: Why?\n\nAssistant:", "\n\nHuman: How so?\n\nAssistant:"],
        reward_model=RewardModelOptions(model="tiny", learning_rate=1e-3, batch_size=2),
        launch=LaunchOptions(dtype="float32"),
        text_tokens=64,
        out=out,
    )


@pytest.mark.slow
def test_a_machine_is_measured_once_and_again_when_asked(
    tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    job = make_job(tiny_models["tiny-small"], tmp_path)
    found = calibrate(job, anew=False)
    for rate in (found.short_tokens, found.prefix_tokens, found.read_tokens):
        assert rate > 100
    for rate in (found.reward_tokens, found.policy_tokens, found.start_seconds):
        assert rate > 0
    assert found.step_seconds + found.token_seconds > 0
    assert found.memory_mb > 1000
    assert 50 < found.generation_base_mb < 3000
    files = sorted(tmp_path.glob("*/metrics.json"))
    assert len(files) == 2
    assert found.device == "cpu"
    assert all(json.loads(file.read_text())["seconds"] < 30 for file in files)
    made = [file.stat().st_mtime_ns for file in files]
    assert calibrate(job, anew=False) == found
    assert [file.stat().st_mtime_ns for file in files] == made
    other = job.model_copy(update={"text_tokens": 32})
    assert identify(other) != identify(job)


def test_changed_code_is_measured_anew(
    tiny_models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(tiny_models["tiny-small"], tmp_path)
    before = identify(job)
    assert identify(job.model_copy(update={"out": tmp_path / "elsewhere"})) == before
    monkeypatch.setattr(calibration, "hash_sources", lambda: "other")
    assert identify(job) != before


def test_a_step_is_split_into_a_constant_rows_and_what_is_before_them() -> None:
    # 10 ms, 1 ms a row, 1 microsecond a row and token before it.
    def take(rows: float, context: float) -> Steps:
        seconds = 0.01 + rows * (0.001 + context * 1e-6)
        return Steps(seconds, rows, context, Ask(rows, 0, 0, 0, 0))

    found = solve_steps(take(8, 30), take(64, 30), take(64, 530))
    assert found == pytest.approx((0.01, 0.001, 1e-6))
    # Noise makes nothing negative.
    low = solve_steps(take(8, 30)._replace(seconds=1.0), take(64, 30), take(64, 30))
    assert min(low) >= 0


def test_what_is_counted_of_the_memory_is_taken_off() -> None:
    # Weights, keys and values of 8 x (10 + 4) + 10 tokens of 4 kB, logits of 8 rows, and
    # activations of the prefix's 10 tokens.
    counted = 4e8 + (8 * 14 + 10) * 4000 + 8 * 1000 * 12 + 10 * 100 * 34
    steps = Steps(0.25, 64, 110, Ask(8, prefix=10, prompt=10, new=0, limit=4))
    assert solve_writing(SHAPE, steps, 4, 1000.0) == pytest.approx(1000 - counted / MB)
    # 500 MB, then weights, gradients and moments, and what 100 tokens keep.
    peak = 500 + (16e8 + 100 * 9_000_000) / MB
    found = solve_training(SHAPE, 100, False, 500 + 4e8 / MB, peak)
    assert found == pytest.approx((500, 9_000_000))
    assert solve_training(SHAPE, 100, True, 500 + 4e8 / MB, peak + 2e8 / MB) == pytest.approx(found)


def test_a_training_that_has_no_room_is_taken_to_be_three_times_a_forward_pass() -> None:
    none = replace(HERE, reward_tokens=0.0, policy_tokens=0.0, update_seconds=0.0)
    training = Training(steps=4, batch=8, longest=100)
    assert none.train(SHAPE, 1000, "reward", training) == pytest.approx(3 * none.read(SHAPE, 1000))


def test_a_model_twice_as_large_takes_twice_as_long() -> None:
    ask = Ask(requests=100, prefix=0, prompt=90, new=20, limit=40)
    # All at once: 40 steps, with 50 rows on average, each after 100 tokens.
    assert write(ask, SHAPE, HERE) == pytest.approx(40 * (0.01 + 50 * (0.001 + 100e-6)))
    # 1,000 requests and 256 places: as many steps as those take to write 20,000 tokens.
    many = Ask(requests=1000, prefix=0, prompt=90, new=20, limit=40)
    steps = 20_000 / 256
    assert write(many, SHAPE, HERE) == pytest.approx(steps * (0.01 + 256 * (0.001 + 100e-6)))
    assert write(ask, TWICE, HERE) == pytest.approx(2 * write(ask, SHAPE, HERE))
    assert HERE.read(TWICE, 500) == pytest.approx(1.0)
    training = Training(steps=4, batch=8, longest=100)
    assert HERE.train(SHAPE, 1000, "reward", training) == pytest.approx(5 + 2)
    assert HERE.train(TWICE, 1000, "sft", training) == pytest.approx(2 * (10 + 2))


def test_activations_computed_again_take_time_and_save_memory() -> None:
    kept = Training(steps=1, batch=8, longest=100)
    again = Training(steps=1, batch=8, longest=100, checkpointing=True)
    assert HERE.train(SHAPE, 300, "sft", again) == pytest.approx(4 / 3 * 3 + 0.5)
    # Weights, gradients and moments, and a bfloat16 copy: 18 bytes a parameter.
    assert HERE.training_mb(SHAPE, kept, None) == pytest.approx(
        700 + (18e8 + 8 * 100 * 50_000) / MB
    )
    assert HERE.training_mb(SHAPE, again, None) < HERE.training_mb(SHAPE, kept, None)


def test_on_one_rank_rollouts_are_written_by_a_copy_of_the_policy() -> None:
    alone, two = (Training(steps=1, batch=8, longest=100, ranks=ranks) for ranks in (1, 2))
    more = HERE.training_mb(SHAPE, alone, SHAPE) - HERE.training_mb(SHAPE, two, SHAPE)
    assert more == pytest.approx(2e8 / MB)  # in bfloat16
    # Without reward models it is no reinforcement learning.
    assert HERE.training_mb(SHAPE, alone, None) == HERE.training_mb(SHAPE, two, None)


def test_a_size_is_read_from_the_files(tiny_models: dict[str, Path]) -> None:
    folder = tiny_models["tiny-small"]
    entry = TinyModel(source="tiny", layers=1, hidden_size=32)
    shape = read_shape(folder, entry)
    assert shape
    assert (shape.layers, shape.hidden_size, shape.kv_size, shape.vocabulary) == (1, 32, 16, 259)
    # Embeddings, head, attention (4 x 32 x 32, half of it for keys and values), MLP, norms.
    expected = 2 * 259 * 32 + 2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 64 + 3 * 32
    assert shape.parameters == expected == count_parameters(folder / "model.safetensors")
    assert body(shape) == expected - 259 * 32
    assert read_shape(None, entry) is None


def test_the_size_of_a_gpt2_is_read_under_its_own_names(tmp_path: Path) -> None:
    config = {"n_embd": 32, "n_layer": 3, "n_head": 4, "vocab_size": 64, "text_config": None}
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file({"w": np.zeros(8)}, tmp_path / "model.safetensors")
    shape = read_shape(tmp_path, TinyModel(source="tiny", layers=1, hidden_size=32))
    assert shape
    assert shape == ModelShape(parameters=8, layers=3, hidden_size=32, kv_size=32, vocabulary=64)


def test_all_code_that_decides_how_fast_a_machine_is_is_there() -> None:
    for name in SOURCES:
        place = PACKAGE / name
        assert place.is_file() or list(place.glob("*.py")), name
