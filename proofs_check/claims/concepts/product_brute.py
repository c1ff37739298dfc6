"""Product concepts from their definition: grids of four Gaussians, or of one with soft labels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import mpmath
import numpy as np

from theory.arrays import RealArray

MP = mpmath.MPContext()
MP.dps = 30
FUNCTIONS = {name: getattr(MP, name) for name in dir(MP) if not name.startswith("_")}
"""For expressions turned into functions of many digits."""

HYPERBOLIC = {"sech": lambda x: 1 / np.cosh(x), "csch": lambda x: 1 / np.sinh(x)}
"""What SciPy's names lack."""

COVARIANCE = np.array([[1.3, 0.4], [0.4, 0.7]])


@dataclass(frozen=True, eq=False)
class Grid:
    """Points in the plane, the classes' masses at them (sum 1 each), and their densities' slopes.

    Attributes:
        x: Points, shape (n, 2).
        plus: Density of the class 1 times the cell, shape (n,).
        minus: Of the other class.
        plus_slope: Gradient of the first, shape (n, 2).
        minus_slope: Of the second.
    """

    x: RealArray
    plus: RealArray
    minus: RealArray
    plus_slope: RealArray
    minus_slope: RealArray


def grid(first: Any, second: Any, sigma: Any, size: int = 300) -> Grid:
    """Four Gaussians with centres ±first ± second; a class is the product of the signs."""
    A, B, S = (np.asarray(v, dtype=float) for v in (first, second, sigma))
    reach = np.abs(A) + np.abs(B) + 8 * np.sqrt(np.diag(S))
    axes = [np.linspace(-r, r, size) for r in reach]
    x = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    cell = np.prod([a[1] - a[0] for a in axes])
    front = cell / (2 * np.pi * np.sqrt(np.linalg.det(S)))
    inverse = np.linalg.inv(S)
    found: dict[int, tuple[RealArray, RealArray]] = {}
    for label in (1, -1):
        mass, slope = np.zeros(len(x)), np.zeros_like(x)
        for e in (1, -1):
            pull = (x - e * A - e * label * B) @ inverse
            one = front / 2 * np.exp(-(pull * (x - e * A - e * label * B)).sum(axis=1) / 2)
            mass, slope = mass + one, slope - one[:, None] * pull
        found[label] = mass, slope
    return Grid(x, found[1][0], found[-1][0], found[1][1], found[-1][1])


def agop(plane: Grid) -> RealArray:
    """Of P(y = 1 | x), equal priors, under the mixture."""
    whole = plane.plus + plane.minus
    cross = plane.plus_slope * plane.minus[:, None] - plane.minus_slope * plane.plus[:, None]
    gradient = np.divide(
        cross, whole[:, None] ** 2, out=np.zeros_like(cross), where=whole[:, None] > 1e-150
    )
    return np.asarray((gradient * (whole / 2)[:, None]).T @ gradient)


def soft_agop(first: Any, second: Any, sigma: Any, slope: float, size: int = 600) -> RealArray:
    """Of σ(β uᵀx wᵀx) under N(0, Σ), gradient by the chain rule."""
    u, w, S = (np.asarray(v, dtype=float) for v in (first, second, sigma))
    axes = [np.linspace(-r, r, size) for r in 9 * np.sqrt(np.diag(S))]
    x = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    mass = np.exp(-(x * (x @ np.linalg.inv(S))).sum(axis=1) / 2)
    s, t = x @ u, x @ w
    eta = 1 / (1 + np.exp(-slope * s * t))
    gradient = (slope * eta * (1 - eta))[:, None] * (t[:, None] * u + s[:, None] * w)
    return np.asarray((gradient * (mass / mass.sum())[:, None]).T @ gradient)


@lru_cache(maxsize=4)
def first_coefficient(p: float, q: float) -> float:
    """Of e₁e₁ᵀp² in the AGOP of features p and q along the axes, Σ = I."""
    return float(agop(grid([p, 0], [0, q], np.eye(2)))[0, 0]) / p**2


