"""Where the embedded engine's decoding steps spend their time.

Run: `python benchmarks/decoding_steps.py [--prompts 32,128] [--shots 3] [--busy 2]`

Requests are those of `generation.py`. A step continues every row by a token, long after the prompts
were read. Twenty steps are timed, and as many others are profiled; the shares are of the time that
operations take, without Python's between them. What no engine can do without are the products with
the weights and those of attention: they are counted, and would take the time that is printed if all
of them went as fast as one of large square matrices does.

With `--busy`, steps are timed a second time beside so many other processes that never wait. Threads
are as our programs have them; `GOMP_SPINCOUNT` in the environment overrules.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import median

import torch
from generation_engines import MODEL, TEMPERATURE, build_requests
from torch import nn
from torch.profiler import ProfilerActivity, profile

from almost_kedro.contract import Request, Sampling
from almost_kedro.generation.embedded import EmbeddedEngine
from almost_kedro.generation.packed_linear import PackedLinear
from almost_kedro.processes.run import TUNABLES

# Steps before the first one that counts, and how many count.
BEFORE, COUNTED, NEW_TOKENS = 12, 20, 48
# Of a large matrix.
SIZE = 2048
KINDS = {
    "products with weights": ("mkldnn::_linear_pointwise", "aten::mm", "aten::addmm"),
    "products of attention": ("aten::bmm",),
    "softmax": ("aten::_softmax",),
    "copies": (
        "aten::copy_",
        "aten::cat",
        "aten::index",
        "aten::_index_put_impl_",
        "aten::fill_",
        "aten::zero_",
    ),
}
OTHER = "anything else"


def run(
    engine: EmbeddedEngine, requests: Sequence[Request], on_step: Callable[[int], None]
) -> None:
    """Generate, and tell how many steps are done after each."""
    steps = 0

    def count(_: int) -> None:
        nonlocal steps
        steps += 1
        on_step(steps)

    for _ in engine.generate(requests, Sampling(TEMPERATURE, 0.9, NEW_TOKENS), count):
        pass


def time_steps(engine: EmbeddedEngine, requests: Sequence[Request]) -> float:
    """Return the median seconds of a step."""
    times: list[float] = []
    run(engine, requests, lambda _: times.append(time.perf_counter()))
    counted = times[BEFORE : BEFORE + COUNTED + 1]
    return median(after - before for before, after in pairwise(counted))


@contextmanager
def run_beside(processes: int) -> Iterator[None]:
    """Keep cores busy with so many processes, each of which could use a whole one."""
    command = [sys.executable, "-c", "while True: pass"]
    # In sessions of their own, as another user's work would be: the system shares by these.
    busy = [subprocess.Popen(command, start_new_session=True) for _ in range(processes)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def profile_steps(engine: EmbeddedEngine, requests: Sequence[Request]) -> dict[str, float]:
    """Return the share of each kind of operation."""
    profiler = profile(activities=[ProfilerActivity.CPU])

    def switch(step: int) -> None:
        if step == BEFORE:
            profiler.start()
        elif step == BEFORE + COUNTED:
            profiler.stop()

    run(engine, requests, switch)
    kinds = {name: kind for kind, names in KINDS.items() for name in names}
    seconds: Counter[str] = Counter()
    for event in profiler.key_averages():
        seconds[kinds.get(event.key, OTHER)] += event.self_cpu_time_total
    return {kind: seconds[kind] / seconds.total() for kind in (*KINDS, OTHER)}


def count_products(engine: EmbeddedEngine, requests: Sequence[Request]) -> float:
    """Return the floating-point operations of products in a step; each weight takes two a row."""
    config = engine.model.config.get_text_config()
    layers, heads = config.num_hidden_layers, config.num_attention_heads
    width = heads * (getattr(config, "head_dim", None) or config.hidden_size // heads)
    weights = sum(
        module.in_features * module.out_features
        for module in engine.model.modules()
        if isinstance(module, nn.Linear | PackedLinear)
    )
    texts = engine.encode([request.prefix + request.text for request in requests])
    # In the middle of the steps that count. Scores are one product, reading by them another.
    tokens = sum(map(len, texts)) + len(texts) * (BEFORE + COUNTED // 2)
    return 2.0 * len(texts) * weights + 4.0 * tokens * width * layers


def measure_peak(dtype: torch.dtype) -> float:
    """Return how many floating-point operations a second a product of large matrices reaches."""
    matrix = torch.randn(SIZE, SIZE).to(dtype)
    times = []
    for _ in range(10):
        start = time.perf_counter()
        matrix @ matrix
        times.append(time.perf_counter() - start)
    return 2 * SIZE**3 / median(times)


def main() -> None:
    """Print a block for each number of prompts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prompts", default="32,128")
    parser.add_argument("--shots", type=int, default=3)
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--busy", type=int, default=0)
    options = parser.parse_args()
    engine = EmbeddedEngine(options.model, dtype=options.dtype, device="cpu")
    engine.end_ids = set()
    peak = measure_peak(engine.model.dtype)
    for prompts in map(int, options.prompts.split(",")):
        requests = build_requests(prompts, options.shots)
        print(
            f"{prompts} prompts, {options.shots} shots: {time_steps(engine, requests):.4f} s a step"
        )
        if options.busy:
            with run_beside(options.busy):
                seconds = time_steps(engine, requests)
            print(f"  beside {options.busy} busy processes: {seconds:.4f} s a step")
        products = count_products(engine, requests)
        print(
            f"  products alone: {products / peak:.4f} s "
            f"({products / 1e9:.1f} GFLOP at {peak / 1e9:.0f} GFLOP/s)"
        )
        for kind, share in profile_steps(engine, requests).items():
            print(f"  {kind:22} {share:4.0%}")


if __name__ == "__main__":
    if not TUNABLES.keys() <= os.environ.keys():
        # Read when libraries are loaded, which they are by now.
        os.execve(sys.executable, [sys.executable, *sys.argv], {**TUNABLES, **os.environ})
    main()
