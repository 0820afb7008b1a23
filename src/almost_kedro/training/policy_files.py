"""What a policy's folder keeps of its base: vocabulary, ids, and padding and end tokens.

TRL and transformers write training's padding into tokenizer, configuration and generation
configuration. A policy with those files would answer unlike its base.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from almost_kedro.contract import ModelFolder
from almost_kedro.models.files import (
    CONFIG,
    GENERATION_CONFIG,
    TOKENIZER,
    TOKENIZER_FILES,
    read_json,
    text_config,
)
from almost_kedro.models.tokens import ChatTemplate, load_tokenizer
from almost_kedro.rows.json_lines import write_whole

IDS = ("pad_token_id", "bos_token_id", "eos_token_id")


def keep_base_files(base: ModelFolder, folder: Path) -> None:
    """Give a trained policy, as transformers saved it to `folder`, its base's tokenizer and ids."""
    assert base.folder
    tokenizer = load_tokenizer(base.folder, base.trust_remote_code)
    for file in TOKENIZER_FILES:
        (folder / file).unlink(missing_ok=True)
    if (base.folder / TOKENIZER).is_file():
        for file in TOKENIZER_FILES:
            if (base.folder / file).is_file():
                shutil.copyfile(base.folder / file, folder / file)
    else:  # an older vocabulary, saved in the form that all programs read
        tokenizer.save_pretrained(folder)
    config = read_json(base.name, base.folder / CONFIG)
    restore_ids(base.name, config, folder)
    end = ChatTemplate(tokenizer).end if base.template else tokenizer.eos_token_id
    keep_generation_config(base, config, end, folder)


def restore_ids(name: str, config: dict[str, Any], folder: Path) -> None:
    """Restore the base's ids of special tokens in a saved configuration."""
    saved = read_json(name, folder / CONFIG)
    for given, found in ((config, saved), (text_config(config), text_config(saved))):
        for key in IDS:
            found.pop(key, None)
            if key in given:
                found[key] = given[key]
    write_json(folder / CONFIG, saved)


def keep_generation_config(
    base: ModelFolder, config: dict[str, Any], eos: int | None, folder: Path
) -> None:
    """Keep the base's generation configuration, and add the eos that the policy has learned.

    `config` is the base's configuration, `eos` the tokenizer's, `folder` what transformers saved.
    """
    assert base.folder
    own = base.folder / GENERATION_CONFIG
    kept = read_json(base.name, own) if own.is_file() else {}
    named = kept.get("eos_token_id", text_config(config).get("eos_token_id"))
    ends = named if isinstance(named, list) else [each for each in [named] if each is not None]
    (folder / GENERATION_CONFIG).unlink(missing_ok=True)
    if eos is not None and eos not in ends:
        write_json(folder / GENERATION_CONFIG, {**kept, "eos_token_id": [eos, *ends]})
    elif own.is_file():
        shutil.copyfile(own, folder / GENERATION_CONFIG)


def write_json(file: Path, content: dict[str, Any]) -> None:
    """Replace a JSON file; unlike our documents, a configuration may hold infinities."""
    with write_whole(file) as out:
        out.write((json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def replace_json(file: Path, entries: dict[str, Any]) -> None:
    """Write a JSON object anew with other entries; None takes one out."""
    before = read_json(file.parent.name, file) if file.is_file() else {}
    after = {key: value for key, value in {**before, **entries}.items() if value is not None}
    if after != before:
        write_json(file, after)
