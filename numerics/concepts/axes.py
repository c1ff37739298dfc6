"""The signs and axes in which vectors of different folds can be compared.

The detector's aggregator learns from projections onto vectors that other folds of the samples gave,
and is used on projections onto those that all samples gave. Eigenvectors are given up to their
sign, and where eigenvalues are equal or nearly so, up to a rotation: y = x₁x₂ has the AGOP
diag(1, 1, 0, …), and every fold would have its own axes in the plane of x₁ and x₂.

Turning each fold's vectors towards those of all samples (Procrustes) would mend this and leak: that
rotation depends on the labels of the samples held out. So each set of vectors is settled by what
the samples it was learned from say alone, in a matrix whose eigenvalues differ wherever the label
tells the axes apart,

    B_ab = √(λ_a λ_b)/λ₁ · (δ_ab + E[ỹ p_a p_b]/(σ_a σ_b)),

with eigenvalues λ, projections p less their means, their standard deviations σ, and the label ỹ,
standardised. For y = sign(x₁x₂) its axes are those of x₁ + x₂ and x₁ − x₂. Axes that B leaves open
are alike in all that the label has to do with the projections' second moments.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .targets import Numbers, Target


def signed(vectors: Numbers, X: NDArray[Any], target: Target) -> Numbers:
    """The vectors with signs by which their projections go with what is detected.

    For two classes: a positive correlation with the second. For more classes: with that indicator
    of a class to which the correlation is strongest. For a numeric concept: with the number.

    Args:
        vectors: Shape (k, d).
        X: Shape (n, d).
        target: Of the n samples.
    """
    indicators = target.indicators - target.indicators.mean(axis=0)
    scale = np.sqrt((indicators**2).sum(axis=0))
    covariances = projections(X, vectors).T @ (indicators / np.where(scale > 0, scale, 1))
    strongest = np.abs(covariances).argmax(axis=1)
    values = covariances[np.arange(len(vectors)), strongest]
    return vectors * np.where(values < 0, -1.0, 1.0)[:, None]


def settled(vectors: Numbers, spectrum: Numbers, X: NDArray[Any], target: Target) -> Numbers:
    """Orthonormal axes of the vectors' span that do not depend on the basis; see above.

    Args:
        vectors: Orthonormal, shape (k, d).
        spectrum: Their eigenvalues λ, largest first, shape (k,).
        X: The samples that the vectors were learned from, shape (n, d).
        target: Of these samples.
    """
    weights = np.sqrt(spectrum.clip(min=0) / spectrum[0]) if spectrum[0] > 0 else spectrum * 0
    label = target.numbers - target.numbers.mean()
    label /= label.std() or 1.0
    p = projections(X, vectors)
    spread = p.std(axis=0)
    p /= np.where(spread > 0, spread, 1)
    B = (np.eye(len(vectors)) + (p.T * label) @ p / len(p)) * weights[:, None] * weights
    _, rotation = np.linalg.eigh((B + B.T) / 2)
    return signed(np.ascontiguousarray(rotation.T[::-1]) @ vectors, X, target)


def projections(X: NDArray[Any], vectors: Numbers) -> Numbers:
    """(X − mean)·v in double precision, shape (n, k)."""
    X = X.astype(np.float64)
    p: Numbers = (X - X.mean(axis=0)) @ vectors.T
    return p
