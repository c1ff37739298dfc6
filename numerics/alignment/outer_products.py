"""Sums of outer products of rows, at the cost of little more than their upper triangle."""

from __future__ import annotations

import torch
from torch import Tensor

PANELS = 4
SMALLEST = 64  # narrower panels cost more to start than they save


class OuterProducts:
    """The sum of vvᵀ over rows v that come in portions; in single precision at least.

    >>> total = OuterProducts()
    >>> total.add(torch.tensor([[1.0, 2.0]]))
    >>> total.add(torch.tensor([[1.0, 0.0]]))
    >>> total.matrix()
    tensor([[2., 2.],
            [2., 4.]])
    """

    def __init__(self) -> None:
        self._sum: Tensor | None = None

    def add(self, rows: Tensor) -> None:
        """Add vvᵀ for all vectors along the last axis."""
        rows = rows.reshape(-1, rows.shape[-1])
        rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
        if self._sum is None:
            self._sum = rows.new_zeros(rows.shape[1], rows.shape[1])
        _add_upper_panels(self._sum, rows)

    def matrix(self) -> Tensor:
        """The sum so far, exactly symmetric.

        Raises:
            ValueError: If nothing has been added.
        """
        if self._sum is None:
            raise ValueError("no rows have been added")
        upper = self._sum.triu()
        return upper + upper.triu(1).T


def _add_upper_panels(total: Tensor, rows: Tensor) -> None:
    """Horizontal panels of the matrix, each from the diagonal on: 5/8 of the products for four."""
    width = rows.shape[1]
    step = max(SMALLEST, -(-width // PANELS))
    for start in range(0, width, step):
        panel = rows[:, start : start + step]
        total[start : start + step, start:].addmm_(panel.T, rows[:, start:])
