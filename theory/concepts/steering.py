r"""Shifts x → x + t that change the Bayes logit by Δ, and what they cost.

Classes N(m ± μ, Σ). The Bayes logit 2μᵀΣ⁻¹(x − m) + log(π/(1 − π)) changes by Δ = 2μᵀΣ⁻¹t at
every x, whatever the prior. A class moved by t has KL = ½tᵀΣ⁻¹t, in either order of the arguments.

    least KL:   t = Δ/(2δ²) μ,                      KL = Δ²/(8δ²),        δ² = μᵀΣ⁻¹μ;
    least norm: t = Δ/(2μᵀΣ⁻²μ) Σ⁻¹μ,               |t|² = Δ²/(4μᵀΣ⁻²μ);
    between:    t ∝ (I + λΣ)⁻¹μ, which minimises ½tᵀΣ⁻¹t + ½λ|t|²: λ = 0 is the first, λ = ∞ the
                second; all of them together are the Pareto front.

With q_k = μᵀΣ^{−k}μ and K(u) = (uᵀΣu)(uᵀΣ⁻¹u)/|u|⁴, which lies between 1 and (1 + κ)²/(4κ):

    KL of the least-norm shift / least KL       = q₃q₁/q₂² = K(Σ⁻¹μ),
    |t|² of the least-KL shift / least |t|²     = q₀q₂/q₁² = K(Σ^{-1/2}μ),
    1/(squared efficiency of the mean difference) = K(μ).

The three have the same sharp bound and are different numbers: Σ = diag(1, 4), μ = (1, 1) has
325/289, 34/25 and 25/16. Each is 1 iff μ is an eigenvector of Σ.

Hypotheses that the statement needs: equal class covariances (otherwise the logit is quadratic and
its change depends on x); Σ ≻ 0; and the moved law, see `theory.concepts.tilting`.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from functools import partial
from numbers import Real

import numpy as np
import sympy
from numpy.typing import ArrayLike

from ..arrays import RealArray
from ..derivation import Derivation, Step, first_nonzero
from ..matrix_words import matrices, reduced
from ..rfm.doubles import representable
from ..validation import positive
from .class_moments import (
    definite_eigenvalues,
    direction_vector,
    half_difference_and_covariance,
    probability,
    real_number,
)

CHANGE, LOG_ODDS = sympy.symbols("Delta ell", real=True)
PENALTY, EIGENVALUE, FRONT_NORMALISER = sympy.symbols("lambda s omega", positive=True)
COMPONENT = sympy.Symbol("mu_i", real=True)
SIGN = sympy.Symbol("y", real=True)
MOMENTS = sympy.symbols("q_0 q_1 q_2 q_3", positive=True)
"""q_k = μᵀΣ^{−k}μ; q_1 = δ²."""

_q0, _q1, _q2, _q3 = MOMENTS

LEAST_DIVERGENCE_FACTOR = CHANGE / (2 * _q1)
"""The shift of least KL is this times μ."""

LEAST_DIVERGENCE = CHANGE**2 / (8 * _q1)
"""Its KL."""

LEAST_NORM_FACTOR = CHANGE / (2 * _q2)
"""The shift of least norm is this times Σ⁻¹μ."""

DIVERGENCE_PRICE = _q3 * _q1 / _q2**2
"""KL of the least-norm shift over the least KL."""

NORM_PRICE = _q0 * _q2 / _q1**2
"""Squared norm of the least-KL shift over the least squared norm."""

FRONT_COMPONENT = CHANGE * COMPONENT / (2 * FRONT_NORMALISER * (1 + PENALTY * EIGENVALUE))
"""t_i in Σ's eigenbasis."""

FRONT_TERM = COMPONENT**2 / (EIGENVALUE * (1 + PENALTY * EIGENVALUE))
"""Summand of ω."""

RATE = sympy.erfc(-(LOG_ODDS + 2 * SIGN * _q1 + CHANGE) / (2 * sympy.sqrt(2 * _q1))) / 2
"""P(logit > 0) of the class y = ±1 after the change, ℓ = log(π/(1 − π))."""


@dataclass(frozen=True)
class ShiftEffect:
    """What a shift does.

    Attributes:
        change: Of the Bayes logit, at every x.
        divergence: KL of a class moved by it from the class as it was, in nats.
        norm: Its length.
    """

    change: float
    divergence: float
    norm: float


