r"""When NFM and AGOP agree, in the singular basis of the weights.

W = USVᵀ with r singular values s_i > 0, C = UᵀKU. Then WᵀW = V S² Vᵀ and WᵀKW = V SCS Vᵀ:

- ρ(NFM, AGOP) = ρ(S², SCS), which is 1 if and only if C is a multiple of the identity;
- NFM ∝ AGOP^s, for an exponent s > 0, if and only if C ∝ S^{2/s - 2}: C ∝ S² for the root.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import sympy
from numpy.typing import ArrayLike

from ..arrays import RealArray, finite_array
from ..derivation import Derivation, Step, first_nonzero
from ..matrix_words import matrices, reduced, trace
from ..validation import positive
from .centring import agop_from_ptk

EXPONENT = sympy.Symbol("s", positive=True)
SINGULAR_I, SINGULAR_J = sympy.symbols("s_i s_j", positive=True)
FEATURE_II, FEATURE_JJ, FEATURE_IJ = sympy.symbols("C_ii C_jj C_ij", real=True)
NFM_NORM = sympy.Symbol("S", positive=True)

INNER_SUMMAND = SINGULAR_I**4 * FEATURE_II
"""tr(NFM·AGOP) is the sum of these over i."""

NFM_SUMMAND = SINGULAR_I**4
"""‖NFM‖² is the sum of these over i."""

AGOP_SUMMAND = SINGULAR_I**2 * SINGULAR_J**2 * FEATURE_IJ**2
"""‖AGOP‖² is the sum of these over i and j."""

DEFECT_DIAGONAL = SINGULAR_I**4 * SINGULAR_J**4 * (FEATURE_II - FEATURE_JJ) ** 2 / 2
"""The part of the defect from unequal diagonal entries, summed over i and j."""

DEFECT_OFF_DIAGONAL = NFM_NORM * SINGULAR_I**2 * SINGULAR_J**2 * FEATURE_IJ**2
"""The part from off-diagonal entries, summed over i ≠ j, with S = ‖NFM‖² = Σ s_i⁴."""

FEATURE_POWER = 2 / EXPONENT - 2
"""NFM ∝ AGOP^s if and only if C ∝ S to this power."""


def compressed_features(weights: ArrayLike, ptk: ArrayLike) -> tuple[RealArray, RealArray]:
    """Return the singular values S > 0 of W, shape (r,), and C = UᵀKU, shape (r, r).

    Args:
        weights: W, shape (k, d), not zero.
        ptk: K, shape (k, k).

    Raises:
        TypeError: If entries are not real numbers.
        ValueError: If the shapes do not fit, an entry is NaN or infinite, or W is zero.

    Source: paper C.

    Example:
        >>> compressed_features([[3.0], [4.0]], [[25.0, 0.0], [0.0, 0.0]])
        (array([5.]), array([[9.]]))
    """
    agop_from_ptk(weights, ptk)  # refuses shapes that do not fit
    W, K = finite_array("weights", weights), finite_array("ptk", ptk)
    U, singular, _ = np.linalg.svd(W, full_matrices=False)
    kept = singular > max(W.shape) * np.finfo(np.float64).eps * singular[0]
    if not kept.any():
        raise ValueError("weights are zero: they have no singular basis")
    return singular[kept], U[:, kept].T @ K @ U[:, kept]


def alignment_defect(weights: ArrayLike, ptk: ArrayLike) -> float:
    """Return 1 - ρ(NFM, AGOP)², as a sum of squares: accurate where ρ is close to 1.

    (1 - ρ²) ‖NFM‖² ‖AGOP‖² = ½ Σ_ij s_i⁴s_j⁴(C_ii - C_jj)² + Σ_k s_k⁴ Σ_{i≠j} s_i²s_j²C_ij².

    Arguments and errors are those of `compressed_features`; besides, the AGOP must not be zero.

    Source: this project.
    """
    singular, C = compressed_features(weights, ptk)
    s, C = singular / singular.max(), C / (np.abs(C).max() or 1.0)
    nfm, agop = np.diag(s**2), s[:, np.newaxis] * C * s
    if not agop.any():
        raise ValueError("ptk is zero on the range of the weights, and so is the AGOP")
    diagonal = (s[:, np.newaxis] * s) ** 4 * np.subtract.outer(np.diag(C), np.diag(C)) ** 2 / 2
    outside = agop**2 * (1 - np.eye(len(s)))
    norm = float(np.sum(nfm**2))
    return float((diagonal.sum() + norm * outside.sum()) / (norm * np.sum(agop**2)))


def aligning_features(singular_values: ArrayLike, exponent: float) -> RealArray:
    """Return C = S^{2/s - 2}, the only features up to a factor with which NFM ∝ AGOP^s.

    Args:
        singular_values: S, shape (r,), all positive.
        exponent: s > 0.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If a singular value or the exponent is not positive and finite.

    Source: paper C (s = 1 and 1/2), this project (every s).

    Example:
        >>> aligning_features([1.0, 3.0], 0.5)
        array([[1., 0.],
               [0., 9.]])
    """
    S, s = finite_array("singular_values", singular_values), positive("exponent", exponent)
    if S.ndim != 1 or not (S > 0).all():
        raise ValueError(f"singular_values = {singular_values!r} must be positive, shape (r,)")
    return np.diag(S ** (2 / s - 2))


# --- derivation -------------------------------------------------------------------------------

_T = sympy.transpose
U, S, V, K, C = matrices("U S V K C")
_RULES = {
    _T(S): S,
    _T(K): K,
    _T(C): C,
    _T(U) * U: sympy.Integer(1),
    _T(V) * V: sympy.Integer(1),
    _T(U) * K * U: C,
}


def _in_basis_residual() -> sympy.Expr:
    W = U * S * _T(V)
    nfm, agop = reduced(_T(W) * W, _RULES), reduced(_T(W) * K * W, _RULES)
    return first_nonzero(
        sympy.expand(nfm - V * S**2 * _T(V)), sympy.expand(agop - V * S * C * S * _T(V))
    )


def _invariance_residual() -> sympy.Expr:
    """tr(VAVᵀ VBVᵀ) = tr(AB): both norms and the inner product."""
    A, B = S**2, S * C * S
    pairs = ((A, B), (A, A), (B, B))
    words = [trace(reduced(_T(V) * V * a * _T(V) * V * b, _RULES)) - trace(a * b) for a, b in pairs]
    return first_nonzero(*words)


def _symbols(size: int) -> tuple[sympy.Matrix, sympy.Matrix]:
    scales = sympy.symbols(f"s0:{size}", positive=True)
    entries = sympy.Matrix(
        size, size, lambda i, j: sympy.Symbol(f"C{min(i, j)}{max(i, j)}", real=True)
    )
    return sympy.diag(*scales), entries


def _at(summand: sympy.Expr, i: int, j: int, size: int) -> sympy.Expr:
    """A summand at the indices i and j."""
    scales, entries = _symbols(size)
    values = {
        SINGULAR_I: scales[i, i],
        SINGULAR_J: scales[j, j],
        FEATURE_II: entries[i, i],
        FEATURE_JJ: entries[j, j],
        FEATURE_IJ: entries[i, j],
    }
    return summand.subs(values, simultaneous=True)


def _sums_residual(inner: sympy.Expr, nfm: sympy.Expr, agop: sympy.Expr, size: int) -> sympy.Expr:
    """The traces of one size, multiplied out, are the sums of the claimed summands."""
    scales, entries = _symbols(size)
    A, B, every = scales**2, scales * entries * scales, range(size)
    return first_nonzero(
        sympy.expand((A * B).trace() - sum(_at(inner, i, i, size) for i in every)),
        sympy.expand((A * A).trace() - sum(_at(nfm, i, i, size) for i in every)),
        sympy.expand((B * B).trace() - sum(_at(agop, i, j, size) for i in every for j in every)),
    )


def _entry_residual(inner: sympy.Expr, nfm: sympy.Expr, agop: sympy.Expr) -> sympy.Expr:
    """Any size: products of entries of S² = (s_i² δ_ij) and SCS = (s_i C_ij s_j)."""
    i, j = SINGULAR_I, SINGULAR_J
    return first_nonzero(
        sympy.expand(i**2 * (i * FEATURE_II * i) - inner),
        sympy.expand(i**2 * i**2 - nfm),
        sympy.expand((i * FEATURE_IJ * j) ** 2 - agop),
    )


def _lagrange_residual(diagonal: sympy.Expr, off: sympy.Expr) -> sympy.Expr:
    """Any size: ‖A‖²‖B‖² - ⟨A, B⟩² is half the sum of (A_x B_y - A_y B_x)² over pairs of entries.

    With A diagonal, pairs (ii, jj) and, in both orders, (kk, ij) with i ≠ j remain.
    """
    i, j, k = SINGULAR_I, SINGULAR_J, sympy.Symbol("s_k", positive=True)
    both_diagonal = (i**2 * (j**2 * FEATURE_JJ) - j**2 * (i**2 * FEATURE_II)) ** 2 / 2
    one_diagonal = 2 * (k**2 * (i * FEATURE_IJ * j)) ** 2 / 2
    return first_nonzero(
        sympy.expand(both_diagonal - diagonal),
        sympy.expand(one_diagonal - off.subs(NFM_NORM, k**4)),
        sympy.diff(off, NFM_NORM, 2),
        off.subs(NFM_NORM, 0),
    )


def _defect_residual(
    inner: sympy.Expr,
    nfm: sympy.Expr,
    agop: sympy.Expr,
    diagonal: sympy.Expr,
    off: sympy.Expr,
    size: int,
) -> sympy.Expr:
    """The defect of one size, multiplied out."""
    every = range(size)
    pairs = [(i, j) for i in every for j in every]
    A = sum(_at(nfm, i, i, size) for i in every)
    B = sum(_at(agop, i, j, size) for i, j in pairs)
    AB = sum(_at(inner, i, i, size) for i in every)
    defect = sum(_at(diagonal, i, j, size) for i, j in pairs)
    defect += sum(_at(off, i, j, size).subs(NFM_NORM, A) for i, j in pairs if i != j)
    return sympy.expand(A * B - AB**2 - defect)


def derive_alignment(
    inner: sympy.Expr = INNER_SUMMAND,
    nfm: sympy.Expr = NFM_SUMMAND,
    agop: sympy.Expr = AGOP_SUMMAND,
    diagonal: sympy.Expr = DEFECT_DIAGONAL,
    off: sympy.Expr = DEFECT_OFF_DIAGONAL,
) -> Derivation:
    """Derive ρ(NFM, AGOP) = ρ(S², SCS) and the sum of squares that is 1 - ρ².

    Every summand of the defect is nonnegative, and s_i > 0: the defect is 0 if and only if all
    C_ii are equal and all C_ij with i ≠ j are 0. Then C = cI, with c > 0 as K ⪰ 0, AGOP ≠ 0.

    Args:
        inner: Summand of tr(NFM·AGOP), to compare with.
        nfm: Summand of ‖NFM‖².
        agop: Summand of ‖AGOP‖².
        diagonal: Summand of the defect at (i, j).
        off: Summand of the defect at i ≠ j.

    Source: paper C (the statement), this project (the defect).
    """
    sums = inner, nfm, agop
    steps = (
        Step("NFM = V S² Vᵀ and AGOP = V SCS Vᵀ.", _in_basis_residual),
        Step("V drops out of the traces.", _invariance_residual),
        Step("The sums, size 3.", partial(_sums_residual, *sums, 3)),
        Step("The defect, size 3.", partial(_defect_residual, *sums, diagonal, off, 3)),
        Step("The sums, any size: products of entries.", partial(_entry_residual, *sums)),
        Step("The defect, any size: Lagrange's identity.",
             partial(_lagrange_residual, diagonal, off)),
    )  # fmt: skip
    return Derivation("1 - ρ² is a sum of squares, 0 iff C ∝ I.", steps, ("Lagrange's identity",))


def _power_residual(power: sympy.Expr) -> sympy.Expr:
    """C = S^power: the eigenvalues of (SCS)^s are those of S²."""
    x = SINGULAR_I
    logarithm = sympy.log((x * x**power * x) ** EXPONENT / x**2)
    return sympy.simplify(sympy.expand(sympy.expand_log(logarithm, force=True)))


def _converse_residual(power: sympy.Expr) -> sympy.Expr:
    """From (SCS)^s = S², SCS = S^{2/s}; multiplied by S^{-1} from both sides, C = S^{2/s-2}."""
    x = SINGULAR_I
    logarithm = sympy.log((x**2) ** (1 / EXPONENT) / (x * x) / x**power)
    return sympy.simplify(sympy.expand(sympy.expand_log(logarithm, force=True)))


def derive_power(power: sympy.Expr = FEATURE_POWER) -> Derivation:
    """Derive NFM ∝ AGOP^s ⇔ C ∝ S^{2/s-2}.

    Args:
        power: The exponent of S, to compare with, in ``EXPONENT``.

    Source: paper C (s = 1 and 1/2), this project (every s).
    """
    steps = (
        Step("Powers of V B Vᵀ are those of B between V and Vᵀ (s > 0).", _in_basis_residual),
        Step("If: C = S^power.", partial(_power_residual, power)),
        Step("Only if: X ↦ X^s is one-to-one on X ⪰ 0.", partial(_converse_residual, power)),
    )
    return Derivation("NFM ∝ AGOP^s ⇔ C ∝ S^{2/s-2}.", steps, ("a PSD matrix has one PSD root",))
