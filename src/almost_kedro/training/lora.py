"""Low-rank adapters (LoRA): how they are trained, and how they become part of the weights.

Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models". The weights of the base stay
as they are, in the numbers that are computed with; adapters, and a reward model's head, are trained
in float32. A checkpoint is the merged model, which any program reads, with the adapter beside it.

By `load_in_4bit`, the layers that are changed lie there in 4 bits meanwhile (Dettmers et al. 2023,
"QLoRA: Efficient Finetuning of Quantized LLMs").
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import nn
from transformers import BitsAndBytesConfig, PreTrainedModel

from almost_kedro.contract import ModelFolder, digest
from almost_kedro.generation.number_format import choose_dtype
from almost_kedro.models.files import ADAPTER, ADAPTER_FOLDER, CONFIG
from almost_kedro.training.devices import training_device
from almost_kedro.training.job import TrainingJob
from almost_kedro.training.policy_files import replace_json

# How peft names things in its model of a model.
OUTER, BASE, TRAINED, KEPT = "base_model.model.", ".base_layer", ".modules_to_save.default", "lora_"
UNTRAINED = ".original_module."
HEAD = "score"
# bitsandbytes' names for what it knows of a weight, and for whether a layer may change its layout.
QUANTISED, PACKS = "quant_state", "support_avx512bf16_for_cpu"
FROM, INTO = ".lora_A.default.weight", ".lora_B.default.weight"


def make_adapter(job: TrainingJob) -> dict[str, Any]:
    """Return the argument of TRL's trainers that adds adapters; nothing without `lora`."""
    lora = job.options.lora
    if lora is None:
        return {}
    from peft import LoraConfig, TaskType

    rewards = job.program == "reward"
    config = LoraConfig(
        task_type=TaskType.SEQ_CLS if rewards else TaskType.CAUSAL_LM,
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]
        lora_dropout=lora.dropout,
        target_modules=lora.targets,
        modules_to_save=[HEAD] if rewards else None,
    )
    return {"peft_config": config}


def choose_weights(job: TrainingJob) -> dict[str, Any]:
    """Return the arguments that say in which numbers a model is loaded to be trained.

    Weights that are trained are float32. Those under an adapter only take part in products.
    """
    lora = job.options.lora
    if lora is None:
        return {"dtype": "float32"}
    computed = str(choose_dtype(job.launch.dtype, training_device(job))).removeprefix("torch.")
    if not lora.load_in_4bit:
        return {"dtype": computed}
    in_4bit = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=computed,
    )
    return {"dtype": computed, "quantization_config": in_4bit}


