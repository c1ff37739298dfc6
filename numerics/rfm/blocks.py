"""Blocks of points: large enough for the matrix products, small enough for the cache."""

from __future__ import annotations

from collections.abc import Iterator

import torch

SIDE = 1024
"""Rows and columns of a block on the CPU: one block, and what is done to it, stays in the cache."""

LARGE_SIDE = 8192
"""The same on other devices, where starting an operation is what costs."""


def slices(length: int, device: torch.device) -> list[slice]:
    """Slices that cover a length, each as long as a block's side."""
    side = SIDE if device.type == "cpu" else LARGE_SIDE
    return [slice(start, min(start + side, length)) for start in range(0, length, side)]


def pairs_of_slices(length: int, device: torch.device) -> Iterator[tuple[slice, slice]]:
    """The slices' unordered pairs, the earlier slice first, each slice with itself included."""
    parts = slices(length, device)
    return ((parts[i], parts[j]) for i in range(len(parts)) for j in range(i, len(parts)))
