r"""The least alignment that weights and a PTK matrix can have: 2√κ/(1 + κ), and who attains it.

κ is the condition number of K *compressed to the range of W*: of UᵀKU, where the columns of U are
an orthonormal basis of the range. K may be singular elsewhere.

Idea: with P = WWᵀ the correlation is ⟨P, AP⟩/(‖P‖ ‖TP‖), where A = ½(L + R) is the mean of the
multiplications by K from the left and the right, and T = (LR)^{1/2} their geometric mean. A ⪰ T
(AM–GM), and T has its spectrum √(λ_i λ_j) within that of K, so Kantorovich's inequality applies.
"""

from __future__ import annotations

import math
from functools import partial
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np
import sympy
from numpy.typing import ArrayLike

from ..arrays import RealArray, finite_array
from ..closed_form import ClosedForm
from ..derivation import Derivation, Step, first_nonzero
from ..matrix_words import matrices, reduced, trace
from ..validation import integer

if TYPE_CHECKING:
    from collections.abc import Sequence

CONDITION_NUMBER = sympy.Symbol("kappa", positive=True)
FIRST_COUNT, SECOND_COUNT = sympy.symbols("a b", integer=True, positive=True)

BOUND = ClosedForm(
    "alignment.bound",
    2 * sympy.sqrt(CONDITION_NUMBER) / (1 + CONDITION_NUMBER),
    CONDITION_NUMBER,
    (sympy.Integer(0), sympy.oo),
)
"""The bound, for κ >= 1; the formula does not change under κ → 1/κ."""

EXTREMAL_SINGULAR_VALUE = (SECOND_COUNT / (FIRST_COUNT * CONDITION_NUMBER)) ** sympy.Rational(1, 4)
"""Of W where K = κ (a directions), against 1 where K = 1 (b directions): attains the bound."""


def alignment_bound(condition_number: float) -> float:
    """Return the least correlation ρ(WᵀW, WᵀKW) over all W: 2√κ/(1 + κ).

    For κ = ∞ (K singular on the range of W, but not zero there) it is 0: the correlation is
    positive, but as small as one likes.

    Args:
        condition_number: κ >= 1 of K compressed to the range of W, or inf.

    Raises:
        TypeError: If it is not a real number.
        ValueError: If it is less than 1 or NaN.

    Source: this project.

    Example:
        >>> alignment_bound(4.0)
        0.8
    """
    kappa = _condition_number(condition_number)
    return 0.0 if math.isinf(kappa) else float(BOUND(kappa))


def condition_number_on_range(weights: ArrayLike, ptk: ArrayLike) -> float:
    """Return the condition number of K compressed to the range of W; inf if it is singular there.

    Args:
        weights: W, shape (k, d), not zero.
        ptk: K, symmetric positive semidefinite, shape (k, k).

    Raises:
        TypeError: If entries are not real numbers.
        ValueError: If shapes do not fit, an entry is NaN or infinite, W is zero, or K is zero on
            the range of W or has a negative eigenvalue there.

    Example:
        >>> condition_number_on_range([[1, 0], [0, 1], [0, 0]], np.diag([2.0, 8.0, 0.0]))
        4.0
    """
    W, K = finite_array("weights", weights), finite_array("ptk", ptk)
    if W.ndim != 2 or K.shape != (len(W), len(W)):
        raise ValueError(
            f"ptk has shape {K.shape}, weights have shape {W.shape}; they must be (k, k), (k, d)"
        )
    U = _range_basis(W)
    compressed = U.T @ K @ U
    values = np.asarray(np.linalg.eigvalsh((compressed + compressed.T) / 2), dtype=np.float64)
    rounding = 4 * len(K) * float(np.finfo(np.float64).eps)
    return _ratio(values, rounding * float(np.linalg.norm(K)))


