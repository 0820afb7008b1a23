"""Which instructions this processor multiplies matrices by; all x86 levels that matter to us."""

from __future__ import annotations

import os

import torch

# oneDNN's names, the oldest first, and whether the processor has them.
LEVELS = {
    "AVX2": torch.cpu._is_avx2_supported(),
    "AVX512_CORE": torch.cpu._is_avx512_supported(),
    "AVX512_CORE_BF16": torch.cpu._is_avx512_bf16_supported(),
    "AVX512_CORE_AMX": torch.cpu._is_amx_tile_supported(),
}
VARIABLE = "ONEDNN_MAX_CPU_ISA"


def list_levels() -> list[str]:
    """Return the levels that this processor has, the oldest first."""
    return [level for level, there in LEVELS.items() if there]


def name_level() -> str:
    """Name the level that this process computes with."""
    return os.environ.get(VARIABLE) or (list_levels() or ["other than x86"])[-1]
