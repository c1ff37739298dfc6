"""Images made ready for the convolutional kernel: unit patches, and variances at every layer."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..rfm.metric import apply_metric
from .patches import Patches
from .windows import window_adjoint, window_sum, windows_along

ENTRIES = 2**18
"""Positions times pairs of images that are worked on at a time on the CPU: they stay in its cache.
"""

LARGE_ENTRIES = 2**24
"""The same on other devices, where starting an operation is what costs."""

HELD = 2**24
"""Entries of patches that are held at a time."""


@dataclass(frozen=True)
class Shape:
    """What of a convolutional network decides its windows; see `ConvolutionalNTK`."""

    patches: Patches
    depth: int
    filter_side: int
    filter_padding: str

    def grids(self, height: int, width: int) -> list[tuple[int, int]]:
        """Rows and columns of positions after each convolution.

        Raises:
            ValueError: If the image is smaller than a patch, or the positions than a filter.
        """
        grids = [self.patches.grid(height, width)]
        for _ in range(1, self.depth):
            rows, columns = grids[-1]
            side, padding = self.filter_side, self.filter_padding
            grids.append(
                (windows_along(rows, side, padding), windows_along(columns, side, padding))
            )
        return grids

    def total(self, x: Tensor) -> Tensor:
        """Sum over the windows of one of the further convolutions."""
        return window_sum(x, self.filter_side, self.filter_padding)

    def mean(self, x: Tensor) -> Tensor:
        """Mean over them."""
        return self.total(x).div_(self.filter_side**2)

    def mean_adjoint(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """The transpose of `mean`, back onto a grid of positions."""
        spread = window_adjoint(x, self.filter_side, self.filter_padding, grid)
        return spread.div_(self.filter_side**2)


@dataclass(frozen=True, eq=False)
class Prepared:
    """Some images, position by position.

    Attributes:
        unit: Patches after M^½, divided by their norm, shape (positions, n, d); zeros stay zeros.
        deviations: For each layer the roots √a_p of the variances, shape (rows, columns, n).
        inverses: For each layer 1/√a_p, and 0 where the variance is 0.
    """

    unit: Tensor
    deviations: tuple[Tensor, ...]
    inverses: tuple[Tensor, ...]

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the first layer's positions."""
        rows, columns, _ = self.deviations[0].shape
        return rows, columns

    def __len__(self) -> int:
        return self.unit.shape[1]

    def part(self, some: slice) -> Prepared:
        """Some of the images."""
        deviations = tuple(a[..., some].contiguous() for a in self.deviations)
        inverses = tuple(a[..., some].contiguous() for a in self.inverses)
        return Prepared(self.unit[:, some], deviations, inverses)

    def cosines(self, other: Prepared) -> Tensor:
        """Cosines ρ of the angles between patches at the same position, (rows, columns, n, m)."""
        rho = torch.bmm(self.unit, other.unit.transpose(1, 2))
        return rho.view(*self.grid, len(self), len(other))

    def own(self, shape: Shape) -> Tensor:
        """K(x, x) of each image, shape (n,): every angle is 0."""
        variances = [a.square() for a in self.deviations]
        theta = variances[0]
        for variance in variances[1:]:
            theta = shape.mean(theta) + variance
        return (theta + variances[-1]).mean(dim=(0, 1))


def inverse(x: Tensor) -> Tensor:
    """1/x, and 0 where x is 0."""
    return torch.where(x > 0, 1 / x, 0.0)


def prepare(images: Tensor, root: Tensor | None, shape: Shape) -> Prepared:
    """Make checked images ready.

    Args:
        images: Shape (n, channels, height, width).
        root: M^½: None, (d,) or (d, d).
        shape: Of the network.
    """
    grids = shape.grids(*images.shape[2:])
    mapped = apply_metric(shape.patches.cut(images), root).transpose(0, 1).contiguous()
    norms = torch.linalg.vector_norm(mapped, dim=2)
    variance = (norms.square() / mapped.shape[2]).view(*grids[0], len(images))
    variances = [variance]
    for _ in range(1, shape.depth):
        variances.append(shape.mean(variances[-1]))
    deviations = tuple(v.sqrt() for v in variances)
    unit = mapped.mul_(inverse(norms)[..., None])
    return Prepared(unit, deviations, tuple(inverse(a) for a in deviations))


class Source:
    """Images that are made ready when they are needed, and kept if they all may be held.

    Args:
        images: Checked, shape (n, channels, height, width).
        root: M^½: None, (d,) or (d, d).
        shape: Of the network.
    """

    def __init__(self, images: Tensor, root: Tensor | None, shape: Shape) -> None:
        self.images, self.root, self.shape = images, root, shape
        rows, columns = shape.patches.grid(*images.shape[2:])
        self.entries = rows * columns * images.shape[1] * shape.patches.side**2
        self._whole: Prepared | None = None

    def __len__(self) -> int:
        return len(self.images)

    def parts(self, copies: int = 1) -> Iterator[tuple[slice, Prepared]]:
        """Some of the images after the other, each with its place.

        Args:
            copies: How many numbers the caller holds for each of the patches' entries.
        """
        if self._whole is None and self.entries * len(self) <= HELD:
            self._whole = prepare(self.images, self.root, self.shape)
        for some in _slices(len(self), max(1, HELD // (copies * self.entries))):
            if self._whole is None:
                yield some, prepare(self.images[some], self.root, self.shape)
            else:
                yield some, self._whole.part(some)


def tiles(images: Prepared) -> list[slice]:
    """Slices of the images so short that two of them make a block."""
    rows, columns = images.grid
    entries = ENTRIES if images.unit.device.type == "cpu" else LARGE_ENTRIES
    return _slices(len(images), max(1, math.isqrt(entries // (rows * columns))))


def _slices(length: int, side: int) -> list[slice]:
    return [slice(start, min(start + side, length)) for start in range(0, length, side)]
