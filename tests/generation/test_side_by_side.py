"""Copies of a model read side by side: the same figures in the same order, and the first error."""

import threading
from pathlib import Path

import pytest
import torch
from families import GROUPED, save
from training_jobs import make_rows, make_score_job
from transformers import LlamaConfig, LlamaForSequenceClassification

from almost_kedro.contract import ModelFolder
from almost_kedro.errors import UserError
from almost_kedro.generation import likelihood
from almost_kedro.generation.likelihood_job import LikelihoodJob
from almost_kedro.generation.side_by_side import choose_devices, compute_side_by_side
from almost_kedro.rows.json_lines import read_rows, write_rows
from almost_kedro.training import score

CPU = torch.device("cpu")


def test_results_come_in_the_order_of_the_items_though_both_compute_at_once() -> None:
    both = threading.Barrier(2, timeout=10)  # passed only if two are at work

    def compute(model: str, item: int) -> tuple[int, str]:
        both.wait()
        return item, model

    found = list(compute_side_by_side(["a", "b"], range(6), compute))
    assert [item for item, _ in found] == [0, 1, 2, 3, 4, 5]
    assert {model for _, model in found} == {"a", "b"}


def test_after_an_error_nothing_else_begins() -> None:
    begun: list[int] = []

    def compute(model: str, item: int) -> int:
        begun.append(item)
        raise UserError(f"row {item} is not finite")

    with pytest.raises(UserError, match="row 0 is not finite"):
        list(compute_side_by_side(["a", "b"], range(100), compute))
    assert len(begun) < 100


def test_each_copy_has_a_gpu_and_without_one_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_devices("auto") == choose_devices(4) == [CPU]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert [device.index for device in choose_devices("auto")] == [0, 1, 2]
    assert [device.index for device in choose_devices(2)] == [0, 1]
    assert len(choose_devices(9)) == 3


def test_rewards_and_log_probabilities_of_two_copies_are_those_of_one(
    tiny_models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    network = LlamaForSequenceClassification(LlamaConfig(**GROUPED, num_labels=1))
    reward_model = save(network, tmp_path / "judge", tiny_models)
    rows = make_rows(24, seed=3)
    texts = [{"id": r["id"], "dialogue": r["dialogue"], "answer": r["chosen"]} for r in rows]
    asked = [{"id": r["id"], "context": r["dialogue"], "continuation": r["chosen"]} for r in rows]
    model = ModelFolder(name="tiny", folder=tiny_models["tiny-large"], fingerprint="f")
    found = []
    for devices in ([CPU], [CPU, CPU]):
        for program in (score, likelihood):
            monkeypatch.setattr(program, "choose_devices", lambda _, devices=devices: devices)
        out = tmp_path / str(len(devices))
        job = make_score_job(out / "rewards", reward_model, texts, batch_tokens=256)
        score.run_job(job)
        (out / "logprobs").mkdir()
        write_rows(out / "logprobs/rows.jsonl", asked)
        likelihood.run_job(
            LikelihoodJob(model=model, dtype="float32", batch_tokens=256, out=out / "logprobs")
        )
        found.append(
            [list(read_rows(out / f"{name}/{name}.jsonl")) for name in ("rewards", "logprobs")]
        )
    assert found[0] == found[1]
    assert len(found[0][0]) == len(found[0][1]) == 24
