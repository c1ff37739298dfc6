"""How alike two matrices are, and fractional powers of positive semidefinite matrices."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from numbers import Real
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike

from ..arrays import RealArray, finite_array
from ..validation import nonnegative

Kind: TypeAlias = Literal["cosine", "pearson"]


def correlation(A: ArrayLike, B: ArrayLike, kind: Kind = "cosine") -> float:
    """Return the correlation of two arrays of the same shape, in [-1, 1].

    "cosine" is that of the angle between them as vectors, ρ(A, B) = tr(AᵀB)/(‖A‖_F ‖B‖_F);
    "pearson" is the same after the mean over the entries has been removed from each. Neither
    depends on the arrays' scale: entries may be as large as 1e300 or as small as 1e-300.

    Args:
        A: Real entries, any shape.
        B: Real entries, the same shape.
        kind: "cosine" or "pearson".

    Raises:
        TypeError: If the entries are not real numbers.
        ValueError: If the shapes differ, there are no entries, an entry is NaN or infinite, or an
            array has no correlation: zero (cosine), or all entries equal (Pearson).

    Source: paper C (cosine).

    Example:
        >>> correlation([[3, 0], [0, 4]], [[1, 0], [0, 0]])
        0.6
    """
    if kind not in get_args(Kind):
        raise ValueError(f"kind = {kind!r} must be one of 'cosine', 'pearson'")
    a, b = finite_array("A", A), finite_array("B", B)
    if a.shape != b.shape:
        raise ValueError(f"A has shape {a.shape}, B has shape {b.shape}; they must be equal")
    direction: Callable[[str, RealArray], RealArray]
    direction = _direction if kind == "cosine" else _deviation
    a, b = direction("A", a), direction("B", b)
    cosine = float(np.vdot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b)))
    return min(1.0, max(-1.0, cosine))


def matrix_power_psd(A: ArrayLike, exponent: float, *, tolerance: float | None = None) -> RealArray:
    """Return A^s for a symmetric positive semidefinite matrix A, symmetric to the last bit.

    Eigenvalues within the tolerance of 0, of either sign, count as 0: a power magnifies their
    rounding errors (1e-17 to the power 1/10 is 0.02). A^0 is the identity.

    Args:
        A: Symmetric positive semidefinite, shape (d, d).
        exponent: s >= 0, or s < 0 if A is positive definite.
        tolerance: What counts as rounding, relative to the largest entry or eigenvalue; 4 d times
            the spacing of doubles if it is not given.

    Raises:
        TypeError: If the entries or the exponent are not real numbers.
        ValueError: If A is not square or not symmetric, an entry is NaN or infinite, an
            eigenvalue is negative beyond rounding, or s < 0 and an eigenvalue counts as 0.
        OverflowError: If A^s has entries beyond the largest double.

    Example:
        >>> matrix_power_psd([[2, 2], [2, 2]], 0.5).round(12)
        array([[1., 1.],
               [1., 1.]])
    """
    matrix, s = finite_array("A", A), _exponent(exponent)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"A has shape {matrix.shape}; it must be square, (d, d)")
    rounding = _rounding(tolerance, len(matrix))
    scaled, shift = _scaled(matrix)
    _check_symmetric(scaled, rounding, shift)
    values, vectors = np.linalg.eigh((scaled + scaled.T) / 2)
    powers = _powers(values, s, rounding, shift)
    power = _rescaled((vectors * powers) @ vectors.T, Fraction(s) * shift)
    return (power + power.T) / 2


def _scaled(array: RealArray) -> tuple[RealArray, int]:
    """The array over the power of 2 that brings its largest entry into [1/2, 1), exactly."""
    _, shift = math.frexp(float(np.abs(array).max()))
    return np.ldexp(array, -shift), shift


def _direction(name: str, array: RealArray) -> RealArray:
    """The array, scaled so that its largest entry lies in [1/2, 1)."""
    if not array.any():
        raise ValueError(f"{name} is zero; a zero array has no correlation with another")
    return _scaled(array)[0]


def _deviation(name: str, array: RealArray) -> RealArray:
    """The array less the mean of its entries, scaled likewise."""
    scaled, _ = _scaled(array)
    # An entry goes first, exactly where entries are close, so that the mean removed is small.
    differences = scaled - scaled.flat[0]
    if not differences.any():
        raise ValueError(
            f"all {array.size} entries of {name} are {array.flat[0]}; constant entries have no "
            "Pearson correlation with others"
        )
    scaled, _ = _scaled(differences)
    return _direction(name, scaled - scaled.mean())


def _exponent(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"exponent = {value!r} must be a finite number")
    if not math.isfinite(value):
        raise ValueError(f"exponent = {value!r} must be a finite number")
    return float(value)


def _rounding(tolerance: float | None, dimension: int) -> float:
    if tolerance is None:
        return 4 * dimension * float(np.finfo(np.float64).eps)
    return nonnegative("tolerance", tolerance)


def _check_symmetric(scaled: RealArray, rounding: float, shift: int) -> None:
    gap = np.abs(scaled - scaled.T)
    if gap.max() > rounding:
        i, j = np.unravel_index(int(gap.argmax()), gap.shape)
        a, b = (float(np.ldexp(x, shift)) for x in (scaled[i, j], scaled[j, i]))
        raise ValueError(f"A[{i}, {j}] = {a} and A[{j}, {i}] = {b} differ; A must be symmetric")


def _powers(values: RealArray, s: float, rounding: float, shift: int) -> RealArray:
    least, scale = float(values[0]), float(np.abs(values).max())
    if least < -rounding * scale:
        raise ValueError(
            f"A has the eigenvalue {math.ldexp(least, shift)}; it must be positive semidefinite"
        )
    if s < 0 and least <= rounding * scale:
        raise ValueError(
            f"exponent = {s} is negative and A has the eigenvalue {math.ldexp(least, shift)}, "
            "which counts as 0; A must be positive definite, or the exponent at least 0"
        )
    powers: RealArray = np.where(values > rounding * scale, values, 0.0) ** s
    return powers


def _rescaled(power: RealArray, shift: Fraction) -> RealArray:
    """The matrix times 2^shift, the shift of any size."""
    whole = math.floor(shift)
    with np.errstate(over="ignore"):
        found: RealArray = np.ldexp(power * 2.0 ** float(shift - whole), whole)
    if not np.isfinite(found).all():
        raise OverflowError(f"the power has entries of about 2^{whole}, beyond the largest double")
    return found
