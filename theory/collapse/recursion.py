r"""The Gram recursion of linearised Deep RFM, and the constant with which it contracts.

One layer fits ridge regression with the kernel XᵀX and ridge λ_k to one-hot labels Y, takes the
AGOP M of the fit, and maps X to features whose Gram matrix is κ XᵀMX + λ_Φ I, the linearisation
of a feature map. Only the Gram matrix G = XᵀX is needed:

    T(G) = κ P YᵀY P + λ_Φ I,    P = G(G + λ_k I)^{-1}.

T maps every G ⪰ 0 into the set λ_Φ I ⪯ G ⪯ (λ_Φ + κn) I. On G, G' ⪰ λ_Φ I, in the operator norm
and in every other unitarily invariant norm,

    ‖T(G) - T(G')‖ ≤ q ‖G - G'‖,    q = 2κnλ_k/(λ_Φ + λ_k)²,

and on that set with q times (λ_Φ + κn)/(λ_Φ + κn + λ_k). No constant below q λ_Φ/(λ_Φ + λ_k)
would do. With classes of unequal sizes, n is the size of the largest.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import sympy
from numpy.typing import ArrayLike

from ..arrays import RealArray, finite_array
from ..derivation import Derivation, Step, first_nonzero
from ..matrix_words import matrices, reduced
from ..validation import positive
from .setting import (
    EIGENVALUE,
    FEATURE_RIDGE,
    KERNEL_RIDGE,
    SAMPLES,
    SCALE,
    SHRINKAGE,
    exact_parameters,
    gram_matrix,
    nearest,
)

UPPER = FEATURE_RIDGE + SCALE * SAMPLES
"""T(G) ⪯ UPPER · I."""

LIPSCHITZ = 2 * SCALE * SAMPLES * KERNEL_RIDGE / (FEATURE_RIDGE + KERNEL_RIDGE) ** 2
"""q, on G ⪰ λ_Φ I."""

LIPSCHITZ_ON_IMAGE = LIPSCHITZ * UPPER / (UPPER + KERNEL_RIDGE)
"""A Lipschitz constant on λ_Φ I ⪯ G ⪯ UPPER · I."""

LIPSCHITZ_AT_LEAST = LIPSCHITZ * FEATURE_RIDGE / (FEATURE_RIDGE + KERNEL_RIDGE)
"""The derivative's norm at G = λ_Φ I along Π: every Lipschitz constant is at least that."""


def gram_map(
    gram: ArrayLike,
    labels: ArrayLike,
    kernel_ridge: float,
    feature_ridge: float,
    scale: float = 1.0,
) -> RealArray:
    """Return T(G) = κ P YᵀY P + λ_Φ I with P = G(G + λ_kI)^{-1}, shape (N, N).

    Args:
        gram: G, shape (N, N), symmetric positive semidefinite.
        labels: Y, shape (K, N); one-hot in the theorems, here any real numbers.
        kernel_ridge: λ_k > 0.
        feature_ridge: λ_Φ > 0.
        scale: κ > 0.

    Raises:
        TypeError: If entries or parameters are not real numbers.
        ValueError: If shapes do not fit, an entry is NaN or infinite, G is not symmetric positive
            semidefinite, or a parameter is not positive and finite.

    Source: paper B.

    Example:
        >>> gram_map([[3.0, 0.0], [0.0, 1.0]], [[1.0, 0.0]], 1.0, 0.5, 16.0)
        array([[9.5, 0. ],
               [0. , 0.5]])
    """
    G, Y = gram_matrix("gram", gram), finite_array("labels", labels)
    if Y.ndim != 2 or Y.shape[1] != len(G):
        raise ValueError(f"labels have shape {Y.shape}; (K, {len(G)}) is allowed")
    ridge = positive("kernel_ridge", kernel_ridge)
    identity = np.eye(len(G))
    fitted = np.linalg.solve(G + ridge * identity, G @ Y.T)
    signal = positive("scale", scale) * fitted @ fitted.T
    return np.asarray(signal + positive("feature_ridge", feature_ridge) * identity)


@dataclass(frozen=True)
class Contraction:
    """With which constant T contracts, and where.

    Attributes:
        constant: q, a Lipschitz constant on G ⪰ lower · I.
        constant_on_image: A smaller one on lower · I ⪯ G ⪯ upper · I.
        lower: λ_Φ.
        upper: λ_Φ + κn; T maps every G ⪰ 0 between lower · I and upper · I.
        contractive: Whether q < 1, decided in exact arithmetic.
    """

    constant: float
    constant_on_image: float
    lower: float
    upper: float
    contractive: bool


