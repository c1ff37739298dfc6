"""Linearised Deep RFM, layer by layer, from its definition: explicit features and explicit AGOPs.

A layer fits ridge regression with the linear kernel xᵀz to one-hot labels, takes the AGOP M of the
fit, and maps the samples X to features whose Gram matrix is κ XᵀMX + λ_Φ I: √κ M^½X with √λ_Φ I
below it, a direction of its own for each sample.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import subspace_angles

from ..validation import RealArray, integer, positive
from .metrics import Labels, class_index, nc1, nc2


@dataclass(frozen=True, eq=False)
class LinearisedRun:
    """What happens in a run; entry ℓ is after ℓ layers, 0 the initial features.

    Attributes:
        sines: Sine of the largest angle between the top K eigenvectors of the Gram matrix and the
            span of the classes' indicators, shape (depth + 1,).
        nc1: Of the features, shape (depth + 1,).
        nc2: Of the features, shape (depth + 1,).
        gram: The last Gram matrix, shape (N, N).
    """

    sines: RealArray
    nc1: RealArray
    nc2: RealArray
    gram: RealArray


def linearised_deep_rfm(
    features: ArrayLike,
    labels: Labels,
    *,
    kernel_ridge: float,
    feature_ridge: float,
    scale: float = 1.0,
    depth: int,
) -> LinearisedRun:
    """Run linearised Deep RFM.

    Args:
        features: Initial samples as rows, shape (N, d).
        labels: The class of each sample, shape (N,).
        kernel_ridge: λ_k > 0.
        feature_ridge: λ_Φ > 0.
        scale: κ > 0.
        depth: Layers, at least 1.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If a parameter is out of its range, or as in `nc1` and `nc2`.
    """
    ridge, shift = positive("kernel_ridge", kernel_ridge), positive("feature_ridge", feature_ridge)
    kappa = positive("scale", scale)
    X = np.asarray(features, dtype=np.float64)
    if X.ndim != 2 or not X.size:
        raise ValueError(f"features have shape {X.shape}, must be (N, d), d >= 1")
    if not np.isfinite(X).all():
        raise ValueError("features hold NaN or infinite entries, must be finite")
    index, classes = class_index(labels, len(X))
    Y = np.eye(classes)[index.numpy()]
    found = [_state(X, Y)]
    for _ in range(integer("depth", depth, 1)):
        X = _layer(X, Y, ridge, shift, kappa)
        found.append(_state(X, Y))
    sines, first, second = np.array(found).T
    return LinearisedRun(sines, first, second, X @ X.T)


def _layer(X: RealArray, Y: RealArray, ridge: float, shift: float, kappa: float) -> RealArray:
    alpha = np.linalg.solve(X @ X.T + ridge * np.eye(len(X)), Y)
    gradients = X.T @ alpha  # (d, K): the same at every point, so that M is this times itself
    # M^½x and gradientsᵀx have the same inner products, and only those matter.
    signal = np.sqrt(kappa) * X @ gradients
    return np.hstack([signal, np.sqrt(shift) * np.eye(len(X))])


def _state(X: RealArray, Y: RealArray) -> tuple[float, float, float]:
    vectors = np.linalg.svd(X, full_matrices=False)[0][:, : Y.shape[1]]
    angle = float(subspace_angles(vectors, Y).max())
    labels = Y.argmax(axis=1)
    return float(np.sin(angle)), nc1(X, labels), nc2(X, labels)