@dataclass(frozen=True)
class SteeringPrice:
    """What it costs to use one optimal shift where the other is asked for; both at least 1.

    Attributes:
        divergence: KL of the least-norm shift over the least KL.
        squared_norm: Squared norm of the least-KL shift over the least squared norm.
    """

    divergence: float
    squared_norm: float


def steering_shift(
    half_difference: ArrayLike, covariance: ArrayLike, change: float, penalty: float = 0.0
) -> RealArray:
    """Return the shift that changes the Bayes logit by Δ with least ½tᵀΣ⁻¹t + ½λ|t|².

    Args:
        half_difference: μ, shape (d,).
        covariance: Σ of both classes, shape (d, d).
        change: Δ, of either sign.
        penalty: λ: 0 for the least KL (along μ), inf for the least norm (along Σ⁻¹μ).

    Raises:
        TypeError: If entries, Δ or λ are not real numbers.
        ValueError: If shapes do not fit, an entry or Δ is NaN or infinite, λ is negative or NaN,
            μ = 0, or Σ is not symmetric positive definite.
        OverflowError: If the shift is larger than every double.

    Source: this project.

    Example:
        >>> steering_shift([1.0, 1.0], [[1.0, 0.0], [0.0, 4.0]], 2.5)
        array([1., 1.])
        >>> steering_shift([1.0, 1.0], [[1.0, 0.0], [0.0, 4.0]], 2.125, np.inf)
        array([1.  , 0.25])
    """
    mu, values, vectors = _spectrum(half_difference, covariance)
    size, most = float(np.abs(mu).max()), float(values[-1])
    parts, scaled = vectors.T @ (mu / size), values / most
    delta, weight = real_number("change", change), _penalty(penalty) * most
    shrunk = parts / (1 + weight * scaled if weight <= 1 else 1 / weight + scaled)
    factor = delta / (2 * float(np.sum(parts * shrunk / scaled))) * (most / size)
    t: RealArray = vectors @ (shrunk * representable("the shift", factor))
    return t


def shift_effect(
    shift: ArrayLike, half_difference: ArrayLike, covariance: ArrayLike
) -> ShiftEffect:
    """Return logit change, KL and norm of a shift t along anything.

    Args:
        shift: t, shape (d,), not 0; of a direction v and a coefficient ε: εv.
        half_difference: μ, shape (d,).
        covariance: Σ, shape (d, d).

    Raises:
        TypeError: If entries are not real numbers.
        ValueError: If shapes do not fit, an entry is NaN or infinite, t or μ is 0, or Σ is not
            symmetric positive definite.
        OverflowError: If the change, the KL or the norm is larger than every double.

    Source: this project.

    Example:
        >>> shift_effect([1.0, 1.0], [1.0, 1.0], [[1.0, 0.0], [0.0, 4.0]])
        ShiftEffect(change=2.5, divergence=0.625, norm=1.4142135623730951)
    """
    mu, values, vectors = _spectrum(half_difference, covariance)
    t = direction_vector(shift, len(mu), "shift")
    size, length, root = np.abs(mu).max(), np.abs(t).max(), math.sqrt(values[-1])
    parts, along = vectors.T @ (mu / size), vectors.T @ (t / length)
    scaled, reach = values / values[-1], float(length) / root
    return ShiftEffect(
        representable(
            "the change", 2 * float(np.sum(parts * along / scaled)) * reach * float(size) / root
        ),
        representable("the KL", float(np.sum(along**2 / scaled)) / 2 * reach * reach),
        representable("the norm", math.hypot(*t.tolist())),
    )


def steering_price(half_difference: ArrayLike, covariance: ArrayLike) -> SteeringPrice:
    """Return what each optimal shift costs in the other's measure, whatever the change.

    Arguments and errors are those of `shift_effect`, but for the shift.

    Source: this project.

    Example:
        >>> price = steering_price([1.0, 1.0], [[1.0, 0.0], [0.0, 4.0]])
        >>> price.divergence * 289, price.squared_norm * 25
        (325.0, 34.0)
    """
    mu, values, vectors = _spectrum(half_difference, covariance)
    parts = (vectors.T @ (mu / np.abs(mu).max())) ** 2
    scaled = values / values[0]
    q0, q1, q2, q3 = (float(np.sum(parts / scaled**k)) for k in range(4))
    return SteeringPrice(q3 * q1 / q2**2, q0 * q2 / q1**2)


