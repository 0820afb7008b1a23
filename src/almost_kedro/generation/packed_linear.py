"""Linear layers whose bfloat16 weights are stored in the order in which a CPU multiplies them.

Otherwise torch reorders them for every product. With few rows, that takes a fifth of the time.
"""

from __future__ import annotations

import torch
from torch import nn


class PackedLinear(nn.Module):
    """`nn.Linear` for inference with bfloat16 on a CPU, by the operations torch compiles to."""

    def __init__(self, linear: nn.Linear):
        """Take over the weight `(out, in)`, in bfloat16, and the bias, if there is one."""
        super().__init__()
        self.pack(linear.weight.detach())
        self.bias = linear.bias
        self.in_features, self.out_features = linear.in_features, linear.out_features

    def pack(self, weight: torch.Tensor) -> None:
        """Replace the weight by another, `(out, in)` in any number format."""
        self.packed = torch.ops.mkldnn._reorder_linear_weight(weight.to(torch.bfloat16))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return `inputs @ weight.T + bias`, `(..., out)`."""
        outputs: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            inputs, self.packed, self.bias, "none", [], ""
        )
        return outputs


def multiplies_bfloat16() -> bool:
    """Tell whether torch multiplies bfloat16 on this CPU; some builds of torch lack oneDNN."""
    there: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return there and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def pack_linear_layers(model: nn.Module) -> None:
    """Replace a model's linear layers, if it computes with bfloat16 on a CPU that can.

    Subclasses of `nn.Linear` stay, as they do more than multiply. Models with states besides keys
    and values (Jamba) stay, too: they use weights without their layers. A weight shared with
    another module (output head and embeddings) takes its memory twice.
    """
    if not multiplies_bfloat16() or getattr(model, "_is_stateful", False):
        return
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is not nn.Linear:
                continue
            if child.weight.dtype == torch.bfloat16 and child.weight.device.type == "cpu":
                setattr(parent, name, PackedLinear(child))
