from pathlib import Path

import pytest
import torch
from families import GROUPED, save
from training_jobs import Run, make_rows, train
from transformers import LlamaConfig, LlamaForSequenceClassification


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


@pytest.fixture(scope="session")
def dpo_run(tiny: Path, reward_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A policy that comes to prefer the longer answers."""
    out, rows = tmp_path_factory.mktemp("dpo"), make_rows(48, seed=0)
    return train("dpo", out, tiny, rows, reward_model=reward_model)


@pytest.fixture(scope="session")
def reward_model(tiny_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reward model of random weights."""
    torch.manual_seed(0)
    network = LlamaForSequenceClassification(LlamaConfig(**GROUPED, num_labels=1))
    return save(network, tmp_path_factory.mktemp("judge"), tiny_models)
