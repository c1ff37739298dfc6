r"""Fixed points of lin-RFM, and the deep linear networks that share them.

lin-RFM recovers a matrix X from measurements ⟨A_i, X⟩ = y_i. One round takes the W of least
‖W‖_F with ⟨A_i M^β, W⟩ = y_i for all i, sets X = W M^β, and then M = (XᵀX + εI)^α; XᵀX is the AGOP
of the predictor A ↦ ⟨A, X⟩. Two conventions are in use:

- "data": the data are multiplied by M (β = 1), as in paper L: p = 2 - 4α;
- "metric": M is a Mahalanobis metric, the data are multiplied by M^{1/2}: p = 2 - 2α.

With ε > 0, or if X has full column rank, X is a fixed point if and only if it is a critical point
of Σ_i (σ_i² + ε)^{p/2} (of Σ log(σ_i² + ε) if p = 0) under the measurements, p = 2 - 4αβ. For
ε = 0 and a lower rank that fails: X = e₁e₁ᵀ with the one measurement A = e₁(1, b)ᵀ is fixed for
every α, but σ falls along e₁(1 - bt, t). There X must besides make XᵀΛ symmetric, Λ = Σ λ_iA_i the
multiplier, as limits of fixed points for ε → 0 with bounded multipliers do.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import numpy as np
import sympy
from numpy.typing import ArrayLike

from ..arrays import RealArray, finite_array
from ..validation import integer, nonnegative
from .doubles import representable

Placement: TypeAlias = Literal["data", "metric"]

POWER = sympy.Symbol("alpha", positive=True)
PLACEMENT = sympy.Symbol("beta", positive=True)
SMOOTHING = sympy.Symbol("epsilon", positive=True)
SINGULAR = sympy.Symbol("sigma", positive=True)
DEPTH = sympy.Symbol("L", integer=True, positive=True)

EXPONENT = 2 - 4 * POWER * PLACEMENT
"""p."""

MULTIPLIER = SINGULAR * (SINGULAR**2 + SMOOTHING) ** (-2 * POWER * PLACEMENT)
"""The singular value of the multiplier Λ at a fixed point."""

DEPTH_POWER = (1 - 1 / DEPTH) / (2 * PLACEMENT)
"""The α for which p = 2/L: ½ - 1/(2L) for β = 1."""

_BETAS = {"data": sympy.Integer(1), "metric": sympy.Rational(1, 2)}


def schatten_exponent(power: float, placement: Placement = "data") -> float:
    """Return p of the Schatten quasi-norm Σ σ^p whose critical points are lin-RFM's fixed points.

    Args:
        power: α >= 0 in M = (XᵀX)^α.
        placement: "data" (data times M, p = 2 - 4α) or "metric" (data times M^{1/2}, p = 2 - 2α).

    Raises:
        TypeError: If the power is not a real number.
        ValueError: If it is negative, infinite or NaN, or the placement is unknown.
        OverflowError: If p is larger than every double.

    Source: paper L ("data").

    Example:
        >>> schatten_exponent(0.25), schatten_exponent(0.25, "metric")
        (1.0, 1.5)
    """
    value = sympy.Float(nonnegative("power", power), 17)
    exponent = EXPONENT.subs({POWER: value, PLACEMENT: _beta(placement)})
    return float(representable("the exponent", np.asarray(float(exponent))))


def depth_power(depth: int, placement: Placement = "data") -> float:
    """Return the α with which lin-RFM has the critical points of a deep linear network.

    Args:
        depth: L >= 1, the number of layers.
        placement: "data" (α = ½ - 1/(2L)) or "metric" (α = 1 - 1/L).

    Raises:
        TypeError: If the depth is not an integer.
        ValueError: If it is less than 1, or the placement is unknown.

    Source: paper L ("data").

    Example:
        >>> depth_power(2), depth_power(4, "metric")
        (0.25, 0.75)
    """
    L = integer("depth", depth, 1)
    return float(DEPTH_POWER.subs({DEPTH: L, PLACEMENT: _beta(placement)}))


def schatten_penalty(matrix: ArrayLike, exponent: float, smoothing: float = 0.0) -> float:
    """Return Σ_i (σ_i² + ε)^{p/2} over the columns' singular values, or Σ log(σ_i² + ε) if p = 0.

    Args:
        matrix: X, shape (rows, columns); it has as many singular values as columns, some of which
            are 0 if rows are fewer.
        exponent: p, any finite real number.
        smoothing: ε >= 0.

    Raises:
        TypeError: If an entry or argument is not a real number.
        ValueError: If the matrix is not two-dimensional, an entry is NaN or infinite, the
            smoothing is negative, or p <= 0 meets a singular value that is 0 to double precision
            without smoothing.
        OverflowError: If the sum is larger than every double.

    Source: paper L.

    Example:
        >>> schatten_penalty([[3.0, 0.0], [0.0, 4.0]], 1.0)
        7.0
    """
    X, epsilon = _matrix(matrix), nonnegative("smoothing", smoothing)
    p = finite_array("exponent", exponent)
    if p.ndim:
        raise ValueError(f"exponent has shape {p.shape}; one number is allowed")
    singular = np.zeros(X.shape[1])
    found: RealArray = np.linalg.svd(X, compute_uv=False).astype(np.float64)
    singular[: len(found)] = found
    if p <= 0 and not epsilon and not _has_full_rank(X, found):
        raise ValueError(f"exponent = {exponent!r} with a singular value 0 needs smoothing > 0")
    roots = np.hypot(singular, np.sqrt(epsilon))  # squares could overflow, or underflow to 0
    with np.errstate(over="ignore"):
        return float(representable("the penalty", np.sum(roots**p if p else 2 * np.log(roots))))


def lin_rfm_multiplier(
    matrix: ArrayLike, power: float, placement: Placement = "data", smoothing: float = 0.0
) -> RealArray:
    """Return Λ = X (XᵀX + εI)^{-2αβ}, shape (rows, columns).

    An X with ⟨A_i, X⟩ = y_i for all i is fixed if and only if Λ is a linear combination of the A_i.

    Args:
        matrix: X, shape (rows, columns), of full column rank unless smoothing > 0.
        power: α >= 0.
        placement: "data" or "metric".
        smoothing: ε >= 0.

    Raises:
        TypeError: If an entry or argument is not a real number.
        ValueError: If the matrix is not two-dimensional, an entry is NaN or infinite, an argument
            is out of range, or X lacks full column rank, to double precision, without smoothing.
        OverflowError: If an entry is larger than every double.

    Source: paper L ("data").

    Example:
        >>> lin_rfm_multiplier([[4.0, 0.0], [0.0, 9.0]], 0.25)
        array([[1., 0.],
               [0., 1.]])
    """
    X, alpha = _matrix(matrix), nonnegative("power", power)
    epsilon, beta = nonnegative("smoothing", smoothing), float(_beta(placement))
    U, singular, Vt = np.linalg.svd(X, full_matrices=False)
    if not epsilon and not _has_full_rank(X, singular):
        raise ValueError("matrix lacks full column rank: then smoothing must be > 0")
    roots = np.hypot(singular, np.sqrt(epsilon))
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = singular / roots * roots ** (1 - 4 * alpha * beta)
        return representable("the multiplier", np.asarray((U * scaled) @ Vt))


def _has_full_rank(X: RealArray, singular: RealArray) -> bool:
    least = max(X.shape) * np.finfo(np.float64).eps * singular[0]
    return bool(X.shape[0] >= X.shape[1] and singular[-1] > least)


def _beta(placement: str) -> sympy.Rational:
    if placement not in get_args(Placement):
        raise ValueError(f"placement = {placement!r} must be one of 'data', 'metric'")
    return _BETAS[placement]


def _matrix(matrix: ArrayLike) -> RealArray:
    X = finite_array("matrix", matrix)
    if X.ndim != 2:
        raise ValueError(f"matrix has shape {X.shape}; (rows, columns) is allowed")
    return X
