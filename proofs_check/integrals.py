"""Certified integrals whose integrand is screened first.

`acb.integral` trusts its integrand: called with a box and `analytic` true, it must return a finite
ball only if the function is analytic on the whole box, and always a ball that contains all values
there. An integrand that ignores the flag, or that branches on the midpoint of the box, breaks this
promise, and the enclosure that comes out is false without a warning.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from flint import acb, arb, ctx

from .claim import UndecidedError

Integrand = Callable[[acb, bool], acb]
"""(box, analytic) -> values on the box; not finite where `analytic` is asked for and fails."""

POINTS = 64
"""Points of the circle on which the mean value property is tried."""

SHRINK = 2
"""The circle's radius is the box's divided by this. At some depth every point of an interval lies
within a third of the radius from a box's centre, so that the circles come to enclose any kink."""


def certified_integral(
    integrand: Integrand, low: Any, high: Any, digits: int, depth: int = 6
) -> arb:
    """The integral of a real function, as a ball with so many digits.

    Args:
        integrand: The function, on boxes.
        low: Lower end, as an exact number or a ball.
        high: Upper end, likewise.
        digits: Decimal digits that the ball must have.
        depth: The integrand is screened on the boxes over the interval's dyadic parts up to this
            depth.

    Raises:
        ValueError: The integrand broke its promise on a box.
        UndecidedError: The ball is wider than asked for.
    """
    with ctx.workprec(math.ceil(3.33 * digits) + 64):
        a, b = arb(low), arb(high)
        screen(integrand, a, b, depth)
        tolerance = arb(10) ** -(digits + 2)
        ball = acb.integral(integrand, a, b, rel_tol=tolerance).real
        if not ball.is_finite() or ball.rel_accuracy_bits() < math.log2(10) * digits:
            raise UndecidedError(f"the integral is only known as {ball}; {digits} digits needed")
    return ball


def screen(integrand: Integrand, low: arb, high: arb, depth: int) -> None:
    """Refuse an integrand that is caught breaking its promise on a box.

    On a box of radius R where it claims to be analytic and bounded by M, the mean over N points of
    a circle of radius R/q differs from the value at the centre by at most M / (q^N - 1), by
    Cauchy's estimates. A larger difference is a proof that the claim is false; none is no proof
    that it is true.

    Raises:
        ValueError: The integrand is caught; the message names the box.
    """
    for centre, radius in _boxes(low, high, depth):
        box = _box(centre, radius)
        values = integrand(box, True)
        if values.is_finite() and _breaks_promise(integrand, values, centre, radius):
            raise ValueError(
                f"the integrand is not analytic on {box}, although it says so: does it ignore the "
                "flag `analytic`, or branch on a midpoint?"
            )


def _boxes(low: arb, high: arb, depth: int) -> Iterator[tuple[arb, arb]]:
    for level in range(depth + 1):
        parts = 2**level
        radius = ((high - low) / (2 * parts)).mid()
        for index in range(parts):
            yield (low + (2 * index + 1) * radius).mid(), radius


def _box(centre: arb, radius: arb) -> acb:
    return acb(arb(centre, radius), arb(0, radius))


def _breaks_promise(integrand: Integrand, values: acb, centre: arb, radius: arb) -> bool:
    bound = values.abs_upper()
    circle = [
        integrand(acb(centre) + acb(radius / SHRINK) * acb(arb(2 * k) / POINTS).exp_pi_i(), False)
        for k in range(POINTS)
    ]
    if not all(values.overlaps(value) for value in circle):
        return True
    mean = sum(circle, acb(0)) / POINTS
    defect = (mean - integrand(acb(centre), False)).abs_lower()
    return bool(defect > bound / (SHRINK**POINTS - 1))
