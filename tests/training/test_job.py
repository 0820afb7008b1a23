"""Job files, and what makes two jobs the same work."""

from pathlib import Path
from typing import Any

import pytest
from training_jobs import as_folder, make_score_job, write_job

from almost_kedro.options.launch import LaunchOptions
from almost_kedro.options.slurm import SlurmOptions
from almost_kedro.options.training import RLOptions
from almost_kedro.training.job import ScoreJob, TrainingJob

BASE = Path("models/tiny")


def make_job(tmp_path: Path, program: str = "reward", **kwargs: Any) -> TrainingJob:
    return write_job(
        program, tmp_path, BASE, [{"id": "a"}], reward_model=Path("models/reward"), **kwargs
    ).job


@pytest.mark.parametrize("program", ["reward", "sft", "rl", "dpo"])
def test_a_job_file_reads_back_as_it_was_written(tmp_path: Path, program: str) -> None:
    job = make_job(tmp_path, program)
    assert TrainingJob.model_validate_json(job.model_dump_json()) == job


def test_options_are_read_as_the_programs_own_even_where_two_programs_share_them(
    tmp_path: Path,
) -> None:
    job = make_job(tmp_path, "sft")
    again = TrainingJob.model_validate_json(job.model_dump_json())
    assert type(again.options) is type(job.options)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rows_sha256", "other"),
        ("watch_sha256", "other"),
        ("base", as_folder(Path("models/other"))),
        ("base", as_folder(BASE).model_copy(update={"bos": True})),
        ("base", as_folder(BASE).model_copy(update={"template": "abc"})),
        ("reward_model", as_folder(Path("models/other"))),
        ("held_out_reward_model", as_folder(Path("models/other"))),
        ("reward_max_length", 512),
        ("options", RLOptions(learning_rate=1e-3, batch_size=8, steps=7, max_new_tokens=12)),
        ("separator", ""),
        ("seed", 4),
        ("launch", LaunchOptions(dtype="float32", processes=2)),
        ("launch", LaunchOptions(dtype="bfloat16")),
        ("launch", LaunchOptions(dtype="float32", config="fsdp")),
    ],
)
def test_what_decides_the_weights_makes_another_job(tmp_path: Path, field: str, value: Any) -> None:
    job = make_job(tmp_path, "rl")
    assert job.model_copy(update={field: value}).identity() != job.identity()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("out", Path("elsewhere")),
        ("rows", Path("elsewhere.jsonl")),
        ("name", "another name"),
        ("accelerate", Path("elsewhere.yaml")),
        ("launch", LaunchOptions(dtype="float32", main_port=29501, main_address="10.0.0.1")),
        ("launch", LaunchOptions(dtype="float32", backend="slurm", slurm=SlurmOptions(gpus=4))),
        ("base", as_folder(BASE).model_copy(update={"folder": Path("moved")})),
    ],
)
def test_folders_names_and_ports_do_not(tmp_path: Path, field: str, value: Any) -> None:
    job = make_job(tmp_path)
    assert job.model_copy(update={field: value}).identity() == job.identity()


@pytest.mark.parametrize("program", ["reward", "sft", "rl", "dpo"])
def test_what_changes_for_shards_alone_trains_nothing_else_anew(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [make_job(tmp_path, program, config=config, ranks=2) for config in ("cpu", "fsdp")]
    before = [job.identity() for job in jobs]
    monkeypatch.setattr("almost_kedro.training.job.SHARDED_VERSION", 99)
    changed = [job.identity() != old for job, old in zip(jobs, before, strict=True)]
    assert changed == [False, True]


def test_what_changes_the_watch_of_several_ranks_trains_nothing_else_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = ["reward", "sft", "rl", "dpo"]
    jobs = [make_job(tmp_path, program, ranks=n) for program in programs for n in (1, 2)]
    before = [job.identity() for job in jobs]
    monkeypatch.setattr("almost_kedro.training.job.WATCH_VERSION", 99)
    changed = [job.identity() != old for job, old in zip(jobs, before, strict=True)]
    assert changed == [False] * 5 + [True, False, True]


def test_ranks_are_counted_over_all_nodes(tmp_path: Path) -> None:
    launch = LaunchOptions(processes=4, nodes=2)
    assert make_job(tmp_path, changes={"launch": launch}).ranks == 8


def test_the_batch_and_the_folder_do_not_decide_rewards_but_the_length_does(
    tmp_path: Path,
) -> None:
    job = make_score_job(tmp_path, BASE, [])
    assert ScoreJob.model_validate_json(job.model_dump_json()) == job
    same = {"out": Path("x"), "rows": Path("y"), "batch_tokens": 1}
    assert job.model_copy(update=same).identity() == job.identity()
    assert job.model_copy(update={"max_length": 9}).identity() != job.identity()
    assert job.model_copy(update={"rows_sha256": "z"}).identity() != job.identity()