def contraction(
    samples_per_class: int, *, kernel_ridge: float, feature_ridge: float, scale: float = 1.0
) -> Contraction:
    """Return the Lipschitz constants of T, and the set on which they hold.

    Args:
        samples_per_class: n >= 1; the size of the largest class if they differ.
        kernel_ridge: λ_k > 0.
        feature_ridge: λ_Φ > 0.
        scale: κ > 0.

    Raises:
        TypeError: If n is no integer, or a parameter no real number.
        ValueError: If n < 1, or a parameter is not positive and finite.

    Source: paper B (that it contracts), this project (the constants).

    Example:
        >>> contraction(2, kernel_ridge=1.0, feature_ridge=3.0, scale=2.0).constant
        0.5
    """
    values = exact_parameters(samples_per_class, kernel_ridge, feature_ridge, scale)
    q = LIPSCHITZ.subs(values)
    return Contraction(
        nearest(q),
        nearest(LIPSCHITZ_ON_IMAGE.subs(values)),
        float(feature_ridge),
        nearest(UPPER.subs(values)),
        bool(q < 1),
    )


# --- derivation -------------------------------------------------------------------------------

_T = sympy.transpose
_X, _Y, _G, _H, _R, _S, _Pi = matrices("X Y G H R S Pi")
# R = (G + λ_k)^{-1} and S = (H + λ_k)^{-1}; every matrix but X and Y is symmetric.
_INVERSES = {
    _T(_G): _G,
    _T(_H): _H,
    _T(_R): _R,
    _T(_S): _S,
    _G * _R: 1 - KERNEL_RIDGE * _R,
    _R * _G: 1 - KERNEL_RIDGE * _R,
    _H * _S: 1 - KERNEL_RIDGE * _S,
    _S * _H: 1 - KERNEL_RIDGE * _S,
}


def _word(expression: sympy.Expr) -> sympy.Expr:
    return sympy.expand(reduced(expression, _INVERSES))


def unproved(inequality: sympy.Expr) -> sympy.Integer:
    """Return 0 if an expression is >= 0 on its symbols' domains by inspection, else 1.

    Numerator and denominator are factored and expanded; each factor must be a sum of products
    that are nonnegative one by one, so that what SymPy answers is a proof.
    """
    numerator, denominator = sympy.fraction(sympy.factor(inequality))
    total = sympy.expand(numerator) if not numerator.is_nonnegative else numerator
    proved = total.is_nonnegative and sympy.expand(denominator).is_positive
    return sympy.Integer(0 if proved else 1)


def _definition_residual() -> sympy.Expr:
    """f(x) = αXᵀx with α = YR: its gradient is Xαᵀ everywhere, so M = XαᵀαXᵀ; G = XᵀX."""
    alpha = _Y * _R
    agop = _X * _T(alpha) * alpha * _T(_X)
    gram = reduced(_T(_X) * agop * _X, {_T(_X) * _X: _G})
    P = _G * _R
    return _word(gram - _T(P) * _T(_Y) * _Y * P)


def _symmetric_residual() -> sympy.Expr:
    """P is symmetric, hence so is T(G), and T(G) - λ_Φ = κ(YP)ᵀ(YP) ⪰ 0."""
    P = _G * _R
    return _word(P - _T(P))


def _resolvent_residual() -> sympy.Expr:
    """P(G) - P(H) = λ_k R (G - H) S."""
    return _word(_G * _R - _H * _S - KERNEL_RIDGE * _R * (_G - _H) * _S)


def _product_residual() -> sympy.Expr:
    """PΠP - P'ΠP' = (P - P')ΠP + P'Π(P - P')."""
    P, Q = matrices("P Q")
    return sympy.expand(P * _Pi * P - Q * _Pi * Q - ((P - Q) * _Pi * P + Q * _Pi * (P - Q)))


def _label_residual() -> sympy.Expr:
    """(YᵀY)² = nYᵀY as YYᵀ = n: YᵀY has the eigenvalues 0 and n."""
    return sympy.expand(reduced((_T(_Y) * _Y) ** 2 - SAMPLES * _T(_Y) * _Y, {_Y * _T(_Y): SAMPLES}))


_t = sympy.Symbol("t", nonnegative=True)


def _resolvent_bound(lowest: sympy.Expr) -> sympy.Expr:
    """‖R‖, if G's least eigenvalue is at least that."""
    return 1 / (lowest + KERNEL_RIDGE)


