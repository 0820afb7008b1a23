"""Each program really trains a tiny model, and computes what it says."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from training_jobs import (
    Run,
    as_folder,
    compare,
    compute_margins,
    make_rows,
    score_in_a_fresh_process,
)
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, set_seed

from almost_kedro.models.texts import TextEncoder
from almost_kedro.training.batches import order_rows

EOS = 2
TOLERANCE = 1e-4
SIDES = ["chosen", "rejected"]


def get_first_step(run: Run, rows: list[dict[str, Any]], fields: list[str]) -> list[dict[str, Any]]:
    encoder = TextEncoder(run.job.base, " ", 10_000)
    lengths = [max(len(encoder.encode(r["dialogue"], r[f]).ids) for f in fields) for r in rows]
    order = order_rows(lengths, run.job.options.batch_size, 1, run.job.seed)
    return [rows[row] for row in order[: run.job.options.batch_size]]


def test_the_reward_model_learns(reward_run: Run, tiny: Path) -> None:
    curve = reward_run.read("curve.jsonl")
    assert [row["step"] for row in curve] == list(range(1, 13))
    assert curve[0]["loss"] > 2 * curve[-1]["loss"]
    before = load_file(tiny / "model.safetensors")
    after = reward_run.load()
    changed = {k for k in before.keys() & after if not torch.equal(before[k].float(), after[k])}
    assert len(changed) == len(before) - 1  # all but the language model's own head
    assert "score.bias" not in after


def test_the_first_loss_of_a_reward_model_is_computed_by_hand(reward_run: Run, tiny: Path) -> None:
    rows = make_rows(48, seed=0)
    set_seed(reward_run.job.seed)  # draws the head
    network = AutoModelForSequenceClassification.from_pretrained(
        tiny, num_labels=1, dtype=torch.float32
    )
    encoder = TextEncoder(reward_run.job.base, " ", 1024)
    margins = compute_margins(network, encoder, get_first_step(reward_run, rows, SIDES))
    by_hand = sum(math.log1p(math.exp(-margin)) for margin in margins.tolist()) / len(margins)
    assert reward_run.losses[0] == pytest.approx(by_hand, abs=TOLERANCE)


def test_minus_log_sigmoid_of_the_margin() -> None:
    """The same formula on numbers small enough for paper: margins 0 and log 3."""
    margins = torch.tensor([0.0, math.log(3)])
    loss = -torch.nn.functional.logsigmoid(margins).mean()
    assert float(loss) == pytest.approx((math.log(2) + math.log(4 / 3)) / 2)


def test_a_saved_model_has_no_pickle_and_nothing_else_is_left(
    reward_run: Run, sft_run: Run
) -> None:
    for run in (reward_run, sft_run):
        names = {path.name for path in run.model.iterdir()}
        assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
        assert not [name for name in names if name.endswith((".bin", ".pt", ".pth"))]
        left = {path.name for path in run.job.out.iterdir()}
        assert left == {
            *{"job.json", "rows.jsonl", "watch_rows.jsonl", "train.log"},
            *{"model", "served", "curve.jsonl", "metrics.json"},
        }
        assert (run.job.out / "train.log").read_text() == ""


def test_metrics_say_what_it_cost(reward_run: Run) -> None:
    metrics = reward_run.metrics
    assert (metrics["ranks"], metrics["sharded"], metrics["steps"]) == (1, False, 12)
    encoder = TextEncoder(reward_run.job.base, " ", 1024)
    texts = [
        encoder.encode(row["dialogue"], row[side])
        for row in make_rows(48, seed=0)
        for side in SIDES
    ]
    assert metrics["tokens"] == sum(len(text.ids) for text in texts)
    assert metrics["first_loss"] == reward_run.losses[0]
    assert 100 < metrics["peak_memory_mb"] < 6000


def test_a_fresh_process_gives_the_rewards_of_training_at_the_eos(
    reward_run: Run, tmp_path: Path
) -> None:
    rows = make_rows(12, seed=7)
    rewards = score_in_a_fresh_process(tmp_path, reward_run.model, rows)
    network = AutoModelForSequenceClassification.from_pretrained(
        reward_run.model, dtype=torch.float32
    )
    encoder = TextEncoder(as_folder(reward_run.model), " ", 256)
    for row, reward in zip(rows, rewards, strict=True):
        ids = encoder.encode(row["dialogue"], row["answer"]).ids
        with torch.no_grad():
            own, cut = (float(network(torch.tensor([i])).logits) for i in (ids, ids[:-1]))
        assert ids[-1] == EOS
        assert reward == pytest.approx(own, abs=TOLERANCE)
        assert abs(reward - cut) > 10 * TOLERANCE


def test_sft_learns(sft_run: Run, tiny: Path) -> None:
    assert sft_run.losses[0] > 5 * sft_run.losses[-1]
    before = {k: v.float() for k, v in load_file(tiny / "model.safetensors").items()}
    assert compare(before, sft_run.load()) > 0.01


def test_the_first_loss_of_sft_is_the_mean_over_answer_and_eos_tokens(
    sft_run: Run, tiny: Path
) -> None:
    network = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    encoder = TextEncoder(sft_run.job.base, " ", 512)
    losses: list[float] = []
    for row in get_first_step(sft_run, make_rows(48, seed=1), ["answer"]):
        text = encoder.encode(row["dialogue"], row["answer"])
        with torch.no_grad():
            logps = network(torch.tensor([text.ids])).logits[0].log_softmax(-1)
        start = len(text.dialogue)
        losses += [-float(logps[start + i - 1, token]) for i, token in enumerate(text.answer)]
    assert sft_run.losses[0] == pytest.approx(sum(losses) / len(losses), abs=TOLERANCE)


def test_a_policy_in_a_fresh_process_answers_and_ends(sft_run: Run) -> None:
    network = AutoModelForCausalLM.from_pretrained(sft_run.model, dtype=torch.float32)
    encoder = TextEncoder(as_folder(sft_run.model), " ", 512)
    ids = encoder.encode_dialogue(make_rows(1, seed=8)[0]["dialogue"])
    answer = network.generate(torch.tensor([ids]), max_new_tokens=30, do_sample=False)[
        0, len(ids) :
    ]
    assert encoder.tokenizer.decode(answer).startswith(" Yes.")
    assert answer[-1] == EOS
