r"""Aggregated detection: scores of several layers against the stacked layers themselves.

Given y = ±1 the stacked layers x = (x_1, …, x_L) are N(yμ, Σ), Σ ≻ 0 with blocks Σ_ℓm (a common
midpoint drops out). An aggregated detector sees only the scores s = Vᵀx, V block diagonal with the
concept vectors of layer ℓ in block ℓ. With m = Vᵀμ and C = VᵀΣV

    D² = mᵀC⁻¹m ≤ δ² = μᵀΣ⁻¹μ,      δ² - D² = ‖Σ^{1/2}(Σ⁻¹μ - Va)‖²,   a = C⁻¹m,

so that scores are as good as the stack if and only if V spans Σ⁻¹μ: one vector per layer is
enough, but it is the layer's block of Σ⁻¹μ, which depends on the other layers, and not the layer's
own Σ_ℓℓ⁻¹μ_ℓ. A layer appended to others adds

    (μ_2 - Σ_21Σ_11⁻¹μ_1)ᵀ(Σ_22 - Σ_21Σ_11⁻¹Σ_12)⁻¹(μ_2 - Σ_21Σ_11⁻¹μ_1) ≥ 0,

and all of its own separation if it is uncorrelated with them. Both hold for scores, with m and C
for μ and Σ. Each layer's own Bayes direction keeps at least D² ≥ δ²·4κ/(1 + κ)², κ the condition
number of Σ scaled to Σ_ℓℓ = I: it loses nothing for uncorrelated layers, and otherwise up to all
but this share. Derivations: `theory.concepts.aggregation_derivation`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import sympy
from numpy.typing import ArrayLike

from ..arrays import RealArray, finite_array
from ..matrix_words import matrices
from ..rfm.doubles import representable
from ..validation import integer
from .kantorovich import PRICE

_T = sympy.transpose
_LEAST_EIGENVALUE = 1e-13
"""Of a correlation matrix, for each of its rows: below it digits of the inverse are lost."""

COVARIANCE, PRECISION, MEAN = matrices("Sigma P mu")
VECTORS, SCORE_PRECISION = matrices("V R")

STACKED = _T(MEAN) * PRECISION * MEAN
"""δ², with P = Σ⁻¹."""

SCORES = _T(MEAN) * VECTORS * SCORE_PRECISION * _T(VECTORS) * MEAN
"""D², with R = (VᵀΣV)⁻¹."""

MISSED = PRECISION * MEAN - VECTORS * SCORE_PRECISION * _T(VECTORS) * MEAN
"""Σ⁻¹μ - Va, the part of the best detector that the scores miss: δ² - D² is its variance."""

COVARIANCE_1, PRECISION_1, CROSS, COVARIANCE_2 = matrices("A Ai B D")
SCHUR_PRECISION, MEAN_1, MEAN_2 = matrices("Q m1 m2")
MAP, OWN_MEAN, OWN_NOISE = matrices("E eta N")

_NEW = MEAN_2 - CROSS * PRECISION_1 * MEAN_1

GAIN = _T(_NEW) * SCHUR_PRECISION * _NEW
"""What layer 2 adds to layer 1: Ai = A⁻¹, Q = (D - B Ai Bᵀ)⁻¹, the covariance [[A, Bᵀ], [B, D]]."""

UNCORRELATED_GAIN = _T(MEAN_2) * SCHUR_PRECISION * MEAN_2
"""The gain for B = 0, where Q = D⁻¹: the layer's own separation."""

NESTED_GAIN = _T(OWN_MEAN) * SCHUR_PRECISION * OWN_MEAN
"""The gain of x_2 = E x_1 + u, u given y an N(yη, N) independent of x_1, where Q = N⁻¹."""


def loss(missed: sympy.Expr = MISSED) -> sympy.Expr:
    """Return δ² - D² = eᵀΣe, for a word e."""
    return _T(missed) * COVARIANCE * missed


@dataclass(frozen=True, eq=False)
class Aggregate:
    """The law of the scores of all layers, and the best linear combination of them.

    Attributes:
        mean: m = Vᵀμ, half the difference of the scores' class means, shape (k,) in all.
        covariance: C = VᵀΣV, shape (k, k).
        weights: a = C⁻¹m, shape (k,): the logit of the scores is 2aᵀs. Negative weights occur.
        separation: D² = mᵀC⁻¹m, squared, of half the difference of means.
        stacked: δ² of the stacked layers themselves.
        loss: δ² - D² >= 0, computed without cancellation; 0 iff Σ⁻¹μ = Va.
    """

    mean: RealArray
    covariance: RealArray
    weights: RealArray
    separation: float
    stacked: float
    loss: float


