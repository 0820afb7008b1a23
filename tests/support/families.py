"""Tiny random models of the architectures that are tested; they read the tiny byte tokenizer."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    FalconH1Config,
    FalconH1ForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    GptOssConfig,
    GptOssForCausalLM,
    Lfm2Config,
    Lfm2ForCausalLM,
    Llama4ForCausalLM,
    Llama4TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    Phi3Config,
    Phi3ForCausalLM,
    PhimoeConfig,
    PhimoeForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3NextConfig,
    Qwen3NextForCausalLM,
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
# Ids of the tiny tokenizer.
IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
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
    # Caps its scores, here low enough to matter.
    "gemma2": lambda: Gemma2ForCausalLM(
        Gemma2Config(**GROUPED, head_dim=16, sliding_window=8, attn_logit_softcapping=0.2)
    ),
    # Its window comes by a mask alone, which the shared product does not read.
    "phimoe": lambda: PhimoeForCausalLM(
        PhimoeConfig(**GROUPED, num_local_experts=2, sliding_window=24)
    ),
    # Goes not through the attention interface; positions by the mask alone.
    "bloom": lambda: BloomForCausalLM(
        BloomConfig(vocab_size=VOCABULARY, hidden_size=32, n_layer=2, n_head=4)
    ),
    # Has an attention sink for each head.
    "gpt_oss": lambda: GptOssForCausalLM(
        GptOssConfig(
            **GROUPED,
            **IDS,
            head_dim=16,
            num_local_experts=2,
            num_experts_per_tok=1,
            sliding_window=8,
            rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        )
    ),
    # Sees chunks of a text.
    "llama4": lambda: Llama4ForCausalLM(
        Llama4TextConfig(
            **GROUPED,
            **IDS,
            head_dim=16,
            intermediate_size_mlp=32,
            num_local_experts=2,
            attention_chunk_size=16,
        )
    ),
    # Long texts change the positions of those that are read with them.
    "phi3": lambda: Phi3ForCausalLM(
        Phi3Config(
            **GROUPED,
            **IDS,
            original_max_position_embeddings=1024,
            rope_parameters={
                "rope_type": "longrope",
                "rope_theta": 10000.0,
                "short_factor": [1.0] * 4,
                "long_factor": [2.0] * 4,
            },
        )
    ),
    # States besides keys and values: in layers of their own, of two kinds, and beside attention.
    "lfm2": lambda: Lfm2ForCausalLM(
        Lfm2Config(**GROUPED, **IDS, layer_types=["conv", "full_attention"])
    ),
    "qwen3_next": lambda: Qwen3NextForCausalLM(
        Qwen3NextConfig(
            **GROUPED,
            **IDS,
            head_dim=16,
            linear_num_key_heads=2,
            linear_num_value_heads=2,
            linear_key_head_dim=8,
            linear_value_head_dim=8,
            num_experts=2,
            num_experts_per_tok=1,
            moe_intermediate_size=16,
            shared_expert_intermediate_size=16,
            layer_types=["linear_attention", "full_attention"],
        )
    ),
    "falcon_h1": lambda: FalconH1ForCausalLM(
        FalconH1Config(
            **GROUPED,
            **IDS,
            mamba_d_ssm=32,
            mamba_n_heads=4,
            mamba_d_head=8,
            mamba_d_state=8,
            mamba_chunk_size=8,
        )
    ),
}
# Those that share what texts have in common.
SHARING = ("llama", "reward", "qwen2", "gpt_neox", "gemma2", "gemma3")


def make_tiny(family: str, factor: float = 4) -> PreTrainedModel:
    """Make a model with weights `factor` times as large, so that attention is far from uniform."""
    torch.manual_seed(0)
    return scale(FAMILIES[family]().eval(), factor)


def make_judge() -> PreTrainedModel:
    """Make a reward model, as ours are: one number a text."""
    torch.manual_seed(0)
    return LlamaForSequenceClassification(LlamaConfig(**GROUPED, **IDS, num_labels=1)).eval()


def save(model: PreTrainedModel, folder: Path, tiny_models: dict[str, Path]) -> Path:
    """Write a model with the tiny byte-level tokenizer."""
    model.save_pretrained(folder)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_models["tiny-small"] / file, folder)
    return folder


def scale(model: PreTrainedModel, factor: float) -> PreTrainedModel:
    """Multiply a model's weights."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(factor)
    return model
