"""Matrix formulas as words in noncommutative symbols, and their exact values on rational data."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from functools import reduce
from typing import Any

import sympy
from flint import fmpq, fmpq_mat

Value = Any  # fmpq or fmpq_mat: the words mix them as mathematics does


def exact_value(word: sympy.Expr, values: Mapping[sympy.Symbol, Value]) -> Value:
    """Return the exact value of a word: sums, products, integer powers of matrices and numbers.

    A number that is added to a matrix stands for that multiple of the identity.

    Args:
        word: In the symbols of ``values``.
        values: Matrices of fractions (flint's ``fmpq_mat``) and fractions (``fmpq``).

    Raises:
        KeyError: If a symbol has no value.
        ValueError: If shapes do not fit, or there is another function or power.
        ZeroDivisionError: If a matrix that is inverted is singular.

    Example:
        >>> A = sympy.Symbol("A", commutative=False)
        >>> exact_value((A + 1) ** -1, {A: fmpq_mat([[1, 0], [0, 3]])})
        [1/2,   0]
        [  0, 1/4]
    """
    if word.is_Symbol:
        return values[word]
    if word.is_Rational:
        return fmpq(int(word.p), int(word.q))
    parts = [exact_value(part, values) for part in word.args]
    if word.is_Mul:
        return reduce(lambda left, right: left * right, parts)
    if word.is_Add:
        return reduce(_sum, parts)
    if word.is_Pow and word.exp.is_Integer:
        return _power(parts[0], int(word.exp))
    raise ValueError(f"{word} is no sum, product or integer power")


def rational_matrix(rows: Any) -> fmpq_mat:
    """Return a matrix of fractions as flint has it.

    Args:
        rows: Rows of ints or Fractions.
    """
    exact = [[Fraction(entry) for entry in row] for row in rows]
    return fmpq_mat([[fmpq(x.numerator, x.denominator) for x in row] for row in exact])


def _identity(size: int) -> fmpq_mat:
    return fmpq_mat([[int(i == j) for j in range(size)] for i in range(size)])


def _sum(left: Value, right: Value) -> Value:
    if isinstance(left, fmpq_mat) and not isinstance(right, fmpq_mat):
        right = _identity(left.nrows()) * right
    elif isinstance(right, fmpq_mat) and not isinstance(left, fmpq_mat):
        left = _identity(right.nrows()) * left
    return left + right


def _power(base: Value, exponent: int) -> Value:
    if not isinstance(base, fmpq_mat):
        return base**exponent
    if exponent < 0:
        return _power(base.inv(), -exponent)
    return reduce(lambda left, right: left * right, [base] * exponent, _identity(base.nrows()))