def concept_rate(
    change: float, separation: float, prior: float = 0.5, *, law: str = "mixture"
) -> float:
    """Return P(Bayes logit > 0) after a shift that changes the logit by Δ.

    Args:
        change: Δ.
        separation: δ > 0.
        prior: π.
        law: Which law is shifted: the class "positive" or "negative", or their "mixture".

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If Δ is not finite, δ not positive, π not strictly between 0 and 1, or the law
            another.

    Source: this project.

    Example:
        >>> concept_rate(0.0, 1.0), concept_rate(2.0, 1.0, law="negative")
        (0.5, 0.5)
    """
    delta, share = real_number("change", change), probability("prior", prior)
    size = positive("separation", separation)
    shares = {"mixture": (share, 1 - share), "positive": (1.0, 0.0), "negative": (0.0, 1.0)}
    if not isinstance(law, str) or law not in shares:
        raise ValueError(f"law = {law!r}; allowed: {', '.join(shares)}")
    log_odds = math.log(share / (1 - share))
    rates = [
        math.erfc(-((log_odds + delta) / size + 2 * sign * size) / math.sqrt(8)) / 2
        for sign in (1, -1)
    ]
    return float(np.dot(shares[law], rates))


def _spectrum(
    half_difference: ArrayLike, covariance: ArrayLike
) -> tuple[RealArray, RealArray, RealArray]:
    mu, sigma = half_difference_and_covariance(half_difference, covariance)
    return mu, *definite_eigenvalues(sigma)


def _penalty(value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"penalty = {value!r} must be a number >= 0, or inf")
    if not value >= 0:
        raise ValueError(f"penalty = {value!r} must be a number >= 0, or inf")
    return float(value) if value <= sys.float_info.max else math.inf


# --- derivation -------------------------------------------------------------------------------

_T = sympy.transpose
_R, _S, _H, _F, _mu, _t, _w, _x, _m = matrices("R S H F mu t w x m")
_INVERSE = {
    _S * _R: sympy.Integer(1),
    _R * _S: sympy.Integer(1),
    _T(_R): _R,
    _T(_S): _S,
}
_LETTERS = {
    _T(_mu) * _R**3 * _mu: _q3,
    _T(_mu) * _R**2 * _mu: _q2,
    _T(_mu) * _R * _mu: _q1,
    _T(_mu) * _mu: _q0,
}


def _value(word: sympy.Expr) -> sympy.Expr:
    return reduced(sympy.expand(reduced(sympy.expand(word), _INVERSE)), _LETTERS)


def _logit_residual() -> sympy.Expr:
    """−½(x − m − μ)ᵀR(x − m − μ) + ½(x − m + μ)ᵀR(x − m + μ) = 2μᵀR(x − m), at x + t as well."""
    rules = {_T(_R): _R}

    def logit(x: sympy.Expr) -> sympy.Expr:
        above, below = x - _mu, x + _mu
        gap = _T(below) * _R * below - _T(above) * _R * above
        return sympy.expand(gap) / 2

    change = logit(_x + _t) - logit(_x) - _T(_mu) * _R * _t - _T(_t) * _R * _mu
    return sympy.expand(reduced(sympy.expand(change), rules))


def _shift_divergence_residual() -> sympy.Expr:
    """E over x ~ N(m + t, Σ) of log(f_t/f): the mean of tᵀR(x − m) − ½tᵀRt is ½tᵀRt."""
    log_ratio = (_T(_x) * _R * _x - _T(_x - _t) * _R * (_x - _t)) / 2
    linear = (_T(_x) * _R * _t + _T(_t) * _R * _x) / 2 - _T(_t) * _R * _t / 2
    mean = linear.subs(_x, _t)
    return first_nonzero(
        sympy.expand(sympy.expand(log_ratio) - sympy.expand(linear)),
        sympy.expand(sympy.expand(mean) - _T(_t) * _R * _t / 2),
    )


def _least_divergence_residual(factor: sympy.Expr, divergence: sympy.Expr) -> sympy.Expr:
    """t = cμ has 2μᵀRt = Δ and the claimed ½tᵀRt."""
    t = factor * _mu
    return first_nonzero(
        sympy.simplify(_value(2 * _T(_mu) * _R * t) - CHANGE),
        sympy.simplify(_value(_T(t) * _R * t) / 2 - divergence),
    )


