"""What changes answers changes a fingerprint, and nothing else does."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hand_made_models import END, edit, make_folder, make_tokenizer

from almost_kedro.models.fingerprints import fingerprint_folder, hash_unchanged

Change = Callable[[Path], Any]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = make_tokenizer(extra=(END, "<|spare|>", "[PAD]"), pad_token="[PAD]")
    return make_folder(tmp_path_factory.mktemp("base") / "model", tokenizer, vocab_size=258)


@pytest.fixture
def folder(base: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(base, tmp_path / "model"))


def changed(file: str, **changes: Any) -> Change:
    return lambda folder: edit(folder, file, **changes)


def lay_out(folder: Path) -> None:
    for file in folder.glob("*.json"):
        file.write_text(json.dumps(json.loads(file.read_text()), indent=7, sort_keys=True))


def drop_token_without_row(folder: Path) -> None:
    tokens = json.loads((folder / "tokenizer.json").read_text())["added_tokens"]
    edit(folder, "tokenizer.json", added_tokens=tokens[:-1])


MENDS: dict[str, Change] = {
    "sampling values": changed("generation_config.json", do_sample=True, temperature=0.6, top_k=9),
    "no sampling values": changed("generation_config.json", do_sample=None),
    "another layout": lay_out,
    "a description": lambda folder: (folder / "README.md").write_text("new"),
    "a licence": lambda folder: (folder / "LICENSE.txt").write_text("new"),
    "an index beside whole weights": changed("model.safetensors.index.json", weight_map={"a": "b"}),
    "weights that are not read": lambda folder: (folder / "consolidated.safetensors").touch(),
    "a chat template": changed("tokenizer_config.json", chat_template="{{ a }}"),
    "no pad token": changed("tokenizer_config.json", pad_token=None),
    "the eos token as pad token": changed("tokenizer_config.json", pad_token=END),
    "a pad token of text": changed("tokenizer_config.json", pad_token="!"),
    "no pad token in the vocabulary": drop_token_without_row,
    "pad id": changed("config.json", pad_token_id=3),
    "padding side": changed("tokenizer_config.json", padding_side="left", model_max_length=7),
    "padding of a batch": changed("tokenizer.json", padding={"strategy": "BatchLongest"}),
    "number format": changed("config.json", dtype="bfloat16", transformers_version="9"),
}
CHANGES: dict[str, Change] = {
    "weights": lambda folder: (folder / "model.safetensors").write_bytes(b"1"),
    "architecture": changed("config.json", rms_norm_eps=1e-3),
    "ends": changed("generation_config.json", eos_token_id=[256, 3]),
    "vocabulary": changed("tokenizer.json", normalizer={"type": "Lowercase"}),
    "how it is read": changed("tokenizer_config.json", tokenizer_class="LlamaTokenizer"),
    "eos": changed("tokenizer_config.json", eos_token="<|spare|>"),
    "a pad token that the model can write": changed("tokenizer_config.json", pad_token="<|spare|>"),
    "code": lambda folder: (folder / "modeling.py").write_text("new"),
}


@pytest.mark.parametrize("mend", MENDS)
def test_a_mend_that_changes_no_answer_keeps_what_was_generated(
    mend: str, base: Path, folder: Path
) -> None:
    MENDS[mend](folder)
    assert fingerprint_folder("m", folder) == fingerprint_folder("m", base)


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_answers_is_another_model(change: str, base: Path, folder: Path) -> None:
    CHANGES[change](folder)
    assert fingerprint_folder("m", folder) != fingerprint_folder("m", base)


def test_weights_are_hashed_once_however_often_a_model_is_looked_up(folder: Path) -> None:
    hash_unchanged.cache_clear()
    assert len({fingerprint_folder("m", folder) for _ in range(3)}) == 1
    n_files = len(list(folder.glob("*.safetensors")))
    assert hash_unchanged.cache_info().misses == n_files == 1
