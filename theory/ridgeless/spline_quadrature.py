r"""Certified enclosures of the spline constants C(alpha, d), by quadrature of their definition.

Statement: the ball that `spline_enclosure` returns contains

.. math::
    C(\alpha, d) = \int_{[0,1]^d} \frac{\zeta_{2\alpha}(\theta)}{\zeta_\alpha(\theta)^2}\,d\theta,
    \qquad \zeta_\alpha(\theta) = \sum_{m \in \mathbb{Z}^d} |\theta + m|^{-\alpha}.

Source: this project.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from itertools import pairwise, product
from math import ceil, comb, exp, log
from typing import TypeAlias

import sympy
from flint import arb, arb_mat, arb_poly, ctx, fmpq

from .theta_products import below, contract, plus_minus, trapezoidal_error
from .theta_products import thetas as _thetas

# 1. |x|^{-α} = (π^a/Γ(a)) ∫ e^{av} exp(−π e^v |x|²) dv with a = α/2. The trapezoidal rule with
#    step h has a relative error that does not depend on x: by Poisson it is
#    Σ_{k≠0} |Γ(a+2πik/h)|/Γ(a), and |Γ(a+iy)| ≤ Γ(a) (cos ω)^{-a} e^{−ωy}. So a lattice sum is
#    a short sum of products of one-dimensional theta functions, up to that factor.
# 2. With B = ζ_α − |θ|^{-α}, A = ζ_{2α} − |θ|^{-2α} and w = |θ|^α the integrand is
#    (1 + w²A)/(1 + wB)²: smooth off θ = 0, and within [1 − 2wB, 1 + w²A] near it.
# 3. Dyadic shells of cubes around θ = 0, tensor Gauss rules on each, with Bernstein's bound.

Real: TypeAlias = int | float | Fraction | sympy.Rational


def exact_exponent(alpha: Real, dimension: int) -> Fraction:
    """Alpha as an exact fraction, after the two refusals."""
    if isinstance(alpha, bool) or not isinstance(alpha, int | float | Fraction | sympy.Rational):
        raise TypeError(f"alpha must be int, float, Fraction or sympy.Rational, got {alpha!r}")
    if dimension not in (1, 2, 3):
        raise ValueError(f"dimension must be 1, 2 or 3, got {dimension!r}")
    if isinstance(alpha, float) and not abs(alpha) < float("inf"):
        raise ValueError(f"alpha must be finite, got {alpha!r}")
    exact = Fraction(str(alpha)) if isinstance(alpha, sympy.Rational) else Fraction(alpha)
    if exact <= dimension:
        raise ValueError(
            f"alpha must exceed the dimension {dimension}, or the alias sums diverge; got {alpha!r}"
        )
    return exact


def spline_enclosure(alpha: Real, dimension: int = 1, digits: int | None = None) -> arb:
    """Certified enclosure of C(alpha, d) for real alpha > d in d = 1, 2, 3.

    Args:
        alpha: Decay exponent, larger than ``dimension``.
        dimension: 1, 2 or 3.
        digits: Digits aimed at; 20, 12 and 6 for d = 1, 2 and 3 if not given. The radius of the
            returned ball is the proof, not this number.

    Raises:
        ValueError: If alpha <= d or alpha > 32/d, the dimension is not 1, 2, 3, or digits is not
            in 1..30.
        TypeError: If alpha is not a real number of the named types.
    """
    exact = exact_exponent(alpha, dimension)
    wanted = (20, 12, 6)[dimension - 1] if digits is None else digits
    if not 1 <= wanted <= 30:
        raise ValueError(f"digits must be in 1..30, got {digits!r}")
    if exact * dimension > 32:  # the orders of the Gauss rules grow with alpha
        raise ValueError(f"alpha must be at most 32/dimension to be enclosed, got {alpha!r}")
    with ctx.workprec(192 + 12 * ceil(exact)):  # ∏ϑ − e^{−πt|θ|²} cancels, times t^α
        return _integrate(arb(fmpq(exact.numerator, exact.denominator)), dimension, wanted)


def _integrate(alpha: arb, d: int, digits: int) -> arb:
    """2^d times the integral over [0, 1/2]^d: a corner cube and shells of cubes around it."""
    shells = ceil((digits + 2) * log(10) / log(2) / (d + float(alpha.mid())))
    sums = _LatticeSums.build(alpha, d, digits)
    total: arb = _corner(sums, arb(2) ** -(shells + 1))
    # One rule per kind of cell. Shell 0 is its worst case: |λx + m| ≥ λ|x + m| for λ < 1 and
    # |x_i| ≤ 1 ≤ |m_i|, so shrinking a cell towards 0 only lowers the bound of the integrand.
    for high in range(1, d + 1):
        order, error = _gauss_order(alpha, d, high, digits)
        cells = [_cell(sums, shell, high, order) for shell in range(shells)]
        volumes = [arb(2) ** (-d * (shell + 2)) for shell in range(shells)]
        total += comb(d, high) * sum((c + v * error for c, v in zip(cells, volumes, strict=True)))
    total *= 2**d
    return total


# Lattice sums


@dataclass(frozen=True, eq=False)
class _Exponentials:
    """B_α(θ) = Σ_{m≠0}|θ+m|^{-α} as Σ_j weight_j (∏ϑ(θ_i,t_j) − e^{−πt_j|θ|²}) + small-t part."""

    weights: list[arb]
    constant: arb  # the terms with small t, summed as geometric series
    near: arb_poly  # what m = 0 has in them, as a polynomial in |θ|²
    relative_error: arb


@dataclass(frozen=True, eq=False)
class _LatticeSums:
    """What is needed to evaluate A and B at many points."""

    alpha: arb
    d: int
    times: list[arb]  # the t_j, increasing
    first: _Exponentials  # for alpha: B
    second: _Exponentials  # for 2 alpha: A

    @staticmethod
    def build(alpha: arb, d: int, digits: int) -> _LatticeSums:
        """Times from e^{-3.5} to where e^{−πt/4} has beaten t^α by the wanted digits."""
        step = arb(fmpq(1, (5 if digits <= 14 else 10) + ceil(float(alpha.mid()) / 4)))
        low, high = -3.5, 4.0
        while math.pi * exp(high) / 4 < float(alpha.mid()) * (high + 1) + 3 * digits + 20:
            high += 0.1
        first, last = ceil(low / float(step.mid())), ceil(high / float(step.mid()))
        times = [(step * j).exp() for j in range(first, last + 1)]
        by_power = [_exponentials(alpha * k / 2, d, step, times) for k in (1, 2)]
        return _LatticeSums(alpha, d, times, by_power[0], by_power[1])


def _exponentials(a: arb, d: int, step: arb, times: list[arb]) -> _Exponentials:
    """Weights of the trapezoidal rule for |x|^{-2a} and bounds for all that it leaves out."""
    scale = step * arb.pi() ** a / a.gamma()
    first, beyond = times[0], times[-1] * step.exp()
    # Late: Σ_{m≠0} e^{−πt|θ+m|²} ≤ e^{−π(t−1)/4} ϑ(0,1)^d with ϑ(0,1) < 2, as |θ+m| ≥ 1/2.
    # If the next term is less than half of the first one left out, so are all later ratios.
    if not (step * a - arb.pi() * beyond * step.expm1() / 4).exp() < arb(0.5):
        raise ArithmeticError("the last time is too early")  # cannot happen: see build
    late = 2 * arb(2) ** d * beyond**a * (-arb.pi() * (beyond - 1) / 4).exp()
    # Early: ∏ϑ = t^{-d/2}(1+η) with 0 ≤ 1+η ≤ (1 + 4e^{−π/t})^d, by Jacobi's transformation.
    excess = plus_minus((1 + 4 * (-arb.pi() / first).exp()) ** d - 1)
    early = below(first, a - arb(d) / 2, step) * (1 + excess)
    return _Exponentials(
        weights=[scale * t**a for t in times],
        constant=scale * (early + plus_minus(late)),
        near=scale * _own_early_terms(first, a, d, step),
        relative_error=trapezoidal_error(a, step),
    )


def _own_early_terms(first: arb, a: arb, d: int, step: arb) -> arb_poly:
    """Σ t_j^a exp(−π t_j u) over all times before ``first``, as a polynomial in u ≤ d/4."""
    coefficients, factor, degree = [], arb(1), 24
    for p in range(degree):
        coefficients.append(factor * below(first, a + p, step))
        factor *= -arb.pi() / (p + 1)
    # The series alternates and decreases (π t u < 1), so the first omitted term bounds the rest.
    omitted = abs(factor) * below(first, a + degree, step) * (arb(d) / 4) ** degree
    coefficients[0] += plus_minus(omitted)
    return arb_poly(coefficients)


def _sums_on_grid(
    e: _Exponentials, tables: list[tuple[arb_mat, arb_mat]], u: list[arb]
) -> list[arb]:
    """Σ_{m≠0}|θ+m|^{-α} at all points of a tensor grid with squared norms u."""
    full, own = (contract([table[k] for table in tables], e.weights) for k in (0, 1))
    return [
        (f - o + e.constant - e.near(v)) / (1 + e.relative_error)
        for f, o, v in zip(full, own, u, strict=True)
    ]


# Cells


def _corner(sums: _LatticeSums, side: arb) -> arb:
    """Integral over [0, side]^d, where 1 − 2wB ≤ (1+w²A)/(1+wB)² ≤ 1 + w²A."""
    origin = [_thetas(sums.times, [arb(0)])] * sums.d
    # |θ+m| ≥ |m|(1 − |θ|), so A and B grow from their values at 0 by no more than this.
    growth = (1 - arb(sums.d).sqrt() * side) ** (-2 * sums.alpha)
    B = _sums_on_grid(sums.first, origin, [arb(0)])[0] * growth
    A = _sums_on_grid(sums.second, origin, [arb(0)])[0] * growth
    w = (sums.d * side**2) ** (sums.alpha / 2)
    return side**sums.d * (1 - 2 * w * B).union(1 + w**2 * A)


def _cell(sums: _LatticeSums, shell: int, high: int, order: int) -> arb:
    """Gauss rule on the cell with ``high`` coordinates in [s, 2s] and the others in [0, s]."""
    side = arb(2) ** -(shell + 2)
    rule = [arb.legendre_p_root(order, k, weight=True) for k in range(order)]
    lower = [side * (1 + x) / 2 for x, _ in rule]
    points = [[side + x for x in lower]] * high + [lower] * (sums.d - high)
    tables = {id(axis): _thetas(sums.times, axis) for axis in points}
    per_axis = [tables[id(axis)] for axis in points]
    u = [sum((x * x for x in theta), arb(0)) for theta in product(*points)]
    A = _sums_on_grid(sums.second, per_axis, u)
    B = _sums_on_grid(sums.first, per_axis, u)
    weights = [math.prod(w, start=arb(1)) for w in product([w / 2 for _, w in rule], repeat=sums.d)]
    total = arb(0)
    for weight, squared, a, b in zip(weights, u, A, B, strict=True):
        w = squared ** (sums.alpha / 2)
        total += weight * (1 + w * w * a) / (1 + w * b) ** 2
    return side**sums.d * total


def _gauss_order(alpha: arb, d: int, high: int, digits: int) -> tuple[int, arb]:
    """Order of the Gauss rule for a kind of cell, and its error per unit of volume.

    If |f| ≤ M in the Bernstein ellipse ρ, Chebyshev's series cut at degree 2n−1 misses
    2Mρ^{-2n}/(1−1/ρ); the rule and the mean (total weight 1 each) double it. One such error for
    each coordinate in turn, the others real.
    """
    kinds = [True] * high + [False] * (d - high)
    bounds = [_ellipse_bounds(alpha, kinds, i) for i in range(d)]
    for order in range(4, 400):
        errors = [
            min((4 * M * rho ** (-2 * order) / (1 - 1 / rho) for rho, M in axis), key=_upper)
            for axis in bounds
        ]
        total = sum(errors, arb(0))
        if total < arb(10) ** (-digits - 1):
            return order, plus_minus(total)
    raise ArithmeticError(f"no Gauss rule of order < 400 gives {digits} digits for alpha = {alpha}")


def _upper(ball: arb) -> float:
    """A float for comparing bounds; the bound itself stays a ball."""
    return float(ball.upper())


def _ellipse_bounds(alpha: arb, kinds: list[bool], axis: int) -> list[tuple[arb, arb]]:
    """(ρ, M) with |f| ≤ M when coordinate ``axis`` runs over the ellipse ρ, the others real."""
    candidates = [1 + arb(fmpq(6, 5)) ** -k for k in range(-4, 20)]  # from 3.07 down to 1.03
    bounds = []
    for rho in candidates:
        pieces = [_ellipse_bound(alpha, box, rho) for box in _boxes(kinds, axis, rho)]
        finite = [M for M in pieces if M is not None]
        if len(finite) == len(pieces):
            bounds.append((rho, reduce(arb.max, finite)))
        if len(bounds) == 6:  # the largest ρ first; smaller ones only worsen the rate
            break
    return bounds


def _boxes(kinds: list[bool], axis: int, rho: arb) -> product[tuple[tuple[arb, arb], ...]]:
    """The cell of shell 0, its coordinate ``axis`` widened to the ellipse, in pieces."""
    sides = []
    for i, high in enumerate(kinds):
        centre, reach = arb(2 * high + 1) / 8, arb(fmpq(1, 8))
        if i == axis:
            reach *= (rho + 1 / rho) / 2
        cuts = [centre + reach * (arb(2 * k) / _PIECES - 1) for k in range(_PIECES + 1)]
        sides.append(list(pairwise(cuts)))
    return product(*sides)


_PIECES = 4


def _ellipse_bound(alpha: arb, box: tuple[tuple[arb, arb], ...], rho: arb) -> arb | None:
    """Bound of |ζ_{2α}/ζ_α²| at x + iy e_i with x in the box, or None where none is at hand.

    (z+m)·(z+m) has modulus between |x+m|² − y² and |x+m|² + y² and argument at most
    2 arctan(y/|x+m|). So if ψ = α arctan(y/min|x+m|) < π/2, all terms of ζ_α have a positive real
    part, and |ζ_α| ≥ cos ψ (|x|²+y²)^{-α/2}.
    """
    y = (rho - 1 / rho) / 16
    distances = [_squared_distance(box, m) for m in product((-1, 0, 1), repeat=len(box))]
    nearest = reduce(arb.min, distances)
    in_range = all(abs(end) < arb(0.8) for side in box for end in side)
    if not (y < arb(0.4) and in_range and y * y < nearest):
        return None
    psi = alpha * (y / nearest.sqrt()).atan()
    if not psi < arb.pi() / 2:
        return None
    size = sum((abs(lo).max(abs(hi)) ** 2 for lo, hi in box), arb(0)) + y * y
    close = sum(((size / (u - y * y)) ** alpha for u in distances), arb(0))
    return (close + size**alpha * _far_terms(alpha, len(box))) / psi.cos() ** 2


def _squared_distance(box: tuple[tuple[arb, arb], ...], m: tuple[int, ...]) -> arb:
    """Lower bound of |x+m|² over the box."""
    total = arb(0)
    for (lo, hi), shift in zip(box, m, strict=True):
        low, high = lo + shift, hi + shift
        if low > 0:
            total += low**2
        elif high < 0:
            total += high**2
    return total


def _far_terms(alpha: arb, d: int) -> arb:
    """Σ (|x+m|²−y²)^{-α} over |m|_∞ = j ≥ 2, if |x|_∞ ≤ 0.8 and y ≤ 0.4.

    There are at most 2d(2j+1)^{d-1} ≤ 2d(5(j−1))^{d-1} such m, and |x+m|²−y² ≥ (j−1)².
    """
    return 2 * d * arb(5) ** (d - 1) * (2 * alpha - d + 1).zeta()
