"""Linear layers whose bfloat16 weights are kept in the order in which a CPU multiplies them.

torch brings them into that order for every product anew. For few rows at a time that takes a fifth
of the time.
"""

from __future__ import annotations

import os
import platform

import torch
from torch import nn


class PackedLinear(nn.Module):
    """`nn.Linear` for inference with bfloat16 on a CPU, by the operations torch compiles to."""

    def __init__(self, linear: nn.Linear):
        """Take over a layer's weights.

        Args:
            linear: Weight `(out, in)` in bfloat16, with or without bias.
        """
        super().__init__()
        self.pack(linear.weight.detach())
        self.bias = linear.bias
        self.in_features, self.out_features = linear.in_features, linear.out_features

    def pack(self, weight: torch.Tensor) -> None:
        """Take other weights, `(out, in)` in any number format."""
        self.packed = torch.ops.mkldnn._reorder_linear_weight(weight.to(torch.bfloat16))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return `inputs @ weight.T + bias`, `(..., out)`."""
        outputs: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            inputs, self.packed, self.bias, "none", [], ""
        )
        return outputs


def multiplies_bfloat16() -> bool:
    """Tell whether torch multiplies bfloat16 on this CPU; not every build of it has oneDNN."""
    there: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return there and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def gains_by_bfloat16() -> bool:
    """Tell whether this CPU is faster with bfloat16 than with float32: of x86, those with AMX are.

    oneDNN knows bfloat16 wherever there is AVX-512. Where it has to emulate it (Skylake to Ice
    Lake), a product took 36 ms instead of 8; with AVX512-BF16 and no AMX, products of 256 rows and
    more took longer than in float32, and what is read or trained on has as many.
    """
    if not multiplies_bfloat16():
        return False
    if platform.machine() not in ("x86_64", "AMD64"):
        return True
    # oneDNN itself can be told to leave newer instructions out.
    level = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or "ALL"
    allowed = "AMX" in level.upper() or level.upper() in ("ALL", "DEFAULT")
    return allowed and torch.cpu._is_amx_tile_supported() and torch.cpu._init_amx()


def pack_linear_layers(model: nn.Module) -> None:
    """Replace a model's linear layers, if it computes with bfloat16 on a CPU that can.

    Subclasses stay as they are: they do more than multiply. So do models with states besides keys
    and values (Jamba), which use weights without their layers. What shares its weights with another
    module, as an output head does with the embeddings, takes them up a second time.
    """
    if not multiplies_bfloat16() or getattr(model, "_is_stateful", False):
        return
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is not nn.Linear:
                continue
            if child.weight.dtype == torch.bfloat16 and child.weight.device.type == "cpu":
                setattr(parent, name, PackedLinear(child))
