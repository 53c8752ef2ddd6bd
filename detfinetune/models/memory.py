"""The memory that is free, and the size of what has to fit into it."""

from __future__ import annotations

import re
from pathlib import Path

from detfinetune.config.resolved import RunAugment

_MEMORY = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")


def free_memory(device: str) -> int | None:
    """Return the bytes that are free on a device; None if that cannot be told.

    On a CPU, what Linux says is available, or less in a container with a limit.
    """
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(device)[0]) if torch.cuda.is_available() else None
    if device != "cpu":
        return None
    try:
        found = re.search(r"MemAvailable: +(\d+) kB", _MEMORY.read_text(encoding="ascii"))
    except OSError:
        return None
    if found is None:
        return None
    left = _left_in_container()
    return int(found[1]) << 10 if left is None else min(int(found[1]) << 10, left)


def _left_in_container() -> int | None:
    """Return the bytes below the limit of a container (cgroup v2); None if there is no limit."""
    try:
        limit, used, parts = (
            (_GROUP / f"memory.{name}").read_text(encoding="ascii")
            for name in ("max", "current", "stat")
        )
    except OSError:
        return None
    if limit.strip() == "max":
        return None
    # Cached files are given up when memory is needed.
    cached = re.search(r"^inactive_file (\d+)", parts, re.MULTILINE)
    return max(int(limit) - int(used) + (int(cached[1]) if cached else 0), 0)


def largest_image(augment: RunAugment, divisor: int) -> tuple[int, int]:
    """Return height and width in pixels of a training image, padded to multiples of `divisor`."""
    factor = augment.scale_jitter[1]
    sides = [augment.image_size * factor, augment.max_size * factor]
    if augment.crop_size:
        sides = [min(side, augment.crop_size) for side in sides]
    height, width = (-(-round(side) // divisor) * divisor for side in sides)
    return height, width