def _least_norm_residual(factor: sympy.Expr) -> sympy.Expr:
    """t = cRμ has 2μᵀRt = Δ; |t + w|² = |t|² + |w|² for every w with μᵀRw = 0."""
    t = factor * _R * _mu
    unchanged = {_T(_mu) * _R * _w: sympy.Integer(0), _T(_w) * _R * _mu: sympy.Integer(0)}
    excess = sympy.expand(_T(t + _w) * (t + _w) - _T(t) * t - _T(_w) * _w)
    return first_nonzero(
        sympy.simplify(_value(2 * _T(_mu) * _R * t) - CHANGE),
        reduced(reduced(excess, _INVERSE), unchanged),
    )


def _front_excess_residual() -> sympy.Expr:
    """J(t + w) − J(t) = ½wᵀ(R + λ)w for t = cFμ, (R + λ)F = R, and w with μᵀRw = 0.

    F = (R + λ)⁻¹R = (I + λΣ)⁻¹. λ = 0 is the least KL.
    """
    c = sympy.Symbol("c", real=True)
    rules = {
        _R * _F: _R - PENALTY * _F,
        _T(_F) * _R: _R - PENALTY * _T(_F),
        _T(_R): _R,
        _T(_mu) * _R * _w: sympy.Integer(0),
        _T(_w) * _R * _mu: sympy.Integer(0),
    }
    t = c * _F * _mu

    def cost(shift: sympy.Expr) -> sympy.Expr:
        return sympy.expand(_T(shift) * _R * shift + PENALTY * _T(shift) * shift) / 2

    return sympy.expand(reduced(sympy.expand(cost(t + _w) - cost(t) - cost(_w)), rules))


def _front_component_residual(component: sympy.Expr, term: sympy.Expr) -> sympy.Expr:
    """In the eigenbasis F is 1/(1 + λs), and 2Σ μ_i t_i/s_i = Δ for ω the sum of the terms."""
    s, mu = EIGENVALUE, COMPONENT
    F = (1 / s) / (1 / s + PENALTY)
    c = CHANGE / (2 * FRONT_NORMALISER)
    return first_nonzero(
        sympy.simplify(component - c * F * mu), sympy.simplify(term - mu * F * mu / s)
    )


def _exchange_residual() -> sympy.Expr:
    """Optima 1, 2 of D + λ₁N, D + λ₂N: with gaps g₁, g₂ ≥ 0, (λ₂ − λ₁)(N₁ − N₂) = g₁ + g₂.

    So the norm falls and (with the first gap) the KL grows along the front, strictly where the
    shifts differ.
    """
    d1, d2, n1, n2, first, second = sympy.symbols("D_1 D_2 N_1 N_2 lambda_1 lambda_2")
    gap_1 = d2 + first * n2 - d1 - first * n1
    gap_2 = d1 + second * n1 - d2 - second * n2
    return first_nonzero(
        sympy.expand(gap_1 + gap_2 - (second - first) * (n1 - n2)),
        sympy.expand(d2 - d1 - gap_1 - first * (n1 - n2)),
    )


def _price_residual(divergence: sympy.Expr, norm: sympy.Expr) -> sympy.Expr:
    """From the two shifts themselves."""
    direct, short = LEAST_DIVERGENCE_FACTOR * _mu, LEAST_NORM_FACTOR * _R * _mu
    costs = [_value(_T(t) * _R * t) for t in (short, direct)]
    norms = [_value(_T(t) * t) for t in (direct, short)]
    return first_nonzero(
        sympy.simplify(costs[0] / costs[1] - divergence),
        sympy.simplify(norms[0] / norms[1] - norm),
    )


def _quotient_residual(divergence: sympy.Expr, norm: sympy.Expr) -> sympy.Expr:
    """K(u) at u = Rμ, and at u = Hμ, H² = R, HSH = 1 (H the root, which commutes with S)."""
    u = _R * _mu
    first = _value(_T(u) * _S * u) * _value(_T(u) * _R * u) / _value(_T(u) * u) ** 2
    rules = {_T(_H): _H, _H * _S * _H: sympy.Integer(1), _H * _R * _H: _R**2, _H**2: _R}
    u = _H * _mu

    def half(word: sympy.Expr) -> sympy.Expr:
        return reduced(reduced(sympy.expand(word), rules), _LETTERS)

    second = half(_T(u) * _S * u) * half(_T(u) * _R * u) / half(_T(u) * u) ** 2
    return first_nonzero(sympy.simplify(first - divergence), sympy.simplify(second - norm))


