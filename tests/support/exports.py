"""Exports of a small data root, by a real command, and what the library reads of them."""

import subprocess
from pathlib import Path
from typing import Any

from datasets import DatasetDict, load_dataset
from kedro.framework.startup import bootstrap_project
from kedro.io import DataCatalog, Version
from made_rows import make_comparison, make_demonstration, make_splits
from sessions import kedro

from almost_kedro.cli.project import load_catalog
from almost_kedro.datasets.whole_file import RowsDataset

OLD, NEW = "2026-03-01T10.00.00.000Z", "2026-03-02T10.00.00.000Z"
COMPARISONS = {"reward_model": 8, "held_out": 4, "held_out_reward_model": 3}


def save_rows(root: Path, path: str, version: str, rows: Any) -> None:
    RowsDataset(filepath=str(root / path), version=Version(None, version)).save(rows)


def make_root(root: Path) -> Path:
    """A data root whose prompts are named after their splits, and were in others before."""
    names = [f"{split}-{n}" for split, count in COMPARISONS.items() for n in range(count)]
    talks = [f"self_play-{n}" for n in range(4)]
    now = {name: name.rpartition("-")[0] for name in [*names, *talks]}
    rows = [
        make_comparison(f"c-{name}", prompt_id=name, chosen="Because it is. " * 3) for name in names
    ]
    for version, splits in ((OLD, dict.fromkeys(now, "held_out")), (NEW, now)):
        save_rows(root, "03_primary/prompt_splits.jsonl", version, make_splits(splits))
    save_rows(root, "05_model_input/comparisons.jsonl", OLD, rows[:3])
    save_rows(root, "05_model_input/comparisons.jsonl", NEW, rows)
    demonstrations = [make_demonstration(name, prompt_id=name) for name in talks]
    save_rows(root, "05_model_input/sft_demonstrations.jsonl", NEW, demonstrations)
    return root


def open_catalog(project: Path, root: Path) -> DataCatalog:
    bootstrap_project(project)
    return load_catalog(project, "smoke", {"data_root": str(root)})


def run_export(
    project: Path, root: Path, folder: Path, *args: str
) -> subprocess.CompletedProcess[str]:
    params = ["--env", "smoke", "--params", f"data_root={root}"]
    return kedro(project, "export", *args, "--to", str(folder), *params)


def load_export(folder: Path) -> DatasetDict:
    """What the library reads, with nothing said but the folder."""
    found = load_dataset(str(folder), cache_dir=str(folder.parent / "cache"))
    assert isinstance(found, DatasetDict)
    return found
