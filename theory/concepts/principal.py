r"""Whether PCA finds a concept: the first principal direction of states, or of pairs' differences.

What PCA diagonalises is S + aμμᵀ, up to a factor:

(i)   states, total covariance: S = Σ, a = 4π(1 − π) ≤ 1, π the share of the class 1;
(ii)  differences of independent pairs, one of each class, uncentred (or of random sign): the
      second moment is 2Σ + 4μμᵀ, so S = Σ, a = 2. Centred ones of fixed sign have a = 0: the
      concept is in their mean, and is lost;
(iii) differences of pairs x_± = m + c ± μ + e_± that share their content c: 2E + 4μμᵀ, E the
      covariance of e, so S = E, a = 2, while the states have Σ = C + E.

Let s₁ be S's largest eigenvalue and E₁ its eigenspace.

- PCA's direction is orthogonal to μ, and its AUC exactly ½, iff μ ⊥ E₁ and aμᵀ(s₁ − S)⁺μ < 1. If
  μ is an eigenvector, Sμ = sμ: iff |μ|² < (s₁ − s)/a (and then it is μ beyond this value).
- Otherwise (but for equality, where it is not unique) it is v = (θ − S)⁻¹μ, θ > s₁ the root of
  aμᵀ(θ − S)⁻¹μ = 1, and vᵀμ = 1/a: AUC > ½. For S = Σ, r(v) = (1/a)/√(θq₂ − 1/a) with
  q₂ = μᵀ(θ − Σ)⁻²μ.
- For S = Σ the separation of (θ − Σ)⁻¹μ grows with θ, towards that of μ: PCA of states is never
  better than PCA of pairs, nor this than the mean difference; strictly worse unless μ is an
  eigenvector. For (iii) neither holds: content may lie where E does not.
- Σ = diag(1, s), μ = (δ, 0), s > 1 + 2δ²: PCA (i), (ii) has AUC ½ and the mean difference
  Φ(√2 δ), as near to 1 as one likes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import sympy
from numpy.typing import ArrayLike
from scipy import optimize

from ..arrays import RealArray
from ..derivation import Derivation, Step, first_nonzero
from ..matrix_words import matrices, reduced
from ..validation import positive
from .auc import predicted_auc
from .class_moments import half_difference_and_covariance, probability

PRIOR = sympy.Symbol("pi", positive=True)
WEIGHT, ROOT, SECOND_MOMENT = sympy.symbols("a theta q_2", positive=True)
TOP, OWN = sympy.symbols("s_1 s", positive=True)
_P1, _P2, _P3 = sympy.symbols("P_1 P_2 P_3", positive=True)
RESOLVENTS = (_P1, _P2, _P3)
"""μᵀ(θ − Σ)^{−k}μ for k = 1, 2, 3."""

STATES_WEIGHT = 4 * PRIOR * (1 - PRIOR)
"""a of the states."""

PAIRS_WEIGHT = sympy.Integer(2)
"""a of differences of pairs."""

LEAST_NORM = (TOP - OWN) / WEIGHT
"""|μ|² from which PCA finds a concept along an eigenvector with the eigenvalue s."""

PRINCIPAL_SEPARATION = 1 / (WEIGHT * sympy.sqrt(ROOT * SECOND_MOMENT - 1 / WEIGHT))
"""r of PCA's direction, for S = Σ."""

SEPARATION_SLOPE = 2 * ROOT * _P1 * (_P1 * _P3 - _P2**2) / (ROOT * _P2 - _P1) ** 2
"""Derivative in θ of the squared separation of (θ − Σ)⁻¹μ."""


@dataclass(frozen=True, eq=False)
class PrincipalDirection:
    """What PCA makes of two Gaussian classes.

    Attributes:
        found: Whether its direction sees the concept at all.
        eigenvalue: The largest of S + aμμᵀ.
        direction: Unit vector, with vᵀμ >= 0; shape (d,).
        auc: Its AUC.
    """

    found: bool
    eigenvalue: float
    direction: RealArray
    auc: float


