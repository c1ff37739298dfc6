"""Sums of powers over the lattice, Σ_m (a² + |x + m|²)^{-s}, that decay too slowly to be truncated.

The Euler–Maclaurin formula replaces the far terms of a line by an integral and derivatives at its
end; far lines and planes are replaced by their integrals alone, whose error the same formula
bounds, because nothing remains at infinity.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from scipy.special import bernoulli, beta, binom

from ..validation import RealArray

NEAR = 8
"""Terms |m| <= NEAR of a line are summed one by one."""
ORDER = 12
"""Number of Bernoulli terms."""

_BERNOULLI = bernoulli(2 * ORDER)


def power_sum(x: RealArray, a2: RealArray, s: float) -> RealArray:
    """Σ over m in Z^d of (a² + |x + m|²)^{-s}, d = 1, 2, 3, s in {1, 3/2, 2}, s > d/2.

    Args:
        x: Points with |x_i| <= 1/2, shape (P, d).
        a2: a² > 0, shape (P,).
        s: Exponent.

    Returns:
        The sums, shape (P,), truncated with an error of at most `power_sum_error`.
    """
    last, rest = x[:, -1], x[:, :-1]
    near = range(-NEAR, NEAR + 1)
    if rest.shape[1] == 0:
        direct = sum((a2 + (last + m) ** 2) ** -s for m in near)
        return np.asarray(direct + _outside(last, a2, s))
    layers = sum(power_sum(rest, a2 + (last + m) ** 2, s) for m in near)
    return np.asarray(layers + _far_layers(rest.shape[1], last, a2, s))


def _far_layers(k: int, last: RealArray, a2: RealArray, s: float) -> RealArray:
    # ∫ over R^k of (A² + |y|²)^{-s} dy = π^{k/2} Γ(s - k/2)/Γ(s) A^{k-2s}
    constant = math.pi ** (k / 2) * math.gamma(s - k / 2) / math.gamma(s)
    return np.asarray(constant * _outside(last, a2, s - k / 2))


def _outside(x: RealArray, a2: RealArray, s: float) -> RealArray:
    """Σ over integers |m| > NEAR of (a² + (x + m)²)^{-s}."""
    return tail_sum(NEAR + 1 + x, a2, s) + tail_sum(NEAR + 1 - x, a2, s)


def tail_sum(t: RealArray, a2: RealArray, s: float) -> RealArray:
    """Σ_{k>=0} f(t + k), f(t) = (a² + t²)^{-s}, by the Euler–Maclaurin formula.

    Σ = ∫_t^∞ f + f(t)/2 - Σ_{j<=p} B_{2j}/(2j) τ_{2j-1} + R, where τ_i = f^{(i)}(t)/i! are Taylor
    coefficients, and |R| <= |B_{2p}| ∫ |τ_{2p}|.
    """
    r2 = a2 + t**2
    previous, coefficient = np.zeros_like(r2), r2**-s
    total = _integral(t, a2, s) + coefficient / 2
    for i in range(2 * ORDER - 1):
        # From (a² + t²) f' = -2 s t f, expanded about t.
        step = -(2 * t * (i + s) * coefficient + (i - 1 + 2 * s) * previous) / (r2 * (i + 1))
        previous, coefficient = coefficient, step
        total -= _BERNOULLI[i + 2] / (i + 2) * coefficient if i % 2 == 0 else 0.0
    return total


def _integral(t: RealArray, a2: RealArray, s: float) -> RealArray:
    """∫_t^∞ (a² + u²)^{-s} du for s = 1, 3/2, 2."""
    a, r2 = np.sqrt(a2), a2 + t**2
    if s == 1:
        return np.arctan2(a, t) / a
    if s == 1.5:
        return 1 / (np.sqrt(r2) * (np.sqrt(r2) + t))
    if s == 2:
        return (np.arctan2(a, t) / a - t / r2) / (2 * a2)
    raise ValueError(f"s = {s!r} must be 1, 3/2 or 2")


@cache
def power_sum_error(dimension: int, s: float) -> float:
    """A bound on the truncation error of `power_sum`, uniform in x and a.

    Each Taylor coefficient obeys |τ_i(t)| <= binom(i + 2s - 1, i) (a² + t²)^{-s-i/2} (a Gegenbayer
    polynomial is largest at 1); the bound drops a and takes the worst x.
    """
    ends = 2 * _end_remainder(s)
    if dimension == 1:
        return ends
    k = dimension - 1
    constant = math.pi ** (k / 2) * math.gamma(s - k / 2) / math.gamma(s)
    inside = (2 * NEAR + 1) * power_sum_error(k, s)
    replaced = 2 * sum(_layer_remainders(k, s))
    return float(inside + replaced + constant * 2 * _end_remainder(s - k / 2))


def _end_remainder(s: float) -> float:
    """Bound on R of `tail_sum` with t >= NEAR + 1/2."""
    q = 2 * s + 2 * ORDER - 1
    return float(_taylor(s) * (NEAR + 0.5) ** -q / q)


def _taylor(s: float) -> float:
    return abs(float(_BERNOULLI[-1])) * float(binom(2 * ORDER + 2 * s - 1, 2 * ORDER))


def _layer_remainders(k: int, s: float) -> list[float]:
    """Bounds on Σ over far layers of |Σ_{Z^k} - ∫_{R^k}|, one coordinate replaced at a time."""
    bounds = []
    for replaced in range(k):
        power = s - replaced / 2
        constant = math.pi ** (replaced / 2) * math.gamma(power) / math.gamma(s)
        q = 2 * power + 2 * ORDER - 1
        bound = constant * _taylor(power) * float(beta(0.5, power + ORDER - 0.5))
        for _ in range(k - 1 - replaced):  # the other coordinates, still summed over Z
            bound *= 2 / (NEAR + 0.5) + float(beta(0.5, (q - 1) / 2))
            q -= 1
        bounds.append(bound * (NEAR + 0.5) ** -q * (1 + (NEAR + 0.5) / (q - 1)))
    return bounds
