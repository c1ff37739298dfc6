r"""Kantorovich's inequality, which prices the mean difference and the two ways to steer.

With m ≤ Σ ≤ M, κ = M/m, and any u ≠ 0:

    1 ≤ K(u) = (uᵀΣu)(uᵀΣ⁻¹u)/(uᵀu)² ≤ (1 + κ)²/(4κ).

K(u) = 1 iff u is an eigenvector of Σ; for κ > 1 the upper bound is attained iff u has nothing
outside the eigenspaces of M and m, and equal norms in both. κ may be taken over the eigenvalues
whose eigenspaces u meets.
"""

from __future__ import annotations

from functools import partial

import sympy

from ..alignment.bound import BOUND, CONDITION_NUMBER
from ..closed_form import ClosedForm
from ..derivation import Derivation, Step, first_nonzero
from ..matrix_words import matrices, reduced

EFFICIENCY = ClosedForm(
    "concepts.kantorovich.efficiency",
    BOUND.expression,
    CONDITION_NUMBER,
    (sympy.Integer(0), sympy.oo),
)
"""2√κ/(1 + κ), the least K(u)^{-1/2}: the number that bounds alignment, too."""

PRICE = ClosedForm(
    "concepts.kantorovich.price",
    (1 + CONDITION_NUMBER) ** 2 / (4 * CONDITION_NUMBER),
    CONDITION_NUMBER,
    (sympy.Integer(0), sympy.oo),
)
"""(1 + κ)²/(4κ), the largest K(u)."""

# --- derivation -------------------------------------------------------------------------------

_T = sympy.transpose
_S, _R, _u = matrices("S R u")
_m, _M = sympy.symbols("m M", positive=True)
_NORM, _UP, _DOWN = sympy.symbols("N A B", positive=True)
_RULES = {_S * _R: sympy.Integer(1), _R * _S: sympy.Integer(1)}
_LETTERS = {_T(_u) * _u: _NORM, _T(_u) * _S * _u: _UP, _T(_u) * _R * _u: _DOWN}


def _line_residual() -> sympy.Expr:
    """uᵀ(M − Σ)(Σ − m)Σ⁻¹u = (M + m)N − A − mMB, with N = |u|², A = uᵀΣu, B = uᵀΣ⁻¹u."""
    word = _T(_u) * (_M - _S) * (_S - _m) * _R * _u
    found = reduced(sympy.expand(word), _RULES).subs(_LETTERS)
    return sympy.expand(found - ((_M + _m) * _NORM - _UP - _m * _M * _DOWN))


def _positive_residual() -> sympy.Expr:
    """Eigenvalue s = m + p = M − q with p, q ≥ 0 contributes q·p/s ≥ 0."""
    p, q = sympy.symbols("p q", nonnegative=True)
    top = sympy.expand(((_M - _m - p) * p).subs(_M, _m + p + q))
    return sympy.expand(top - q * p)


def _squares_residual() -> sympy.Expr:
    """(M + m)²N² − 4mM·AB = D² + 2D(A + mMB) + (A − mMB)², D the gap of the line, D ≥ 0."""
    D = (_M + _m) * _NORM - _UP - _m * _M * _DOWN
    squares = D**2 + 2 * D * (_UP + _m * _M * _DOWN) + (_UP - _m * _M * _DOWN) ** 2
    return sympy.expand((_M + _m) ** 2 * _NORM**2 - 4 * _m * _M * _UP * _DOWN - squares)


def _least_residual() -> sympy.Expr:
    """(Σu − cu)ᵀΣ⁻¹(Σu − cu) = A − N²/B at c = N/B: not negative, and 0 iff Σu = cu."""
    c = _NORM / _DOWN
    w = _S * _u - c * _u
    turned = _T(_u) * _S - c * _T(_u)
    found = reduced(sympy.expand(turned * _R * w), _RULES).subs(_LETTERS)
    return sympy.simplify(found - (_UP - _NORM**2 / _DOWN))


def _claim_residual(efficiency: sympy.Expr, price: sympy.Expr) -> sympy.Expr:
    bound = (_M + _m) ** 2 / (4 * _m * _M)
    kappa = {CONDITION_NUMBER: _M / _m}
    positive = bool(efficiency.is_positive)
    return first_nonzero(
        sympy.simplify(price.subs(kappa) - bound),
        sympy.simplify(efficiency.subs(kappa) ** 2 * bound - 1),
        sympy.Integer(0 if positive else 1),
    )


def _attained_residual(price: sympy.Expr) -> sympy.Expr:
    """u = (1, 1), Σ = diag(κ, 1), for every κ."""
    u, sigma = sympy.Matrix([1, 1]), sympy.diag(CONDITION_NUMBER, 1)
    quotient = (u.T * sigma * u)[0] * (u.T * sigma.inv() * u)[0] / (u.T * u)[0] ** 2
    return sympy.simplify(quotient - price)


def derive_kantorovich(
    efficiency: sympy.Expr = EFFICIENCY.expression, price: sympy.Expr = PRICE.expression
) -> Derivation:
    """Derive the inequality, its ends and that they are attained, for all sizes and all κ ≥ 1.

    Args:
        efficiency: The least K^{-1/2}, in ``CONDITION_NUMBER``, to compare with.
        price: The largest K, in ``CONDITION_NUMBER``, to compare with.

    Source: Kantorovich; the steps: this project.
    """
    steps = (
        Step("The line over the eigenvalues.", _line_residual),
        Step("(M − s)(s − m)/s ≥ 0.", _positive_residual),
        Step("A sum of three nonnegative terms.", _squares_residual),
        Step("K ≥ 1, with equality iff Σu is along u.", _least_residual),
        Step("Attained for every κ.", partial(_attained_residual, price)),
        Step("The claims with κ = M/m.", partial(_claim_residual, efficiency, price)),
    )
    return Derivation("1 ≤ K(u) ≤ (1 + κ)²/(4κ), sharp.", steps, ("spectral theorem",))