@lru_cache(maxsize=4)
def soft_moments(kappa: float, rho: float) -> RealArray:
    """The AGOP of unit features along the axes, times 16/κ²."""
    S = [[1, rho], [rho, 1]]
    return np.asarray(soft_agop([1, 0], [0, 1], S, kappa) * 16 / kappa**2)


def area(score: RealArray, plus: RealArray, minus: RealArray) -> float:
    """P(score₊ > score₋) + ½P(equal) of weighted points."""
    _, place = np.unique(score, return_inverse=True)
    upper, lower = (np.bincount(place, weights=w) for w in (plus, minus))
    below = np.cumsum(lower) - lower
    return float(upper @ (below + lower / 2) / (upper.sum() * lower.sum()))


def quadrant_error(p: float, q: float) -> float:
    """½∫min(p₊, p₋) of the four Gaussians at (±p, ±q) with unit covariance, by quadrants."""
    nodes, weights = np.polynomial.legendre.leggauss(80)

    def half(m: float) -> tuple[RealArray, RealArray]:
        reach = m + 10
        return (nodes + 1) * reach / 2, weights * reach / 2

    (X, v), (Y, w) = half(p), half(q)

    def density(e: int, f: int) -> RealArray:
        return np.outer(np.exp(-((X - e * p) ** 2) / 2), np.exp(-((Y - f * q) ** 2) / 2))

    plus, minus = density(1, 1) + density(-1, -1), density(1, -1) + density(-1, 1)
    return float(v @ np.minimum(plus, minus) @ w) / np.pi / 2


@lru_cache(maxsize=16)
def product_area(p: Any, q: Any) -> Any:
    """P(XY > X'Y'), X ~ N(p, 1), X' ~ N(p, 1), Y ~ N(q, 1), Y' ~ N(−q, 1), by Gil-Pelaez.

    E e^{itXY} = E e^{itpY − t²Y²/2}, a Gaussian integral over Y; XY − X'Y' has its square.
    """
    p, q = MP.mpf(p), MP.mpf(q)

    def characteristic(t: Any) -> Any:
        exponent = (MP.mpc(0, 1) * t * p * q - t**2 * (p**2 + q**2) / 2) / (1 + t**2)
        return MP.exp(exponent) / MP.sqrt(1 + t**2)

    def height(t: Any) -> Any:
        return MP.im(characteristic(t) ** 2) / t

    return MP.mpf(1) / 2 + MP.quad(height, [0, 0.5, 1, 2, 4, 16, MP.inf]) / MP.pi


@lru_cache(maxsize=8)
def threshold_error(p: Any) -> Any:
    """Of X + Y > p, X and Y ~ N(±p, 1) with four sign pairs: by integrals over half-lines."""
    p = MP.mpf(p)

    def beyond(mean: Any) -> Any:
        density = lambda x: MP.exp(-((x - mean) ** 2) / 4) / MP.sqrt(4 * MP.pi)  # noqa: E731
        return MP.quad(density, [p, p + 2, p + 5, p + 10, p + 25])

    missed = 1 - (beyond(2 * p) + beyond(-2 * p)) / 2
    return (missed + beyond(MP.mpf(0))) / 2


def class_logarithms(x: Any, first: Any, second: Any, sigma: Any) -> tuple[Any, Any]:
    """Logarithms of the classes' densities at one point, with many digits."""
    S = MP.matrix(sigma.tolist())
    inverse = S**-1

    def mixture(label: int) -> Any:
        total = MP.mpf(0)
        for e in (1, -1):
            y = MP.matrix(
                [a - e * b - e * label * c for a, b, c in zip(x, first, second, strict=True)]
            )
            total += MP.exp(-(y.T * inverse * y)[0] / 2)
        return MP.log(total / 2)

    return mixture(1), mixture(-1)
