"""`kedro export`, as a user meets it."""

import re
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from datasets import DatasetDict
from exports import NEW, OLD, load_export, open_catalog, run_export, save_rows
from kedro.io import DataCatalog, Version
from made_rows import make_comparison, make_demonstration, make_splits
from report_findings import make_metrics, make_run

from almost_kedro.commands.export.command import export_rows
from almost_kedro.commands.export.splits import FILES
from almost_kedro.datasets.whole_file import TextFileDataset
from almost_kedro.errors import UserError
from almost_kedro.pages.cards import read_head, write_dataset_card
from almost_kedro.pages.export_card import Exported, write_export_card


def test_each_file_has_the_rows_of_its_splits(preferences: DatasetDict) -> None:
    assert set(preferences) == {"train", "test", "judge"}
    for name, rows in preferences.items():
        splits = {id_.rpartition("-")[0] for id_ in rows["prompt_id"]}
        assert {FILES[split] for split in splits} == {name}
        assert [f"c-{id_}" for id_ in rows["prompt_id"]] == rows["comparison_id"][:]
    assert preferences["train"][0]["prompt"] == [{"role": "user", "content": "Why?"}]


def test_rows_go_by_the_splits_that_were_in_force(catalog: DataCatalog, tmp_path: Path) -> None:
    export_rows(catalog, "comparisons", "messages", tmp_path / "old", OLD, "jsonl")
    assert {name: len(rows) for name, rows in load_export(tmp_path / "old").items()} == {"test": 3}
    assert [file.name for file in (tmp_path / "old/data").iterdir()] == [
        "test-00000-of-00001.jsonl"
    ]


@pytest.mark.parametrize(
    ("dataset", "form", "version", "message"),
    [
        (
            "sft_demonstrations",
            "preference",
            None,
            "--format preference: sft_demonstrations has no columns for it; it can be "
            "prompt-completion or messages",
        ),
        (
            "prompt_splits",
            "messages",
            None,
            "--format messages: prompt_splits has no columns for it; it has none for any format; "
            "these have: as_is_pairs, comparisons, mismatched_pairs, reward_pairs, "
            "sft_demonstrations, validated_comparisons",
        ),
        ("nonsense", "messages", None, "'nonsense' is no dataset of rows; there are as_is_pairs, "),
        ("reward_pairs", "messages", None, "reward_pairs: there are no rows yet; run the pipeline"),
        (
            "comparisons",
            "messages",
            "v9",
            f"comparisons: there is no version 'v9'; the newest are {NEW}, {OLD}",
        ),
    ],
)
def test_what_can_not_be_exported_is_named(
    dataset: str,
    form: Any,
    version: str | None,
    message: str,
    catalog: DataCatalog,
    tmp_path: Path,
) -> None:
    with pytest.raises(UserError, match=f"^{re.escape(message)}"):
        export_rows(catalog, dataset, form, tmp_path / "new", version)
    assert list(tmp_path.iterdir()) == []


def test_rows_without_their_splits_are_not_exported(project: Path, tmp_path: Path) -> None:
    save_rows(tmp_path, "05_model_input/comparisons.jsonl", OLD, [make_comparison()])
    save_rows(
        tmp_path, "03_primary/prompt_splits.jsonl", NEW, make_splits({"p-c1": "reward_model"})
    )
    message = f"^comparisons: there is no prompt_splits of version {OLD} or before, so what may"
    with pytest.raises(UserError, match=message):
        export_rows(open_catalog(project, tmp_path), "comparisons", "messages", tmp_path / "new")


def test_a_row_of_another_type_is_named(project: Path, tmp_path: Path) -> None:
    row = {**make_demonstration(), "turn": "one"}
    save_rows(tmp_path, "05_model_input/sft_demonstrations.jsonl", OLD, [row])
    message = f"^sft_demonstrations, version {OLD}: row 1, turn: Input should be a valid integer"
    with pytest.raises(UserError, match=message):
        export_rows(
            open_catalog(project, tmp_path), "sft_demonstrations", "messages", tmp_path / "new"
        )


def test_a_folder_with_files_is_one_clear_line(project: Path, root: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    done = run_export(project, root, tmp_path, "comparisons", "--format", "preference")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == (
        f"Error: --to {tmp_path}: is not empty; give a new or an empty folder"
    )
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]


def test_the_card_of_the_run_names_the_files_of_the_export(
    project: Path, root: Path, tmp_path: Path
) -> None:
    made = write_dataset_card(make_run(), make_metrics(), [make_comparison()])
    copytree(root, tmp_path / "root")
    file = TextFileDataset(
        filepath=str(tmp_path / "root/08_reporting/dataset_card.md"), version=Version(None, NEW)
    )
    file.save(made)
    catalog = open_catalog(project, tmp_path / "root")
    export_rows(catalog, "comparisons", "preference", tmp_path / "new", file_type="jsonl")
    head, body = read_head((tmp_path / "new/README.md").read_text())
    [config] = head["configs"]
    for each in config["data_files"]:
        assert (tmp_path / "new" / each["path"]).is_file()
    assert [each["split"] for each in config["data_files"]] == ["train", "test", "judge"]
    assert head["license"] == "unknown"
    assert head["size_categories"] == ["n<1K"]
    assert "# Synthetic comparisons" in body
    assert "comparisons.jsonl" not in body
    assert "| train | 8 | reward\\_model |" in body
    assert "Assistants, who answered every prompt:" in body
    # The older version was not what the card is about.
    export_rows(catalog, "comparisons", "preference", tmp_path / "old", version=OLD)
    assert "# Synthetic comparisons" not in (tmp_path / "old/README.md").read_text()


def test_names_do_nothing_in_a_card() -> None:
    hostile = "<b>|[x](y)\n# Head"
    exported = Exported(
        hostile, hostile, "messages", {"train": 2}, {"train": "rl"}, {"train": "data/x"}, 3
    )
    head, body = read_head(write_export_card(exported, None))
    assert head["pretty_name"] == f"{hostile} by almost_kedro"
    assert "<b>" not in body
    assert "\n# Head" not in body
    assert "3 rows are left out, since their prompts repeat a benchmark item." in body
