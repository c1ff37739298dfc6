r"""The Gaussian's V a second time: formal power series in x = sqrt(p), in exact arithmetic.

V(c)/(c sqrt(pi)) is the mean over z of theta_3(z, x)/theta_3(z, x^2)^2, a power series in x with
integer coefficients. The closed form is a rational function of theta constants and of (K - E)/K,
whose series in k^2 has rational coefficients. So both sides agree to any order, or they do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import sympy
from sympy.polys.ring_series import rs_mul, rs_pow, rs_series_inversion, rs_trunc
from sympy.polys.rings import PolyElement, ring

from ..derivation import Derivation, Step
from ..validation import integer
from .gaussian import (
    BANDWIDTH,
    DEFICIT_SYMBOL,
    ESTIMATION,
    K_ROOT,
    ROOT_SYMBOL,
    THETA_SYMBOL,
    by_symbols,
)

_RING, _X = ring("x", sympy.QQ)
_U = sympy.Symbol("U", positive=True)  # theta_3(0, sqrt p)


def _theta_series(order: int, stride: int) -> PolyElement:
    """theta_3(0, x^stride) = 1 + 2 sum_n x^{stride n^2}, to the given order."""
    squares = (stride * n * n for n in range(1, order) if stride * n * n < order)
    return _RING(1) + sum((2 * _X**e for e in squares), _RING(0))


def _modulus_series(order: int) -> PolyElement:
    """Modulus k = theta_2(p)^2/theta_3(p)^2; theta_2(x^2) = 2 x^{1/2} sum_{n>=0} x^{2n(n+1)}."""
    pronics = (2 * n * (n + 1) for n in range(order) if 2 * n * (n + 1) < order)
    tail = sum((_X**e for e in pronics), _RING(0))
    theta = _theta_series(order, 2)
    square = rs_mul(4 * _X * tail, tail, _X, order)
    return rs_mul(
        square, rs_series_inversion(rs_mul(theta, theta, _X, order), _X, order), _X, order
    )


def _hypergeometric(order: int, second: bool) -> list[sympy.Rational]:
    """Coefficients in k^2 of 2K/pi, or of 2E/pi if ``second``: binom(-1/2, n)^2 [1/(1 - 2n)]."""
    central = [sympy.binomial(2 * n, n) ** 2 / sympy.Integer(16) ** n for n in range(order)]
    return [a / (1 - 2 * n) for n, a in enumerate(central)] if second else central


def _composed(coefficients: list[sympy.Rational], argument: PolyElement, order: int) -> PolyElement:
    total = _RING(0)
    for a in reversed(coefficients):  # Horner
        total = rs_mul(total, argument, _X, order) + _RING(sympy.QQ(int(a.p), int(a.q)))
    return total


def _deficit_series(order: int) -> PolyElement:
    """(K - E)/K from the hypergeometric series of K and E in k^2."""
    k = _modulus_series(order)
    square = rs_mul(k, k, _X, order)
    K = _composed(_hypergeometric(order // 2 + 1, second=False), square, order)
    E = _composed(_hypergeometric(order // 2 + 1, second=True), square, order)
    return rs_mul(K - E, rs_series_inversion(K, _X, order), _X, order)


def _jacobi_residual(order: int) -> sympy.Expr:
    k, theta = _modulus_series(order), _theta_series(order, 2)
    K = _composed(_hypergeometric(order // 2 + 1, second=False), rs_mul(k, k, _X, order), order)
    return _leading_term(K - rs_mul(theta, theta, _X, order))


def _landen_series_residual(order: int) -> sympy.Expr:
    k, theta = _modulus_series(order), _theta_series(order, 2)
    theta_of_root = _theta_series(order, 1)
    right = rs_mul(rs_mul(theta, theta, _X, order), 1 + k, _X, order)
    return _leading_term(rs_mul(theta_of_root, theta_of_root, _X, order) - right)


def _leading_term(series: PolyElement) -> sympy.Expr:
    """Lowest term of a series as a SymPy expression, 0 for the zero series."""
    if not series:
        return sympy.Integer(0)
    exponent, coefficient = min(series.terms())
    return sympy.Rational(str(coefficient)) * sympy.Symbol("x") ** exponent[0]


_Harmonics = dict[int, dict[int, int]]  # power of x -> power of e^{2iz} -> coefficient


def _over_theta(numerator: _Harmonics, order: int) -> _Harmonics:
    """Divide by theta_3(z, x^2), one power of x at a time."""
    quotient: _Harmonics = {}
    for power in range(order):
        row = dict(numerator.get(power, {}))
        for n in range(1, power + 1):
            for harmonic, a in quotient.get(power - 2 * n * n, {}).items():
                row[harmonic + n] = row.get(harmonic + n, 0) - a
                row[harmonic - n] = row.get(harmonic - n, 0) - a
        quotient[power] = row
    return quotient


def _mean_series(order: int) -> PolyElement:
    """Mean over z of theta_3(z, x)/theta_3(z, x^2)^2: the harmonic 0, in integers."""
    numerator: _Harmonics = {0: {0: 1}}
    for n in range(1, order):
        if n * n < order:
            numerator[n * n] = {n: 1, -n: 1}
    quotient = _over_theta(_over_theta(numerator, order), order)
    terms = (quotient[power].get(0, 0) * _X**power for power in range(order))
    return sum(terms, _RING(0))


def _in_theta_constants(claimed: sympy.Expr) -> sympy.Expr:
    """claimed/(c sqrt(pi)) in T = theta_3(p), U = theta_3(sqrt p) and D; sqrt(1+k) = U/T."""
    symbols = by_symbols(claimed / (BANDWIDTH * sympy.sqrt(sympy.pi)))
    constants = {K_ROOT: sympy.sqrt(sympy.pi / 2) * THETA_SYMBOL, ROOT_SYMBOL: _U / THETA_SYMBOL}
    return sympy.cancel(sympy.together(symbols.subs(constants)))


def _evaluated(
    poly: sympy.Poly, values: Mapping[sympy.Symbol, PolyElement], order: int
) -> PolyElement:
    total = _RING(0)
    for powers, a in poly.terms():
        term = _RING(sympy.QQ(int(a.p), int(a.q)))
        for x, power in zip(poly.gens, powers, strict=True):
            term = rs_mul(term, rs_pow(values[x], power, _X, order), _X, order)
        total += term
    return total


def _claim_residual(claimed: sympy.Expr, order: int) -> sympy.Expr:
    rational = _in_theta_constants(claimed)
    generators = (THETA_SYMBOL, _U, DEFICIT_SYMBOL)
    if not rational.is_rational_function(*generators) or rational.free_symbols - {*generators}:
        return rational  # not a rational function of theta constants, hence not shown to be V
    top, bottom = (sympy.Poly(q, *generators) for q in sympy.fraction(sympy.together(rational)))
    if not all(a.is_Rational for poly in (top, bottom) for a in poly.coeffs()):
        return rational
    series = (_theta_series(order, 2), _theta_series(order, 1), _deficit_series(order))
    values = dict(zip(generators, series, strict=True))
    right = rs_mul(_evaluated(bottom, values, order), _mean_series(order), _X, order)
    return _leading_term(rs_trunc(_evaluated(top, values, order) - right, _X, order))


def derive_estimation_by_series(
    claimed: sympy.Expr = ESTIMATION.expression, order: int = 72
) -> Derivation:
    """Check V(c)/(c sqrt(pi)) as a formal power series in sqrt(p), exactly, to the given order.

    Args:
        claimed: The formula to compare with, as in `gaussian.derive_estimation`.
        order: Coefficients of x^0, ..., x^{order-1} are compared, x = sqrt(p).

    Raises:
        TypeError, ValueError: If ``order`` is not an integer of at least 4.

    Source: this project.
    """
    integer("order", order, 4)
    steps = (
        Step("2K/pi = theta_3(p)^2 at k = theta_2^2/theta_3^2.", partial(_jacobi_residual, order)),
        Step("theta_3(sqrt p)^2 = theta_3^2 (1 + k).", partial(_landen_series_residual, order)),
        Step(
            "The harmonic 0 of theta_3(z, x)/theta_3(z, x^2)^2, divided in integers, is the "
            "series of the claimed formula over c sqrt(pi).",
            partial(_claim_residual, claimed, order),
        ),
    )
    goal = f"V(c) = c sqrt(pi) times the mean of f, to the order {order} in sqrt(p)."
    return Derivation(goal, steps, ("Poisson summation formula",))
