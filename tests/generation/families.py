"""Tiny random models of the architectures that are tested; they read the tiny byte tokenizer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PhimoeConfig,
    PhimoeForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)

VOCABULARY = 259
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 2048,
}
GROUPED = SIZES | {"num_key_value_heads": 2}
# Windows are shorter than the texts that are read.
FAMILIES: dict[str, Callable[[], PreTrainedModel]] = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**GROUPED)),
    "reward": lambda: LlamaForSequenceClassification(LlamaConfig(**GROUPED)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**GROUPED)),
    "gpt_neox": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**SIZES)),
    "gemma3": lambda: Gemma3ForCausalLM(
        Gemma3TextConfig(
            **(GROUPED | {"num_hidden_layers": 3}),
            head_dim=16,
            sliding_window=8,
            layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        )
    ),
    # Its window comes by a mask alone, which the shared product does not read.
    "phimoe": lambda: PhimoeForCausalLM(
        PhimoeConfig(**GROUPED, num_local_experts=2, sliding_window=24)
    ),
    # Goes not through the attention interface; positions by the mask alone.
    "bloom": lambda: BloomForCausalLM(
        BloomConfig(vocab_size=VOCABULARY, hidden_size=32, n_layer=2, n_head=4)
    ),
}
# Those that share what texts have in common.
SHARING = ("llama", "reward", "qwen2", "gpt_neox", "gemma3")


def make_tiny(family: str, factor: float = 4) -> PreTrainedModel:
    """Make a model with weights `factor` times as large, so that attention is far from uniform."""
    torch.manual_seed(0)
    return scale(FAMILIES[family]().eval(), factor)


def scale(model: PreTrainedModel, factor: float) -> PreTrainedModel:
    """Multiply a model's weights."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(factor)
    return model
