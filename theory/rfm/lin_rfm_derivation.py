"""Derivation: what lin-RFM's fixed points are critical points of, and of which deep networks."""

from __future__ import annotations

from functools import partial

import sympy

from ..derivation import Derivation, Step, first_nonzero
from ..matrix_words import matrices, reduced, trace
from .lin_rfm import (
    DEPTH,
    DEPTH_POWER,
    EXPONENT,
    MULTIPLIER,
    PLACEMENT,
    POWER,
    SINGULAR,
    SMOOTHING,
)

_t = sympy.transpose
_ONE = sympy.Integer(1)
_SYMBOL = sympy.Symbol("t")


def _simplified(expression: sympy.Expr) -> sympy.Expr:
    return sympy.simplify(sympy.powsimp(sympy.expand(expression), force=True))


def _log_residual(claimed: sympy.Expr, derived: sympy.Expr) -> sympy.Expr:
    """log of claimed/derived for products of powers; negative factors make it differ from 0."""
    found, wanted = (sympy.expand_log(sympy.log(f), force=True) for f in (claimed, derived))
    return sympy.simplify(sympy.expand(found) - sympy.expand(wanted))


# --- one round ---------------------------------------------------------------------------------

N, Lambda, E, X = matrices("N Lambda E X")  # N = M^β


def _linear(word: sympy.Expr) -> sympy.Expr:
    return trace(sympy.expand(word).coeff(_SYMBOL, 1))


def _interpolation_residual() -> sympy.Expr:
    """½‖W‖² - ⟨Λ N, W⟩ is stationary at W = ΛN."""
    moved = Lambda * N + _SYMBOL * E
    return sympy.expand(_linear(_t(moved) * moved / 2 - _t(Lambda * N) * moved))


def _ridge_residual() -> sympy.Expr:
    """½Σ(⟨A_iN, W⟩ - y_i)² + (μ/2)‖W‖²: with μΛ = Σ (y_i - ⟨A_i, X⟩)A_i again W = ΛN."""
    mu = sympy.Symbol("mu", positive=True)
    moved = Lambda * N + _SYMBOL * E
    return sympy.expand(_linear(mu * _t(moved) * moved / 2 - mu * _t(Lambda * N) * moved))


def _round_residual(multiplier: sympy.Expr) -> sympy.Expr:
    """X = ΛN² with N² = M^{2β} = ((XᵀX + ε)^α)^{2β}, on the singular values."""
    moved = ((SINGULAR**2 + SMOOTHING) ** POWER) ** (2 * PLACEMENT)
    return _log_residual(multiplier * moved, SINGULAR)


def _power_gradient_residual(degree: int) -> sympy.Expr:
    """d tr B^m = tr(m B^{m-1} dB), B = XᵀX + ε, so the gradient by X is 2m X B^{m-1}."""
    moved = X + _SYMBOL * E
    power, B = _ONE, _t(X) * X + SMOOTHING
    changed = sympy.expand(_t(moved) * moved) + SMOOTHING
    for _ in range(degree):
        power = sympy.expand(power * changed)
    gradient = 2 * degree * X * sympy.expand(B ** (degree - 1))
    return sympy.expand(trace(power.coeff(_SYMBOL, 1)) - trace(_t(gradient) * E))


def _penalty_residual(exponent: sympy.Expr, multiplier: sympy.Expr) -> sympy.Expr:
    penalty = (SINGULAR**2 + SMOOTHING) ** (exponent / 2)
    slope = sympy.powsimp(sympy.diff(penalty, SINGULAR))
    return _simplified(slope / multiplier - exponent)


def _logarithm_residual(exponent: sympy.Expr, multiplier: sympy.Expr) -> sympy.Expr:
    """At αβ = ½ the exponent is 0, and the multiplier half the slope of the logarithm."""
    at_half = {POWER: 1 / (2 * PLACEMENT)}
    slope = sympy.diff(sympy.log(SINGULAR**2 + SMOOTHING), SINGULAR) / 2
    return first_nonzero(
        sympy.simplify(exponent.subs(at_half)), sympy.simplify(multiplier.subs(at_half) - slope)
    )


