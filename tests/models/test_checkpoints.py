import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kedro.framework.hooks.manager import _create_hook_manager
from kedro.io import DataCatalog, DatasetError, MemoryDataset, Version
from kedro.pipeline import Node, Pipeline
from kedro.runner import SequentialRunner
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from almost_kedro.commands.trace.catalog import find_versions
from almost_kedro.contract import ModelFolder
from almost_kedro.datasets import checkpoint as checkpoint_module
from almost_kedro.datasets.checkpoint import CheckpointDataset
from almost_kedro.datasets.whole_file import RowsDataset
from almost_kedro.errors import UserError
from almost_kedro.hooks.manifest import ManifestHook
from almost_kedro.hooks.run_facts import read_commit
from almost_kedro.models.checkpoints import (
    Checkpoint,
    as_model,
    check_checkpoint,
    check_model_files,
    check_same_data,
    check_same_tokenizer,
    hash_file,
    make_manifest,
)

FILES = ["config.json", "model.safetensors", "tokenizer.json"]


def write_model(folder: Path, weight: float = 1.0, words: tuple[str, ...] = ("a", "b")) -> Path:
    folder.mkdir()
    save_file({"w": np.full(1000, weight)}, folder / "model.safetensors")
    (folder / "config.json").write_text('{"model_type": "llama"}')
    vocabulary = {word: i for i, word in enumerate(words)}
    Tokenizer(WordLevel(vocabulary, unk_token="a")).save(str(folder / "tokenizer.json"))
    return folder


def describe(folder: Path, served: Path | None = None) -> Checkpoint:
    served = served or folder
    manifest = make_manifest(
        folder,
        served,
        kind="reward_model",
        name="reward_model",
        base=ModelFolder(name="tiny-small", folder=None, fingerprint="f00"),
        data={"prompt_splits": "5ee"},
        options={"epochs": 1},
        metrics={"loss": 0.5},
        packages={"torch": "2.13.0"},
    )
    return Checkpoint(served, manifest)


@pytest.fixture
def model(tmp_path: Path) -> Checkpoint:
    return describe(write_model(tmp_path / "work"))


def test_a_model_is_identified_by_what_training_saved(tmp_path: Path) -> None:
    """As before checkpoints had files that only others need."""
    trained = write_model(tmp_path / "model")
    hashes = [[name, hash_file(trained / name)] for name in FILES]
    served = write_model(tmp_path / "served")
    (served / "chat_template.jinja").write_text("{{ messages }}")
    (served / "config.json").write_text('{"model_type": "llama", "dtype": "float32"}')
    manifest = describe(trained, served).manifest
    assert manifest["fingerprint"] == hashlib.sha256(json.dumps(hashes).encode()).hexdigest()
    files = {name: hash_file(served / name) for name in ["chat_template.jinja", *FILES]}
    assert {name: each["sha256"] for name, each in manifest["files"].items()} == files
    assert files["config.json"] != hashes[0][1]


def open_store(tmp_path: Path, load: str | None = None, save: str = "1") -> CheckpointDataset:
    return CheckpointDataset(filepath=str(tmp_path / "rm"), version=Version(load, save))


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path, model: Checkpoint) -> None:
    open_store(tmp_path).save(model)
    loaded = open_store(tmp_path).load()
    assert loaded.folder == tmp_path / "rm/1/rm"
    assert loaded.manifest == model.manifest
    assert sorted(loaded.manifest["files"]) == FILES
    assert check_checkpoint(loaded.folder, verify=True) == loaded


def test_the_same_model_in_two_versions_is_on_the_disk_once(
    tmp_path: Path, model: Checkpoint
) -> None:
    open_store(tmp_path, save="1").save(model)
    open_store(tmp_path, save="2").save(open_store(tmp_path).load())
    for name in FILES:
        first, second = ((tmp_path / "rm" / v / "rm" / name).stat() for v in "12")
        assert first.st_ino == second.st_ino
        assert first.st_nlink == 3
    (tmp_path / "work/model.safetensors").unlink()
    assert check_checkpoint(tmp_path / "rm/2/rm", verify=True)


