"""`kedro export`, as a user meets it, and what TRL makes of it."""

import re
import subprocess
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
import torch
from datasets import DatasetDict, load_dataset
from kedro.framework.startup import bootstrap_project
from kedro.io import DataCatalog, Version
from made_rows import make_comparison, make_demonstration, make_splits
from report_findings import make_metrics, make_run
from sessions import kedro
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerBase,
)
from trl import DPOConfig, DPOTrainer, RewardConfig, RewardTrainer, SFTConfig, SFTTrainer

from almost_kedro.cli.project import load_catalog
from almost_kedro.commands.export.command import export_rows
from almost_kedro.commands.export.splits import FILES
from almost_kedro.datasets.whole_file import RowsDataset, TextFileDataset
from almost_kedro.errors import UserError
from almost_kedro.pages.cards import read_head, write_dataset_card
from almost_kedro.pages.export_card import Exported, write_export_card

OLD, NEW = "2026-03-01T10.00.00.000Z", "2026-03-02T10.00.00.000Z"
COMPARISONS = {"reward_model": 8, "held_out": 4, "held_out_reward_model": 3}
TEMPLATE = (
    "{% for m in messages %}{{ '\n\nHuman: ' if m.role == 'user' else '\n\nAssistant: ' }}"
    "{{ m.content }}{% endfor %}{% if add_generation_prompt %}{{ '\n\nAssistant:' }}{% endif %}"
)