def derive_exponent(
    exponent: sympy.Expr = EXPONENT, multiplier: sympy.Expr = MULTIPLIER
) -> Derivation:
    """Derive p = 2 - 4αβ for ε > 0, or full column rank: fixed if and only if critical.

    The round is a convex problem, so its stationary point is its minimiser; X ↦ Λ is one-to-one in
    N, which is invertible, so that "X = ΛN² for a Λ in the span of the A_i" says "the penalty's
    gradient is in that span", which is criticality.

    Args:
        exponent: p, to compare with, in ``POWER`` and ``PLACEMENT``.
        multiplier: The singular value of Λ, in ``SINGULAR`` and ``SMOOTHING``, too.

    Source: paper L (β = 1), this project (every β, and what fails at lower rank).
    """
    steps = (
        Step("One round, interpolating: W = ΛN, Λ = Σ λ_iA_i.", _interpolation_residual),
        Step("One round with a ridge: the same W, Λ from the errors.", _ridge_residual),
        Step("Fixed: X = ΛN², N² = (XᵀX + ε)^{2αβ}.", partial(_round_residual, multiplier)),
        *(
            Step(f"The gradient of tr (XᵀX + ε)^{m} is 2·{m} X(XᵀX + ε)^{m - 1}.",
                 partial(_power_gradient_residual, m))
            for m in (1, 2, 3)
        ),
        Step(
            "p = 0: log det(XᵀX + ε).", partial(_logarithm_residual, exponent, multiplier)
        ),
        Step(
            "Σ (σ² + ε)^{p/2} has the gradient p Λ.",
            partial(_penalty_residual, exponent, multiplier),
        ),
    )  # fmt: skip
    cites = (
        "a convex problem with linear constraints is solved by its stationary points",
        "tr g(B) has the gradient g'(B), for every differentiable g",
    )
    return Derivation("lin-RFM is stationary where Σ(σ² + ε)^{p/2} is, p = 2 - 4αβ.", steps, cites)


# --- rank deficiency ----------------------------------------------------------------------------

U, V, S, Q, F, H = matrices("U V S Q F H")  # X = USVᵀ of rank r, Q = S^{p-1}
_FRAMES = {_t(U) * U: _ONE, _t(V) * V: _ONE, _t(S): S, _t(Q): Q}


def _deficient_exponent_residual(exponent: sympy.Expr) -> sympy.Expr:
    """X = Λ(XᵀX)^{2αβ} says ΛV = U S^{1 - 4αβ}, and this is U S^{p-1}."""
    return sympy.expand((1 - 4 * POWER * PLACEMENT) - (exponent - 1))


def _deficient_rows_residual() -> sympy.Expr:
    """Tangents H Vᵀ keep the row space: there Λ - UQVᵀ, whose product with V is 0, has no part."""
    word = _t(Lambda - U * Q * _t(V)) * H * _t(V)
    rules = {**_FRAMES, Lambda * V: U * Q, _t(V) * _t(Lambda): Q * _t(U)}
    rotated = _t(V) * _t(Lambda - U * Q * _t(V)) * H
    return first_nonzero(
        sympy.expand(trace(word) - trace(rotated)), sympy.expand(reduced(rotated, rules))
    )


def _deficient_columns_residual() -> sympy.Expr:
    """Tangents U Fᵀ turn it: no part iff UᵀΛ = QVᵀ, and then XᵀΛ = V SQ Vᵀ, symmetric."""
    rules = {**_FRAMES, _t(U) * Lambda: Q * _t(V), _t(Lambda) * U: V * Q}
    word = reduced(_t(Lambda - U * Q * _t(V)) * U * _t(F), rules)
    symmetric = reduced(_t(U * S * _t(V)) * Lambda, rules) - V * S * Q * _t(V)
    return first_nonzero(sympy.expand(word), sympy.expand(symmetric))


def _deficient_converse_residual() -> sympy.Expr:
    """If XᵀΛ = ΛᵀX, UᵀΛ = S^{-1}Vᵀ(XᵀΛ) = S^{-1}VᵀΛᵀ U S Vᵀ, which is QVᵀ as ΛV = UQ."""
    inverse = sympy.Symbol("R", commutative=False)  # S^{-1}; S, Q and R commute
    rules = {**_FRAMES, _t(V) * _t(Lambda): Q * _t(U), Q * S: S * Q, inverse * S: _ONE}
    word = inverse * _t(V) * _t(Lambda) * U * S * _t(V)
    return sympy.expand(reduced(word, rules) - Q * _t(V))


def _counterexample_residual() -> sympy.Expr:
    """A = e₁(1, b)ᵀ, X = e₁e₁ᵀ: the next X is X for every α, and σ² falls along e₁(1 - bt, t)."""
    b, t = sympy.symbols("b t", real=True)
    A, fixed = sympy.Matrix([[1, b], [0, 0]]), sympy.Matrix([[1, 0], [0, 0]])
    features = A * fixed  # M = (XᵀX)^α = e₁e₁ᵀ is its own power
    following = features / features.norm() ** 2 * fixed
    curve = sympy.Matrix([[1 - b * t, t], [0, 0]])
    measured = sympy.expand(sum(A.multiply_elementwise(curve)) - 1)
    slope = sympy.diff((curve.T * curve).trace(), t).subs(t, 0)
    return first_nonzero(*(following - fixed), measured, sympy.expand(slope + 2 * b))


def derive_rank_deficient(exponent: sympy.Expr = EXPONENT) -> Derivation:
    """Derive what is left at ε = 0 and rank r below the number of columns.

    Fixed points are critical with the row space held; critical on the manifold of rank r if and
    only if XᵀΛ is symmetric, too. The counterexample shows that this can fail.

    Args:
        exponent: p, to compare with.

    Source: this project.
    """
    steps = (
        Step("Tangents that keep the row space.", _deficient_rows_residual),
        Step("Tangents that turn it: XᵀΛ symmetric.", _deficient_columns_residual),
        Step("Conversely, if XᵀΛ is symmetric: UᵀΛ = QVᵀ.", _deficient_converse_residual),
        Step("A fixed point that is not critical.", _counterexample_residual),
        Step("Fixed: ΛV = U S^{p-1}.", partial(_deficient_exponent_residual, exponent)),
    )
    return Derivation("Fixed points of lower rank.", steps)