def extremal_pair(
    condition_number: float,
    counts: Sequence[int] = (1, 1),
    *,
    width: int | None = None,
    dimension: int | None = None,
    rng: np.random.Generator | None = None,
) -> tuple[RealArray, RealArray]:
    """Return W and K whose correlation ρ(WᵀW, WᵀKW) is exactly the bound 2√κ/(1 + κ).

    On the range of W, K has the eigenvalue κ in a directions and 1 in b directions; W has the
    singular value (b/(aκ))^{1/4} in the first and 1 in the others. Elsewhere K is zero.

    Args:
        condition_number: κ >= 1, finite.
        counts: (a, b), at least 1 each.
        width: k >= a + b; a + b if it is not given.
        dimension: d >= a + b; a + b if it is not given.
        rng: Draws two uniformly random rotations; None leaves W and K diagonal.

    Returns:
        W, shape (k, d), and K, shape (k, k).

    Raises:
        TypeError: If κ is not a real number, or counts, width or dimension are not integers.
        ValueError: If κ is less than 1 or not finite, or a size is too small.

    Source: this project.
    """
    kappa = _condition_number(condition_number)
    if math.isinf(kappa):
        raise ValueError("condition_number = inf; the bound 0 is approached but not attained")
    a, b = (integer("counts", count, 1) for count in counts)
    k, d = (a + b if size is None else integer("width, dimension", size, a + b)
            for size in (width, dimension))  # fmt: skip
    U, V = _orthonormal(k, a + b, rng), _orthonormal(d, a + b, rng)
    singular = np.repeat([(b / (a * kappa)) ** 0.25, 1.0], (a, b))
    return (U * singular) @ V.T, (U * np.repeat([kappa, 1.0], (a, b))) @ U.T


def _condition_number(value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"condition_number = {value!r} must be a number >= 1, or inf")
    if math.isnan(value) or value < 1:
        raise ValueError(f"condition_number = {value!r} must be a number >= 1, or inf")
    return float(value)


def _range_basis(W: RealArray) -> RealArray:
    U, singular, _ = np.linalg.svd(W, full_matrices=False)
    if not singular[0]:
        raise ValueError("weights are zero: their range has no condition number")
    basis: RealArray = U[:, singular > max(W.shape) * np.finfo(np.float64).eps * singular[0]]
    return basis


def _ratio(values: RealArray, rounding: float) -> float:
    if values[0] < -rounding:
        raise ValueError(f"ptk has the eigenvalue {values[0]} on the range of the weights; "
                         "it must be positive semidefinite")  # fmt: skip
    if values[-1] <= rounding:
        raise ValueError("ptk is zero on the range of the weights, and so is the AGOP")
    return math.inf if values[0] <= rounding else float(values[-1] / values[0])


def _orthonormal(rows: int, columns: int, rng: np.random.Generator | None) -> RealArray:
    if rng is None:
        return np.eye(rows, columns)
    Q, R = np.linalg.qr(rng.standard_normal((rows, columns)))
    basis: RealArray = Q * np.sign(np.diag(R))
    return basis


# --- derivation -------------------------------------------------------------------------------

_LEAST, _LARGEST = sympy.symbols("m M", positive=True)
W, K, P, U, Y, C, H = matrices("W K P U Y C H")
_T = sympy.transpose


def _cyclic_residual() -> sympy.Expr:
    nfm, agop, gram = _T(W) * W, _T(W) * K * W, W * _T(W)
    symmetric = {_T(K): K}
    return first_nonzero(
        trace(reduced(nfm * agop - K * gram * gram, symmetric)),
        trace(nfm * nfm - gram * gram),
        trace(reduced(agop * agop - K * gram * K * gram, symmetric)),
    )


def _compression_residual() -> sympy.Expr:
    """With W = UY, UᵀU = 1 and C = UᵀKU nothing changes if K is replaced by C, W by Y."""
    rules = {_T(U) * U: sympy.Integer(1), _T(U) * K * U: C, _T(K): K}
    small = Y * _T(Y)
    full = U * small * _T(U)

    def rotated(rest: sympy.Expr) -> sympy.Expr:
        """The trace of P times the rest, with the first U moved to the end."""
        return reduced(small * _T(U) * rest * U, rules)

    return first_nonzero(
        trace(rotated(K * full) - C * small * small),
        trace(rotated(full) - small * small),
        trace(rotated(K * full * K) - C * small * C * small),
    )


