"""Compiled programs in mpmath: an implementation of the functions that shares nothing with flint.

Every evaluation has its own context, so no global precision is read or set.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import mpmath

from .balls import algebraic_ball
from .program import Arithmetic, Operation, Program

GUARD_BITS = 32

_NAMES = {
    "euler_gamma": "euler",
    "elliptic_k": "ellipk",
    "elliptic_e": "ellipe",
}
_CONSTANTS = frozenset({"pi", "e", "euler_gamma", "catalan"})


def evaluate(program: Program, x: Fraction, prec: int, dps: int) -> Any:
    """Run the program at prec bits and round the result to dps digits."""
    context = mpmath.MPContext()
    context.prec = prec + GUARD_BITS
    value = program.bind(mpmath_arithmetic(context))(_rational(context, x))
    context.dps = dps
    return mpmath.mp.make_mpf((+context.mpf(value))._mpf_)  # exact: make_mpf does not round


def mpmath_arithmetic(context: Any) -> Arithmetic:
    """Return the meaning of the heads in an mpmath context."""

    def operation(head: str, data: Any) -> Operation:
        if head in _CONSTANTS:
            return lambda: +getattr(context, _NAMES.get(head, head))
        if head in ("add", "mul"):
            combine = context.fsum if head == "add" else context.fprod
            return lambda *operands: combine(operands)
        if head in _WITH_DATA:
            return _WITH_DATA[head](context, data)
        function: Operation = getattr(context, _NAMES.get(head, head))
        return function

    return operation


def _rational(context: Any, value: Fraction) -> Any:
    return context.mpf(value.numerator) / value.denominator


def _constant(context: Any, value: Fraction) -> Operation:
    return lambda: _rational(context, value)


def _integer_power(_context: Any, exponent: int) -> Operation:
    return lambda base: base**exponent


def _rational_power(context: Any, exponent: tuple[int, int]) -> Operation:
    numerator, degree = exponent
    return lambda base: context.root(base, degree) ** numerator


def _own(context: Any, cls: Any) -> Operation:
    return lambda *operands: cls._mp(context, *operands)


def _algebraic(context: Any, root: Any) -> Operation:
    # The isolation of a polynomial's root is exact, so there is nothing to be independent of.
    mantissa, exponent = algebraic_ball(root, context.prec).mid().man_exp()
    return lambda: context.ldexp(context.mpf(int(mantissa)), int(exponent))


_WITH_DATA: dict[str, Callable[[Any, Any], Operation]] = {
    "rational": _constant,
    "integer_power": _integer_power,
    "rational_power": _rational_power,
    "own": _own,
    "algebraic": _algebraic,
}
