"""What directions, thresholds and PCA do to two Gaussian classes, from the definitions alone."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import mpmath
import numpy as np
from flint import fmpq, fmpq_mat
from scipy import stats

MP = mpmath.MPContext()
MP.dps = 30


def phi(x: Any) -> Any:
    """The normal distribution function."""
    return MP.erfc(-x / MP.sqrt(2)) / 2


@lru_cache(maxsize=64)
def area(upper: Any, lower: Any, p: Any, q: Any) -> Any:
    """P(s₊ > s₋), s₊ ~ N(upper, p), s₋ ~ N(lower, q): the tail of one over the density of other."""
    spread = MP.sqrt(q)

    def integrand(z: Any) -> Any:
        return MP.npdf(z) * phi((upper - lower - spread * z) / MP.sqrt(p))

    return MP.quad(integrand, [-13, -6, -3, 0, 3, 6, 13])


@lru_cache(maxsize=64)
def worst_gap(eta: Any) -> Any:
    """Where Φ(√2 δ) − Φ(√2 ηδ) is largest."""
    root = MP.sqrt(2)
    return MP.findroot(lambda d: MP.npdf(root * d) - eta * MP.npdf(root * eta * d), 0.8)


@lru_cache(maxsize=64)
def best_threshold(a: Any, s: Any, prior: Any) -> tuple[Any, Any]:
    """Where the error is least, and how large it is."""

    def error(t: Any) -> Any:
        return prior * phi((t - a) / s) + (1 - prior) * phi((-a - t) / s)

    def slope(t: Any) -> Any:
        return prior * MP.npdf(t, a, s) - (1 - prior) * MP.npdf(t, -a, s)

    t = MP.findroot(slope, (-a, a), solver="anderson")
    return t, error(t)


def drawn(d: int, rng: np.random.Generator) -> tuple[fmpq_mat, fmpq_mat]:
    """μ and Σ ≻ 0 with small integer entries."""
    A = rng.integers(-3, 4, (d, d))
    sigma = A @ A.T + np.eye(d, dtype=int)
    mu = rng.integers(1, 5, (d, 1)) * rng.choice([-1, 1], (d, 1))
    return fmpq_mat(mu.tolist()), fmpq_mat(sigma.tolist())


def form(x: fmpq_mat, A: fmpq_mat, y: fmpq_mat) -> fmpq:
    """xᵀAy."""
    return (x.transpose() * A * y)[0, 0]


def real(matrix: fmpq_mat) -> Any:
    """The same matrix in doubles."""
    return np.array([[float(int(x.p)) / int(x.q) for x in row] for row in matrix.tolist()])


def high(number: fmpq) -> Any:
    """A fraction in many digits."""
    return MP.mpf(int(number.p)) / int(number.q)


def top(mu: fmpq_mat, S: fmpq_mat, a: fmpq) -> tuple[Any, Any]:
    """The largest eigenvalue of S + aμμᵀ and its eigenvector, in many digits."""
    M = S + mu * mu.transpose() * a
    matrix = MP.matrix([[high(x) for x in row] for row in M.tolist()])
    values, vectors = MP.eigsy(matrix)
    return values[len(values) - 1], vectors[:, len(values) - 1]


def principal_case(d: int, a: fmpq, rng: np.random.Generator) -> tuple[Any, Any, Any]:
    """θ, q₂ = μᵀ(θ − Σ)⁻²μ, and the separation of PCA's direction, in many digits."""
    mu, sigma = drawn(d, rng)
    theta, v = top(mu, sigma, a)
    m = MP.matrix([[high(x)] for x in mu.entries()])
    S = MP.matrix([[high(x) for x in row] for row in sigma.tolist()])
    solved = MP.lu_solve(theta * MP.eye(d) - S, m)
    projection = (v.T * m)[0]
    return theta, (solved.T * solved)[0], abs(projection) / MP.sqrt((v.T * S * v)[0])


def moments_of_law(
    mu: Sequence[int], content: Sequence[Sequence[int]], noise: Sequence[Sequence[int]], share: fmpq
) -> tuple[fmpq_mat, fmpq_mat]:
    """Total covariance of states and second moment of pairs, by going through every outcome.

    States yμ + c + e, where c and e are any of the given vectors or their negatives, with equal
    chances; pairs share c.
    """
    c_all = [*content, *([-x for x in row] for row in content)]
    e_all = [*noise, *([-x for x in row] for row in noise)]
    d = len(mu)
    states, pairs = fmpq_mat(d, d), fmpq_mat(d, d)
    mean = fmpq_mat(d, 1)
    column = fmpq_mat([[x] for x in mu])
    for c, e in itertools.product(c_all, e_all):
        noisy = fmpq_mat([[x + y] for x, y in zip(c, e, strict=True)])
        for sign, weight in ((1, share), (-1, 1 - share)):
            x, chance = column * sign + noisy, weight / (len(c_all) * len(e_all))
            states, mean = states + x * x.transpose() * chance, mean + x * chance
    for c, e, f in itertools.product(c_all, e_all, e_all):
        upper = fmpq_mat([[m + x + y] for m, x, y in zip(mu, c, e, strict=True)])
        lower = fmpq_mat([[-m + x + y] for m, x, y in zip(mu, c, f, strict=True)])
        gap = upper - lower
        pairs = pairs + gap * gap.transpose() * fmpq(1, len(c_all) * len(e_all) ** 2)
    return states - mean * mean.transpose(), pairs


def covariance_of(vectors: Sequence[Sequence[int]]) -> fmpq_mat:
    """Covariance of one of the vectors or their negatives, with equal chances."""
    d = len(vectors[0])
    total = fmpq_mat(d, d)
    for row in vectors:
        column = fmpq_mat([[x] for x in row])
        total = total + column * column.transpose() * fmpq(1, len(vectors))
    return total


@lru_cache(maxsize=16)
def mean_area(delta: float, d: int, tau: float) -> float:
    """E Φ(√2 r(μ + τg)) over g's part along μ and the length of the rest, d >= 2."""
    z, weight = np.polynomial.legendre.leggauss(400)
    along = delta + tau * 9 * z
    rest = stats.chi2(d - 1).ppf(np.clip((1 + z) / 2, 1e-300, 1)) * tau**2
    r = delta * along[:, None] / np.sqrt(along[:, None] ** 2 + rest)
    outer = weight * 9 * stats.norm.pdf(9 * z)
    return float(outer @ stats.norm.cdf(np.sqrt(2) * r) @ (weight / 2))


def exceeds(d: int, upper: float, lower: float) -> float:
    """P(A > B) of noncentral χ²_d variables, by quadrature over √A."""
    z, weight = np.polynomial.legendre.leggauss(300)
    middle, reach = np.sqrt(upper + d), 9.0
    low = max(0.0, middle - reach)
    half = (middle + reach - low) / 2
    root = low + half * (z + 1)
    density = 2 * root * stats.ncx2.pdf(root**2, d, upper)
    return float((weight * half) @ (density * stats.ncx2.cdf(root**2, d, lower)))
