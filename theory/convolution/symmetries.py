r"""The patch-AGOP of a retrained machine where images are moved or the patch basis changes.

Images x are matrices of patches, one row for each position. A move x → ΠxBᵀ permutes positions by Π
and changes the basis of patches by an invertible B. If the kernel does not notice,
K'(ΠxBᵀ, ΠzBᵀ) = K(x, z), kernel regression on the moved images finds the same coefficients, hence
f'(ΠxBᵀ) = f(x), hence gradients Π∇f B⁻¹ (rows ∇_pᵀ), hence

    AGOP' = B^{-T} AGOP B^{-1}:  AGOP' = AGOP for B = I,  AGOP' = QAGOPQᵀ for orthogonal Q.

What this takes:

- Translations: the patches of a moved image must be those of the image in another order. So it is
  for all positions around a circle (circular padding, the stride dividing the shift). With zeros
  beyond the border, or with only the patches that fit, it fails.
- One move for all images: K(Πx, Πz) = K(x, z). Additive, joint and pair kernels all have it, for
  every permutation; a convolutional NTK around a circle has it for translations.
- Another move for each image, or a machine that is not retrained: K(Πx, z) = K(x, z). The kernel of
  all pairs has it, and pooled ones; additive and joint kernels have not.
- Bases: the kernel sees patches through x_pᵀMz_q and x_pᵀMx_q alone, and M moves along,
  M' = B^{-T}MB^{-1}; M = I may stay for orthogonal B only. Kernels of coordinates, such as
  e^{−‖·‖₁}, do not follow.
- Gradient descent on filters follows for orthogonal Q if W is started at WQᵀ (at 0, or by a law
  that does not see Q).
"""

from __future__ import annotations

from functools import partial

import numpy as np
import sympy
from numpy.typing import ArrayLike

from ..arrays import RealArray, finite_array
from ..derivation import Derivation, Step, first_nonzero
from ..matrix_words import matrices, reduced, trace
from ..rfm.doubles import representable
from ..rfm.machine_gradients import checked_metric

_T = sympy.transpose
METRIC, INVERSE, AGOP = matrices("M C A")
"""M, C = B⁻¹ and the patch-AGOP, as words."""

METRIC_RULE = _T(INVERSE) * METRIC * INVERSE
"""The metric with which the kernel does not notice x_p → Bx_p."""

AGOP_RULE = _T(INVERSE) * AGOP * INVERSE
"""The patch-AGOP of the machine retrained with it."""


def carried_metric(metric: ArrayLike | None, basis: ArrayLike) -> RealArray:
    """Return B^{-T}MB^{-1}, with which kernels of patches Bx_p are those of patches x_p with M.

    Args:
        metric: M, shape (d, d) or (d,); the identity if it is None.
        basis: B, invertible, shape (d, d).

    Raises:
        TypeError: If entries are not real numbers.
        ValueError: If shapes do not fit, an entry is not finite, M is not symmetric positive
            semidefinite, or B is singular.
        OverflowError: If the result is larger than every double.

    Example:
        >>> carried_metric(None, [[2.0, 0.0], [0.0, 1.0]])
        array([[0.25, 0.  ],
               [0.  , 1.  ]])
    """
    B = _invertible(basis)
    return _carried(checked_metric(metric, len(B)), B)


def carried_agop(agop: ArrayLike, basis: ArrayLike) -> RealArray:
    """Return the patch-AGOP of the machine retrained on patches Bx_p with the carried metric.

    For an orthogonal B it is BAGOPBᵀ, and the carried metric of M = I is I.

    Args:
        agop: Patch-AGOP on the patches x_p, shape (d, d).
        basis: B, invertible, shape (d, d).

    Raises:
        TypeError: If entries are not real numbers.
        ValueError: If shapes do not fit, an entry is not finite, or B is singular.
        OverflowError: If the result is larger than every double.

    Source: this project.

    Example:
        >>> carried_agop([[1.0, 0.0], [0.0, 3.0]], [[0.0, 1.0], [-1.0, 0.0]])
        array([[3., 0.],
               [0., 1.]])
    """
    A, B = finite_array("agop", agop), _invertible(basis)
    if A.shape != B.shape:
        raise ValueError(f"agop has shape {A.shape}, basis {B.shape}; they must be the same")
    return _carried(A, B)


def _carried(matrix: RealArray, basis: RealArray) -> RealArray:
    with np.errstate(over="ignore", invalid="ignore"):
        half = np.linalg.solve(basis.T, matrix)
        found = np.linalg.solve(basis.T, half.T).T + 0.0  # -0 becomes 0
    return representable("the carried matrix", found)


def _invertible(basis: ArrayLike) -> RealArray:
    B = finite_array("basis", basis)
    if B.ndim != 2 or B.shape[0] != B.shape[1]:
        raise ValueError(f"basis has shape {B.shape}; a square matrix is allowed")
    if np.linalg.matrix_rank(B) < len(B):
        raise ValueError("basis is singular; an invertible matrix is allowed")
    return B


# --- derivation -------------------------------------------------------------------------------

_B, _P, _Q, _x, _z, _G, _H, _E = matrices("B P Q x z G H E")
_MOVES = {_T(_P) * _P: sympy.Integer(1), _P * _T(_P): sympy.Integer(1)}
_BASES = {
    INVERSE * _B: sympy.Integer(1),
    _B * INVERSE: sympy.Integer(1),
    _T(_B) * _T(INVERSE): sympy.Integer(1),
    _T(INVERSE) * _T(_B): sympy.Integer(1),
}
_RULES = {**_MOVES, **_BASES}


