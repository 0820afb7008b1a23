"""DPO really trains a tiny model, on the loss that is computed by hand."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from training_jobs import SIDES, Run, as_folder, compare, compute_logp
from transformers import AutoModelForCausalLM

from almost_kedro.models.texts import TextEncoder

LN2 = math.log(2)


def measure_margins(model: Path, run: Run, rows: list[dict[str, Any]]) -> list[float]:
    """beta * (log-ratio of chosen - log-ratio of rejected), each text computed alone."""
    network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    encoder = TextEncoder(as_folder(model), " ", 256)
    margins = []
    for row in rows:
        ratios = [compute_logp(network, encoder, row, s) - row[f"ref_{s}_logps"] for s in SIDES]
        margins.append(0.1 * (ratios[0] - ratios[1]))
    return margins


def test_the_policy_begins_as_the_reference_so_the_first_loss_is_ln_2(dpo_run: Run) -> None:
    first = dpo_run.read("curve.jsonl")[0]
    assert first["loss"] == pytest.approx(LN2, abs=1e-5)
    assert first["rewards/margins"] == pytest.approx(0, abs=1e-5)


def test_the_implicit_reward_comes_to_prefer_the_chosen_answers(dpo_run: Run, tiny: Path) -> None:
    rows = dpo_run.read("rows.jsonl")
    before, after = (measure_margins(model, dpo_run, rows) for model in (tiny, dpo_run.model))
    assert before == pytest.approx([0] * 48, abs=1e-5)
    assert sum(margin > 0 for margin in after) > 43
    assert dpo_run.losses[-1] < LN2 / 2
    assert (
        compare(
            {k: v.float() for k, v in load_file(tiny / "model.safetensors").items()}, dpo_run.load()
        )
        > 0.001
    )


def test_the_last_step_is_computed_by_hand_from_the_checkpoint_before_it(dpo_run: Run) -> None:
    """x"""
