r"""Scores of layers in closed form: two scores, equicorrelated ones, nested ones, equal weights.

Scores s_ℓ have half differences of means m_ℓ and, within a class, unit variances if nothing else
is said. Two of them, with means a and b and correlation ρ, have together

    D² = (a² - 2ρab + b²)/(1 - ρ²) = a² + (b - ρa)²/(1 - ρ²).

The second is weighted negatively if b < ρa, adds nothing iff b = ρa, and everything (D² = a² + b²)
iff ρ = 0 or ρ = 2ab/(a² + b²): uncorrelated scores are enough, not necessary. L equicorrelated
scores gain up to δ²/ρ only, and equal weights can be worse than the best score alone.
"""

from __future__ import annotations

from functools import partial

import sympy

from ..alignment.bound import CONDITION_NUMBER
from ..closed_form import ClosedForm
from ..derivation import Derivation, Step, first_nonzero
from ..matrix_words import matrices, reduced
from ..validation import integer
from .kantorovich import PRICE

BEST, OTHER = sympy.symbols("a b", positive=True)
CORRELATION = sympy.Symbol("rho", real=True)
SCORES = sympy.Symbol("L", integer=True, positive=True)
SQUARE_SUM, SUM = sympy.symbols("S_2 S_1", real=True)
SIGNAL_1, SIGNAL_2 = sympy.symbols("eta_1 eta_2", real=True)
NOISE_1, NOISE_2 = sympy.symbols("N_1 N_2", positive=True)

_a, _b, _rho, _L = BEST, OTHER, CORRELATION, SCORES

PAIR = (_a**2 - 2 * _rho * _a * _b + _b**2) / (1 - _rho**2)
"""D² of two scores."""

PAIR_GAIN = (_b - _rho * _a) ** 2 / (1 - _rho**2)
"""What the second adds to the first."""

PAIR_WEIGHT = (_b - _rho * _a) / (1 - _rho**2)
"""The second's weight in C⁻¹m."""

ADDITIVE_CORRELATION = 2 * _a * _b / (_a**2 + _b**2)
"""The only ρ ≠ 0 with D² = a² + b²."""

EQUICORRELATED = (SQUARE_SUM - _rho * SUM**2 / (1 + (_L - 1) * _rho)) / (1 - _rho)
"""D² of L scores, all correlated by ρ in (-1/(L - 1), 1); S_1 = Σ m_ℓ, S_2 = Σ m_ℓ²."""

EQUAL_FACTOR = _L / (1 + (_L - 1) * _rho)
"""D² over that of one, if they have the same mean."""

EQUAL_WEIGHTS = (_a + _b) ** 2 / (2 * (1 + _rho))
"""The separation of the mean of two scores."""

WORTHWHILE = sympy.sqrt(2 * (1 + _rho)) - 1
"""The mean of two scores is worse than the best of them iff b/a is below this."""

NESTED_PAIR = SIGNAL_1**2 / NOISE_1 + SIGNAL_2**2 / NOISE_2
"""D² of s_1 = u_1 and s_2 = u_1 + u_2, the u_i independent N(yη_i, N_i)."""

NESTED_GAIN = (SIGNAL_1 * NOISE_2 - SIGNAL_2 * NOISE_1) ** 2 / (
    NOISE_1 * NOISE_2 * (NOISE_1 + NOISE_2)
)
"""What s_1 adds to s_2, the last score."""

LOST_RATIO = (_a**2 / (1 - _rho**2) + _b**2) / (_a**2 + _b**2)
"""δ²/D² of the counterexample below."""


def counterexample() -> tuple[tuple[sympy.Matrix, sympy.Matrix], sympy.Matrix]:
    """Return means and covariance of two layers whose own Bayes scores lose what the stack has.

    Layer 1 is one number with mean a; layer 2 has the means (0, b) and the covariance I, and its
    first coordinate, which carries no signal, is correlated by ρ with the noise of layer 1. Its
    own Bayes direction is (0, 1), so the scores have D² = a² + b², while the stack has
    δ² = a²/(1 - ρ²) + b². The ratio has no bound as ρ → 1.
    """
    means = sympy.Matrix([_a]), sympy.Matrix([0, _b])
    covariance = sympy.Matrix([[1, _rho, 0], [_rho, 1, 0], [0, 0, 1]])
    return means, covariance


