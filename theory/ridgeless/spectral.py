"""A kernel given by its spectral density alone."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import integrate

from ..validation import integer, positive
from .kernels import Floats, Kernel, coordinates

# Direct terms on each side of a line; then Gregory's end correction takes over.
LINE = 48
# Coefficients of Gregory's formula: Σ_{m≥M} f(m) = ∫_M^∞ f + Σ_j G_j Δ^j f(M).
GREGORY = (1 / 2, -1 / 12, 1 / 24, -19 / 720, 3 / 160, -863 / 60480, 275 / 24192, -33953 / 3628800)
# The largest number of evaluations of the density that one call may cost.
EVALUATIONS = 10**8
# Points per block of a cube sum.
BLOCK = 2**20


class SpectralKernel(Kernel):
    """A kernel whose spectral density φ̂ the user gives; φ(0) = ∫ φ̂ need not be 1.

    Args:
        spectral_density: φ̂(ξ) ≥ 0 as a vectorised function of an array of shape (...,) if
            dimension = 1, else (..., dimension); even, and summable over Z^dimension.
        dimension: d.
        tolerance: Largest relative truncation error of the alias sums that is accepted.

    Raises:
        TypeError: If the density is not callable.
        ValueError: If it is negative, not finite, not even or not summable at the probed points,
            the frequencies ±2^j of j = −20, …, 60 along the axes and the diagonal.
    """

    def __init__(
        self,
        spectral_density: Callable[[Any], Any],
        dimension: int = 1,
        tolerance: float = 1e-6,
    ) -> None:
        if not callable(spectral_density):
            raise TypeError(f"spectral_density = {spectral_density!r} must be a function of ξ")
        self.dimension = integer("dimension", dimension, 1)
        self.tolerance = positive("tolerance", tolerance)
        self._density = spectral_density
        self._check_density()

    def __repr__(self) -> str:
        return f"SpectralKernel({self._density!r}, dimension={self.dimension})"

    def _values(self, xi: Floats) -> Floats:
        """φ̂ at points of shape (..., d), checked."""
        with np.errstate(over="ignore"):  # the tail is probed up to |ξ| = 1e61, where φ̂ = 1/∞ = 0
            values = np.asarray(self._density(xi[..., 0] if self.dimension == 1 else xi), float)
        if values.shape != xi.shape[:-1]:
            raise ValueError(
                f"spectral_density returned shape {values.shape}, it must be {xi.shape[:-1]}"
            )
        bad = ~(np.isfinite(values) & (values >= 0))
        if bad.any():
            where = xi[bad][0].tolist()
            raise ValueError(
                f"spectral_density({where}) = {values[bad][0]!r} must be finite and >= 0"
            )
        return values

    def _check_density(self) -> None:
        radii = 2.0 ** np.arange(-20, 61)
        directions = np.vstack([np.eye(self.dimension), np.ones((1, self.dimension))])
        points = radii[:, np.newaxis, np.newaxis] * directions
        values, mirrored = self._values(points), self._values(-points)
        if not np.allclose(values, mirrored, rtol=1e-12, atol=0):
            raise ValueError("spectral_density must be even: φ̂(−ξ) = φ̂(ξ), φ is real")
        # Cauchy's condensation test: Σ φ̂ converges as Σ_j 2^{jd} φ̂(2^j) does.
        shells = (radii**self.dimension * values.max(axis=-1))[-31:]
        if np.any(shells[1:] > 0.95 * shells[:-1]):
            raise ValueError(
                "spectral_density is not summable, or decays too slowly to be summed: "
                f"2^(jd) φ̂(2^j) falls only from {shells[0]:.3g} to {shells[-1]:.3g} over 30 "
                "doublings; it must fall by 5 % per doubling"
            )

    def spectral_density(self, xi: Any) -> Any:  # noqa: D102
        return self._values(coordinates(xi, self.dimension, "xi"))

    def log_density(self, xi: Floats) -> Floats:  # noqa: D102
        with np.errstate(divide="ignore"):
            return np.log(self._values(xi))

    def kernel(self, x: Any) -> Any:
        """Return φ(x) = ∫ φ̂(ξ) cos(2πξ·x) dξ: adaptive in d = 1, else the trapezoidal rule.

        Raises:
            ArithmeticError: If the integral does not settle to 1e-8 of its size.
        """
        points = coordinates(x, self.dimension)
        if self.dimension == 1:
            return np.vectorize(self._cosine_transform, otypes=[float])(points[..., 0])
        reach = self._reach()
        previous = self._fourier_sum(points, reach, 32)
        for nodes in (64, 128, 256, 512, 1024):
            if nodes**self.dimension > EVALUATIONS / max(points[..., 0].size, 1):
                break
            current = self._fourier_sum(points, reach, nodes)
            if np.allclose(current, previous, rtol=1e-8, atol=1e-8 * abs(current).max()):
                return current
            previous = current
        raise ArithmeticError("φ(x) = ∫ φ̂ cos(2πξ·x) dξ did not settle to 1e-8")

    def _cosine_transform(self, x: float) -> float:
        def density(xi: float) -> float:
            return float(self._values(np.array([[xi]]))[0])

        weight = {"weight": "cos", "wvar": 2 * math.pi * abs(x)} if x else {}
        value, error = integrate.quad(density, 0, math.inf, epsabs=1e-10, limit=200, **weight)
        if not error <= 1e-8 * max(1.0, abs(value)):
            raise ArithmeticError(f"φ({x!r}) did not settle: {2 * value!r} ± {2 * error:.1g}")
        return 2 * float(value)

    def _reach(self) -> float:
        """A radius beyond which 2^{jd} φ̂(2^j) is below 1e−10 of its maximum."""
        radii = 2.0 ** np.arange(-20, 61)
        diagonal = np.multiply.outer(radii, np.ones(self.dimension))
        shells = radii**self.dimension * self._values(diagonal)
        return 2 * float(radii[np.nonzero(shells > 1e-10 * shells.max())[0][-1]])

    def _fourier_sum(self, points: Floats, reach: float, nodes: int) -> Floats:
        """Trapezoidal rule after ξ = sinh(u), which suits algebraic and exponential decay alike."""
        u, step = np.linspace(-math.asinh(reach), math.asinh(reach), 2 * nodes + 1, retstep=True)
        line, jacobian = np.sinh(u), np.cosh(u) * step
        xi = np.stack(np.meshgrid(*[line] * self.dimension, indexing="ij"), axis=-1)
        weights = self._values(xi)
        for axis in range(self.dimension):
            weights = weights * np.moveaxis(jacobian.reshape(-1, *[1] * (xi.ndim - 2)), 0, axis)
        flat = points.reshape(-1, self.dimension)
        phases = np.tensordot(flat, xi.reshape(-1, self.dimension).T, axes=1)
        return (np.cos(2 * math.pi * phases) @ weights.ravel()).reshape(points.shape[:-1])

    def alias_excess(self, spacing: float, axes: Sequence[Floats]) -> tuple[Floats, Floats, float]:
        """Return E₁, E₂ of `theory.ridgeless.alias` and an estimate of their truncation error.

        Raises:
            ValueError: If φ̂(cθ) vanishes (the kernel matrix is singular in double precision), or
                if the tolerance is not reached.
        """
        theta = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        nearest = self._values(spacing * theta)
        if not np.all(nearest > 0):
            where = (spacing * theta[nearest == 0][0]).tolist()
            raise ValueError(f"spectral_density({where}) is 0: use a smaller bandwidth")
        sums = self._line_sums if self.dimension == 1 else self._cube_sums
        (first, error), (second, _) = (sums(spacing, theta, power) for power in (1, 2))
        relative = float(np.max(error / nearest / (1 + first / nearest)))
        if not relative <= self.tolerance:
            raise ValueError(
                f"alias sums of the spectral density are known to {relative:.1g} only; allow it by "
                f"tolerance (now {self.tolerance:g}) or give a density that decays faster"
            )
        return first / nearest, second / nearest**2, relative

    def _line_sums(self, spacing: float, theta: Floats, power: int) -> tuple[Floats, Floats]:
        """Lines: LINE direct terms a side and Gregory's end correction, against half as many."""
        x = theta[..., 0]
        fine, coarse = (
            self._half_line(spacing, x, power, terms) + self._half_line(spacing, -x, power, terms)
            for terms in (LINE, LINE // 2)
        )
        return fine, np.abs(fine - coarse)

    def _half_line(self, spacing: float, theta: Floats, power: int, terms: int) -> Floats:
        """Σ_{m≥1} φ̂(c(θ+m))^power."""

        def f(m: Floats | float) -> Floats:
            return self._values((spacing * (theta + m))[..., np.newaxis]) ** power

        total = sum((f(m) for m in range(1, terms)), start=np.zeros_like(theta))
        ends = [f(terms + j) for j in range(len(GREGORY))]
        for weight in GREGORY:
            total = total + weight * ends[0]
            ends = [b - a for a, b in itertools.pairwise(ends)]
        return total + self._tail_integral(spacing, theta, power, terms)

    def _tail_integral(self, spacing: float, theta: Floats, power: int, start: int) -> Floats:
        """∫_{start+θ}^∞ φ̂(cx)^power dx: dyadic panels from `start`, less the piece up to θ."""
        nodes, weights = np.polynomial.legendre.leggauss(20)
        panels = start * 2.0 ** np.arange(0, 200)[:, np.newaxis]
        x = panels * (1.5 + nodes / 2)
        far = float(np.sum(panels / 2 * weights * self._values(spacing * x[..., None]) ** power))
        near = np.multiply.outer(theta, (1 + nodes) / 2) + start
        piece = theta / 2 * (self._values(spacing * near[..., None]) ** power @ weights)
        return far - piece

    def _cube_sums(self, spacing: float, theta: Floats, power: int) -> tuple[Floats, Floats]:
        """Planes and up: cubes of doubling side; the last two shells tell the tail."""
        total, shell = np.zeros(theta.shape[:-1]), np.zeros(theta.shape[:-1])
        inner, outer = 0, 2
        while True:
            previous, shell = shell, self._shell(spacing, theta, power, inner, outer)
            total = total + shell
            ratio = np.clip(shell / np.where(previous > 0, previous, np.inf), 0, 0.9)
            error = shell * np.maximum(ratio, 0.5) / (1 - np.maximum(ratio, 0.5))
            settled = inner and np.all(error <= 1e-16 * total)
            if settled or theta.size * (4 * outer + 1) ** self.dimension > EVALUATIONS:
                return total, error
            inner, outer = outer, 2 * outer

    def _shell(self, spacing: float, theta: Floats, power: int, inner: int, outer: int) -> Floats:
        """Σ φ̂(c(θ+m))^power over inner < max|m_i| ≤ outer, in blocks that fit the memory."""
        line = np.arange(-outer, outer + 1.0)
        m = np.stack(np.meshgrid(*[line] * self.dimension, indexing="ij"), axis=-1)
        m = m[np.abs(m).max(axis=-1) > inner]
        points = theta.reshape(-1, 1, self.dimension)
        total = np.zeros(len(points))
        for block in np.array_split(m, math.ceil(m.shape[0] * len(points) / BLOCK)):
            total += np.sum(self._values(spacing * (points + block)) ** power, axis=-1)
        return total.reshape(theta.shape[:-1])
