"""How large a model is: from its files, or from what models.yml says of it."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Any

from almost_kedro.options import ModelEntry, ModelShape

# Bytes before a safetensors file's header, which say how long it is.
LENGTH_BYTES = 8


def read_shape(folder: Path | None, entry: ModelEntry) -> ModelShape | None:
    """Return a model's size; None if neither its folder nor its entry has it.

    Args:
        folder: Its folder, if it is here.
        entry: Its entry in models.yml.
    """
    if folder is None or not (folder / "config.json").is_file():
        return getattr(entry, "shape", None)
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config = config.get("text_config", config)
    heads = config["num_attention_heads"]
    head_size = config.get("head_dim") or config["hidden_size"] // heads
    parameters = sum(count_parameters(file) for file in folder.glob("*.safetensors"))
    given: ModelShape | None = getattr(entry, "shape", None)
    if not parameters and given is None:  # a tokenizer's folder: only servers have the weights
        return None
    return ModelShape(
        parameters=parameters or given.parameters,  # type: ignore[union-attr]
        layers=config["num_hidden_layers"],
        hidden_size=config["hidden_size"],
        kv_size=(config.get("num_key_value_heads") or heads) * head_size,
        vocabulary=config["vocab_size"],
    )


def count_parameters(file: Path) -> int:
    """Count the numbers in a safetensors file, from its header alone."""
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(LENGTH_BYTES), "little")
        header = json.loads(opened.read(length))
    return sum(prod(each["shape"]) for name, each in header.items() if name != "__metadata__")


def body(shape: ModelShape) -> float:
    """Return the parameters without the embeddings, of which a reward model computes none."""
    return shape.parameters - shape.vocabulary * shape.hidden_size
