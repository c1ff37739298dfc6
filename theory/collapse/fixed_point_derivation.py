r"""The fixed points of the Gram recursion, derived for all n, K and parameters.

A fixed point G is at least λ_Φ, so that P is invertible, and G = λ_Φ + κ P YᵀY P says that
κYᵀY = h(G): a function of G. So G commutes with the label projection Π, and the eigenvalues of
h(G) are 0 and κn. This holds in every regime.
"""

from __future__ import annotations

from functools import partial

import sympy

from ..derivation import Derivation, Step, first_nonzero
from ..matrix_words import matrices, reduced
from .fixed_points import DISCRIMINANT, EQUATION, NC1
from .metrics import SIMPLEX_COSINE
from .recursion import LIPSCHITZ, unproved
from .setting import CLASSES, EIGENVALUE, FEATURE_RIDGE, KERNEL_RIDGE, SAMPLES, SCALE, SHRINKAGE

_L, _P, _V, _Pi = matrices("L P V Pi")
_IDEMPOTENT = {_Pi**2: _Pi}
_g = EIGENVALUE
_STRENGTH = SCALE * SAMPLES
_CUBIC = (_g - FEATURE_RIDGE) * (_g + KERNEL_RIDGE) ** 2 - _STRENGTH * _g**2
_HEIGHT = (_g - FEATURE_RIDGE) / SHRINKAGE**2


def _on_and_off(function: sympy.Expr) -> sympy.Expr:
    """f(G*) = f(λ_Φ) + (f(g) - f(λ_Φ))Π."""
    off = function.subs(_g, FEATURE_RIDGE)
    return off + (function - off) * _Pi


def _simplified(word: sympy.Expr) -> sympy.Expr:
    """A combination of 1 and Π, by its coefficients."""
    expanded = sympy.expand(reduced(sympy.expand(word), _IDEMPOTENT))
    on = expanded.coeff(_Pi)
    off = expanded.subs(_Pi, 0)
    return first_nonzero(sympy.simplify(on), sympy.simplify(off))


def _resolvent_residual() -> sympy.Expr:
    """(G* + λ_k)P = G*."""
    G = _on_and_off(_g)
    return _simplified((G + KERNEL_RIDGE) * _on_and_off(SHRINKAGE) - G)


def _map_residual(equation: sympy.Expr) -> sympy.Expr:
    """T(G*) - G* = EQUATION · Π."""
    P = _on_and_off(SHRINKAGE)
    moved = _STRENGTH * P * _Pi * P + FEATURE_RIDGE
    return _simplified(moved - _on_and_off(_g) - equation * _Pi)


def _function_residual() -> sympy.Expr:
    """P^{-1}(T(G) - λ_Φ)P^{-1} = κYᵀY, with V = P^{-1} and L = κYᵀY."""
    inverse = {_V * _P: sympy.Integer(1), _P * _V: sympy.Integer(1)}
    return sympy.expand(reduced(_V * _P * _L * _P * _V - _L, inverse))


def _height_residual() -> sympy.Expr:
    """h is 0 only at λ_Φ, and h = κn says the cubic, which says EQUATION = 0."""
    return first_nonzero(
        sympy.simplify(_HEIGHT * _g**2 - _CUBIC - _STRENGTH * _g**2),
        sympy.simplify((_HEIGHT - _STRENGTH) * SHRINKAGE**2 + EQUATION),
    )


def _positive_residual() -> sympy.Expr:
    """Below or at λ_Φ the cubic is -[t(y + λ_k)² + κn y²], t = λ_Φ - y ≥ 0: negative.

    The second square is 0 only at y = 0; there t = λ_Φ and the first term is positive.
    """
    y = sympy.Symbol("y", real=True)
    t = FEATURE_RIDGE - y
    bracket = t * (y + KERNEL_RIDGE) ** 2 + _STRENGTH * y**2
    identity = sympy.expand(_CUBIC.subs(_g, y) + bracket)
    at_zero = bracket.subs(y, 0)
    return first_nonzero(identity, sympy.Integer(0 if at_zero.is_positive else 1))


