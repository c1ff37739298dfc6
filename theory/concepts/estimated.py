r"""What a mean difference that is estimated from samples is worth, on the average.

Classes N(m ± μ, σ²I) in dimension d, δ = |μ|/σ, n₊ and n₋ samples. The estimate is μ + τg with
g ~ N(0, σ²I), τ² = (1/n₊ + 1/n₋)/4. The AUC of its direction on fresh states has the mean

    E AUC = P(A > B),   A ~ χ²_d(α), B ~ χ²_d(β) independent and noncentral,
    α = δ²(1 + √2 τ)²/(2τ²),   β = δ²(1 − √2 τ)²/(2τ²),

exactly, at every d and n. As d → ∞ with dτ² → γ the AUC itself tends to Φ(√2 δ²/√(δ² + γ)).
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import sympy
from scipy import special, stats

from ..arrays import RealArray
from ..derivation import Derivation, Step, first_nonzero
from ..matrix_words import matrices, reduced
from ..validation import integer, nonnegative, positive
from .auc import AUC

STRENGTH, NOISE, LOAD = sympy.symbols("delta tau gamma", positive=True)
POSITIVE_COUNT, NEGATIVE_COUNT = sympy.symbols("n_+ n_-", positive=True)

SQUARED_NOISE = (1 / POSITIVE_COUNT + 1 / NEGATIVE_COUNT) / 4
"""τ²."""

UPPER_NONCENTRALITY = STRENGTH**2 * (1 + sympy.sqrt(2) * NOISE) ** 2 / (2 * NOISE**2)
"""α."""

LOWER_NONCENTRALITY = STRENGTH**2 * (1 - sympy.sqrt(2) * NOISE) ** 2 / (2 * NOISE**2)
"""β."""

LIMIT_SEPARATION = STRENGTH**2 / sympy.sqrt(STRENGTH**2 + LOAD)
"""The limiting r: the AUC is Φ(√2 r)."""

_MOST = 1e7
"""Terms of the largest double sum."""


def expected_auc(
    separation: float, dimension: int, positive_samples: int, negative_samples: int
) -> float:
    """Return E AUC of the estimated mean difference, for classes N(m ± μ, σ²I).

    Args:
        separation: δ = |μ|/σ.
        dimension: d.
        positive_samples: n₊ >= 1.
        negative_samples: n₋ >= 1.

    Raises:
        TypeError: If the separation is not a real number, or another argument no integer.
        ValueError: If δ is negative or not finite, an integer is less than 1, or δ²/τ² is so large
            that the sum is out of reach.

    Source: this project.

    Example:
        >>> round(expected_auc(1.0, 1, 10**4, 10**4), 6) == round(AUC(1.0), 6)
        True
    """
    delta, d = nonnegative("separation", separation), integer("dimension", dimension, 1)
    tau = _noise(positive_samples, negative_samples)
    roots = [delta / tau * abs(1 + sign * math.sqrt(2) * tau) / 2 for sign in (1, -1)]
    if (terms := math.prod(18 * root + 81 for root in roots)) > _MOST:
        raise ValueError(
            f"separation = {separation!r} with these samples: a sum of {terms:.3g} terms, more "
            f"than {_MOST:.3g}; use limiting_auc"
        )
    upper, lower = (2 * root**2 for root in roots)
    j, p = _poisson(upper / 2)
    k, q = _poisson(lower / 2)
    chances = special.betainc(d / 2 + k[:, np.newaxis], d / 2 + j, 0.5)
    return min(1.0, float(q @ chances @ p))


def limiting_auc(separation: float, load: float) -> float:
    """Return the AUC of the estimated mean difference as d → ∞ with d(1/n₊ + 1/n₋)/4 → γ.

    Args:
        separation: δ > 0.
        load: γ >= 0.

    Raises:
        TypeError: If an argument is not a real number.
        ValueError: If δ is not positive, γ negative, or one not finite.

    Source: this project.

    Example:
        >>> limiting_auc(1.0, 0.0) == AUC(1.0)
        True
    """
    delta, gamma = positive("separation", separation), nonnegative("load", load)
    return float(AUC(delta * (delta / math.hypot(delta, math.sqrt(gamma)))))


def _noise(positive_samples: int, negative_samples: int) -> float:
    n = integer("positive_samples", positive_samples, 1)
    m = integer("negative_samples", negative_samples, 1)
    return math.sqrt((1 / n + 1 / m) / 4)


def _poisson(mean: float) -> tuple[RealArray, RealArray]:
    """The counts that matter to 1e-16, and their probabilities."""
    width = 9 * math.sqrt(mean) + 40
    counts = np.arange(max(0, math.floor(mean - width)), math.ceil(mean + width) + 1)
    chances = stats.poisson.pmf(counts, mean)
    return counts.astype(np.float64), np.asarray(chances / chances.sum())


# --- derivation -------------------------------------------------------------------------------

_T = sympy.transpose
_u, _w, _mu = matrices("u w mu")


def _noise_residual(squared: sympy.Expr) -> sympy.Expr:
    """Half the difference of two means of n₊ and n₋ samples of variance 1."""
    variance = (1 / POSITIVE_COUNT + 1 / NEGATIVE_COUNT) * sympy.Rational(1, 2) ** 2
    return sympy.simplify(squared - variance)


def _polar_residual() -> sympy.Expr:
    """2uᵀw = |a|² − |b|² with a = (u + w)/√2, b = (u − w)/√2: independent for u, w ~ N(·, I)."""
    a, b = (sympy.expand((_u + sign * _w) / sympy.sqrt(2)) for sign in (1, -1))
    gap = _T(a) * a - _T(b) * b - _T(_u) * _w - _T(_w) * _u
    weights = [[form.coeff(letter) for letter in (_u, _w)] for form in (a, b)]
    moments = sympy.Matrix(weights) * sympy.Matrix(weights).T - sympy.eye(2)
    return first_nonzero(sympy.expand(gap), *moments)


def _noncentrality_residual(claimed: sympy.Expr, sign: int) -> sympy.Expr:
    """Estimate over τ has the mean μ/τ; a pair's difference 2μ + √2 ξ, over √2, the mean √2 μ."""
    rules = {_T(_mu) * _mu: STRENGTH**2}
    mean = (_mu / NOISE + sign * sympy.sqrt(2) * _mu) / sympy.sqrt(2)
    return sympy.simplify(reduced(sympy.expand(_T(mean) * mean), rules) - claimed)


