r"""The quadratic detector of a product concept: its errors, its AUC, and where it is Bayes.

Model (b) of `product_features`, the detector ST. Per class, with uᵀΣ⁻¹w = 0:

    err(sign ST) = Φ(−p)Φ(q) + Φ(p)Φ(−q) = ½(1 − erf(p/√2) erf(q/√2)),
    1 − AUC(ST) = (1/π) ∫_0^{π/2} exp(−1/(sin²ψ/p² + cos²ψ/q²)) dψ,    = ½e^{−p²} at p = q.

- Model (a): P(y = 1 | x) grows with st, so that the quadratic detector st is Bayes for the 0–1 loss
  (threshold 0) and at every point of the ROC curve.
- Model (b): the sign of ST is Bayes for the 0–1 loss iff λ = log(π/(1−π)) − 2ab uᵀΣ⁻¹w is 0. For
  λ ≠ 0 no quadratic function of x has the Bayes rule's border tanh S tanh T = k, k = −tanh(λ/2):
  its asymptotes are T = ±artanh k and S = ±artanh k, each on one end only.
- Model (b): no quadratic function of x has the ROC curve of η, for any priors, as its level sets
  would be these borders. Already ST and tanh S tanh T rank (1, 1) and (3, 0.4) in opposite order.
  The AUC's deficit is ½∬|p₊(x)p₋(x') − p₋(x)p₊(x')| over pairs in the wrong order, so that it is
  positive; see `product_roc` for its size.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import sympy
from flint import acb, arb

from ..closed_form import ClosedForm
from ..derivation import Derivation, Step, first_nonzero
from .gaussian_integrals import rounded
from .product_features import FIRST, LOGIT, OFFSET, SECOND, strength
from .product_probes import normal_cdf, seen_apart

P, Q = sympy.symbols("p q", positive=True)
ANGLE = sympy.Symbol("psi", real=True)

ERROR = (1 - sympy.erf(P / sympy.sqrt(2)) * sympy.erf(Q / sympy.sqrt(2))) / 2
"""Error of sign(ST)."""

MISORDERED = (
    sympy.exp(-1 / (sympy.sin(ANGLE) ** 2 / P**2 + sympy.cos(ANGLE) ** 2 / Q**2)) / sympy.pi
)
"""1 − AUC of ST is its integral over ψ from 0 to π/2."""

EQUAL_AUC = ClosedForm(
    "concepts.product.equal_auc", 1 - sympy.exp(-(P**2)) / 2, P, (sympy.Integer(0), sympy.oo)
)
"""AUC of ST at p = q."""

PAIR = ((sympy.Integer(1), sympy.Integer(1)), (sympy.Integer(3), sympy.Rational(2, 5)))
"""(S, T) of a pair that ST and tanh S tanh T rank in opposite order."""


def product_error(first: float, second: float) -> float:
    """Return the error of sign(ST), correctly rounded: the Bayes error at equal priors.

    Args:
        first: p, between 1e-60 and 38; see `product_strengths`.
        second: q, likewise.

    Raises:
        TypeError: If a strength is not a real number.
        ValueError: If one is outside its range.

    Source: this project.

    Example:
        >>> product_error(1.0, 2.0)
        0.1741865299572112
    """
    p, q = strength("first", first), strength("second", second)

    def ball(_: int) -> Any:
        x, y = (arb(s) / arb(2).sqrt() for s in (p, q))
        return (x.erfc() * (2 - y.erfc()) + (2 - x.erfc()) * y.erfc()) / 4

    return rounded(ball, f"error at p = {p}, q = {q}")


def product_auc(first: float, second: float) -> float:
    """Return the AUC of ST, correctly rounded. That of η is larger, by 0.0022 at p = q = 1.5.

    Args:
        first: p, as `product_error`.
        second: q, likewise.

    Raises:
        TypeError: As `product_error`.
        ValueError: As `product_error`.

    Source: this project.

    Example:
        >>> product_auc(1.0, 1.0)
        0.8160602794142788
    """
    p, q = strength("first", first), strength("second", second)
    return rounded(lambda bits: 1 - misordered_ball(p, q, bits), f"AUC at p = {p}, q = {q}")


def misordered_ball(p: float, q: float, precision: int = 128) -> Any:
    """Return a ball that contains 1 − AUC of ST."""
    low, high = (arb(x) for x in sorted((p, q)))
    ratio = (low / high) ** 2

    def integrand(psi: Any, _: bool) -> Any:  # a pole gives no finite ball
        return (-(low**2) / (psi.sin() ** 2 * ratio + psi.cos() ** 2)).exp()

    tolerance, degree = arb(2) ** -precision, 4 * precision
    return (
        acb.integral(
            integrand, 0, arb.pi() / 2, rel_tol=tolerance, abs_tol=arb(0), deg_limit=degree
        ).real
        / arb.pi()
    )


# --- derivation -------------------------------------------------------------------------------

_t = sympy.Symbol("t", positive=True)  # tan θ
_COS, _SIN = 1 / sympy.sqrt(1 + _t**2), _t / sympy.sqrt(1 + _t**2)
_D = P**2 * _SIN**2 + Q**2 * _COS**2
_BY_TANGENT = P * Q * sympy.exp(-_D) / (sympy.pi * _D * (1 + _t**2))
"""(pq/π) e^{−D}/D dθ as a density in t."""


def _error_residual(error: sympy.Expr) -> sympy.Expr:
    """S/p and T/q ~ N(±p, 1), N(±q, 1), independent: exactly one of the signs is wrong."""
    cdf = normal_cdf
    return sympy.expand(cdf(-P) * cdf(Q) + cdf(P) * cdf(-Q) - error)


def _sign_residual() -> sympy.Expr:
    """cosh(S + T) − cosh(S − T) = 2 sinh S sinh T: at λ = 0 the logit has the sign of ST."""
    gap = sympy.cosh(FIRST + SECOND) - sympy.cosh(FIRST - SECOND)
    stated = 2 * sympy.sinh(FIRST) * sympy.sinh(SECOND)
    return sympy.expand((gap - stated).rewrite(sympy.exp), power_exp=True)


def _border_residual() -> sympy.Expr:
    """Logit 0 is tanh S tanh T = −tanh(λ/2)."""
    product = sympy.tanh(FIRST) * sympy.tanh(SECOND)
    quotient = (1 + product) / (1 - product) * sympy.exp(OFFSET)  # at the border 1
    return sympy.simplify((quotient - sympy.exp(LOGIT)).rewrite(sympy.exp))


def _no_quadratic_residual() -> sympy.Expr:
    """Q = 0 along tanh S tanh T = k ≠ 0 only for Q = 0.

    T − T₀ falls like e^{−2S} as S → ∞, T₀ = artanh k, and T → −T₀ as S → −∞; likewise with S and T
    exchanged. So Q(S, ±T₀) and Q(±T₀, T) have bounded differences from 0 at one end: as polynomials
    of one variable whose values tend to 0 they vanish.
    """
    z, k = sympy.Symbol("z", positive=True), sympy.Symbol("k", positive=True)
    T0 = sympy.Symbol("T_0", nonzero=True)
    a, b, c, d, e, f = sympy.symbols("a b c d e f", real=True)

    def form(S: sympy.Expr, T: sympy.Expr) -> sympy.Expr:
        return a * S**2 + b * S * T + c * T**2 + d * S + e * T + f

    ends = [form(z, T0), form(-z, -T0), form(T0, z), form(-T0, -z)]
    rows = [x for end in ends for x in sympy.Poly(sympy.expand(end), z).all_coeffs()]
    letters = (a, b, c, d, e, f)
    matrix, _ = sympy.linear_eq_to_matrix(rows, letters)
    minors = matrix.rank() - len(letters)
    gone = sympy.limit((k / sympy.tanh(z) - k) * z**2, z, sympy.oo)
    return first_nonzero(sympy.Integer(minors), gone)


def _pair_residual(pair: Any) -> sympy.Expr:
    """One pair in opposite orders, both strict: then so is every pair near it."""
    (S, T), (U, V) = pair
    by_product = U * V - S * T
    by_posterior = sympy.tanh(U) * sympy.tanh(V) - sympy.tanh(S) * sympy.tanh(T)
    return sympy.Integer(0 if (by_product * by_posterior).evalf(30) < 0 else 1)


def _deficit_residual() -> sympy.Expr:
    """A pair adds p₊p₋' or p₋p₊' to an AUC, Bayes the larger, the wrong order the smaller.

    The larger belongs to the larger odds p₊/p₋: a/b against c/d is ad against bc.
    """
    a, b, c, d = sympy.symbols("a b c d", positive=True)
    orders = a / b - c / d
    return sympy.simplify(orders * b * d - (a * d - b * c))


def _halves_residual() -> sympy.Expr:
    """−X'Y' of the other class has XY's law, so that 1 − AUC = P(X·Y < 0), in the plane.

    X ~ N((p, p), I), Y ~ N((q, q), I). Given X at the angle θ to (1, 1), Y along it is
    N(√2 q cos θ, 1): 1 − AUC = E Φ(−√2 q cos θ) = ½ − ½E erf(q cos θ).
    """
    C = sympy.Symbol("C", real=True)
    return sympy.expand(normal_cdf(-sympy.sqrt(2) * Q * C) - (1 - sympy.erf(Q * C)) / 2)


def _angle_residual() -> sympy.Expr:
    """Density f of θ: f(θ) − f(θ + π) = ∫ r e^{−(r² − 2√2 p r cos θ + 2p²)/2} dr/2π over all r.

    That is (p/√π) cos θ e^{−p² sin²θ}, so that 1 − AUC = ½ − (p/√π)∫_0^{π/2} cos θ e^{−p² sin²θ}
    erf(q cos θ) dθ, with the slope −(2p/π)∫ cos²θ e^{−D} dθ in q.
    """
    r, C = sympy.symbols("r C", real=True)
    height = r / (2 * sympy.pi)
    exponent = -(r**2 - 2 * sympy.sqrt(2) * P * r * C + 2 * P**2) / 2
    whole = sympy.integrate(height * sympy.exp(exponent), (r, -sympy.oo, sympy.oo))
    density = P / sympy.sqrt(sympy.pi) * C * sympy.exp(-(P**2) * (1 - C**2))
    slope = sympy.diff(-density * sympy.erf(Q * C), Q)
    stated = -2 * P / sympy.pi * C**2 * sympy.exp(-(P**2) * (1 - C**2) - Q**2 * C**2)
    return first_nonzero(
        sympy.simplify(whole / density) - 1, sympy.simplify(sympy.expand(slope / stated)) - 1
    )


def _slope_residual() -> sympy.Expr:
    """∂_q (pq/π)e^{−D}/D = −(2p/π) cos²θ e^{−D} + (p/π) d/dθ[…], which is 0 at both ends.

    […] = −sin θ cos θ e^{−D}/D.
    """
    left = sympy.diff(_BY_TANGENT, Q) + 2 * P / sympy.pi * _COS**2 * sympy.exp(-_D) / (1 + _t**2)
    ends = -P / sympy.pi * _SIN * _COS * sympy.exp(-_D) / _D
    gap = sympy.simplify((left - sympy.diff(ends, _t)) * sympy.exp(_D))
    return first_nonzero(gap, sympy.limit(ends, _t, 0), sympy.limit(_SIN * _COS, _t, sympy.oo))


def _misordered_residual(claimed: sympy.Expr) -> sympy.Expr:
    """tan ψ = (p/q) tan θ takes the claimed integrand to (pq/π)e^{−D}/D."""
    tangent = P / Q * _t
    sine, cosine = sympy.symbols("s c", positive=True)
    plain = claimed.subs({sympy.sin(ANGLE): sine, sympy.cos(ANGLE): cosine})
    plain = plain.subs(
        {sine: tangent / sympy.sqrt(1 + tangent**2), cosine: 1 / sympy.sqrt(1 + tangent**2)}
    )
    measure = sympy.diff(tangent, _t) / (1 + tangent**2)
    quotient = plain * measure / _BY_TANGENT
    return first_nonzero(seen_apart(quotient - 1), sympy.simplify(quotient) - 1)


def _start_residual() -> sympy.Expr:
    """The integrand is between 0 and 1/π and tends to 1/π as q → 0: ½ there."""
    s, c = sympy.symbols("s c", positive=True)
    limit = sympy.limit(sympy.exp(-1 / (s**2 / P**2 + c**2 / Q**2)) / sympy.pi, Q, 0)
    return limit * sympy.pi / 2 - sympy.Rational(1, 2)


def _equal_residual(claimed: sympy.Expr) -> sympy.Expr:
    height = sympy.exp(-(P**2)) / sympy.pi
    gap = 1 - height * sympy.pi / 2 - claimed
    return first_nonzero(
        seen_apart(gap), sympy.simplify(gap), sympy.simplify(MISORDERED.subs(Q, P) - height)
    )


def derive_scores(error: sympy.Expr = ERROR) -> Derivation:
    """Derive where a quadratic detector is Bayes, and the error of sign(ST).

    Args:
        error: In ``P`` and ``Q``, to compare with.

    Source: this project.
    """
    steps = (
        Step("The logit at λ = 0 has the sign of ST.", _sign_residual),
        Step("The Bayes border for any λ.", _border_residual),
        Step("No quadratic has that border for λ ≠ 0.", _no_quadratic_residual),
        Step("Deficit of a wrong order.", _deficit_residual),
        Step("ST and η rank a pair differently.", partial(_pair_residual, PAIR)),
        Step("Error of sign(ST).", partial(_error_residual, error)),
    )
    return Derivation("Quadratic detectors of a product.", steps, ("Neyman–Pearson lemma",))


def derive_areas(
    misordered: sympy.Expr = MISORDERED, equal: sympy.Expr = EQUAL_AUC.expression
) -> Derivation:
    """Derive the AUC of ST, for all p and q.

    Args:
        misordered: The integrand of 1 − AUC in ``ANGLE``, ``P`` and ``Q``, to compare with.
        equal: The AUC at p = q, in ``P``.

    Source: this project.
    """
    steps = (
        Step("P(X·Y < 0) in the plane.", _halves_residual),
        Step("The angle's density, and the slope in q.", _angle_residual),
        Step("The slope of the claimed integral.", _slope_residual),
        Step("Both are ½ at q = 0.", _start_residual),
        Step("p = q.", partial(_equal_residual, equal)),
        Step("The claimed integrand.", partial(_misordered_residual, misordered)),
    )
    return Derivation("1 − AUC of ST.", steps, ("dominated convergence",))
