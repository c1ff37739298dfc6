"""Scores against stacked layers, derived in matrix words, for layers and vectors of every size."""

from __future__ import annotations

from functools import partial

import sympy

from ..derivation import Derivation, Step, first_nonzero
from ..matrix_words import matrices, reduced
from . import aggregation as words
from .kantorovich import PRICE, derive_kantorovich

_T = sympy.transpose
_ONE = sympy.Integer(1)
_S, _P, _mu = words.COVARIANCE, words.PRECISION, words.MEAN
_V, _R = words.VECTORS, words.SCORE_PRECISION
_b, _w = matrices("b w")

_RULES = {
    _T(_S): _S,
    _T(_P): _P,
    _T(_R): _R,
    _S * _P: _ONE,
    _P * _S: _ONE,
    _R * _T(_V) * _S * _V: _ONE,
    _T(_V) * _S * _V * _R: _ONE,
}
"""R = (VᵀΣV)⁻¹, which exists because Σ ≻ 0 and the columns of V are independent."""

_BEST = _R * _T(_V) * _mu
"""a = C⁻¹m."""


def _logit_residual() -> sympy.Expr:
    """½(x + μ)ᵀP(x + μ) - ½(x - μ)ᵀP(x - μ) = μᵀPx + xᵀPμ, twice the number μᵀPx."""
    (x,) = matrices("x")
    ratio = _T(x + _mu) * _P * (x + _mu) - _T(x - _mu) * _P * (x - _mu)
    return sympy.expand(ratio / 2 - _T(_mu) * _P * x - _T(x) * _P * _mu)


def _stacked_residual(stacked: sympy.Expr) -> sympy.Expr:
    """w = Pμ: wᵀμ = wᵀΣw = δ², so that (wᵀμ)²/(wᵀΣw) = δ²."""
    w = _P * _mu
    return first_nonzero(
        reduced(_T(w) * _mu - stacked, _RULES), reduced(_T(w) * _S * w - stacked, _RULES)
    )


def _scores_residual(scores: sympy.Expr) -> sympy.Expr:
    """a = C⁻¹m: aᵀm = aᵀCa = D²."""
    C = _T(_V) * _S * _V
    return first_nonzero(
        reduced(_T(_BEST) * _T(_V) * _mu - scores, _RULES),
        reduced(_T(_BEST) * C * _BEST - scores, _RULES),
    )


def _other_weights_residual(scores: sympy.Expr) -> sympy.Expr:
    """0 ≤ (b - ta)ᵀC(b - ta) = bᵀCb - 2t bᵀm + t²D² for every t: (bᵀm)² ≤ D² bᵀCb."""
    t, number = sympy.symbols("t beta", real=True)
    C, off = _T(_V) * _S * _V, _b - t * _BEST
    square = reduced(_T(off) * C * off, _RULES)
    square = square.subs(_T(_b) * _T(_V) * _mu, number).subs(_T(_mu) * _V * _b, number)
    plain = _T(_b) * C * _b - 2 * t * number + t**2 * scores
    return sympy.expand(square - plain)


def _loss_residual(stacked: sympy.Expr, scores: sympy.Expr, missed: sympy.Expr) -> sympy.Expr:
    return reduced(stacked - scores - words.loss(missed), _RULES)


def _spanned_residual(missed: sympy.Expr) -> sympy.Expr:
    """Pμ = Vw, that is μ = ΣVw: nothing is missed (and a loss of 0 gives Pμ = Va: Σ ≻ 0)."""
    return reduced(missed.subs(_mu, _S * _V * _w), _RULES)


