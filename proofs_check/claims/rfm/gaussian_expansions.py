"""Means under Gaussian inputs from their definition: expansion in independent coordinates."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
import sympy

from ..rationals import number, rational

X = sympy.symbols("x0:3", real=True)
S = sympy.Symbol("s", real=True)
PAIR = sympy.symbols("s t", real=True)


@dataclass(frozen=True, eq=False)
class Problem:
    """A polynomial target and Gaussian inputs x = Lz, Σ = LLᵀ."""

    label: str
    target: sympy.Expr
    factor: sympy.ImmutableMatrix

    @property
    def covariance(self) -> sympy.ImmutableMatrix:
        """Σ."""
        return sympy.ImmutableMatrix(self.factor * self.factor.T)


def matrix(rows: int, columns: int, seed: int) -> sympy.ImmutableMatrix:
    """Generic fractions."""
    return sympy.ImmutableMatrix(
        [[number(v) for v in row] for row in rational(rows, columns, seed)]
    )


def _cubic(seed: int) -> sympy.Expr:
    x, y, z = X
    monomials = (x, y * z, x**2, y**2 * z, x * y * z, z**3, x * z, y)
    coefficients = (number(Fraction(row[0])) for row in rational(len(monomials), 1, seed))
    return sympy.Add(*(c * m for c, m in zip(coefficients, monomials, strict=True)))


PROBLEMS = (
    Problem("cubic, Σ of full rank", _cubic(130), matrix(3, 3, 131)),
    Problem("cubic, Σ of rank 2", _cubic(132), matrix(3, 2, 133)),
    Problem("product, Σ = 1", X[0] * X[1], sympy.ImmutableMatrix(sympy.eye(3))),
)


@lru_cache(maxsize=8)
def agop(problem: Problem) -> sympy.ImmutableMatrix:
    """E[∂_i f ∂_j f] with x = Lz multiplied out, and the moments of each coordinate of z."""
    z = sympy.symbols(f"z0:{problem.factor.cols}", real=True)
    at = dict(zip(X, problem.factor * sympy.Matrix(z), strict=True))
    moved = [sympy.diff(problem.target, x).subs(at, simultaneous=True) for x in X]
    slopes = [sympy.Poly(slope, *z) for slope in moved]
    return sympy.ImmutableMatrix(3, 3, lambda i, j: independent_mean(slopes[i] * slopes[j]))


def independent_mean(polynomial: sympy.Poly) -> sympy.Expr:
    """The mean of a polynomial of independent standard Gaussian variables: E z^a = (a − 1)!!."""
    terms = polynomial.terms()
    return sympy.Add(*(c * sympy.prod(_moment(power) for power in powers) for powers, c in terms))


def _moment(power: int) -> int:
    return 0 if power % 2 else math.prod(range(1, power, 2))


# ── Hermite ──────────────────────────────────────────────────────────────────────────────────────

LINKS = {
    1: 2 - S + 3 * S**2 / 2 + S**3 - S**4 / 5,
    2: PAIR[0] * PAIR[1] + PAIR[0] ** 3 / 2 - PAIR[1] ** 2 + PAIR[0] ** 2 * PAIR[1],
}


@lru_cache(maxsize=4)
def coefficients(dimension: int) -> dict[tuple[int, ...], sympy.Expr]:
    """c_m = E[g h_m], from the definition."""
    z = (S,) if dimension == 1 else PAIR
    link = sympy.Poly(LINKS[dimension], *z)
    found = {}
    for m in np.ndindex(*(5,) * dimension):
        orders = list(zip(m, z, strict=True))
        wave = sympy.Poly(sympy.prod(sympy.hermite_prob(p, v) for p, v in orders), *z)
        norm = sympy.sqrt(math.prod(math.factorial(p) for p in m))
        found[m] = independent_mean(link * wave) / norm
    return found


@lru_cache(maxsize=4)
def link_agop(dimension: int) -> sympy.ImmutableMatrix:
    """E[∂_a g ∂_b g] of the link, from the definition."""
    z = (S,) if dimension == 1 else PAIR
    slopes = [sympy.Poly(LINKS[dimension], *z).diff(v) for v in z]
    return sympy.ImmutableMatrix(
        dimension, dimension, lambda a, b: independent_mean(slopes[a] * slopes[b])
    )


# ── other links ──────────────────────────────────────────────────────────────────────────────────

NODES = 40
SINGLE = {
    "sin": sympy.sin(S),
    "s³ − s²": S**3 - S**2,
    "erf": sympy.erf(S / 2),
    "s e^{s/3}": S * sympy.exp(S / 3),
}
MULTI = {
    "sin(s)t": sympy.sin(PAIR[0]) * PAIR[1],
    "e^{−s²/8} + st²": sympy.exp(-(PAIR[0] ** 2) / 8) + PAIR[0] * PAIR[1] ** 2,
}
DIRECTIONS = matrix(2, 3, 140) / 6
FACTOR = matrix(3, 3, 141) / 3


@lru_cache(maxsize=1)
def _grid() -> tuple[Any, Any]:
    """Gauss–Hermite nodes x = Lz in three dimensions, and their weights."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    weights = weights / weights.sum()
    z = np.stack(np.meshgrid(nodes, nodes, nodes, indexing="ij"), axis=-1).reshape(-1, 3)
    w = np.einsum("i,j,k->ijk", weights, weights, weights).ravel()
    return z @ np.array(FACTOR.tolist(), dtype=float).T, w


