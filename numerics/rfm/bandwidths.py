"""The median heuristic for a kernel's bandwidth."""

from __future__ import annotations

import torch
from torch import Tensor

from .checks import Pair
from .kernel_base import InnerProductKernel, Kernel, RadialKernel

SAMPLE = 1000
"""Points whose distances are taken; all of them if there are no more."""


def median_bandwidth(kernel: Kernel, points: Tensor, generator: torch.Generator) -> float:
    """The median distance between two points, where the metric is the identity.

    Distances of 0 do not count; if there are no others, the bandwidth is 1.

    Args:
        kernel: Of which the distance is taken; its own bandwidth plays no role.
        points: Shape (n, d).
        generator: Chooses 1000 points if there are more.

    Raises:
        ValueError: If the kernel knows no distance.
    """
    if isinstance(kernel, InnerProductKernel):
        raise ValueError(
            f"bandwidth = 'median' needs a kernel of distances, {kernel!r} is one of inner "
            "products: give a number > 0"
        )
    if len(points) > SAMPLE:
        chosen = torch.randperm(len(points), generator=generator)[:SAMPLE]
        points = points[chosen.to(points.device)]
    same = torch.arange(len(points), device=points.device)
    pairs = kernel.pairs(Pair(points, points, None, same))
    distances = pairs.sqrt_() if isinstance(kernel, RadialKernel) else pairs
    positive = distances[distances > 0]
    return float(positive.median()) if len(positive) else 1.0
