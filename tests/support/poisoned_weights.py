"""Model folders one weight of which is not finite."""

import math
import shutil
from pathlib import Path

from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

ENDLESS = (math.nan, math.inf, -math.inf)
NUMBERS = ("float32", "bfloat16")
# A NaN in one of these reaches every text, whatever it says.
EVERYWHERE = (
    "model.layers.0.input_layernorm.weight",
    "model.layers.0.self_attn.q_proj.weight",
    "model.layers.1.self_attn.k_proj.weight",
    "model.layers.0.self_attn.v_proj.weight",
    "model.layers.1.mlp.down_proj.weight",
    "model.norm.weight",
)


def poison(model: Path, folder: Path, weight: str, place: int, value: float) -> Path:
    """Copy a model, with one value of one weight replaced."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(model, folder)
    weights = load_file(folder / "model.safetensors")
    flat = weights[weight].view(-1)
    flat[place % len(flat)] = value
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def draw_poison(model: Path) -> st.SearchStrategy[tuple[str, int, float]]:
    """Any weight of a model, a place in it, and what is put there."""
    names = sorted(load_file(model / "model.safetensors"))
    return st.tuples(st.sampled_from(names), st.integers(0, 10**6), st.sampled_from(ENDLESS))
