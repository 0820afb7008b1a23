"""Reinforcement learning: rollouts are whole, rewards are those that the reward model gives."""

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from training_jobs import Run, as_folder, compare, compute_margins, make_rows, make_score_job, train
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from trl import RLOOConfig, RLOOTrainer

from almost_kedro.models.texts import TextEncoder
from almost_kedro.rows.json_lines import read_rows
from almost_kedro.training.rewarders import Rewarder
from almost_kedro.training.score import run_job

TOLERANCE = 1e-4
SIDES = ["chosen", "rejected"]


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["rloo", "grpo"])
def rl_run(
    request: pytest.FixtureRequest,
    reward_run: Run,
    sft_run: Run,
    tmp_path_factory: pytest.TempPathFactory,
) -> Run:
    """The policy of short answers, rewarded for length."""
    return train(
        "rl",
        tmp_path_factory.mktemp(request.param),
        sft_run.model,
        make_rows(32, seed=2),
        reward_model=reward_run.model,
        algorithm=request.param,
        steps=12,
        save_every=100,
        batch_size=16,
        max_new_tokens=32,
        learning_rate=2e-3,
        beta=0.01,
        watch={"every": 6, "max_kl": 1000, "max_length_ratio": 100},
        changes={"reward_max_length": 256},
    )


def score(tmp_path: Path, model: Path, rows: list[dict[str, Any]], **changes: Any) -> list[float]:
    run_job(make_score_job(tmp_path, model, rows, **changes))
    return [row["reward"] for row in read_rows(tmp_path / "rewards.jsonl")]


def test_rl_earns_more(rl_run: Run, sft_run: Run) -> None:
    rewards = [row["reward"] for row in rl_run.read("curve.jsonl")]
    assert len(rewards) == 12
    assert sum(rewards[-3:]) / 3 > sum(rewards[:3]) / 3 + 0.5
    assert compare(sft_run.load(), rl_run.load()) > 1e-3


def test_every_rollout_is_a_whole_row(rl_run: Run) -> None:
    rows = rl_run.read("rollouts.jsonl")
    assert [row["step"] for row in rows] == [step for step in range(1, 13) for _ in range(16)]
    prompts = {row["id"] for row in make_rows(32, seed=2)}
    for start in range(0, len(rows), 4):
        group = rows[start : start + 4]
        assert [row["sample"] for row in group] == [0, 1, 2, 3]
        assert len({row["prompt_id"] for row in group}) == 1
    assert {row["prompt_id"] for row in rows} <= prompts
    assert len({row["prompt_id"] for row in rows}) == 32  # none twice before all had their turn
    for row in rows:
        assert set(row) == {
            *{"step", "sample", "prompt_id", "completion", "finish_reason", "n_tokens"},
            *{"reward", "kl"},
        }
        assert 1 <= row["n_tokens"] <= 32
        assert row["finish_reason"] == "eos" or row["n_tokens"] == 32
    curve = rl_run.read("curve.jsonl")
    for step in (1, 12):
        mean = sum(row["reward"] for row in rows if row["step"] == step) / 16
        assert curve[step - 1]["reward"] == pytest.approx(mean, abs=TOLERANCE)


def test_the_kl_is_nothing_at_first_and_grows(rl_run: Run) -> None:
    rows = rl_run.read("rollouts.jsonl")
    assert all(row["kl"] == 0 for row in rows if row["step"] == 1)
    last = [row["kl"] for row in rows if row["step"] == 12]
    assert sum(last) / len(last) > 0.01


def test_the_rewards_of_rollouts_are_those_of_their_texts(rl_run: Run, tmp_path: Path) -> None:
    dialogues = {row["id"]: row["dialogue"] for row in make_rows(32, seed=2)}
    rollouts = rl_run.read("rollouts.jsonl")
    rows = [
        {"id": str(i), "dialogue": dialogues[r["prompt_id"]], "answer": r["completion"]}
        for i, r in enumerate(rollouts)
    ]
    assert rl_run.job.reward_model
    assert rl_run.job.reward_model.folder
    rewards = score(tmp_path, rl_run.job.reward_model.folder, rows)
    assert [r["reward"] for r in rollouts] == pytest.approx(rewards, abs=TOLERANCE)
    cut = [r for r in rollouts if r["finish_reason"] == "length" and r["completion"]]
    assert len(cut) > 10
    assert all(r["completion"].endswith((".", "!", "?")) for r in cut), cut


@pytest.mark.parametrize("max_length", [256, 24])
def test_the_reward_in_rl_is_that_of_score_and_of_training(
    max_length: int, reward_run: Run, sft_run: Run, tmp_path: Path
) -> None:
    rows = make_rows(12, seed=9)
    changes = {"reward_model": as_folder(reward_run.model), "reward_max_length": max_length}
    job = sft_run.job.model_copy(update=changes)
    rewarder = Rewarder(as_folder(reward_run.model), job, torch.device("cpu"))
    dialogues = [row["dialogue"] for row in rows]
    rewards = rewarder.reward(dialogues, [row["chosen"] for row in rows])
    answers = [{**row, "answer": row["chosen"]} for row in rows]
    scored = score(tmp_path, reward_run.model, answers, max_length=max_length)
    assert rewards == pytest.approx(scored, abs=TOLERANCE)
    network = AutoModelForSequenceClassification.from_pretrained(
        reward_run.model, dtype=torch.float32
    )
    rejected = rewarder.reward(dialogues, [row["rejected"] for row in rows])
    margins = compute_margins(
        network, TextEncoder(as_folder(reward_run.model), " ", max_length), rows
    )
    own = [a - b for a, b in zip(rewards, rejected, strict=True)]
    assert own == pytest.approx(margins.tolist(), abs=2 * TOLERANCE)


def test_trls_own_rewards_are_others(reward_run: Run, sft_run: Run, tmp_path: Path) -> None:
    """TRL decodes the completion and scores it without eos; why `RolloutMixin` exists."""
    tokenizer = AutoTokenizer.from_pretrained(sft_run.model, padding_side="left")
    trainer = RLOOTrainer(
        model=str(sft_run.model),
        reward_funcs=str(reward_run.model),
        args=RLOOConfig(
            output_dir=str(tmp_path), use_cpu=True, num_generations=2, report_to=[], bf16=False
        ),
        processing_class=tokenizer,
        train_dataset=Dataset.from_list([{"prompt": "a"}] * 4),
    )
    row = make_rows(1, seed=9)[0]
    ids = TextEncoder(as_folder(sft_run.model), " ", 512).encode_rows([row], "chosen")[0].answer
    completion = tokenizer.decode(ids, skip_special_tokens=True)
    inputs = [{"prompt": row["dialogue"]}]
    theirs = trainer._calculate_rewards(inputs, [row["dialogue"]], [completion], [ids])
    job = sft_run.job.model_copy(update={"reward_max_length": 256})
    ours = Rewarder(as_folder(reward_run.model), job, torch.device("cpu"))
    [own] = ours.reward([row["dialogue"]], [row["chosen"]])
    assert abs(float(theirs[0, 0]) - own) > 100 * TOLERANCE
