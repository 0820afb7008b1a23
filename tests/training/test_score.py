"""Rewards: the same alone and in a batch, and those of the model itself."""

import json
import math
from pathlib import Path

import pytest
import torch
from training_jobs import Run, as_folder, make_rows, make_score_job
from transformers import AutoModelForSequenceClassification

from almost_kedro.errors import UserError
from almost_kedro.generation.trees import make_batches
from almost_kedro.models.texts import TextEncoder
from almost_kedro.processes.run import run_program
from almost_kedro.training.score import RewardScorer, main, measure_padding, run_job

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def scorer(reward_run: Run) -> RewardScorer:
    return RewardScorer(as_folder(reward_run.model), torch.float32, torch.device("cpu"))


@pytest.fixture(scope="module")
def texts(reward_run: Run) -> list[list[int]]:
    encoder = TextEncoder(as_folder(reward_run.model), " ", 256)
    return [text.ids for text in encoder.encode_rows(make_rows(24, seed=5), "chosen")]


def score_alone(model: Path, ids: list[int]) -> float:
    """The head at the last token, without padding or our code."""
    network = AutoModelForSequenceClassification.from_pretrained(model, dtype=torch.float32)
    assert network.score.bias is None
    with torch.no_grad():
        hidden = network.model(torch.tensor([ids])).last_hidden_state
        return float(hidden[0, -1] @ network.score.weight[0])


def test_rewards_are_the_models_own(
    scorer: RewardScorer, texts: list[list[int]], reward_run: Run
) -> None:
    rewards = scorer.score(texts, batch_tokens=300)
    for ids, reward in zip(texts[:6], rewards, strict=False):
        assert ids[-1] == 2
        assert reward == pytest.approx(score_alone(reward_run.model, ids), abs=TOLERANCE)


def test_in_bfloat16_the_head_multiplies_in_float32(
    texts: list[list[int]], reward_run: Run
) -> None:
    """A reward of 5 would be a multiple of 1/32; all that scores is a `RewardScorer`."""
    model, dtype = as_folder(reward_run.model), torch.bfloat16
    rewards = RewardScorer(model, dtype, torch.device("cpu")).score(texts)
    assert any(reward != float(torch.tensor(reward).to(dtype)) for reward in rewards)
    network = AutoModelForSequenceClassification.from_pretrained(model.folder, dtype=dtype)
    with torch.no_grad():
        for ids, reward in zip(texts[:6], rewards, strict=False):
            state = network.model(torch.tensor([ids])).last_hidden_state[0, -1].float()
            by_hand = float(state @ network.score.weight[0].float())
            assert reward == pytest.approx(by_hand, abs=0.05)


@pytest.mark.parametrize("batch_tokens", [1, 200, 100_000])
def test_a_row_scores_the_same_in_any_batch(
    scorer: RewardScorer, texts: list[list[int]], batch_tokens: int
) -> None:
    alone = [scorer.score([ids])[0] for ids in texts]
    assert scorer.score(texts, batch_tokens) == pytest.approx(alone, abs=TOLERANCE)


def test_answers_to_one_dialogue_score_as_they_do_alone(
    scorer: RewardScorer, texts: list[list[int]]
) -> None:
    dialogue, eos = [77] * 60, texts[0][-1]
    rows = [[*dialogue, *text[-9:]] for text in texts[:6]] + [[*dialogue, 5, eos]] * 2
    [batch] = make_batches(rows, [1] * 8, 32, 4096, 4096)
    assert len(batch.shared) == 60
    alone = [scorer.score([row])[0] for row in rows]
    assert scorer.score(rows) == pytest.approx(alone, abs=TOLERANCE)


def test_measured_padding_is_the_root_mean_square_of_the_differences(
    scorer: RewardScorer, texts: list[list[int]]
) -> None:
    rewards = scorer.score(texts)
    assert measure_padding(scorer, texts, rewards, 8) < TOLERANCE
    longest = max(range(len(texts)), key=lambda row: len(texts[row]))
    rewards[longest] += 1.0
    # One of the 8 rows that are looked at is off by 1.
    share = math.sqrt(1 / 8)
    assert measure_padding(scorer, texts, rewards, 8) == pytest.approx(share, abs=TOLERANCE)
    apart = [reward + 0.5 for reward in scorer.score(texts)]
    assert measure_padding(scorer, texts, apart, 24) == pytest.approx(0.5, abs=TOLERANCE)
    assert measure_padding(scorer, [], [], 8) == 0.0


def test_a_job_writes_rewards_in_order_then_what_they_cost(
    scorer: RewardScorer, reward_run: Run, tmp_path: Path
) -> None:
    job = make_score_job(tmp_path, reward_run.model, make_rows(24, seed=5))
    (tmp_path / "job.json").write_text(job.model_dump_json())
    run_program("almost_kedro.training.score", tmp_path / "job.json", tmp_path / "log")
    rows = [json.loads(line) for line in (tmp_path / "rewards.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == [f"row5-{i}" for i in range(24)]
    encoder = TextEncoder(as_folder(reward_run.model), " ", 256)
    answers = encoder.encode_rows(make_rows(24, seed=5), "answer")
    own = scorer.score([answer.ids for answer in answers])
    assert [row["reward"] for row in rows] == pytest.approx(own, abs=TOLERANCE)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["rows"] == 24
    assert metrics["tokens"] == sum(len(answer.ids) for answer in answers)
    assert metrics["padding_difference"] < TOLERANCE
    assert metrics["peak_memory_mb"] > 100
    assert (tmp_path / "log").read_text() == ""  # progress is all that it says


def test_a_long_text_loses_its_beginning_as_in_training(
    scorer: RewardScorer, reward_run: Run, tmp_path: Path
) -> None:
    rows = make_rows(1, seed=5)
    run_job(make_score_job(tmp_path, reward_run.model, rows, max_length=20))
    [row] = [json.loads(line) for line in (tmp_path / "rewards.jsonl").read_text().splitlines()]
    whole = TextEncoder(as_folder(reward_run.model), " ", 256).encode_rows(rows, "answer")[0]
    assert row["reward"] == pytest.approx(scorer.score([whole.ids[-20:]])[0], abs=TOLERANCE)


def test_no_rows_cost_nothing(reward_run: Run, tmp_path: Path) -> None:
    run_job(make_score_job(tmp_path, reward_run.model, []))
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert (metrics["rows"], metrics["tokens_per_second"]) == (0, 0.0)
    assert math.isfinite(metrics["padding_difference"])


def test_a_limit_that_the_model_does_not_reach_is_one_clear_line(
    reward_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = make_score_job(tmp_path, reward_run.model, [], max_length=20_000)
    with pytest.raises(UserError, match=r"option reward_model\.max_length"):
        run_job(job)
    (tmp_path / "job.json").write_text(job.model_dump_json())
    assert main(str(tmp_path / "job.json")) == 2
    assert capsys.readouterr().err.startswith("error: option reward_model.max_length: 20000 ")
