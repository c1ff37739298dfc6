"""Generic fractions for claims that hold exactly, and how a difference is told."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np
import sympy

from ..claim import Evidence


def rational(rows: int, columns: int, seed: int) -> tuple[tuple[Fraction, ...], ...]:
    """Generic small fractions, always the same."""
    rng = np.random.default_rng(seed)
    tops = rng.choice([-7, -5, -3, -2, 2, 3, 5, 7], size=(rows, columns))
    bottoms = rng.choice([1, 2, 3, 4], size=(rows, columns))
    return tuple(
        tuple(Fraction(int(p), int(q)) for p, q in zip(*pair, strict=True))
        for pair in zip(tops, bottoms, strict=True)
    )


def objects(matrix: Any) -> Any:
    """An array that keeps its fractions."""
    return np.array(matrix, dtype=object)


def differ(point: str, value: object, reference: object) -> Evidence:
    """Evidence of a difference, at a point described in words."""
    return Evidence(False, {"point": point}, f"{point}: {value} against {reference}")


def fraction(number: sympy.Expr) -> Fraction:
    """A rational SymPy number as a fraction.

    Raises:
        ValueError: It is not rational.
    """
    if not number.is_Rational:
        raise ValueError(f"the coefficient {number} is not rational")
    return Fraction(int(number.p), int(number.q))


def number(value: Fraction) -> sympy.Rational:
    """A fraction as a SymPy number."""
    return sympy.Rational(value.numerator, value.denominator)


def evaluated(expression: sympy.Expr, values: Mapping[sympy.Symbol, Any]) -> Any:
    """A sum of products of powers at given numbers, in their arithmetic: fractions stay exact.

    Raises:
        ValueError: It contains another function.
    """
    if expression.is_Symbol:
        return values[expression]
    if expression.is_Rational:
        return fraction(expression)
    parts = [evaluated(part, values) for part in expression.args]
    if expression.is_Add:
        return sum(parts)
    if expression.is_Mul:
        return prod(parts)
    if expression.is_Pow:
        base, exponent = parts
        return base ** (int(exponent) if exponent == int(exponent) else float(exponent))
    raise ValueError(f"{expression} is no sum, product or power")
