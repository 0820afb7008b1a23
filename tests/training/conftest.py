from pathlib import Path

import pytest
from training_jobs import Run, make_rows, train


@pytest.fixture(scope="session")
def tiny(tiny_models: dict[str, Path]) -> Path:
    return tiny_models["tiny-large"]


@pytest.fixture(scope="session")
def reward_run(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A reward model that pays for length."""
    out = tmp_path_factory.mktemp("reward")
    return train("reward", out, tiny, make_rows(48, seed=0))


@pytest.fixture(scope="session")
def sft_run(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A policy that answers "Yes." one to three times, then eos."""
    out = tmp_path_factory.mktemp("sft")
    return train("sft", out, tiny, make_rows(48, seed=1), epochs=4, learning_rate=1e-2)
