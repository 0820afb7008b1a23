"""Which numbers a model is computed with, and what its keys and values take in them."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

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
    """Tell whether this CPU is faster with bfloat16 than with float32; of x86, not all are.

    oneDNN knows bfloat16 wherever there is AVX-512. Where it has to emulate it (Skylake to Ice
    Lake), a product took 36 ms instead of 8. With AMX it is always faster. With AVX512-BF16 alone,
    AMD's processors are (Zen 4: 2.1 to 5.2 times, at 8 to 4,096 rows); on Intel's, products of 256
    rows and more took longer than in float32, and reading and training have as many.
    `benchmarks/products.py` measures it.
    """
    if not multiplies_bfloat16():
        return False
    if platform.machine() not in ("x86_64", "AMD64"):
        return True
    # These variables tell oneDNN to leave newer instructions out.
    level = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or "ALL"
    level = level.upper()
    everything = level in ("ALL", "DEFAULT")
    if (everything or "AMX" in level) and torch.cpu._is_amx_tile_supported():
        return torch.cpu._init_amx()
    # All levels from this one on have one of these names.
    allowed = everything or any(name in level for name in ("BF16", "FP16", "AMX", "AVX10"))
    return allowed and torch.cpu._is_avx512_bf16_supported() and read_vendor() == "AuthenticAMD"


def read_vendor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return what an x86 processor says of its maker, or nothing where the system does not tell."""
    if not cpuinfo.is_file():
        return ""
    found = re.search(r"^vendor_id\s*:\s*(\S+)", cpuinfo.read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else ""


def count_token_bytes(config: PreTrainedConfig, dtype: torch.dtype) -> int:
    """Return the bytes of a token's keys and values in all layers, as far as known names tell."""
    heads = getattr(config, "num_attention_heads", None) or 1
    size = getattr(config, "head_dim", None) or getattr(config, "hidden_size", 0) // heads
    kept = getattr(config, "num_key_value_heads", None) or heads
    return int(2 * getattr(config, "num_hidden_layers", 0) * kept * size * dtype.itemsize)
