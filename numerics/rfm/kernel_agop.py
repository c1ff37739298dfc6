"""AGOP of a kernel machine in closed form, and what "centred" can mean for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from ..validation import choice
from .blocks import pairs_of_slices, slices
from .checks import Pair, check_alpha, check_pair
from .kernel_base import Kernel, output_groups

CENTRINGS = ("none", "per_output", "joint")
"""Which mean is removed from the gradients ∇f_c(x) before their outer products are averaged.

- "none": nothing.
- "per_output": each output's mean over the samples (the classic RFM's centring).
- "joint": one mean over samples and outputs together (xrfm's).
"""


def agop_of_kernel_machine(
    kernel: Kernel,
    alpha: Tensor,
    X_eval: Tensor,
    centres: Tensor,
    M: Tensor | None = None,
    self_index: Tensor | None = None,
    *,
    centring: str = "none",
    diagonal: bool = False,
) -> Tensor:
    """AGOP (1/n) Σ_x Σ_c ∇f_c(x)∇f_c(x)ᵀ of f_c(x) = Σ_i α_ic K(x, x_i), shape (d, d).

    Args:
        kernel: K.
        alpha: Coefficients, shape (m,) or (m, outputs).
        X_eval: The x, shape (n, d).
        centres: The x_i, shape (m, d).
        M: The kernel's metric.
        self_index: For each row of X_eval the centre that it equals, or −1.
        centring: "none", "per_output" or "joint"; see `CENTRINGS`.
        diagonal: Only the diagonal, shape (d,).

    Raises:
        TypeError: If a tensor is not floating, or dtypes or devices differ.
        ValueError: If shapes do not fit together, an entry is NaN or infinite, there is no point
            to evaluate at, or the centring is unknown.
    """
    choice("centring", centring, CENTRINGS)
    pair = check_pair(X_eval, centres, M, self_index)
    if not len(pair.X):
        raise ValueError("X_eval has no rows: there must be at least 1")
    alpha = check_alpha(alpha, pair.Z)
    alone = diagonal and (M is None or M.ndim == 1)  # a full M mixes what the diagonal needs
    moments = Moments(centring, alone)
    for outputs in output_groups(alpha, pair.Z):
        for block in kernel.raw_gradients(alpha[:, outputs], pair):
            moments.add(block, outputs.start)
    agop = pull_moment(kernel, moments.mean(), pair.M)
    return agop.diagonal().clone() if diagonal and not alone else agop


def pull_moment(kernel: Kernel, moment: Tensor, M: Tensor | None) -> Tensor:
    """The AGOP A S A from the mean outer product S of the raw gradients."""
    if moment.ndim == 2:
        half = kernel.pull(moment, M)
        agop = kernel.pull(half.T, M)
        return (agop + agop.T) / 2
    return kernel.pull(kernel.pull(moment, M), M)


def moment_at_centres(
    kernel: Kernel,
    alpha: Tensor,
    points: Tensor,
    tile: Callable[[slice, slice], Tensor],
    *,
    centring: str,
    diagonal: bool,
) -> Tensor:
    """Mean outer product of the raw gradients at the centres, each pair of points taken once.

    Args:
        kernel: K.
        alpha: Coefficients, shape (n, outputs).
        points: The centres, where the metric is the identity, shape (n, d).
        tile: The pairwise matrix of two slices, with 0 where a point meets itself; is overwritten.
        centring: Which mean is removed.
        diagonal: Only the squares of each coordinate, shape (d,).
    """
    n, device = len(points), points.device
    moments = Moments(centring, diagonal)
    for outputs in output_groups(alpha, points):
        weighted = kernel.weighted(alpha[:, outputs], points)
        sums = kernel.sums(n, weighted, points)
        for rows, columns in pairs_of_slices(n, device):
            slopes = kernel.slopes_(tile(rows, columns))
            pair = Pair(points[rows], points[columns])
            kernel.add_terms_(sums[rows], slopes, weighted[columns], pair)
            if rows != columns:
                pair = Pair(points[columns], points[rows])
                kernel.add_terms_(sums[columns], slopes.T, weighted[rows], pair)
        for rows in slices(n, device):
            moments.add(kernel.combined(sums[rows], points[rows]), outputs.start)
    moment = moments.mean()
    # One gradient everywhere: its variance is 0, and what rounding leaves of it is no metric.
    alone = centring == "per_output" or (centring == "joint" and alpha.shape[1] == 1)
    return moment.zero_() if kernel.affine and alone else moment


def mean_outer_product(blocks: Iterable[Tensor], centring: str, diagonal: bool) -> Tensor:
    """Mean over samples, summed over outputs, of the gradients' outer products.

    Args:
        blocks: Gradients of some samples each, shape (rows, outputs, d).
        centring: Which mean is removed.
        diagonal: Only the squares of each coordinate, shape (d,).
    """
    moments = Moments(centring, diagonal)
    for block in blocks:
        moments.add(block)
    return moments.mean()


class Moments:
    """Sums over gradients, from which their mean outer product comes, centred or not.

    Means are removed by shifting every gradient by the first block's mean, and mending the rest at
    the end: no digits cancel.
    """

    def __init__(self, centring: str, diagonal: bool) -> None:
        self.centring = choice("centring", centring, CENTRINGS)
        self.diagonal = diagonal
        self.samples = 0
        self.products: Tensor
        # Of each group of outputs, by its first output.
        self.shifts: dict[int, Tensor] = {}
        self.sums: dict[int, Tensor] = {}

    def add(self, block: Tensor, first: int = 0) -> None:
        """Take in the gradients of some samples, shape (rows, outputs, d).

        Args:
            block: The gradients.
            first: Number of their first output, where outputs come in groups.
        """
        if self.centring != "none":
            if first not in self.shifts:
                self.shifts[first] = block.mean(dim=0)
                self.sums[first] = torch.zeros_like(self.shifts[first])
            block = block - self.shifts[first]
            self.sums[first] += block.sum(dim=0)
        rows = block.reshape(-1, block.shape[-1])
        products = rows.square().sum(dim=0) if self.diagonal else rows.T @ rows
        self.products = self.products.add_(products) if self.samples else products
        if not first:
            self.samples += len(block)

    def mean(self) -> Tensor:
        """The mean outer product so far, (d, d) or (d,)."""
        products = self.products / self.samples
        if self.centring == "none":
            return products
        mean = torch.cat(list(self.sums.values())) / self.samples
        products -= self._outer(mean)
        if self.centring == "joint":
            # What each output's own mean has beyond the common one was removed, and belongs.
            own = mean + torch.cat(list(self.shifts.values()))
            products += self._outer(own - own.mean(dim=0))
        return products

    def _outer(self, mean: Tensor) -> Tensor:
        return mean.square().sum(dim=0) if self.diagonal else mean.T @ mean
