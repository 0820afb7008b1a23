"""Datasets of the hub: its library reads folders, too, so nothing is fetched here."""

import json
from pathlib import Path

import pytest

from almost_kedro.datasets.hub_rows import load_hub_rows
from almost_kedro.errors import UserError


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def write_dataset(folder: Path) -> Path:
    """Two configurations, as the hub has them: in the header of its README."""
    header = ["---", "configs:"]
    for name in ("helpful", "honest"):
        (folder / name).mkdir(parents=True)
        (folder / name / "test.jsonl").write_text(json.dumps({"input": f"{name}?"}) + "\n")
        header += [f"- config_name: {name}", f"  data_files: {name}/test.jsonl"]
    (folder / "README.md").write_text("\n".join([*header, "---", ""]).replace("test.jsonl", "*"))
    return folder


def test_a_configuration_is_loaded_by_its_name(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "pairs")
    rows = load_hub_rows("evaluation.hhh", str(folder), "train", "mend it", "honest")
    assert [dict(row) for row in rows] == [{"input": "honest?"}]


def test_what_cannot_be_loaded_is_one_line_with_the_option_and_a_remedy() -> None:
    with pytest.raises(UserError) as error:
        load_hub_rows("evaluation.hhh", "nobody/nothing", "test", "give a file", "honest")
    message = str(error.value)
    assert message.startswith(
        "evaluation.hhh: split test of nobody/nothing (honest) can't be loaded ("
    )
    assert message.endswith("; give a file")
    assert "\n" not in message
