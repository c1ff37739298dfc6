r"""The size of the Bayes predictor's AGOP for two Gaussian classes with one covariance.

x | ± ~ N(m ± μ, Σ), P(+) = π, δ² = μᵀΣ⁻¹μ, λ = log(π/(1−π)). The posterior is η = σ(ℓ) with the
logit ℓ = 2μᵀΣ⁻¹(x−m) + λ, and the AGOP is c·Σ⁻¹μμᵀΣ⁻¹ with

    c(δ, π) = 4E[η²(1−η)²] = ¼ e^{−δ²/2} sech(λ/2) E sech³(λ/2 + δZ),    Z ~ N(0, 1).

c has no elementary closed form; the logit itself has the AGOP 4Σ⁻¹μμᵀΣ⁻¹. As δ → 0,
c = 4π²(1−π)²[1 + δ²(4 − 24π(1−π)) + O(δ⁴)]: it *grows* at first where π(1−π) < 1/6. For all δ,
U(1 − v) <= c <= U with U = √(π/2)/8 · sech(λ/2) e^{−δ²/2}/δ and v = (π²/4 − 2 + λ²/4)/(2δ²)
(π the circle's in these two).
"""

from __future__ import annotations

from fractions import Fraction
from functools import partial
from typing import Any

import sympy
from flint import arb, ctx, fmpq

from ..derivation import Derivation, Step, first_nonzero
from ..matrix_words import matrices, reduced, trace
from ..validation import integer, positive
from .class_moments import probability
from .gaussian_integrals import rounded, sech_mean

SEPARATION = sympy.Symbol("delta", positive=True)
LOG_ODDS = sympy.Symbol("lambda", real=True)
STANDARD = sympy.Symbol("z", real=True)

INTEGRAND = (
    sympy.exp(-(SEPARATION**2) / 2)
    * sympy.sech(LOG_ODDS / 2)
    * sympy.sech(LOG_ODDS / 2 + SEPARATION * STANDARD) ** 3
    * sympy.exp(-(STANDARD**2) / 2)
    / (4 * sympy.sqrt(2 * sympy.pi))
)
"""c is its integral over z."""

SMALL = sympy.sech(LOG_ODDS / 2) ** 4 / 4
"""c at δ = 0, which is 4π²(1−π)²."""

SECOND_ORDER = SMALL * (4 - 6 * sympy.sech(LOG_ODDS / 2) ** 2)
"""The coefficient of δ² in c as δ → 0."""

LARGE = (
    sympy.sqrt(sympy.pi / 2)
    / 8
    * sympy.sech(LOG_ODDS / 2)
    * sympy.exp(-(SEPARATION**2) / 2)
    / SEPARATION
)
"""U, an upper bound of c, and its leading behaviour as δ → ∞."""

DEFICIT = (sympy.pi**2 / 4 - 2 + LOG_ODDS**2 / 4) / (2 * SEPARATION**2)
"""v, with c >= U(1 − v)."""

LOGIT_SCALE = sympy.Integer(4)
"""The AGOP of the logit is this times Σ⁻¹μμᵀΣ⁻¹."""


def agop_scale(separation: float, prior: float = 0.5) -> float:
    """Return c(δ, π), correctly rounded; 0 where it is below the doubles (as for δ > 38.5).

    Args:
        separation: δ = (μᵀΣ⁻¹μ)^{1/2}, half the distance of the means; between 1e-60 and 1e60.
        prior: π of the first class, strictly between 0 and 1.

    Raises:
        TypeError: If an argument is not a real number.
        ValueError: If δ is outside its range, or π is outside (0, 1).

    Source: this project.

    Example:
        >>> agop_scale(1e-9)
        0.25
        >>> agop_scale(1.0)
        0.07913883635109861
    """
    delta, pi = _separation(separation), probability("prior", prior)
    return rounded(partial(agop_scale_ball, delta, pi), f"c at δ = {delta}, π = {pi}")


def agop_scale_ball(separation: float, prior: float = 0.5, precision: int = 128) -> Any:
    """Return a ball that contains c(δ, π), by quadrature with explicit tails.

    Args:
        separation: δ, as `agop_scale`.
        prior: π, likewise.
        precision: Working precision in bits, at least 2.

    Raises:
        TypeError: As `agop_scale`, or if the precision is not an integer.
        ValueError: As `agop_scale`, or if the precision is below 2.
    """
    delta, pi = _separation(separation), probability("prior", prior)
    precision = integer("precision", precision, 2)
    if delta > 1e6:  # c <= e^{−δ²/2}/4 is below 2^{-10^11}
        return arb(0).union(arb(2) ** -(10**6))
    with ctx.workprec(precision + 40):
        half = log_odds_ball(pi) / 2
        mean = sech_mean(3, half, arb(delta), precision)
        return (-(arb(delta) ** 2) / 2).exp() * half.sech() * mean / 4