@lru_cache(maxsize=16)
def quadrature_agop(link: sympy.Expr, dimension: int) -> Any:
    """E[∇f∇fᵀ] of f(x) = g(Ux) by quadrature, the gradient by automatic differentiation."""
    x, w = _grid()
    gradients = automatic_gradients(link, dimension, x)
    return np.einsum("q,qi,qj->ij", w, gradients, gradients)


def automatic_gradients(link: sympy.Expr, dimension: int, x: Any) -> Any:
    """∇f at the rows of x."""
    import torch

    functions = [{"sin": torch.sin, "cos": torch.cos, "exp": torch.exp, "erf": torch.erf}]
    names = (S,) if dimension == 1 else PAIR
    g = sympy.lambdify(names, link, functions)
    U = torch.tensor(DIRECTIONS[:dimension, :].tolist(), dtype=torch.float64)
    points = torch.from_numpy(x).requires_grad_()
    (found,) = torch.autograd.grad(g(*(points @ U.T).T).sum(), points)
    return found.numpy()


# ── range ────────────────────────────────────────────────────────────────────────────────────────


@lru_cache(maxsize=1)
def ranges() -> tuple[tuple[str, sympy.Expr, int, sympy.ImmutableMatrix], ...]:
    """Targets g(Ux), the number of directions on which each depends, and those of invariance."""
    return tuple((*target, _invariance(target[1])) for target in _targets())


def _targets() -> Iterator[tuple[str, sympy.Expr, int]]:
    u, v = (DIRECTIONS[row, :] * sympy.Matrix(X) for row in range(2))
    s, t = u[0, 0], v[0, 0]
    yield "one direction", sympy.expand(s**3 - s), 1
    yield "two directions", sympy.expand(s * t + t**3), 2
    yield "one direction, written with two", sympy.expand((s + 2 * t) ** 2), 1
    yield "three directions", sympy.expand(s * t + X[2] ** 2), 3
    yield "a constant", sympy.Integer(7), 0


def _invariance(target: sympy.Expr) -> sympy.ImmutableMatrix:
    """The directions v with f(x + τv) = f(x) for all x and τ.

    To first order in τ that is a linear system for v; the higher orders are checked afterwards.
    """
    v, step = sympy.symbols("v0:3"), sympy.Symbol("tau")
    moved = target.subs({x: x + step * w for x, w in zip(X, v, strict=True)}, simultaneous=True)
    change = sympy.Poly(sympy.expand(moved - target), step, *X)
    linear = [c for powers, c in change.terms() if powers[0] == 1]
    rows = [[sympy.diff(sympy.expand(c), w) for w in v] for c in linear] or [[0, 0, 0]]
    kernel = sympy.Matrix(rows).nullspace()
    for direction in kernel:
        at = dict(zip(v, direction, strict=True))
        if any(sympy.expand(c.subs(at)) != 0 for c in change.coeffs()):
            raise ValueError(f"f is not constant along {list(direction)}")
    return sympy.ImmutableMatrix(sympy.Matrix.hstack(sympy.zeros(3, 0), *kernel))
