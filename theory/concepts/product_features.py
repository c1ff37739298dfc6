r"""The Bayes predictor of a product concept, and its AGOP.

Model (b): N(εau + ε'bw, Σ), y = εε', the two signs of a class equally likely. With

    S = a uᵀΣ⁻¹x, T = b wᵀΣ⁻¹x, p² = a²uᵀΣ⁻¹u, q² = b²wᵀΣ⁻¹w, c = ab uᵀΣ⁻¹w,
    λ = log(π/(1−π)) − 2c,

the Bayes logit is λ + log cosh(S + T) − log cosh(S − T). The range of the AGOP of logit or
posterior η is span(Σ⁻¹u, Σ⁻¹w) for all Σ, a, b and priors; it is span(u, w) only if Σ keeps that
plane. For λ = c = 0

    η = (1 + tanh S tanh T)/2,
    E∇η∇ηᵀ = c(p)τ(q)·a²Σ⁻¹uuᵀΣ⁻¹ + c(q)τ(p)·b²Σ⁻¹wwᵀΣ⁻¹,
    c(p) = ¼ e^{−p²/2} E sech³(pZ),   τ(q) = 1 − e^{−q²/2} E sech(qZ),   Z ~ N(0, 1):

c is that of a single concept (`bayes_scale`), τ(q) = E tanh²T is how well the other sign is known.
Both coefficients are positive.
"""

from __future__ import annotations

import math
from functools import cache, partial
from typing import Any

import numpy as np
import sympy
from flint import arb
from numpy.typing import ArrayLike

from ..arrays import RealArray
from ..derivation import Derivation, Step, first_nonzero
from ..matrix_words import matrices, reduced
from ..rfm.doubles import representable
from ..validation import positive
from .class_moments import definite_eigenvalues, half_difference_and_covariance
from .gaussian_integrals import rounded, sech_mean
from .product_probes import seen_apart

FIRST, SECOND, OFFSET = sympy.symbols("S T lambda", real=True)
STRENGTH = sympy.Symbol("p", positive=True)
STANDARD = sympy.Symbol("z", real=True)

LOGIT = OFFSET + sympy.log(sympy.cosh(FIRST + SECOND)) - sympy.log(sympy.cosh(FIRST - SECOND))
"""log P(y = 1 | x)/P(y = −1 | x)."""

ACROSS = sympy.Symbol("c", real=True)

BALANCED_ODDS = 2 * ACROSS
"""log(π/(1 − π)) at which λ = 0: then and only then the sign of ST is Bayes."""

POSTERIOR = (1 + sympy.tanh(FIRST) * sympy.tanh(SECOND)) / 2
"""P(y = 1 | x) at λ = 0."""

SLOPE = sympy.exp(-(STRENGTH**2) / 2) * sympy.sech(STRENGTH * STANDARD) ** 3 / 4
"""c(p) is its mean over Z = z."""

SQUARE = 1 - sympy.exp(-(STRENGTH**2) / 2) * sympy.sech(STRENGTH * STANDARD)
"""τ(p) is its mean over Z = z."""

ORTHOGONAL = 1e-12
"""|uᵀΣ⁻¹w| up to this times the lengths is taken for 0."""

REACH = (1e-60, 38.0)
"""Strengths for which c(p)τ(q) is a double."""


def product_strengths(
    first: ArrayLike, second: ArrayLike, covariance: ArrayLike
) -> tuple[float, float]:
    """Return p and q of centres ±au ± bw, for `product_error` and `product_auc`.

    Args:
        first: au, half the distance along the first feature, shape (d,).
        second: bw, shape (d,), with uᵀΣ⁻¹w = 0.
        covariance: Σ, shape (d, d), symmetric positive definite.

    Raises:
        TypeError: If entries are not real numbers.
        ValueError: If shapes do not fit, an entry is NaN or infinite, a feature is 0, Σ is not
            symmetric positive definite, or uᵀΣ⁻¹w is not 0 to 1e-12 of the lengths.
        OverflowError: If an entry of Σ⁻¹u or Σ⁻¹w, or a strength, is larger than every double.

    Source: this project.

    Example:
        >>> product_strengths([1.0, 0.0], [0.0, 3.0], [[4.0, 0.0], [0.0, 9.0]])
        (0.5, 1.0)
    """
    return _whitened(first, second, covariance)[2:]


