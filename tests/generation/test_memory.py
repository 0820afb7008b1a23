import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch
from families import make_tiny

from almost_kedro.contract import Completion, Request, Sampling
from almost_kedro.generation.embedded import MAX_ROWS, EmbeddedEngine
from almost_kedro.generation.memory import available_memory, container_room
from almost_kedro.generation.number_format import count_token_bytes
from almost_kedro.generation.scheduling import Row
from almost_kedro.generation.unshared import continue_batch
from almost_kedro.processes.run import TUNABLES


def test_what_is_available_is_what_the_system_says() -> None:
    found = available_memory(torch.device("cpu"))
    assert 0 < found <= psutil.virtual_memory().total
    assert abs(found - psutil.virtual_memory().available) < 2**30 or found < 2**30


def test_a_containers_limit_is_known(tmp_path: Path) -> None:
    assert container_room(tmp_path) == []
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("400000\n")
    assert container_room(tmp_path) == [600000]
    # Files that were read count as used, and give way.
    (tmp_path / "memory.stat").write_text("anon 90\nactive_file 7\ninactive_file 250000\n")
    assert container_room(tmp_path) == [850000]
    (tmp_path / "memory.max").write_text("max\n")
    assert container_room(tmp_path) == []


def test_rows_are_as_many_as_fit(
    tiny_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = EmbeddedEngine(tiny_models["tiny-large"], dtype="float32")
    assert engine._choose_rows(7, 0, 16) == 7
    assert engine._choose_rows(9999, 0, 16) == MAX_ROWS["cpu"]
    monkeypatch.setattr("almost_kedro.generation.embedded.available_memory", lambda device: 2**24)
    few, fewer = engine._choose_rows(9999, 0, 160), engine._choose_rows(9999, 0, 1600)
    assert 1 <= fewer < few < MAX_ROWS["cpu"]
    # Keys and values of a row, twice over, are within what may be taken.
    assert fewer * 1600 * engine.token_bytes <= 2**24
    monkeypatch.setattr("almost_kedro.generation.embedded.available_memory", lambda device: 1)
    assert engine._choose_rows(9999, 0, 16) == 1


@pytest.mark.parametrize("family", ["llama", "gpt_neox", "gemma3"])
def test_keys_and_values_of_a_token_are_counted_as_a_model_has_them(family: str) -> None:
    model = make_tiny(family)
    with torch.no_grad():
        cache = model(torch.arange(6)[None]).past_key_values
    held = sum(each.nbytes for layer in cache.layers for each in (layer.keys, layer.values))
    assert count_token_bytes(model.config, torch.float32) == held // 6


def test_models_that_share_nothing_are_as_many_rows_as_fit(
    tiny_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Plain(EmbeddedEngine):
        def _try_sharing(self) -> bool:
            return False

    batches: list[int] = []

    def count(model: object, batch: list[Row], *rest: object) -> Iterator[tuple[int, Completion]]:
        batches.append(len(batch))
        yield from continue_batch(model, batch, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr("almost_kedro.generation.embedded.continue_batch", count)
    requests = [Request(f"{i} " * 50) for i in range(40)]
    for available in (2**34, 2**21):
        monkeypatch.setattr(
            "almost_kedro.generation.embedded.available_memory", lambda _, n=available: n
        )
        engine = Plain(tiny_models["tiny-large"], dtype="float32")
        assert len(list(engine.generate(requests, Sampling(1.0, 1.0, 2)))) == 40
    assert batches[:2] == [32, 8]
    assert max(batches[2:]) < 16


@pytest.mark.skipif(sys.platform != "linux", reason="malloc_trim is glibc's")
def test_what_is_not_used_any_more_is_given_back(tmp_path: Path) -> None:
    """In a process of its own, as programs keep their memory from step to step."""
    code = """
import psutil, torch
from almost_kedro.generation.memory import release_memory
size = lambda: psutil.Process().memory_info().rss
tensors = [torch.ones(2**18) for _ in range(256)]
last, full = tensors[-1].clone(), size()
del tensors
kept = size()
release_memory()
print(full - kept < 2**26 and kept - size() > 2**27)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **TUNABLES},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "True\n", done.stdout + done.stderr


def test_rows_are_counted_anew_when_memory_was_given_back(
    tiny_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = EmbeddedEngine(tiny_models["tiny-large"], dtype="float32")
    room = [2**20]
    monkeypatch.setattr("almost_kedro.generation.embedded.available_memory", lambda _: room[0])
    monkeypatch.setattr(
        "almost_kedro.generation.embedded.release_memory", lambda: room.insert(0, 2**34)
    )
    assert engine._choose_rows(100, 0, 160) == 100
    assert len(room) == 2
    # Where there is enough, nothing is given back: it would have to be taken again.
    engine._choose_rows(100, 0, 160)
    assert len(room) == 2
