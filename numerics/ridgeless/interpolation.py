"""Kernel regression on the torus: build the matrix, solve, predict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.linalg.lapack import dpocon

from ..validation import RealArray, data, nonnegative, points, positive
from .periodic import PeriodicKernel
from .profiles import Profile, ProfileLike, as_profile


class SingularSystemError(ArithmeticError):
    """The kernel system K + λI is singular to working precision."""


@dataclass(frozen=True, eq=False)
class System:
    """A factorised kernel system K + λI.

    Attributes:
        factor: Upper Cholesky factor, shape (N, N).
        condition_number: Estimate of the condition number in the 1-norm; solutions have lost about
            log10 of it of their 16 digits.
    """

    factor: RealArray
    condition_number: float

    def solve(self, b: NDArray[Any]) -> NDArray[Any]:
        """(K + λI)^{-1} b for b of shape (N, ...)."""
        return np.asarray(cho_solve((self.factor, False), b, check_finite=False))


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted kernel regressor f̂(x) = Σ_j a_j φ_h(x - x_j).

    Attributes:
        profile: φ.
        points: x_j, shape (N, d).
        bandwidth: h.
        ridge: λ.
        coefficients: a, shape (N, ...), real or complex like the data.
        condition_number: Of K + λI.
    """

    profile: Profile
    points: RealArray
    bandwidth: float
    ridge: float
    coefficients: NDArray[Any]
    condition_number: float


def kernel_matrix(profile: ProfileLike, x: ArrayLike, z: ArrayLike, bandwidth: float) -> RealArray:
    """The matrix φ_h(x_i - z_j), shape (len(x), len(z)).

    Args:
        profile: A Profile, a name, or a radial function.
        x: Points, shape (N, d) or, in one dimension, (N,).
        z: Points, shape (M, d) or (M,).
        bandwidth: h > 0 in units of the torus.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If h <= 0, the shapes disagree, or an entry is not finite.
    """
    dimension = 1 if np.ndim(x) == 1 else np.shape(x)[-1] if np.ndim(x) == 2 else 0
    if not dimension:
        raise ValueError(f"x has shape {np.shape(x)}, must be (N, d) or (N,)")
    left, right = points("x", x, dimension), points("z", z, dimension)
    kernel = PeriodicKernel(as_profile(profile, dimension), positive("bandwidth", bandwidth))
    return kernel(left[:, None, :] - right)


def factorise(K: RealArray, ridge: float) -> System:
    """Factorise K + λI by Cholesky.

    Raises:
        SingularSystemError: If it is singular, or not positive, to working precision.
        ValueError: If λ < 0.
    """
    matrix = K + nonnegative("ridge", ridge) * np.eye(len(K))
    norm = float(np.abs(matrix).sum(axis=0).max())
    try:
        factor, _ = cho_factor(matrix, check_finite=False)
    except LinAlgError as error:
        raise _singular(len(K), ridge, "beyond 1e16") from error
    reciprocal, _ = dpocon(factor, norm)
    if reciprocal < np.finfo(np.float64).eps:
        raise _singular(len(K), ridge, f"{1 / reciprocal:.1e}" if reciprocal else "infinite")
    return System(factor, 1 / float(reciprocal))


def fit(
    profile: ProfileLike, x: ArrayLike, y: ArrayLike, bandwidth: float, ridge: float = 0.0
) -> Fit:
    """Solve (K + λI) a = y.

    Args:
        profile: A Profile, a name, or a radial function.
        x: Points, shape (N, d) or, in one dimension, (N,).
        y: Real or complex data, shape (N, ...).
        bandwidth: h > 0 in units of the torus.
        ridge: λ >= 0; 0 interpolates.

    Raises:
        SingularSystemError: If K + λI is singular to working precision.
        TypeError: If an argument has the wrong type.
        ValueError: If h <= 0, λ < 0, fewer than 2 points, shapes disagree, or NaN or inf in data.
    """
    matrix = kernel_matrix(profile, x, x, bandwidth)
    if len(matrix) < 2:
        raise ValueError(f"x has {len(matrix)} point, must have at least 2")
    values = data("y", y, len(matrix))
    array = points("x", x, 1 if np.ndim(x) == 1 else np.shape(x)[-1])
    system = factorise(matrix, ridge)
    used = as_profile(profile, array.shape[1])
    return Fit(used, array, bandwidth, ridge, system.solve(values), system.condition_number)


def predict(fitted: Fit, x: ArrayLike) -> NDArray[Any]:
    """f̂ at points of shape (M, d) or, in one dimension, (M,); returns shape (M, ...).

    Raises:
        TypeError: If x is not real.
        ValueError: If x has another dimension than the data, or is not finite.
    """
    where = points("x", x, fitted.profile.dimension)
    K = kernel_matrix(fitted.profile, where, fitted.points, fitted.bandwidth)
    return np.asarray(np.tensordot(K, fitted.coefficients, axes=1))


def _singular(size: int, ridge: float, condition: str) -> SingularSystemError:
    return SingularSystemError(
        f"K + ridge I of size {size} with ridge = {ridge!r} is singular to working precision "
        f"(condition number {condition}): add a ridge, choose a smaller bandwidth, remove repeated "
        "points, or use exact_risk_mp with enough digits"
    )