def product_bayes_agop(first: ArrayLike, second: ArrayLike, covariance: ArrayLike) -> RealArray:
    """Return E∇η∇ηᵀ of the Bayes predictor of four Gaussians at ±au ± bw, shape (d, d).

    The classes, the products of the signs, are equally likely; the mean is over all four.

    Args:
        first: au, as `product_strengths`.
        second: bw, likewise.
        covariance: Σ, likewise.

    Raises:
        TypeError: As `product_strengths`.
        ValueError: As `product_strengths`, or p or q is outside [1e-60, 38].
        OverflowError: As `product_strengths`, or if an entry of the AGOP is.

    Source: this project.

    Example:
        >>> product_bayes_agop([1.0, 0.0], [0.0, 1.0], np.eye(2)).round(6)
        array([[0.043558, 0.      ],
               [0.      , 0.043558]])
    """
    one, two, p, q = _whitened(first, second, covariance)
    one, two = math.sqrt(product_scale(p, q)) * one, math.sqrt(product_scale(q, p)) * two
    with np.errstate(over="ignore"):
        return representable("the AGOP", np.asarray(np.outer(one, one) + np.outer(two, two)))


def product_scale(own: float, other: float) -> float:
    """Return c(p)τ(q), correctly rounded: the coefficient of a²Σ⁻¹uuᵀΣ⁻¹ in the AGOP.

    Args:
        own: p of the feature itself, between 1e-60 and 38.
        other: q of the other one, likewise.

    Raises:
        TypeError: If a strength is not a real number.
        ValueError: If one is outside its range.

    Source: this project.
    """
    p, q = strength("own", own), strength("other", other)
    return rounded(partial(_scale_ball, p, q), f"c(p)τ(q) at p = {p}, q = {q}")


def _scale_ball(p: float, q: float, precision: int) -> Any:
    P, Q, nothing = arb(p), arb(q), arb(0)
    slope = (-(P**2) / 2).exp() * sech_mean(3, nothing, P, precision) / 4
    return slope * (1 - (-(Q**2) / 2).exp() * sech_mean(1, nothing, Q, precision))


def strength(name: str, value: float) -> float:
    """Return p or q.

    Raises:
        TypeError: If it is not a real number.
        ValueError: If it is outside [1e-60, 38].
    """
    number = positive(name, value)
    if not REACH[0] <= number <= REACH[1]:
        raise ValueError(f"{name} = {value!r} must be between {REACH[0]:g} and {REACH[1]:g}")
    return number


def _whitened(
    first: ArrayLike, second: ArrayLike, covariance: ArrayLike
) -> tuple[RealArray, RealArray, float, float]:
    """Σ⁻¹au, Σ⁻¹bw, p and q, checked."""
    u, sigma = feature("first", first, covariance)
    w, _ = feature("second", second, covariance)
    values, vectors = definite_eigenvalues(sigma)
    sizes = [float(np.abs(x).max()) for x in (u, w)]
    with np.errstate(over="ignore", invalid="ignore"):
        u, w = u / sizes[0], w / sizes[1]
        one, two = (vectors @ ((vectors.T @ x) / values) for x in (u, w))
        lengths = [float(np.sqrt(x @ y)) for x, y in ((u, one), (w, two))]
        if abs(cosine := float(u @ two) / math.prod(lengths)) > ORTHOGONAL:
            raise ValueError(
                f"uᵀΣ⁻¹w is {cosine:.3g} of the lengths; 0 is allowed: the formulas are of "
                "features that are orthogonal in the metric Σ⁻¹"
            )
        whitened = [representable("Σ⁻¹u", s * x) for s, x in zip(sizes, (one, two), strict=True)]
        p, q = (representable("p", s * r) for s, r in zip(sizes, lengths, strict=True))
    return whitened[0], whitened[1], p, q


def feature(name: str, value: ArrayLike, covariance: ArrayLike) -> tuple[RealArray, RealArray]:
    """Return a vector, shape (d,), not zero, and Σ, perhaps singular.

    Raises:
        TypeError: As `half_difference_and_covariance`.
        ValueError: Likewise.
    """
    try:
        return half_difference_and_covariance(value, covariance)
    except ValueError as error:
        raise ValueError(str(error).replace("half_difference", name)) from None


