"""What the plan says of activations on GPUs, counted in real blocks."""

from collections.abc import Iterable
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import LlamaConfig, LlamaModel, Qwen2Config, Qwen2Model

from almost_kedro.commands.plan.memory import activation_bytes
from almost_kedro.options.models import ModelShape

TOKENS, VOCABULARY = 256, 500
# Width, inner width, heads and heads of keys: an eighth of Llama-2 7B's and Qwen2.5 7B's, and
# SmolLM2's own.
SIZES: dict[str, Any] = {
    "llama": (LlamaModel, LlamaConfig, 512, 1376, 32, 32),
    "qwen": (Qwen2Model, Qwen2Config, 448, 2368, 28, 4),
    "smollm": (LlamaModel, LlamaConfig, 576, 1536, 9, 3),
}
LAYERS = 8


def make(name: str) -> tuple[nn.Module, ModelShape]:
    kind, config, width, inner, heads, kv_heads = SIZES[name]
    model = kind(
        config(
            hidden_size=width,
            intermediate_size=inner,
            num_hidden_layers=LAYERS,
            num_attention_heads=heads,
            num_key_value_heads=kv_heads,
            vocab_size=VOCABULARY,
        )
    )
    n = sum(parameter.numel() for parameter in model.parameters())
    kv_size = kv_heads * width // heads
    shape = ModelShape(
        parameters=n, layers=LAYERS, hidden_size=width, kv_size=kv_size, vocabulary=VOCABULARY
    )
    return model.to(torch.bfloat16).train(), shape


def count(model: nn.Module, tokens: int = TOKENS) -> float:
    """Bytes a token that wait for the way back, but for the weights."""
    own = {each.untyped_storage().data_ptr() for each in model.parameters()}
    saved = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            saved[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(input_ids=torch.arange(tokens)[None] % VOCABULARY)
    return sum(n_bytes for n_bytes, _ in saved.values()) / tokens


@pytest.mark.parametrize("name", SIZES)
def test_of_all_weights(name: str) -> None:
    model, shape = make(name)
    assert count(model) == pytest.approx(activation_bytes(shape), rel=0.05)


@pytest.mark.parametrize("name", SIZES)
def test_of_adapters(name: str) -> None:
    model, shape = make(name)
    adapted: Any = get_peft_model(model, LoraConfig(r=8, target_modules=list_linear(model)))
    found = count(adapted.base_model.model)
    assert found == pytest.approx(activation_bytes(shape, adapters=True), rel=0.05)


@pytest.mark.parametrize("name", SIZES)
def test_of_what_is_computed_again(name: str) -> None:
    model, shape = make(name)
    model.gradient_checkpointing_enable({"use_reentrant": False})  # type: ignore[operator]
    one_layer = activation_bytes(replace_layers(shape, 1))
    waiting = activation_bytes(shape, checkpointing=True) - one_layer
    # And what the last norm keeps.
    assert count(model) == pytest.approx(waiting + 6 * shape.hidden_size, rel=0.05)


def list_linear(model: nn.Module) -> list[str]:
    named: Iterable[tuple[str, nn.Module]] = model.named_modules()
    return sorted({name.split(".")[-1] for name, each in named if isinstance(each, nn.Linear)})


def replace_layers(shape: ModelShape, layers: int) -> ModelShape:
    embeddings = shape.vocabulary * shape.hidden_size
    body = (shape.parameters - embeddings) * layers // shape.layers
    return shape.model_copy(update={"layers": layers, "parameters": body + embeddings})
