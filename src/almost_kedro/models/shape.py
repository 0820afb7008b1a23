"""How large a model is: from its files, or from what models.yml says of it."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path

from almost_kedro.models.files import read_json, text_config
from almost_kedro.options.models import ModelEntry, ModelShape

# So many bytes before a safetensors file's header hold its length.
LENGTH_BYTES = 8
# Names of heads, width and layers in configurations; GPT-2's are second.
NAMES = (
    ("num_attention_heads", "n_head"),
    ("hidden_size", "n_embd"),
    ("num_hidden_layers", "n_layer"),
)


def read_shape(folder: Path | None, entry: ModelEntry) -> ModelShape | None:
    """Return a model's size; None if neither its folder nor its entry has it."""
    if folder is None or not (folder / "config.json").is_file():
        return getattr(entry, "shape", None)
    config = text_config(read_json(folder.name, folder / "config.json"))
    heads, hidden_size, layers = (
        next((config[name] for name in names if config.get(name)), None) for names in NAMES
    )
    parameters = sum(count_parameters(file) for file in folder.glob("*.safetensors"))
    given: ModelShape | None = getattr(entry, "shape", None)
    # A tokenizer's folder has no weights: they are on servers.
    if not (parameters or given) or not (heads and hidden_size and layers):
        return given
    head_size = config.get("head_dim") or hidden_size // heads
    return ModelShape(
        parameters=parameters or given.parameters,  # type: ignore[union-attr]
        layers=layers,
        hidden_size=hidden_size,
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
    """Count the parameters without embeddings, with which a reward model computes nothing."""
    return shape.parameters - shape.vocabulary * shape.hidden_size