def _different_residual(divergence: sympy.Expr, norm: sympy.Expr) -> sympy.Expr:
    """Σ = diag(1, 4), μ = (1, 1): 325/289, 34/25 and K(μ) = 25/16."""
    q = {name: 1 + sympy.Rational(1, 4**k) for k, name in enumerate(MOMENTS)}
    own = sympy.Rational(5) * q[_q1] / 4
    return first_nonzero(
        divergence.subs(q) - sympy.Rational(325, 289),
        norm.subs(q) - sympy.Rational(34, 25),
        own - sympy.Rational(25, 16),
    )


def _rate_residual(rate: sympy.Expr) -> sympy.Expr:
    """The logit of the class y is N(ℓ + 2yδ² + Δ, 4δ²), as 2μᵀΣ⁻¹(x − m) has these moments."""
    mean = _value(2 * _T(_mu) * _R * _mu)
    variance = _value(4 * _T(_mu) * _R * _S * _R * _mu)
    z = (LOG_ODDS + SIGN * mean + CHANGE) / sympy.sqrt(variance)
    return sympy.simplify(rate - sympy.erfc(-z / sympy.sqrt(2)) / 2)


def _unequal_residual() -> sympy.Expr:
    """Covariances 1 and 4 on the line, μ = 1: the logit's change by t depends on x."""
    x, t = sympy.symbols("x t", real=True)
    logit = -((x - 1) ** 2) / 2 + (x + 1) ** 2 / 8
    slope = sympy.diff(logit.subs(x, x + t) - logit, x)
    return sympy.expand(slope + sympy.Rational(3, 4) * t)


def derive_steering(
    least_divergence: sympy.Expr = LEAST_DIVERGENCE,
    divergence_factor: sympy.Expr = LEAST_DIVERGENCE_FACTOR,
    norm_factor: sympy.Expr = LEAST_NORM_FACTOR,
    divergence_price: sympy.Expr = DIVERGENCE_PRICE,
    norm_price: sympy.Expr = NORM_PRICE,
    front_component: sympy.Expr = FRONT_COMPONENT,
    front_term: sympy.Expr = FRONT_TERM,
    rate: sympy.Expr = RATE,
) -> Derivation:
    """Derive the two optimal shifts, their front and prices, for all sizes.

    Args:
        least_divergence: In ``CHANGE`` and ``MOMENTS``, to compare with.
        divergence_factor: The same.
        norm_factor: The same.
        divergence_price: In ``MOMENTS``.
        norm_price: In ``MOMENTS``.
        front_component: In ``CHANGE``, ``COMPONENT``, ``EIGENVALUE``, ``PENALTY`` and
            ``FRONT_NORMALISER``.
        front_term: The same.
        rate: In ``LOG_ODDS``, ``SIGN``, ``CHANGE`` and ``MOMENTS``.

    Source: this project.
    """
    prices = (divergence_price, norm_price)
    least = partial(_least_divergence_residual, divergence_factor, least_divergence)
    steps = (
        Step("The logit changes by 2μᵀΣ⁻¹t everywhere.", _logit_residual),
        Step("Not so with unequal covariances.", _unequal_residual),
        Step("KL of a shift is ½tᵀΣ⁻¹t.", _shift_divergence_residual),
        Step("Whatever keeps the change adds cost (λ = 0: KL alone).", _front_excess_residual),
        Step("The front is monotone.", _exchange_residual),
        Step("Least KL.", least),
        Step("Least norm.", partial(_least_norm_residual, norm_factor)),
        Step("The front.", partial(_front_component_residual, front_component, front_term)),
        Step("The rate.", partial(_rate_residual, rate)),
        Step("The prices are K(Σ⁻¹μ) and K(Σ^{-1/2}μ).", partial(_quotient_residual, *prices)),
        Step("They are different numbers.", partial(_different_residual, *prices)),
        Step("The prices of the two shifts.", partial(_price_residual, *prices)),
    )
    cites = ("spectral theorem", "Pareto optima of convex functions minimise weighted sums of them")
    return Derivation("Least KL along μ, least norm along Σ⁻¹μ.", steps, cites)