def add_member(model: Checkpoint, folder: Path) -> Checkpoint:
    member = describe(write_model(folder, weight=2.0))
    manifest = {**model.manifest, "scales": [[0.5, 2.0], [-1.0, 0.25]]}
    return Checkpoint(model.folder, manifest, (member,))


def test_members_come_back_with_it_and_are_linked_like_it(
    tmp_path: Path, model: Checkpoint
) -> None:
    together = add_member(model, tmp_path / "other")
    open_store(tmp_path).save(together)
    loaded = open_store(tmp_path).load()
    assert loaded.manifest == together.manifest
    [member] = loaded.members
    assert member.folder == loaded.folder / "members/1"
    assert member.manifest == together.members[0].manifest
    # Saved again, as another version, nothing is missing.
    open_store(tmp_path, save="2").save(loaded)
    assert (tmp_path / "rm/2/rm/members/1/model.safetensors").stat().st_nlink == 3
    assert check_checkpoint(tmp_path / "rm/2/rm", verify=True).members


def test_a_member_that_is_not_whole_is_found(tmp_path: Path, model: Checkpoint) -> None:
    together = add_member(model, tmp_path / "other")
    open_store(tmp_path).save(together)
    weights = tmp_path / "rm/1/rm/members/1/model.safetensors"
    weights.unlink()
    with pytest.raises(DatasetError, match=r"incomplete checkpoint .*/members/1: no model.safet"):
        open_store(tmp_path).load()
    (tmp_path / "other/model.safetensors").unlink()
    with pytest.raises(DatasetError, match=r"incomplete checkpoint .*/other: no model.safetensors"):
        open_store(tmp_path, save="2").save(together)
    assert not (tmp_path / "rm/2").exists()


