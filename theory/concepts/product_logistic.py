r"""The product concept with soft labels: x ~ N(0, Σ), P(y = 1 | x) = σ(β·st), s = uᵀx, t = wᵀx.

With σ_s² = uᵀΣu, σ_t² = wᵀΣw, correlation ρ of s and t, r² = 1 − ρ² and κ = βσ_sσ_t the Bayes
predictor η = σ(βst) has the AGOP

    (β²/16)[σ_t² D uuᵀ + σ_s² D wwᵀ + σ_sσ_t O (uwᵀ + wuᵀ)],
    D(κ, ρ) = (2r³/π) ∫_0^∞ q K₁(q) cosh(ρq) sech⁴(κr²q/2) dq,
    O(κ, ρ) = (2r³/π) ∫_0^∞ q K₀(q) sinh(ρq) sech⁴(κr²q/2) dq.

Its range is span(u, w) exactly. O has the sign of ρ: the mixed term vanishes if and only if
uᵀΣw = 0. D(0, ρ) = 1 and O(0, ρ) = ρ. As κ → ∞ at ρ = 0, κD → 8/(3π): the AGOP of the sign
predictor 1[st > 0] is zero almost everywhere, while those of its smoothings diverge like β.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import sympy
from numpy.typing import ArrayLike
from scipy import special

from ..arrays import RealArray
from ..derivation import Derivation, Step, first_nonzero
from ..rfm.doubles import representable
from ..validation import positive
from .class_moments import real_number
from .product_features import feature
from .product_probes import seen_apart

STEEPNESS = sympy.Symbol("kappa", positive=True)
CORRELATION = sympy.Symbol("rho", real=True)
PRODUCT = sympy.Symbol("q", positive=True)

_REST = 1 - CORRELATION**2
_WEIGHT = sympy.sech(STEEPNESS * _REST * PRODUCT / 2) ** 4
_FRONT = 2 * _REST ** sympy.Rational(3, 2) / sympy.pi * PRODUCT

DIAGONAL = _FRONT * sympy.besselk(1, PRODUCT) * sympy.cosh(CORRELATION * PRODUCT) * _WEIGHT
"""D is its integral over q from 0 to ∞."""

OFF_DIAGONAL = _FRONT * sympy.besselk(0, PRODUCT) * sympy.sinh(CORRELATION * PRODUCT) * _WEIGHT
"""O is its integral, likewise."""

STEEP_LIMIT = 8 / (3 * sympy.pi)
"""lim κD(κ, 0) as κ → ∞."""

STEP = 0.1875
"""Of the trapezoidal rule in log q: the integrand is analytic for |Im log q| < π/2, so that the
rule's error is about e^{−π²/STEP}. A double without rounding: so its multiples are, too."""

FAR = 1e8
"""Where e^q K_ν(q) goes over to two terms of its series in 1/q; SciPy's is NaN from 1.07e9 on."""


def product_logistic_agop(
    first: ArrayLike, second: ArrayLike, covariance: ArrayLike, slope: float = 1.0
) -> RealArray:
    """Return E[∇η∇ηᵀ] of η = σ(β uᵀx wᵀx) under x ~ N(0, Σ), shape (d, d).

    Args:
        first: u, shape (d,).
        second: w, shape (d,).
        covariance: Σ, shape (d, d), symmetric positive semi-definite.
        slope: β > 0.

    Raises:
        TypeError: If entries or the slope are not real numbers.
        ValueError: If shapes do not fit, an entry is NaN or infinite, Σ is not symmetric or has a
            negative eigenvalue, β is not positive, a feature is 0, or uᵀx and wᵀx are constant or
            parallel (|ρ| > 1 − 1e-12), or κ is outside [1e-30, 1e30].
        OverflowError: If a number on the way is larger than every double.

    Source: this project.

    Example:
        >>> product_logistic_agop([1, 0], [0, 1], np.eye(2)).round(6)
        array([[0.036157, 0.      ],
               [0.      , 0.036157]])
    """
    u, S = feature("first", first, covariance)
    w, _ = feature("second", second, covariance)
    beta = positive("slope", slope)
    with np.errstate(over="ignore", invalid="ignore"):  # what is infinite is refused by name
        one, two = (representable("a feature's variance", v @ S @ v) ** 0.5 for v in (u, w))
        if not min(one, two) > 0:
            raise ValueError("a feature does not vary: uᵀΣu and wᵀΣw must be positive")
        correlation = float(u / one @ S @ (w / two))
        diagonal, mixed = product_moments(float(beta * one * two), correlation)
        first, second = beta / 4 * two * u, beta / 4 * one * w
        outer = diagonal * (np.outer(first, first) + np.outer(second, second))
        crossed = mixed * (np.outer(first, second) + np.outer(second, first))
        return representable("the AGOP", np.asarray(outer + crossed))


