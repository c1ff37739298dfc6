r"""Population AGOP from Hermite coefficients, for every square-integrable gradient.

With h_m = Π_i He_{m_i}/√(m_i!), orthonormal under N(0, 1), and g = Σ_m c_m h_m,

    E[∂_a g ∂_b g] = Σ_m √((m_a + 1)(m_b + 1)) c_{m + e_a} c_{m + e_b},   E[g'²] = Σ_p p c_p².
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product

import sympy

from ..validation import integer
from .gaussian_means import Exponents, gaussian_mean

ORDER = sympy.Symbol("p", integer=True, nonnegative=True)
COEFFICIENT = sympy.Symbol("c_p", real=True)
FIRST_ORDER, SECOND_ORDER = sympy.symbols("m_a m_b", integer=True, nonnegative=True)

SLOPE_TERM = ORDER * COEFFICIENT**2
"""Summand of E[g'²]."""

PAIR_FACTOR = sympy.sqrt((FIRST_ORDER + 1) * (SECOND_ORDER + 1))
"""Before c_{m + e_a} c_{m + e_b}; for a = b it is m_a + 1."""


def slope_energy(coefficients: Iterable[sympy.Expr]) -> sympy.Expr:
    """Return E[g'(z)²] = Σ_p p c_p², z ~ N(0, 1).

    For g(s) with s ~ N(0, τ²) take the coefficients of g(τz) and divide the result by τ².

    Args:
        coefficients: c_0, c_1, …, of He_p/√(p!).

    Source: this project.

    Example:
        >>> slope_energy([7, 1, sympy.sqrt(2)])  # 7 + z + (z² − 1)
        5
    """
    terms = enumerate(coefficients)
    return sympy.Add(*(SLOPE_TERM.subs({ORDER: p, COEFFICIENT: c}) for p, c in terms))


def hermite_agop(coefficients: Mapping[Exponents, sympy.Expr]) -> sympy.ImmutableMatrix:
    """Return E[∇g∇gᵀ] under N(0, 1_k) from finitely many Hermite coefficients, shape (k, k).

    For f(x) = g(Ux) with UΣUᵀ = 1 the AGOP of f is Uᵀ times this times U.

    Args:
        coefficients: c_m by the multi-index m, all of the same length k >= 1.

    Raises:
        ValueError: If there are none, their multi-indices differ in length, or one is negative.

    Source: this project.

    Example:
        >>> hermite_agop({(1, 1): 1, (2, 0): 1})  # z₁z₂ + (z₁² − 1)/√2
        Matrix([
        [      3, sqrt(2)],
        [sqrt(2),       1]])
    """
    lengths = {len(m) for m in coefficients}
    if len(lengths) != 1 or lengths == {0} or any(p < 0 for m in coefficients for p in m):
        raise ValueError(
            f"coefficients have the multi-indices {list(coefficients)}; at least one is needed, "
            "all of one length, without negative orders"
        )
    (k,) = lengths
    found = sympy.zeros(k, k)
    for a, b in product(range(k), repeat=2):
        found[a, b] = sympy.Add(*(_pair(coefficients, m, a, b) for m in coefficients if m[a]))
    return sympy.ImmutableMatrix(found)


def _pair(
    coefficients: Mapping[Exponents, sympy.Expr], upper: Exponents, a: int, b: int
) -> sympy.Expr:
    """The summand with m + e_a = upper."""
    lower = _moved(upper, a, -1)
    other = coefficients.get(_moved(lower, b, 1), 0)
    factor = PAIR_FACTOR.subs({FIRST_ORDER: lower[a], SECOND_ORDER: lower[b]})
    return factor * coefficients[upper] * other


def _moved(m: Exponents, place: int, step: int) -> Exponents:
    return (*m[:place], m[place] + step, *m[place + 1 :])


def hermite_coefficients(
    link: sympy.Expr, variables: Iterable[sympy.Symbol], degree: int
) -> dict[Exponents, sympy.Expr]:
    """Return c_m = E[g h_m] for all |m| <= degree, without those that are 0.

    Args:
        link: g, as the expression of `gaussian_mean`.
        variables: The k variables, standard Gaussian.
        degree: The largest |m|, at least 0.

    Raises:
        TypeError: As `gaussian_mean`, or the degree is not an integer.
        ValueError: As `gaussian_mean`, or the degree is negative.

    Example:
        >>> z = sympy.Symbol("z", real=True)
        >>> hermite_coefficients(z**2, (z,), 3)
        {(0,): 1, (2,): sqrt(2)}
    """
    z, most = tuple(variables), integer("degree", degree, 0)
    indices = [m for m in product(range(most + 1), repeat=len(z)) if sum(m) <= most]
    found = {m: gaussian_mean(sympy.expand(link * _polynomial(m, z)), z) for m in indices}
    return {m: c for m, c in found.items() if c != 0}


def _polynomial(m: Exponents, z: tuple[sympy.Symbol, ...]) -> sympy.Expr:
    factors = (
        sympy.hermite_prob(p, v) / sympy.sqrt(sympy.factorial(p)) for p, v in zip(m, z, strict=True)
    )
    return sympy.Mul(*factors)