def derive_loss(
    stacked: sympy.Expr = words.STACKED,
    scores: sympy.Expr = words.SCORES,
    missed: sympy.Expr = words.MISSED,
) -> Derivation:
    """Derive δ², D² and what lies between them, for any layers and any vectors.

    Args:
        stacked: In ``PRECISION`` and ``MEAN``, to compare with.
        scores: In ``MEAN``, ``VECTORS`` and ``SCORE_PRECISION``, to compare with.
        missed: In the same letters, to compare with.

    Source: this project.
    """
    steps = (
        Step("The likelihood ratio of x is linear: its logit is 2μᵀΣ⁻¹x.", _logit_residual),
        Step("Its separation is δ².", partial(_stacked_residual, stacked)),
        Step("That of the scores is D².", partial(_scores_residual, scores)),
        Step("Other weights b do worse.", partial(_other_weights_residual, scores)),
        Step("Nothing is lost if V spans Σ⁻¹μ.", partial(_spanned_residual, missed)),
        Step("The loss is a square.", partial(_loss_residual, stacked, scores, missed)),
    )
    return Derivation("D² = δ² - ‖Σ^{1/2}(Σ⁻¹μ - Va)‖².", steps)


# --- own directions ---------------------------------------------------------------------------

_W = matrices("W")[0]
"""Any root: the layers are scaled by it to Σ_ℓℓ = I, so that the own Bayes direction of layer ℓ is
its mean ν_ℓ, and those of all layers together add up to ν."""


def _equal_weights_residual(scores: sympy.Expr) -> sympy.Expr:
    """b = 1: Vb = ν, bᵀm = νᵀν, bᵀCb = νᵀΣν; so D² ≥ (νᵀν)²/(νᵀΣν)."""
    (ones,) = matrices("o")
    rules = {_V * ones: _mu, _T(ones) * _T(_V): _T(_mu)}
    mean = reduced(_T(ones) * _T(_V) * _mu, rules)
    variance = reduced(_T(ones) * _T(_V) * _S * _V * ones, rules)
    return first_nonzero(
        sympy.expand(mean - _T(_mu) * _mu),
        sympy.expand(variance - _T(_mu) * _S * _mu),
        _other_weights_residual(scores),
    )


def _own_residual() -> sympy.Expr:
    """With Σ_ℓℓ⁻¹ = WᵀW, the own direction WᵀWμ turns into W⁻ᵀWᵀWμ = Wμ, the scaled mean."""
    (inverse,) = matrices("U")  # W⁻¹
    own = _T(_W) * _W * _mu
    return reduced(_T(inverse) * own - _W * _mu, {_T(inverse) * _T(_W): _ONE})


def _scaling_residual(stacked: sympy.Expr, scores: sympy.Expr) -> sympy.Expr:
    """x → Wx with μ → Wμ, Σ → WΣWᵀ, V → W⁻ᵀV changes neither δ² nor D²."""
    (inverse,) = matrices("U")  # W⁻¹
    rules = {**_RULES, inverse * _W: _ONE, _T(_W) * _T(inverse): _ONE}
    moved = {_mu: _W * _mu, _P: _T(inverse) * _P * inverse, _V: _T(inverse) * _V}
    pairs = ((stacked, stacked.subs(moved, simultaneous=True)),
             (scores, scores.subs(moved, simultaneous=True)))  # fmt: skip
    return first_nonzero(*(reduced(new - old, rules) for old, new in pairs))


def derive_largest_loss(
    price: sympy.Expr = PRICE.expression,
    stacked: sympy.Expr = words.STACKED,
    scores: sympy.Expr = words.SCORES,
) -> Derivation:
    """Derive δ²/D² ≤ (1 + κ)²/(4κ) for the layers' own Bayes directions.

    Args:
        price: In ``CONDITION_NUMBER``, to compare with.
        stacked: As in `derive_loss`.
        scores: As in `derive_loss`.

    Source: this project.
    """
    inequality = derive_kantorovich(price=price)
    steps = (
        Step("Own directions of scaled layers are their means.", _own_residual),
        Step("Scaling the layers changes nothing.", partial(_scaling_residual, stacked, scores)),
        Step("D² is at least that of equal weights.", partial(_equal_weights_residual, scores)),
        *inequality.steps,
    )
    goal = "δ²/D² ≤ (νᵀΣ⁻¹ν)(νᵀΣν)/(νᵀν)² ≤ (1 + κ)²/(4κ)."
    return Derivation(goal, steps, inequality.cites)


# --- one more layer ---------------------------------------------------------------------------

