"""What a whole run made, exported and published."""

import json
from pathlib import Path
from typing import Any

import pytest
from hub_server import HubServer
from kedro.framework.context import KedroContext
from kedro.framework.startup import bootstrap_project
from kedro.io import DataCatalog
from sessions import find_versions
from smoke_runs import read_latest

from almost_kedro.cli.project import load_context
from almost_kedro.commands.export.command import export_rows
from almost_kedro.commands.publish.command import publish
from almost_kedro.pages.cards import read_head


@pytest.fixture(scope="module")
def context(project: Path, evaluated: Path) -> KedroContext:
    bootstrap_project(project)
    return load_context(project, "smoke", {"data_root": str(evaluated)})


def read(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The rows of each split, by the files that the card's head names."""
    head, _ = read_head((folder / "README.md").read_text())
    return {
        each["split"]: [json.loads(line) for line in (folder / each["path"]).open()]
        for each in head["configs"][0]["data_files"]
    }


def test_no_row_that_judges_is_for_training(
    context: KedroContext, evaluated: Path, tmp_path: Path
) -> None:
    splits = {row["prompt_id"]: row["split"] for row in read_latest(evaluated, "prompt_splits")}
    catalog = context.catalog
    assert isinstance(catalog, DataCatalog)
    for dataset in ("comparisons", "validated_comparisons", "reward_pairs", "sft_demonstrations"):
        form: Any = "messages" if dataset == "sft_demonstrations" else "preference"
        export_rows(catalog, dataset, form, tmp_path / dataset, file_type="jsonl")
        found = {
            name: {splits[row["prompt_id"]] for row in rows}
            for name, rows in read(tmp_path / dataset).items()
        }
        if dataset == "sft_demonstrations":
            assert found == {"train": {"self_play"}}
        else:
            assert found == {
                "train": {"reward_model"},
                "test": {"held_out"},
                "judge": {"held_out_reward_model"},
            }
    exported = [row for rows in read(tmp_path / "comparisons").values() for row in rows]
    ids = [row["comparison_id"] for row in read_latest(evaluated, "comparisons")]
    assert sorted(row["comparison_id"] for row in exported) == sorted(ids)


def test_the_runs_card_goes_with_its_comparisons(context: KedroContext, tmp_path: Path) -> None:
    catalog = context.catalog
    assert isinstance(catalog, DataCatalog)
    export_rows(catalog, "comparisons", "preference", tmp_path / "new")
    _, body = read_head((tmp_path / "new/README.md").read_text())
    assert body.startswith("# Synthetic comparisons\n")
    assert "| judge |" in body
    assert "comparisons.jsonl" not in body


@pytest.mark.parametrize(
    ("name", "dataset", "title"),
    [
        ("sft", "sft_policy", "`sft` is the policy in this repository."),
        ("rl", "rl_policy", "`rl` is the policy in this repository."),
        ("reward_model", "reward_model", "# Reward model"),
        ("held_out_reward_model", "held_out_reward_model", "# Held out reward model"),
    ],
)
def test_a_trained_model_is_published_without_a_trace_of_this_machine(
    name: str,
    dataset: str,
    title: str,
    context: KedroContext,
    evaluated: Path,
    project: Path,
    hub: HubServer,
) -> None:
    list(publish(context, name, "ann/m", "mit"))
    files = hub.repos["ann/m"].files
    folder = find_versions(evaluated, dataset)[-1]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert set(files) == {*manifest["files"], "manifest.json", "README.md"}
    for file in manifest["files"]:
        assert files[file] == (folder / file).read_bytes()
    for file, content in files.items():
        for place in (evaluated, project, f"{Path.home()}/"):
            assert str(place).encode() not in content, file
    _, body = read_head(files["README.md"].decode())
    assert body.startswith(title)
