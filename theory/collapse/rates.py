r"""How fast the Gram recursion collapses, layer by layer.

After one layer G = λ_Φ I + W(D - λ_Φ)Wᵀ, W of shape (N, K) with orthonormal columns: the top-K
eigenspace. With U an orthonormal basis of the label space, C = UᵀW, tan Θ = U_⊥ᵀW C^{-1} (its
singular values are the tangents of the principal angles between the two) and
H = C(p(D) - p_0)Cᵀ ⪰ 0, p_0 = p(λ_Φ), the next layer has, exactly and at any distance,

    tan Θ' = tan Θ · H(H + p_0)^{-1}.

So every angle shrinks in every layer, whatever q is, and its tangent at least by the factor
1 - p_0/p(λ_Φ + κn) (`angle_bound`). Eigenvalues on the label space follow g ↦ κn p(g)² + λ_Φ up to
terms that vanish with the angles, hence tend to roots of the cubic. Where there is one root g,
every start tends to the fixed point, and each angle's tangent is asymptotically multiplied by

    ρ = 1 - p_0/p(g) = 1 - [λ_Φ/(λ_Φ + λ_k)] · [(g + λ_k)/g]

per layer, while eigenvalues on the label space approach g with the factor
2λ_k(g - λ_Φ)/(g(g + λ_k)), larger than ρ if and only if g < 2λ_Φ + λ_k.
"""

from __future__ import annotations

from functools import partial

import sympy

from ..derivation import Derivation, Step, first_nonzero
from ..matrix_words import matrices, reduced
from .fixed_points import fixed_point
from .recursion import UPPER, unproved
from .setting import (
    EIGENVALUE,
    FEATURE_RIDGE,
    KERNEL_RIDGE,
    SAMPLES,
    SCALE,
    SHRINKAGE,
    exact_parameters,
    nearest,
)

ANGLE_RATE = 1 - FEATURE_RIDGE / (FEATURE_RIDGE + KERNEL_RIDGE) * (
    (EIGENVALUE + KERNEL_RIDGE) / EIGENVALUE
)
"""ρ: the derivative of T at the fixed point from the label space to its complement."""

EIGENVALUE_RATE = (
    2 * KERNEL_RIDGE * (EIGENVALUE - FEATURE_RIDGE) / (EIGENVALUE * (EIGENVALUE + KERNEL_RIDGE))
)
"""The derivative of T at the fixed point inside the label space."""

ANGLE_BOUND = (
    KERNEL_RIDGE
    * SCALE
    * SAMPLES
    / ((FEATURE_RIDGE + KERNEL_RIDGE) * (FEATURE_RIDGE + SCALE * SAMPLES))
)
"""The tangents of all angles shrink at least by this factor per layer, for all parameters."""


def angle_rate(
    samples_per_class: int, *, kernel_ridge: float, feature_ridge: float, scale: float = 1.0
) -> float:
    """Return ρ, by which the angles to the label space are multiplied per layer in the limit.

    Args:
        samples_per_class: n >= 1.
        kernel_ridge: λ_k > 0.
        feature_ridge: λ_Φ > 0.
        scale: κ > 0.

    Raises:
        TypeError: If n is no integer, or a parameter no real number.
        ValueError: If n < 1, a parameter is not positive and finite, or T has several fixed points
            (then q >= 1, and the rate depends on the start).

    Source: this project.

    Example:
        >>> angle_rate(9, kernel_ridge=1.0, feature_ridge=1.0, scale=0.25)
        0.25
    """
    return _at_fixed_point(ANGLE_RATE, samples_per_class, kernel_ridge, feature_ridge, scale)


def eigenvalue_rate(
    samples_per_class: int, *, kernel_ridge: float, feature_ridge: float, scale: float = 1.0
) -> float:
    """Return the factor with which eigenvalues on the label space approach g per layer.

    Arguments and errors are those of `angle_rate`. ‖G_ℓ - G*‖ falls with the larger of the two.

    Source: this project.

    Example:
        >>> eigenvalue_rate(9, kernel_ridge=1.0, feature_ridge=1.0, scale=0.25)
        0.3333333333333333
    """
    return _at_fixed_point(EIGENVALUE_RATE, samples_per_class, kernel_ridge, feature_ridge, scale)


