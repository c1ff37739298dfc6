"""Points against themselves: kernel matrix, Cholesky factor and pairwise matrix in n² numbers.

The lower triangle holds K + λI, then its Cholesky factor. The strict upper triangle holds the
pairwise matrix (squared distances, inner products), from which the AGOP is taken later without
computing it again. Both are filled block by block, each pair of points once.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .blocks import pairs_of_slices
from .cholesky import factorise_, substitute
from .kernel_agop import moment_at_centres
from .kernel_base import Kernel
from .memory import require_memory
from .tiles import TiledKernel


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
        size = n * n * torch.finfo(dtype).bits / 8
        require_memory(size, f"the kernel matrix of n = {n} samples", device)
        self.store = torch.empty(n, n, dtype=dtype, device=device)
        self.kernel: Kernel
        self.points: Tensor
        self.diagonal = torch.empty(n, dtype=dtype, device=device)

    def fill(self, kernel: Kernel, points: Tensor, ridge: float) -> None:
        """Compute pairwise matrix and K + λI of these points, shape (n, d)."""
        self.kernel, self.points, tiled = kernel, points, TiledKernel(kernel, points)
        for rows, columns in pairs_of_slices(len(points), points.device):
            block = tiled.pairs(rows, columns)
            if rows == columns:
                self._fill_diagonal(rows, block)
            else:
                self.store[rows, columns] = block
                self.store[columns, rows] = kernel.values_(block).T.contiguous()
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
        failed = not factorise_(self.store)
        smallest = 0.0 if failed else float(self.store.diagonal().min()) ** 2
        # Without a ridge a pivot of the size of the factorisation's rounding is noise: repeated
        # rows. With one, the pivots are at least λ and rounding is harmless until it is as large.
        rounding = torch.finfo(self.store.dtype).eps * (8 if ridge else len(self.store))
        if failed or smallest <= rounding * largest:
            raise np.linalg.LinAlgError(self._singular(ridge))
        return substitute(self.store, targets)

    def agop(self, alpha: Tensor, centring: str, diagonal: bool) -> Tensor:
        """AGOP at the points themselves, in their coordinates: (d, d), or (d,) if diagonal."""
        return moment_at_centres(
            self.kernel, alpha, self.points, self._stored, centring=centring, diagonal=diagonal
        )

    def _fill_diagonal(self, part: slice, block: Tensor) -> None:
        self.diagonal[part] = block.diagonal()
        above = block.triu(1)
        self.store[part, part] = above.add_(self.kernel.values_(block).tril_())

    def _stored(self, rows: slice, columns: slice) -> Tensor:
        block = self.store[rows, columns]
        if rows != columns:
            return block.clone()
        above = torch.ones_like(block, dtype=torch.bool).triu_(1)
        symmetric = torch.where(above, block, block.T)
        symmetric.diagonal().copy_(self.diagonal[rows])
        return symmetric

    def _singular(self, ridge: float) -> str:
        return (
            f"the kernel matrix of {len(self.store)} samples plus ridge = {ridge:g} is singular in "
            f"{self.store.dtype}: take a larger ridge, a smaller bandwidth than "
            f"{self.kernel.bandwidth:g}, float64, or remove repeated rows"
        )