def equicorrelated_factor(layers: int) -> ClosedForm:
    """Return D²/δ_1² of L equally good, equicorrelated scores, in ρ on (-1/(L - 1), 1).

    It falls from ∞ over L at ρ = 0 to 1 at ρ = 1, where all scores are the same, and for ρ > 0 is
    below 1/ρ, whatever L is.

    Args:
        layers: L >= 2.

    Raises:
        TypeError: If L is not an integer.
        ValueError: If L < 2.

    Source: this project.

    Example:
        >>> equicorrelated_factor(9)(0.5)
        1.8
    """
    L = integer("layers", layers, 2)
    domain = (sympy.Rational(-1, L - 1), sympy.Integer(1))
    expression = EQUAL_FACTOR.subs(SCORES, L)
    return ClosedForm("concepts.equicorrelated_factor", expression, CORRELATION, domain)


def worthwhile_ratio() -> ClosedForm:
    """Return the least b/a for which the mean of two scores is no worse than the better one.

    In ρ on (-1, 1): √2 - 1 for uncorrelated scores, and 1 (never worthwhile) for equal ones.

    Source: this project.

    Example:
        >>> worthwhile_ratio()(0.0)
        0.41421356237309503
    """
    domain = (sympy.Integer(-1), sympy.Integer(1))
    return ClosedForm("concepts.worthwhile_ratio", WORTHWHILE, CORRELATION, domain)


# --- derivation -------------------------------------------------------------------------------


def _separation(mean: sympy.Matrix, covariance: sympy.Matrix) -> sympy.Expr:
    return sympy.simplify((mean.T * covariance.inv() * mean)[0, 0])


_PAIR_MEAN = sympy.Matrix([_a, _b])
_PAIR_COVARIANCE = sympy.Matrix([[1, _rho], [_rho, 1]])


def _pair_residual(pair: sympy.Expr, gain: sympy.Expr, weight: sympy.Expr) -> sympy.Expr:
    found = _separation(_PAIR_MEAN, _PAIR_COVARIANCE)
    second = (_PAIR_COVARIANCE.inv() * _PAIR_MEAN)[1, 0]
    return first_nonzero(
        *map(sympy.simplify, (found - pair, found - _a**2 - gain, second - weight))
    )


def _additive_residual(claimed: sympy.Expr) -> sympy.Expr:
    """D² - a² - b² = ρ((a² + b²)ρ - 2ab)/(1 - ρ²): two roots."""
    excess = sympy.together(_separation(_PAIR_MEAN, _PAIR_COVARIANCE) - _a**2 - _b**2)
    factored = _rho * (_a**2 + _b**2) * (_rho - claimed) / (1 - _rho**2)
    return sympy.simplify(excess - factored)


def _equicorrelated_residual(claimed: sympy.Expr) -> sympy.Expr:
    """C = (1 - ρ)I + ρ11ᵀ, 1ᵀ1 = L: C⁻¹ = (I - ρ11ᵀ/(1 + (L - 1)ρ))/(1 - ρ)."""
    one, mean = matrices("o m")
    rules = {sympy.transpose(one) * one: _L}
    square = one * sympy.transpose(one)
    share = _rho / (1 + (_L - 1) * _rho)
    product = reduced(((1 - _rho) + _rho * square) * (1 - share * square), rules)
    inverse = sympy.simplify(product.subs(square, sympy.Symbol("J")) - 1 + _rho)
    form = sympy.transpose(mean) * (1 - share * square) * mean
    form = form.expand().subs(sympy.transpose(mean) * square * mean, SUM**2)
    form = form.subs(sympy.transpose(mean) * mean, SQUARE_SUM) / (1 - _rho)
    return first_nonzero(inverse, sympy.simplify(form - claimed))


def _factor_residual(claimed: sympy.Expr, general: sympy.Expr) -> sympy.Expr:
    """m = a1: S_1 = La, S_2 = La². The factor falls in ρ, is 1 at ρ = 1 and tends to 1/ρ."""
    equal = general.subs({SUM: _L * _a, SQUARE_SUM: _L * _a**2}) / _a**2
    slope = sympy.diff(claimed, _rho) + _L * (_L - 1) / (1 + (_L - 1) * _rho) ** 2
    ends = claimed.subs(_rho, 1) - 1, sympy.limit(claimed, _L, sympy.oo) - 1 / _rho
    return first_nonzero(*map(sympy.simplify, (equal - claimed, slope, *ends)))


def _weights_residual(mean: sympy.Expr, threshold: sympy.Expr) -> sympy.Expr:
    """(a + b)²/(2 + 2ρ) < a² for a > 0 and a + b > 0 iff a + b < √(2 + 2ρ) a."""
    one = sympy.ones(2, 1)
    found = (one.T * _PAIR_MEAN)[0, 0] ** 2 / (one.T * _PAIR_COVARIANCE * one)[0, 0]
    border = sympy.simplify(found.subs(_b, threshold * _a) - _a**2)
    root = sympy.simplify(threshold.subs(_rho, 1) - 1)  # of the two roots, the larger
    return first_nonzero(sympy.simplify(found - mean), border, root)