def stacked_separation(means: Sequence[ArrayLike], covariance: ArrayLike) -> float:
    """Return δ² = μᵀΣ⁻¹μ of the stacked layers.

    Args:
        means: μ_ℓ for each layer, shape (d_ℓ,): half the difference of the two class means.
        covariance: Σ of the stacked layers within a class, shape (d, d), d = Σ d_ℓ.

    Raises:
        TypeError: If entries are not real numbers.
        ValueError: If there is no layer, shapes do not fit, an entry is NaN or infinite, or Σ is
            not symmetric or not positive definite to double precision.
        OverflowError: If δ² is larger than every double.

    Source: this project.

    Example:
        >>> stacked_separation([[1.0], [0.0]], [[1.0, 0.6], [0.6, 1.0]])
        1.5625
    """
    with np.errstate(over="ignore"):
        return representable("the separation", float(layer_gains(means, covariance).sum()))


def layer_separations(means: Sequence[ArrayLike], covariance: ArrayLike) -> RealArray:
    """Return δ_ℓ² = μ_ℓᵀΣ_ℓℓ⁻¹μ_ℓ of each layer alone, shape (L,).

    Args:
        means: As in `stacked_separation`.
        covariance: As in `stacked_separation`.

    Raises:
        TypeError: As `stacked_separation`.
        ValueError: As `stacked_separation`.
        OverflowError: If one is larger than every double.

    Source: this project.

    Example:
        >>> layer_separations([[1.0], [0.0]], [[1.0, 0.6], [0.6, 1.0]])
        array([1., 0.])
    """
    mu, sigma = _stack(means, covariance)
    with np.errstate(over="ignore"):
        found = [np.sum(_whitened(m, _block(sigma, mu, i)) ** 2) for i, m in enumerate(mu)]
    return representable("a separation", np.array(found))


def layer_gains(means: Sequence[ArrayLike], covariance: ArrayLike) -> RealArray:
    """Return what each layer adds to the separation of those before it, shape (L,).

    They are not negative and add up to δ²; each depends on the order of the layers. For
    uncorrelated layers they are the layers' own separations.

    Args:
        means: As in `stacked_separation`.
        covariance: As in `stacked_separation`.

    Raises:
        TypeError: As `stacked_separation`.
        ValueError: As `stacked_separation`.
        OverflowError: If one is larger than every double.

    Source: this project.

    Example:
        >>> layer_gains([[1.0], [0.0]], [[1.0, 0.6], [0.6, 1.0]])
        array([1.    , 0.5625])
    """
    mu, sigma = _stack(means, covariance)
    with np.errstate(over="ignore"):
        squares = _whitened(np.concatenate(mu), sigma) ** 2
        found = np.add.reduceat(squares, _starts(mu))
    return representable("a separation", found)


def own_vectors(means: Sequence[ArrayLike], covariance: ArrayLike) -> tuple[RealArray, ...]:
    """Return Σ_ℓℓ⁻¹μ_ℓ, the direction of each layer's own Bayes detector, shapes (d_ℓ,).

    Args:
        means: As in `stacked_separation`.
        covariance: As in `stacked_separation`.

    Raises:
        TypeError: As `stacked_separation`.
        ValueError: As `stacked_separation`.
        OverflowError: If an entry is larger than every double.

    Source: this project.
    """
    mu, sigma = _stack(means, covariance)
    return tuple(_solved(_block(sigma, mu, i), m) for i, m in enumerate(mu))


def joint_vectors(means: Sequence[ArrayLike], covariance: ArrayLike) -> tuple[RealArray, ...]:
    """Return the blocks of Σ⁻¹μ, the only directions with one score per layer that lose nothing.

    A layer whose block is 0 adds nothing to the others: any vector will do there.

    Args:
        means: As in `stacked_separation`.
        covariance: As in `stacked_separation`.

    Raises:
        TypeError: As `stacked_separation`.
        ValueError: As `stacked_separation`.
        OverflowError: If an entry is larger than every double.

    Source: this project.

    Example:
        >>> joint_vectors([[1.0], [0.0]], [[1.0, 0.6], [0.6, 1.0]])
        (array([1.5625]), array([-0.9375]))
    """
    mu, sigma = _stack(means, covariance)
    return tuple(np.split(_solved(sigma, np.concatenate(mu)), _starts(mu)[1:]))