def angle_bound(
    samples_per_class: int, *, kernel_ridge: float, feature_ridge: float, scale: float = 1.0
) -> float:
    """Return a factor < 1 by which the tangents of all angles shrink in each layer but the first.

    Arguments are those of `angle_rate`; no regime is excluded.

    Raises:
        TypeError: If n is no integer, or a parameter no real number.
        ValueError: If n < 1, or a parameter is not positive and finite.

    Source: this project.

    Example:
        >>> angle_bound(3, kernel_ridge=1.0, feature_ridge=1.0)
        0.375
    """
    values = exact_parameters(samples_per_class, kernel_ridge, feature_ridge, scale)
    return nearest(ANGLE_BOUND.subs(values))


def _at_fixed_point(
    formula: sympy.Expr, n: int, kernel_ridge: float, feature_ridge: float, scale: float
) -> float:
    """A rate at the signal s, written so that a small s loses no digits."""
    values = exact_parameters(n, kernel_ridge, feature_ridge, scale)
    found = fixed_point(n, 2, kernel_ridge=kernel_ridge, feature_ridge=feature_ridge, scale=scale)
    g = values[FEATURE_RIDGE] + sympy.Rational(found.signal)
    return nearest(formula.subs({**values, EIGENVALUE: g}))


# --- derivation -------------------------------------------------------------------------------

_T = sympy.transpose
_A, _B, _C, _E, _F, _I, _J, _Q, _W = matrices("A B C E F I J Q W")
_OFF = SHRINKAGE.subs(EIGENVALUE, FEATURE_RIDGE)
_a, _b, _c = sympy.symbols("a b c", positive=True)
_on, _off = sympy.symbols("p p_0", positive=True)
_t = sympy.Symbol("t", nonnegative=True)


def _rank_residual() -> sympy.Expr:
    """T(G) - λ_Φ = κVVᵀ with V = PYᵀ, of rank K at most."""
    P, Y = matrices("P Y")
    V = P * _T(Y)
    return sympy.expand(reduced(P * _T(Y) * Y * P - V * _T(V), {_T(P): P}))


def _tangent_residual() -> sympy.Expr:
    """P = p_0 + WQWᵀ, W = (C; B) over U, U_⊥, Q = p(D) - p_0: PU = (p_0 + H; BQCᵀ), H = CQCᵀ.

    Its tangent BQCᵀ(p_0 + H)^{-1} is B C^{-1} · H · (p_0 + H)^{-1}; I = C^{-1}, J = (p_0 + H)^{-1}.
    """
    H = _C * _Q * _T(_C)
    moved, tangent = _B * _Q * _T(_C) * _J, _B * _I
    return sympy.expand(reduced(moved - tangent * H * _J, {_I * _C: sympy.Integer(1)}))


def _shrinks_residual() -> sympy.Expr:
    """H(H + p_0)^{-1} has eigenvalues h/(h + p_0) in [0, 1), growing with h."""
    h = sympy.Symbol("h", nonnegative=True)
    factor = h / (h + _off)
    return first_nonzero(
        unproved(factor), unproved(1 - factor), unproved(factor.subs(h, h + _t) - factor)
    )


def _bound_residual(claimed: sympy.Expr) -> sympy.Expr:
    """h ≤ p(UPPER) - p_0, as ‖C‖ ≤ 1 and D ⪯ UPPER."""
    h = SHRINKAGE.subs(EIGENVALUE, UPPER) - _OFF
    return sympy.simplify(claimed - h / (h + _OFF))


def _label_block_residual() -> sympy.Expr:
    """UᵀP²U = p_0² + C(p(D)² - p_0²)Cᵀ, as p² - p_0² = 2p_0Q + Q² and WᵀW = 1."""
    P = _off + _W * _Q * _T(_W)
    square = reduced(sympy.expand(P * P), {_T(_W) * _W: sympy.Integer(1)})
    claimed = _off**2 + _W * (2 * _off * _Q + _Q**2) * _T(_W)
    scalar = sympy.expand((_on**2 - _off**2) - (2 * _off * (_on - _off) + (_on - _off) ** 2))
    return first_nonzero(sympy.expand(square - claimed), scalar)


def _increasing_residual() -> sympy.Expr:
    """φ(g) = κn p(g)² + λ_Φ grows with g."""
    phi = SCALE * SAMPLES * SHRINKAGE**2 + FEATURE_RIDGE
    return unproved(phi.subs(EIGENVALUE, EIGENVALUE + _t) - phi)


def _block(word: sympy.Expr, left: sympy.Expr, right: sympy.Expr, middle: sympy.Expr) -> sympy.Expr:
    """The coefficient of left · Δ · right in a word."""
    rules = {_E**2: _E, _F**2: _F, _E * _F: sympy.Integer(0), _F * _E: sympy.Integer(0)}
    found = reduced(sympy.expand(left * word * right), rules)
    return sympy.expand(found).coeff(left * middle * right)


