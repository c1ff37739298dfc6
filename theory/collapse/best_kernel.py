r"""The kernel matrix that fits labels best in ridge regression: the collapsed one.

For one-hot labels with n_c samples in class c, and all k ⪰ 0 with k_ii ≤ 1,

    (μ/2) tr(Y(k + μI)^{-1}Yᵀ) ≥ (μ/2) Σ_c n_c/(n_c + μ),

(μ/2)·Kn/(n + μ) for equal classes, with equality if and only if k = YᵀY. What is left over is, for
each class with indicator y = y_c and t = 1/(n_c + μ), exactly

    yᵀ(k + μ)^{-1}y - n_c t = rᵀ(k + μ)^{-1}r + t²[½ Σ_{i,j∈c} (e_i - e_j)ᵀk(e_i - e_j)
                                                    + n_c Σ_{i∈c} (1 - k_ii)],  r = y - t(k + μ)y,

in which no term can be negative.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import sympy
from numpy.typing import ArrayLike

from ..arrays import RealArray, finite_array
from ..derivation import Derivation, Step, first_nonzero
from ..matrix_words import matrices, reduced
from ..validation import integer, positive
from .recursion import unproved
from .setting import SAMPLES, gram_matrix, one_hot

RIDGE = sympy.Symbol("mu", positive=True)

CLASS_VALUE = SAMPLES / (SAMPLES + RIDGE)
"""The least y_cᵀ(k + μ)^{-1}y_c for a class of n samples."""

WEIGHT = 1 / (SAMPLES + RIDGE)
"""t, with y = t(k + μ)y at the minimum."""


def collapsed_kernel(labels: ArrayLike) -> RealArray:
    """Return YᵀY, the minimiser: 1 within classes and 0 between, shape (N, N).

    Args:
        labels: One-hot Y, shape (K, N).

    Raises:
        TypeError: If entries are not real numbers.
        ValueError: If Y is not one-hot, or a class is empty.

    Source: paper B.

    Example:
        >>> collapsed_kernel([[1, 1, 0], [0, 0, 1]])
        array([[1., 1., 0.],
               [1., 1., 0.],
               [0., 0., 1.]])
    """
    Y = finite_array("labels", labels)
    Y = one_hot(Y, Y.shape[-1] if Y.ndim else 0)
    return np.asarray(Y.T @ Y)


def kernel_value(kernel: ArrayLike, labels: ArrayLike, ridge: float) -> float:
    """Return (μ/2) tr(Y(k + μI)^{-1}Yᵀ), the least ½‖f - Y‖² + (μ/2)‖f‖² over the kernel's f.

    Args:
        kernel: k, shape (N, N), symmetric positive semidefinite, k_ii <= 1.
        labels: One-hot Y, shape (K, N).
        ridge: μ > 0.

    Raises:
        TypeError: If entries or the ridge are not real numbers.
        ValueError: If shapes do not fit, an entry is NaN or infinite, k is not symmetric positive
            semidefinite or has k_ii > 1, Y is not one-hot, or the ridge not positive and finite.

    Source: paper B.

    Example:
        >>> kernel_value([[1.0, 1.0], [1.0, 1.0]], [[1, 1]], 2.0)
        0.5
    """
    k = gram_matrix("kernel", kernel)
    Y, mu = one_hot(labels, len(k)), positive("ridge", ridge)
    largest = float(np.diag(k).max())
    if largest > 1 + 1e-12:
        raise ValueError(f"kernel has {largest:.6g} on its diagonal; at most 1 is allowed")
    return float(mu / 2 * np.sum(Y.T * np.linalg.solve(k + mu * np.eye(len(k)), Y.T)))


def least_kernel_value(class_sizes: Sequence[int], ridge: float) -> float:
    """Return (μ/2) Σ_c n_c/(n_c + μ), the minimum of `kernel_value` over all kernels.

    Args:
        class_sizes: n_c >= 1 for each class.
        ridge: μ > 0.

    Raises:
        TypeError: If a size is no integer, or the ridge no real number.
        ValueError: If there is no class, a size is below 1, or the ridge is not positive and
            finite.

    Source: paper B (equal classes), this project.

    Example:
        >>> least_kernel_value([2, 2], 2.0)
        1.0
    """
    sizes, mu = [integer("class_sizes", n, 1) for n in class_sizes], positive("ridge", ridge)
    if not sizes:
        raise ValueError("class_sizes is empty; at least one class is needed")
    return mu / 2 * sum(n / (n + mu) for n in sizes)


# --- derivation -------------------------------------------------------------------------------

_T = sympy.transpose
_k, _R, _y, _Y = matrices("k R y Y")
_RULES = {
    _T(_k): _k,
    _T(_R): _R,
    _k * _R: 1 - RIDGE * _R,
    _R * _k: 1 - RIDGE * _R,
    _T(_y) * _y: SAMPLES,
}
_t = sympy.Symbol("t", positive=True)


def _square_residual(value: sympy.Expr, weight: sympy.Expr) -> sympy.Expr:
    """yᵀRy - n/(n + μ) = rᵀRr + t²(n² - yᵀky), r = y - t(k + μ)y: a completed square."""
    r = _y - _t * (_k * _y + RIDGE * _y)
    quadratic = _T(_y) * _k * _y
    gap = _T(_y) * _R * _y - _T(r) * _R * r
    left = reduced(sympy.expand(gap - _t**2 * (SAMPLES**2 - quadratic)), _RULES)
    scalar = left.subs(_t, weight)
    return first_nonzero(
        sympy.simplify(scalar.coeff(quadratic)),
        sympy.simplify(scalar.subs(quadratic, 0) - value),
    )


def _diagonal_residual() -> sympy.Expr:
    """1 - k_ij = ½(e_i - e_j)ᵀk(e_i - e_j) + ½(1 - k_ii) + ½(1 - k_jj).

    Summed over i, j in the class: n² - yᵀky = ½ Σ_ij (…) + n Σ_i (1 - k_ii).
    """
    ii, ij, jj = sympy.symbols("k_ii k_ij k_jj", real=True)
    e = sympy.Matrix([1, -1])
    square = (e.T * sympy.Matrix([[ii, ij], [ij, jj]]) * e)[0]
    return sympy.expand(1 - ij - (square / 2 + (1 - ii) / 2 + (1 - jj) / 2))


def _signs_residual() -> sympy.Expr:
    """The weights t² and R's eigenvalues 1/(κ + μ), κ ≥ 0 one of k's, are positive."""
    eigenvalue = sympy.Symbol("kappa", nonnegative=True)
    return first_nonzero(unproved(WEIGHT**2), unproved(1 / (eigenvalue + RIDGE)))


def _attained_residual(value: sympy.Expr) -> sympy.Expr:
    """k = YᵀY has ky = ny, hence y = t(k + μ)y and yᵀRy = n t."""
    r = sympy.expand(_y - WEIGHT * (SAMPLES * _y + RIDGE * _y))
    zero = sympy.simplify(r.coeff(_y))
    return first_nonzero(zero, sympy.simplify(value - SAMPLES * WEIGHT))


def _unique_residual() -> sympy.Expr:
    """Every gap 0: k's rows agree within classes, and ky_c = n_cy_c.

    So k = kΠ = Σ_c n_cy_cy_cᵀ/n_c = YᵀY, where Π = Σ_c y_cy_cᵀ/n_c: term by term, in words.
    """
    moved = _k * _y * _T(_y) / SAMPLES
    return sympy.expand(reduced(moved, {_k * _y: SAMPLES * _y}) - _y * _T(_y))


def _eigenvector_residual(weight: sympy.Expr) -> sympy.Expr:
    """r = 0 says ky = (1/t - μ)y, and that is ny."""
    return sympy.simplify(1 / weight - RIDGE - SAMPLES)


def derive_optimal_kernel(
    value: sympy.Expr = CLASS_VALUE, weight: sympy.Expr = WEIGHT
) -> Derivation:
    """Derive the bound class by class, with all that is left over, and its only equality.

    Args:
        value: The least yᵀ(k + μ)^{-1}y, in ``SAMPLES`` and ``RIDGE``, to compare with.
        weight: t, to compare with.

    Source: paper B (the minimiser for equal classes), this project (the exact remainder).
    """
    steps = (
        Step("1 - k_ij, by squares and diagonal entries.", _diagonal_residual),
        Step("Every term left over is >= 0, as k ⪰ 0 and k_ii ≤ 1.", _signs_residual),
        Step("All are 0 only if k = YᵀY.", _unique_residual),
        Step("r = 0 says ky = ny.", partial(_eigenvector_residual, weight)),
        Step("YᵀY attains it.", partial(_attained_residual, value)),
        Step("The completed square.", partial(_square_residual, value, weight)),
    )
    cites = ("(e_i - e_j)ᵀk(e_i - e_j) = 0 says k(e_i - e_j) = 0, as k ⪰ 0",)
    return Derivation("(μ/2) tr(Y(k + μ)^{-1}Yᵀ) ≥ (μ/2) Σ n_c/(n_c + μ).", steps, cites)
