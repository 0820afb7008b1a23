"""A small data root with checkpoints, and `kedro publish` on it as a real command."""

import os
import subprocess
from pathlib import Path
from shutil import copytree
from typing import Any

from hub_server import TOKEN, HubServer
from kedro.io import Version
from made_rows import make_comparison, make_splits
from report_findings import make_metrics, make_run
from sessions import make_command

from almost_kedro.contract import ModelFolder
from almost_kedro.datasets.checkpoint import CheckpointDataset
from almost_kedro.datasets.whole_file import JSONFileDataset, RowsDataset, TextFileDataset
from almost_kedro.models.checkpoints import Checkpoint, make_manifest
from almost_kedro.pages.cards import write_model_card

OLD, NEW = "2026-03-01T10.00.00.000Z", "2026-03-02T10.00.00.000Z"
REPO = "ann/model"


def save_checkpoint(root: Path, name: str, version: str, kind: Any, base: str, model: Path) -> None:
    """Save a model as trained from another, with a path in its options."""
    manifest = make_manifest(
        model,
        model,
        kind=kind,
        name=name,
        base=ModelFolder(name=base, folder=None, fingerprint=f"f-{base}"),
        data={},
        options={"cache": f"{root}/04_feature/work.sqlite", "learning_rate": 1e-3},
        metrics={},
        packages={},
    )
    dataset = CheckpointDataset(
        filepath=str(root / "06_models" / name), version=Version(None, version)
    )
    dataset.save(Checkpoint(model, manifest))


def save_document(root: Path, name: str, version: str, document: Any) -> None:
    path = str(root / f"08_reporting/{name}.json")
    JSONFileDataset(filepath=path, version=Version(None, version)).save(document)


def make_root(root: Path, model_folder: Path) -> Path:
    """A data root with an SFT policy, a reward model, their figures, and comparisons."""
    for version in (OLD, NEW):
        model = copytree(model_folder, root / f"model-{version}")
        (model / "note.txt").write_text(version)
        save_checkpoint(root, "sft_policy", version, "policy", "tiny-large", model)
        save_checkpoint(root, "reward_model", version, "reward_model", "tiny-large", model)
    # Training states are beside the model, and never part of what is published.
    (root / f"06_models/sft_policy/{NEW}/sft_policy/optimizer").mkdir()
    metrics = make_metrics()
    save_document(root, "reward_model_metrics", NEW, metrics["reward_model_metrics"])
    save_document(root, "gate", NEW, {"passed": False, "reasons": ["too <b>few</b>"]})
    card = root / "08_reporting/model_card.md"
    TextFileDataset(filepath=str(card), version=Version(None, NEW)).save(
        write_model_card(make_run(), metrics)
    )
    rows: dict[str, list[Any]] = {
        "05_model_input/comparisons.jsonl": [make_comparison("c1"), make_comparison("c2")],
        "03_primary/prompt_splits.jsonl": make_splits({"p-c1": "reward_model", "p-c2": "held_out"}),
    }
    for path, each in rows.items():
        RowsDataset(filepath=str(root / path), version=Version(None, NEW)).save(each)
    return root


def run_publish(
    project: Path, root: Path, hub: HubServer, *args: str, token: str = TOKEN
) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "HF_TOKEN": token,
        "HF_ENDPOINT": hub.url,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "0",
        "TRANSFORMERS_OFFLINE": "0",
    }
    command = make_command(
        "publish", *args, "--repo", REPO, "--env", "smoke", "--params", f"data_root={root}"
    )
    return subprocess.run(
        command, cwd=project, env=environment, capture_output=True, text=True, check=False
    )