def _nested_residual(pair: sympy.Expr, gain: sympy.Expr) -> sympy.Expr:
    mean = sympy.Matrix([SIGNAL_1, SIGNAL_1 + SIGNAL_2])
    C = sympy.Matrix([[NOISE_1, NOISE_1], [NOISE_1, NOISE_1 + NOISE_2]])
    last = mean[1] ** 2 / C[1, 1]
    found = _separation(mean, C)
    return first_nonzero(*map(sympy.simplify, (found - pair, found - last - gain)))


def _lost_residual(ratio: sympy.Expr) -> sympy.Expr:
    """Own Bayes scores: V = diag(Σ_11⁻¹μ_1, Σ_22⁻¹μ_2)."""
    means, S = counterexample()
    own = S[:1, :1].inv() * means[0], S[1:, 1:].inv() * means[1]
    V, mean = sympy.diag(*own), sympy.Matrix.vstack(*means)
    stacked, scores = _separation(mean, S), _separation(V.T * mean, V.T * S * V)
    bounded = sympy.limit(1 / ratio, _rho, 1, "-")
    return first_nonzero(sympy.simplify(stacked / scores - ratio), bounded)


def _attained_residual(ratio: sympy.Expr, price: sympy.Expr) -> sympy.Expr:
    """Σ has the eigenvalues 1 ± ρ and 1, and its layers are scaled: κ = (1 + ρ)/(1 - ρ); b → 0."""
    _, S = counterexample()
    shifts = [(S - x * sympy.eye(3)).det() for x in (1 - _rho, 1, 1 + _rho)]
    kappa = (1 + _rho) / (1 - _rho)
    limit = ratio.subs(_b, 0) - price.subs(CONDITION_NUMBER, kappa)
    return first_nonzero(*map(sympy.simplify, (*shifts, limit)))


def derive_pair(
    pair: sympy.Expr = PAIR,
    gain: sympy.Expr = PAIR_GAIN,
    weight: sympy.Expr = PAIR_WEIGHT,
    additive: sympy.Expr = ADDITIVE_CORRELATION,
    mean: sympy.Expr = EQUAL_WEIGHTS,
    threshold: sympy.Expr = WORTHWHILE,
) -> Derivation:
    """Derive what two correlated scores have together, and what their mean has.

    Args:
        pair: In ``BEST``, ``OTHER`` and ``CORRELATION``, to compare with.
        gain: As the pair.
        weight: As the pair.
        additive: In ``BEST`` and ``OTHER``, to compare with.
        mean: As the pair.
        threshold: In ``CORRELATION``, to compare with.

    Source: this project.
    """
    steps = (
        Step("Equal weights against the best.", partial(_weights_residual, mean, threshold)),
        Step("Where the separations add up.", partial(_additive_residual, additive)),
        Step("Two scores.", partial(_pair_residual, pair, gain, weight)),
    )
    return Derivation("Two correlated scores.", steps)


def derive_families(
    equicorrelated: sympy.Expr = EQUICORRELATED,
    factor: sympy.Expr = EQUAL_FACTOR,
    nested_pair: sympy.Expr = NESTED_PAIR,
    nested_gain: sympy.Expr = NESTED_GAIN,
    ratio: sympy.Expr = LOST_RATIO,
    price: sympy.Expr = PRICE.expression,
) -> Derivation:
    """Derive equicorrelated scores of every number, nested ones, and the counterexample's ratio.

    Args:
        equicorrelated: In ``SQUARE_SUM``, ``SUM``, ``SCORES``, ``CORRELATION``.
        factor: In ``SCORES`` and ``CORRELATION``, to compare with.
        nested_pair: In ``SIGNAL_1``, ``SIGNAL_2``, ``NOISE_1``, ``NOISE_2``.
        nested_gain: As the nested pair.
        ratio: In ``BEST``, ``OTHER``, ``CORRELATION``, to compare with.
        price: In ``CONDITION_NUMBER``, to compare with.

    Source: this project.
    """
    steps = (
        Step("The largest loss is its limit.", partial(_attained_residual, ratio, price)),
        Step("Own Bayes scores against the stack.", partial(_lost_residual, ratio)),
        Step("Nested scores.", partial(_nested_residual, nested_pair, nested_gain)),
        Step("Equal means.", partial(_factor_residual, factor, EQUICORRELATED)),
        Step("Equicorrelated scores.", partial(_equicorrelated_residual, equicorrelated)),
    )
    return Derivation("Equicorrelated and nested scores; what own scores lose.", steps)