def test_where_files_can_not_be_linked_they_are_copied(
    tmp_path: Path, model: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    open_store(tmp_path).save(model)
    assert (tmp_path / "rm/1/rm/model.safetensors").stat().st_nlink == 1
    assert check_checkpoint(tmp_path / "rm/1/rm", verify=True)


def test_versions_are_kept_apart(tmp_path: Path, model: Checkpoint) -> None:
    other = describe(write_model(tmp_path / "other", weight=2.0))
    open_store(tmp_path, save="1").save(model)
    open_store(tmp_path, save="2").save(other)
    assert model.manifest["fingerprint"] != other.manifest["fingerprint"]
    assert open_store(tmp_path).load().manifest == other.manifest
    assert open_store(tmp_path, load="1").load().manifest == model.manifest
    assert find_versions(DataCatalog({"rm": open_store(tmp_path)}), "rm") == ["2", "1"]


def test_a_version_is_not_saved_over_itself(tmp_path: Path, model: Checkpoint) -> None:
    open_store(tmp_path).save(model)
    with pytest.raises(DatasetError, match="must not exist"):
        open_store(tmp_path).save(open_store(tmp_path).load())
    assert open_store(tmp_path).load().manifest == model.manifest


def test_a_checkpoint_dataset_is_versioned(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="rm: checkpoints are versioned; set `versioned: true`"):
        CheckpointDataset(filepath="rm")


def test_a_save_that_fails_leaves_nothing(
    tmp_path: Path, model: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> None:
        if path.name == "model.safetensors":
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint_module, "sync", fail)
        with pytest.raises(DatasetError, match="rm/1/rm: could not be written: No space left"):
            open_store(tmp_path).save(model)
    assert not open_store(tmp_path).exists()
    assert list((tmp_path / "rm").iterdir()) == []


def test_a_kill_while_saving_leaves_the_last_whole_version(
    tmp_path: Path, model: Checkpoint
) -> None:
    open_store(tmp_path, save="1").save(model)
    script = (
        "import os\n"
        "from kedro.io import Version\n"
        "from almost_kedro.datasets import checkpoint\n"
        "checkpoint.encode = lambda text: os.kill(os.getpid(), 9)\n"
        f"path = {str(tmp_path / 'rm')!r}\n"
        "model = checkpoint.CheckpointDataset(filepath=path, version=Version('1', None)).load()\n"
        "checkpoint.CheckpointDataset(filepath=path, version=Version(None, '2')).save(model)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    left = tmp_path / "rm/.rm.part"
    assert sorted(path.name for path in left.iterdir()) == FILES
    assert open_store(tmp_path).list_versions(full_path=False) == ["1"]
    open_store(tmp_path, save="3").save(model)
    assert not left.exists()
    assert open_store(tmp_path).list_versions(full_path=False) == ["3", "1"]


def test_folders_and_later_files_are_not_saved(tmp_path: Path, model: Checkpoint) -> None:
    (model.folder / "checkpoint-50").mkdir()
    (model.folder / "checkpoint-50/optimizer.pt").write_bytes(b"pickle")
    (model.folder / "train.log").write_text("later")
    open_store(tmp_path).save(model)
    saved = sorted(path.name for path in (tmp_path / "rm/1/rm").iterdir())
    assert saved == sorted([*FILES, "manifest.json"])


def test_what_is_not_whole_is_refused(tmp_path: Path, model: Checkpoint) -> None:
    open_store(tmp_path).save(model)
    folder = tmp_path / "rm/1/rm"
    remedy = "; restore it, or run the pipeline that trains it"
    config = (folder / "config.json").read_bytes()
    (folder / "config.json").unlink()
    with pytest.raises(DatasetError, match=f"^incomplete checkpoint {folder}: no config.json"):
        open_store(tmp_path).load()
    (folder / "config.json").write_bytes(config[:-1])
    with pytest.raises(UserError, match=f"config.json has 22 bytes and not 23{remedy}"):
        check_checkpoint(folder)
    (folder / "config.json").write_bytes(config.upper())
    check_checkpoint(folder)
    with pytest.raises(UserError, match=r"config.json has changed"):
        check_checkpoint(folder, verify=True)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(UserError, match=r"manifest.json is not JSON"):
        check_checkpoint(folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(UserError, match=f"no manifest.json{remedy}"):
        check_checkpoint(folder)


def test_a_model_that_lost_a_file_is_not_saved(tmp_path: Path, model: Checkpoint) -> None:
    (model.folder / "tokenizer.json").unlink()
    with pytest.raises(DatasetError, match=r"^incomplete checkpoint .*work: no tokenizer.json"):
        open_store(tmp_path).save(model)
    assert not open_store(tmp_path).exists()


@pytest.mark.parametrize("name", ["pytorch_model.bin", "optimizer.pt", "rng_state.PTH", "a.pkl"])
def test_pickles_are_refused(model: Checkpoint, name: str) -> None:
    (model.folder / name).write_bytes(b"")
    with pytest.raises(UserError, match=f"work: {name}; pickles can run code"):
        describe(model.folder)


@pytest.mark.parametrize("name", FILES)
def test_a_model_without_a_file_is_refused(model: Checkpoint, name: str) -> None:
    (model.folder / name).unlink()
    with pytest.raises(UserError, match=rf"work: no .*{Path(name).suffix}; save the model"):
        describe(model.folder)


def test_links_are_refused(tmp_path: Path, model: Checkpoint) -> None:
    (tmp_path / "secret").write_text("s")
    (model.folder / "notes.txt").symlink_to(tmp_path / "secret")
    with pytest.raises(UserError, match=r"notes.txt is a symbolic link; copy the file itself"):
        describe(model.folder)


def test_every_shard_must_be_there(model: Checkpoint) -> None:
    weight_map = {"w": "model.safetensors", "v": "model-2.safetensors"}
    index = model.folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(UserError, match=r"work: no model-2.safetensors, named by"):
        describe(model.folder)


def test_a_checkpoint_is_a_model_of_the_worker(model: Checkpoint) -> None:
    made = as_model(model, bos=True)
    assert (made.name, made.folder, made.bos) == ("reward_model", model.folder, True)
    assert made.fingerprint == model.manifest["fingerprint"]
    assert not made.trust_remote_code


def test_a_model_of_other_data_is_refused(model: Checkpoint) -> None:
    check_same_data(model, "prompt_splits", "5ee", "train it again")
    for what, trained in (("prompt_splits", "5ee"), ("comparisons", "none")):
        with pytest.raises(UserError) as caught:
            check_same_data(model, what, "0dd", "train it again")
        assert str(caught.value) == (
            f"reward_model was trained on another version of {what} "
            f"({model.folder}: {trained}, this run: 0dd); train it again"
        )


def test_another_tokenizer_is_refused(tmp_path: Path, model: Checkpoint) -> None:
    other = write_model(tmp_path / "other", words=("b", "a"))
    with pytest.raises(UserError, match=r"reward_model has another tokenizer than .*other"):
        check_same_tokenizer(model, other, "train it again")
    (other / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"other: no tokenizer.json to compare with; train it"):
        check_same_tokenizer(model, other, "train it again")


def test_a_tokenizer_that_has_padded_and_cut_is_the_same(tmp_path: Path, model: Checkpoint) -> None:
    file = tmp_path / "used/tokenizer.json"
    file.parent.mkdir()
    tokenizer = Tokenizer.from_file(str(model.folder / "tokenizer.json"))
    tokenizer.enable_padding()
    tokenizer.enable_truncation(4)
    tokenizer.save(str(file))
    assert file.read_bytes() != (model.folder / "tokenizer.json").read_bytes()
    check_same_tokenizer(model, file.parent, "train it again")


def test_a_run_writes_parents_and_commit_into_the_manifest(
    tmp_path: Path, model: Checkpoint, project: Path
) -> None:
    comparisons = str(tmp_path / "comparisons.jsonl")
    for version in ("v1", "v2"):
        RowsDataset(filepath=comparisons, version=Version(None, version)).save([])

    def split(rows: Any) -> list[Any]:
        return []

    def train(rows: Any, splits: Any, options: Any) -> Checkpoint:
        return model

    splits = str(tmp_path / "splits.jsonl")
    catalog = DataCatalog(
        {
            "comparisons": RowsDataset(filepath=comparisons, version=Version("v1", "1")),
            "prompt_splits": RowsDataset(filepath=splits, version=Version(None, "1")),
            "params:reward_model": MemoryDataset({}),
            "reward_model": open_store(tmp_path),
        }
    )
    inputs = ["comparisons", "prompt_splits", "params:reward_model"]
    pipeline = Pipeline(
        [
            Node(split, inputs="comparisons", outputs="prompt_splits"),
            Node(train, inputs=inputs, outputs="reward_model"),
        ]
    )
    manager = _create_hook_manager()
    manager.register(ManifestHook())
    manager.hook.before_pipeline_run(
        run_params={"project_path": str(project)}, pipeline=pipeline, catalog=catalog
    )
    SequentialRunner().run(pipeline, catalog, manager)
    manifest = open_store(tmp_path).load().manifest
    assert manifest["parents"] == {"comparisons": "v1", "prompt_splits": "1"}
    assert manifest["git_commit"] == read_commit(project)


def test_kedro_viz_shows_what_it_was_made_from(tmp_path: Path, model: Checkpoint) -> None:
    open_store(tmp_path).save(model)
    shown = json.loads(open_store(tmp_path).preview())
    assert shown == {
        "kind": "reward_model",
        "name": "reward_model",
        "base": {"name": "tiny-small", "fingerprint": "f00"},
        "metrics": {"loss": 0.5},
        "options": {"epochs": 1},
        "parents": {},
    }


def test_an_adapter_alone_is_no_model(tmp_path: Path) -> None:
    names = ["config.json", "tokenizer.json", "adapter/adapter_model.safetensors"]
    with pytest.raises(UserError, match=r"no \*.safetensors; save the model's weights there"):
        check_model_files(tmp_path, names)
    check_model_files(tmp_path, [*names, "model.safetensors"])
