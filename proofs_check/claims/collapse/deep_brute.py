"""Deep RFM and the collapse metrics from their definitions, for the claim on trained machines.

NumPy and SciPy alone: nothing is shared with the fast machines in `numerics`, which have to agree.
Covariances are formed as matrices here, gradients by differences of points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

Floats: TypeAlias = NDArray[np.float64]
Labels: TypeAlias = NDArray[np.int64]

BANDWIDTH, RIDGE = 2.0, 1e-3
"""Paper B's Laplace kernel."""


@dataclass(frozen=True, eq=False)
class Fit:
    """f(x) = Σ_i α_i exp(−‖x − x_i‖/L) with α = (K + λI)^{−1}Y, of one layer.

    Attributes:
        points: The layer's samples, rows at unit norm, shape (n, d).
        targets: One-hot labels, shape (n, K).
        alpha: Shape (n, K).
    """

    points: Floats
    targets: Floats
    alpha: Floats


Step: TypeAlias = Callable[[Fit], Floats]
"""From a layer's fit to its M, shape (d, d)."""

Maps: TypeAlias = dict[str, Floats]
"""The three maps of one layer: "inputs" X, "mapped" XM^½ and "features" Φ(XM^½)."""


def fitted(points: Floats, targets: Floats) -> Fit:
    """Kernel ridge regression with M = I."""
    K = np.exp(-distances(points) / BANDWIDTH)
    alpha = cho_solve(cho_factor(K + RIDGE * np.eye(len(points))), targets)
    return Fit(points, targets, alpha)


def distances(points: Floats) -> Floats:
    """‖x − z‖ for all pairs."""
    norms = np.sum(points**2, axis=1)
    r: Floats = np.sqrt(np.maximum(norms[:, None] + norms - 2 * points @ points.T, 0.0))
    np.fill_diagonal(r, 0.0)
    return r


def agop(fit: Fit) -> Floats:
    """(1/n) Σ_x Σ_c ∇f_c ∇f_cᵀ at the points, ∇f_c(x) = Σ_i α_ic exp(−r_i/L)/(L r_i)(x_i − x)."""
    r = distances(fit.points)
    r[r == 0] = np.inf  # a point itself, which has no gradient there
    weights = np.exp(-r / BANDWIDTH) / (BANDWIDTH * r)
    total = np.zeros((fit.points.shape[1],) * 2)
    for alpha in fit.alpha.T:
        pulls = weights @ (alpha[:, None] * fit.points) - (weights @ alpha)[:, None] * fit.points
        total += pulls.T @ pulls
    return total / len(fit.points)


def over_largest(matrix: Floats) -> Floats:
    """The matrix over its largest entry."""
    scaled: Floats = matrix / matrix.max()
    return scaled


def agop_step(fit: Fit) -> Floats:
    """The AGOP over its largest entry: M of paper B."""
    return over_largest(agop(fit))


def no_step(fit: Fit) -> Floats:
    """M = I: the layer of a random network."""
    return np.eye(fit.points.shape[1])


def root(matrix: Floats) -> Floats:
    """M^½, negative eigenvalues clipped."""
    values, vectors = np.linalg.eigh(matrix)
    half: Floats = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    return half


def layers(
    points: Floats,
    labels: Labels,
    weights: list[Floats],
    step: Step,
    square_root: Callable[[Floats], Floats] = root,
) -> Iterator[Maps]:
    """Deep RFM with these matrices W of its layers' ReLU(Wx), one after the other."""
    targets = np.eye(labels.max() + 1)[labels]
    for W in weights:
        inputs = points / np.linalg.norm(points, axis=1, keepdims=True)
        M = step(fitted(inputs, targets))
        mapped = inputs @ square_root(M)
        points = np.maximum(mapped @ W.T, 0.0)
        yield {"inputs": inputs, "mapped": mapped, "features": points}


def random_weights(d: int, width: int, depth: int, rng: np.random.Generator) -> list[Floats]:
    """W of every layer, uniform on ±1/√(its inputs' dimension)."""
    sizes = [d] + [width] * (depth - 1)
    return [rng.uniform(-1, 1, (width, size)) / np.sqrt(size) for size in sizes]


# The metrics


def class_means(features: Floats, labels: Labels) -> Floats:
    """Shape (K, d)."""
    return np.array([features[labels == c].mean(axis=0) for c in range(labels.max() + 1)])


def first_metric(features: Floats, labels: Labels) -> float:
    """NC1 = tr Σ_W / tr Σ_B."""
    means = class_means(features, labels)
    deviations, centred = features - means[labels], means - means.mean(axis=0)
    within = deviations.T @ deviations / len(features)
    between = centred.T @ centred / len(means)
    return float(np.trace(within) / np.trace(between))


def second_metric(features: Floats, labels: Labels) -> float:
    """NC2: mean squared entry of ŨŨᵀ less the simplex frame's Gram matrix."""
    means = class_means(features, labels)
    centred = means - means.mean(axis=0)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    K = len(means)
    frame = (1 + 1 / (K - 1)) * np.eye(K) - np.ones((K, K)) / (K - 1)
    return float(np.mean((unit @ unit.T - frame) ** 2))
