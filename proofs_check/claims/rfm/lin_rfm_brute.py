"""lin-RFM from its definition: exact rounds in fractions, and iterations to many digits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import mpmath
import numpy as np
from flint import fmpq, fmpq_mat

DIGITS = 40
ROUNDS = 4000


@lru_cache(maxsize=1)
def context() -> Any:
    """A context of our own, so that nobody else's precision changes; matrices of two do not mix."""
    found = mpmath.MPContext()
    found.dps = DIGITS
    return found


# ── exact ────────────────────────────────────────────────────────────────────────────────────────


def fractions(rows: Sequence[Sequence[int | Fraction]]) -> Any:
    """A flint matrix of rationals."""
    entries = [[fmpq(Fraction(x).numerator, Fraction(x).denominator) for x in row] for row in rows]
    return fmpq_mat(entries)


def integers(rows: int, columns: int, rng: np.random.Generator) -> Any:
    """Small integers over 2."""
    drawn = rng.integers(-6, 7, (rows, columns)).tolist()
    return fractions([[Fraction(x, 2) for x in row] for row in drawn])


def frame(size: int, columns: int, rng: np.random.Generator) -> Any:
    """Orthonormal columns with rational entries: Cayley's transform of a skew matrix."""
    upper = np.triu(rng.integers(-3, 4, (size, size)), 1)
    skew, one = fractions((upper - upper.T).tolist()), fractions(np.eye(size, dtype=int).tolist())
    rotation = (one - skew * fmpq(1, 2)) * (one + skew * fmpq(1, 2)).inv()
    return fmpq_mat([row[:columns] for row in rotation.tolist()])


def diagonal(values: Sequence[Fraction]) -> Any:
    """A diagonal matrix."""
    return fractions([[x if i == k else 0 for k in range(len(values))]
                      for i, x in enumerate(values)])  # fmt: skip


def inner(A: Any, B: Any) -> Any:
    """⟨A, B⟩, for flint's matrices."""
    product = A.transpose() * B
    return sum((product[i, i] for i in range(1, product.nrows())), product[0, 0])


def exact_round(measurements: Sequence[Any], values: Sequence[Any], features: Any) -> Any:
    """The next X, with M^β given: W of least norm with ⟨A_i M^β, W⟩ = y_i, then X = W M^β."""
    moved = [A * features for A in measurements]
    gram = fmpq_mat([[inner(a, b) for b in moved] for a in moved])
    weights = gram.solve(fmpq_mat([[y] for y in values]))
    W = moved[0] * weights[0, 0]
    for place, a in enumerate(moved[1:], 1):
        W = W + a * weights[place, 0]
    return W * features


# ── iterated ─────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Iterated:
    """Where lin-RFM came to rest.

    Attributes:
        X: The fixed point.
        measurements: The A_i.
        multipliers: λ of the last round.
        change: ‖X_t - X_{t-1}‖ in the last round.
        rounds: How many rounds that took.
    """

    X: Any
    measurements: tuple[Any, ...]
    multipliers: Any
    change: Any
    rounds: int


def spectral(mp: Any, matrix: Any, power: Any) -> Any:
    """A power of a symmetric positive definite matrix."""
    values, vectors = mp.eigsy(matrix)
    return vectors * mp.diag([value**power for value in values]) * vectors.T


def _inner(mp: Any, A: Any, B: Any) -> Any:
    return mp.fsum(a * b for a, b in zip(A, B, strict=True))


@lru_cache(maxsize=32)
def iterated(
    size: int, count: int, power: Fraction, beta: Fraction, smoothing: Fraction, seed: int
) -> Iterated:
    """Run lin-RFM from M = I on random measurements of a random matrix until it rests.

    Args:
        size: Rows and columns of X.
        count: Number of measurements.
        power: α.
        beta: β.
        smoothing: ε.
        seed: Of the measurements.

    Raises:
        ValueError: If it does not come to rest.
    """
    mp, rng = context(), np.random.default_rng(seed)
    draw = [mp.matrix(rng.integers(-5, 6, (size, size)).tolist()) for _ in range(count + 1)]
    measurements, truth = tuple(draw[1:]), draw[0]
    values = mp.matrix([_inner(mp, A, truth) for A in measurements])
    alpha, b, epsilon = (mp.mpf(q.numerator) / q.denominator for q in (power, beta, smoothing))
    X, features = mp.zeros(size), mp.eye(size)
    for rounds in range(1, ROUNDS + 1):
        before, (X, multipliers) = X, _round(mp, measurements, values, features)
        change = mp.norm(X - before)
        if change < mp.mpf(10) ** (8 - DIGITS):
            return Iterated(X, measurements, multipliers, change, rounds)
        metric = spectral(mp, X.T * X + mp.eye(size) * epsilon, alpha)
        features = spectral(mp, metric, b)
    raise ValueError(f"lin-RFM with α = {power} still moves by {change} after {ROUNDS} rounds")


def _round(mp: Any, measurements: Sequence[Any], values: Any, features: Any) -> tuple[Any, Any]:
    moved = [A * features for A in measurements]
    gram = mp.matrix([[_inner(mp, a, b) for b in moved] for a in moved])
    multipliers = mp.lu_solve(gram, values)
    W = moved[0] * multipliers[0]
    for a, weight in zip(moved[1:], list(multipliers)[1:], strict=True):
        W += a * weight
    return W * features, multipliers


def penalty(mp: Any, X: Any, exponent: Any, smoothing: Any) -> Any:
    """Σ (σ² + ε)^{p/2}, or Σ log(σ² + ε) if p = 0."""
    eigenvalues = mp.eigsy(X.T * X, eigvals_only=True)
    squares = [value + smoothing for value in eigenvalues]
    if exponent == 0:
        return mp.fsum(mp.log(square) for square in squares)
    return mp.fsum(square ** (exponent / 2) for square in squares)


def feasible_directions(mp: Any, found: Iterated) -> list[Any]:
    """Directions E with ⟨A_i, E⟩ = 0 for all i, of norm 1, that span them all."""
    A = mp.matrix([list(a) for a in found.measurements])
    size, count = found.X.rows, A.rows
    projector = mp.eye(size * size) - A.T * mp.inverse(A * A.T) * A
    chosen = [projector[:, place] for place in range(size * size - count)]
    return [_as_matrix(mp, column / mp.norm(column), size) for column in chosen]


def _as_matrix(mp: Any, column: Any, size: int) -> Any:
    return mp.matrix([[column[size * i + k] for k in range(size)] for i in range(size)])


def slope(mp: Any, X: Any, direction: Any, exponent: Any, smoothing: Any) -> Any:
    """The penalty's derivative along a direction, by a central difference."""
    step = mp.mpf(10) ** (-DIGITS // 3)
    ends = (penalty(mp, X + direction * (s * step), exponent, smoothing) for s in (1, -1))
    forward, back = ends
    return (forward - back) / (2 * step)
