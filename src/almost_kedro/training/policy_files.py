"""What a policy's folder keeps of its base: vocabulary, ids, and what pads and ends its texts.

Padding is training's own business. TRL and transformers write what they padded with into tokenizer,
configuration and generation configuration; a policy with those would answer unlike its base.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from almost_kedro.generation.job import ModelFolder
from almost_kedro.generation.tokens import load_tokenizer
from almost_kedro.json_lines import write_whole
from almost_kedro.model_files import (
    CONFIG,
    GENERATION_CONFIG,
    TOKENIZER,
    TOKENIZER_FILES,
    read_json,
    text_config,
)

IDS = ("pad_token_id", "bos_token_id", "eos_token_id")


def keep_base_files(base: ModelFolder, folder: Path) -> None:
    """Give a trained policy its base's tokenizer and ids.

    Args:
        base: What it was trained from.
        folder: What transformers saved of the policy.
    """
    assert base.folder
    tokenizer = load_tokenizer(base.folder, base.trust_remote_code)
    for file in TOKENIZER_FILES:
        (folder / file).unlink(missing_ok=True)
    if (base.folder / TOKENIZER).is_file():
        for file in TOKENIZER_FILES:
            if (base.folder / file).is_file():
                shutil.copyfile(base.folder / file, folder / file)
    else:  # read from an older vocabulary, and kept as what all programs read
        tokenizer.save_pretrained(folder)
    config = read_json(base.name, base.folder / CONFIG)
    restore_ids(base.name, config, folder)
    keep_generation_config(base, config, tokenizer.eos_token_id, folder)


def restore_ids(name: str, config: dict[str, Any], folder: Path) -> None:
    """Put special tokens' ids into a saved configuration as the base's has them."""
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
    """Keep the base's generation configuration; the eos that the policy has learned is an end, too.

    Args:
        base: What it was trained from.
        config: Its configuration.
        eos: The tokenizer's eos token.
        folder: What transformers saved of the policy.
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
    """Replace a file of JSON; unlike our documents, a configuration may hold infinities."""
    with write_whole(file) as out:
        out.write((json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())
