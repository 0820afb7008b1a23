"""Whether a model can be trained by low-rank adapters, found out without torch and peft."""

from __future__ import annotations

import importlib.util
from collections import Counter
from pathlib import Path

from safetensors import safe_open

from almost_kedro.errors import UserError
from almost_kedro.models.files import CONFIG, find_weights, read_json, shorten, text_config
from almost_kedro.options.training import LoraOptions

WEIGHT = ".weight"


def check_adapters(
    lora: LoraOptions, option: str, name: str, folder: Path, *, sharded: bool = False
) -> None:
    """Raise UserError if a package is missing, or if a layer to be changed is not in the model.

    `option` is where adapters were asked for, `folder` the model's. Nor can weights in 4 bits be
    `sharded`.
    """
    needs = [("peft", "lora", "it to null")]
    if lora.load_in_4bit:
        needs.append(("bitsandbytes", "qlora", "its load_in_4bit to false"))
    for package, extra, remedy in needs:
        if importlib.util.find_spec(package) is None:
            raise UserError(
                f"option {option}: {package} is not installed here; run `pip install -c "
                f"constraints.txt -e '.[{extra}]'`, or set {remedy}"
            )
    if lora.load_in_4bit and sharded:
        raise UserError(
            f"option {option}.load_in_4bit: launch.config is fsdp, and weights in 4 bits are not "
            "sharded here; set it to gpu, or load_in_4bit to false"
        )
    if lora.targets == "all-linear":
        return
    linear = count_linear(name, folder)
    for target in lora.targets:
        if not any(layer == target or layer.endswith(f".{target}") for layer in linear):
            ends = Counter[str]()
            for layer, times in linear.items():
                ends[layer.rpartition(".")[2]] += times
            there = shorten([end for end, _ in ends.most_common()], 8)
            raise UserError(
                f"option {option}.targets: model {name!r} has no linear layer {target!r} in its "
                f"blocks; it has {there}"
            )


def count_linear(name: str, folder: Path) -> Counter[str]:
    """Return the names of a model's linear layers, from the headers of its weights.

    Embeddings and the head, which have a row for each token, are none of them.
    """
    rows = text_config(read_json(name, folder / CONFIG)).get("vocab_size")
    found = Counter[str]()
    for file in find_weights(name, folder):
        with safe_open(file, framework="numpy") as weights:
            for key in weights.keys():  # noqa: SIM118 (it is no mapping)
                shape = weights.get_slice(key).get_shape()
                if key.endswith(WEIGHT) and len(shape) == 2 and rows not in shape:
                    found[key.removesuffix(WEIGHT)] += 1
    return found
