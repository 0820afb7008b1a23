"""Models with a weight that is not finite, as reward model, policy or judge of the watch."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from families import make_judge, save
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from poisoned_weights import EVERYWHERE, NUMBERS, draw_poison, poison
from training_jobs import make_rows, make_score_job, write_job

from almost_kedro.errors import UserError
from almost_kedro.options.launch import LaunchOptions
from almost_kedro.rows.json_lines import read_rows
from almost_kedro.training import rank, score
from almost_kedro.training.guards import GuardedLoss
from almost_kedro.training.over_optimisation import ROLLOUTS, SCORES, Watch
from almost_kedro.training.reporter import Reporter
from almost_kedro.training.rollouts import RolloutMixin

few = settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
# Its row in the embeddings is read by texts with a z alone.
Z = (ord("z") - 30) * 32


@pytest.fixture(scope="module")
def judge(tiny_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("judge")
    return save(make_judge(), folder, tiny_models)


def run_scoring(tmp_path: Path, model: Path, dtype: str) -> int:
    out = tmp_path / "out"
    for old in out.glob("*"):
        old.unlink()
    job = make_score_job(out, model, make_rows(6, seed=5), dtype=dtype)
    (out / "job.json").write_text(job.model_dump_json())
    return score.main(str(out / "job.json"))


def check_refused(status: int, out: Path, error: str) -> str:
    """One line, which is returned, and nothing that a later run takes for done."""
    assert status == 2
    [line] = [line for line in error.splitlines() if line.startswith("error: ")]
    assert "diverged" not in line
    for name in ("metrics.json", "rewards.jsonl", "curve.jsonl", "watch.jsonl", "model"):
        assert not (out / name).exists()
    return line


@few
@given(
    weight=st.sampled_from([*EVERYWHERE, "score.weight"]),
    place=st.integers(0, 10**6),
    dtype=st.sampled_from(NUMBERS),
)
def test_a_nan_that_every_text_reads_is_refused_with_row_format_and_weight(
    weight: str,
    place: int,
    dtype: str,
    judge: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = poison(judge, tmp_path / "model", weight, place, math.nan)
    status = run_scoring(tmp_path, model, dtype)
    line = check_refused(status, tmp_path / "out", capsys.readouterr().err)
    assert line.startswith("error: row 'row5-")
    assert f"': its reward is nan; the model computes in {dtype}, and its weight {weight}" in line


@few
@given(data=st.data(), dtype=st.sampled_from(NUMBERS))
def test_whatever_weight_it_is_the_rewards_that_are_kept_are_finite(
    data: st.DataObject,
    dtype: str,
    judge: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = poison(judge, tmp_path / "model", *data.draw(draw_poison(judge)))
    status, out = run_scoring(tmp_path, model, dtype), tmp_path / "out"
    if status:
        check_refused(status, out, capsys.readouterr().err)
    else:
        rewards = [row["reward"] for row in read_rows(out / "rewards.jsonl")]
        assert len(rewards) == 6
        assert all(map(math.isfinite, rewards))


@pytest.mark.parametrize(
    ("dtype", "remedy"),
    [("float32", "take another model than 'model', or"), ("bfloat16", "set launch.dtype: float32")],
)
def test_that_the_weights_are_finite_is_said_too(
    dtype: str,
    remedy: str,
    tiny_models: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    large = make_judge()
    with torch.no_grad():
        large.score.weight.fill_(3e38)
    status = run_scoring(tmp_path, save(large, tmp_path / "model", tiny_models), dtype)
    line = check_refused(status, tmp_path / "out", capsys.readouterr().err)
    assert f"; the model computes in {dtype}, and all its weights are finite: {remedy}" in line


def run_rl(out: Path, base: Path, judge: Path, **more: Any) -> int:
    options = {"batch_size": 4, "steps": 2, "max_new_tokens": 4, "watch": {"every": 1}} | more
    run = write_job("rl", out, base, make_rows(2, seed=0), reward_model=judge, **options)
    return rank.main(str(run.job_file))


def test_the_watch_refuses_a_held_out_reward_that_is_none(
    tiny: Path, judge: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = make_rows(3, seed=7)
    for row in rows:
        row["dialogue"] = row["dialogue"].replace("z", "a")
    rows[1]["dialogue"] = "z" + rows[1]["dialogue"]
    other = poison(judge, tmp_path / "held_out", "model.embed_tokens.weight", Z, math.nan)
    status = run_rl(tmp_path / "out", tiny, judge, held_out=other, watch_rows=rows)
    line = check_refused(status, tmp_path / "out", capsys.readouterr().err)
    assert line.startswith("error: row 'row7-1': its reward is nan; the model computes in float32")


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("program", ["reward", "sft", "dpo"])
def test_a_base_with_a_nan_is_not_trained_on(
    program: str,
    dtype: Any,
    tiny: Path,
    judge: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    base = poison(tiny, tmp_path / "base", EVERYWHERE[3], 7, math.nan)
    changes = {"launch": LaunchOptions(dtype=dtype)}
    rows = make_rows(8, seed=0)
    run = write_job(program, tmp_path / "out", base, rows, reward_model=judge, changes=changes)
    status = rank.main(str(run.job_file))
    line = check_refused(status, tmp_path / "out", capsys.readouterr().err)
    # DPO's watch lets the policy answer before anything is trained.
    found = "prompt row0-" if program == "dpo" else "the loss is nan at rows row0-"
    assert line.startswith(f"error: {found}")
    assert f" the model computes in {dtype}, and its weight {EVERYWHERE[3]} is not finite" in line


@pytest.mark.parametrize("dtype", NUMBERS)
def test_a_policy_without_logits_is_named_with_the_prompt_before_it_writes(
    dtype: Any, tiny: Path, judge: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = poison(tiny, tmp_path / "base", "model.norm.weight", 0, math.nan)
    changes = {"launch": LaunchOptions(dtype=dtype)}
    status = run_rl(tmp_path / "out", base, judge, changes=changes)
    line = check_refused(status, tmp_path / "out", capsys.readouterr().err)
    assert line.startswith("error: prompt row0-")
    assert "the policy's logits are no finite numbers; after step 0, the model computes in" in line
    assert f" {dtype}, and its weight model.norm.weight is not finite" in line


def test_a_rate_that_blows_up_reinforcement_learning_is_one_line_with_step_and_prompt(
    tiny: Path, judge: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Random bytes are hardly ever whole sentences, which are all that corrected rules leave.
    changes = {"rules": "original"}
    status = run_rl(tmp_path / "out", tiny, judge, learning_rate=1e37, changes=changes)
    line = check_refused(status, tmp_path / "out", capsys.readouterr().err)
    assert "row0-" in line
    assert "step 1" in line


class Policy(RolloutMixin):
    """What the mix-in asks of a trainer, and no more."""

    def __init__(self, weight: float):
        self.model = torch.nn.Linear(1, 1)
        self.model.weight.data.fill_(weight)
        self.args = SimpleNamespace(bf16=True)
        self.state = SimpleNamespace(global_step=3)


@pytest.mark.parametrize(
    ("weight", "known"), [(1.0, "all its weights are finite"), (math.inf, "its weight weight is")]
)
def test_where_torch_draws_the_prompts_are_named_too(weight: float, known: str) -> None:
    message = f"^prompts p1, p2: .* after step 3, the model computes in bfloat16, and {known}"
    with pytest.raises(UserError, match=message), Policy(weight).name_prompts(["p1", "p2"]):
        torch.multinomial(torch.tensor([0.5, math.nan]), 1)


def test_other_errors_while_a_policy_writes_stay_as_they_are() -> None:
    with pytest.raises(RuntimeError, match="shapes differ"), Policy(1.0).name_prompts(["p1"]):
        raise RuntimeError("shapes differ")


class Losses:
    """A trainer whose loss is what it is given."""

    def __init__(self, bf16: bool):
        self.args = SimpleNamespace(bf16=bf16)

    def compute_loss(self, model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        return inputs["loss"]


@given(values=st.lists(st.floats(width=32), min_size=1, max_size=4), bf16=st.booleans())
def test_a_loss_passes_if_it_is_finite_and_else_names_rows_and_format(
    values: list[float], bf16: bool
) -> None:
    trainer: Any = type("Guarded", (GuardedLoss, Losses), {})(bf16)
    trainer.row_ids = ["a", "b", "c"]
    for value in values:
        batch = {"row": torch.tensor([2, 0]), "loss": torch.tensor(value)}
        if math.isfinite(value):
            assert trainer.compute_loss(torch.nn.Linear(1, 1), batch) == value
        else:
            number = "bfloat16" if bf16 else "float32"
            known = f"at rows c, a; the model computes in {number}, and all its weights are finite"
            with pytest.raises(UserError, match=known):
                trainer.compute_loss(torch.nn.Linear(1, 1), batch)


@pytest.mark.parametrize("name", ["loss", "grad_norm", "kl", "reward", "entropy"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_figure_of_the_curve_may_be_endless(name: str, value: float, tmp_path: Path) -> None:
    job = write_job("sft", tmp_path, tmp_path, []).job
    reporter = Reporter(job, 4, lambda step: 0, lambda step: ["a", "b"])
    state, args = SimpleNamespace(global_step=2), SimpleNamespace(bf16=False)
    model = torch.nn.Linear(1, 1)
    reporter.on_log(args, state, None, {"loss": 1.0, "epoch": 1, "none": None}, model=model)
    with pytest.raises(UserError, match=f"^step 2: {name} is .* at rows a, b; the model computes"):
        reporter.on_log(args, state, None, {name: value}, model=model)


def test_a_checkpoint_whose_watch_kept_a_nan_is_not_gone_on_from(
    judge: Path, tmp_path: Path
) -> None:
    job = write_job("rl", tmp_path, judge, make_rows(1, 0), reward_model=judge).job
    accelerator = SimpleNamespace(process_index=0)
    trainer: Any = SimpleNamespace(rollouts=[], accelerator=accelerator)
    watch = Watch(trainer, job, None)  # type: ignore[arg-type]
    (tmp_path / ROLLOUTS).write_text("")
    (tmp_path / SCORES).write_text('{"step": 0, "held_out_reward": NaN}\n')
    with pytest.raises(UserError, match=r"watch.jsonl, line 1: not JSON \(NaN .*; delete .* start"):
        watch.resume(str(tmp_path))
