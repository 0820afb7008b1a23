"""DPO really trains a tiny model, on the loss that is computed by hand."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from training_jobs import SIDES, Run, as_folder, compute_logp, make_rows, write_job
from transformers import AutoModelForCausalLM
from trl import DPOTrainer
from trl.trainer import dpo_trainer

from almost_kedro.models.texts import TextEncoder
from almost_kedro.training import dpo

LN2 = math.log(2)
DROPOUT = "attention_dropout"


def measure_margins(model: Path, rows: list[dict[str, Any]]) -> list[float]:
    """beta * (log-ratio of chosen - log-ratio of rejected), each text computed alone."""
    network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    encoder = TextEncoder(as_folder(model), " ", 256)
    margins = []
    for row in rows:
        ratios = [compute_logp(network, encoder, row, s) - row[f"ref_{s}_logps"] for s in SIDES]
        margins.append(0.1 * (ratios[0] - ratios[1]))
    return margins


@pytest.mark.slow
def test_the_policy_begins_as_the_reference_so_the_first_loss_is_ln_2(dpo_run: Run) -> None:
    first = dpo_run.read("curve.jsonl")[0]
    assert first["loss"] == pytest.approx(LN2, abs=1e-5)
    assert first["rewards/margins"] == pytest.approx(0, abs=1e-5)
    assert dpo_run.read("watch.jsonl")[0]["reward"] == 0


@pytest.mark.slow
def test_the_implicit_reward_comes_to_prefer_the_chosen_answers(dpo_run: Run, tiny: Path) -> None:
    rows = dpo_run.read("rows.jsonl")
    before, after = (measure_margins(model, rows) for model in (tiny, dpo_run.model))
    assert before == pytest.approx([0] * 48, abs=1e-5)
    assert sum(margin > 0 for margin in after) > 43
    assert dpo_run.losses[-1] < LN2 / 2
    curve = dpo_run.read("curve.jsonl")
    assert curve[-1]["rewards/accuracies"] == 1


def test_a_policy_with_dropout_begins_as_the_reference_too(
    tiny: Path, reward_model: Path, tmp_path: Path
) -> None:
    base = save_changed(tiny, tmp_path / "base", lambda net: setattr(net.config, DROPOUT, 0.5))
    rows = make_rows(8, seed=0)
    run = write_job("dpo", tmp_path / "out", base, rows, reward_model=reward_model)
    dpo.run(run.job)
    assert run.losses[0] == pytest.approx(LN2, abs=1e-5)
    assert json.loads((run.model / "config.json").read_text())[DROPOUT] == 0.5


def save_changed(tiny: Path, folder: Path, change: Callable[[Any], None]) -> Path:
    """A tiny model with a change, and its tokenizer."""
    network = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    with torch.no_grad():
        change(network)
    network.save_pretrained(folder)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (folder / file).write_bytes((tiny / file).read_bytes())
    return folder


def flatten(tiny: Path, folder: Path) -> Path:
    """A model that gives each of its V tokens the same probability."""
    return save_changed(tiny, folder, lambda network: network.model.norm.weight.zero_())


def test_the_loss_of_two_pairs_by_hand(tiny: Path, reward_model: Path, tmp_path: Path) -> None:
    """Log-ratios 2 and -1, then 0 and 4: -log sigmoid(0.1 * 3) and -log sigmoid(0.1 * -4)."""
    base, rows = flatten(tiny, tmp_path / "base"), make_rows(2, seed=0)
    vocabulary = load_file(tiny / "model.safetensors")["model.embed_tokens.weight"].shape[0]
    encoder = TextEncoder(as_folder(base), " ", 256)
    for row, ratios in zip(rows, ((2, -1), (0, 4)), strict=True):
        for side, ratio in zip(SIDES, ratios, strict=True):
            n_tokens = len(encoder.encode(row["dialogue"], row[side]).answer)
            row[f"ref_{side}_logps"] = -n_tokens * math.log(vocabulary) - ratio
    run = write_job("dpo", tmp_path / "out", base, rows, reward_model=reward_model, beta=0.1)
    dpo.run(run.job)
    [step] = run.read("curve.jsonl")
    by_hand = [math.log1p(math.exp(-0.3)), math.log1p(math.exp(0.4))]
    assert step["loss"] == pytest.approx(sum(by_hand) / 2, abs=1e-5)
    assert step["rewards/chosen"] == pytest.approx(0.1 * (2 + 0) / 2, abs=1e-5)
    assert step["rewards/rejected"] == pytest.approx(0.1 * (-1 + 4) / 2, abs=1e-5)
    assert step["rewards/accuracies"] == 0.5


def test_each_side_loses_its_own_beginning(tiny: Path) -> None:
    """32 tokens hold all of the short text, and of the long one its answer with some before it."""
    row = {"dialogue": "\n\nHuman: Why?\n\nAssistant:", "chosen": "Yes. Yes.", "rejected": "No."}
    encoder = TextEncoder(as_folder(tiny), " ", 32)
    [pair] = dpo.make_examples([row], encoder)
    texts = {side: encoder.encode(row["dialogue"], row[side]) for side in SIDES}
    assert len(texts["chosen"].dialogue) < len(texts["rejected"].dialogue)
    logps = {"ref_chosen_logps": -1.5, "ref_rejected_logps": -2.5}
    batch = dpo.PairCollator(pad=0)([{**pair, **logps}])
    for number, text in enumerate(texts.values()):
        length = len(text.ids)
        assert batch["input_ids"][number, :length].tolist() == text.ids
        assert batch["attention_mask"][number].tolist()[:length] == [1] * length
        assert batch["attention_mask"][number, length:].sum() == 0
        assert batch["completion_mask"][number].sum() == len(text.answer)
        assert batch["completion_mask"][number, length - len(text.answer) : length].all()
    assert (batch["ref_chosen_logps"].item(), batch["ref_rejected_logps"].item()) == (-1.5, -2.5)


@pytest.mark.parametrize("sharded", [False, True])
def test_no_reference_model_is_loaded_sharded_or_not(
    sharded: bool, tiny: Path, reward_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TRL would load one where it shards, even with log-probabilities computed before."""
    load, create = dpo_trainer.create_model_from_path, DPOTrainer.create_accelerator_and_postprocess
    loaded: list[str] = []
    made: list[Any] = []

    def count(path: str, **kwargs: Any) -> Any:
        loaded.append(path)
        return load(path, **kwargs)

    def shard(self: Any) -> None:
        create(self)
        self.is_fsdp_enabled = sharded

    monkeypatch.setattr(dpo_trainer, "create_model_from_path", count)
    monkeypatch.setattr(DPOTrainer, "create_accelerator_and_postprocess", shard)
    monkeypatch.setattr(dpo, "train_model", lambda trainer, *_: made.append(trainer))
    run = write_job("dpo", tmp_path, tiny, make_rows(2, seed=0), reward_model=reward_model)
    dpo.run(run.job)
    assert loaded == [str(tiny)]
    [trainer] = made
    assert trainer.ref_model is None
    assert trainer.is_fsdp_enabled == sharded
