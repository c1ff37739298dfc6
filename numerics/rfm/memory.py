"""How much memory there is, and refusing what does not fit into it, by name."""

from __future__ import annotations

import os
from pathlib import Path

import torch

GIB = 2**30
CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)


def available_memory(device: torch.device) -> float:
    """Bytes that can still be allocated on the device; infinity if nothing tells.

    On the CPU this is what the operating system calls available, or what the container allows.
    """
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    if device.type != "cpu":
        return float("inf")
    return min(_machine(), _container())


def require_memory(needed: float, what: str, device: torch.device) -> None:
    """Refuse an allocation that cannot succeed.

    Raises:
        MemoryError: If `needed` bytes are more than the device has.
    """
    free = available_memory(device)
    if needed > free:
        raise MemoryError(
            f"{what} needs {needed / GIB:.3g} GiB, and {free / GIB:.3g} GiB are available on "
            f"{device}: take fewer samples, float32, or the iterative solver"
        )


def _machine() -> float:
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return float(line.split()[1]) * 1024
    try:
        return float(os.sysconf("SC_PHYS_PAGES")) * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # not a POSIX system
        return float("inf")


def _container() -> float:
    for limit, usage in CGROUPS:
        try:
            allowed, used = Path(limit).read_text().strip(), Path(usage).read_text().strip()
        except OSError:
            continue
        if allowed != "max":
            return float(allowed) - float(used)
    return float("inf")
