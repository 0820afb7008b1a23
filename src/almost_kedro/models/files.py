"""Checks a model folder without torch; each fault becomes one line.

It reads only what costs little: JSON, and the headers of the weights, which say what they hold.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from almost_kedro.errors import UserError

CONFIG = "config.json"
GENERATION_CONFIG = "generation_config.json"
TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
SPECIAL_TOKENS = "special_tokens_map.json"
ADDED_TOKENS = "added_tokens.json"
# transformers looks for them in this order.
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
# Vocabularies; one of them is enough for a tokenizer.
VOCABULARIES = (
    TOKENIZER,
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "vocab.json",
    "vocab.txt",
    "tekken.json",
    "tiktoken.model",
)
# All files from which a tokenizer is read.
TOKENIZER_FILES = (
    *VOCABULARIES,
    "merges.txt",
    TOKENIZER_CONFIG,
    SPECIAL_TOKENS,
    ADDED_TOKENS,
    "chat_template.jinja",
    "chat_template.json",
)
ADAPTER = "adapter_config.json"
# Of a checkpoint whose adapters were trained: the adapters alone, beside the merged model.
ADAPTER_FOLDER = "adapter"
# `git clone` may leave a file that begins so in place of a large one.
POINTER = b"version https://git-lfs"
# How many names an error shows.
SHOWN = 3


def check_model_folder(name: str, folder: Path) -> None:
    """Raise UserError for the first file of a model that a folder lacks, or that can't be read."""
    if (folder / ADAPTER).is_file():
        raise UserError(
            f"model {name!r}: {folder} holds an adapter ({ADAPTER}), which is a change of another "
            "model; merge the two (merge_and_unload of peft), save them and give that folder"
        )
    check_config(name, folder)
    weights = find_weights(name, folder)
    check_tokenizer_folder(name, folder)
    if exists(folder / GENERATION_CONFIG):
        read_json(name, folder / GENERATION_CONFIG)
    for file in weights:
        check_header(name, file)


def check_config(name: str, folder: Path) -> None:
    """Refuse a file, or a folder without a configuration."""
    if folder.is_file():
        raise UserError(f"model {name!r}: {folder} is a file; give the folder that it is in")
    if not exists(folder / CONFIG):
        raise UserError(f"model {name!r}: no {CONFIG} in {folder}; give a model folder")
    read_json(name, folder / CONFIG)


def check_tokenizer_folder(name: str, folder: Path) -> None:
    """Refuse a folder without a configuration or a tokenizer; see `check_model_folder`."""
    check_config(name, folder)
    for file in (TOKENIZER_CONFIG, SPECIAL_TOKENS):
        if exists(folder / file):
            read_json(name, folder / file)
    present = [file for file in VOCABULARIES if exists(folder / file)]
    if not present and not any(folder.glob("*.py")):
        raise UserError(
            f"model {name!r}: no {TOKENIZER} in {folder}; save the model's tokenizer there"
        )
    for file in present:
        read_bytes(name, folder / file, 1)


def find_weights(name: str, folder: Path) -> list[Path]:
    """Return a model's weight files as transformers finds them; refuse a folder that lacks any."""
    if exists(folder / WEIGHTS):
        return [folder / WEIGHTS]
    if exists(folder / INDEX):
        shards = read_json(name, folder / INDEX).get("weight_map")
        if not isinstance(shards, dict) or not shards:
            raise UserError(f"model {name!r}: {folder / INDEX} has no weight_map; fetch it again")
        files = [folder / str(file) for file in sorted({str(each) for each in shards.values()})]
        if missing := [file.name for file in files if not exists(file)]:
            raise UserError(
                f"model {name!r}: no {shorten(missing)} in {folder}, named by {INDEX}; fetch "
                "what is missing"
            )
        return files
    others = sorted(path.name for path in folder.glob("*.safetensors"))
    if others:
        raise UserError(
            f"model {name!r}: neither {WEIGHTS} nor {INDEX} in {folder}, only {shorten(others)}; "
            "fetch the index, or save the model again in one file"
        )
    if list(folder.glob("*.bin")) + list(folder.glob("*.pt*")):
        raise UserError(
            f"model {name!r}: no *.safetensors in {folder}; pickled weights can run code when "
            "opened and are refused, so convert them to safetensors first"
        )
    raise UserError(f"model {name!r}: no *.safetensors in {folder}; save the model's weights there")


def check_header(name: str, file: Path) -> None:
    """Refuse a file of weights that is cut off or no safetensors; read none of its numbers."""
    if read_bytes(name, file, len(POINTER)) == POINTER:
        raise UserError(
            f"model {name!r}: {file} only points to the weights; run `git lfs pull` in its folder"
        )
    try:
        with safe_open(file, framework="numpy"):
            pass
    except SafetensorError as exc:
        raise UserError(
            f"model {name!r}: {file} is no whole safetensors file ({exc}); fetch it again"
        ) from exc


def read_json(name: str, file: Path) -> dict[str, Any]:
    """Read a JSON object of a model folder; raise UserError for anything else."""
    try:
        found = json.loads(read_bytes(name, file).decode())
    except ValueError as exc:
        raise UserError(f"model {name!r}: {file} is not JSON ({exc}); fetch it again") from exc
    if not isinstance(found, dict):
        raise UserError(f"model {name!r}: {file} holds no JSON object; fetch it again")
    return found


def text_config(config: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a configuration that is about text."""
    inner = config.get("text_config")
    return inner if isinstance(inner, dict) else config


def read_bytes(name: str, file: Path, size: int = -1) -> bytes:
    """Read a file of a model folder, by default all of it; raise UserError if that fails."""
    try:
        with file.open("rb") as opened:
            return opened.read(size)
    except OSError as exc:
        raise UserError(
            f"model {name!r}: can't read {file} ({exc.strerror or exc}); restore it, or mend its "
            "permissions"
        ) from exc


def exists(file: Path) -> bool:
    """Tell whether a file of this name exists; a link that leads nowhere counts, too."""
    return file.exists() or file.is_symlink()


def shorten(names: Sequence[str], shown: int = SHOWN) -> str:
    """Return the first names, and how many there are besides."""
    more = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {more} more" if more > 0 else "")
