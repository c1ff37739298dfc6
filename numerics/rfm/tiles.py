"""Kernel products and AGOPs of kernel machines tile by tile: no (n, n) matrix is ever held.

A tile of the kernel matrix is made, used and overwritten while it is in the processor's cache;
memory is that of the points, the coefficients and a tile.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..validation import choice
from .blocks import pairs_of_slices, slices
from .checks import Pair, check_alpha, check_pair
from .kernel_agop import CENTRINGS, mean_outer_product
from .kernel_base import Kernel
from .metric import apply_metric, map_pair, metric_root


@dataclass(frozen=True, eq=False)
class TiledKernel:
    """The kernel matrix of points with themselves, as something that multiplies.

    Attributes:
        kernel: K.
        points: Where the metric is the identity, shape (n, d).
    """

    kernel: Kernel
    points: Tensor

    @classmethod
    def under_metric(cls, kernel: Kernel, X: Tensor, M: Tensor | None = None) -> TiledKernel:
        """The kernel matrix of X under M; points are mapped once, so that no tile has to.

        Args:
            kernel: K.
            X: Shape (n, d), n ≥ 1.
            M: The metric: None, (d,) or (d, d).

        Raises:
            TypeError: If X is not a floating tensor, or M's dtype or device is another.
            ValueError: If shapes do not fit together, or an entry is NaN or infinite.
        """
        return cls(kernel, _mapped(kernel, check_pair(X, None, M, None)).Z)

    def __len__(self) -> int:
        return len(self.points)

    def tile(self, rows: slice, columns: slice) -> Tensor:
        """K(x_i, x_j) for i and j in two slices, the same or disjoint; newly made."""
        return self.kernel.values_(self.pairs(rows, columns))

    def pairs(self, rows: slice, columns: slice) -> Tensor:
        """The same of the pairwise matrix; a point's own distance is 0."""
        X, Z = self.points[rows], self.points[columns]
        same = torch.arange(len(X), device=X.device) if rows == columns else None
        return self.kernel.pairs(Pair(X, Z, None, same))

    def columns(self, chosen: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """K(x_i, x_j) for all i, slice by slice, and the chosen j."""
        landmarks = self.points[chosen]
        index = torch.full((len(self),), -1, device=self.points.device)
        index[chosen] = torch.arange(len(chosen), device=index.device)
        for rows in slices(len(self), self.points.device):
            pair = Pair(self.points[rows], landmarks, None, index[rows])
            yield rows, self.kernel.values_(self.kernel.pairs(pair))

    def diagonal(self) -> Tensor:
        """K(x_i, x_i), shape (n,)."""
        parts = [slice(i, min(i + 64, len(self))) for i in range(0, len(self), 64)]
        return torch.cat([self.tile(part, part).diagonal().clone() for part in parts])

    def product(self, vectors: Tensor) -> Tensor:
        """Kv for vectors in double precision, shape (n, m); by symmetry each tile serves twice.

        A tile is multiplied in the points' precision; the tiles are summed in double precision.
        """
        v = vectors.to(self.points.dtype)
        total = torch.zeros_like(vectors)
        for rows, columns in pairs_of_slices(len(self), self.points.device):
            tile = self.tile(rows, columns)
            total[rows] += tile @ v[columns]
            if columns != rows:
                total[columns] += tile.T @ v[rows]
        return total


def streaming_agop(
    kernel: Kernel,
    alpha: Tensor,
    X_eval: Tensor,
    centres: Tensor,
    M: Tensor | None = None,
    self_index: Tensor | None = None,
    *,
    centring: str = "none",
) -> Tensor:
    """AGOP (d, d) of f_c(x) = Σ_i α_ic K(x, x_i), tile by tile, for many points and centres.

    The same as `agop_of_kernel_machine`, whose blocks of rows span all centres.

    Args:
        kernel: K.
        alpha: Coefficients, shape (m,) or (m, outputs).
        X_eval: The x, shape (n, d).
        centres: The x_i, shape (m, d).
        M: The kernel's metric.
        self_index: For each row of X_eval the centre that it equals, or −1.
        centring: "none", "per_output" or "joint"; see `CENTRINGS`.

    Raises:
        TypeError: If a tensor is not floating, or dtypes or devices differ.
        ValueError: If shapes do not fit together, an entry is NaN or infinite, there is no point
            to evaluate at, or the centring is unknown.
    """
    choice("centring", centring, CENTRINGS)
    pair = check_pair(X_eval, centres, M, self_index)
    if not len(pair.X):
        raise ValueError("X_eval has no rows: there must be at least 1")
    blocks = _gradients(kernel, check_alpha(alpha, pair.Z), _mapped(kernel, pair))
    moment = mean_outer_product(blocks, centring, False)
    root = metric_root(pair.M)
    agop = apply_metric(apply_metric(moment, root).T, root)
    return (agop + agop.T) / 2


def _mapped(kernel: Kernel, pair: Pair) -> Pair:
    """The points under M^½, where the metric is the identity: K_M(x, z) = K(M^½x, M^½z)."""
    X, Z = map_pair(pair.X, pair.Z, metric_root(pair.M))
    return kernel.centred(Pair(X, Z, None, pair.index))


def _tile(pair: Pair, rows: slice, columns: slice) -> Pair:
    index = pair.index
    if index is not None:
        index = index[rows] - columns.start
        index = index.masked_fill((index < 0) | (index >= columns.stop - columns.start), -1)
    return replace(pair, X=pair.X[rows], Z=pair.Z[columns], index=index)


def _gradients(kernel: Kernel, alpha: Tensor, pair: Pair) -> Iterator[Tensor]:
    """∇f_c at one slice of points after the other, in the coordinates M^½x."""
    for rows in slices(len(pair.X), pair.X.device):
        sums: Tensor | None = None
        for columns in slices(len(pair.Z), pair.X.device):
            tile = _tile(pair, rows, columns)
            weighted = kernel.weighted(alpha[columns], tile.Z)
            if sums is None:
                sums = kernel.sums(len(tile.X), weighted, tile.Z)
            kernel.add_terms_(sums, kernel.slopes_(kernel.pairs(tile)), weighted, tile)
        assert sums is not None  # there is at least one centre
        yield kernel.pull(kernel.combined(sums, pair.X[rows]), None)
