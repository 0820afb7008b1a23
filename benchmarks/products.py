"""How fast this processor multiplies in float32 and in bfloat16: what `auto` has to choose between.

    python benchmarks/products.py [--rows 8,32,128,256,1024,4096]

Products are those of the default model's layers and head, `(rows, inner) x (inner, outer)`, by
torch as it is and, for bfloat16, also with weights in the order in which they are multiplied, as
the engine has them. Medians of five, in milliseconds. `ONEDNN_MAX_CPU_ISA` makes it an older one.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from statistics import median

import torch
from torch import nn

from almost_kedro.generation.number_format import gains_by_bfloat16, read_vendor
from almost_kedro.generation.packed_linear import PackedLinear, multiplies_bfloat16

# Inner and outer size: of SmolLM2-135M's feed-forward layers, and of its head.
SHAPES = ((576, 1536), (1536, 576), (576, 49152))
REPEATS = 5
# Numbers of a product's result: 400 MB in float32.
MOST = 10**8


def measure(multiply: Callable[[], torch.Tensor]) -> float:
    """Return the milliseconds of a product, by the median; the first one does not count."""
    multiply()
    taken = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        multiply()
        taken.append(1000 * (time.perf_counter() - start))
    return median(taken)


@torch.inference_mode()
def main() -> None:
    """Print a line for each product."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", default="8,32,128,256,1024,4096")
    rows = [int(number) for number in parser.parse_args().rows.split(",")]
    chosen = "bfloat16" if gains_by_bfloat16() else "float32"
    print(f"{read_vendor() or 'unknown'}, {torch.get_num_threads()} threads; auto takes {chosen}")
    print(f"{'product':>20}  {'float32':>9}  {'bfloat16':>9}  {'packed':>9}  float32 / packed")
    for inner, outer in SHAPES:
        layer = nn.Linear(inner, outer, bias=False)
        rounded = nn.Linear(inner, outer, bias=False, dtype=torch.bfloat16)
        packed = PackedLinear(rounded) if multiplies_bfloat16() else rounded
        for n in rows:
            if n * outer > MOST:
                continue
            x = torch.randn(n, inner)
            halved = x.to(torch.bfloat16)
            asked = ((layer, x), (rounded, halved), (packed, halved))
            taken = [measure(partial(multiply, given)) for multiply, given in asked]
            shape = f"{n} x {inner} x {outer}"
            times = "  ".join(f"{each:9.2f}" for each in taken)
            print(f"{shape:>20}  {times}  {taken[0] / taken[2]:16.2f}", flush=True)


if __name__ == "__main__":
    main()
