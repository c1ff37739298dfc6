"""Cholesky factorisation in the lower triangle, which leaves the strict upper triangle alone.

PyTorch's own clears the upper triangle; LAPACK through SciPy would not, but its threads spin for a
while afterwards, and take the processor from PyTorch's.
"""

from __future__ import annotations

import torch
from torch import Tensor

SIDE = 256
"""Columns that are factored at a time on the CPU; half or twice as many take as long."""

LARGE_SIDE = 8192
"""The same on other devices."""


def factorise_(matrix: Tensor) -> bool:
    """Replace the lower triangle of a symmetric matrix by its Cholesky factor.

    Args:
        matrix: Shape (n, n); only its lower triangle is read and written.

    Returns:
        Whether the matrix is positive definite in its precision; if not, it is left half-done.
    """
    for part in _parts(matrix):
        known, below = slice(0, part.start), slice(part.stop, len(matrix))
        left = matrix[part, known]
        block = torch.addmm(matrix[part, part], left, left.T, alpha=-1)
        factor, info = torch.linalg.cholesky_ex(block)
        if info:
            return False
        matrix[part, part] = matrix[part, part].triu(1).add_(factor)
        panel = matrix[below, part].addmm_(matrix[below, known], left.T, alpha=-1)
        panel.copy_(torch.linalg.solve_triangular(factor.T, panel, upper=True, left=False))
    return True


def substitute(matrix: Tensor, targets: Tensor) -> Tensor:
    """x with LLᵀx = y, L the lower triangle.

    Args:
        matrix: Shape (n, n); only its lower triangle is read.
        targets: y, shape (n, m).
    """
    x, parts = targets.clone(), _parts(matrix)
    for part in parts:
        x[part] -= matrix[part, : part.start] @ x[: part.start]
        x[part] = torch.linalg.solve_triangular(matrix[part, part], x[part], upper=False)
    for part in reversed(parts):
        x[part] -= matrix[part.stop :, part].T @ x[part.stop :]
        x[part] = torch.linalg.solve_triangular(matrix[part, part].T, x[part], upper=True)
    return x


def _parts(matrix: Tensor) -> list[slice]:
    side = SIDE if matrix.device.type == "cpu" else LARGE_SIDE
    return [slice(i, min(i + side, len(matrix))) for i in range(0, len(matrix), side)]
