"""Real runs that go too far: a policy of short answers, and a reward model that pays for length."""

from pathlib import Path

import pytest
import torch
from crashes import kill_when
from training_jobs import Run, as_folder, compare, cut_after, make_rows, train
from transformers import AutoModelForCausalLM, GenerationConfig

from almost_kedro.models.texts import TextEncoder
from almost_kedro.training.launch import launch
from almost_kedro.training.rollouts import use_engine

pytestmark = pytest.mark.slow

WATCH = make_rows(8, seed=12)
OPTIONS = {"steps": 40, "batch_size": 16, "learning_rate": 3e-3, "beta": 0.0, "max_new_tokens": 40}

BY_LENGTH = {
    **OPTIONS,
    "learning_rate": 5e-4,
    "save_every": 1,
    "watch": {"every": 1, "max_kl": 1e6, "max_length_ratio": 1.5},
}


@pytest.fixture(scope="module")
def by_length(reward_run: Run, sft_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Both reward models pay for length, so that only the bound on length can stop it."""
    return train(
        "rl",
        tmp_path_factory.mktemp("length"),
        sft_run.model,
        make_rows(32, seed=10),
        reward_model=reward_run.model,
        watch_rows=WATCH,
        **BY_LENGTH,
    )


@pytest.fixture(scope="module")
def by_reward(
    tiny: Path, reward_run: Run, sft_run: Run, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    """The held-out reward model prefers what is short: it falls where the other one rises."""
    rows = [{**r, "chosen": r["rejected"], "rejected": r["chosen"]} for r in make_rows(48, 11)]
    judge = train("reward", tmp_path_factory.mktemp("judge"), tiny, rows)
    return train(
        "rl",
        tmp_path_factory.mktemp("reward"),
        sft_run.model,
        make_rows(32, seed=10),
        reward_model=reward_run.model,
        held_out=judge.model,
        watch_rows=WATCH,
        watch={"every": 2, "patience": 2, "max_kl": 1e6, "max_length_ratio": 1e6},
        **OPTIONS,
    )


@pytest.fixture(scope="module")
def by_preference(reward_run: Run, sft_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """DPO on pairs of which the longer answer is chosen; the held-out reward model likes it."""
    return train(
        "dpo",
        tmp_path_factory.mktemp("preference"),
        sft_run.model,
        make_rows(64, seed=13),
        reward_model=reward_run.model,
        watch_rows=WATCH,
        epochs=3,
        batch_size=2,  # yet all prompts of the watch at once, as `measure_length` asks them
        learning_rate=3e-4,
        save_every=1,
        watch={"every": 1, "max_length_ratio": 1.5, "max_new_tokens": 40, "temperature": 1.0},
    )


def measure_length(run: Run, model: Path) -> float:
    """The mean length of a model's answers to the watch's prompts, as the watch draws them."""
    network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    encoder = TextEncoder(as_folder(model), " ", 512)
    rows = [encoder.encode_dialogue(row["dialogue"]) for row in WATCH]
    width = max(map(len, rows))
    ids = torch.tensor([[0] * (width - len(row)) + row for row in rows])
    use_engine(network, run.job, [encoder.eos])
    torch.manual_seed(run.job.seed)
    sampling = GenerationConfig(temperature=1.0, top_p=1.0, max_new_tokens=40, pad_token_id=0)
    output = network.generate(ids, attention_mask=(ids != 0).long(), generation_config=sampling)
    answers = [cut_after(answer, [encoder.eos]) for answer in output[:, width:].tolist()]
    return sum(map(len, answers)) / len(answers)


def test_answers_that_grow_too_long_stop_it(by_length: Run) -> None:
    scores, metrics = by_length.read("watch.jsonl"), by_length.metrics
    assert metrics["stopped"]
    assert "tokens an answer; at most 1.5 x" in metrics["reason"]
    assert scores[-1]["length"] > 1.5 * scores[0]["length"]
    assert scores[-1]["reward"] > scores[0]["reward"]
    assert metrics["steps"] == scores[-1]["step"] < 40
    assert 0 < metrics["best_step"] < scores[-1]["step"]


def test_a_held_out_reward_that_falls_while_the_reward_rises_stops_it(by_reward: Run) -> None:
    scores, metrics = by_reward.read("watch.jsonl"), by_reward.metrics
    assert metrics["stopped"]
    assert "the held-out reward was below its best" in metrics["reason"]
    [best] = [score for score in scores if score["step"] == metrics["best_step"]]
    assert scores[-1]["held_out_reward"] < best["held_out_reward"]
    assert scores[-1]["reward"] > best["reward"]
    assert metrics["steps"] == scores[-1]["step"] < 40


def test_the_kept_policy_is_the_best_steps(by_length: Run, by_reward: Run, sft_run: Run) -> None:
    for run in (by_length, by_reward):
        best = run.metrics["best_step"]
        [score] = [score for score in run.read("watch.jsonl") if score["step"] == best]
        assert measure_length(run, run.model) == score["length"]
        assert (compare(run.load(), sft_run.load()) == 0) == (best == 0)
        assert not (run.job.out / "state").exists()


def test_the_same_watch_stops_dpo_and_keeps_its_best_policy(
    by_preference: Run, sft_run: Run
) -> None:
    run = by_preference
    scores, metrics = run.read("watch.jsonl"), run.metrics
    assert metrics["stopped"]
    assert "tokens an answer; at most 1.5 x" in metrics["reason"]
    assert metrics["steps"] == scores[-1]["step"] < 24
    best = metrics["best_step"]
    [score] = [score for score in scores if score["step"] == best]
    assert measure_length(run, run.model) == score["length"]
    assert (compare(run.load(), sft_run.load()) == 0) == (best == 0)


def test_what_dpo_is_rewarded_for_is_the_margin_of_its_pairs(by_preference: Run) -> None:
    """A score has the mean of the steps since the last one; its own is logged after it."""
    scores, curve = by_preference.read("watch.jsonl"), by_preference.read("curve.jsonl")
    margins = [step["rewards/margins"] for step in curve]
    assert [score["reward"] for score in scores] == [0, 0, *margins[: len(scores) - 2]]
    assert scores[-1]["reward"] > scores[1]["reward"]


def test_rollouts_and_curve_end_where_it_stopped(by_length: Run) -> None:
    steps = by_length.metrics["steps"]
    assert [row["step"] for row in by_length.read("curve.jsonl")] == list(range(1, steps + 1))
    assert by_length.read("rollouts.jsonl")[-1]["step"] == steps
    assert all(row["kl"] == 0 for row in by_length.read("rollouts.jsonl"))  # beta 0: no reference


def test_a_stopped_run_killed_while_it_ends_keeps_the_same_policy(
    by_length: Run, tmp_path: Path
) -> None:
    run = Run(by_length.job.model_copy(update={"out": tmp_path}))
    run.job_file.write_text(run.job.model_dump_json())
    kill_when(run, "rank", lambda: (tmp_path / "model.part").exists())
    launch(run.job, run.job_file)
    assert compare(run.load(), by_length.load()) == 0
    for name in ("watch.jsonl", "rollouts.jsonl"):
        assert run.read(name) == by_length.read(name)
    for name in ("stopped", "reason", "best_step", "steps"):
        assert run.metrics[name] == by_length.metrics[name]
