"""Class means and within-class scatter, accumulated block by block; no covariance is formed."""

from __future__ import annotations

import math

import torch
from torch import Tensor

BLOCK = 2**19
"""Entries of the features that are held in double precision at a time."""


class ClassMoments:
    """Counts, means and scatter of classes, in double precision, while samples come in blocks.

    Each block is centred by its own class means before it is squared, and blocks are joined by
    Chan's update: nothing cancels, however far from the origin the features are.

    Args:
        classes: K.

    Attributes:
        counts: Samples of each class, shape (K,).
        means: Shape (K, d), of a class without a sample 0.
        scatter: Σ_i ‖x_i − μ_c(i)‖² over all samples seen.
        size: Σ_i ‖x_i‖², by which rounding is judged.
    """

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.counts = torch.zeros(classes, dtype=torch.float64)
        self.means = torch.zeros(classes, 0, dtype=torch.float64)
        self.scatter = 0.0
        self.size = 0.0

    def add(self, features: Tensor, index: Tensor) -> None:
        """Take in samples.

        Args:
            features: Shape (m, ...); all axes but the first are one long feature vector.
            index: The class of each sample, 0 to K − 1, shape (m,).

        Raises:
            ValueError: If an entry is NaN or infinite, squares overflow, or the dimension changes.
        """
        flat = features.detach().flatten(1)
        # As many rows as classes at least: joining blocks must not cost more than reading them.
        rows = max(self.classes, BLOCK // max(1, flat.shape[1]))
        for block, chosen in zip(torch.split(flat, rows), torch.split(index, rows), strict=True):
            self._add(block.double(), chosen.to(block.device))

    def _add(self, block: Tensor, index: Tensor) -> None:
        if not torch.isfinite(block).all():
            raise ValueError("features hold NaN or infinite entries, must be finite")
        self.size += float(block.square().sum())
        if not math.isfinite(self.size):
            raise ValueError("features are too large: the sum of their squares is infinite")
        counts, means = self._of_block(block, index)
        self.scatter += float((block - means[index]).square_().sum())
        self._merge(counts, means)

    def _of_block(self, block: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """Counts and means of the classes within one block, seen from the block's first sample."""
        origin = block[0]
        counts = torch.bincount(index, minlength=self.classes).double()
        sums = block.new_zeros(self.classes, block.shape[1])
        sums.index_add_(0, index, block - origin)
        present = counts > 0
        means = sums / counts.clamp(min=1)[:, None] + present[:, None] * origin
        return counts, means

    def _merge(self, counts: Tensor, means: Tensor) -> None:
        if not self.counts.any():
            self.counts, self.means = counts, means
            return
        if means.shape != self.means.shape:
            before, now = self.means.shape[1], means.shape[1]
            raise ValueError(f"features have dimension {now}, before they had {before}")
        total = self.counts + counts
        share = counts / total.clamp(min=1)
        step = means - self.means
        self.scatter += float((self.counts * share * step.square().sum(dim=1)).sum())
        self.means += share[:, None] * step
        self.counts = total
