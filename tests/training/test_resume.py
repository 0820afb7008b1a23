"""Pulling the plug on training: kill -9 of anyone, then the same again.

What comes out is compared bit by bit with an undisturbed run (CPU, float32). Moments and victims
are drawn by seed.
"""

import math
import random
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from crashes import count_whole, find, is_saving, kill_when, list_checkpoints, wait_until_gone
from safetensors.torch import load_file, save_file
from training_jobs import Run, make_rows, train, write_job

from almost_kedro.errors import UserError
from almost_kedro.training import rank
from almost_kedro.training.launch import launch
from almost_kedro.training.reporter import find_resumable

pytestmark = pytest.mark.slow

VICTIMS = ["rank", "launcher", "caller"]
# Measured times, which no two runs share.
TIMES = {"step_time"}


def list_moments(run: Run, n_steps: int) -> list[Callable[[], bool]]:
    """While libraries are imported, once something is kept, during a save, before the end."""
    return [
        lambda: bool(find(run, "rank")),
        lambda: count_whole(run) >= 1,
        lambda: count_whole(run) >= n_steps // 2 and is_saving(run),
        lambda: count_whole(run) == n_steps,
    ]


def kill_at_moments(run: Run, n_steps: int, seed: int, n_kills: int) -> None:
    """One kill a moment; each launch goes on from where the last one was killed."""
    draw = random.Random(seed)
    victims = [*draw.sample(VICTIMS, 3), draw.choice(VICTIMS)]
    kills = 0
    for victim, moment in list(zip(victims, list_moments(run, n_steps), strict=True))[-n_kills:]:
        output = kill_when(run, victim, moment)  # type: ignore[arg-type]
        kills += output is not None
        if output and victim != "caller":
            last = output.splitlines()[-1]
            assert last.startswith(f"error: training {run.job.name!r} was killed by SIGKILL (if")
            assert "lower batch_size, or set gradient_checkpointing: true" in last
    assert kills >= n_kills - 1


def add_half_a_checkpoint(run: Run) -> None:
    """One that is newer than all, as a kill leaves it: no mark, half a file."""
    whole = list_checkpoints(run)[-1]
    half = whole.with_name("checkpoint-1000")
    shutil.copytree(whole, half)
    (half / "complete").unlink(missing_ok=True)
    weights = half / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])


def check_same(run: Run, undisturbed: Run) -> None:
    """Weights to the bit, a curve without gaps or repeats, nothing left behind."""
    one, other = run.load(), undisturbed.load()
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    curves = [
        [{k: v for k, v in row.items() if k not in TIMES} for row in each.read("curve.jsonl")]
        for each in (run, undisturbed)
    ]
    assert curves[0] == curves[1]
    assert not (run.job.out / "state").exists()


def repeat(undisturbed: Run, out: Path, seed: int, n_kills: int = 4) -> Run:
    """The same work, killed again and again, then left to end."""
    out.mkdir()
    options = undisturbed.job.options.model_copy(update={"save_every": 1})
    run = Run(undisturbed.job.model_copy(update={"out": out, "options": options}))
    run.job_file.write_text(run.job.model_dump_json())
    kill_at_moments(run, undisturbed.metrics["steps"], seed, n_kills)
    if list_checkpoints(run):
        add_half_a_checkpoint(run)
    launch(run.job, run.job_file)
    return run


def reinforce_twice(out: Path, **options: Any) -> tuple[Run, Run]:
    """Two ranks, undisturbed and killed."""
    undisturbed = train("rl", out / "undisturbed", ranks=2, save_every=1, **options)
    return undisturbed, repeat(undisturbed, out / "killed", seed=2)


@pytest.fixture(scope="module")
def killed(
    reward_run: Run, sft_run: Run, dpo_run: Run, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Run, Run]]:
    """Each program undisturbed and killed; together, since most of a launch is imports."""
    out = tmp_path_factory.mktemp("killed")
    options: dict[str, Any] = {
        "base": sft_run.model,
        "rows": make_rows(16, seed=6),
        "reward_model": reward_run.model,
        "watch": {"every": 2, "max_kl": 1000, "max_length_ratio": 100, "patience": 10},
    }
    with ThreadPoolExecutor() as pool:
        reward = pool.submit(repeat, reward_run, out / "reward", 0)
        sft = pool.submit(repeat, sft_run, out / "sft", 1, 2)
        dpo = pool.submit(repeat, dpo_run, out / "dpo", 3)
        rl = pool.submit(reinforce_twice, out, **options)
        return {
            "reward": (reward_run, reward.result()),
            "sft": (sft_run, sft.result()),
            "dpo": (dpo_run, dpo.result()),
            "rl": rl.result(),
        }