def states_weight(prior: float = 0.5) -> float:
    """Return a = 4π(1 − π) of the total covariance Σ + aμμᵀ of the states.

    Raises:
        TypeError: If the prior is not a real number.
        ValueError: If it is not strictly between 0 and 1.

    Example:
        >>> states_weight(0.25)
        0.75
    """
    share = probability("prior", prior)
    return 4 * share * (1 - share)


def principal_direction(
    half_difference: ArrayLike,
    covariance: ArrayLike,
    weight: float = 2.0,
    *,
    pair_covariance: ArrayLike | None = None,
) -> PrincipalDirection:
    """Return the first principal direction of S + aμμᵀ and its AUC.

    Args:
        half_difference: μ, shape (d,).
        covariance: Σ of the states in each class, shape (d, d); it may be singular.
        weight: a > 0: 2 for differences of pairs, `states_weight(prior)` for states.
        pair_covariance: S, shape (d, d), if it is not Σ: E of pairs that share their content.

    Raises:
        TypeError: If entries or the weight are not real numbers.
        ValueError: If shapes do not fit, an entry is NaN or infinite, the weight is not positive,
            μ = 0, a matrix is not symmetric or has a negative eigenvalue, or it is undecided to
            rounding (aμᵀ(s₁ − S)⁺μ = 1) whether PCA sees μ.
        OverflowError: If a|μ|² is beyond the doubles.

    Source: this project.

    Example:
        >>> principal_direction([1.0, 0.0], [[1.0, 0.0], [0.0, 4.0]], 2.0).auc
        0.5
        >>> principal_direction([1.0, 0.0], [[1.0, 0.0], [0.0, 2.5]], 2.0).auc
        0.9213503964748574
    """
    mu, sigma = half_difference_and_covariance(half_difference, covariance)
    S = sigma
    if pair_covariance is not None:
        _, S = half_difference_and_covariance(mu, pair_covariance, "pair_covariance")
    values, vectors = np.linalg.eigh(S)
    parts, total = _strength(vectors.T @ mu, positive("weight", weight))
    gaps = (values[-1] - values) / total
    rise = _rise(gaps, parts**2)
    if rise is None:
        return PrincipalDirection(False, float(values[-1]), np.asarray(vectors[:, -1]), 0.5)
    met = parts != 0  # else 0/0 where μ does not meet E₁
    v = vectors[:, met] @ (parts[met] / (rise + gaps[met]))
    v = v / np.abs(v).max()
    v = np.asarray(v / np.linalg.norm(v))
    return PrincipalDirection(
        True, float(values[-1]) + rise * total, v, predicted_auc(v, mu, sigma)
    )


def _strength(parts: RealArray, weight: float) -> tuple[RealArray, float]:
    """μ's unit vector, its entries of the size of rounding set to 0, and a|μ|²."""
    size = float(np.abs(parts).max())
    length = float(np.linalg.norm(parts / size))
    parts, root = parts / size / length, size * length
    total = weight * root * root
    if not np.finfo(np.float64).tiny <= total <= np.finfo(np.float64).max / 8:
        raise OverflowError(f"weight times |half_difference|² is {total}, beyond the doubles")
    parts[np.abs(parts) <= len(parts) * np.finfo(np.float64).eps] = 0.0
    return parts, total


def _rise(gaps: RealArray, w: RealArray) -> float | None:
    """The root τ = θ − s₁ > 0 of Σ w/(τ + s₁ − s) = 1; None where there is none: μ is missed.

    All in units of a|μ|², so that Σ w = 1.
    """
    gaps, w = gaps[w > 0], w[w > 0]
    low = float(w[gaps == 0].sum()) * (1 - 1e-12)  # τ exceeds what one eigenspace asks for

    def excess(rise: float) -> float:
        return float(np.sum(w / (rise + gaps))) - 1

    at_least = excess(low)
    if not low and abs(at_least) <= 1e-12:
        raise ValueError(
            f"aμᵀ(s₁ − S)⁺μ is 1 to rounding (1 + {at_least:.2g}): the direction is not unique"
        )
    if at_least < 0:
        return None
    return float(optimize.brentq(excess, low, 2.0, xtol=1e-300, rtol=1e-14, maxiter=3000))


