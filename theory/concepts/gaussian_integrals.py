r"""Certified means E sech^k(a + δZ), Z ~ N(0, 1), and how balls become doubles.

The integrand exp(−(t−a)²/2δ²) sech^k t is log-concave: beyond a point where its logarithm has the
slope −s it lies below an exponential, so that the tail is at most its value there divided by s.
Between the two points acb.integral encloses the rest; sech is meromorphic, and a box that holds a
pole gives no finite ball, so the flag `analytic` needs no care.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from flint import acb, arb, ctx

from ..closed_form.balls import nearest_double

LARGEST_PRECISION = 4096


def rounded(ball: Callable[[int], Any], name: str) -> float:
    """Return the double nearest to a number that is known in balls of any precision.

    Args:
        ball: Encloses the number, given a working precision in bits.
        name: What it is, for the error message.

    Raises:
        ArithmeticError: If no precision decides between two doubles.
    """
    precision = 96
    while precision <= LARGEST_PRECISION:
        with ctx.workprec(precision):  # the ends of the ball are rounded to it
            value = nearest_double(ball(precision))
        if value is not None:
            return value
        precision *= 2
    raise ArithmeticError(f"{name}: undecided between two doubles at {precision // 2} bits")


def sech_mean(power: int, shift: Any, deviation: Any, precision: int) -> Any:
    """Return a ball around E sech^k(a + δZ), relative radius about 2^−precision.

    Args:
        power: k >= 1.
        shift: a, a ball or an exact number.
        deviation: δ > 0, likewise.
        precision: Working precision in bits.
    """
    with ctx.workprec(precision + 40):
        a, delta = abs(arb(shift)), arb(deviation)
        pull = 1 / delta**2

        def height(y: Any) -> Any:  # at t = a + y
            return (-pull * y**2 / 2).exp() * (a + y).sech() ** power

        def slope(y: Any) -> Any:
            return -pull * y - power * (a + y).tanh()

        mode = _mode(slope, power / pull)
        reach = 1 / (pull + power * (a + mode).sech() ** 2).sqrt().mid()
        least = height(mode) * reach * arb(2) ** -(precision + 10)
        low, left = _tail(height, slope, mode, -reach, least)
        high, right = _tail(height, slope, mode, reach, least)
        options = {"rel_tol": arb(2) ** -precision, "abs_tol": least, "deg_limit": 4 * precision}
        inner = acb.integral(lambda y, _: height(y), low, high, **options).real
        tails = arb(0).union(left + right)
        return (inner + tails) / (delta * (2 * arb.pi()).sqrt())


def _mode(slope: Callable[[Any], Any], farthest: Any) -> Any:
    """A point near the mode, between −farthest and 0, by bisection; any point would do."""
    low, high = -farthest.mid(), arb(0)
    for _ in range(60):
        middle = ((low + high) / 2).mid()
        low, high = (middle, high) if slope(middle).mid() > 0 else (low, middle)
    return low


def _tail(
    height: Callable[[Any], Any],
    slope: Callable[[Any], Any],
    mode: Any,
    step: Any,
    least: Any,
) -> tuple[Any, Any]:
    """A point on one side of the mode and a bound of the integral beyond it."""
    side = 1 if step > 0 else -1
    while True:
        point = (mode + step).mid()
        steepness = -side * slope(point)
        if steepness > 0:
            bound = height(point) / steepness
            if bound < least:
                return point, bound.abs_upper()
        step = step * arb("1.3")
        if not math.isfinite(float(step.mid())):
            raise ArithmeticError("the tail's bound does not fall: is the deviation finite?")
