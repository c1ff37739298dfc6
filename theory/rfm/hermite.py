r"""Population AGOP from Hermite coefficients, for weakly differentiable g with E‖∇g‖² < ∞.

With h_m = Π_i He_{m_i}/√(m_i!), orthonormal under N(0, 1), and g = Σ_m c_m h_m,

    E[∂_a g ∂_b g] = Σ_m √((m_a + 1)(m_b + 1)) c_{m + e_a} c_{m + e_b},   E[g'²] = Σ_p p c_p².

Without weak derivatives that fails: 1[z > 0] has slope 0 almost everywhere, while Σ_p p c_p² = ∞.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product
from numbers import Integral

import sympy

from ..validation import integer
from .gaussian_means import Exponents, checked_variables, exact_expression, gaussian_mean

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
        coefficients: c_0, c_1, …, of He_p/√(p!), real numbers (also floats) or symbols.

    Raises:
        TypeError: If a coefficient is no number and no expression.
        ValueError: If one is not finite or not real.

    Source: this project.

    Example:
        >>> slope_energy([7, 1, sympy.sqrt(2)])  # 7 + z + (z² − 1)
        5
    """
    terms = enumerate(map(_coefficient, coefficients))
    return sympy.Add(*(SLOPE_TERM.subs({ORDER: p, COEFFICIENT: c}) for p, c in terms))


def _coefficient(value: object) -> sympy.Expr:
    try:
        c = sympy.sympify(value, strict=True)
    except sympy.SympifyError as error:
        raise TypeError(f"coefficients hold {value!r}; numbers or symbols are allowed") from error
    if not isinstance(c, sympy.Expr):
        raise TypeError(f"coefficients hold {value!r}; numbers or symbols are allowed")
    if c.is_real is False or c is sympy.nan:  # infinities are not real, either
        raise ValueError(f"coefficients hold {c}; finite real numbers are allowed")
    return c


def hermite_agop(coefficients: Mapping[Exponents, sympy.Expr]) -> sympy.ImmutableMatrix:
    """Return E[∇g∇gᵀ] under N(0, 1_k) from finitely many Hermite coefficients, shape (k, k).

    For f(x) = g(Ux) with UΣUᵀ = 1 the AGOP of f is Uᵀ times this times U.

    Args:
        coefficients: c_m, real numbers (also floats) or symbols, by the multi-index m, a tuple of
            integers; all m are of the same length k >= 1.

    Raises:
        TypeError: If a coefficient is no number and no expression, or they are no mapping.
        ValueError: If there are none, multi-indices differ in length or hold anything but integers
            >= 0, or a coefficient is not finite or not real.

    Source: this project.

    Example:
        >>> hermite_agop({(1, 1): 1, (2, 0): 1})  # z₁z₂ + (z₁² − 1)/√2
        Matrix([
        [      3, sqrt(2)],
        [sqrt(2),       1]])
    """
    if not isinstance(coefficients, Mapping):
        raise TypeError(f"coefficients = {coefficients!r}; a mapping of multi-indices is allowed")
    orders = [tuple(m) if isinstance(m, tuple) else () for m in coefficients]
    lengths = {len(m) for m in orders}
    if len(lengths) != 1 or lengths == {0} or not all(_is_order(p) for m in orders for p in m):
        raise ValueError(
            f"coefficients have the multi-indices {list(coefficients)}; at least one is needed, "
            "tuples of integers >= 0, all of one length"
        )
    values, (k,) = {m: _coefficient(c) for m, c in coefficients.items()}, lengths
    found = sympy.zeros(k, k)
    for a, b in product(range(k), repeat=2):
        found[a, b] = sympy.Add(*(_pair(values, m, a, b) for m in values if m[a]))
    return sympy.ImmutableMatrix(found)


def _is_order(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 0


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
    z, most = checked_variables(variables), integer("degree", degree, 0)
    g = exact_expression("link", link, z)
    indices = [m for m in product(range(most + 1), repeat=len(z)) if sum(m) <= most]
    found = {m: gaussian_mean(sympy.expand(g * _polynomial(m, z)), z) for m in indices}
    return {m: c for m, c in found.items() if c != 0}


def _polynomial(m: Exponents, z: tuple[sympy.Symbol, ...]) -> sympy.Expr:
    factors = (
        sympy.hermite_prob(p, v) / sympy.sqrt(sympy.factorial(p)) for p, v in zip(m, z, strict=True)
    )
    return sympy.Mul(*factors)
