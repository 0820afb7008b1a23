"""How much memory there is, and how much of it is free; imports no torch by itself."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# A container's control group, version 2.
GROUP = Path("/sys/fs/cgroup")


def whole_memory(device: torch.device) -> int:
    """Return the bytes of a GPU, or of the machine, or what a container may take of it."""
    if device.type == "cuda":
        import torch

        return int(torch.cuda.get_device_properties(device).total_memory)
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(whole, read_bytes(GROUP / "memory.max") or whole)


def available_memory(device: torch.device) -> int:
    """Return the bytes that are free on a device, without pushing other programs out."""
    if device.type == "cuda":
        import torch

        return torch.cuda.mem_get_info(device)[0]
    try:
        found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    except OSError:
        found = None
    # macOS gives only the total.
    available = int(found[1]) * 1024 if found else whole_memory(device) // 2
    return min([available, *container_room(GROUP)])


def container_room(folder: Path) -> list[int]:
    """Return the bytes that a container's limit leaves, if there is a limit.

    The kernel counts cached files (`inactive_file`) as the container's, but drops them when memory
    is needed, so they are free here. `folder` is that of the control group.
    """
    limit, used = (read_bytes(folder / name) for name in ("memory.max", "memory.current"))
    if limit is None or used is None:
        return []
    try:
        found = re.search(r"^inactive_file (\d+)$", (folder / "memory.stat").read_text(), re.M)
    except OSError:
        found = None
    return [max(0, limit - used + (int(found[1]) if found else 0))]


def read_bytes(file: Path) -> int | None:
    """Return a control group's number; None if the file is missing, or says "max"."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def release_memory() -> None:
    """Release unused memory: torch's cache on GPUs, and malloc's in main memory."""
    if loaded := sys.modules.get("torch"):
        loaded.cuda.empty_cache()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
