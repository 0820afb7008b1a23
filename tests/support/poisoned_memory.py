"""Finds numbers that are none on their way through a model: some processors spread them."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# Fresh memory: whatever stood there before.
FRESH = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"}
# They move numbers and compute nothing: memory that is written in parts passes through them.
MOVING = {"copy_", "_to_copy", "index_put_", "fill_", "zero_", "clone", "cat", "constant_pad_nd"}


class Poison(TorchDispatchMode):  # type: ignore[misc]
    """Fills fresh memory with NaN, and fails where anything is computed that is no number.

    An intermediate that "is not read anyway" may be read after all: on AMX, oneDNN 3.12 carries a
    NaN from one row of a product into the row before it. Masks may be -inf, but a softmax over
    nothing but these is NaN.
    """

    def __init__(self) -> None:
        super().__init__()
        self.computed = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        name = func._schema.name.removeprefix("aten::")
        moves = name in MOVING or any(
            result.alias_info is not None and not result.alias_info.is_write
            for result in func._schema.returns
        )
        for tensor in tree_leaves(found):
            if not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point():
                continue
            if name in FRESH:
                tensor.fill_(torch.nan)
            elif not moves:
                self.computed += 1
                assert not tensor.isnan().any(), f"{name} of {tuple(tensor.shape)} gives NaN"
                assert not tensor.isposinf().any(), f"{name} of {tuple(tensor.shape)} gives inf"
        return found