def _monotone_residual() -> sympy.Expr:
    """h' = (g + λ_k)[(g - λ_k/2)² + λ_k(8λ_Φ - λ_k)/4]/g³: h grows strictly if λ_k ≤ 8λ_Φ."""
    square = (_g - KERNEL_RIDGE / 2) ** 2
    rest = KERNEL_RIDGE * (8 * FEATURE_RIDGE - KERNEL_RIDGE) / 4
    claimed = (_g + KERNEL_RIDGE) * (square + rest) / _g**3
    return sympy.simplify(sympy.diff(_HEIGHT, _g) - claimed)


def _contractive_residual() -> sympy.Expr:
    """κn p² grows by less than q per unit of g, where g ≥ λ_Φ: one root if q < 1."""
    t = sympy.Symbol("t", nonnegative=True)
    slope = sympy.diff(_STRENGTH * SHRINKAGE**2, _g).subs(_g, FEATURE_RIDGE + t)
    return unproved(LIPSCHITZ - slope)


def _discriminant_residual(claimed: sympy.Expr) -> sympy.Expr:
    return sympy.expand(claimed - sympy.discriminant(sympy.expand(_CUBIC), _g))


def _gram_sums() -> tuple[sympy.Expr, sympy.Expr, sympy.Expr]:
    """‖x‖², ⟨x, μ⟩ with its own class mean, ‖μ‖²; means of two classes are orthogonal."""
    within = (_g - FEATURE_RIDGE) / SAMPLES
    square = within + FEATURE_RIDGE
    row = SAMPLES * within + FEATURE_RIDGE
    return square, row / SAMPLES, SAMPLES * row / SAMPLES**2


def _centred_products() -> tuple[sympy.Expr, sympy.Expr]:
    """‖μ_a - μ‖² and ⟨μ_a - μ, μ_b - μ⟩, μ the mean of the K class means."""
    _, _, mean = _gram_sums()
    with_all, all_squared = mean / CLASSES, CLASSES * mean / CLASSES**2
    return mean - 2 * with_all + all_squared, -2 * with_all + all_squared


def _nc1_residual(claimed: sympy.Expr) -> sympy.Expr:
    square, with_mean, mean = _gram_sums()
    within = square - 2 * with_mean + mean
    between, _ = _centred_products()
    return sympy.simplify(claimed - within / between)


def _cosine_residual(claimed: sympy.Expr) -> sympy.Expr:
    square, product = _centred_products()
    return sympy.simplify(claimed - product / square)


def derive_fixed_point(
    equation: sympy.Expr = EQUATION,
    discriminant: sympy.Expr = DISCRIMINANT,
    nc1: sympy.Expr = NC1,
    cosine: sympy.Expr = SIMPLEX_COSINE,
) -> Derivation:
    """Derive all fixed points of T, their number, and NC1 and NC2 at the collapsed ones.

    Args:
        equation: To compare with: 0 at the eigenvalues on the label space.
        discriminant: Of the cubic, to compare with.
        nc1: To compare with.
        cosine: Between two centred class means at G*, to compare with: that of a simplex.

    Source: this project.
    """
    steps = (
        Step("(G* + λ_k)P = G* with P = p(λ_Φ) + (p(g) - p(λ_Φ))Π.", _resolvent_residual),
        Step("Every fixed point has h(G) = κYᵀY.", _function_residual),
        Step("h is 0 only at λ_Φ, and κn at the roots of the cubic.", _height_residual),
        Step("All real roots exceed λ_Φ.", _positive_residual),
        Step("For λ_k ≤ 8λ_Φ there is one root.", _monotone_residual),
        Step("For q < 1 there is one root.", _contractive_residual),
        Step("Otherwise the discriminant tells.", partial(_discriminant_residual, discriminant)),
        Step("T(G*) - G* = EQUATION · Π.", partial(_map_residual, equation)),
        Step(
            "Two centred class means have the cosine -1/(K-1).", partial(_cosine_residual, cosine)
        ),
        Step("NC1 from the sums of G*'s entries.", partial(_nc1_residual, nc1)),
    )
    cites = (
        "a function of G has G's eigenspaces, merged where its values agree",
        "a real cubic has three real roots or one as its discriminant is > 0 or < 0; 0: some agree",
    )
    return Derivation("The fixed points of T.", steps, cites)
