"""Recursive feature machines from their definition, for the claim on recovery.

NumPy and SciPy alone: nothing is shared with the fast machines in `numerics`, which have to agree.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, eigh

Floats: TypeAlias = NDArray[np.float64]

Features: TypeAlias = Callable[["Machine"], Floats]
"""The AGOP of a machine at its own points."""

Metric: TypeAlias = Callable[[Floats, float], Floats]
"""(AGOP, exponent) -> the next round's M."""

BANDWIDTH, RIDGE = 10.0, 1e-3
"""Paper E's Laplace kernel."""


@dataclass(frozen=True, eq=False)
class Machine:
    """f(x) = Σ_i α_i exp(−‖x − x_i‖_M/L) with α = (K + λI)^{−1}y."""

    points: Floats
    targets: Floats
    coefficients: Floats
    metric: Floats

    def __call__(self, inputs: Floats) -> Floats:
        """Its predictions."""
        r = distances(inputs, self.points, self.metric)
        values: Floats = np.exp(-r / BANDWIDTH) @ self.coefficients
        return values


def fitted(points: Floats, targets: Floats, metric: Floats) -> Machine:
    """Solve for the coefficients."""
    r = distances(points, points, metric)
    np.fill_diagonal(r, 0.0)
    K = np.exp(-r / BANDWIDTH) + RIDGE * np.eye(len(points))
    return Machine(points, targets, cho_solve(cho_factor(K), targets), metric)


def distances(X: Floats, Z: Floats, M: Floats) -> Floats:
    """‖x − z‖_M for all pairs."""
    XM, ZM = X @ M, Z @ M
    squares = np.sum(XM * X, axis=1)[:, None] + np.sum(ZM * Z, axis=1) - 2 * XM @ Z.T
    r: Floats = np.sqrt(np.maximum(squares, 0.0))
    return r


def gradients(machine: Machine) -> Floats:
    """∇f(x_j) = Σ_{i≠j} α_i exp(−r_ij/L)/(L r_ij) M(x_i − x_j), shape (n, d)."""
    return gradients_with_self_term(machine, 0.0)


def gradients_with_self_term(machine: Machine, kept: float) -> Floats:
    """The gradients; `kept` is the weight that 1/r_jj has in Σ_i w_ij x_i, where 0 is right."""
    X, alpha = machine.points, machine.coefficients
    r = distances(X, X, machine.metric)
    np.fill_diagonal(r, 1.0)
    weights = np.exp(-r / BANDWIDTH) / (BANDWIDTH * r)
    np.fill_diagonal(weights, 0.0)
    pulls = weights @ (alpha[:, None] * X) - (weights @ alpha)[:, None] * X
    own: Floats = (pulls + kept / BANDWIDTH * alpha[:, None] * X) @ machine.metric
    return own


def mean_outer_product(vectors: Floats) -> Floats:
    """(1/n) Σ v vᵀ."""
    mean: Floats = vectors.T @ vectors / len(vectors)
    return mean


def agop(machine: Machine) -> Floats:
    """The average gradient outer product at the training points."""
    return mean_outer_product(gradients(machine))


def power_over_largest(matrix: Floats, exponent: float) -> Floats:
    """A^s divided by its largest entry: the next metric."""
    powered = matrix if exponent == 1 else _power(matrix, exponent)
    metric: Floats = powered / powered.max()
    return metric


def _power(matrix: Floats, exponent: float) -> Floats:
    values, vectors = np.linalg.eigh(matrix)
    powered: Floats = (vectors * np.maximum(values, 0.0) ** exponent) @ vectors.T
    return powered


@dataclass(frozen=True, eq=False)
class Recursion:
    """A machine after its rounds, and its AGOP."""

    machine: Machine
    agop: Floats


def recursion(
    points: Floats,
    targets: Floats,
    rounds: int,
    exponent: float,
    features: Features = agop,
    metric: Metric = power_over_largest,
) -> Recursion:
    """Start from M = I; in every round M becomes the (powered, scaled) AGOP of the last machine."""
    machine = fitted(points, targets, np.eye(points.shape[1]))
    for _ in range(rounds):
        machine = fitted(points, targets, metric(features(machine), exponent))
    return Recursion(machine, features(machine))


def largest_sine(matrix: Floats, directions: Floats) -> float:
    """Sine of the largest principal angle of the top eigenspace against a subspace of its size.

    ‖(I − VVᵀ)U‖ and not √(1 − cos²), which has no digits below 1e-8.
    """
    d, r = directions.shape
    vectors = eigh(matrix, subset_by_index=[d - r, d - 1])[1]
    return float(np.linalg.norm(directions - vectors @ (vectors.T @ directions), 2))


# Kernel ridge regression without features

BANDWIDTHS = (10.0, 100.0)
"""The kernel tends to a constant less r/L as L grows, where a larger L is a smaller ridge: on pilot
data 30, 300 and 1000 were never better than 100 by more than 1 %, and 3 was worse than 10."""
RIDGES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)


@dataclass(frozen=True)
class Ridge:
    """The best kernel ridge regression on validation data.

    Attributes:
        error: Its mean squared error on the test data.
        bandwidth: Its L.
        ridge: Its λ.
    """

    error: float
    bandwidth: float
    ridge: float


def best_kernel_ridge(train: Any, validation: Any, test: Any) -> Ridge:
    """The same kernel with M = I; bandwidth and ridge are those of the least validation error."""
    eye, found = np.eye(train.inputs.shape[1]), []
    r, apart, other = (distances(s.inputs, train.inputs, eye) for s in (train, validation, test))
    np.fill_diagonal(r, 0.0)
    for L in BANDWIDTHS:
        values, vectors = np.linalg.eigh(np.exp(-r / L))
        rotated = vectors.T @ train.targets / (values + np.array(RIDGES)[:, None])
        known, unknown = (np.exp(-x / L) @ (vectors @ rotated.T) for x in (apart, other))
        for guess, prediction, ridge in zip(known.T, unknown.T, RIDGES, strict=True):
            chosen = Ridge(_error(prediction, test.targets), L, ridge)
            found.append((_error(guess, validation.targets), chosen))
    return min(found, key=lambda pair: pair[0])[1]


def _error(predictions: Floats, targets: Floats) -> float:
    return float(np.mean((predictions - targets) ** 2))


def error_on(machine: Callable[[Floats], Floats], test: Any) -> float:
    """Mean squared error."""
    return _error(machine(test.inputs), test.targets)
