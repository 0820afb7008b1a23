"""Low-rank adapters (LoRA): how they are trained, and how they become part of the weights.

Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models". The weights of the base stay
as they are, in the numbers that are computed with; adapters, and a reward model's head, are trained
in float32. A checkpoint is the merged model, which any program reads, with the adapter beside it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from almost_kedro.contract import digest
from almost_kedro.generation.number_format import choose_dtype
from almost_kedro.models.files import ADAPTER, ADAPTER_FOLDER, CONFIG
from almost_kedro.training.devices import training_device
from almost_kedro.training.job import TrainingJob
from almost_kedro.training.policy_files import replace_json

# How peft names things in its model of a model.
OUTER, BASE, TRAINED, KEPT = "base_model.model.", ".base_layer", ".modules_to_save.default", "lora_"
UNTRAINED = ".original_module."
HEAD = "score"
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


def choose_weights(job: TrainingJob) -> str:
    """Return the number format that a model is loaded in to be trained.

    Weights that are trained are float32. Those under an adapter only take part in products.
    """
    if job.options.lora is None:
        return "float32"
    return str(choose_dtype(job.launch.dtype, training_device(job))).removeprefix("torch.")


def find_network(model: nn.Module) -> PreTrainedModel:
    """Return transformers' model, with its adapters if it has any."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[operator]


def train_in_float32(model: nn.Module) -> None:
    """Keep what is trained in float32: a head begins in the numbers of the weights."""
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()


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
    model: nn.Module, state: Mapping[str, torch.Tensor] | None = None, *, bfloat16: bool
) -> dict[str, torch.Tensor]:
    """Return the weights of a model with its adapters merged, by the names that its base has.

    A matrix `(out, in)` becomes W + alpha / rank * B A, in float32, or rounded by chance to values
    of `bfloat16`, where that is computed with. That is done in main memory: a GPU may have no room.
    Without adapters, the state is returned as it is. `state` is the whole model's where `model` has
    shards only.
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
        weight = value.detach().cpu().float()
        layer, _, part = name.rpartition(f"{BASE}.")
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


def save_merged(
    model: nn.Module, base: str, state: Mapping[str, torch.Tensor], out: Path, *, bfloat16: bool
) -> None:
    """Save a model with its adapters merged to `out`, and the adapters in a folder of it.

    `base` names the model that the adapters change, `state` has the weights of the whole model.
    """
    network = find_network(model)
    merged = merge_weights(model, state, bfloat16=bfloat16)
    network.save_pretrained(out, state_dict=merged)
    replace_json(out / CONFIG, {"dtype": "float32"})
    adapter = out / ADAPTER_FOLDER
    # Nor embeddings, which are not trained: a reward model has one more to pad with.
    model.save_pretrained(  # type: ignore[operator]
        adapter, state_dict=dict(state), save_embedding_layers=False
    )
    (adapter / "README.md").unlink(missing_ok=True)  # peft's, about the place of the base
    described = json.loads((adapter / ADAPTER).read_text(encoding="utf-8"))
    replace_json(adapter / ADAPTER, {**described, "base_model_name_or_path": base})


def count_trained(model: nn.Module) -> dict[str, int]:
    """Return how many numbers are trained, and of how many; nothing without adapters."""
    if find_network(model) is model:
        return {}
    sizes = [(weight.numel(), weight.requires_grad) for weight in model.parameters()]
    return {
        "trained_parameters": sum(size for size, trained in sizes if trained),
        "parameters": sum(size for size, _ in sizes),
    }
