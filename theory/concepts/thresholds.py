r"""The best threshold on a direction's scores, and its error, with priors.

Scores centred at the midpoint are N(±a, s²), r = a/s > 0, L = log((1 − π)/π):

    threshold t = s²L/(2a),
    error = πΦ(L/(2r) − r) + (1 − π)Φ(−L/(2r) − r).

For r ≤ 0 no threshold beats the constant answer, whose error is min(π, 1 − π).
"""

from __future__ import annotations

import math
from functools import partial

import sympy
from numpy.typing import ArrayLike
from scipy import special

from ..derivation import Derivation, Step
from .auc import SEPARATION
from .class_moments import half_difference_and_covariance, law_of_scores, probability
from .principal import PRIOR

PROJECTION, SPREAD = sympy.symbols("a s", positive=True)
_r = sympy.Symbol("r", positive=True)
_LOG_ODDS = sympy.log((1 - PRIOR) / PRIOR)

THRESHOLD = SPREAD**2 * _LOG_ODDS / (2 * PROJECTION)
"""Of scores less the midpoint's."""

ERROR = (
    PRIOR * sympy.erfc((SEPARATION - _LOG_ODDS / (2 * SEPARATION)) / sympy.sqrt(2)) / 2
    + (1 - PRIOR) * sympy.erfc((SEPARATION + _LOG_ODDS / (2 * SEPARATION)) / sympy.sqrt(2)) / 2
)
"""In r and π."""


def predicted_accuracy(
    direction: ArrayLike,
    half_difference: ArrayLike,
    covariance: ArrayLike,
    negative_covariance: ArrayLike | None = None,
    *,
    prior: float = 0.5,
) -> float:
    """Return the accuracy of "vᵀx above the best threshold" between two Gaussian classes.

    The answer "all" or "none" counts as a threshold at ∓∞. Covariances may be singular; scores
    without variance in either class are told apart wholly if vᵀμ > 0.

    Args:
        direction: v, shape (d,), of any length; −v is another rule.
        half_difference: μ, shape (d,).
        covariance: Σ₊, shape (d, d); of both classes if the next is not given.
        negative_covariance: Σ₋, shape (d, d).
        prior: π, the share of the class 1.

    Raises:
        TypeError: If entries or the prior are not real numbers.
        ValueError: If shapes do not fit, an entry is NaN or infinite, v or μ is 0, a covariance is
            not symmetric or has a negative eigenvalue, the prior is not strictly between 0 and 1,
            or the scores vary in one class only, against the other to 1e-100.

    Source: this project.

    Example:
        >>> round(predicted_accuracy([1.0, 0.0], [1.0, 0.0], [[1.0, 0.0], [0.0, 9.0]]), 6)
        0.841345
    """
    mu, first = half_difference_and_covariance(half_difference, covariance)
    second = first
    if negative_covariance is not None:
        _, second = half_difference_and_covariance(mu, negative_covariance, "negative_covariance")
    share = probability("prior", prior)
    projection, (plus, minus) = law_of_scores(direction, mu, first, second)
    return 1 - _least_error(projection, plus, minus, share)


def _least_error(a: float, plus: float, minus: float, prior: float) -> float:
    constant = min(prior, 1 - prior)
    if abs(a) >= 100 * (plus + minus):  # the better threshold errs less than every double
        return 0.0 if a > 0 else constant
    if min(plus, minus) < 1e-100 * max(plus, minus):
        raise ValueError(
            "direction: its scores vary in one class only, against the other to 1e-100; "
            "both or none is allowed"
        )
    candidates = _crossings(a, plus, minus, prior)
    errors = [
        prior * special.ndtr((t - a) / plus) + (1 - prior) * special.ndtr((-a - t) / minus)
        for t in candidates
    ]
    return float(min([constant, *errors]))


def _crossings(a: float, plus: float, minus: float, prior: float) -> list[float]:
    """Where π and 1 − π times the two densities meet: (t + a)²/σ₋² − (t − a)²/σ₊² = 2L'."""
    unit = max(plus, minus)
    a, p, q = a / unit, (unit / plus) ** 2, (unit / minus) ** 2
    log = math.log((1 - prior) / prior) + math.log(plus / minus)
    square, half, rest = q - p, a * (p + q), a * a * (q - p) - 2 * log
    discriminant = 4 * a * a * p * q + 2 * square * log  # half² − square · rest, not cancelled
    if discriminant < 0:
        return []
    lead = -(half + math.copysign(math.sqrt(discriminant), half))
    roots = [*([lead / square] if square else []), *([rest / lead] if lead else [])]
    return [unit * root for root in roots]


# --- derivation -------------------------------------------------------------------------------


def _density_residual(threshold: sympy.Expr) -> sympy.Expr:
    """The error's slope is πf₊ − (1 − π)f₋, with the sign of log(πf₊/((1 − π)f₋)) = 2at/s² − L.

    For a > 0 it grows through 0 once: there the error is least.
    """
    t = sympy.Symbol("t", real=True)
    log_ratio = ((t + PROJECTION) ** 2 - (t - PROJECTION) ** 2) / (2 * SPREAD**2) - _LOG_ODDS
    return sympy.simplify(log_ratio.subs(t, threshold))


def _error_residual(error: sympy.Expr, threshold: sympy.Expr) -> sympy.Expr:
    """πΦ((t − a)/s) + (1 − π)Φ((−a − t)/s) at the threshold, in r = a/s."""

    def phi(x: sympy.Expr) -> sympy.Expr:
        return sympy.erfc(-x / sympy.sqrt(2)) / 2

    t, a, s = threshold, PROJECTION, SPREAD
    derived = PRIOR * phi((t - a) / s) + (1 - PRIOR) * phi((-a - t) / s)
    in_r = derived.subs(PROJECTION, _r * SPREAD)
    return sympy.simplify(sympy.expand(in_r) - sympy.expand(error.subs(SEPARATION, _r)))


def derive_threshold(threshold: sympy.Expr = THRESHOLD, error: sympy.Expr = ERROR) -> Derivation:
    """Derive the best threshold and its error, for r > 0.

    Args:
        threshold: In ``PROJECTION``, ``SPREAD`` and ``PRIOR``, to compare with.
        error: In ``SEPARATION`` and ``PRIOR``, to compare with.

    Source: classical.
    """
    steps = (
        Step("The densities cross once.", partial(_density_residual, threshold)),
        Step("The error there.", partial(_error_residual, error, THRESHOLD)),
    )
    return Derivation("The best threshold and its error.", steps)
