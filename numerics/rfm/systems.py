"""The two ways to solve (K + λI)α = Y: with the matrix in memory, and without."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from ..validation import choice
from .gram import Gram
from .kernel_agop import moment_at_centres
from .kernel_base import Kernel
from .tiles import TiledKernel

SOLVERS = ("exact", "iterative")
"""How the linear system is solved.

- "exact": Cholesky, with the n × n matrix in memory.
- "iterative": preconditioned conjugate gradients to a relative residual of 1e-3, tile by tile.
"""


class System(Protocol):
    """A symmetric system of kernel values, and the AGOP of its solution."""

    def fill(self, kernel: Kernel, points: Tensor, ridge: float) -> None:
        """Set up K + λI for points in coordinates where the metric is the identity."""

    def solve(self, targets: Tensor, ridge: float) -> Tensor:
        """α, shape (n, outputs)."""

    def agop(self, alpha: Tensor, centring: str, diagonal: bool) -> Tensor:
        """AGOP at the points themselves, in their coordinates."""


class Tiled:
    """Solver "iterative": no (n, n) matrix is ever held.

    Args:
        seed: Chooses the landmarks of the preconditioner.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.kernel: Kernel
        self.points: Tensor

    def fill(self, kernel: Kernel, points: Tensor, ridge: float) -> None:  # noqa: ARG002
        """Remember kernel and points."""
        self.kernel, self.points = kernel, points

    def solve(self, targets: Tensor, ridge: float) -> Tensor:
        """α by preconditioned conjugate gradients, shape (n, outputs).

        Raises:
            ConvergenceError: If the residual is not reached.
        """
        from .iterative import solve

        alpha, _ = solve(self.kernel, self.points, targets, None, ridge, generator=self.seed)
        return alpha

    def agop(self, alpha: Tensor, centring: str, diagonal: bool) -> Tensor:
        """AGOP at the points themselves, tile by tile."""
        tile = TiledKernel(self.kernel, self.points).pairs
        return moment_at_centres(
            self.kernel, alpha, self.points, tile, centring=centring, diagonal=diagonal
        )


def system_by_name(solver: str, points: Tensor, seed: int) -> System:
    """The system of this name for points of shape (n, d).

    Raises:
        ValueError: If there is no such solver.
        MemoryError: If the exact solver's matrix does not fit into memory.
    """
    if choice("solver", solver, SOLVERS) == "iterative":
        return Tiled(seed)
    return Gram(len(points), points.dtype, points.device)
