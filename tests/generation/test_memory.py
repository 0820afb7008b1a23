from pathlib import Path

import psutil
import pytest
import torch

from almost_kedro.generation.embedded import MAX_ROWS, EmbeddedEngine
from almost_kedro.generation.memory import available_memory, container_room


def test_what_is_available_is_what_the_system_says() -> None:
    found = available_memory(torch.device("cpu"))
    assert 0 < found <= psutil.virtual_memory().total
    assert abs(found - psutil.virtual_memory().available) < 2**30 or found < 2**30


def test_a_containers_limit_is_known(tmp_path: Path) -> None:
    assert container_room(tmp_path) == []
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("400000\n")
    assert container_room(tmp_path) == [600000]
    (tmp_path / "memory.max").write_text("max\n")
    assert container_room(tmp_path) == []


def test_rows_are_as_many_as_fit(
    tiny_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = EmbeddedEngine(tiny_models["tiny-large"], dtype="float32")
    assert engine._choose_rows(0, 16) == MAX_ROWS["cpu"]
    monkeypatch.setattr("almost_kedro.generation.embedded.available_memory", lambda device: 2**24)
    few, fewer = engine._choose_rows(0, 160), engine._choose_rows(0, 1600)
    assert 1 <= fewer < few < MAX_ROWS["cpu"]
    # Keys and values of a row, twice over, are within what may be taken.
    assert fewer * 1600 * engine.token_bytes <= 2**24
    monkeypatch.setattr("almost_kedro.generation.embedded.available_memory", lambda device: 1)
    assert engine._choose_rows(0, 16) == 1