# --- derivation -------------------------------------------------------------------------------

_T = sympy.transpose
_R, _x, _A, _B = matrices("R x A B")
_p, _q, _ratio = sympy.symbols("p q pi", positive=True)
_c = ACROSS
_LETTERS = {
    _T(_R): _R,
    _T(_A) * _R * _x: FIRST,
    _T(_x) * _R * _A: FIRST,
    _T(_B) * _R * _x: SECOND,
    _T(_x) * _R * _B: SECOND,
    _T(_A) * _R * _A: _p**2,
    _T(_B) * _R * _B: _q**2,
    _T(_A) * _R * _B: _c,
    _T(_B) * _R * _A: _c,
}


def _exponent(first: int, second: int) -> sympy.Expr:
    """log of the density at x with the centre ±A ± B, less that with the centre 0."""
    centre = first * _A + second * _B
    y = _x - centre
    square = sympy.expand(_T(y) * _R * y - _T(_x) * _R * _x)
    return -reduced(square, _LETTERS) / 2


def _exponents_residual() -> sympy.Expr:
    """εS + ε'T − (p² + q²)/2 − εε'c."""
    return first_nonzero(
        *(
            sympy.expand(
                _exponent(e, f) - e * FIRST - f * SECOND + (_p**2 + _q**2) / 2 + e * f * _c
            )
            for e in (1, -1)
            for f in (1, -1)
        )
    )


@cache
def _class_density(sign: int) -> sympy.Expr:
    common = (_p**2 + _q**2) / 2
    return sum(sympy.exp(sympy.expand(_exponent(e, sign * e) + common)) / 2 for e in (1, -1))


def _logit_gap(logit: sympy.Expr) -> sympy.Expr:
    """π p₊/((1 − π) p₋) = e^logit with λ = log(π/(1 − π)) − 2c."""
    offset = sympy.log(_ratio / (1 - _ratio)) - 2 * _c
    claimed = sympy.exp(logit.subs(OFFSET, offset))
    return _ratio * _class_density(1) / ((1 - _ratio) * _class_density(-1)) / claimed


def _ratio_residual(quotient: sympy.Expr) -> sympy.Expr:
    return sympy.simplify(quotient.rewrite(sympy.exp)) - 1


def _balanced_gap(odds: sympy.Expr) -> sympy.Expr:
    """Prior odds e^{2c} make up for the densities' common factor e^{−2c}."""
    quotient = sympy.exp(odds) * _class_density(1) / _class_density(-1)
    return quotient / (sympy.cosh(FIRST + SECOND) / sympy.cosh(FIRST - SECOND))


def _posterior_gap(posterior: sympy.Expr) -> sympy.Expr:
    """λ = 0: cosh(S + T)/(cosh(S + T) + cosh(S − T))."""
    upper, lower = sympy.cosh(FIRST + SECOND), sympy.cosh(FIRST - SECOND)
    return posterior * (upper + lower) / upper


def _range_residual() -> sympy.Expr:
    """vᵀ∇logit = 0 for all S, T only if v is orthogonal to ∇S and ∇T.

    With v_S = v·∇S, v_T = v·∇T it is tanh(S + T)(v_S + v_T) + tanh(S − T)(v_T − v_S), and S ± T
    take all pairs of values: v_S + v_T = v_T − v_S = 0. And ∇η = η(1 − η)∇logit, η(1 − η) > 0.
    """
    one, two = sympy.symbols("v_S v_T", real=True)
    logit = OFFSET + sympy.log(sympy.cosh(FIRST + SECOND)) - sympy.log(sympy.cosh(FIRST - SECOND))
    slope = sympy.diff(logit, FIRST) * one + sympy.diff(logit, SECOND) * two
    plus, minus = sympy.tanh(FIRST + SECOND), sympy.tanh(FIRST - SECOND)
    stated = plus * (one + two) + minus * (two - one)
    only = sympy.linsolve([one + two, two - one], one, two) == sympy.FiniteSet((0, 0))
    return first_nonzero(
        sympy.simplify((slope - stated).rewrite(sympy.exp)), sympy.Integer(0 if only else 1)
    )