# --- derivation -------------------------------------------------------------------------------

_T = sympy.transpose
_S, _G, _x, _y, _mu = matrices("S G x y mu")
_c = sympy.Symbol("c", real=True)


def _total_residual(states: sympy.Expr) -> sympy.Expr:
    """Means ±μ with the shares π and 1 − π: their second moment less the square of their mean."""
    sign = {1: PRIOR, -1: 1 - PRIOR}
    mean = sum(y * share for y, share in sign.items())
    between = sum((y - mean) ** 2 * share for y, share in sign.items())
    return sympy.expand(states - between)


def _pairs_residual(pairs: sympy.Expr) -> sympy.Expr:
    """x₊ − x₋ = 2μ + e₊ − e₋: E of the square is 4μ² + 2E, that is 2(E + aμ²); content cancels."""
    mu, variance, c, plus, minus = sympy.symbols("mu E c e_+ e_-", real=True)
    square = sympy.Poly(sympy.expand(((c + mu + plus) - (c - mu + minus)) ** 2), c, plus, minus)
    moments = {1: 0, 2: variance}
    mean = sum(
        factor * sympy.prod([1 if k == 0 else moments[k] for k in powers])
        for powers, factor in square.terms()
    )
    return sympy.expand(mean - 2 * (variance + pairs * mu**2))


def _eigenvector_residual() -> sympy.Expr:
    """(S + aμμᵀ)Gμ = θGμ for G = (θ − S)⁻¹ and aμᵀGμ = 1."""
    rules = {_S * _G: ROOT * _G - 1, _T(_mu) * _G * _mu: 1 / WEIGHT}
    v = _G * _mu
    return reduced(sympy.expand(_S * v + WEIGHT * _mu * (_T(_mu) * v) - ROOT * v), rules)


def _square_residual() -> sympy.Expr:
    """xᵀAx − ac² = zᵀAz + (1/g − a)c² for A = θ − S or s₁ − S and AGμ = μ.

    Here g = μᵀGμ, c = μᵀx, z = x − (c/g)Gμ: the sum is not negative for ag ≤ 1.
    For θ (ag = 1, A ≻ 0) it is 0 iff x is along Gμ, so θ is the largest eigenvalue and simple.
    For s₁ (ag < 1) it is 0 iff c = 0 and x ∈ E₁, so that E₁ is the top eigenspace.
    """
    A = sympy.Symbol("A", commutative=False)
    g = sympy.Symbol("g", positive=True)
    rules = {
        _T(A): A,
        _T(_G): _G,
        A * _G * _mu: _mu,
        _T(_mu) * _G * A: _T(_mu),
        _T(_mu) * _x: _c,
        _T(_x) * _mu: _c,
        _T(_mu) * _G * _mu: g,
    }
    z = _x - _c / g * _G * _mu
    gap = _T(_x) * A * _x - WEIGHT * _c**2 - _T(z) * A * z - (1 / g - WEIGHT) * _c**2
    return sympy.expand(reduced(sympy.expand(gap), rules))


def _one_root_residual() -> sympy.Expr:
    """aΣ w/(θ − s) falls from above 1 (at s₁) to 0 (at ∞): one root, if it starts above 1."""
    w, s = sympy.symbols("w s", positive=True)
    term = w / (ROOT - s)
    return first_nonzero(
        sympy.simplify(sympy.diff(term, ROOT) + w / (ROOT - s) ** 2),
        sympy.limit(term, ROOT, sympy.oo),
    )