def log_odds_ball(prior: float) -> Any:
    """Return a ball around log(π/(1−π)), π being the rational number that the double is."""
    pi = Fraction(prior)
    odds = pi / (1 - pi)
    return arb(fmpq(odds.numerator, odds.denominator)).log()


def _separation(value: object) -> float:
    number = positive("separation", value)
    if not 1e-60 <= number <= 1e60:
        raise ValueError(f"separation = {value!r} must be between 1e-60 and 1e60")
    return number


# --- derivation -------------------------------------------------------------------------------

_T = sympy.transpose
PRECISION, COVARIANCE, MEAN, INPUT = matrices("A Sigma mu x")
_RULES = {_T(PRECISION): PRECISION, _T(COVARIANCE): COVARIANCE, COVARIANCE * PRECISION: 1}
_LOGIT = sympy.Symbol("ell", real=True)


def _value(word: sympy.Expr) -> sympy.Expr:
    """A word that is a number, as a trace, averaged with its transpose: A is symmetric."""
    return sympy.expand(trace(reduced(word + _T(word), _RULES)) / 2)


def _logit_residual() -> sympy.Expr:
    """The difference of the two classes' exponents is 2μᵀAx, x measured from the midpoint."""

    def exponent(mean: sympy.Expr) -> sympy.Expr:
        return -_T(INPUT - mean) * PRECISION * (INPUT - mean) / 2

    difference = exponent(MEAN) - exponent(-MEAN) - 2 * _T(MEAN) * PRECISION * INPUT
    return _value(sympy.expand(difference))


def _law_residual() -> sympy.Expr:
    """ℓ − λ has the means ±2δ² and the variance 4δ²."""
    slope = 2 * PRECISION * MEAN
    squared = _T(MEAN) * PRECISION * MEAN
    return first_nonzero(
        _value(_T(slope) * MEAN - 2 * squared),
        _value(_T(slope) * COVARIANCE * slope - 4 * squared),
    )


def _gradient_residual(logit_scale: sympy.Expr) -> sympy.Expr:
    """∇ℓ = 2Aμ: the logit's AGOP is 4AμμᵀA; η' = η(1−η) = ¼ sech²(ℓ/2)."""
    slope = 2 * PRECISION * MEAN
    outer = reduced(
        slope * _T(slope) - logit_scale * PRECISION * MEAN * _T(MEAN) * PRECISION, _RULES
    )
    eta = 1 / (1 + sympy.exp(-_LOGIT))
    square = (sympy.sech(_LOGIT / 2) ** 2 / 4).rewrite(sympy.exp)
    return first_nonzero(
        sympy.expand(outer),
        sympy.simplify(sympy.diff(eta, _LOGIT) - eta * (1 - eta)),
        sympy.simplify(eta * (1 - eta) - square),
    )


def _density(mean: sympy.Expr) -> sympy.Expr:
    """Of ℓ at λ + 2δz, times dℓ/dz = 2δ."""
    variance = 4 * SEPARATION**2
    offset = 2 * SEPARATION * STANDARD - mean
    return (
        2 * SEPARATION * sympy.exp(-(offset**2) / (2 * variance)) / sympy.sqrt(2 * sympy.pi)
    ) / sympy.sqrt(variance)


def _integrand_residual(integrand: sympy.Expr) -> sympy.Expr:
    """4η²(1−η)² times the mixture's density, divided by the claimed integrand, is 1."""
    pi = 1 / (1 + sympy.exp(-LOG_ODDS))
    mixture = pi * _density(2 * SEPARATION**2) + (1 - pi) * _density(-2 * SEPARATION**2)
    weight = sympy.sech(LOG_ODDS / 2 + SEPARATION * STANDARD) ** 4 / 4
    ratio = _exponentials(weight * mixture) / _exponentials(integrand)
    return sympy.simplify(ratio) - 1


def _exponentials(expression: sympy.Expr) -> sympy.Expr:
    return sympy.powsimp(sympy.expand(sympy.factor(expression.rewrite(sympy.exp))))