def largest_loss(sizes: Sequence[int], covariance: ArrayLike) -> float:
    """Return (1 + κ)²/(4κ) >= δ²/D² for scores of the layers' own Bayes directions, for all means.

    κ is the condition number of Σ after each layer is scaled to Σ_ℓℓ = I: 1 for uncorrelated
    layers. For two layers, one of at least two dimensions, it is the supremum over all means.

    Args:
        sizes: d_ℓ >= 1 of each layer.
        covariance: As in `stacked_separation`.

    Raises:
        TypeError: If a size is not an integer, or an entry is not a real number.
        ValueError: As `stacked_separation`, or a size is less than 1.

    Source: this project.

    Example:
        >>> largest_loss([1, 2], [[1.0, 0.6, 0.0], [0.6, 1.0, 0.0], [0.0, 0.0, 1.0]])
        1.5625
    """
    blank = [np.zeros(integer(f"sizes[{i}]", d, 1)) for i, d in enumerate(sizes)]
    mu, sigma = _stack(blank, covariance)
    correlation = _scaled_to_layers(mu, sigma)
    eigenvalues = np.linalg.eigvalsh(correlation / 2 + correlation.T / 2)
    return float(PRICE(float(eigenvalues[-1] / eigenvalues[0])))


def aggregated(
    means: Sequence[ArrayLike], covariance: ArrayLike, vectors: Sequence[ArrayLike]
) -> Aggregate:
    """Return the law of the scores and their best linear combination.

    Args:
        means: As in `stacked_separation`.
        covariance: As in `stacked_separation`.
        vectors: For each layer one concept vector, shape (d_ℓ,), or k_ℓ >= 1 of them as rows,
            shape (k_ℓ, d_ℓ), linearly independent; of any norm and sign.

    Raises:
        TypeError: As `stacked_separation`.
        ValueError: As `stacked_separation`, or vectors of a layer are missing, have another shape
            or are linearly dependent to double precision (a zero vector is).
        OverflowError: If a separation is larger than every double.

    Source: this project.

    Example:
        >>> aggregated([[1.0], [1.0, 0.0]], np.eye(3), [[1.0], [1.0, 1.0]]).separation
        1.5
    """
    mu, sigma = _stack(means, covariance)
    V, mean = _block_diagonal(mu, vectors), np.concatenate(mu)
    with np.errstate(over="ignore", invalid="ignore"):
        m, C = V.T @ mean, V.T @ sigma @ V
    _refuse_dependent(C)
    with np.errstate(over="ignore"):
        separation, stacked = (
            representable("the separation", float(np.sum(_whitened(*law) ** 2)))
            for law in ((m, C), (mean, sigma))
        )
    weights = _solved(C, m)
    missed = np.linalg.cholesky(sigma).T @ (_solved(sigma, mean) - V @ weights)
    return Aggregate(m, C, weights, separation, stacked, float(missed @ missed))


def weighted_separation(mean: ArrayLike, covariance: ArrayLike, weights: ArrayLike) -> float:
    """Return (aᵀm)²/(aᵀCa), the squared separation of scores combined with given weights.

    It is at most D² = mᵀC⁻¹m, with equality iff a is a multiple of C⁻¹m. Equal weights can be
    worse than the best score alone: see `theory.concepts.layer_scores`.

    Args:
        mean: m, shape (k,): half the difference of the class means of each score.
        covariance: C of the scores within a class, shape (k, k).
        weights: a, shape (k,), not all 0.

    Raises:
        TypeError: If entries are not real numbers.
        ValueError: If shapes do not fit, an entry is NaN or infinite, C is not symmetric or not
            positive definite, or all weights are 0.
        OverflowError: If the separation is larger than every double.

    Source: this project.

    Example:
        >>> weighted_separation([1.0, 0.0], np.eye(2), [1.0, 1.0])
        0.5
    """
    mu, C = _stack([mean], covariance)
    a = finite_array("weights", weights)
    if a.shape != mu[0].shape:
        raise ValueError(f"weights have shape {a.shape}; {mu[0].shape} is allowed, as of the mean")
    deviation = np.sqrt(np.diag(C))
    a = a / (np.abs(a).max() or 1.0) * (deviation / deviation.max())
    if not a.any():
        raise ValueError("weights are all 0, as far as doubles go; at least one must differ from 0")
    a = a / np.abs(a).max()
    projection = float(a @ (mu[0] / deviation))
    return representable("the separation", projection / float(a @ _correlation(C) @ a) * projection)


# --- at the door ------------------------------------------------------------------------------


def _stack(
    means: Sequence[ArrayLike], covariance: ArrayLike
) -> tuple[tuple[RealArray, ...], RealArray]:
    mu = tuple(_vector(f"means[{i}]", mean) for i, mean in enumerate(means))
    if not mu:
        raise ValueError("means holds no layer; at least 1 is needed")
    sigma = finite_array("covariance", covariance)
    size = sum(map(len, mu))
    if sigma.shape != (size, size):
        sizes = " + ".join(str(len(m)) for m in mu)
        raise ValueError(
            f"covariance has shape {sigma.shape}; ({size}, {size}) is allowed, for layers of "
            f"{sizes} dimensions"
        )
    _refuse_indefinite(sigma)
    return mu, sigma / 2 + sigma.T / 2


