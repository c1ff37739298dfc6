r"""The AUC of a direction, the best one, and what the mean difference loses.

Scores s = vᵀx of x | ± ~ N(m ± μ, Σ_±); with Σ = (Σ₊ + Σ₋)/2

    AUC(v) = P(s₊ > s₋) = Φ(2vᵀμ/√(vᵀ(Σ₊ + Σ₋)v)) = Φ(√2 r) = (1 + erf r)/2,
    r(v) = vᵀμ/√(vᵀΣv)    (the direction's separation).

- r ≤ δ = √(μᵀΣ⁻¹μ), with equality iff v is a positive multiple of Σ⁻¹μ.
- v = μ: r = ηδ with η² = |μ|⁴/((μᵀΣμ)(μᵀΣ⁻¹μ)), and η ≥ 2√κ/(1 + κ), κ the condition number of Σ.
  This factor is one of separations. Of areas it follows that AUC(μ) ≥ Φ(η Φ⁻¹(AUC*)), AUC* the
  best one, which is sharp, and AUC(μ) − ½ ≥ η(AUC* − ½), which is not (δ → 0 is its limit). The
  error areas 1 − AUC have no such factor: their ratio has no bound as δ grows.
- The largest difference AUC* − AUC(μ) at a given η is at δ² = log(1/η)/(1 − η²).
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import sympy
from numpy.typing import ArrayLike

from ..arrays import RealArray
from ..closed_form import ClosedForm
from ..derivation import Derivation, Step, first_nonzero
from ..matrix_words import matrices, reduced
from .class_moments import (
    definite_eigenvalues,
    half_difference_and_covariance,
    law_of_scores,
    real_number,
)

SEPARATION = sympy.Symbol("r", real=True)
LOSS_FACTOR = sympy.Symbol("eta", positive=True)
PROJECTION, POSITIVE_VARIANCE, NEGATIVE_VARIANCE = sympy.symbols("a p q", positive=True)

AUC = ClosedForm("concepts.auc", (1 + sympy.erf(SEPARATION)) / 2, SEPARATION, (-sympy.oo, sympy.oo))
"""Φ(√2 r)."""

PROJECTED_SEPARATION = (
    sympy.sqrt(2) * PROJECTION / sympy.sqrt(POSITIVE_VARIANCE + NEGATIVE_VARIANCE)
)
"""r in a = vᵀμ, p = vᵀΣ₊v and q = vᵀΣ₋v."""

WORST_SEPARATION = ClosedForm(
    "concepts.auc.worst_separation",
    sympy.sqrt(sympy.log(1 / LOSS_FACTOR) / (1 - LOSS_FACTOR**2)),
    LOSS_FACTOR,
    (sympy.Integer(0), sympy.Integer(1)),
)
"""The δ at which a direction of separation ηδ loses most of the AUC."""


def direction_separation(
    direction: ArrayLike,
    half_difference: ArrayLike,
    covariance: ArrayLike,
    negative_covariance: ArrayLike | None = None,
) -> float:
    """Return r(v) = vᵀμ/√(vᵀΣv), Σ = (Σ₊ + Σ₋)/2: the AUC is Φ(√2 r).

    Singular covariances are taken, for only vᵀΣv enters. Where that is 0 to rounding the scores
    do not vary within the classes, and r is ±∞, or 0 if vᵀμ is 0, too.

    Args:
        direction: v, shape (d,), of any length.
        half_difference: μ, shape (d,).
        covariance: Σ₊, shape (d, d); of both classes if the next is not given.
        negative_covariance: Σ₋, shape (d, d).

    Raises:
        TypeError: If entries are not real numbers.
        ValueError: If shapes do not fit, an entry is NaN or infinite, v or μ is 0, or a covariance
            is not symmetric or has a negative eigenvalue.

    Source: this project.
    """
    mu, sigma = mean_covariance(half_difference, covariance, negative_covariance)
    projection, (spread,) = law_of_scores(direction, mu, sigma)
    if spread:
        return projection / spread
    return math.copysign(math.inf, projection) if projection else 0.0


def predicted_auc(
    direction: ArrayLike,
    half_difference: ArrayLike,
    covariance: ArrayLike,
    negative_covariance: ArrayLike | None = None,
) -> float:
    """Return the AUC Φ(√2 r) of the direction between two Gaussian classes.

    Arguments and errors are those of `direction_separation`; scores without variance have the
    AUC 1, ½ or 0.

    Source: this project.

    Example:
        >>> predicted_auc([1.0, 0.0], [0.5, 2.0], [[4.0, 0.0], [0.0, 1.0]])
        0.6381631950841185
    """
    r = direction_separation(direction, half_difference, covariance, negative_covariance)
    return float(r > 0) if math.isinf(r) else float(AUC(r))


def best_direction(
    half_difference: ArrayLike,
    covariance: ArrayLike,
    negative_covariance: ArrayLike | None = None,
) -> RealArray:
    """Return the unit vector along Σ⁻¹μ, Σ = (Σ₊ + Σ₋)/2: of all directions it has the best AUC.

    Arguments are those of `direction_separation`, shape (d,) is returned.

    Raises:
        TypeError: As `direction_separation`.
        ValueError: As `direction_separation`, or Σ is singular.

    Source: this project.

    Example:
        >>> best_direction([3.0, 1.0], [[1.0, 0.0], [0.0, 0.25]])
        array([0.6, 0.8])
    """
    mu, sigma = mean_covariance(half_difference, covariance, negative_covariance)
    values, vectors = definite_eigenvalues(sigma)
    v = vectors @ ((vectors.T @ (mu / np.abs(mu).max())) / (values / values[-1]))
    return np.asarray(v / np.linalg.norm(v))


def mean_difference_efficiency(
    half_difference: ArrayLike,
    covariance: ArrayLike,
    negative_covariance: ArrayLike | None = None,
) -> float:
    """Return η = r(μ)/δ of the mean difference, between 2√κ/(1 + κ) and 1.

    Arguments and errors are those of `best_direction`.

    Source: this project.

    Example:
        >>> mean_difference_efficiency([1.0, 1.0], [[4.0, 0.0], [0.0, 1.0]])
        0.8
    """
    mu, sigma = mean_covariance(half_difference, covariance, negative_covariance)
    values, vectors = definite_eigenvalues(sigma)
    w, values = (vectors.T @ (mu / np.abs(mu).max())) ** 2, values / values[-1]
    return float(w.sum() / math.sqrt((w @ values) * (w @ (1 / values))))


def largest_auc_loss(efficiency: float) -> float:
    """Return the largest AUC* − AUC of a direction with r = ηδ, over all δ.

    Args:
        efficiency: η, from 0 (where ½ is approached, not attained) to 1.

    Raises:
        TypeError: If it is not a real number.
        ValueError: If it is not between 0 and 1.

    Source: this project.

    Example:
        >>> round(largest_auc_loss(0.8), 6)
        0.053771
    """
    eta = real_number("efficiency", efficiency)
    if not 0 <= eta <= 1:
        raise ValueError(f"efficiency = {efficiency!r} must be between 0 and 1")
    if eta in (0.0, 1.0):
        return 0.5 - eta / 2
    worst = float(WORST_SEPARATION(eta))
    return (math.erf(worst) - math.erf(eta * worst)) / 2


def mean_covariance(
    half_difference: ArrayLike, covariance: ArrayLike, negative_covariance: ArrayLike | None
) -> tuple[RealArray, RealArray]:
    """Return μ and (Σ₊ + Σ₋)/2, both checked."""
    mu, sigma = half_difference_and_covariance(half_difference, covariance)
    if negative_covariance is None:
        return mu, sigma
    _, other = half_difference_and_covariance(mu, negative_covariance, "negative_covariance")
    return mu, np.asarray(sigma / 2 + other / 2)


# --- derivation -------------------------------------------------------------------------------

_T = sympy.transpose
_S, _R, _v, _mu = matrices("S R v mu")
_g, _q, _d = sympy.symbols("g q d", positive=True)

BEST = _R * _mu
"""Σ⁻¹μ, in the words of the derivation: R is Σ⁻¹."""

_RULES = {
    _S * _R: sympy.Integer(1),
    _R * _S: sympy.Integer(1),
    _T(_S): _S,
    _T(_R): _R,
    _T(_v) * _S * _v: _q,
    _T(_mu) * _v: _g,
    _T(_v) * _mu: _g,
    _T(_mu) * _R * _mu: _d,
}


def _difference_residual() -> sympy.Expr:
    """Of s₊ − s₋: the product of characteristic functions is that of N(2a, p + q)."""
    t, m = sympy.symbols("t m", real=True)
    a, p, q = PROJECTION, POSITIVE_VARIANCE, NEGATIVE_VARIANCE
    upper = sympy.I * t * (m + a) - p * t**2 / 2
    lower = -sympy.I * t * (m - a) - q * t**2 / 2
    return sympy.expand(upper + lower - (sympy.I * t * 2 * a - (p + q) * t**2 / 2))


def _standardised_residual(separation: sympy.Expr) -> sympy.Expr:
    """P(N(2a, p + q) > 0) = Φ(2a/√(p + q)): √2 r is that quotient."""
    a, p, q = PROJECTION, POSITIVE_VARIANCE, NEGATIVE_VARIANCE
    return sympy.simplify(sympy.sqrt(2) * separation - 2 * a / sympy.sqrt(p + q))


def _area_residual(claimed: sympy.Expr) -> sympy.Expr:
    """Φ(√2 r) is 0 at −∞ and has the derivative √2 φ(√2 r)."""
    r = SEPARATION
    density = sympy.sqrt(2) * sympy.exp(-(r**2)) / sympy.sqrt(2 * sympy.pi)
    return first_nonzero(
        sympy.simplify(sympy.diff(claimed, r) - density), sympy.limit(claimed, r, -sympy.oo)
    )


def _best_residual(best: sympy.Expr) -> sympy.Expr:
    """With w = v − (g/δ²)b: wᵀΣw = vᵀΣv − g²/δ², so that r² ≤ δ², and < unless w = 0."""
    w = _v - _g / _d * best
    square = reduced(sympy.expand(_T(w) * _S * w), _RULES)
    return sympy.simplify(square - (_q - _g**2 / _d))


def _attained_residual(best: sympy.Expr) -> sympy.Expr:
    """b itself has bᵀμ = δ² > 0 and bᵀΣb = δ²: r = δ, with the right sign."""
    projection = reduced(sympy.expand(_T(best) * _mu), _RULES)
    variance = reduced(sympy.expand(_T(best) * _S * best), _RULES)
    return first_nonzero(sympy.expand(projection - _d), sympy.expand(variance - _d))


def _worst_residual(worst: sympy.Expr) -> sympy.Expr:
    """d/dδ [erf δ − erf ηδ] = 0 where e^{−δ²} = η e^{−η²δ²}: a maximum, as the slope falls there.

    The quotient of the two sides, η e^{(1 − η²)δ²}, grows with δ: one sign change, from + to −.
    """
    eta = LOSS_FACTOR
    quotient = sympy.log(eta) + (1 - eta**2) * worst**2
    sign = worst.subs(eta, sympy.Rational(1, 2))
    return first_nonzero(
        sympy.simplify(sympy.expand_log(quotient, force=True)),
        sympy.Integer(0 if sign.is_positive else 1),
    )


def _concave_residual() -> sympy.Expr:
    """AUC'' = −2r AUC' ≤ 0 for r ≥ 0: concave, hence AUC(ηδ) − ½ ≥ η(AUC(δ) − ½)."""
    slope = sympy.diff(AUC.expression, SEPARATION)
    return sympy.simplify(sympy.diff(slope, SEPARATION) + 2 * SEPARATION * slope)