def _limit_residual(claimed: sympy.Expr) -> sympy.Expr:
    """(μ + τg)ᵀμ → δ² and |μ + τg|² → δ² + γ, as μᵀg has variance δ² and τ → 0."""
    d = sympy.Symbol("d", positive=True)
    tau = sympy.sqrt(LOAD / d)
    projection = sympy.limit(tau**2 * STRENGTH**2, d, sympy.oo)
    norm = STRENGTH**2 + d * tau**2
    return first_nonzero(projection, sympy.simplify(claimed - STRENGTH**2 / sympy.sqrt(norm)))


def derive_estimated(
    squared_noise: sympy.Expr = SQUARED_NOISE,
    upper: sympy.Expr = UPPER_NONCENTRALITY,
    lower: sympy.Expr = LOWER_NONCENTRALITY,
    limit: sympy.Expr = LIMIT_SEPARATION,
) -> Derivation:
    """Derive the mean AUC of the estimated mean difference, and its limit.

    Args:
        squared_noise: In ``POSITIVE_COUNT`` and ``NEGATIVE_COUNT``, to compare with.
        upper: In ``STRENGTH`` and ``NOISE``, to compare with.
        lower: The same.
        limit: In ``STRENGTH`` and ``LOAD``, to compare with.

    Source: this project.
    """
    steps = (
        Step("E AUC is P(uᵀw > 0) over estimate and fresh pair.", _polar_residual),
        Step("The estimate's variance.", partial(_noise_residual, squared_noise)),
        Step("Noncentrality of the sum.", partial(_noncentrality_residual, upper, 1)),
        Step("Noncentrality of the difference.", partial(_noncentrality_residual, lower, -1)),
        Step("The limit.", partial(_limit_residual, limit)),
    )
    cites = ("law of large numbers for |g|²/d", "uncorrelated Gaussians are independent")
    return Derivation("E AUC = P(χ²_d(α) > χ²_d(β)).", steps, cites)
