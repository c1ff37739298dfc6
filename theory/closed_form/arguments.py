"""Arguments taken exactly, and the open domain they have to lie in."""

from __future__ import annotations

import functools
import math
import numbers
from fractions import Fraction
from typing import Any

import numpy as np
import sympy
from flint import arb, ctx

from .balls import LARGEST_PRECISION, arb_arithmetic
from .program import compile_expression

Scalar = int | float | Fraction | str
_KINDS = "int, float, Fraction, str such as '0.1' or '1/3', or a NumPy real scalar"


def exact(x: Any, name: str = "x") -> Fraction:
    """Return the argument as an exact rational: 0.1 is the double, '0.1' is one tenth.

    Raises:
        TypeError: If x is no real scalar.
        ValueError: If x is NaN, infinite, or a string that is no number.
    """
    if isinstance(x, float | np.floating):
        if not math.isfinite(x):
            raise ValueError(f"{name} = {x} is not finite; allowed is any finite number")
        return Fraction(*x.as_integer_ratio())
    if isinstance(x, bool | np.bool_) or not isinstance(x, str | numbers.Rational):
        raise TypeError(f"{name} = {x!r} has type {type(x).__name__}; allowed: {_KINDS}")
    if isinstance(x, str):
        return _parse(x, name)
    return Fraction(int(x.numerator), int(x.denominator))


def _parse(text: str, name: str) -> Fraction:
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise ValueError(
            f"{name} = {text!r} is no number; allowed: '0.1', '1e-300', '1/3'"
        ) from None


class Domain:
    """An open interval with exact endpoints, each a SymPy number or ±oo."""

    def __init__(self, name: str, bounds: tuple[sympy.Expr, sympy.Expr]) -> None:
        self.name = name
        self.bounds = bounds
        self._rational = tuple(_as_fraction(bound) for bound in bounds)

    def __str__(self) -> str:
        return f"{self.bounds[0]} < {self.name} < {self.bounds[1]}"

    def check(self, x: Fraction, name: str | None = None) -> Fraction:
        """Return x, or raise ValueError if it is outside."""
        if x not in self:
            raise ValueError(f"{name or self.name} = {_show(x)} is outside the domain {self}")
        return x

    @functools.cached_property
    def doubles(self) -> tuple[float, float]:
        """Return the smallest and the largest double inside."""
        return self._first_double(0, math.inf), self._first_double(1, -math.inf)

    def _first_double(self, side: int, inwards: float) -> float:
        bound = self.bounds[side]
        point = -inwards if bound.is_infinite else float(bound)
        while math.isinf(point) or Fraction(point) not in self:
            if point == inwards:
                raise ValueError(f"no double lies in the domain {self}")
            point = math.nextafter(point, inwards)
        return point

    def check_ball(self, x: Any) -> Any:
        """Return the ball x, or raise ValueError if it is not wholly inside."""
        if not x.is_finite() or not (_end(x.lower()) in self and _end(x.upper()) in self):
            raise ValueError(f"{self.name} = {x} is not wholly inside the domain {self}")
        return x

    def __contains__(self, x: Fraction) -> bool:
        return self._above(x) and self._below(x)

    def _above(self, x: Fraction) -> bool:
        lower = self._rational[0]
        return x > lower if lower is not None else _sign(x, self.bounds[0]) > 0

    def _below(self, x: Fraction) -> bool:
        upper = self._rational[1]
        return x < upper if upper is not None else _sign(x, self.bounds[1]) < 0


def _end(point: Any) -> Fraction:
    mantissa, exponent = (int(part) for part in point.man_exp())
    return Fraction(mantissa) * Fraction(2) ** exponent


def _show(x: Fraction) -> str:
    try:
        return repr(float(x)) if Fraction(float(x)) == x else str(x)
    except OverflowError:
        return str(x)


def _as_fraction(bound: sympy.Expr) -> Fraction | float | None:
    """Return a rational or infinite bound as a number that compares exactly, else None."""
    if bound in (sympy.oo, -sympy.oo):
        return float(bound)
    if isinstance(bound, sympy.Rational):
        return Fraction(int(bound.p), int(bound.q))
    return None


def _sign(x: Fraction, bound: sympy.Expr) -> int:
    """Return the sign of x − bound for an irrational bound, by balls of rising precision."""
    difference = sympy.Rational(x.numerator, x.denominator) - bound
    evaluate = compile_expression(difference, sympy.Dummy()).bind(arb_arithmetic)
    prec = 64
    while prec <= LARGEST_PRECISION:
        with ctx.workprec(prec):
            ball = evaluate(arb(0))
            if not ball.contains(0):
                return 1 if ball > 0 else -1
        prec *= 2
    raise ArithmeticError(f"cannot separate {_show(x)} from the endpoint {bound}")
