"""What memory this process took."""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path


def measure_memory() -> dict[str, float]:
    """Return this process's peak memory in MB (2**20 bytes): the machine's and the GPU's."""
    found = {"peak_memory_mb": peak_memory() / 2**20}
    if torch := sys.modules.get("torch"):
        found["peak_gpu_memory_mb"] = torch.cuda.max_memory_allocated() / 2**20
    return {name: round(size, 1) for name, size in found.items() if size}


def peak_memory() -> int:
    """Return this process's largest resident size in bytes.

    On Linux, getrusage remembers the parent's, too, from before the program was started: a small
    program of a large process would seem as large.
    """
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    except OSError:
        found = None
    if found:
        return int(found[1]) * 1024
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else size * 1024