def _entries_residual(size: int) -> sympy.Expr:
    """The three traces as sums over entries, multiplied out for one size."""
    values = sympy.symbols(f"lambda0:{size}", positive=True)
    entry = {
        (i, j): sympy.Symbol(f"p{min(i, j)}{max(i, j)}", real=True)
        for i in range(size)
        for j in range(size)
    }
    L, Q = sympy.diag(*values), sympy.Matrix(size, size, lambda i, j: entry[i, j])
    pairs = entry.items()
    mean = sum((values[i] + values[j]) / 2 * p**2 for (i, j), p in pairs)
    product = sum(values[i] * values[j] * p**2 for (i, j), p in pairs)
    return first_nonzero(
        sympy.expand((L * Q * Q).trace() - mean),
        sympy.expand((L * Q * L * Q).trace() - product),
        sympy.expand((Q * Q).trace() - sum(p**2 for _, p in pairs)),
    )


def _summand_residual() -> sympy.Expr:
    """Any size: the summands λ_i p_ij p_ji and λ_i p_ij λ_j p_ji, with p_ji = p_ij."""
    x, y, p = sympy.symbols("lambda_i lambda_j p_ij", positive=True)
    return first_nonzero(
        sympy.expand(x * p * p + y * p * p - 2 * ((x + y) / 2) * p**2),
        sympy.expand((x * p) * (y * p) - x * y * p**2),
    )


def _mean_residual() -> sympy.Expr:
    x, y = sympy.symbols("lambda_i lambda_j", positive=True)
    return sympy.expand((x + y) / 2 - sympy.sqrt(x * y) - (sympy.sqrt(x) - sympy.sqrt(y)) ** 2 / 2)


def _spectrum_residual() -> sympy.Expr:
    """m² <= λ_i λ_j <= M², with nonnegative gaps m = λ - u below and M = λ + v above."""
    x, y, u, v, r, s = sympy.symbols("lambda_i lambda_j u v r s", nonnegative=True)
    m, top = sympy.symbols("m M", positive=True)
    above = sympy.expand((m + u) * (m + v) - m**2 - (m * u + m * v + u * v))
    below = sympy.expand(
        (top**2 - x * y - (r * top + s * x)).subs({r: top - x, s: top - y}, simultaneous=True)
    )
    return first_nonzero(above, below)


def _kantorovich_residual() -> sympy.Expr:
    t = sympy.Symbol("t", positive=True)
    m, M = _LEAST, _LARGEST
    return sympy.expand((M - t) * (t - m) - ((M + m) * t - m * M - t**2))


def _certificate_residual() -> sympy.Expr:
    """Sums over p_ij²: N of 1, B of t², a of t, A of (λ_i + λ_j)/2, D of (M - t)(t - m)."""
    N, B, a, excess = sympy.symbols("N B a E", nonnegative=True)
    m, M = _LEAST, _LARGEST
    A, D = a + excess, (M + m) * a - m * M * N - B
    gap = (m + M) ** 2 * A**2 - 4 * m * M * N * B
    squares = (m + M) ** 2 * excess * (2 * a + excess) + ((m + M) * a - 2 * m * M * N) ** 2
    return sympy.expand(gap - squares - 4 * m * M * N * D)


def _claim_residual(claimed: sympy.Expr) -> sympy.Expr:
    m, M = _LEAST, _LARGEST
    derived = 2 * sympy.sqrt(m * M) / (m + M)
    return sympy.simplify(claimed.subs(CONDITION_NUMBER, M / m) - derived)


def derive_bound(claimed: sympy.Expr = BOUND.expression) -> Derivation:
    """Derive ρ(WᵀW, WᵀKW) >= 2√κ/(1 + κ) for all sizes.

    Args:
        claimed: The formula to compare with, in ``CONDITION_NUMBER``.

    Source: this project.
    """
    steps = (
        Step("With P = WWᵀ: ⟨NFM, AGOP⟩ = tr KP², ‖AGOP‖² = tr KPKP.", _cyclic_residual),
        Step("Only C = UᵀKU matters, U a basis of the range of W.", _compression_residual),
        Step("In C's eigenbasis: sums over p_ij², size 3.", partial(_entries_residual, 3)),
        Step("Any size: the summands at (i, j) and (j, i) together.", _summand_residual),
        Step("AM–GM: (λ_i + λ_j)/2 - √(λ_i λ_j) is half a square.", _mean_residual),
        Step("t = √(λ_i λ_j) lies in [m, M].", _spectrum_residual),
        Step("Kantorovich: (M - t)(t - m) >= 0 bounds t² by a line.", _kantorovich_residual),
        Step(
            "(m + M)² (tr KP²)² - 4mM ‖P‖² tr KPKP is a sum of three nonnegative terms.",
            _certificate_residual,
        ),
        Step("So ρ >= 2√(mM)/(m + M), the claim with κ = M/m.", partial(_claim_residual, claimed)),
    )
    return Derivation("ρ(WᵀW, WᵀKW) >= 2√κ/(1 + κ).", steps, ("spectral theorem",))


