"""Replicas are one engine: real programs, one cache, one line for what is wrong."""

import os
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import contract
import psutil
import pytest
import torch

from almost_kedro.contract import ModelFolder, Request, Sampling
from almost_kedro.errors import UserError
from almost_kedro.generation.embedded import EmbeddedEngine
from almost_kedro.generation.job import RequestGroup, ResponsesTask
from almost_kedro.generation.replicas import Replicas, assign, count_replicas, list_cores
from almost_kedro.jobs.generate import run_worker
from almost_kedro.options.generation import GenerationOptions

DRAWN = Sampling(temperature=1.0, top_p=0.9, max_new_tokens=12, seed=5)
TWO = GenerationOptions(replicas=2, dtype="float32")


@pytest.fixture(scope="module")
def folder(tiny_models: dict[str, Path]) -> Path:
    return tiny_models["tiny-large"]


def as_model(folder: Path) -> ModelFolder:
    return ModelFolder(name="tiny", folder=folder, fingerprint="f")


@pytest.fixture(scope="module")
def replicas(folder: Path) -> Iterator[Replicas]:
    with Replicas(as_model(folder), TWO, 2) as engine:
        yield engine


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
def test_replicas_keep_the_contract(check: object, replicas: Replicas, folder: Path) -> None:
    check(replicas, folder)  # type: ignore[operator]


def test_answers_are_those_of_one_engine(replicas: Replicas, folder: Path) -> None:
    """Drawn ones, too: a request's random stream is its own, whoever answers it."""
    requests = [Request(f"Human: {n}?", "Say it. " * 20, n % 3) for n in range(11)]
    alone = contract.complete(EmbeddedEngine(folder, dtype="float32"), requests, DRAWN)
    assert contract.complete(replicas, requests, DRAWN) == alone


def test_fewer_requests_than_replicas_are_answered(replicas: Replicas) -> None:
    assert len(contract.complete(replicas, [Request("Why?")], DRAWN)) == 1


def ask(n: int) -> ResponsesTask:
    texts = [f"Human: {number}?" for number in range(n)]
    return ResponsesTask(groups=[RequestGroup(name="a", prefix="", sampling=DRAWN, texts=texts)])


def count_kept(work: Path) -> int:
    with sqlite3.connect(work / "completions.sqlite") as db:
        [[n]] = db.execute("SELECT count(*) FROM completions")
    return int(n)


@pytest.mark.slow
def test_a_worker_with_replicas_keeps_what_one_alone_would(folder: Path, tmp_path: Path) -> None:
    """Replicas are no part of a request's key: what they wrote is taken by one alone."""
    before = list_replicas()
    _, cost = run_worker("first", as_model(folder), TWO, ask(6), tmp_path)
    assert (cost["requests_generated"], count_kept(tmp_path)) == (6, 6)
    one = TWO.model_copy(update={"replicas": 1})
    _, cost = run_worker("again", as_model(folder), one, ask(6), tmp_path)
    assert (cost["requests_generated"], cost["requests_from_cache"]) == (0, 6)
    assert list_replicas() == before


def list_replicas() -> set[int]:
    """Those that run anywhere below this process."""
    found = psutil.Process().children(recursive=True)
    return {each.pid for each in found if "almost_kedro.generation.replica" in each.cmdline()}


@pytest.mark.slow
def test_a_replica_that_is_killed_is_named_and_what_is_kept_stays(
    folder: Path, tmp_path: Path
) -> None:
    with Replicas(as_model(folder), TWO, 2) as engine:
        victim = engine.replicas[1].process
        os.kill(victim.pid, signal.SIGKILL)
        with pytest.raises(UserError, match=r"^replica 2 of tiny was killed by SIGKILL"):
            contract.complete(engine, [Request(f"{n}?") for n in range(4)], DRAWN)


def test_each_has_its_part_of_the_cores_or_its_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 5, 6}, raising=False)
    found = [assign(number, 2, TWO) for number in range(2)]
    assert found == [
        ({"OMP_NUM_THREADS": "2"}, [0, 1]),
        ({"OMP_NUM_THREADS": "3"}, [2, 5, 6]),
    ]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert assign(1, 4, TWO)[0] == {"CUDA_VISIBLE_DEVICES": "1"}
    pairs = GenerationOptions(engine="vllm", tensor_parallel=2, replicas="auto")
    assert assign(1, 2, pairs)[0] == {"CUDA_VISIBLE_DEVICES": "2,3"}
    assert count_replicas(pairs) == 2
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    assert assign(0, 2, pairs)[0] == {"CUDA_VISIBLE_DEVICES": "4,5"}


def test_auto_is_one_without_a_gpu() -> None:
    assert count_replicas(GenerationOptions(replicas="auto")) == 1


def test_more_than_there_are_devices_is_one_line(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cores = len(list_cores())
    many = GenerationOptions(replicas=cores + 1)
    said = rf"^option generation.replicas: {cores + 1}, but there are {cores} cores and no GPU; low"
    with pytest.raises(UserError, match=said):
        run_worker("many", as_model(folder), many, ask(1), tmp_path)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    four = GenerationOptions(engine="vllm", tensor_parallel=2, replicas=2)
    with pytest.raises(UserError, match=r"2, but there are 3 GPUs, 2 for each \(tensor_parallel\)"):
        count_replicas(four)


def test_servers_have_no_replicas() -> None:
    with pytest.raises(ValueError, match="servers run the models; set it to 1"):
        GenerationOptions(engine="openai", replicas=2)
    assert GenerationOptions(replicas=2).on_servers().replicas == 1
    assert "replicas" not in GenerationOptions().model_dump()
