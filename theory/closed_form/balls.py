"""Ball arithmetic (python-flint's arb) for compiled programs, and rounding balls to doubles."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import sympy
from flint import acb, arb, ctx, fmpq

from .program import Operation

START_PRECISION = 128  # as fast as 64, and 1 value in 2^60 needs a second try
LARGEST_PRECISION = 2**20
HOPELESS_PRECISION = 2**14  # no finite ball by then: 1 - k at k = 1 - 1e-4000 still has one
_SUSPICIOUS = 2000

Evaluate = Callable[[Any], Any]


def arb_arithmetic(head: str, data: Any) -> Operation:
    """Say what a head does to balls; constants are recomputed at the current precision."""
    if head in _WITH_DATA:
        return _WITH_DATA[head](data)
    operation: Operation = _SPECIAL.get(head) or getattr(arb, head)
    return operation


def ball_of(x: Fraction) -> Any:
    """Return the smallest ball at the current precision that contains the rational x."""
    return arb(fmpq(x.numerator, x.denominator))


def accurate(
    evaluate: Evaluate, x: Fraction, bits: int, name: str, start: int = START_PRECISION
) -> tuple[int, Any]:
    """Return a precision, and the ball at that precision, which has the given relative accuracy.

    Precisions are tried from start upwards; the answer at a neighbouring point is a good start.

    Raises:
        ArithmeticError: If no precision up to the cap is enough.
    """
    prec = max(start, bits)
    while prec <= LARGEST_PRECISION:
        with ctx.workprec(prec):
            ball = evaluate(ball_of(x))
        _refuse_nowhere_finite(ball, prec, x, name)
        if ball.is_finite() and (ball.rel_accuracy_bits() >= bits or ball == 0):
            return prec, ball
        prec *= 2
    raise ArithmeticError(f"{name} at {x}: fewer than {bits} bits at {LARGEST_PRECISION} bits")


def correctly_rounded(
    evaluate: Evaluate, x: Fraction, exactly: Callable[[Fraction], Fraction | None], name: str
) -> float:
    """Return the double nearest to f(x), ties to even.

    The precision rises until the whole ball rounds to one double. That never happens when f(x) is
    half-way between two doubles, so a value that is known to 2000 bits and still undecided is
    handed to ``exactly``, which finds it as a rational number or returns None.

    Raises:
        OverflowError: If f(x) rounds to no finite double.
        ArithmeticError: If no precision up to the cap decides.
    """
    prec, tried = START_PRECISION, False
    while prec <= LARGEST_PRECISION:
        with ctx.workprec(prec):
            ball = evaluate(ball_of(x))
            value = nearest_double(ball)
        _refuse_nowhere_finite(ball, prec, x, name)
        if value is None and not tried and ball.rel_accuracy_bits() > _SUSPICIOUS:
            tried, rational = True, exactly(x)
            value = None if rational is None else _divide(rational.numerator, rational.denominator)
        if value is not None:
            return _finite(value, x, name)
        prec *= 2
    raise ArithmeticError(f"{name} at {x}: undecided between two doubles at {prec // 2} bits")


def _refuse_nowhere_finite(ball: Any, prec: int, x: Fraction, name: str) -> None:
    """Give up early on a value that is not real or is infinite: no precision will help."""
    if not ball.is_finite() and prec >= HOPELESS_PRECISION:
        raise ArithmeticError(f"{name} at {x}: no finite real value found with {prec} bits")


def _finite(value: float, x: Fraction, name: str) -> float:
    if math.isinf(value):
        raise OverflowError(f"{name} at {x}: the value is larger than every double")
    return value


def _rational(value: Fraction) -> Operation:
    exact = fmpq(value.numerator, value.denominator)
    return lambda: arb(exact)


def _integer_power(exponent: int) -> Operation:
    if exponent == -1:
        return lambda base: 1 / base
    return lambda base: base**exponent


def _rational_power(exponent: tuple[int, int]) -> Operation:
    numerator, degree = exponent
    if degree == 2:
        return lambda base: base.sqrt() ** numerator
    return lambda base: base.root(degree) ** numerator


def _own(cls: Any) -> Operation:
    return lambda *operands: cls._arb(*operands)


def _algebraic(root: sympy.polys.rootoftools.ComplexRootOf) -> Operation:
    return lambda: algebraic_ball(root, ctx.prec)


@functools.lru_cache(maxsize=64)
def algebraic_ball(root: sympy.polys.rootoftools.ComplexRootOf, prec: int) -> Any:
    """Enclose a real root by SymPy's exact isolation, to within 2^-prec."""
    width = sympy.Rational(1, 2**prec)
    approximation = root.eval_rational(dx=width, dy=width)
    with ctx.workprec(prec):  # which may differ from the caller's, and the result is kept
        return ball_of(Fraction(int(approximation.p), int(approximation.q))) + arb(
            0, arb(2) ** -prec
        )


def _elliptic_k(m: Any) -> Any:
    return acb(m).elliptic_k().real


def _elliptic_e(m: Any) -> Any:
    return acb(m).elliptic_e().real


_WITH_DATA: dict[str, Callable[[Any], Operation]] = {
    "rational": _rational,
    "integer_power": _integer_power,
    "rational_power": _rational_power,
    "own": _own,
    "algebraic": _algebraic,
}
_SPECIAL: dict[str, Operation] = {
    "e": arb.const_e,
    "euler_gamma": arb.const_euler,
    "catalan": arb.const_catalan,
    "add": lambda *terms: functools.reduce(operator.add, terms),
    "mul": lambda *factors: functools.reduce(operator.mul, factors),
    "power": operator.pow,
    "loggamma": arb.lgamma,
    "elliptic_k": _elliptic_k,
    "elliptic_e": _elliptic_e,
}


def nearest_double(ball: Any) -> float | None:
    """Return the double to which every point of the ball rounds (ties to even), else None."""
    if not ball.is_finite():
        return None
    lower, upper = _round_point(ball.lower()), _round_point(ball.upper())
    return lower + 0.0 if lower == upper else None  # + 0.0 turns -0.0 into 0.0


def _round_point(point: Any) -> float:
    mantissa, exponent = point.man_exp()
    digits = mantissa.bit_length() + exponent
    if digits < -1076:  # |point| < 2^-1076 is nearer to 0 than to any other double
        return 0.0
    if digits > 1025:
        return float("inf") if mantissa > 0 else float("-inf")
    if exponent >= 0:
        return _divide(int(mantissa) << int(exponent), 1)
    return _divide(int(mantissa), 1 << -int(exponent))


def _divide(numerator: int, denominator: int) -> float:
    """Round a quotient; Python's integer division rounds correctly, subnormals too."""
    try:
        return numerator / denominator
    except OverflowError:
        return float("inf") if numerator > 0 else float("-inf")