def _separation_residual(claimed: sympy.Expr) -> sympy.Expr:
    """v = Gμ, Σ = θ − G⁻¹: vᵀΣv = θq₂ − μᵀGμ, and vᵀμ = μᵀGμ = 1/a."""
    rules = {
        _S * _G: ROOT * _G - 1,
        _T(_G): _G,
        _T(_mu) * _G**2 * _mu: SECOND_MOMENT,
        _T(_mu) * _G * _mu: 1 / WEIGHT,
    }
    v = _G * _mu
    projection = reduced(_T(v) * _mu, rules)
    variance = reduced(sympy.expand(_T(v) * _S * v), rules)
    return sympy.simplify(claimed - projection / sympy.sqrt(variance))


def _slope_residual(claimed: sympy.Expr) -> sympy.Expr:
    """P_k = μᵀ(θ − Σ)^{−k}μ has the derivative −kP_{k+1}; the square of r is P₁²/(θP₂ − P₁)."""
    first, second = (sympy.Function(name)(ROOT) for name in ("f", "g"))
    square = first**2 / (ROOT * second - first)
    slope = sympy.diff(square, ROOT).subs(
        {sympy.diff(first, ROOT): -_P2, sympy.diff(second, ROOT): -2 * _P3}
    )
    return sympy.simplify(slope.subs({first: _P1, second: _P2}) - claimed)


def _cauchy_residual() -> sympy.Expr:
    """P₁P₃ − P₂² = ½ΣΣ w_i w_j p_i p_j (p_i − p_j)²: 0 iff μ is in one eigenspace."""
    p, q = sympy.symbols("p_i p_j", positive=True)
    return sympy.expand(p * q**3 + q * p**3 - 2 * p**2 * q**2 - p * q * (p - q) ** 2)


def _far_residual() -> sympy.Expr:
    """θ(θ − s)⁻¹ → 1: the direction tends to μ; θ grows with a, as aΣ w/(θ − s) does."""
    s = sympy.Symbol("s", positive=True)
    return sympy.limit(ROOT / (ROOT - s), ROOT, sympy.oo) - 1


def _least_norm_residual(claimed: sympy.Expr) -> sympy.Expr:
    """Sμ = sμ: aμᵀ(s₁ − S)⁺μ = a|μ|²/(s₁ − s) is 1 at the claimed |μ|²."""
    return sympy.simplify(WEIGHT * claimed / (TOP - OWN) - 1)


def derive_principal(
    states: sympy.Expr = STATES_WEIGHT,
    pairs: sympy.Expr = PAIRS_WEIGHT,
    least_norm: sympy.Expr = LEAST_NORM,
    separation: sympy.Expr = PRINCIPAL_SEPARATION,
    slope: sympy.Expr = SEPARATION_SLOPE,
) -> Derivation:
    """Derive when PCA sees a concept and what its direction is worth, for all sizes.

    Args:
        states: a of the total covariance, in ``PRIOR``, to compare with.
        pairs: a of pairs' differences.
        least_norm: In ``TOP``, ``OWN`` and ``WEIGHT``.
        separation: In ``WEIGHT``, ``ROOT`` and ``SECOND_MOMENT``.
        slope: In ``ROOT`` and ``RESOLVENTS``.

    Source: this project.
    """
    steps = (
        Step("(θ − S)⁻¹μ is an eigenvector.", _eigenvector_residual),
        Step("It is the top one; without a root E₁ is.", _square_residual),
        Step("There is at most one root.", _one_root_residual),
        Step("Cauchy–Schwarz for the slope.", _cauchy_residual),
        Step("The limit is the mean difference.", _far_residual),
        Step("Total covariance.", partial(_total_residual, states)),
        Step("Pairs.", partial(_pairs_residual, pairs)),
        Step("μ an eigenvector.", partial(_least_norm_residual, least_norm)),
        Step("The separation.", partial(_separation_residual, separation)),
        Step("Its slope in θ.", partial(_slope_residual, slope)),
    )
    cites = ("intermediate value theorem", "spectral theorem")
    return Derivation("PCA's direction and its AUC.", steps, cites)