def _resolvent_bound_residual() -> sympy.Expr:
    at = 1 / (FEATURE_RIDGE + _t + KERNEL_RIDGE)
    return unproved(_resolvent_bound(FEATURE_RIDGE) - at)


def _shrinkage_residual(shrinkage: sympy.Expr) -> sympy.Expr:
    """p is the eigenvalue of P = 1 - λ_kR, lies below 1 and grows with g."""
    grown = shrinkage.subs(EIGENVALUE, EIGENVALUE + _t)
    return first_nonzero(
        sympy.simplify(shrinkage - (1 - KERNEL_RIDGE / (EIGENVALUE + KERNEL_RIDGE))),
        unproved(1 - shrinkage),
        unproved(shrinkage),
        unproved(grown - shrinkage),
    )


def _upper_residual(upper: sympy.Expr, shrinkage: sympy.Expr) -> sympy.Expr:
    """‖T(G)‖ ≤ κ · n · sup p² + λ_Φ, and the supremum of p is its limit, 1."""
    most = sympy.limit(shrinkage, EIGENVALUE, sympy.oo)
    return sympy.simplify(upper - (SCALE * SAMPLES * most**2 + FEATURE_RIDGE))


def _constant_residual(claimed: sympy.Expr, shrinkage_bound: sympy.Expr) -> sympy.Expr:
    """κ ‖YᵀY‖ · λ_k‖R‖‖S‖ · (‖P‖ + ‖P'‖), norm by norm."""
    difference = KERNEL_RIDGE * _resolvent_bound(FEATURE_RIDGE) ** 2
    return sympy.simplify(
        claimed - SCALE * SAMPLES * difference * (shrinkage_bound + shrinkage_bound)
    )


def _least_residual(claimed: sympy.Expr, shrinkage: sympy.Expr) -> sympy.Expr:
    """Along Π at G = gI: T = (κnp(g)²)Π + λ_Φ, whose derivative at g = λ_Φ is a lower bound."""
    slope = sympy.diff(SCALE * SAMPLES * shrinkage**2, EIGENVALUE)
    return sympy.simplify(claimed - slope.subs(EIGENVALUE, FEATURE_RIDGE))


def derive_contraction(
    shrinkage: sympy.Expr = SHRINKAGE,
    upper: sympy.Expr = UPPER,
    constant: sympy.Expr = LIPSCHITZ,
    on_image: sympy.Expr = LIPSCHITZ_ON_IMAGE,
    at_least: sympy.Expr = LIPSCHITZ_AT_LEAST,
) -> Derivation:
    """Derive T, the set that it maps into itself, and its Lipschitz constants, for all sizes.

    Args:
        shrinkage: p(g), to compare with.
        upper: The bound of T(G), to compare with.
        constant: q, to compare with.
        on_image: The constant on the image, to compare with.
        at_least: The lower bound of every constant, to compare with.

    Source: paper B (T), this project (the constants).
    """
    most = sympy.limit(SHRINKAGE, EIGENVALUE, sympy.oo)
    image = SHRINKAGE.subs(EIGENVALUE, UPPER)
    steps = (
        Step("XᵀMX = P YᵀY P with P = GR, R = (G + λ_k)^{-1}.", _definition_residual),
        Step("P is symmetric, so T(G) - λ_Φ = κ(YP)ᵀ(YP) ⪰ 0.", _symmetric_residual),
        Step("P - P' = λ_k R(G - G')R'.", _resolvent_residual),
        Step("PΠP - P'ΠP' = (P - P')ΠP + P'Π(P - P').", _product_residual),
        Step("YᵀY has the eigenvalues 0 and n.", _label_residual),
        Step("‖R‖ ≤ 1/(λ_Φ + λ_k) on G ⪰ λ_Φ.", _resolvent_bound_residual),
        Step(
            "P's eigenvalues are p(g) < 1, growing with g.", partial(_shrinkage_residual, shrinkage)
        ),
        Step("T(G) ⪯ (κn + λ_Φ)I.", partial(_upper_residual, upper, SHRINKAGE)),
        Step("At G = λ_ΦI along Π.", partial(_least_residual, at_least, SHRINKAGE)),
        Step(
            "The product of the norms on the image.", partial(_constant_residual, on_image, image)
        ),
        Step("The product of the norms.", partial(_constant_residual, constant, most)),
    )
    cites = ("‖ABC‖ ≤ ‖A‖‖B‖‖C‖", "functional calculus: P has the eigenvalues p(g)")
    return Derivation("T contracts with q = 2κnλ_k/(λ_Φ + λ_k)².", steps, cites)
