"""Compiled programs in power series over balls: Taylor coefficients with certified errors.

A coefficient taken at a wide ball X encloses f⁽ⁿ⁾(ξ)/n! for every ξ in X: Lagrange's remainder.
"""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable, Iterator
from typing import Any

from flint import arb, arb_series, ctx

from .balls import arb_arithmetic
from .program import Operation, Program


def has_jets(program: Program) -> bool:
    """Say whether every operation of the program is known for power series."""
    return all(
        i.head in _SERIES or i.head in _WITH_DATA or i.head in _AS_FOR_BALLS
        for i in program.instructions
    )


def jet_evaluator(program: Program) -> Callable[[Any, int], list[Any]]:
    """Return the function (x, length) ↦ Taylor coefficients of f at the ball x."""
    run = program.bind(jet_arithmetic)

    def coefficients(x: Any, length: int) -> list[Any]:
        try:
            with _series_length(length):
                value = run(arb_series([x, 1], length))
        except ValueError:  # flint refuses to divide by a series that starts with a ball around 0
            return [arb.nan()] * length
        found = [value] if isinstance(value, arb) else list(value.coeffs())
        return found + [arb(0)] * (length - len(found))

    return coefficients


@contextlib.contextmanager
def _series_length(length: int) -> Iterator[None]:
    """Set flint's truncation order and put the old one back."""
    previous = ctx.cap
    ctx.cap = length
    try:
        yield
    finally:
        ctx.cap = previous


def without_constant(x: Any) -> Any:
    """Return x − x[0] with an exact 0 in front, which a wide ball minus itself is not."""
    return arb_series([arb(0), *x.coeffs()[1:]], ctx.cap)


def jet_arithmetic(head: str, data: Any) -> Operation:
    """Say what a head does to series; operands that are constants stay balls."""
    on_balls = arb_arithmetic(head, data)
    on_series = _WITH_DATA[head](data) if head in _WITH_DATA else _SERIES.get(head, on_balls)

    def apply(*operands: Any) -> Any:
        constant = all(isinstance(operand, arb) for operand in operands)
        return on_balls(*operands) if constant else on_series(*operands)

    return apply


def _hyperbolic(function: Callable[[Any, Any, Any], Any]) -> Operation:
    """Apply the addition theorems at x = x₀ + h: nothing overflows, and nothing cancels at x₀ ≈ 0.

    The function takes sinh x/cosh x₀, cosh x/cosh x₀ and x₀.
    """

    def apply(x: Any) -> Any:
        base, step = x[0], without_constant(x)
        up, down, slope = step.exp(), (-step).exp(), base.tanh()
        sinh, cosh = (up - down) / 2, (up + down) / 2
        return function(slope * cosh + sinh, cosh + slope * sinh, base)

    return apply


def _integer_power(exponent: int) -> Operation:
    return lambda base: base**exponent if exponent >= 0 else (1 / base) ** -exponent


def _rational_power(exponent: tuple[int, int]) -> Operation:
    numerator, degree = exponent
    if degree == 2:
        root = operator.methodcaller("sqrt" if numerator > 0 else "rsqrt")
        return lambda base: root(base) ** abs(numerator)
    return lambda base: (base.log() * arb(numerator) / degree).exp()


def _power(base: Any, exponent: Any) -> Any:
    return (exponent * base.log()).exp()


def _own(cls: Any) -> Operation:
    return lambda x: cls._jet(x)


_WITH_DATA: dict[str, Callable[[Any], Operation]] = {
    "integer_power": _integer_power,
    "rational_power": _rational_power,
    "own": _own,
}
_METHODS = ("exp", "log", "sin", "cos", "tan", "asin", "acos", "atan", "erf", "erfc", "gamma")
_SERIES: dict[str, Operation] = {
    "power": _power,
    "sinh": _hyperbolic(lambda sinh, _, base: sinh * base.cosh()),
    "cosh": _hyperbolic(lambda _, cosh, base: cosh * base.cosh()),
    "tanh": _hyperbolic(lambda sinh, cosh, _: sinh / cosh),
    "coth": _hyperbolic(lambda sinh, cosh, _: cosh / sinh),
    "sech": _hyperbolic(lambda _, cosh, base: base.sech() / cosh),
    "csch": _hyperbolic(lambda sinh, _, base: base.sech() / sinh),
    "loggamma": operator.methodcaller("lgamma"),
    **{name: operator.methodcaller(name) for name in _METHODS},
}
_AS_FOR_BALLS = frozenset(
    {"add", "mul", "rational", "algebraic", "pi", "e", "euler_gamma", "catalan"}
)