def find_network(model: nn.Module) -> PreTrainedModel:
    """Return transformers' model, with its adapters if it has any."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[operator]


def train_in_float32(model: nn.Module) -> None:
    """Keep what is trained in float32: a head begins in the numbers of the weights.

    On CPUs with AVX512-BF16, layers in 4 bits would change their layout at the first call without
    gradient, and after that bitsandbytes (0.50.2) has wrong gradients: half of the norm.
    """
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()
    for layer in model.modules():
        if hasattr(layer, PACKS):
            setattr(layer, PACKS, False)


def is_in_4bit(model: nn.Module) -> bool:
    """Tell whether layers of a model lie there in 4 bits."""
    return any(hasattr(weight, QUANTISED) for weight in model.parameters())


def expand(weight: torch.Tensor) -> torch.Tensor:
    """Return the numbers that a weight of 4 bits stands for, which a model computes with."""
    from bitsandbytes.functional import dequantize_4bit

    expanded: torch.Tensor = dequantize_4bit(weight.data, getattr(weight, QUANTISED))
    return expanded


def find_head(network: PreTrainedModel) -> nn.Module:
    """Return the layer of a reward network that gives rewards, which is trained whole."""
    head: Any = network.score
    found: nn.Module = getattr(head, "modules_to_save", {"default": head})["default"]
    return found


def is_off(model: nn.Module) -> bool:
    """Tell whether adapters are set aside, so that a model computes as its base."""
    return any(getattr(layer, "disable_adapters", False) is True for layer in model.modules())


def round_by_chance(weight: torch.Tensor, name: str) -> torch.Tensor:
    """Round to values of bfloat16, up or down: the nearer one is the likelier.

    Most changes by an adapter are smaller than half the step between two values of bfloat16, on one
    of which the base's weight lies: rounded to the nearest value, they would all be lost. So, a sum
    of many weights is right on average (Gupta et al. 2015, "Deep Learning with Limited Numerical
    Precision"). The same weight of the same `name` is always rounded alike.
    """
    seed = int(digest(name)[:8], 16)
    draw = torch.Generator().manual_seed(seed)
    # bfloat16 has the first 16 of the 32 bits.
    noise = torch.randint(0, 2**16, weight.shape, generator=draw, dtype=torch.int32)
    bits = weight.contiguous().view(torch.int32)
    return ((bits + noise) & -(2**16)).view(torch.float32)


def merge_weights(
    model: nn.Module,
    state: Mapping[str, torch.Tensor] | None = None,
    base: Mapping[str, torch.Tensor] = MappingProxyType({}),
    *,
    bfloat16: bool,
) -> dict[str, torch.Tensor]:
    """Return the weights of a model with its adapters merged, by the names that its base has.

    A matrix `(out, in)` becomes W + alpha / rank * B A, in float32, or rounded by chance to values
    of `bfloat16`, where that is computed with. That is done in main memory: a GPU may have no room.
    Without adapters, the state is returned as it is. `state` is the whole model's where `model` has
    shards only. Layers in 4 bits are taken from `base`, by their names there; without it, they are
    what they compute with.
    """
    state = model.state_dict() if state is None else state
    if find_network(model) is model:
        return dict(state)
    layers = {name: each for name, each in model.named_modules() if hasattr(each, "lora_A")}
    merged: dict[str, torch.Tensor] = {}
    floats: dict[int, torch.Tensor] = {}  # tied weights stay tied
    for name, value in state.items():
        if f".{KEPT}" in name or UNTRAINED in name:
            continue
        own = name.removeprefix(OUTER).replace(BASE, "").replace(TRAINED, "")
        layer, _, part = name.rpartition(f"{BASE}.")
        if part.startswith("weight."):  # of what 4 bits stand for
            continue
        if part == "weight" and hasattr(layers[layer].weight, QUANTISED):
            value = base[own] if base else expand(layers[layer].weight)
        weight = value.detach().cpu().float()
        if part == "weight" and layer in layers:
            # As in the forward pass: from `in` to the rank, from there to `out`.
            change = layers[layer].scaling["default"] * (
                state[layer + INTO].cpu().float() @ state[layer + FROM].cpu().float()
            )
            weight = weight + (change.T if layers[layer].fan_in_fan_out else change)
            merged[own] = round_by_chance(weight, own) if bfloat16 else weight
        else:
            merged[own] = floats.setdefault(value.data_ptr(), weight)
    return merged


def load_plain(network: PreTrainedModel, base: ModelFolder) -> PreTrainedModel:
    """Load the base of a network in 4 bits again, with all its bits and the network's settings."""
    plain = type(network).from_pretrained(
        base.folder, dtype="auto", trust_remote_code=base.trust_remote_code
    )
    plain.config = deepcopy(network.config)
    del plain.config.quantization_config
    if plain.can_generate():
        plain.generation_config = network.generation_config
    return plain


def save_merged(
    model: nn.Module,
    base: ModelFolder,
    state: Mapping[str, torch.Tensor],
    out: Path,
    *,
    bfloat16: bool,
) -> None:
    """Save a model with its adapters merged to `out`, and the adapters in a folder of it.

    `base` is what the adapters change, `state` has the weights of the whole model.
    """
    network, of_base = find_network(model), {}
    if is_in_4bit(network):
        network = load_plain(network, base)
        of_base = network.state_dict()
    merged = merge_weights(model, state, of_base, bfloat16=bfloat16)
    network.save_pretrained(out, state_dict=merged)
    replace_json(out / CONFIG, {"dtype": "float32"})
    adapter = out / ADAPTER_FOLDER
    # Nor embeddings, which are not trained: a reward model has one more to pad with.
    model.save_pretrained(  # type: ignore[operator]
        adapter, state_dict=dict(state), save_embedding_layers=False
    )
    (adapter / "README.md").unlink(missing_ok=True)  # peft's, about the place of the base
    described = json.loads((adapter / ADAPTER).read_text(encoding="utf-8"))
    replace_json(adapter / ADAPTER, {**described, "base_model_name_or_path": base.name})


def count_trained(model: nn.Module) -> dict[str, int]:
    """Return how many numbers are trained, and of how many; nothing without adapters."""
    if find_network(model) is model:
        return {}
    sizes = [
        (prod(getattr(weight, QUANTISED, weight).shape), weight.requires_grad)
        for weight in model.parameters()
    ]
    return {
        "trained_parameters": sum(size for size, trained in sizes if trained),
        "parameters": sum(size for size, _ in sizes),
    }