def _two_blocks(singular: sympy.Expr, values: tuple[sympy.Expr, sympy.Expr]) -> sympy.Expr:
    """ρ of diagonal W = (singular, 1) and K = values, with multiplicities a and b."""
    a, b = FIRST_COUNT, SECOND_COUNT
    nfm, agop = (singular**2, sympy.Integer(1)), (singular**2 * values[0], values[1])
    inner = a * nfm[0] * agop[0] + b * nfm[1] * agop[1]
    norms = [a * x**2 + b * y**2 for x, y in (nfm, agop)]
    return inner / sympy.sqrt(norms[0] * norms[1])


def _attained_residual(claimed: sympy.Expr, singular: sympy.Expr) -> sympy.Expr:
    """Squares and signs: ρ and the claim agree if their squares do and all is positive."""
    found = _two_blocks(singular, (CONDITION_NUMBER, sympy.Integer(1)))
    difference = sympy.simplify(found**2 - claimed**2)
    positive = bool(claimed.is_positive and singular.is_positive)
    return first_nonzero(difference, sympy.Integer(0 if positive else 1))


def _block_matrices_residual(size: int) -> sympy.Expr:
    """The block sums are the traces: W and K multiplied out, each block of one size."""
    s, x, y = sympy.symbols("s x y", positive=True)
    weights = sympy.diag(*[s] * size, *[1] * size)
    ptk = sympy.diag(*[x] * size, *[y] * size)
    nfm, agop = weights.T * weights, weights.T * ptk * weights
    square = (nfm * agop).trace() ** 2 / ((nfm * nfm).trace() * (agop * agop).trace())
    blocks = _two_blocks(s, (x, y)).subs({FIRST_COUNT: size, SECOND_COUNT: size})
    return sympy.simplify(square - blocks**2)


def _singular_residual(claimed: sympy.Expr) -> sympy.Expr:
    """κ = ∞: W = (s, 1), K = (1, 0) has ρ = s²/√(1 + s⁴) > 0, which tends to 0 with s."""
    s = sympy.Symbol("s", positive=True)
    ones = {FIRST_COUNT: 1, SECOND_COUNT: 1}
    found = _two_blocks(s, (sympy.Integer(1), sympy.Integer(0))).subs(ones)
    return first_nonzero(
        sympy.simplify(found - s**2 / sympy.sqrt(1 + s**4)),
        sympy.limit(found, s, 0),
        sympy.limit(claimed, CONDITION_NUMBER, sympy.oo),
    )


def _never_zero_residual() -> sympy.Expr:
    """tr KP² = ‖HP‖² with K = HᵀH: it is 0 only if HP = 0, and then the AGOP is 0."""
    return trace(reduced(P * _T(H) * H * P - _T(H * P) * (H * P), {_T(P): P}))


def derive_sharpness(
    claimed: sympy.Expr = BOUND.expression, singular: sympy.Expr = EXTREMAL_SINGULAR_VALUE
) -> Derivation:
    """Derive that the bound is attained for every κ >= 1 and all multiplicities, and not at ∞.

    Equality needs all three nonnegative terms of `derive_bound` to vanish: WWᵀ commutes with K on
    the range, K has there no eigenvalues but m and M, and M ‖P_M‖² = m ‖P_m‖², where P_M and P_m
    are the parts of P in the two eigenspaces.

    Args:
        claimed: The bound to compare with, in ``CONDITION_NUMBER``.
        singular: The singular value of W in the first block, in ``CONDITION_NUMBER`` and the
            counts.

    Source: this project.
    """
    steps = (
        Step("Blocks of two: the sums are the traces.", partial(_block_matrices_residual, 2)),
        Step("κ = ∞: the bound 0 is approached.", partial(_singular_residual, claimed)),
        Step("κ = ∞: it is not attained.", _never_zero_residual),
        Step(
            "The two-block pair attains the bound.",
            partial(_attained_residual, claimed, singular),
        ),
    )
    return Derivation("Equality for W = ((b/(aκ))^{1/4}, 1), K = (κ, 1).", steps)