def _derivative() -> tuple[sympy.Expr, sympy.Expr, sympy.Expr]:
    """DT at G* on the blocks label-label, label-complement, complement-complement.

    E = Π, F = 1 - Π; R = r E + r_0 F; dP = λ_k R Δ R; dT = κn(dP Π P + P Π dP).
    """
    g, h = EIGENVALUE + KERNEL_RIDGE, FEATURE_RIDGE + KERNEL_RIDGE
    R, P = _a * _E + _b * _F, _on * _E + _off * _F
    change = KERNEL_RIDGE * R * _A * R
    word = SCALE * SAMPLES * (change * _E * P + P * _E * change)
    values = {_a: 1 / g, _b: 1 / h, _on: SHRINKAGE, _off: _OFF}
    blocks = ((_E, _E), (_E, _F), (_F, _F))
    first, second, third = (_block(word, x, y, _A).subs(values) for x, y in blocks)
    return first, second, third


def _with_equation(rate: sympy.Expr) -> sympy.Expr:
    """κn as g - λ_Φ over p(g)²."""
    return rate.subs(SCALE, (EIGENVALUE - FEATURE_RIDGE) / (SAMPLES * SHRINKAGE**2))


def _angle_derivative_residual(claimed: sympy.Expr) -> sympy.Expr:
    """The tilt of the eigenspace is the block over g - λ_Φ, at both ends: the same factor."""
    _, across, outside = _derivative()
    return first_nonzero(sympy.simplify(outside), sympy.simplify(claimed - _with_equation(across)))


def _angle_residual(claimed: sympy.Expr) -> sympy.Expr:
    """At G* H = p(g) - p_0, so that tan Θ' → tan Θ · (1 - p_0/p(g))."""
    h = SHRINKAGE - _OFF
    return sympy.simplify(claimed - h / (h + _OFF))


def _eigenvalue_residual(claimed: sympy.Expr) -> sympy.Expr:
    """Both from the block and from the slope of φ."""
    inside, _, _ = _derivative()
    slope = sympy.diff(SCALE * SAMPLES * SHRINKAGE**2, EIGENVALUE)
    return first_nonzero(
        sympy.simplify(claimed - _with_equation(inside)),
        sympy.simplify(claimed - _with_equation(slope)),
    )


def _slower_residual() -> sympy.Expr:
    """EIGENVALUE_RATE/ANGLE_RATE = 2(λ_Φ + λ_k)/(g + λ_k) > 1 iff g < 2λ_Φ + λ_k."""
    ratio = 2 * (FEATURE_RIDGE + KERNEL_RIDGE) / (EIGENVALUE + KERNEL_RIDGE)
    return sympy.simplify(EIGENVALUE_RATE - ratio * ANGLE_RATE)


def derive_rates(
    angle: sympy.Expr = ANGLE_RATE,
    eigenvalue: sympy.Expr = EIGENVALUE_RATE,
    bound: sympy.Expr = ANGLE_BOUND,
) -> Derivation:
    """Derive the exact step of the angles, its bound in every regime, and both asymptotic rates.

    Args:
        angle: ρ, to compare with.
        eigenvalue: The rate inside the label space, to compare with.
        bound: The bound of the angles' factor, to compare with.

    Source: this project.
    """
    steps = (
        Step("T(G) - λ_Φ = κVVᵀ with V = PYᵀ.", _rank_residual),
        Step("tan Θ' = tan Θ · H(H + p_0)^{-1}.", _tangent_residual),
        Step("That factor is below 1 and grows with H.", _shrinks_residual),
        Step("UᵀP²U = p_0² + C(p(D)² - p_0²)Cᵀ.", _label_block_residual),
        Step(
            "φ grows: eigenvalues on the label space tend to its fixed points.",
            _increasing_residual,
        ),
        Step("The two rates compared.", _slower_residual),
        Step("The factor in every regime.", partial(_bound_residual, bound)),
        Step("Inside the label space.", partial(_eigenvalue_residual, eigenvalue)),
        Step("Across, by the derivative of T.", partial(_angle_derivative_residual, angle)),
        Step("Across, by the exact step in the limit.", partial(_angle_residual, angle)),
    )
    cites = (
        "Ostrowski: the ordered eigenvalues of CXCᵀ are those of X ⪰ 0 times numbers in "
        "[σ_min(C)², σ_max(C)²]",
        "a squeezed increasing scalar recursion tends to its only fixed point",
        "σ_i(XM) lies between σ_i(X)σ_min(M) and σ_i(X)σ_max(M)",
    )
    return Derivation("How fast the Gram recursion collapses.", steps, cites)
