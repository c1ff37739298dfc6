"""Optimal shifts by solving for them, and divergences by quadrature of their definition."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from flint import fmpq, fmpq_mat

from .auc_brute import MP

Density = Callable[[Any], Any]


def constrained(cost: fmpq_mat, normal: fmpq_mat, change: fmpq) -> fmpq_mat:
    """The t with least tᵀ(cost)t and normalᵀt = change, from the bordered linear system."""
    d = cost.nrows()
    rows = [[*row, x] for row, x in zip(cost.tolist(), normal.entries(), strict=True)]
    matrix = fmpq_mat([*rows, [*normal.entries(), fmpq(0)]])
    right = fmpq_mat([[fmpq(0)] for _ in range(d)] + [[change]])
    return fmpq_mat([[x] for x in matrix.solve(right).entries()[:d]])


def mixture(upper: Any, lower: Any, prior: Any) -> Density:
    """π N(upper, 1) + (1 − π) N(lower, 1)."""
    return lambda x: prior * MP.npdf(x - upper) + (1 - prior) * MP.npdf(x - lower)


def mean_of(value: Density, density: Density, reach: Any = 15) -> Any:
    """∫ value · density."""
    return MP.quad(lambda x: value(x) * density(x), MP.linspace(-reach, reach, 9), maxdegree=6)


Law = tuple[float, float, float]
"""π N(upper, 1) + (1 − π) N(lower, 1): upper, lower, π."""


@lru_cache(maxsize=64)
def divergence(q: Law, p: Law, reach: float = 15.0) -> float:
    """KL(q‖p), by Gauss–Legendre sums in doubles."""
    z, weight = np.polynomial.legendre.leggauss(600)
    here, there = (_log_density(law, reach * z) for law in (q, p))
    return float(reach * weight @ (np.exp(here) * (here - there)))


def _log_density(law: Law, x: Any) -> Any:
    upper, lower, prior = law
    parts = (np.log(prior) - (x - upper) ** 2 / 2, np.log(1 - prior) - (x - lower) ** 2 / 2)
    return np.logaddexp(*parts) - np.log(2 * np.pi) / 2


@lru_cache(maxsize=32)
def tilted(delta: Any, prior: Any, b: Any) -> tuple[Any, Any]:
    """Mean logit's change and KL of e^{λL}p, b = 2λδ², p the mixture along its own axis."""
    p = mixture(delta, -delta, prior)
    rate = b / delta  # λL' = λ·2δx

    def weight(x: Any) -> Any:
        return MP.exp(rate * x)

    total = mean_of(weight, p)
    mean = mean_of(lambda x: weight(x) * 2 * delta * x, p) / total
    start = mean_of(lambda x: 2 * delta * x, p)
    log_ratio = mean_of(lambda x: weight(x) * (rate * x - MP.log(total)), p) / total
    return mean - start, log_ratio


@lru_cache(maxsize=32)
def tilted_class(delta: Any, tilt: Any) -> Any:
    """Mean logit's change of e^{λL} times a class's density."""
    total = mean_of(lambda x: MP.exp(2 * tilt * delta * x), MP.npdf)
    return mean_of(lambda x: 2 * delta * x * MP.exp(2 * tilt * delta * x), MP.npdf) / total


def plane_divergence(mu: Any, sigma: Any, prior: float, shift: Any) -> float:
    """KL of a mixture in the plane moved by a shift, by Gauss–Hermite sums around each class."""
    z, weight = np.polynomial.hermite_e.hermegauss(80)
    root, inverse = np.linalg.cholesky(sigma), np.linalg.inv(sigma)
    noise = np.stack(np.meshgrid(z, z, indexing="ij"), axis=-1) @ root.T
    weights = np.outer(weight, weight) / (2 * np.pi)

    def log_density(x: Any) -> Any:
        parts = [
            np.log(share) - np.einsum("...i,ij,...j", x - centre, inverse, x - centre) / 2
            for share, centre in ((prior, mu), (1 - prior, -mu))
        ]
        return np.logaddexp(*parts)

    total = 0.0
    for share, centre in ((prior, mu), (1 - prior, -mu)):
        x = noise + centre + shift
        total += share * float(np.sum(weights * (log_density(x - shift) - log_density(x))))
    return total
