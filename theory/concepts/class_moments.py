r"""Two Gaussian classes: what the concept's laws need of them, and how it is measured on states.

Setting: labels y = ±1, x | y ~ N(m ± μ, Σ_±): midpoint m, half difference μ, covariances Σ_±, and
the prior π = P(y = 1). Separation δ² = μᵀΣ⁻¹μ where Σ₊ = Σ₋ = Σ.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike

from ..arrays import RealArray, finite_array


@dataclass(frozen=True, eq=False)
class ClassMoments:
    """Means and covariances of two classes.

    Attributes:
        midpoint: m, shape (d,).
        half_difference: μ, shape (d,).
        covariance: Σ₊ of the class 1, shape (d, d).
        negative_covariance: Σ₋ of the class 0 or −1, shape (d, d).
        prior: The share of the class 1.
    """

    midpoint: RealArray
    half_difference: RealArray
    covariance: RealArray
    negative_covariance: RealArray
    prior: float

    @property
    def mean_covariance(self) -> RealArray:
        """(Σ₊ + Σ₋)/2, on which the AUC of a direction depends."""
        return (self.covariance + self.negative_covariance) / 2


def moments_of_states(states: ArrayLike, labels: ArrayLike) -> ClassMoments:
    """Return the two classes' sample moments (covariances with n − 1).

    With fewer than d + 1 states in a class its covariance is singular: `predicted_auc` of a given
    direction takes that, `best_direction` refuses it.

    Args:
        states: Shape (n, d).
        labels: Shape (n,), the larger of its two values is the concept's.

    Raises:
        TypeError: If entries are not real numbers.
        ValueError: If shapes do not fit, an entry is NaN or infinite, there are not exactly two
            labels, or a class has fewer than two states.
        OverflowError: If a moment is larger than every double.

    Source: this project.

    Example:
        >>> moments = moments_of_states([[0.0], [2.0], [5.0], [7.0]], [0, 0, 1, 1])
        >>> moments.midpoint, moments.half_difference, moments.covariance
        (array([3.5]), array([2.5]), array([[2.]]))
    """
    x, y = finite_array("states", states), finite_array("labels", labels)
    if x.ndim != 2 or y.shape != x.shape[:1]:
        raise ValueError(f"states have shape {x.shape}, labels {y.shape}; (n, d), (n,) is allowed")
    values = np.unique(y)
    if len(values) != 2:
        raise ValueError(f"labels hold {len(values)} values; exactly two are allowed")
    negative, positive = (x[y == value] for value in values)
    if min(len(negative), len(positive)) < 2:
        raise ValueError(
            f"classes of {len(positive)} and {len(negative)} states; at least 2 each are allowed"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        upper, lower = positive.mean(axis=0), negative.mean(axis=0)
        midpoint, half_difference = (upper + lower) / 2, (upper - lower) / 2
        first, second = (np.atleast_2d(np.cov(z, rowvar=False)) for z in (positive, negative))
    if not all(np.isfinite(z).all() for z in (midpoint, half_difference, first, second)):
        raise OverflowError("states: a moment is larger than every double")
    return ClassMoments(midpoint, half_difference, first, second, len(positive) / len(x))


def half_difference_and_covariance(
    half_difference: ArrayLike, covariance: ArrayLike, name: str = "covariance"
) -> tuple[RealArray, RealArray]:
    """Return μ, shape (d,), not zero, and a covariance, shape (d, d), perhaps singular.

    Raises:
        TypeError: If entries are not real numbers.
        ValueError: If shapes do not fit, an entry is NaN or infinite, μ = 0, or the matrix is not
            symmetric to 1e-10 of its largest entry or has an eigenvalue below −1e-10 of it times d.
    """
    mu, sigma = finite_array("half_difference", half_difference), finite_array(name, covariance)
    if mu.ndim != 1 or sigma.shape != (len(mu), len(mu)):
        raise ValueError(
            f"half_difference has shape {mu.shape}, {name} {sigma.shape}; (d,), (d, d) is allowed"
        )
    if not mu.any():
        raise ValueError("half_difference is 0; the classes must have different means")
    sigma = _symmetrised(name, sigma)
    lowest = float(np.linalg.eigvalsh(sigma)[0])
    if lowest < -1e-10 * len(mu) * float(np.abs(sigma).max()):
        raise ValueError(f"{name} has the eigenvalue {lowest:.3g}; none below 0 is allowed")
    return mu, sigma


def positive_definite(name: str, value: ArrayLike, dimension: int) -> RealArray:
    """Return a covariance, shape (d, d).

    Raises:
        TypeError: If entries are not real numbers.
        ValueError: If the shape is not (d, d), an entry is NaN or infinite, it is not symmetric to
            1e-10 of its largest entry, or not positive definite.
    """
    sigma = finite_array(name, value)
    if sigma.shape != (dimension, dimension):
        raise ValueError(f"{name} has shape {sigma.shape}; {(dimension, dimension)} is allowed")
    sigma = _symmetrised(name, sigma)
    lowest, highest = np.linalg.eigvalsh(sigma)[[0, -1]]
    if lowest <= 1e-14 * highest:
        raise ValueError(f"{name} has the eigenvalue {lowest:.3g}; it must be positive definite")
    return sigma


def _symmetrised(name: str, sigma: RealArray) -> RealArray:
    if np.abs(sigma - sigma.T).max() > 1e-10 * np.abs(sigma).max():
        raise ValueError(f"{name} is not symmetric; a symmetric matrix is allowed")
    return sigma / 2 + sigma.T / 2


def definite_eigenvalues(sigma: RealArray) -> tuple[RealArray, RealArray]:
    """Return eigenvalues and eigenvectors (columns) of a positive definite Σ.

    Raises:
        ValueError: If Σ is singular to rounding; the message says how to mend it.
    """
    values, vectors = np.linalg.eigh(sigma)
    least, largest = float(values[0]), float(values[-1])
    if least <= len(values) * float(np.finfo(np.float64).eps) * largest:
        raise ValueError(
            f"covariance is singular (eigenvalues from {least:.3g} to {largest:.3g}); a positive "
            "definite one is allowed: add a ridge to its diagonal, or use more states"
        )
    return np.asarray(values), np.asarray(vectors)


def direction_vector(value: ArrayLike, dimension: int, name: str = "direction") -> RealArray:
    """Return a vector of shape (d,) that is not 0.

    Raises:
        TypeError: If entries are not real numbers.
        ValueError: If its shape is another, an entry is NaN or infinite, or it is 0.
    """
    v = finite_array(name, value)
    if v.shape != (dimension,):
        raise ValueError(f"{name} has shape {v.shape}; ({dimension},) is allowed")
    if not v.any():
        raise ValueError(f"{name} is 0; a vector that is not 0 is allowed")
    return v


def law_of_scores(
    direction: ArrayLike, half_difference: RealArray, *covariances: RealArray
) -> tuple[float, list[float]]:
    """Return vᵀμ and √(vᵀΣv) for each covariance, all over one positive number.

    What cannot be told from 0 by doubles is 0; the entries of v, μ and Σ may be of very different
    sizes, and as large or small as doubles are.

    Raises:
        TypeError: If v's entries are not real numbers.
        ValueError: If v has another shape than μ, an entry is NaN or infinite, or it is 0.
    """
    v = direction_vector(direction, len(half_difference))
    v, size = v / np.abs(v).max(), float(np.abs(half_difference).max())
    unit, largest = half_difference / size, max(float(np.abs(S).max()) for S in covariances) or 1.0
    rounding, weights = len(v) * float(np.finfo(np.float64).eps), np.abs(v)
    projection, spreads = float(v @ unit), []
    for S in (S / largest for S in covariances):
        variance = float(v @ S @ v)
        scale = float(weights @ np.sqrt(np.abs(np.diag(S)))) ** 2
        spreads.append(math.sqrt(variance) if variance > rounding * scale else 0.0)
    if abs(projection) <= rounding * float(weights @ np.abs(unit)):
        return 0.0, spreads
    return projection * (size / math.sqrt(largest)), spreads


def probability(name: str, value: float) -> float:
    """Return a number strictly between 0 and 1.

    Raises:
        TypeError: If it is not a real number.
        ValueError: If it, or the double nearest to it, is not strictly between 0 and 1.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} = {value!r} must be a number strictly between 0 and 1")
    if not 0 < value < 1:
        raise ValueError(f"{name} = {value!r} must be strictly between 0 and 1")
    if (number := float(value)) in (0.0, 1.0):
        raise ValueError(
            f"{name} = {value!r} rounds to {number}; strictly between 0 and 1 is needed"
        )
    return number


def real_number(name: str, value: float) -> float:
    """Return a finite number of either sign.

    Raises:
        TypeError: If it is not a real number.
        ValueError: If it is NaN, infinite or beyond the doubles.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} = {value!r} must be a finite number")
    if not -sys.float_info.max <= value <= sys.float_info.max:
        raise ValueError(f"{name} = {value!r} must be a finite number")
    return float(value)
