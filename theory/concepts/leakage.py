r"""What probes separate in the very samples they were fitted on, where there is nothing to find.

n samples x_i of dimension d, n₊ of the one class and n₋ of the other; h is half the difference of
the class means, S_W the covariance within classes (divided by n) and S_T the total one. In sample
the least-squares probe (its scores are those of Fisher's discriminant S_W⁻¹h) explains the share

    R² of the labels' variance, with mean r/(n - 1) over all orders of the labels, for any data,

r the rank of the centred data: no law of x is assumed. Its separation there is R²/(1 - R²) times
n²/(4n₊n₋), and for Gaussian classes, Σ known to nobody, has the mean

    (n²d/(4n₊n₋) + nδ²)/(n - d - 3),   d < n - 3,

where the truth is at most δ². For the mean-difference probe and isotropic noise it is the same
with n - 4 in the place of n - d - 3. So an aggregator that is fitted on such scores trusts layers
for their dimension; out-of-fold scores (cross-fitting) do not share samples with their probe.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from numbers import Integral
from typing import Literal, TypeAlias, get_args

import sympy

from ..derivation import Derivation, Step, first_nonzero
from ..matrix_words import matrices, reduced
from ..validation import integer, nonnegative

Probe: TypeAlias = Literal["least_squares", "mean_difference"]

SAMPLES, RANK, DIMENSION = sympy.symbols("n r d", integer=True, positive=True)
POSITIVE, NEGATIVE = sympy.symbols("n_+ n_-", integer=True, positive=True)
SEPARATION = sympy.Symbol("delta2", nonnegative=True)
EXPLAINED = sympy.Symbol("R2", positive=True)

_T = sympy.transpose
_n = SAMPLES

EXPLAINED_MEAN = RANK / (SAMPLES - 1)
"""E R² over all orders of the labels."""

FROM_EXPLAINED = SAMPLES**2 * EXPLAINED / (4 * POSITIVE * NEGATIVE * (1 - EXPLAINED))
"""The in-sample separation of the least-squares probe, n = n₊ + n₋."""

LEAST_SQUARES_MEAN = (SAMPLES**2 * DIMENSION / (4 * POSITIVE * NEGATIVE) + SAMPLES * SEPARATION) / (
    SAMPLES - DIMENSION - 3
)
"""E of the in-sample separation of the least-squares probe, Gaussian classes."""

MEAN_DIFFERENCE_MEAN = (
    SAMPLES**2 * DIMENSION / (4 * POSITIVE * NEGATIVE) + SAMPLES * SEPARATION
) / (SAMPLES - 4)
"""E of the in-sample separation of the mean-difference probe, isotropic Gaussian classes."""


def in_sample_explained(rank: int, samples: int) -> float:
    """Return the mean of R² of a least-squares probe over all orders of the labels, r/(n - 1).

    It holds for every data set and every law of the samples, as long as the labels are exchangeable
    given the data: random labels, for example.

    Args:
        rank: r >= 0, of the centred data, shape (n, d): min(d, n - 1) for generic data.
        samples: n >= 2.

    Raises:
        TypeError: If an argument is not an integer.
        ValueError: If n < 2, r < 0 or r > n - 1.

    Source: this project.

    Example:
        >>> in_sample_explained(384, 1537)
        0.25
    """
    n, r = integer("samples", samples, 2), integer("rank", rank, 0)
    if r > n - 1:
        raise ValueError(f"rank = {rank} must be at most samples - 1 = {n - 1}")
    return r / (n - 1)


def in_sample_separation(
    dimension: int,
    counts: tuple[int, int],
    separation: float = 0.0,
    probe: Probe = "least_squares",
) -> float:
    """Return the mean separation of a probe's scores in the samples that it was fitted on.

    The separation is (half the difference of the scores' class means)² over their variance within
    the classes (divided by n); classes are N(±μ, Σ), for the mean difference with Σ = σ²I.

    Args:
        dimension: d >= 1.
        counts: n₊ and n₋, at least 1 each; n = n₊ + n₋ > d + 3, or > 4 for the mean difference.
        separation: δ² = μᵀΣ⁻¹μ >= 0, that of the population; 0 if there is nothing to find.
        probe: "least_squares" or "mean_difference".

    Raises:
        TypeError: If a count or the dimension is not an integer, or the separation not a number.
        ValueError: If one is out of its range, or the probe is unknown; with too few samples the
            mean is infinite, and with n <= d + 1 least squares separates all samples.

    Source: this project.

    Example:
        >>> in_sample_separation(97, (100, 100)), in_sample_separation(97, (100, 100), 1.0)
        (0.97, 2.97)
    """
    d, (plus, minus) = integer("dimension", dimension, 1), _counts(counts)
    delta2, n = nonnegative("separation", separation), plus + minus
    if probe not in get_args(Probe):
        raise ValueError(f"probe = {probe!r} must be one of {', '.join(get_args(Probe))}")
    least = (d if probe == "least_squares" else 1) + 4
    if n < least:
        raise ValueError(f"counts add up to {n}; at least {least} samples give a finite mean")
    form = LEAST_SQUARES_MEAN if probe == "least_squares" else MEAN_DIFFERENCE_MEAN
    values = {SAMPLES: n, DIMENSION: d, POSITIVE: plus, NEGATIVE: minus}
    return float(form.subs({**values, SEPARATION: sympy.Rational(delta2)}))


def _counts(counts: tuple[int, int]) -> tuple[int, int]:
    if (
        not isinstance(counts, Sequence)
        or len(counts) != 2
        or not all(isinstance(count, Integral) for count in counts)
    ):
        raise TypeError(f"counts = {counts!r} must be two integers, one for each class")
    plus, minus = counts
    return integer("counts[0]", plus, 1), integer("counts[1]", minus, 1)


# --- derivation -------------------------------------------------------------------------------

_c = 4 * POSITIVE * NEGATIVE / SAMPLES
"""The labels ±1 have the sum of squares c around their mean."""


def _label_residual() -> sympy.Expr:
    """Labels y - ȳ: 2n₋/n and -2n₊/n, with the sum 0 and the sum of squares 4n₊n₋/n."""
    plus, minus, n = POSITIVE, NEGATIVE, POSITIVE + NEGATIVE
    ybar = (plus - minus) / n
    total = plus * (1 - ybar) + minus * (-1 - ybar)
    squares = plus * (1 - ybar) ** 2 + minus * (1 + ybar) ** 2
    return first_nonzero(sympy.simplify(total), sympy.simplify(squares - 4 * plus * minus / n))


def _order_residual(claimed: sympy.Expr) -> sympy.Expr:
    """E yyᵀ over all orders is αI + β11ᵀ; trace c and row sums 0 give (c/(n - 1))(I - 11ᵀ/n).

    E R² = tr(P E yyᵀ)/c for the projection P on the centred data, where P1 = 0 and tr P = r.
    """
    alpha, beta, c = sympy.symbols("alpha beta c")
    solved = sympy.solve([_n * alpha + _n * beta - c, alpha + _n * beta], [alpha, beta])
    trace_with_ones = sympy.Integer(0)  # tr P11ᵀ = 1ᵀP1
    mean = (solved[alpha] * RANK + solved[beta] * trace_with_ones) / c
    return sympy.simplify(mean - claimed)


def _explained_residual(claimed: sympy.Expr) -> sympy.Expr:
    """S_T = S_W + (c/n)hhᵀ, so that θ = hᵀS_W⁻¹h is R²/(1 - R²) times n/c, by Sherman and Morrison.

    Xᵀy/n = (c/n)h: R² = (c/n)hᵀS_T⁻¹h, and h = S_W g has S_T g = (1 + (c/n)θ)h.
    """
    W, h, g = matrices("W h g")
    theta, k = sympy.symbols("theta k", positive=True)  # k = c/n
    moved = reduced((W + k * h * _T(h)) * g, {_T(h) * g: theta, W * g: h})
    parallel = sympy.expand(moved - (1 + k * theta) * h)
    share = k * theta / (1 + k * theta)
    inverted = share / (1 - share) / k - theta
    found = claimed.subs(EXPLAINED, share).subs(NEGATIVE, k * _n**2 / (4 * POSITIVE)) - theta
    return first_nonzero(parallel, sympy.simplify(inverted), sympy.simplify(found))


def _fisher_residual() -> sympy.Expr:
    """The scores of w = S_W⁻¹h have the separation (wᵀh)²/(wᵀS_Ww) = θ, and S_T⁻¹h is parallel."""
    W, G, h = matrices("W G h")
    rules = {W * G: sympy.Integer(1), _T(G): G, _T(W): W}
    w = G * h
    return reduced(_T(w) * W * w - _T(w) * h, rules)


@cache
def _inverse_chi_square(freedom: sympy.Expr) -> sympy.Expr:
    """E 1/χ²_k = 1/(k - 2): integrals of x^{k/2 - 2}e^{-x/2} and of x^{k/2 - 1}e^{-x/2}."""
    half = sympy.Symbol("q", positive=True)
    x = sympy.Symbol("x", positive=True)
    weight, inside = x ** (half - 1) * sympy.exp(-x / 2), (x, 0, sympy.oo)
    top, bottom = (sympy.integrate(w, inside, conds="none") for w in (weight / x, weight))
    return sympy.gammasimp(top / bottom).subs(half, freedom / 2)


@cache
def _numerator() -> sympy.Expr:
    """h ~ N(μ, Σ/c): E hᵀΣ⁻¹h = d/c + δ²; per coordinate whitened, E(m + z/√c)² = m² + 1/c."""
    m, z, scale = sympy.symbols("m z c", positive=True)
    density = sympy.exp(-(z**2) / 2) / sympy.sqrt(2 * sympy.pi)
    square = sympy.expand((m + z / sympy.sqrt(scale)) ** 2)
    mean = sympy.integrate(square * density, (z, -sympy.oo, sympy.oo))
    each = sympy.simplify(mean - m**2)
    return DIMENSION * each.subs(scale, _c) + SEPARATION


def _half_difference_residual() -> sympy.Expr:
    """Var h = (1/n₊ + 1/n₋)Σ/4 = Σ/c."""
    variance = (1 / POSITIVE + 1 / NEGATIVE) / 4
    return sympy.simplify(variance - 1 / _c.subs(_n, POSITIVE + NEGATIVE))


def _gaussian_residual(claimed: sympy.Expr, freedom: sympy.Expr) -> sympy.Expr:
    """θ = n·hᵀΣ⁻¹h/χ²_k, numerator and denominator independent."""
    mean = _n * _numerator() * _inverse_chi_square(freedom)
    return sympy.cancel(mean - claimed)


def derive_leakage(
    explained: sympy.Expr = EXPLAINED_MEAN,
    from_explained: sympy.Expr = FROM_EXPLAINED,
    least_squares: sympy.Expr = LEAST_SQUARES_MEAN,
    mean_difference: sympy.Expr = MEAN_DIFFERENCE_MEAN,
) -> Derivation:
    """Derive the in-sample separations: over orders of labels for any data, and for Gaussian ones.

    Args:
        explained: In ``RANK`` and ``SAMPLES``, to compare with.
        from_explained: In ``EXPLAINED``, ``SAMPLES``, ``POSITIVE`` and ``NEGATIVE``.
        least_squares: In ``DIMENSION``, ``SAMPLES``, the counts and ``SEPARATION``.
        mean_difference: As the least squares.

    Source: this project.
    """
    fisher, difference = _n - 2 - DIMENSION + 1, _n - 2
    steps = (
        Step("The labels' sum of squares is c = 4n₊n₋/n.", _label_residual),
        Step("h has the covariance Σ/c.", _half_difference_residual),
        Step("Least squares is Fisher's discriminant.", _fisher_residual),
        Step("From R² to the separation.", partial(_explained_residual, from_explained)),
        Step("Any data, all orders of the labels.", partial(_order_residual, explained)),
        Step(
            "Mean difference: uᵀ(nS_W)u/σ² ~ χ²_{n - 2} for u = h/‖h‖.",
            partial(_gaussian_residual, mean_difference, difference),
        ),
        Step(
            "Least squares: hᵀΣ⁻¹h/hᵀ(nS_W)⁻¹h ~ χ²_{n - 2 - d + 1}.",
            partial(_gaussian_residual, least_squares, fisher),
        ),
    )
    cites = (
        "class means and the covariance within classes are independent, nS_W ~ Wishart(Σ, n - 2)",
        "aᵀΣ⁻¹a/aᵀW⁻¹a ~ χ²_{ν - d + 1} and aᵀWa/aᵀΣa ~ χ²_ν for W ~ Wishart(Σ, ν)",
    )
    return Derivation("In-sample separations.", steps, cites)
