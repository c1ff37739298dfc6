"""Points against themselves: kernel matrix, Cholesky factor and pairwise matrix in n² numbers.

The lower triangle holds K + λI, then its Cholesky factor. The strict upper triangle holds the
pairwise matrix (squared distances, inner products), from which the AGOP is taken later without
computing it again. Both are filled block by block, each pair of points once.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from scipy.linalg import lapack
from torch import Tensor

from .checks import Pair
from .kernel_agop import Moments
from .kernels import Kernel
from .memory import require_memory

CPU_BLOCK = 512
"""Rows and columns of a block on the CPU: one block, and what is done to it, stays in the cache."""

DEVICE_BLOCK = 8192


class Gram:
    """Solver "exact": the symmetric system (K + λI)α = Y, and the AGOP of its solution.

    The points are given in the kernel's own coordinates, in which the metric is the identity.

    Args:
        n: Number of points.
        dtype: Of the matrix.
        device: Of the matrix.

    Raises:
        MemoryError: If n² numbers do not fit into memory.
    """

    def __init__(self, n: int, dtype: torch.dtype, device: torch.device) -> None:
        self.in_place = device.type == "cpu"
        size = n * n * torch.finfo(dtype).bits / 8 * (1 if self.in_place else 2)
        require_memory(size, f"the kernel matrix of n = {n} samples", device)
        self.store = torch.empty(n, n, dtype=dtype, device=device)
        self.step = CPU_BLOCK if device.type == "cpu" else DEVICE_BLOCK
        self.kernel: Kernel
        self.points: Tensor
        self.diagonal = torch.empty(n, dtype=dtype, device=device)
        self.factor = self.store

    def fill(self, kernel: Kernel, points: Tensor, ridge: float) -> None:
        """Compute pairwise matrix and K + λI of these points, shape (n, d)."""
        self.kernel, self.points = kernel, points
        for rows, columns in self._blocks():
            block = kernel.pairs(self._pair(rows, columns))
            if rows == columns:
                self._fill_diagonal(rows, block)
            else:
                self.store[rows, columns] = block
                self.store[columns, rows] = kernel.values_(block).T
        self.store.diagonal().add_(ridge)

    def solve(self, targets: Tensor, ridge: float) -> Tensor:
        """α = (K + λI)⁻¹Y, shape (n, outputs), by a Cholesky factorisation in place.

        Args:
            targets: Y, shape (n, outputs).
            ridge: The λ of `fill`, by which a singular matrix is recognised.

        Raises:
            numpy.linalg.LinAlgError: If the matrix is singular in this precision.
        """
        largest = float(self.store.diagonal().max())
        failed = self._factorise()
        smallest = 0.0 if failed else float(self.factor.diagonal().min()) ** 2
        # Without a ridge a pivot of the size of the factorisation's rounding is noise: repeated
        # rows. With one, the pivots are at least λ and rounding is harmless until it is as large.
        rounding = torch.finfo(self.store.dtype).eps * (8 if ridge else len(self.store))
        if failed or smallest <= rounding * largest:
            raise np.linalg.LinAlgError(self._singular(ridge))
        return self._substitute(targets)

    def agop(self, alpha: Tensor, centring: str, diagonal: bool) -> Tensor:
        """AGOP at the points themselves, in their coordinates: (d, d), or (d,) if diagonal."""
        moments = Moments(centring, diagonal)
        moments.add(self._raw_gradients(alpha))
        return moments.mean()

    def _raw_gradients(self, alpha: Tensor) -> Tensor:
        n, d = self.points.shape
        raw = self.points.new_zeros(n, alpha.shape[1], d)
        for rows, columns in self._blocks():
            slopes, pair = self.kernel.slopes_(self._stored(rows, columns)), self._pair
            raw[rows] += self.kernel.contract(slopes, alpha[columns], pair(rows, columns))
            if rows != columns:
                raw[columns] += self.kernel.contract(slopes.T, alpha[rows], pair(columns, rows))
        return raw

    def _blocks(self) -> Iterator[tuple[slice, slice]]:
        n = len(self.store)
        starts = range(0, n, self.step)
        parts = [slice(start, min(n, start + self.step)) for start in starts]
        return ((parts[j], parts[i]) for j in range(len(parts)) for i in range(j, len(parts)))

    def _pair(self, rows: slice, columns: slice) -> Pair:
        X, Z = self.points[rows], self.points[columns]
        same = torch.arange(len(X), device=X.device) if rows == columns else None
        return Pair(X, Z, None, same)

    def _fill_diagonal(self, part: slice, block: Tensor) -> None:
        self.diagonal[part] = block.diagonal()
        above = block.triu(1)
        self.store[part, part] = above + self.kernel.values_(block).tril_()

    def _stored(self, rows: slice, columns: slice) -> Tensor:
        block = self.store[rows, columns]
        if rows != columns:
            return block.clone()
        above = block.triu(1)
        return above + above.T + torch.diag(self.diagonal[rows])

    def _factorise(self) -> bool:
        """Put the Cholesky factor into `factor`; whether that failed."""
        if not self.in_place:
            self.factor, info = torch.linalg.cholesky_ex(self.store)
            return bool(info)
        # LAPACK itself: it works in place and leaves the other triangle alone. Its lower triangle
        # by columns is the upper one by rows, hence "upper" of the transpose.
        matrix = self.store.numpy().T
        potrf = lapack.spotrf if matrix.dtype == np.float32 else lapack.dpotrf
        _, info = potrf(matrix, lower=0, clean=0, overwrite_a=1)
        return bool(info)

    def _substitute(self, targets: Tensor) -> Tensor:
        if not self.in_place:
            return torch.cholesky_solve(targets, self.factor)
        matrix = self.store.numpy().T
        potrs = lapack.spotrs if matrix.dtype == np.float32 else lapack.dpotrs
        alpha, _ = potrs(matrix, targets.numpy(), lower=0)
        return torch.from_numpy(np.ascontiguousarray(alpha))

    def _singular(self, ridge: float) -> str:
        return (
            f"the kernel matrix of {len(self.store)} samples plus ridge = {ridge:g} is singular in "
            f"{self.store.dtype}: take a larger ridge, a smaller bandwidth than "
            f"{self.kernel.bandwidth:g}, float64, or remove repeated rows"
        )
