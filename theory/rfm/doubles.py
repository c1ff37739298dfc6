"""What double precision cannot hold or solve is refused by name."""

from __future__ import annotations

from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

RealArray: TypeAlias = NDArray[np.float64]
Reals = TypeVar("Reals", float, RealArray)


def representable(name: str, value: Reals) -> Reals:
    """Return the result, unless it overflowed on its way.

    Raises:
        OverflowError: If an entry is infinite or NaN.

    Example:
        >>> representable("result", np.array([1.0, 2.0]))
        array([1., 2.])
    """
    if not np.isfinite(value).all():
        raise OverflowError(f"{name} overflows: scale the data, which are finite but too large")
    return value


def ridge_solution(system: RealArray, right: RealArray, ridge: float) -> RealArray:
    """Return A⁻¹b for A = (a positive semidefinite matrix or a product of two) + λ.

    Args:
        system: A, shape (m, m).
        right: b, shape (m,) or (m, o).
        ridge: λ, for the message.

    Raises:
        OverflowError: If A or b is not finite.
        ValueError: If A is singular to double precision.

    Example:
        >>> ridge_solution(np.array([[2.0, 0.0], [0.0, 4.0]]), np.array([2.0, 2.0]), 1.0)
        array([1. , 0.5])
    """
    A, b = representable("the system", system), representable("the right-hand side", right)
    factor, pivots, fault = lapack.dgetrf(A)
    condition = 0.0 if fault else lapack.dgecon(factor, np.abs(A).sum(axis=0).max())[0]
    if condition < len(A) * np.finfo(np.float64).eps:
        raise ValueError(
            f"ridge = {ridge!r} is too small: the system is singular to double precision, with a "
            f"reciprocal condition number of {condition:.1g}; a larger ridge is needed"
        )
    return np.asarray(lapack.dgetrs(factor, pivots, b)[0], dtype=np.float64).reshape(b.shape)