def _vector(name: str, value: ArrayLike) -> RealArray:
    vector = finite_array(name, value)
    if vector.ndim != 1:
        raise ValueError(f"{name} has shape {vector.shape}; (d,) is allowed")
    return vector


def _refuse_indefinite(sigma: RealArray) -> None:
    diagonal = np.diag(sigma)
    if diagonal.min() <= 0:
        raise ValueError(
            f"covariance has {diagonal.min()} on its diagonal; a positive definite one is allowed"
        )
    correlation = _correlation(sigma)
    if np.abs(correlation - correlation.T).max() > 1e-10:
        raise ValueError("covariance is not symmetric; a symmetric matrix is allowed")
    lowest = _lowest(correlation)
    if lowest < _LEAST_EIGENVALUE * len(sigma):
        raise ValueError(
            f"covariance is not positive definite: scaled to a unit diagonal it has the eigenvalue "
            f"{lowest:.3g}; a layer that repeats others adds nothing: leave it out"
        )


def _refuse_dependent(C: RealArray) -> None:
    if np.diag(C).min() < np.finfo(np.float64).tiny:
        raise ValueError("vectors hold a zero vector, or one too small for doubles to square")
    representable("a score's variance", C)
    if _lowest(_correlation(C)) < _LEAST_EIGENVALUE * len(C):
        raise ValueError("vectors are linearly dependent; independent ones are allowed")


def _correlation(C: RealArray) -> RealArray:
    deviation = np.sqrt(np.diag(C))
    return np.asarray(C / deviation[:, np.newaxis] / deviation)


def _lowest(correlation: RealArray) -> float:
    return float(np.linalg.eigvalsh(correlation / 2 + correlation.T / 2)[0])


def _block_diagonal(mu: Sequence[RealArray], vectors: Sequence[ArrayLike]) -> RealArray:
    """V, shape (d, k)."""
    if len(vectors) != len(mu):
        raise ValueError(f"vectors holds {len(vectors)} layers; {len(mu)} are needed, as in means")
    rows = [
        _rows(f"vectors[{i}]", v, len(m)) for i, (v, m) in enumerate(zip(vectors, mu, strict=True))
    ]
    V = np.zeros((sum(map(len, mu)), sum(map(len, rows))))
    top = left = 0
    for block in rows:
        V[top : top + block.shape[1], left : left + len(block)] = block.T
        top, left = top + block.shape[1], left + len(block)
    return V


def _rows(name: str, value: ArrayLike, dimension: int) -> RealArray:
    rows = finite_array(name, value)
    if rows.ndim not in (1, 2) or rows.shape[-1] != dimension:
        raise ValueError(
            f"{name} has shape {rows.shape}; ({dimension},) or (k, {dimension}) is allowed"
        )
    return np.atleast_2d(rows)


# --- linear algebra ---------------------------------------------------------------------------


def _starts(mu: Sequence[RealArray]) -> list[int]:
    return [int(start) for start in np.cumsum([0, *map(len, mu[:-1])])]


def _block(sigma: RealArray, mu: Sequence[RealArray], layer: int) -> RealArray:
    start = _starts(mu)[layer]
    end = start + len(mu[layer])
    return sigma[start:end, start:end]


def _scaled_to_layers(mu: Sequence[RealArray], sigma: RealArray) -> RealArray:
    """L⁻¹ΣL⁻ᵀ for L block diagonal with L_ℓL_ℓᵀ = Σ_ℓℓ."""
    L = np.zeros_like(sigma)
    for i, start in enumerate(_starts(mu)):
        own = slice(start, start + len(mu[i]))
        L[own, own] = np.linalg.cholesky(sigma[own, own])
    return np.asarray(np.linalg.solve(L, np.linalg.solve(L, sigma).T))


def _whitened(mean: RealArray, covariance: RealArray) -> RealArray:
    """L⁻¹μ, Σ = LLᵀ: the squares of its first entries are the separation of the first layers."""
    deviation = np.sqrt(np.diag(covariance))
    L = np.linalg.cholesky(_correlation(covariance))
    return np.asarray(np.linalg.solve(L, mean / deviation))


def _solved(covariance: RealArray, mean: RealArray) -> RealArray:
    deviation = np.sqrt(np.diag(covariance))
    with np.errstate(over="ignore", invalid="ignore"):
        found = np.linalg.solve(_correlation(covariance), mean / deviation) / deviation
    return representable("a direction", np.asarray(found))
