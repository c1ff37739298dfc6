"""The risk from its definition: solve, predict everywhere, integrate the squared error."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ..validation import ComplexArray, RealArray, integer, nonnegative, points, positive
from .designs import grid
from .interpolation import System, factorise
from .periodic import PeriodicKernel
from .profiles import ProfileLike, as_profile
from .quadrature import cell_rule
from .targets import Target, target_function

ORDERS = {1: 20, 2: 14, 3: 8}
"""Default Gauss–Legendre points per variable, by dimension."""


@dataclass(frozen=True)
class Risk:
    """E ∫ |f̂ - f*|² dx, split into what the target and what the noise contribute.

    Attributes:
        approximation: ∫ |f̂ - f*|² dx without noise.
        estimation: σ² ∫ |(K + λI)^{-1} k(x)|² dx.
        total: Their sum.
        quadrature_error: The larger of their changes from a lower quadrature order; the error of
            the higher order is smaller, as a rule by orders of magnitude.
        condition_number: Of K + λI; times 1e-16, it bounds roughly the relative rounding error.
    """

    approximation: float
    estimation: float
    total: float
    quadrature_error: float
    condition_number: float


def exact_risk(
    profile: ProfileLike,
    design: ArrayLike,
    target: Target,
    bandwidth: float,
    noise_variance: float = 1.0,
    ridge: float = 0.0,
    *,
    order: int | None = None,
) -> Risk:
    """The risk of kernel regression on a design, exact in the noise.

    Args:
        profile: A Profile, a name, or a radial function.
        design: Points, shape (N, d) or, in one dimension, (N,). In d >= 2 the quadrature is aligned
            with the grid of n = N^{1/d} points per side; for other designs it converges slowly,
            which `quadrature_error` shows.
        target: {frequency k: coefficient of e^{2πi k·x}}, possibly complex, or a function from
            (Q, d) to (Q,).
        bandwidth: h > 0 in units of the torus.
        noise_variance: σ² >= 0, of independent noise of mean 0.
        ridge: λ >= 0.
        order: Gauss–Legendre points per variable in every part of a cell, at least 3.

    Raises:
        SingularSystemError: If K + λI is singular to working precision.
        TypeError: If an argument has the wrong type.
        ValueError: If fewer than 2 points, h <= 0, σ² < 0, λ < 0, d > 3, or data are not finite.
    """
    x = _design(design)
    kernel = PeriodicKernel(as_profile(profile, x.shape[1]), positive("bandwidth", bandwidth))
    nonnegative("noise_variance", noise_variance)
    order = ORDERS[x.shape[1]] if order is None else integer("order", order, 3)
    function = target_function(target, x.shape[1])
    system = factorise(kernel(x[:, None, :] - x), ridge)
    fine, coarse = (_integrals(kernel, x, function, system, o) for o in (order, order - 2))
    approximation, estimation = fine[0], noise_variance * fine[1]
    error = max(abs(fine[0] - coarse[0]), noise_variance * abs(fine[1] - coarse[1]))
    total = approximation + estimation
    return Risk(approximation, estimation, total, error, system.condition_number)


def _design(design: ArrayLike) -> RealArray:
    dimension = 1 if np.ndim(design) == 1 else np.shape(design)[-1] if np.ndim(design) == 2 else 0
    if dimension not in ORDERS:
        raise ValueError(f"design has shape {np.shape(design)}, must be (N, d) with d = 1, 2 or 3")
    x = points("design", design, dimension)
    if len(x) < 2:
        raise ValueError(f"design has {len(x)} point, must have at least 2")
    return x


def _integrals(
    kernel: PeriodicKernel,
    design: RealArray,
    function: Callable[[RealArray], ComplexArray],
    system: System,
    order: int,
) -> tuple[float, float]:
    """∫ |f̂ - f*|² without noise, and ∫ |(K + λI)^{-1} k(x)|², over the torus."""
    coefficients = system.solve(function(design))
    approximation = estimation = 0.0
    for x, weights, rows in _cells(kernel, design, order):
        approximation += float(weights @ np.abs(rows @ coefficients - function(x)) ** 2)
        estimation += float(weights @ np.sum(system.solve(rows.T) ** 2, axis=0))
    return approximation, estimation


Cell = tuple[RealArray, RealArray, RealArray]
"""Quadrature nodes (Q, d), weights (Q,), and kernel values φ_h(x_q - x_j), shape (Q, N)."""


def _cells(kernel: PeriodicKernel, design: RealArray, order: int) -> Iterator[Cell]:
    dimension = design.shape[1]
    nodes, weights = cell_rule(dimension, order, _grading(kernel, dimension))
    side = round(len(design) ** (1 / dimension))
    if dimension == 1:
        yield from _gaps(kernel, design, nodes, weights)
    elif side >= 2 and np.array_equal(design, grid(side, dimension)):
        yield from _grid_cells(kernel, side, nodes, weights)
    else:
        yield from _aligned_cells(kernel, design, max(side, 2), nodes, weights)


def _grading(kernel: PeriodicKernel, dimension: int) -> int:
    """On lines, enough for a kernel that is far narrower than a gap: t = 0.1 is its width then."""
    least = 1 if kernel.profile.smooth_in_distance else 3
    decades = math.ceil(-math.log10(kernel.bandwidth)) if kernel.bandwidth < 1 else 0
    return max(least, decades) if dimension == 1 else least


def _gaps(
    kernel: PeriodicKernel, design: RealArray, nodes: RealArray, weights: RealArray
) -> Iterator[Cell]:
    """In one dimension: from every point to its neighbour."""
    left = np.sort(design[:, 0] % 1.0)
    gaps = np.diff(left, append=left[0] + 1.0)
    for start, gap in zip(left, gaps, strict=True):
        x = start + gap * nodes
        yield x, gap * weights, kernel(x[:, None, :] - design)


def _grid_cells(
    kernel: PeriodicKernel, n: int, nodes: RealArray, weights: RealArray
) -> Iterator[Cell]:
    """The grid's cells: x_q + j/n has the same distances to the grid as x_q, in another order."""
    dimension = nodes.shape[1]
    design = grid(n, dimension)
    table = kernel(nodes[:, None, :] / n + design)  # φ_h(x_q + i/n)
    index = np.rint(design * n).astype(np.int64)
    for j in index:
        where = np.ravel_multi_index(tuple(((j - index) % n).T), (n,) * dimension)
        yield (j + nodes) / n, weights / len(design), table[:, where]


def _aligned_cells(
    kernel: PeriodicKernel, design: RealArray, n: int, nodes: RealArray, weights: RealArray
) -> Iterator[Cell]:
    """Grid cells, moved so that one corner is a design point."""
    corners = grid(n, design.shape[1]) + design[0]
    for corner in corners:
        x = corner + nodes / n
        yield x, weights / len(corners), kernel(x[:, None, :] - design)