def _mixture_residual() -> sympy.Expr:
    """c = 0: the mixture's weight is e^{−(p² + q²)/2} cosh S cosh T beside N(0, p²) × N(0, q²).

    So S and T are independent, each with e^{−p²/2} cosh S times N(0, p²), which is even.
    """
    whole = (_class_density(1) + _class_density(-1)).subs(_c, 0) / 2
    product = sympy.cosh(FIRST) * sympy.cosh(SECOND)
    return sympy.simplify((whole - product).rewrite(sympy.exp))


def _gradient_residual() -> sympy.Expr:
    """η_S = ½ sech²S tanh T and η_T alike; their product is odd in S: its mean is 0."""
    slopes = [sympy.diff(POSTERIOR, x) for x in (FIRST, SECOND)]
    stated = [sympy.sech(x) ** 2 * sympy.tanh(y) / 2 for x, y in ((FIRST, SECOND), (SECOND, FIRST))]
    crossed = stated[0] * stated[1]
    return first_nonzero(
        *(sympy.simplify((f - g).rewrite(sympy.exp)) for f, g in zip(slopes, stated, strict=True)),
        sympy.simplify(crossed + crossed.subs(FIRST, -FIRST)),
    )


def _slope_gap(slope: sympy.Expr) -> sympy.Expr:
    """c(p) = ¼E sech⁴S, and at S = pz the weight is e^{−p²/2} cosh(pz)."""
    S = STRENGTH * STANDARD
    weight = sympy.exp(-(STRENGTH**2) / 2) * sympy.cosh(S)
    return weight * sympy.sech(S) ** 4 / 4 / slope


def _square_gap(square: sympy.Expr) -> sympy.Expr:
    """τ = E tanh²S = 1 − E sech²S, as the weight has the mean 1."""
    S = STRENGTH * STANDARD
    weight = sympy.exp(-(STRENGTH**2) / 2) * sympy.cosh(S)
    return (1 - square) / (weight * sympy.sech(S) ** 2)


def _weight_residual() -> sympy.Expr:
    """E e^{−p²/2} cosh(pZ) = 1: its halves times the density are those of N(±p, 1)."""
    return first_nonzero(
        *(
            sympy.expand(
                -(STRENGTH**2) / 2
                + s * STRENGTH * STANDARD
                - STANDARD**2 / 2
                + (STANDARD - s * STRENGTH) ** 2 / 2
            )
            for s in (1, -1)
        )
    )


def _point_residual(*quotients: sympy.Expr) -> sympy.Expr:
    return seen_apart(*(x - 1 for x in quotients))


def derive_features(
    logit: sympy.Expr = LOGIT,
    posterior: sympy.Expr = POSTERIOR,
    slope: sympy.Expr = SLOPE,
    square: sympy.Expr = SQUARE,
    odds: sympy.Expr = BALANCED_ODDS,
) -> Derivation:
    """Derive the Bayes predictor of model (b), its AGOP and the range, for all dimensions.

    Args:
        logit: In ``FIRST``, ``SECOND`` and ``OFFSET``, to compare with.
        posterior: In ``FIRST`` and ``SECOND``.
        slope: c's integrand, in ``STRENGTH`` and ``STANDARD``.
        square: τ's, likewise.
        odds: Log prior odds of λ = 0, in ``ACROSS``.

    Source: this project.
    """
    claimed = (
        ("The logit.", _logit_gap(logit)),
        ("λ = 0.", _balanced_gap(odds)),
        ("η at λ = 0.", _posterior_gap(posterior)),
        ("c.", _slope_gap(slope)),
        ("τ.", _square_gap(square)),
    )
    steps = (
        Step("Exponents of the four densities.", _exponents_residual),
        Step("The range is that of S and T.", _range_residual),
        Step("S and T are independent and even.", _mixture_residual),
        Step("The gradient of η.", _gradient_residual),
        Step("The weight's mean.", _weight_residual),
        *(Step(idea, partial(_ratio_residual, gap)) for idea, gap in claimed),
        Step("All at one point.", partial(_point_residual, *(gap for _, gap in claimed))),
    )
    return Derivation("The AGOP of a product's Bayes predictor.", steps)
