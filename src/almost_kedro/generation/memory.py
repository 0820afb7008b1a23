"""How much memory there is for rows."""

from __future__ import annotations

import os
import re
from pathlib import Path

import torch


def available_memory(device: torch.device) -> int:
    """Return the bytes that can be had on a device without pushing others out."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    except OSError:
        found = None
    if found:
        available = int(found[1]) * 1024
    else:  # macOS says only how much there is in all
        available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    return min([available, *container_room(Path("/sys/fs/cgroup"))])


def container_room(folder: Path) -> list[int]:
    """Return the bytes that a container's limit leaves, if there is a limit.

    Args:
        folder: Where the kernel tells of control groups, version 2.
    """
    try:
        limit = int((folder / "memory.max").read_text())
        used = int((folder / "memory.current").read_text())
    except (OSError, ValueError):  # no such group, or "max"
        return []
    return [max(0, limit - used)]