def save(root: Path, path: str, version: str, rows: Any) -> None:
    RowsDataset(filepath=str(root / path), version=Version(None, version)).save(rows)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root whose prompts are named after their splits, and were in others before."""
    root = tmp_path_factory.mktemp("root")
    names = [f"{split}-{n}" for split, count in COMPARISONS.items() for n in range(count)]
    talks = [f"self_play-{n}" for n in range(4)]
    now = {name: name.rpartition("-")[0] for name in [*names, *talks]}
    rows = [
        make_comparison(f"c-{name}", prompt_id=name, chosen="Because it is. " * 3) for name in names
    ]
    for version, splits in ((OLD, dict.fromkeys(now, "held_out")), (NEW, now)):
        save(root, "03_primary/prompt_splits.jsonl", version, make_splits(splits))
    save(root, "05_model_input/comparisons.jsonl", OLD, rows[:3])
    save(root, "05_model_input/comparisons.jsonl", NEW, rows)
    demonstrations = [make_demonstration(name, prompt_id=name) for name in talks]
    save(root, "05_model_input/sft_demonstrations.jsonl", NEW, demonstrations)
    return root


def open_catalog(project: Path, root: Path) -> DataCatalog:
    bootstrap_project(project)
    return load_catalog(project, "smoke", {"data_root": str(root)})


@pytest.fixture(scope="module")
def catalog(project: Path, root: Path) -> DataCatalog:
    return open_catalog(project, root)


def export(project: Path, root: Path, folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    params = ["--env", "smoke", "--params", f"data_root={root}"]
    return kedro(project, "export", *args, "--to", str(folder), *params)


def load(folder: Path) -> DatasetDict:
    """What the library reads, with nothing said but the folder."""
    found = load_dataset(str(folder), cache_dir=str(folder.parent / "cache"))
    assert isinstance(found, DatasetDict)
    return found


@pytest.fixture(scope="module")
def preferences(project: Path, root: Path, tmp_path_factory: pytest.TempPathFactory) -> DatasetDict:
    folder = tmp_path_factory.mktemp("preference") / "export"
    done = export(project, root, folder, "comparisons", "--format", "preference")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-4:] == [
        "train       8 rows, prompts used for reward_model, self_play, rl",
        "test        4 rows, prompts used for held_out, policy_test, watch",
        "judge       3 rows, prompts used for held_out_reward_model",
        str(folder),
    ]
    return load(folder)


@pytest.fixture
def tokenizer(tiny_models: dict[str, Path]) -> PreTrainedTokenizerBase:
    tokenizer = AutoTokenizer.from_pretrained(tiny_models["tiny-small"])
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def test_each_file_has_the_rows_of_its_splits(preferences: DatasetDict) -> None:
    assert set(preferences) == {"train", "test", "judge"}
    for name, rows in preferences.items():
        splits = {id_.rpartition("-")[0] for id_ in rows["prompt_id"]}
        assert {FILES[split] for split in splits} == {name}
        assert [f"c-{id_}" for id_ in rows["prompt_id"]] == rows["comparison_id"][:]
    assert preferences["train"][0]["prompt"] == [{"role": "user", "content": "Why?"}]


def test_rows_go_by_the_splits_that_were_in_force(
    project: Path, root: Path, tmp_path: Path
) -> None:
    args = ("comparisons", "--format", "messages", "--version", OLD, "--as", "jsonl")
    done = export(project, root, tmp_path / "old", *args)
    assert done.returncode == 0, done.stderr
    assert {name: len(rows) for name, rows in load(tmp_path / "old").items()} == {"test": 3}
    assert [file.name for file in (tmp_path / "old/data").iterdir()] == [
        "test-00000-of-00001.jsonl"
    ]


def take_a_step(trainer: Any) -> None:
    """Train one step; the weights have to move."""
    before = [each.detach().clone() for each in trainer.model.parameters()]
    trainer.train()
    assert trainer.state.global_step == 1
    after = list(trainer.model.parameters())
    assert any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))


def set_up(config: Any, folder: Path) -> Any:
    return config(
        output_dir=str(folder),
        max_steps=1,
        per_device_train_batch_size=4,
        learning_rate=1e-2,
        warmup_steps=0,
        max_length=128,
        report_to="none",
        save_strategy="no",
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        disable_tqdm=True,
    )


def test_trl_trains_a_reward_model_on_it(
    preferences: DatasetDict,
    tokenizer: PreTrainedTokenizerBase,
    tiny_models: dict[str, Path],
    tmp_path: Path,
) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(
        tiny_models["tiny-small"], num_labels=1, pad_token_id=tokenizer.pad_token_id
    )
    trainer = RewardTrainer(
        model,
        set_up(RewardConfig, tmp_path),
        train_dataset=preferences["train"],
        eval_dataset=preferences["test"],
        processing_class=tokenizer,
    )
    take_a_step(trainer)


def test_trl_trains_a_policy_on_it(
    preferences: DatasetDict,
    tokenizer: PreTrainedTokenizerBase,
    tiny_models: dict[str, Path],
    tmp_path: Path,
) -> None:
    trainer = DPOTrainer(
        AutoModelForCausalLM.from_pretrained(tiny_models["tiny-small"]),
        args=set_up(DPOConfig, tmp_path),
        train_dataset=preferences["train"],
        eval_dataset=preferences["test"],
        processing_class=tokenizer,
    )
    take_a_step(trainer)


@pytest.mark.parametrize("form", ["prompt-completion", "messages"])
def test_trl_fine_tunes_on_demonstrations(
    form: str,
    project: Path,
    root: Path,
    tokenizer: PreTrainedTokenizerBase,
    tiny_models: dict[str, Path],
    tmp_path: Path,
) -> None:
    done = export(project, root, tmp_path / "new", "sft_demonstrations", "--format", form)
    assert done.returncode == 0, done.stderr
    rows = load(tmp_path / "new")
    assert {name: len(split) for name, split in rows.items()} == {"train": 4}
    trainer = SFTTrainer(
        AutoModelForCausalLM.from_pretrained(tiny_models["tiny-small"]),
        args=set_up(SFTConfig, tmp_path / "trained"),
        train_dataset=rows["train"],
        processing_class=tokenizer,
    )
    take_a_step(trainer)


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
            "these have: as_is_pairs, comparisons, reward_pairs, sft_demonstrations, "
            "validated_comparisons",
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
    save(tmp_path, "05_model_input/comparisons.jsonl", OLD, [make_comparison()])
    save(tmp_path, "03_primary/prompt_splits.jsonl", NEW, make_splits({"p-c1": "reward_model"}))
    message = f"^comparisons: there is no prompt_splits of version {OLD} or before, so what may"
    with pytest.raises(UserError, match=message):
        export_rows(open_catalog(project, tmp_path), "comparisons", "messages", tmp_path / "new")


def test_a_row_of_another_type_is_named(project: Path, tmp_path: Path) -> None:
    row = {**make_demonstration(), "turn": "one"}
    save(tmp_path, "05_model_input/sft_demonstrations.jsonl", OLD, [row])
    message = f"^sft_demonstrations, version {OLD}: row 1, turn: Input should be a valid integer"
    with pytest.raises(UserError, match=message):
        export_rows(
            open_catalog(project, tmp_path), "sft_demonstrations", "messages", tmp_path / "new"
        )


def test_a_folder_with_files_is_one_clear_line(project: Path, root: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    done = export(project, root, tmp_path, "comparisons", "--format", "preference")
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
    assert "| train | 8 | reward\\_model, self\\_play, rl |" in body
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
