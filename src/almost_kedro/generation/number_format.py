"""Which numbers a model is computed with, and what its keys and values take in them."""

from __future__ import annotations

import os
import platform

import torch
from transformers import PreTrainedConfig

from almost_kedro.generation.packed_linear import multiplies_bfloat16


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """Resolve `auto` to bfloat16 where the device is faster with it, else float32."""
    if name != "auto":
        return {"bfloat16": torch.bfloat16, "float32": torch.float32}[name]
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = gains_by_bfloat16()
    return torch.bfloat16 if fast else torch.float32


def gains_by_bfloat16() -> bool:
    """Tell whether this CPU is faster with bfloat16 than with float32: on x86, only with AMX.

    oneDNN knows bfloat16 wherever there is AVX-512. Where it has to emulate it (Skylake to Ice
    Lake), a product took 36 ms instead of 8. With AVX512-BF16 but no AMX, products of 256 rows and
    more took longer than in float32, and reading and training have as many.
    """
    if not multiplies_bfloat16():
        return False
    if platform.machine() not in ("x86_64", "AMD64"):
        return True
    # These variables tell oneDNN to leave newer instructions out.
    level = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or "ALL"
    allowed = "AMX" in level.upper() or level.upper() in ("ALL", "DEFAULT")
    return allowed and torch.cpu._is_amx_tile_supported() and torch.cpu._init_amx()


def count_token_bytes(config: PreTrainedConfig, dtype: torch.dtype) -> int:
    """Return the bytes of a token's keys and values in all layers, as far as known names tell."""
    heads = getattr(config, "num_attention_heads", None) or 1
    size = getattr(config, "head_dim", None) or getattr(config, "hidden_size", 0) // heads
    kept = getattr(config, "num_key_value_heads", None) or heads
    return int(2 * getattr(config, "num_hidden_layers", 0) * kept * size * dtype.itemsize)