@pytest.mark.parametrize("program", ["reward", "sft", "dpo", "rl"])
def test_kill_9_of_anyone_costs_nothing(program: str, killed: dict[str, tuple[Run, Run]]) -> None:
    undisturbed, run = killed[program]
    assert run.metrics["resumed_from_step"] < 1000
    check_same(run, undisturbed)


def test_answers_rewards_and_watch_scores_are_those_of_an_undisturbed_run(
    killed: dict[str, tuple[Run, Run]],
) -> None:
    undisturbed, run = killed["rl"]
    assert len(run.read("rollouts.jsonl")) == 6 * 16
    assert [row["step"] for row in run.read("watch.jsonl")] == [0, 2, 4, 6]
    for name in ("rollouts.jsonl", "watch.jsonl"):
        assert run.read(name) == undisturbed.read(name)


def test_the_watch_over_dpo_scores_as_if_undisturbed(killed: dict[str, tuple[Run, Run]]) -> None:
    undisturbed, run = killed["dpo"]
    assert [row["step"] for row in run.read("watch.jsonl")] == [0, 4, 8, 12]
    assert run.read("watch.jsonl") == undisturbed.read("watch.jsonl")


def test_only_whole_checkpoints_are_resumed_and_half_ones_removed(tmp_path: Path) -> None:
    for step, whole in ((2, True), (10, True), (9, True), (12, False)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        if whole:
            (folder / "complete").touch()
    assert find_resumable(tmp_path) == str(tmp_path / "checkpoint-10")
    assert not (tmp_path / "checkpoint-12").exists()
    assert find_resumable(tmp_path / "nothing") is None


def poison(model: Path, folder: Path) -> Path:
    """A model one weight of which is not a number: that of the letter z."""
    shutil.copytree(model, folder)
    weights = load_file(folder / "model.safetensors")
    weights["model.embed_tokens.weight"][ord("z") - 30, 0] = math.nan
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize(
    ("program", "save_every", "error"),
    [
        (
            "reward",
            100,
            "error: the loss is nan at rows row0-5; the model computes in float32, and",
        ),
        ("sft", 100, "error: the loss is nan at rows row0-5; the model computes in float32, and"),
        ("dpo", 100, "error: the loss is nan at rows row0-5; the model computes in float32, and"),
        ("sft", 1, "error: after step 1 the weights are not finite (model.embed_tokens.weight)"),
    ],
)
def test_what_is_no_number_stops_and_names_the_rows(
    program: str,
    save_every: int,
    error: str,
    tiny: Path,
    reward_model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = make_rows(8, seed=0)
    for row in rows:
        row["dialogue"] = row["dialogue"].replace("z", "a")
    rows[5]["dialogue"] = "z" + rows[5]["dialogue"]
    base = poison(tiny, tmp_path / "base")
    options = {"batch_size": 1, "save_every": save_every, "reward_model": reward_model}
    run = write_job(program, tmp_path, base, rows, **options)
    assert rank.main(str(run.job_file)) == 2
    assert error in capsys.readouterr().err
    assert not run.model.exists()
    assert count_whole(run) == 0


def test_a_rate_that_blows_up_stops_and_keeps_the_last_good_checkpoint(
    tiny: Path, tmp_path: Path
) -> None:
    run = write_job("sft", tmp_path, tiny, make_rows(16, 0), learning_rate=1e30, save_every=1)
    with pytest.raises(UserError, match=r"row0-\d+, row0-\d+.*the last checkpoint is kept"):
        launch(run.job, run.job_file)
    assert not run.model.exists()
    newest = list_checkpoints(run)[count_whole(run) - 1]
    weights = load_file(newest / "model.safetensors")
    assert all(torch.isfinite(weight).all() for weight in weights.values())


def test_a_reward_that_is_no_number_stops_and_names_the_prompts(
    sft_run: Run, reward_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = make_rows(2, seed=0)
    rows[0]["dialogue"] = "z" + rows[0]["dialogue"]
    judge = poison(reward_run.model, tmp_path / "judge")
    run = write_job(
        "rl", tmp_path / "out", sft_run.model, rows, reward_model=judge, held_out=reward_run.model
    )
    assert rank.main(str(run.job_file)) == 2
    assert "error: row 'row0-0': its reward is nan; the model" in capsys.readouterr().err


def test_nobody_is_left(killed: dict[str, tuple[Run, Run]]) -> None:
    for _, run in killed.values():
        wait_until_gone(run, 0)
