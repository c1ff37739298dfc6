"""Matrices with rational entries or in balls, and their correlation from its definition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import sympy
from flint import arb, arb_mat, ctx, fmpq, fmpq_mat

from ...legs import ball

PRECISION = 256
"""Bits of the balls."""


def exact(value: Fraction | int) -> fmpq:
    """A fraction in flint."""
    fraction = Fraction(value)
    return fmpq(fraction.numerator, fraction.denominator)


def matrix(rows: Sequence[Sequence[Fraction | int]]) -> fmpq_mat:
    """A matrix of fractions."""
    return fmpq_mat([[exact(entry) for entry in row] for row in rows])


def diagonal(values: Sequence[Any]) -> Any:
    """A diagonal matrix of fractions, or of balls."""
    n = len(values)
    if any(isinstance(value, arb) for value in values):
        return arb_mat([[values[i] if i == j else 0 for j in range(n)] for i in range(n)])
    return matrix([[values[i] if i == j else 0 for j in range(n)] for i in range(n)])


def frame(rows: int, columns: int, rng: np.random.Generator) -> fmpq_mat:
    """Orthonormal columns with rational entries: Cayley's transform of a skew matrix."""
    upper = np.triu(rng.integers(-3, 4, (rows, rows)), 1)
    skew = matrix([[Fraction(int(x), 2) for x in row] for row in upper - upper.T])
    one = matrix(np.eye(rows, dtype=int).tolist())
    rotation = (one - skew) * (one + skew).inv()
    return fmpq_mat([row[:columns] for row in rotation.tolist()])


def drawn(rows: int, columns: int, rng: np.random.Generator) -> fmpq_mat:
    """Generic fractions."""
    entries = rng.integers(-7, 8, (rows, columns))
    return matrix([[Fraction(int(2 * x + 1), 4) for x in row] for row in entries])


def ptk_around(compressed: fmpq_mat, rotation: fmpq_mat, rng: np.random.Generator) -> fmpq_mat:
    """A positive definite K with UᵀKU given, U the rotation's first columns, and no zero blocks.

    In the basis of the rotation K is (C, B; Bᵀ, BᵀC⁻¹B + 1), whose Schur complement is 1.
    """
    r, k = compressed.nrows(), rotation.nrows()
    if r == k:
        return rotation * compressed * rotation.transpose()
    B = drawn(r, k - r, rng)
    corner = B.transpose() * compressed.inv() * B + matrix(np.eye(k - r, dtype=int).tolist())
    top = [a + b for a, b in zip(compressed.tolist(), B.tolist(), strict=True)]
    low = [a + b for a, b in zip(B.transpose().tolist(), corner.tolist(), strict=True)]
    return rotation * fmpq_mat(top + low) * rotation.transpose()


def frame_columns(rotation: fmpq_mat, columns: int) -> fmpq_mat:
    """The first columns of a rotation."""
    return fmpq_mat([row[:columns] for row in rotation.tolist()])


def column(entries: Sequence[Any]) -> fmpq_mat:
    """A column of flint's fractions."""
    return fmpq_mat([[entry] for entry in entries])


def stacked(A: fmpq_mat, B: fmpq_mat) -> fmpq_mat:
    """A above B."""
    return fmpq_mat(A.tolist() + B.tolist())


def inner(A: Any, B: Any) -> Any:
    """tr(AᵀB)."""
    return sum((x * y for x, y in zip(A.entries(), B.entries(), strict=True)), start=0 * A[0, 0])


def squared_correlation(weights: Any, ptk: Any) -> Any:
    """ρ(WᵀW, WᵀKW)², exactly if the matrices are; ρ itself is not negative for K ⪰ 0."""
    nfm = weights.transpose() * weights
    agop = weights.transpose() * ptk * weights
    return inner(nfm, agop) ** 2 / (inner(nfm, nfm) * inner(agop, agop))


def correlation(weights: Any, ptk: Any) -> arb:
    """ρ(WᵀW, WᵀKW) as a ball."""
    with ctx.workprec(PRECISION):
        return arb(squared_correlation(weights, ptk)).sqrt()


def in_balls(A: fmpq_mat) -> arb_mat:
    """The same matrix with balls for entries."""
    with ctx.workprec(PRECISION):
        return arb_mat(A)


def value(expression: sympy.Expr, values: Mapping[sympy.Symbol, Fraction | int]) -> arb:
    """A formula at rational arguments, as a ball.

    Raises:
        ValueError: It is no real number there.
    """
    with ctx.workprec(PRECISION):
        return ball(value_of(expression, values))


def value_of(expression: sympy.Expr, values: Mapping[sympy.Symbol, Fraction | int]) -> sympy.Expr:
    """A formula at rational arguments, as a SymPy number."""
    rationals = {
        s: sympy.Rational(Fraction(v).numerator, Fraction(v).denominator) for s, v in values.items()
    }
    return expression.subs(rationals, simultaneous=True)