def _series_residual(small: sympy.Expr, second: sympy.Expr) -> sympy.Expr:
    """E f(a + δZ) = f + ½δ²f'' + O(δ⁴) for f = sech³.

    Its fourth derivative is a polynomial in sech and tanh, as theirs are: so it is bounded.
    """
    a = LOG_ODDS / 2
    bump = sympy.sech(a) ** 3
    curvature = sympy.diff(bump, LOG_ODDS, 2) * 4
    front = sympy.sech(a) / 4
    derived = front * (curvature - bump) / 2
    return first_nonzero(
        sympy.diff(sympy.sech(LOG_ODDS), LOG_ODDS) + sympy.sech(LOG_ODDS) * sympy.tanh(LOG_ODDS),
        sympy.expand(sympy.diff(sympy.tanh(LOG_ODDS), LOG_ODDS) - (1 - sympy.tanh(LOG_ODDS) ** 2)),
        sympy.simplify((front * bump - small).rewrite(sympy.exp)),
        sympy.simplify((derived - second).rewrite(sympy.exp)),
    )


def _moments_residual() -> sympy.Expr:
    """sech³ = (sech − sech'')/2; so ∫sech³ = π/2, ∫t² sech³ = ½(π³/4 − 2π), from sech's own.

    t² sech'' − 2 sech has the primitive t² sech' − 2t sech, which is 0 at both ends.
    """
    t = sympy.Symbol("t", real=True)
    bump = sympy.sech(t)
    identity = bump**3 - (bump - sympy.diff(bump, t, 2)) / 2
    primitive = 2 * sympy.atan(sympy.exp(t))
    ends = t**2 * sympy.diff(bump, t) - 2 * t * bump
    parts = sympy.diff(ends, t) - (t**2 * sympy.diff(bump, t, 2) - 2 * bump)
    total = sympy.limit(primitive, t, sympy.oo) - sympy.limit(primitive, t, -sympy.oo)
    return first_nonzero(
        sympy.simplify(identity.rewrite(sympy.exp)),
        sympy.expand(parts),
        sympy.simplify((sympy.diff(primitive, t) - bump).rewrite(sympy.exp)),
        total - sympy.pi,
    )


def _bounds_residual(large: sympy.Expr, deficit: sympy.Expr) -> sympy.Expr:
    """1 − x <= e^{−x} <= 1 with x = (t − a)²/2δ² in E sech³(a + δZ) = ∫ sech³ e^{−x}/(δ√2π)."""
    front = sympy.exp(-(SEPARATION**2) / 2) * sympy.sech(LOG_ODDS / 2) / 4
    mass = sympy.pi / 2
    second = (sympy.pi**3 / 4 - 2 * sympy.pi) / 2
    spread = second + LOG_ODDS**2 / 4 * mass
    derived = front * mass / (SEPARATION * sympy.sqrt(2 * sympy.pi))
    return first_nonzero(
        sympy.simplify(derived / large) - 1,
        sympy.simplify(spread / (2 * SEPARATION**2 * mass) - deficit),
    )


def derive_scale(
    integrand: sympy.Expr = INTEGRAND,
    small: sympy.Expr = SMALL,
    second_order: sympy.Expr = SECOND_ORDER,
    large: sympy.Expr = LARGE,
    deficit: sympy.Expr = DEFICIT,
    logit_scale: sympy.Expr = LOGIT_SCALE,
) -> Derivation:
    """Derive the AGOP of the Bayes predictor and of its logit, for all dimensions and priors.

    Args:
        integrand: In ``STANDARD``, ``SEPARATION`` and ``LOG_ODDS``, to compare with.
        small: c at δ = 0, likewise.
        second_order: The coefficient of δ², likewise.
        large: The upper bound U, likewise.
        deficit: v of the lower bound U(1 − v), likewise.
        logit_scale: The factor of the logit's AGOP, likewise.

    Source: this project.
    """
    steps = (
        Step("The log-likelihood ratio is 2μᵀΣ⁻¹(x−m).", _logit_residual),
        Step("ℓ | ± ~ N(λ ± 2δ², 4δ²).", _law_residual),
        Step("∇η = η(1−η)∇ℓ, ∇ℓ = 2Σ⁻¹μ.", partial(_gradient_residual, logit_scale)),
        Step("∫sech = π and sech³ = (sech − sech'')/2.", _moments_residual),
        Step("1 − x <= e^{−x} <= 1 bounds c.", partial(_bounds_residual, large, deficit)),
        Step("δ → 0, to second order.", partial(_series_residual, small, second_order)),
        Step("The mixture's density in z.", partial(_integrand_residual, integrand)),
    )
    cites = ("∫t² sech t dt = π³/4, from Euler's 1 − 1/27 + 1/125 − … = π³/32",)
    return Derivation("AGOP(η) = c(δ, π) Σ⁻¹μμᵀΣ⁻¹.", steps, cites)