def _translation_residual() -> sympy.Expr:
    """Patch p holds the pixels p + o around the circle; the moved image has pixel u − t at u.

    Its patch p holds the old pixels p + o − t: the old patch p − t, a position if the stride
    divides t. Per axis, for all sizes; the number of pixels is added where the circle closes.
    """
    p, o, t, size, turns = sympy.symbols("p o t N w", integer=True)
    moved = (p + o + turns * size) - t
    stride, steps, place = sympy.symbols("sigma m j", integer=True, positive=True)
    position = (stride * place - t).subs(t, stride * steps) / stride
    return first_nonzero(
        sympy.expand(moved - ((p - t) + o) - turns * size),
        sympy.Integer(0 if sympy.expand(position).is_integer else 1),
    )


def _products_residual(rule: sympy.Expr) -> sympy.Expr:
    """All products of patches, (ΠxBᵀ)M'(ΠzBᵀ)ᵀ = Π(xMzᵀ)Πᵀ, and x for z: only the order changes."""
    found = _P * _x * _T(_B) * rule * _B * _T(_z) * _T(_P)
    return sympy.expand(reduced(found, _RULES) - _P * _x * METRIC * _T(_z) * _T(_P))


def _kernels_residual() -> sympy.Expr:
    """Sums that a common order leaves: over p, tr(Πκ Πᵀ); over all p, q, 1ᵀΠκΠᵀ1 = 1ᵀκ1.

    κ is the matrix of k(x_p, z_q), whose entries are permuted with those of the products.
    """
    kappa, one, other = matrices("k 1 S")
    ones = {_T(_P) * one: one, _T(one) * _P: _T(one), _T(other) * one: one}
    diagonal = trace(reduced(_T(_P) * _P * kappa, _MOVES)) - trace(kappa)
    pairs = reduced(_T(one) * _P * kappa * _T(_P) * one, ones) - _T(one) * kappa * one
    apart = reduced(_T(one) * _P * kappa * _T(other) * one, ones) - _T(one) * kappa * one
    return first_nonzero(sympy.expand(diagonal), sympy.expand(pairs), sympy.expand(apart))


def _gradient_residual() -> sympy.Expr:
    """f'(ΠxBᵀ) = f(x) along E: tr((ΠEBᵀ)ᵀH) = tr(EᵀG) for all E, with H = ΠGB⁻¹."""
    H = _P * _G * INVERSE
    fall = reduced(_fall(_E, H), _RULES)
    return sympy.expand(trace(fall) - trace(_T(_E) * _G))


def _fall(along: sympy.Expr, gradient: sympy.Expr) -> sympy.Expr:
    """(ΠEBᵀ)ᵀH, cyclically turned so that B meets B⁻¹."""
    return _T(along) * _T(_P) * gradient * _B


def _agop_residual(rule: sympy.Expr) -> sympy.Expr:
    """Σ_p ∇_p∇_pᵀ = HᵀH with H = ΠGB⁻¹, image by image; A stands for GᵀG."""
    H = _P * _G * INVERSE
    found = reduced(_T(H) * H, _RULES)
    return sympy.expand(reduced(found, {_T(_G) * _G: AGOP}) - rule)


def _orthogonal_residual(metric_rule: sympy.Expr, agop_rule: sympy.Expr) -> sympy.Expr:
    """B = Q, C = Qᵀ: AGOP' = QAGOPQᵀ, and M = I stays I."""
    at = {INVERSE: _T(_Q)}
    agop = agop_rule.subs(at) - _Q * AGOP * _T(_Q)
    metric = metric_rule.subs(METRIC, 1).subs(at)
    metric = reduced(metric, {_Q * _T(_Q): sympy.Integer(1)})
    return first_nonzero(sympy.expand(agop), sympy.expand(metric - 1))


def _filters_residual() -> sympy.Expr:
    """W' = WQᵀ on patches Qx_p: the same pre-activations, and gradients ∂W' = ∂W Qᵀ follow.

    ∂W = Σ k xᵀ, ∂W' = Σ k(Qx)ᵀ; WᵀW → QWᵀWQᵀ.
    """
    W, k, x = matrices("W k x")
    unit = {_T(_Q) * _Q: sympy.Integer(1)}
    moved = W * _T(_Q)
    return first_nonzero(
        sympy.expand(reduced(moved * _Q * x, unit) - W * x),
        sympy.expand(k * _T(_Q * x) - k * _T(x) * _T(_Q)),
        sympy.expand(_T(moved) * moved - _Q * _T(W) * W * _T(_Q)),
    )


def derive_equivariance(
    metric_rule: sympy.Expr = METRIC_RULE, agop_rule: sympy.Expr = AGOP_RULE
) -> Derivation:
    """Derive how the patch-AGOP follows permutations of positions and changes of the patch basis.

    Args:
        metric_rule: A word in ``METRIC`` and ``INVERSE``, to compare with.
        agop_rule: A word in ``AGOP`` and ``INVERSE``, to compare with.

    Source: this project.
    """
    steps = (
        Step("Around a circle a translation moves positions only.", _translation_residual),
        Step("Sums over positions do not see a common order.", _kernels_residual),
        Step("The same f gives gradients ΠGB⁻¹.", _gradient_residual),
        Step("Filters follow an orthogonal change of basis.", _filters_residual),
        Step("Orthogonal B.", partial(_orthogonal_residual, metric_rule, agop_rule)),
        Step("Products change their order only.", partial(_products_residual, metric_rule)),
        Step("The patch-AGOP.", partial(_agop_residual, agop_rule)),
    )  # fmt: skip
    return Derivation("AGOP' = B^{-T}AGOP B^{-1}, whatever the order of positions.", steps)