def product_moments(steepness: float, correlation: float = 0.0) -> tuple[float, float]:
    """Return D(κ, ρ) and O(κ, ρ), each to a relative error of about 2e-15.

    Args:
        steepness: κ, between 1e-30 and 1e30.
        correlation: ρ, strictly between -1 and 1 by at least 1e-12.

    Raises:
        TypeError: If an argument is not a real number.
        ValueError: If one is outside its range.

    Source: this project.

    Example:
        >>> round(product_moments(1e-9)[0], 12)
        1.0
    """
    kappa, rho = _arguments(steepness, correlation)
    size, rest = abs(rho), (1 - abs(rho)) * (1 + abs(rho))
    decay = (1 - size) + 2 * kappa * rest
    first, last = -40 - max(0.0, np.log(decay)), np.log(50 / decay)
    q = np.exp(STEP * np.arange(np.floor(first / STEP), last / STEP))
    near = np.exp(-(1 - size) * q)
    fall = np.exp(-kappa * rest * q)
    weight = 2 * rest**1.5 / np.pi * q**2 * near * 16 * fall**2 / (1 + fall) ** 4 * STEP
    even = _scaled_bessel(1, q) * (1 + np.exp(-2 * size * q)) / 2
    odd = _scaled_bessel(0, q) * -np.expm1(-2 * size * q) / 2
    return float(weight @ even), float(np.copysign(weight @ odd, rho)) if rho else 0.0


def _scaled_bessel(order: int, q: RealArray) -> RealArray:
    """e^q K_ν(q), beyond `FAR` by its first two terms for large q."""
    far = np.sqrt(np.pi / (2 * q)) * (1 + (4 * order**2 - 1) / (8 * q))
    return np.asarray(np.where(q < FAR, special.kve(order, np.minimum(q, FAR)), far))


def _arguments(steepness: float, correlation: float) -> tuple[float, float]:
    kappa = positive("steepness", steepness)
    if not 1e-30 <= kappa <= 1e30:
        raise ValueError(f"steepness = {steepness!r} must be between 1e-30 and 1e30")
    rho = real_number("correlation", correlation)
    if not abs(rho) <= 1 - 1e-12:
        raise ValueError(f"correlation = {correlation!r} must be between -1 and 1, by 1e-12")
    return kappa, rho


# --- derivation -------------------------------------------------------------------------------

_S, _T, _BETA = sympy.symbols("s t beta", positive=True)


def _gradient_residual() -> sympy.Expr:
    """∂η/∂s = β t η(1−η), ∂η/∂t = β s η(1−η), η(1−η) = ¼ sech²(βst/2)."""
    eta = 1 / (1 + sympy.exp(-_BETA * _S * _T))
    slope = sympy.sech(_BETA * _S * _T / 2) ** 2 / 4
    return first_nonzero(
        sympy.simplify((sympy.diff(eta, _S) - _BETA * _T * slope).rewrite(sympy.exp)),
        sympy.simplify((sympy.diff(eta, _T) - _BETA * _S * slope).rewrite(sympy.exp)),
    )


def _exponent_residual() -> sympy.Expr:
    """At s = p/t, p = r²q: −(s² − 2ρst + t²)/2r² = ρq − (x + q²/x)/2 with t² = r²x."""
    x, rho, q = sympy.symbols("x rho q", positive=True)
    rest = 1 - rho**2
    t = sympy.sqrt(rest * x)
    s = rest * q / t
    exponent = -(s**2 - 2 * rho * s * t + t**2) / (2 * rest)
    return sympy.simplify(exponent - (rho * q - (x + q**2 / x) / 2))


def _density_residual(diagonal: sympy.Expr, off_diagonal: sympy.Expr) -> sympy.Expr:
    """The joint density, p = st: both signs of t give the factor 2, ∓q the hyperbolic functions.

    ∫_0^∞ e^{−(x + q²/x)/2} dx = 2qK₁(q), ∫_0^∞ e^{−(x + q²/x)/2} dx/x = 2K₀(q). With dx = 2t dt/r²
    and dp = r² dq the density of p weighted by t², or by st = r²q, follows.
    """
    rho, q, kappa = CORRELATION, PRODUCT, STEEPNESS
    rest = 1 - rho**2
    weight = sympy.sech(kappa * rest * q / 2) ** 4
    joint = 1 / (2 * sympy.pi * sympy.sqrt(rest))
    by_t_squared = 2 * joint * rest / 2 * 2 * q * sympy.besselk(1, q)  # ∫ t² · dt/t, t > 0, twice
    by_one = 2 * joint / 2 * 2 * sympy.besselk(0, q)  # ∫ dt/t, dt/t = dx/2x
    even = by_t_squared * 2 * sympy.cosh(rho * q) * weight * rest
    odd = by_one * (rest * q) * 2 * sympy.sinh(rho * q) * weight * rest
    return first_nonzero(
        seen_apart(even / diagonal - 1, odd / off_diagonal - 1),
        sympy.simplify(even / diagonal) - 1,
        sympy.simplify(odd / off_diagonal) - 1,
    )


