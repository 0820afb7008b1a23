"""How much memory there is, and how much of it for rows. Imports no torch by itself."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# Where the kernel tells of a container's control group, version 2.
GROUP = Path("/sys/fs/cgroup")


def whole_memory(device: torch.device) -> int:
    """Return the bytes of a GPU, or of the machine, or what a container may take of it."""
    if device.type == "cuda":
        import torch

        return int(torch.cuda.get_device_properties(device).total_memory)
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(whole, read_bytes(GROUP / "memory.max") or whole)


def available_memory(device: torch.device) -> int:
    """Return the bytes that can be had on a device without pushing others out."""
    if device.type == "cuda":
        import torch

        return torch.cuda.mem_get_info(device)[0]
    try:
        found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    except OSError:
        found = None
    # macOS says only how much there is in all.
    available = int(found[1]) * 1024 if found else whole_memory(device) // 2
    return min([available, *container_room(GROUP)])


def container_room(folder: Path) -> list[int]:
    """Return the bytes that a container's limit leaves, if there is a limit.

    Files that were read and not used since are counted as the container's by the kernel, which
    drops them where memory is wanted: they take no room.

    Args:
        folder: Of its control group.
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
    """Return a control group's number; None if it has none, or is "max"."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def release_memory() -> None:
    """Give back what is not used any more: torch keeps it on GPUs, and else malloc does."""
    if loaded := sys.modules.get("torch"):
        loaded.cuda.empty_cache()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
