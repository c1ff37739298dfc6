"""Alias sums Σ_m φ̂(c(θ+m)) and Σ_m φ̂(c(θ+m))² over Z^d, to full relative accuracy.

On the grid of n^d points the frequencies l + n·Z^d cannot be told apart. All risk formulas need
only two sums per alias class, divided by the term of the nearest frequency, θ = l/n in [0, ½]^d:

    S̃(θ) = Σ_m φ̂(c(θ+m)) / φ̂(cθ) = 1 + E₁,     Q̃(θ) = Σ_m φ̂(c(θ+m))² / φ̂(cθ)² = 1 + E₂.

`alias_excess` returns E₁ and E₂, sums of positive terms, so that 1 − r₀ = E₁/(1+E₁) keeps all its
digits and nothing underflows. Isotropic kernels in d ≥ 2 have slowly converging, non-separable
sums; they are Gaussian scale mixtures, φ̂(ξ) = Σ_q w_q e^{−t_q|ξ|²} up to a bounded relative error
(the trapezoidal rule in log t), and a Gaussian separates over coordinates. On a tensor grid each
sum is then one matrix product.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.polynomial import chebyshev
from scipy import special

from .kernels import Cauchy, Floats, Gaussian, Kernel, Matern, Product
from .spectral import SpectralKernel

# A term below e^{−39} = 1.2e−17 of the nearest one is dropped.
DIGITS = 39.0
DROPPED = math.exp(-DIGITS)
# Below this t the theta function Σ_m e^{−t(θ+m)²} is √(π/t), to 2 e^{−π²/t} = 2 DROPPED.
SMALL = math.pi**2 / DIGITS
# Taylor terms of e^{−t|θ|²} for t ≤ SMALL and |θ|² ≤ 3/4: the next one is below 1e−18.
TAYLOR = 13
# From this c on the exponential density needs only a few direct terms.
DIRECT = 6.0
# Beyond these bandwidths c and this Matérn ν, powers leave the range of doubles.
SMALLEST, LARGEST = 1e-30, 1e30
SMOOTHEST = 200.0
# A line longer than LONG is interpolated: Σ_{m≠0} is analytic in θ² up to |θ²| = 1.
LONG, DEGREE = 256, 18


@dataclass(frozen=True)
class AliasExcess:
    """E₁ and E₂ on the tensor grid of the axes.

    Attributes:
        first: E₁ = Σ_{m≠0} φ̂(c(θ+m)) / φ̂(cθ).
        second: E₂ = Σ_{m≠0} φ̂(c(θ+m))² / φ̂(cθ)².
        truncation: Bound of the relative error of both that truncation causes (rounding excluded);
            for a user's spectral density, of which nothing is known, an estimate.
    """

    first: Floats
    second: Floats
    truncation: float


def alias_excess(kernel: Kernel, spacing: float, axes: Sequence[Floats]) -> AliasExcess:
    """Return S̃ − 1 and Q̃ − 1 at every point of the tensor grid of `axes`.

    Args:
        kernel: The kernel φ.
        spacing: c = bandwidth × n, the bandwidth in grid spacings.
        axes: One array of θ in [0, ½] per dimension; shapes (n_1,), …, (n_d,).

    Returns:
        Arrays of shape (n_1, …, n_d).

    Raises:
        TypeError: If the kernel is not one of this package's.
        ValueError: If c is so small or large, or a Matérn kernel so smooth, that doubles would
            overflow.
    """
    if not SMALLEST <= spacing <= LARGEST:
        raise ValueError(
            f"bandwidth × n = {spacing!r} must be between {SMALLEST:g} and {LARGEST:g}"
        )
    if isinstance(kernel, Gaussian):
        return _separable([_gaussian_line(spacing, axis) for axis in axes])
    if isinstance(kernel, Product):
        return _separable([alias_excess(kernel.factor, spacing, [axis]) for axis in axes])
    if isinstance(kernel, SpectralKernel):
        return AliasExcess(*kernel.alias_excess(spacing, axes))
    if isinstance(kernel, Cauchy):
        return _exponential(spacing, axes)
    if isinstance(kernel, Matern):
        return _power(kernel, spacing, axes)
    raise TypeError(f"kernel = {kernel!r} is unknown; use a kernel of theory.ridgeless")


def squared_norm(axes: Sequence[Floats]) -> Floats:
    """Return |θ|² on the tensor grid."""
    return reduce(np.add.outer, [axis**2 for axis in axes])


# ── separable kernels ────────────────────────────────────────────────────────────────────────────


def _separable(lines: Sequence[AliasExcess]) -> AliasExcess:
    """Join one-dimensional sums by 1 + E = Π(1 + E_i), without subtracting the 1."""

    def join(total: Floats, line: Floats) -> Floats:
        grown = total[..., np.newaxis]
        return grown + line + grown * line

    first = reduce(join, [line.first for line in lines])
    second = reduce(join, [line.second for line in lines])
    return AliasExcess(first, second, sum(line.truncation for line in lines))


def _gaussian_line(spacing: float, theta: Floats) -> AliasExcess:
    """One-dimensional Gaussian, φ̂(cξ) ∝ e^{−aξ²} with a = 2π²c²."""
    a = 2 * (math.pi * spacing) ** 2
    return AliasExcess(_gaussian_excess(a, theta), _gaussian_excess(2 * a, theta), 4 * DROPPED)


def _gaussian_excess(a: float, theta: Floats) -> Floats:
    """Σ_{m≠0} e^{−a(θ+m)²} e^{aθ²}: directly for a ≥ 1, by Poisson summation for a < 1."""
    if a >= 1:
        reach = 1 + math.isqrt(math.ceil(DIGITS / a)) + 1
        decays = [np.exp(-a * m * (m - 2 * theta)) for m in range(-reach, reach + 1) if m]
        return sum(decays, start=np.zeros_like(theta))
    reach = 1 + math.isqrt(math.ceil(DIGITS * a / math.pi**2))
    waves = [
        2 * math.exp(-((math.pi * k) ** 2) / a) * np.cos(2 * math.pi * k * theta)
        for k in range(1, reach + 1)
    ]
    full = math.sqrt(math.pi / a) * sum(waves, start=np.ones_like(theta))
    return full * np.exp(a * theta**2) - 1


# ── isotropic kernels as Gaussian scale mixtures ─────────────────────────────────────────────────


@dataclass(frozen=True)
class Mixture:
    """Weights of Σ_j w_j e^{−t_j|ξ|²} at t_j = e^{jh}, for the first and the second power of φ̂.

    Attributes:
        nodes: t_j, increasing; shape (R,).
        weights: w_j for φ̂ and for φ̂²; shape (2, R).
        constants: What the nodes below nodes[0] add to Σ_m, where the theta function is √(π/t),
            and to the term m = 0, where e^{−t|θ|²} is 1; shape (2, 2).
        error: Bound of the relative error.
    """

    nodes: Floats
    weights: Floats
    constants: Floats
    error: float

    def excess(self, axes: Sequence[Floats]) -> Floats:
        """Return Σ_{m≠0} Σ_j w_j e^{−t_j|θ+m|²} for both powers; shape (2, n_1, …, n_d)."""
        split = int(np.searchsorted(self.nodes, SMALL))
        return self._slow(axes, split) + self._fast(axes, split)

    def _slow(self, axes: Sequence[Floats], split: int) -> Floats:
        """Nodes t ≤ SMALL: the full theta function is a constant, m = 0 a Taylor series in |θ|²."""
        t, w = self.nodes[:split], self.weights[:, :split]
        everything = w @ (math.pi / t) ** (len(axes) / 2) + self.constants[:, 0]
        orders = np.arange(TAYLOR)
        moments = w @ (-t[:, np.newaxis]) ** orders / special.factorial(orders)
        moments[:, 0] += self.constants[:, 1]
        radii = squared_norm(axes)
        return np.stack(
            [
                total - np.polynomial.polynomial.polyval(radii, moment)
                for total, moment in zip(everything, moments, strict=True)
            ]
        )

    def _fast(self, axes: Sequence[Floats], split: int) -> Floats:
        """Nodes t > SMALL: Π(x_i + y_i) − Πx_i as a sum of products, x_i the term m_i = 0."""
        t, w = self.nodes[split:], self.weights[:, split:]
        own = [np.exp(-np.multiply.outer(t, axis**2)) for axis in axes]
        others = [_theta_others(t, axis) for axis in axes]
        total = np.zeros((2, *(axis.size for axis in axes)))
        for i in range(len(axes)):
            full = [x + y for x, y in zip(own[i + 1 :], others[i + 1 :], strict=True)]
            total += _tensor_product(w, [*own[:i], others[i], *full])
        return total


def _theta_others(t: Floats, theta: Floats) -> Floats:
    """Σ_{m≠0} e^{−t(θ+m)²} for t > SMALL and 0 ≤ θ ≤ ½; shape (R, n)."""
    reach = 2 + math.isqrt(math.ceil(DIGITS / SMALL))
    return sum(
        (np.exp(-np.multiply.outer(t, (theta + m) ** 2)) for m in range(-reach, reach + 1) if m),
        start=np.zeros((t.size, theta.size)),
    )


def _tensor_product(weights: Floats, factors: Sequence[Floats]) -> Floats:
    """Σ_j w_j ⊗_i factors[i][j]: one matrix product over the last axis."""
    *front, last = factors
    shape = [len(weights), *(factor.shape[1] for factor in factors)]
    left = weights
    for factor in front:  # a column-wise Kronecker product, still indexed by j at the end
        left = (left[:, np.newaxis, :] * factor.T[np.newaxis]).reshape(-1, weights.shape[1])
    return (left @ last).reshape(shape)


def _power(kernel: Matern, spacing: float, axes: Sequence[Floats]) -> AliasExcess:
    """φ̂(cξ) ∝ (a² + |ξ|²)^{−s}, Matérn: E = (a² + |θ|²)^s Σ_{m≠0} (a² + |θ+m|²)^{−s}."""
    if kernel.smoothness > SMOOTHEST:
        raise ValueError(f"nu = {kernel.nu!r} must be at most {SMOOTHEST:g}; Gaussian is the limit")
    a2 = float(kernel.smoothness) / (2 * (math.pi * spacing) ** 2)
    s = float(kernel.decay)
    mixture = power_mixture(s, a2, len(axes))
    long = len(axes) == 1 and axes[0].size > LONG
    unscaled = _interpolated(mixture, axes[0]) if long else mixture.excess(axes)
    base = (a2 + squared_norm(axes)) / (a2 + 0.25)
    return AliasExcess(unscaled[0] * base**s, unscaled[1] * base ** (2 * s), mixture.error)


def _interpolated(mixture: Mixture, theta: Floats) -> Floats:
    """On a long line Σ_{m≠0} is a polynomial in θ²: its nearest singularity is at θ² = 1."""
    nodes = chebyshev.chebpts1(DEGREE + 1)
    values = mixture.excess([np.sqrt((1 + nodes) / 8)])
    fits = chebyshev.chebfit(nodes, values.T, DEGREE)
    return np.asarray(chebyshev.chebval(8 * theta**2 - 1, fits), dtype=np.float64)


def power_mixture(s: float, a2: float, dimension: int) -> Mixture:
    r"""Return ((a²+r²)/(a²+¼))^{−s} and its square as sums of Gaussians, for all r ≥ ½ at once.

    A^{−s} = Γ(s)^{−1} ∫ e^{su − A e^u} du. On the line Im u = v the integrand is at most
    Γ(s) (A cos v)^{−s}, so the trapezoidal rule of step h has a *relative* error of at most
    2 (cos v)^{−s} / (e^{2πv/h} − 1), whatever A > 0 is.

    Args:
        s: Exponent, s > dimension/2.
        a2: a² > 0.
        dimension: d.
    """
    powers = np.array([s, 2 * s])
    step = _trapezoid_step(lambda v: -2 * s * np.log(np.cos(v)))
    lowest = math.floor((math.log(SMALL / max(1.0, a2)) - DIGITS - 3) / step)
    largest = special.gammainccinv(2 * s, DROPPED) / (a2 + 0.25)
    u = step * np.arange(lowest, math.ceil(math.log(max(largest, SMALL)) / step) + 1)
    # In logarithms: for large s or a, neither 1/Γ(s) nor (a² + ¼)^s is a double.
    log_scale = math.log(step) + powers * math.log(a2 + 0.25) - special.gammaln(powers)
    log_scale = log_scale[:, np.newaxis]
    weights = np.exp(log_scale + np.multiply.outer(powers, u) - a2 * np.exp(u))
    # Below the lowest node the two integrands are pure powers: geometric series.
    rates = powers[:, np.newaxis] - np.array([dimension / 2, 0])
    gauss = np.array([math.pi ** (dimension / 2), 1.0])
    constants = gauss * np.exp(log_scale + rates * u[0]) / np.expm1(rates * step)
    return Mixture(np.exp(u), weights, constants, 6 * DROPPED)


def _trapezoid_step(log_growth: Callable[[Floats], Floats]) -> float:
    """The largest step h with growth(v) · 2/(e^{2πv/h} − 1) ≤ DROPPED for some strip |Im u| < v."""
    v = np.linspace(0.3, 1.5, 61)
    return float(np.max(2 * math.pi * v / (DIGITS + 1 + log_growth(v))))


def _exponential(spacing: float, axes: Sequence[Floats]) -> AliasExcess:
    """φ̂(cξ) ∝ e^{−2πc|ξ|}, Cauchy; φ̂² is the same with 2c."""
    rates = (2 * math.pi * spacing, 4 * math.pi * spacing)
    if len(axes) == 1:
        first, second = (_geometric(rate, axes[0]) for rate in rates)
        return AliasExcess(first, second, 0.0)
    if spacing >= DIRECT:
        dropped = 2 * (2 * math.ceil(DIGITS / rates[0] + 2) + 1) ** len(axes) * DROPPED
        first, second = (_direct(rate, axes) for rate in rates)
        return AliasExcess(first, second, dropped)
    mixture = exponential_mixture(spacing)
    norm = np.sqrt(squared_norm(axes))
    first, second = mixture.excess(axes)
    return AliasExcess(
        first * np.exp(rates[0] * norm), second * np.exp(rates[1] * norm), mixture.error
    )


def _geometric(rate: float, theta: Floats) -> Floats:
    """Σ_{m≠0} e^{−rate(|θ+m| − |θ|)} in one dimension: two geometric series."""
    return (math.exp(-rate) + np.exp(-rate * (1 - 2 * theta))) / -math.expm1(-rate)


def _direct(rate: float, axes: Sequence[Floats]) -> Floats:
    """Σ_{m≠0} e^{−rate(|θ+m| − |θ|)}, skipping what is below DROPPED beside the largest term."""
    reach = math.ceil(DIGITS / rate + 1 + math.sqrt(len(axes)))
    norm = np.sqrt(squared_norm(axes))
    total = np.zeros_like(norm)
    # At the corner θ_i = min axis_i the nearest m = −e_i is farthest: 1 away if that is the origin.
    corner = np.array([axis.min() for axis in axes])
    distances = [float(np.linalg.norm(corner - e)) for e in np.eye(len(axes))]
    nearest = min(distances) - float(np.linalg.norm(corner))
    for m in itertools.product(range(-reach, reach + 1), repeat=len(axes)):
        if any(m) and rate * (_detour(m) - max(nearest, 0.0)) < DIGITS:
            far = np.sqrt(squared_norm([axis + i for axis, i in zip(axes, m, strict=True)]))
            total += np.exp(-rate * (far - norm))
    return total


def _detour(m: Sequence[int]) -> float:
    """A lower bound of |θ+m| − |θ| = (|m|² + 2θ·m)/(|θ+m| + |θ|) over θ in [0, ½]^d."""
    numerator = sum(i * i + min(i, 0) for i in m)
    return numerator / (math.sqrt(sum(i * i for i in m)) + math.sqrt(len(m)))


def exponential_mixture(spacing: float) -> Mixture:
    r"""Return e^{−z} and e^{−2z}, z = 2πc|ξ|, as sums of Gaussians, for c ≤ DIRECT.

    e^{−z} = π^{−1/2} ∫ e^{−u − z²/(4u)} u^{−1/2} du with u = π²c²/t. In log u the integrand grows
    by at most e^{z(1 − cos v)} (cos v)^{−1/2} off the real line: the trapezoidal rule applies.
    """
    nearest = 4 * math.pi * spacing  # the nearest m ≠ 0 is at most 1 away, for the rate of φ̂²
    step = _trapezoid_step(lambda v: nearest * (1 - np.cos(v)) - np.log(np.cos(v)) / 2)
    smallest = (math.pi * spacing) ** 2 / (2 * DIGITS + nearest)
    largest = 4 * (DIGITS + nearest)
    first = math.floor(math.log(min(smallest, SMALL)) / step)
    t = np.exp(step * np.arange(first, math.ceil(math.log(largest) / step) + 1))
    rates = math.pi * spacing * np.array([[1.0], [2.0]])
    weights = step / math.sqrt(math.pi) * rates / np.sqrt(t) * np.exp(-(rates**2) / t)
    return Mixture(t, weights, np.zeros((2, 2)), 6 * DROPPED)