# --- depth --------------------------------------------------------------------------------------

A, B, C, T = matrices("A B C T")


def _depth_balance_residual() -> sympy.Expr:
    """Neighbours B below A: A = TᵀΛ(BC)ᵀ and B = (TA)ᵀΛCᵀ give AᵀA = BBᵀ."""
    upper = _t(T) * Lambda * _t(B * C)
    lower = _t(T * A) * Lambda * _t(C)
    return sympy.expand(sympy.expand(_t(A) * upper) - sympy.expand(lower * _t(B)))


def _depth_power_residual() -> sympy.Expr:
    """Layers A above B with AᵀA = (BBᵀ)ⁿ have (AB)ᵀAB = Bᵀ(BBᵀ)ⁿB, which is (BᵀB)ⁿ⁺¹.

    n = 1 is balance, and with BᵀB = CCᵀ the next layer C meets AB as B met A, with n + 1. R is
    (BBᵀ)ⁿ in `whole`, and (BBᵀ)ⁿ⁻¹ in `further`, the induction on n.
    """
    (R,) = matrices("R")
    whole = reduced(_t(A * B) * (A * B), {_t(A) * A: R}) - _t(B) * R * B
    first = _t(B) * (B * _t(B)) * B - (_t(B) * B) ** 2
    further = _t(B) * (B * _t(B) * R) * B - (_t(B) * B) * (_t(B) * R * B)
    return first_nonzero(*map(sympy.expand, (whole, first, further)))


def _depth_ends_residual() -> sympy.Expr:
    """First layer B = TᵀΛ with X = TB: XᵀΛ = BᵀB. Last A = ΛCᵀ with X = AC: ΛXᵀ = AAᵀ."""
    first = _t(T * B) * Lambda - _t(B) * (_t(T) * Lambda)
    last = Lambda * _t(A * C) - (Lambda * _t(C)) * _t(A)
    return first_nonzero(sympy.expand(first), sympy.expand(last))


def _depth_right_residual() -> sympy.Expr:
    """ΛXᵀ = U D Uᵀ, D = S^{2/L}, means ΛV S = U D: multiply by U from the right."""
    D = sympy.Symbol("D", commutative=False)
    left = reduced(Lambda * _t(U * S * _t(V)) * U, _FRAMES) - reduced(U * D * _t(U) * U, _FRAMES)
    return sympy.expand(left - (Lambda * V * S - U * D))


def _depth_residual(claimed: sympy.Expr) -> sympy.Expr:
    """U S^{2/L - 1} here, U S^{1 - 4αβ} for lin-RFM; then p = 2/L."""
    exponent = 1 - 4 * claimed * PLACEMENT
    schatten = EXPONENT.subs(POWER, claimed)
    return first_nonzero(
        sympy.simplify(2 / DEPTH - 1 - exponent), sympy.simplify(schatten - 2 / DEPTH)
    )


def _depth_norm_residual() -> sympy.Expr:
    """Each of L balanced layers has the singular values σ^{1/L}: Σ‖W_ℓ‖² = L Σ σ^{2/L}."""
    total = DEPTH * (SINGULAR ** (1 / DEPTH)) ** 2
    return sympy.simplify(total - DEPTH * SINGULAR ** (2 / DEPTH))


def derive_depth(claimed: sympy.Expr = DEPTH_POWER) -> Derivation:
    """Derive α = (1 - 1/L)/(2β): stationary depth-L networks are fixed points of lin-RFM.

    The networks are those of least Σ‖W_ℓ‖² under ⟨A_i, W_L…W_1⟩ = y_i; of any rank. Conversely, a
    fixed point with XᵀΛ symmetric, factored into balanced layers, is stationary.

    Args:
        claimed: α, to compare with, in ``DEPTH`` and ``PLACEMENT``.

    Source: paper L (β = 1).
    """
    steps = (
        Step("Stationary layers W_ℓ = (above)ᵀΛ(below)ᵀ are balanced.", _depth_balance_residual),
        Step("Balance: XᵀX = (W_1ᵀW_1)^L, XXᵀ = (W_LW_Lᵀ)^L.", _depth_power_residual),
        Step("XᵀΛ = W_1ᵀW_1 (symmetric) and ΛXᵀ = W_LW_Lᵀ.", _depth_ends_residual),
        Step("So ΛXᵀ = (XXᵀ)^{1/L}, which is ΛV = U S^{2/L - 1}.", _depth_right_residual),
        Step("The norm of a balanced network.", _depth_norm_residual),
        Step("lin-RFM has ΛV = U S^{1 - 4αβ}.", partial(_depth_residual, claimed)),
    )
    cites = ("a positive semidefinite matrix has one positive semidefinite L-th root",)
    return Derivation("α = (1 - 1/L)/(2β) matches depth L.", steps, cites)