def _substitution_residual() -> sympy.Expr:
    """x = qe^u: the integrals are ∫ e^{−q cosh u} du = 2K₀ and ∫ qe^u e^{−q cosh u} du = 2qK₁."""
    q = sympy.Symbol("q", positive=True)
    u = sympy.Symbol("u", real=True)
    x = q * sympy.exp(u)
    exponent = (x + q**2 / x) / 2 - q * sympy.cosh(u)
    measure = sympy.diff(x, u) - x
    return first_nonzero(sympy.simplify(exponent.rewrite(sympy.exp)), sympy.simplify(measure))


def _tail_residual() -> sympy.Expr:
    """c²x/2 + q²/2x >= cq, so that qK₁(q) <= e^{−cq}/(1 − c²) for |c| < 1, and qK₁ <= 1."""
    x, q, c = sympy.symbols("x q c", positive=True)
    square = (c * sympy.sqrt(x) - q / sympy.sqrt(x)) ** 2 / 2
    return sympy.expand(c**2 * x / 2 + q**2 / (2 * x) - c * q - square)


def _range_residual() -> sympy.Expr:
    """aᵀ∇∇ᵀa is a square of at + bs, which vanishes for almost all (s, t) only if a = b = 0."""
    a, b = sympy.symbols("a b", real=True)
    gradient = sympy.Matrix([_T, _S])
    direction = sympy.Matrix([a, b])
    form = (direction.T * gradient * gradient.T * direction)[0]
    square = sympy.Poly((a * _T + b * _S) ** 2, _S, _T)
    zero = sympy.solve(square.coeffs(), (a, b), dict=True)
    only = zero == [{a: 0, b: 0}] or zero == [{a: sympy.Integer(0), b: sympy.Integer(0)}]
    return first_nonzero(sympy.expand(form - square.as_expr()), sympy.Integer(0 if only else 1))


def _parity_residual(diagonal: sympy.Expr, off_diagonal: sympy.Expr) -> sympy.Expr:
    """D is even and O odd in ρ, and O's integrand is positive for ρ > 0."""
    back = {CORRELATION: -CORRELATION}
    return first_nonzero(
        sympy.simplify(diagonal.subs(back) - diagonal),
        sympy.simplify(off_diagonal.subs(back) + off_diagonal),
    )


def _steep_residual(limit: sympy.Expr) -> sympy.Expr:
    """κD(κ, 0) = (2/π)∫ (x/κ)K₁(x/κ) sech⁴(x/2) dx, and 0 <= qK₁(q) <= 1 tends to 1 as q → 0."""
    if limit != (stated := 2 / sympy.pi * sympy.Rational(4, 3)):
        return limit - stated
    x = sympy.Symbol("x", positive=True)
    h = sympy.tanh(x / 2)
    primitive = 2 * h - sympy.Rational(2, 3) * h**3
    slope = (sympy.diff(primitive, x) - sympy.sech(x / 2) ** 4).rewrite(sympy.exp)
    total = sympy.limit(primitive, x, sympy.oo) - primitive.subs(x, 0)
    near = sympy.limit(x * sympy.besselk(1, x), x, 0) - 1
    return first_nonzero(sympy.simplify(slope), near, 2 / sympy.pi * total - limit)


def derive_logistic(
    diagonal: sympy.Expr = DIAGONAL,
    off_diagonal: sympy.Expr = OFF_DIAGONAL,
    steep: sympy.Expr = STEEP_LIMIT,
) -> Derivation:
    """Derive the AGOP of σ(βst), for all dimensions and covariances, and its range.

    Args:
        diagonal: The integrand of D in ``PRODUCT``, ``STEEPNESS``, ``CORRELATION``, to compare.
        off_diagonal: That of O, likewise.
        steep: lim κD(κ, 0), likewise.

    Source: this project.
    """
    steps = (
        Step("∇η = βη(1−η)(tu + sw).", _gradient_residual),
        Step("The range is span(u, w).", _range_residual),
        Step("Variables p = st and x = t²/r².", _exponent_residual),
        Step("x = qe^u gives Bessel functions.", _substitution_residual),
        Step("The tails.", _tail_residual),
        Step("The steep limit.", partial(_steep_residual, steep)),
        Step("Parity in ρ.", partial(_parity_residual, diagonal, off_diagonal)),
        Step("The integrands.", partial(_density_residual, diagonal, off_diagonal)),
    )
    cites = ("K_ν(q) = ∫_0^∞ e^{−q cosh u} cosh(νu) du", "dominated convergence")
    return Derivation("AGOP of σ(β uᵀx wᵀx).", steps, cites)
