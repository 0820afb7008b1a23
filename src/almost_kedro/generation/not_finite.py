"""Explains a result that is not finite by the model's number format and weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import safe_open
from torch.distributed.tensor import DTensor

from almost_kedro.contract import Request
from almost_kedro.errors import UserError
from almost_kedro.generation.sampling import LogitsError

Weights = Iterable[tuple[str, torch.Tensor]]
# Characters of a request that an error shows.
SHOWN = 60


def find_broken(weights: Weights, dtype: torch.dtype | None = None) -> str:
    """Return the name of the first weight that is not finite in `dtype`; empty if all are finite.

    Of sharded weights, each rank looks at its own shards. `dtype` is for weights that are computed
    with in another format: float16 has no room for some numbers that are finite in float32.
    """
    for name, weight in weights:
        own = weight.to_local() if isinstance(weight, DTensor) else weight
        if own.is_floating_point() and not own.detach().to(dtype or own.dtype).isfinite().all():
            return name
    return ""


def read_weights(folder: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """Read a model folder's weights one by one."""
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as weights:
            for name in weights.keys():  # noqa: SIM118 (it is no mapping)
                yield name, weights.get_tensor(name)


def describe(weights: Weights, dtype: torch.dtype) -> str:
    """Say in which numbers the model computed, and whether its weights are finite in them."""
    number = str(dtype).removeprefix("torch.")
    broken = find_broken(weights, dtype)
    found = f"its weight {broken} is not finite" if broken else "all its weights are finite"
    return f"the model computes in {number}, and {found}"


def explain(model: str, weights: Weights, dtype: torch.dtype, option: str) -> str:
    """Describe a model whose result is not finite, and a remedy; `option` sets the dtype."""
    known = describe(weights, dtype)
    if known.endswith("is not finite"):
        return f"{known}: get or train {model!r} anew"
    if dtype == torch.float32:
        return f"{known}: take another model than {model!r}, or leave the row out"
    return f"{known}: set {option}: float32"


@contextmanager
def explained_logits(
    folder: Path, dtype: torch.dtype, requests: Sequence[Request]
) -> Iterator[None]:
    """Turn a LogitsError into a UserError, with the end of its request's text and a remedy."""
    try:
        yield
    except LogitsError as exc:
        known = explain(folder.name, read_weights(folder), dtype, "generation.dtype")
        raise UserError(
            f"the request that ends in {requests[exc.row].text[-SHOWN:]!r}: its logits are no "
            f"finite numbers; {known}"
        ) from exc