_A, _Ai, _B, _D = words.COVARIANCE_1, words.PRECISION_1, words.CROSS, words.COVARIANCE_2
_Q, _m1, _m2 = words.SCHUR_PRECISION, words.MEAN_1, words.MEAN_2
_E, _eta, _N = words.MAP, words.OWN_MEAN, words.OWN_NOISE

_SCHUR_RULES = {
    _T(_A): _A,
    _T(_Ai): _Ai,
    _T(_Q): _Q,
    _T(_D): _D,
    _A * _Ai: _ONE,
    _Ai * _A: _ONE,
    _D * _Q: 1 + _B * _Ai * _T(_B) * _Q,
}

_JOINT = ((_A, _T(_B)), (_B, _D))
_INVERSE = (
    (_Ai + _Ai * _T(_B) * _Q * _B * _Ai, -_Ai * _T(_B) * _Q),
    (-_Q * _B * _Ai, _Q),
)


def _inverse_residual() -> sympy.Expr:
    """[[A, Bᵀ], [B, D]] times its claimed inverse, block by block."""
    products = [
        reduced(sum(_JOINT[i][k] * _INVERSE[k][j] for k in range(2)) - int(i == j), _SCHUR_RULES)
        for i in range(2)
        for j in range(2)
    ]
    return first_nonzero(*products)


def _gain_residual(gain: sympy.Expr) -> sympy.Expr:
    means = (_m1, _m2)
    joint = sum(_T(means[i]) * _INVERSE[i][j] * means[j] for i in range(2) for j in range(2))
    return reduced(joint - _T(_m1) * _Ai * _m1 - gain, _SCHUR_RULES)


def _uncorrelated_residual(gain: sympy.Expr, claimed: sympy.Expr) -> sympy.Expr:
    """B = 0: DQ = 1, and the gain is the layer's own separation."""
    zero = sympy.Integer(0)
    own = reduced(_D * _Q, _SCHUR_RULES).subs(_B, zero) - 1
    return first_nonzero(own, reduced(gain.subs(_B, zero) - claimed, _SCHUR_RULES))


def _nested_schur_residual() -> sympy.Expr:
    """x_2 = Ex_1 + u: B = EA, D = EAEᵀ + N, and D - B Ai Bᵀ = N."""
    cross = _E * _A
    schur = _E * _A * _T(_E) + _N - cross * _Ai * _T(cross)
    return reduced(schur - _N, _SCHUR_RULES)


def _nested_residual(gain: sympy.Expr, claimed: sympy.Expr) -> sympy.Expr:
    """μ_2 = Eμ_1 + η: what is new in the mean is η."""
    nested = gain.subs({_B: _E * _A, _m2: _E * _m1 + _eta}, simultaneous=True)
    copied = reduced(nested.subs(_eta, sympy.Integer(0)), _SCHUR_RULES)
    return first_nonzero(copied, reduced(nested - claimed, _SCHUR_RULES))


def derive_gain(
    gain: sympy.Expr = words.GAIN,
    uncorrelated: sympy.Expr = words.UNCORRELATED_GAIN,
    nested: sympy.Expr = words.NESTED_GAIN,
) -> Derivation:
    """Derive what a layer, or a score, adds to those before it.

    Args:
        gain: In ``MEAN_1``, ``MEAN_2``, ``PRECISION_1``, ``CROSS``, ``SCHUR_PRECISION``.
        uncorrelated: In ``MEAN_2`` and ``SCHUR_PRECISION``, to compare with.
        nested: In ``OWN_MEAN`` and ``SCHUR_PRECISION``, to compare with.

    Source: this project.
    """
    steps = (
        Step("The inverse of the joint covariance.", _inverse_residual),
        Step("A linear function plus noise: Schur's complement is N.", _nested_schur_residual),
        Step("There η alone counts; a copy adds nothing.", partial(_nested_residual, gain, nested)),
        Step("Uncorrelated: all of it.", partial(_uncorrelated_residual, gain, uncorrelated)),
        Step("δ² = δ_1² + gain.", partial(_gain_residual, gain)),
    )
    return Derivation("The gain is (μ_2 - BA⁻¹μ_1)ᵀ(D - BA⁻¹Bᵀ)⁻¹(μ_2 - BA⁻¹μ_1).", steps)