def _unbounded_residual() -> sympy.Expr:
    """η = ½: (1 − AUC(δ/2))/(1 − AUC(δ)) is as its slopes' quotient ½e^{3δ²/4}: without bound."""
    d = sympy.Symbol("d", positive=True)
    error = 1 - AUC.expression
    upper, lower = (sympy.diff(error.subs(SEPARATION, x), d) for x in (d / 2, d))
    quotient = sympy.simplify(upper / lower)
    return first_nonzero(
        sympy.simplify(quotient - sympy.exp(3 * d**2 / 4) / 2),
        sympy.limit(error.subs(SEPARATION, d), d, sympy.oo),
        sympy.limit(1 / quotient, d, sympy.oo),
    )


def derive_auc(
    auc: sympy.Expr = AUC.expression,
    separation: sympy.Expr = PROJECTED_SEPARATION,
    best: sympy.Expr = BEST,
    worst: sympy.Expr = WORST_SEPARATION.expression,
) -> Derivation:
    """Derive the AUC of a direction, the best direction, and what a factor η costs.

    Args:
        auc: In ``SEPARATION``, to compare with.
        separation: In ``PROJECTION``, ``POSITIVE_VARIANCE`` and ``NEGATIVE_VARIANCE``.
        best: The best direction, a word as ``BEST``.
        worst: In ``LOSS_FACTOR``, to compare with.

    Source: this project.
    """
    steps = (
        Step("s₊ − s₋ ~ N(2a, p + q).", _difference_residual),
        Step("AUC − ½ is concave in r ≥ 0.", _concave_residual),
        Step("1 − AUC has no factor.", _unbounded_residual),
        Step("√2 r = 2a/√(p + q).", partial(_standardised_residual, separation)),
        Step("Φ(√2 r) = (1 + erf r)/2.", partial(_area_residual, auc)),
        Step("r ≤ δ: a square.", partial(_best_residual, best)),
        Step("r = δ along Σ⁻¹μ.", partial(_attained_residual, best)),
        Step("The largest loss at a given η.", partial(_worst_residual, worst)),
    )
    cites = (
        "characteristic functions determine laws",
        "P(s₊ = s₋) = 0 for densities",
        "L'Hôpital's rule",
    )
    return Derivation("AUC(v) = Φ(√2 r), largest at Σ⁻¹μ.", steps, cites)
