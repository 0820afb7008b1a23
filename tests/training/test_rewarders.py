"""Reward models that are on their device only while they reward."""

from pathlib import Path
from typing import Any

import pytest
import torch
from training_jobs import as_folder, make_rows, write_job

from almost_kedro.training.rewarders import Rewarder, VisitingRewarder
from almost_kedro.training.score import RewardScorer

GPU = torch.device("cuda")


def test_the_held_out_reward_model_is_on_the_gpu_only_while_it_rewards(
    tmp_path: Path, tiny: Path, reward_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No GPU is needed: moves are written down instead."""
    job = write_job("rl", tmp_path, tiny, make_rows(3, seed=0), reward_model=reward_model).job
    asked = [[row[name] for row in make_rows(3, seed=0)] for name in ("dialogue", "answer")]
    expected = Rewarder(as_folder(reward_model), job, torch.device("cpu")).reward(*asked)
    places: list[str] = []
    score = RewardScorer.score

    def move(self: torch.nn.Module, place: Any) -> torch.nn.Module:
        places.append(torch.device(place).type)
        return self

    def note(self: RewardScorer, *args: Any, **kwargs: Any) -> list[float]:
        places.append("scores")
        return score(self, *args, **kwargs)

    monkeypatch.setattr(torch.nn.Module, "to", move)
    monkeypatch.setattr(RewardScorer, "score", note)
    rewarder = VisitingRewarder(as_folder(reward_model), job, GPU)
    assert places == ["cuda", "cpu"]
    assert rewarder.reward(*asked) == expected
    assert places == ["cuda", "cpu", "cuda", "scores", "cpu"]
    rewarder.reward(*asked)
    assert places == ["cuda", "cpu", "cuda", "scores", "cpu", "cuda", "scores", "cpu"]
