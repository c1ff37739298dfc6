"""Layers, their scores and separations in fractions, from determinants; and drawn states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
import sympy
from flint import fmpq, fmpq_mat
from scipy.stats import multivariate_normal

Sizes = Sequence[int]


@dataclass(frozen=True, eq=False)
class Layers:
    """Generic layers in fractions, with vectors for each of them.

    Attributes:
        sizes: d_ℓ.
        counts: k_ℓ, vectors of each layer.
        mean: μ, a column.
        covariance: Σ.
        vectors: V, block diagonal.
    """

    sizes: tuple[int, ...]
    counts: tuple[int, ...]
    mean: Any
    covariance: Any
    vectors: Any

    @property
    def score_mean(self) -> Any:
        """m."""
        return self.vectors.transpose() * self.mean

    @property
    def score_covariance(self) -> Any:
        """C."""
        return self.vectors.transpose() * self.covariance * self.vectors

    def __str__(self) -> str:
        return f"layers of {self.sizes} dimensions, {self.counts} vectors"


def drawn(sizes: Sizes, counts: Sizes, rng: np.random.Generator) -> Layers:
    """Generic means, a covariance with generic correlations between layers, generic vectors."""
    d = sum(sizes)
    root = _entries(d, d + 1, rng)
    covariance = root * root.transpose() + identity(d) * fmpq(1, 3)
    blocks = [_entries(size, count, rng) for size, count in zip(sizes, counts, strict=True)]
    return Layers(tuple(sizes), tuple(counts), _entries(d, 1, rng), covariance, diagonal(blocks))


def _entries(rows: int, columns: int, rng: np.random.Generator) -> Any:
    tops = rng.integers(-40, 41, (rows, columns)).tolist()
    return fmpq_mat([[fmpq(x, 16) if x else fmpq(1, 7) for x in row] for row in tops])


def identity(size: int) -> Any:
    """I."""
    return fmpq_mat(np.eye(size, dtype=int).tolist())


def diagonal(blocks: Sequence[Any]) -> Any:
    """Blocks on a diagonal."""
    width, left, rows = sum(b.ncols() for b in blocks), 0, []
    for b in blocks:
        right = width - left - b.ncols()
        rows += [[fmpq(0)] * left + row + [fmpq(0)] * right for row in b.tolist()]
        left += b.ncols()
    return fmpq_mat(rows)


def part(A: Any, rows: range, columns: range) -> Any:
    """A block."""
    return fmpq_mat([[A[i, j] for j in columns] for i in rows])


def separation(mean: Any, covariance: Any) -> Any:
    """mᵀC⁻¹m without an inverse: det(C + mmᵀ) = det C (1 + mᵀC⁻¹m)."""
    return (covariance + mean * mean.transpose()).det() / covariance.det() - 1


def of_direction(direction: Any, mean: Any, covariance: Any) -> Any:
    """(aᵀm)²/(aᵀCa), by the definition of a separation."""
    variance = (direction.transpose() * covariance * direction)[0, 0]
    return (direction.transpose() * mean)[0, 0] ** 2 / variance


def word(expression: sympy.Expr, letters: Mapping[sympy.Symbol, Any]) -> Any:
    """A sum of products of letters and transposed letters, at matrices.

    Raises:
        ValueError: Sizes do not fit, or a power is no power of a matrix.
    """
    terms = [_product(term, letters) for term in sympy.Add.make_args(sympy.expand(expression))]
    total = terms[0]
    for term in terms[1:]:
        if (term.nrows(), term.ncols()) != (total.nrows(), total.ncols()):
            raise ValueError("terms of different shapes")
        total += term
    return total


def _product(term: sympy.Expr, letters: Mapping[sympy.Symbol, Any]) -> Any:
    scalars, factors = term.args_cnc()
    product: Any = None
    for factor in factors:
        base, exponent = factor.as_base_exp()
        matrix = letters[base.args[0]].transpose() if base.args else letters[base]
        if not (exponent.is_Integer and exponent > 0):
            raise ValueError(f"{factor} is no power of a matrix")
        for _ in range(int(exponent)):
            if product is not None and product.ncols() != matrix.nrows():
                raise ValueError(f"{term}: sizes do not fit")
            product = matrix if product is None else product * matrix
    if product is None:
        raise ValueError(f"{term} is no matrix")
    scale = sympy.sympify(sympy.prod(scalars))
    return product * fmpq(int(scale.p), int(scale.q))


def scalar(expression: sympy.Expr, letters: Mapping[sympy.Symbol, Any]) -> Any:
    """A word that is a number."""
    value = word(expression, letters)
    if (value.nrows(), value.ncols()) != (1, 1):
        raise ValueError(f"{expression} is no number")
    return value[0, 0]


def fraction(value: Any) -> Fraction:
    """A flint rational as a fraction."""
    return Fraction(int(value.p), int(value.q))


def doubles(A: Any) -> Any:
    """A matrix in doubles, correctly rounded."""
    return np.array([[float(fraction(x)) for x in row] for row in A.tolist()])


# ── drawn states ─────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class Wins:
    """Whether a drawn state of the concept has the higher likelihood ratio than another: 0 or 1."""

    stacked: Any
    scores: Any


@lru_cache(maxsize=2)
def likelihood_wins(layers: Layers, seed: int, count: int) -> Wins:
    """Draw pairs of states, one of each class, and compare their likelihood ratios."""
    rng = np.random.default_rng(seed)
    mean, sigma = doubles(layers.mean)[:, 0], doubles(layers.covariance)
    V = doubles(layers.vectors)
    root = np.linalg.cholesky(sigma)
    up, down = (s * mean + rng.standard_normal((count, len(mean))) @ root.T for s in (1, -1))
    return Wins(
        _ratio(up, mean, sigma) > _ratio(down, mean, sigma),
        _ratio(up @ V, V.T @ mean, V.T @ sigma @ V) > _ratio(down @ V, V.T @ mean, V.T @ sigma @ V),
    )


def _ratio(x: Any, mean: Any, sigma: Any) -> Any:
    """log p(x | +)/p(x | -), from the two densities."""
    densities = (multivariate_normal(s * mean, sigma).logpdf(x) for s in (1, -1))
    positive, negative = densities
    return np.asarray(positive) - np.asarray(negative)
