"""Identifies a model by a hash of what decides its answers, and of nothing else.

So a user can mend other things in its folder (padding, sampling values, an index, a
description), and what was generated stays valid.
"""

from __future__ import annotations

import hashlib
import json
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from almost_kedro.errors import UserError
from almost_kedro.models.checkpoints import hash_file
from almost_kedro.models.files import (
    ADDED_TOKENS,
    CONFIG,
    GENERATION_CONFIG,
    SPECIAL_TOKENS,
    TOKENIZER,
    TOKENIZER_CONFIG,
    TOKENIZER_FILES,
    find_weights,
    read_json,
    text_config,
)

# Files of models that were made here.
ALL_FILES = ("*.safetensors", "*.json", "*.txt", "*.model", "*.py")
# Entries of config.json that do not decide how the model computes; `list_ends` reads what ends a
# text.
NO_COMPUTATION = {
    "_name_or_path",
    "architectures",
    "bos_token_id",
    "dtype",
    "eos_token_id",
    "pad_token_id",
    "torch_dtype",
    "transformers_version",
    "use_cache",
}
# Entries of a tokenizer's files that do not decide how texts become ids or ids texts; `list_ends`
# reads the pad token.
NO_READING = {
    "chat_template",
    "max_length",
    "model_max_length",
    "name_or_path",
    "pad_to_multiple_of",
    "pad_token",
    "padding",
    "padding_side",
    "processor_class",
    "stride",
    "truncation",
    "truncation_side",
    "truncation_strategy",
}
PARSED = (TOKENIZER, TOKENIZER_CONFIG, SPECIAL_TOKENS, ADDED_TOKENS)


def fingerprint_folder(name: str, folder: Path) -> str:
    """Hash what decides the answers of a user's model.

    The hash depends on the weights that are loaded, on code, on how the model computes and its
    tokenizer reads, and on which tokens end a text. It does not depend on the layout of JSON, on
    number formats, padding and sampling values. `folder` must pass `check_model_folder`. Raises
    UserError if a tokenizer's JSON has another layout.
    """
    try:
        return hash_json(list_parts(name, folder))
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        raise UserError(
            f"model {name!r}: its tokenizer's files in {folder} are not laid out as they should be "
            f"({type(exc).__name__}: {exc}); fetch them again"
        ) from exc


def list_parts(name: str, folder: Path) -> list[Any]:
    """Return what decides a model's answers; see `fingerprint_folder`."""
    config = read_json(name, folder / CONFIG)
    rows = count_rows(config)
    parts: list[Any] = [leave_out(config, NO_COMPUTATION), list_ends(name, folder, config)]
    for file in (*find_weights(name, folder), *sorted(folder.glob("*.py"))):
        stat = file.stat()
        parts.append([file.name, hash_unchanged(file, stat.st_size, stat.st_mtime_ns)])
    for file in (folder / each for each in TOKENIZER_FILES):
        if file.name in PARSED and file.is_file():
            parts.append([file.name, read_part(name, file, rows)])
        elif file.is_file() and not file.name.startswith("chat_template"):
            parts.append([file.name, hash_file(file)])
    return parts


@lru_cache
def hash_unchanged(file: Path, size: int, modified: int) -> str:
    """Hash a file once in a run, though nodes look its model up some thirty times.

    A changed file is hashed anew: its `size` (bytes) or `modified` (nanoseconds) differs.
    """
    return hash_file(file)


def read_part(name: str, file: Path, rows: int) -> dict[str, Any]:
    """Return what a tokenizer's JSON file says of how texts become ids and ids texts.

    Only tokens with ids below `rows` have an embedding. The others are never read or written.
    """
    found = read_json(name, file)
    if file.name == ADDED_TOKENS:
        return {token: id_ for token, id_ in found.items() if id_ < rows}
    return drop_rowless(leave_out(found, NO_READING), rows)


def fingerprint_files(folder: Path, manifest: str) -> str:
    """Hash names and contents of all files of a model that was made here, but its manifest."""
    files = {path for pattern in ALL_FILES for path in folder.glob(pattern)}
    hashes = [[path.name, hash_file(path)] for path in sorted(files) if path.name != manifest]
    return hashlib.sha256(json.dumps(hashes).encode()).hexdigest()


def list_ends(name: str, folder: Path, config: dict[str, Any]) -> list[Any]:
    """Return what says which tokens end a text, besides the tokenizer's eos token.

    A pad token ends a text if the model can write it: if it is special, and has an embedding.
    """
    said = config
    if (folder / GENERATION_CONFIG).is_file():
        said = read_json(name, folder / GENERATION_CONFIG)
    eos = said.get("eos_token_id", config.get("eos_token_id"))
    ends: list[Any] = [sorted(eos) if isinstance(eos, list) else [eos]]
    if (folder / TOKENIZER).is_file():
        kept = drop_rowless(read_json(name, folder / TOKENIZER), count_rows(config))
        special = [each.get("content") for each in kept["added_tokens"] if each.get("special")]
        pad = find_token(name, folder, "pad_token")
        if pad in special and pad != find_token(name, folder, "eos_token"):
            ends.append(pad)
    return ends


def find_token(name: str, folder: Path, kind: str) -> str | None:
    """Return the token that a tokenizer's files name as `kind`, such as "pad_token", if any."""
    for file in (folder / TOKENIZER_CONFIG, folder / SPECIAL_TOKENS):
        token = read_json(name, file).get(kind) if file.is_file() else None
        if token:
            return str(token.get("content")) if isinstance(token, dict) else str(token)
    return None


def count_rows(config: dict[str, Any]) -> int:
    """Return how many tokens have an embedding; sys.maxsize if the configuration doesn't say."""
    rows = text_config(config).get("vocab_size")
    return rows if isinstance(rows, int) else sys.maxsize


def drop_rowless(read: dict[str, Any], rows: int) -> dict[str, Any]:
    """Leave out added tokens that have no embedding."""
    added = read.get("added_tokens", [])
    decoder = read.get("added_tokens_decoder", {})
    return {
        **read,
        "added_tokens": [each for each in added if each["id"] < rows],
        "added_tokens_decoder": {id_: each for id_, each in decoder.items() if int(id_) < rows},
    }


def leave_out(value: dict[str, Any], names: set[str]) -> dict[str, Any]:
    """Return JSON without the entries of these names, also in nested configurations."""
    return {
        key: leave_out(each, names) if key.endswith("_config") and isinstance(each, dict) else each
        for key, each in value.items()
        if key not in names
    }


def hash_json(value: Any) -> str:
    """Hash JSON, however it is laid out."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
