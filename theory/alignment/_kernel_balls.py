"""Formulas of several variables in exact rationals as far as possible, and in balls from there on.

Rational subexpressions of exact arguments stay exact: σ_uu σ_vv − σ_uv² of parallel samples is 0
and no ball around 0.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import mpmath
import sympy
from flint import arb, ctx

from ..closed_form.balls import LARGEST_PRECISION, ball_of, nearest_double

Value = Any
"""A Fraction, or a ball."""


def evaluate(node: sympy.Expr, values: Mapping[sympy.Symbol, Value]) -> Value:
    """Return the value of an expression: a Fraction while it is rational, else a ball.

    Raises:
        TypeError: If the expression has a function that is not known here.
    """
    if node in values:
        return values[node]
    if node.is_Rational:
        return Fraction(int(node.p), int(node.q))
    if node is sympy.pi:
        return arb.pi()
    operands = [evaluate(child, values) for child in node.args]
    if isinstance(node, sympy.Add | sympy.Mul):
        combine = operator.add if isinstance(node, sympy.Add) else operator.mul
        return functools.reduce(lambda a, b: _combine(combine, a, b), operands)
    if isinstance(node, sympy.Pow):
        return _power(*operands)
    if isinstance(node, sympy.atan2):
        return arb.atan2(*map(as_ball, operands))
    raise TypeError(f"{node} has the head {type(node).__name__}, which is not known here")


def as_ball(value: Value) -> Any:
    """Return a Fraction as the smallest ball at the current precision, and a ball as it is."""
    return ball_of(value) if isinstance(value, Fraction) else value


def nearest(at: Callable[[], Value], name: str) -> float:
    """Return the double nearest to a value that can be computed at any precision.

    Raises:
        OverflowError: If it is larger than every double.
        ArithmeticError: If no precision decides.
    """

    def rounded(value: Value) -> float | None:
        if isinstance(value, Fraction):
            return value.numerator / value.denominator
        return nearest_double(value)

    return float(_rising(at, rounded, 128, name))


def to_digits(at: Callable[[], Value], dps: int, name: str) -> Any:
    """Return a value to dps digits as an mpf."""
    bits = int(3.33 * dps) + 8

    def rounded(value: Value) -> Any:
        ball = as_ball(value)
        if not (ball == 0 or ball.rel_accuracy_bits() >= bits):
            return None
        mantissa, exponent = ball.mid().man_exp()
        context = mpmath.MPContext()
        context.dps = dps
        return mpmath.mp.make_mpf((context.mpf((int(mantissa), int(exponent))))._mpf_)

    return _rising(at, rounded, bits + 64, name)


def _rising(at: Callable[[], Value], rounded: Callable[[Value], Any], prec: int, name: str) -> Any:
    while prec <= LARGEST_PRECISION:
        with ctx.workprec(prec):
            if (value := rounded(at())) is not None:
                return value
        prec *= 2
    raise ArithmeticError(f"{name}: undecided at {prec // 2} bits")


def _combine(combine: Callable[[Any, Any], Any], a: Value, b: Value) -> Value:
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return combine(a, b)
    return combine(as_ball(a), as_ball(b))


def _power(base: Value, exponent: Fraction) -> Value:
    if exponent.denominator == 1:
        return base ** int(exponent) if exponent >= 0 else _inverse(base ** -int(exponent))
    if exponent.denominator != 2:
        raise TypeError(f"the power {exponent} is not known here")
    # Covariances are positive semidefinite: what is below 0 is rounding of the arguments.
    root = as_ball(max(base, Fraction(0)) if isinstance(base, Fraction) else base)
    return root.nonnegative_part().sqrt() ** int(2 * exponent)


def _inverse(value: Value) -> Value:
    return 1 / value
