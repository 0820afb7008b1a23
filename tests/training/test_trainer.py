"""The learning rate: no step is wasted, and one step teaches something."""

import math
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from training_jobs import compare, make_rows, write_job

from almost_kedro.training.trainer import scale_rate


def test_the_rate_by_hand() -> None:
    """Of 6 steps, 2 warm up; the cosine goes down in 5 parts, of which the last is not taken."""
    rates = [scale_rate(step, 0.3, 6) for step in range(6)]
    assert rates == pytest.approx(
        [1 / 2, 1, *((1 + math.cos(math.pi * part / 5)) / 2 for part in (1, 2, 3, 4))]
    )
    assert scale_rate(0, 0.03, 1) == scale_rate(0, 0.0, 1) == scale_rate(0, 0.0, 8) == 1


@given(st.integers(1, 400), st.floats(0, 1, exclude_max=True))
def test_every_step_learns_and_one_at_the_peak(n_steps: int, share: float) -> None:
    rates = [scale_rate(step, share, n_steps) for step in range(n_steps)]
    assert all(0 < rate <= 1 for rate in rates)
    peak = rates.index(1)
    assert rates == sorted(rates[: peak + 1]) + sorted(rates[peak + 1 :], reverse=True)


@pytest.mark.parametrize("program", ["reward", "sft", "rl", "dpo"])
def test_one_step_changes_the_weights(
    program: str, tiny: Path, reward_model: Path, tmp_path: Path
) -> None:
    options = {"steps": 1} if program == "rl" else {"epochs": 1}
    # By the corrected rules, answers of random letters would be cut to nothing, all alike.
    changes = {"rules": "original"}
    run = write_job(
        program,
        tmp_path,
        tiny,
        make_rows(4, 0),
        reward_model=reward_model,
        changes=changes,
        **options,
    )
    import_module(f"almost_kedro.training.{program}").run(run.job)
    assert [row["learning_rate"] for row in run.read("curve.jsonl")] == [
        run.job.options.learning_rate
    ]
    before, after = load_file(tiny / "model.safetensors"), run.load()
    shared = before.keys() & after
    assert len(shared) >= len(before) - 1
    change = compare({k: before[k].float() for k in shared}, {k: after[k] for k in shared})
    assert change > 0.5 * run.job.options.learning_rate
