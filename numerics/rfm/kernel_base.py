"""Kernels with a Mahalanobis metric M: their matrices, and the gradients of their machines.

A kernel machine is f_c(x) = Σ_i α_ic K(x, x_i), and every kernel here has

    Σ_i α_ic ∂K(x, x_i)/∂x = A Σ_i α_ic w(x, x_i) v(x, x_i)

with weights w that come, as K does, from one pairwise matrix (squared distances, inner products),
so that this matrix is computed once and serves both. For a function of the Mahalanobis distance
v = x − x_i and A = M: the sum is two matrix products, and no (n, m, d) array is formed.

M is None (the identity), a vector (d,) (diagonal) or a symmetric positive semidefinite (d, d).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..validation import positive
from .checks import Pair, check_alpha, check_pair
from .metric import apply_metric, squared_distances

BLOCK = 2**21
"""Entries of the pairwise matrix that are worked on at a time where it need not be kept."""

SMALLEST = 1e-150
"""Smallest bandwidth; the largest is its inverse."""

LANES = 8
"""Matrix products with whole multiples of so many columns are up to a fifth faster."""

WEIGHTED = 2**26
"""Entries of the weighted centres, (m, outputs, d), that are held at a time."""


@dataclass(frozen=True)
class Kernel(ABC):
    """A kernel with a metric.

    Attributes:
        bandwidth: L > 0, in the units of the metric's distance.
    """

    bandwidth: float = 10.0

    def __post_init__(self) -> None:
        self._set("bandwidth", positive("bandwidth", self.bandwidth))
        if not SMALLEST <= self.bandwidth <= 1 / SMALLEST:
            raise ValueError(
                f"bandwidth = {self.bandwidth!r} must be in [{SMALLEST:g}, {1 / SMALLEST:g}]: "
                "rescale the samples"
            )

    def _set(self, name: str, value: float) -> None:
        """Keep a number as Python's own: NumPy's integers, as grids hold them, have no x⁻²."""
        object.__setattr__(self, name, value)

    @property
    def affine(self) -> bool:
        """Whether its machines are affine in x, with one gradient everywhere."""
        return False

    def matrix(
        self,
        X: Tensor,
        Z: Tensor | None = None,
        M: Tensor | None = None,
        *,
        self_index: Tensor | None = None,
    ) -> Tensor:
        """K(x_i, z_j), shape (n, m).

        Args:
            X: Shape (n, d).
            Z: Shape (m, d); by default X itself.
            M: The metric: None, (d,) or (d, d).
            self_index: For each row of X the row of Z that it equals, or −1, shape (n,). Distances
                of such pairs are exactly 0, which rounding would not make them.

        Raises:
            TypeError: If X is not a floating tensor, or dtypes or devices differ.
            ValueError: If shapes do not fit together, or an entry is NaN or infinite.
        """
        return self.values_(self.pairs(self.centred(check_pair(X, Z, M, self_index))))

    def gradients(
        self,
        alpha: Tensor,
        X_eval: Tensor,
        centres: Tensor,
        M: Tensor | None = None,
        self_index: Tensor | None = None,
    ) -> Tensor:
        """∇f_c(x) = Σ_i α_ic ∂K(x, x_i)/∂x, shape (n, outputs, d), or (n, d) if α is a vector.

        Terms at distance 0, where kernels such as Laplace's have no gradient, are 0.

        Args:
            alpha: Coefficients, shape (m,) or (m, outputs).
            X_eval: Where to evaluate, shape (n, d).
            centres: The x_i, shape (m, d).
            M: The metric: None, (d,) or (d, d).
            self_index: For each row of X_eval the centre that it equals, or −1, shape (n,).

        Raises:
            TypeError: If a tensor is not floating, or dtypes or devices differ.
            ValueError: If shapes do not fit together, or an entry is NaN or infinite.
        """
        pair = check_pair(X_eval, centres, M, self_index)
        weights = check_alpha(alpha, pair.Z)
        n, d = pair.X.shape
        gradients = pair.X.new_empty(n, weights.shape[1], d)
        for outputs in output_groups(weights, pair.Z):
            start = 0
            for raw in self.raw_gradients(weights[:, outputs], pair):
                gradients[start : start + len(raw), outputs] = self.pull(raw, pair.M)
                start += len(raw)
        return gradients[:, 0] if alpha.ndim == 1 else gradients

    def raw_gradients(self, alpha: Tensor, pair: Pair) -> Iterator[Tensor]:
        """The gradients before `pull`, for one block of rows of X after the other."""
        near = self.centred(pair)
        rows, weighted = max(1, BLOCK // len(near.Z)), self.weighted(alpha, near.Z)
        for start in range(0, len(near.X), rows):
            block = near.rows(slice(start, start + rows))
            sums = self.sums(len(block.X), weighted, near.Z)
            self.add_terms_(sums, self.slopes_(self.pairs(block)), weighted, block)
            yield self.combined(sums, block.X)

    def centred(self, pair: Pair) -> Pair:
        """The points in the coordinates where the sums are taken; `pull` belongs to the metric."""
        return pair

    @abstractmethod
    def pairs(self, pair: Pair) -> Tensor:
        """The pairwise matrix from which values and slopes come, shape (n, m), newly made."""

    @abstractmethod
    def values_(self, pairs: Tensor) -> Tensor:
        """K, in the place of the pairwise matrix."""

    @abstractmethod
    def slopes_(self, pairs: Tensor) -> Tensor:
        """The weights w of the gradient, in the place of the pairwise matrix."""

    @abstractmethod
    def weighted(self, alpha: Tensor, Z: Tensor) -> Tensor:
        """What the weights w are multiplied with, made once for all x: one row for each centre."""

    def sums(self, n: int, weighted: Tensor, Z: Tensor) -> Tensor:  # noqa: ARG002
        """Zeros, to which `add_terms_` adds: one row for each of n points x."""
        return weighted.new_zeros(n, weighted.shape[1])

    def add_terms_(self, sums: Tensor, slopes: Tensor, weighted: Tensor, pair: Pair) -> None:  # noqa: ARG002
        """Add the terms of these centres to the sums over all centres."""
        sums.addmm_(slopes, weighted)

    def combined(self, sums: Tensor, X: Tensor) -> Tensor:
        """Σ_i α_ic w(x, z_i) v(x, z_i), shape (n, outputs, d), from the sums."""
        return sums.view(len(sums), -1, X.shape[1])

    def pull(self, raw: Tensor, M: Tensor | None) -> Tensor:
        """A applied to the last axis: M, unless the kernel says otherwise."""
        return apply_metric(raw, M)


class RadialKernel(Kernel):
    """φ(r) with r² = (x − z)ᵀM(x − z); its pairwise matrix is r², its weight φ'(r)/r."""

    def centred(self, pair: Pair) -> Pair:
        """Shifted by the median of some of Z: no distance changes, and fewer digits cancel.

        From the mean, which one stray point moves far away, the others would lose theirs.
        """
        some = pair.Z[:: len(pair.Z) // 256 + 1]
        return pair.shifted(some.median(dim=0).values)

    def pairs(self, pair: Pair) -> Tensor:
        """r², with cancellation mended where points are close, and 0 for the pairs in `index`."""
        return squared_distances(pair.X, pair.Z, pair.M, pair.index)

    def weighted(self, alpha: Tensor, Z: Tensor) -> Tensor:
        """α_ic beside −α_ic z_i, shape (m, outputs + outputs d), and zeros up to whole `LANES`."""
        columns = [alpha, _products(alpha, Z).neg_()]
        if Z.shape[1] >= LANES:  # then the number of outputs can still be read off
            missing = -alpha.shape[1] * (1 + Z.shape[1]) % LANES
            columns.append(alpha.new_zeros(len(alpha), missing))
        return torch.cat(columns, dim=1)

    def combined(self, sums: Tensor, X: Tensor) -> Tensor:
        """Σ_i α_ic w(x, z_i)(x − z_i)."""
        outputs, d = sums.shape[1] // (1 + X.shape[1]), X.shape[1]
        centres = sums[:, outputs : outputs * (1 + d)].view(len(sums), outputs, d)
        return torch.addcmul(centres, sums[:, :outputs, None], X[:, None, :])


class InnerProductKernel(Kernel):
    """g(t) with t = xᵀMz/L²; its pairwise matrix is t, its weight g'(t)/L²."""

    def pairs(self, pair: Pair) -> Tensor:
        """Inner products xᵀMz/L²."""
        return (apply_metric(pair.X, pair.M) @ pair.Z.T).mul_(self.bandwidth**-2)

    def weighted(self, alpha: Tensor, Z: Tensor) -> Tensor:
        """α_ic z_i, shape (m, outputs d)."""
        return _products(alpha, Z)


def output_groups(alpha: Tensor, Z: Tensor) -> list[slice]:
    """The outputs in groups whose weighted centres are held at a time."""
    group = max(1, WEIGHTED // max(1, Z.numel()))
    return [slice(c, min(c + group, alpha.shape[1])) for c in range(0, alpha.shape[1], group)]


def _products(alpha: Tensor, Z: Tensor) -> Tensor:
    """α_ic z_i, shape (m, outputs d)."""
    return (alpha[:, :, None] * Z[:, None, :]).flatten(1)
