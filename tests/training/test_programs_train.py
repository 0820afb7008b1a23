"""Each program really trains a tiny model, and computes what it says."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file
from training_jobs import (
    Run,
    as_folder,
    compare,
    make_rows,
    make_score_job,
    score_in_a_fresh_process,
    train,
)
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    set_seed,
)
from trl import RLOOConfig, RLOOTrainer

from almost_kedro.json_lines import read_rows
from almost_kedro.training.batches import order_rows
from almost_kedro.training.rollouts import Rewarder
from almost_kedro.training.score import run_job
from almost_kedro.training.texts import TextEncoder

EOS = 2
TOLERANCE = 1e-4
SIDES = ["chosen", "rejected"]


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
        learning_rate=5e-3,
        beta=0.01,
        watch={"every": 6, "max_kl": 1000, "max_length_ratio": 100},
        changes={"reward_max_length": 256},
    )


def score(tmp_path: Path, model: Path, rows: list[dict[str, Any]], **changes: Any) -> list[float]:
    run_job(make_score_job(tmp_path, model, rows, **changes))
    return [row["reward"] for row in read_rows(tmp_path / "rewards.jsonl")]


def compute_margins(network: Any, encoder: TextEncoder, rows: list[dict[str, Any]]) -> torch.Tensor:
    """Reward of chosen - reward of rejected, each row alone; shape (rows,)."""
    margins = []
    with torch.no_grad():
        for row in rows:
            ids = [
                encoder.encode(row["dialogue"], row[side]).ids for side in ("chosen", "rejected")
            ]
            chosen, rejected = (network(torch.tensor([each])).logits[0, 0] for each in ids)
            margins.append(chosen - rejected)
    return torch.stack(margins)


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
            *{"model", "curve.jsonl", "metrics.json"},
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
    """Token ids from generation, and the same texts tokenised again by `score`."""
    dialogues = {row["id"]: row["dialogue"] for row in make_rows(32, seed=2)}
    # What is no text, or begins otherwise, is tokenised again as other ids.
    rollouts = [
        row
        for row in rl_run.read("rollouts.jsonl")
        if row["completion"].startswith("Yes.")
        and row["completion"].isascii()
        and row["n_tokens"] == len(" " + row["completion"]) + (row["finish_reason"] == "eos")
    ]
    assert len(rollouts) > 30
    rows = [
        {"id": str(i), "dialogue": dialogues[r["prompt_id"]], "answer": r["completion"]}
        for i, r in enumerate(rollouts)
    ]
    assert rl_run.job.reward_model
    assert rl_run.job.reward_model.folder
    rewards = score(tmp_path, rl_run.job.reward_model.folder, rows)
    differing = [
        rollout["completion"]
        for rollout, reward in zip(rollouts, rewards, strict=True)
        if abs(rollout["reward"] - reward) > TOLERANCE
    ]
    # Those that began with another blank than the space that was stripped.
    assert len(differing) < 0.05 * len(rollouts), differing


@pytest.mark.parametrize("max_length", [256, 24])
def test_the_reward_from_ids_is_that_of_score_and_of_training(
    max_length: int, reward_run: Run, sft_run: Run, tmp_path: Path
) -> None:
    rows = make_rows(12, seed=9)
    changes = {"reward_model": as_folder(reward_run.model), "reward_max_length": max_length}
    job = sft_run.job.model_copy(update=changes)
    policy = TextEncoder(as_folder(sft_run.model), " ", 512)
    ids = [text.answer for text in policy.encode_rows(rows, "chosen")]
    ids[3] = ids[3][:-1]  # ended by the token limit: it has no eos
    dialogues = [row["dialogue"] for row in rows]
    rewards = Rewarder(as_folder(reward_run.model), job, torch.device("cpu")).reward(
        dialogues, ids, [EOS]
    )
    answers = [{**row, "answer": row["chosen"]} for row in rows]
    scored = score(tmp_path, reward_run.model, answers, max_length=max_length)
    assert rewards == pytest.approx(scored, abs=TOLERANCE)
    network = AutoModelForSequenceClassification.from_pretrained(
        reward_run.model, dtype=torch.float32
    )
    rejected = Rewarder(as_folder(reward_run.model), job, torch.device("cpu")).reward(
        dialogues, [text.answer for text in policy.encode_rows(rows, "rejected")], [EOS]
    )
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
    [own] = ours.reward([row["dialogue"]], [ids], [EOS])
    assert abs(float(theirs[0, 0]) - own) > 100 * TOLERANCE
