"""Certified minima of a function that is known as a polynomial with an error on [−1, 1].

A piece of the interval is bounded by the best of: the sum of its coefficients' sizes; its ends,
where the derivative keeps one sign; and Newton's parabola, where the second derivative is
positive: q(u) ≥ q(v) − q'(v)²/(2 inf q''). Coefficients on a piece come from an exact shift.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flint import arb, arb_poly

_DEEPEST = 40


@dataclass(frozen=True, eq=False)
class Model:
    """|f(t) − polynomial(t)| ≤ error for all t in [−1, 1].

    Attributes:
        polynomial: Coefficients are balls.
        error: An upper bound, not negative.

    Raises:
        ArithmeticError: If a coefficient or the error is not finite: then nothing is known.
    """

    polynomial: arb_poly
    error: arb

    def __post_init__(self) -> None:
        """Refuse what bounds nothing."""
        if not all(q.is_finite() for q in [*self.polynomial.coeffs(), self.error]):
            raise ArithmeticError(f"a model with error {self.error} bounds nothing")


@dataclass(frozen=True, eq=False)
class Minimum:
    """What is proved of the least value.

    Attributes:
        lower: At most the least value.
        upper: At least the least value.
        point: A point t in [−1, 1] at which `upper` was found.
    """

    lower: arb
    upper: arb
    point: arb


@dataclass(frozen=True, eq=False)
class _Piece:
    """The polynomial in u, where t = middle + radius·u runs over a part of [−1, 1]."""

    middle: arb
    radius: arb
    coefficients: list[arb]

    @staticmethod
    def of(polynomial: arb_poly, middle: arb, radius: arb) -> _Piece:
        return _Piece(middle, radius, polynomial(arb_poly([middle, radius])).coeffs() or [arb(0)])

    def halves(self, polynomial: arb_poly) -> list[_Piece]:
        half = self.radius / 2
        return [_Piece.of(polynomial, self.middle + side * half, half) for side in (-1, 1)]

    def __call__(self, u: arb) -> arb:
        return arb_poly(self.coefficients)(u)

    def _beyond(self, start: int, order: int) -> arb:
        """Σ_{k ≥ start} k(k−1)…(k−order+1) |q_k|: a bound of what these terms can contribute."""
        total = arb(0)
        for k, q in enumerate(self.coefficients[start:], start):
            total += q.abs_upper() * (1 if order == 0 else k if order == 1 else k * (k - 1))
        return total

    def _coefficient(self, k: int) -> arb:
        return self.coefficients[k] if k < len(self.coefficients) else arb(0)

    @property
    def monotone(self) -> bool:
        return bool(self._coefficient(1).abs_lower() > self._beyond(2, order=1))

    @property
    def convexity(self) -> arb:
        """A lower bound of q'' on [−1, 1]."""
        return (2 * self._coefficient(2) - self._beyond(3, order=2)).lower()

    def stationary_point(self) -> arb:
        """An exact point of [−1, 1] near which q' vanishes, if q is convex; no proof."""
        slope = arb_poly(self.coefficients).derivative()
        bend, u = slope.derivative(), arb(0)
        for _ in range(6):
            step = (slope(u) / bend(u)).mid()
            u = (u - step).mid() if step.is_finite() else u
            u = max(arb(-1), min(arb(1), u))
        return u

    def best(self) -> tuple[arb, arb]:
        """A lower bound of q on the piece, and a point with a small value."""
        if self.monotone:
            u = arb(-1) if self._coefficient(1) > 0 else arb(1)
            return self(u).lower(), u
        rough, bend = (self._coefficient(0) - self._beyond(1, order=0)).lower(), self.convexity
        if not bend > 0:
            return rough, arb(0)
        u = self.stationary_point()
        slope = arb_poly(self.coefficients).derivative()(u)
        return max(rough, (self(u) - slope**2 / (2 * bend)).lower()), u


def minimum(model: Model, slack: arb) -> Minimum:
    """Enclose the least value on [−1, 1], to within slack plus the model's own error.

    Where the balls of the polynomial are wider than the slack, the enclosure is what they allow.
    """
    whole = _Piece.of(model.polynomial, arb(0), arb(1))
    upper, point, lowest = arb.pos_inf(), arb(0), arb.pos_inf()
    pieces = [(whole, 0)]
    while pieces:
        piece, depth = pieces.pop()
        lower, u = piece.best()
        value = piece(u).upper()
        if value < upper:
            upper, point = value, (piece.middle + piece.radius * u).mid()
        if lower >= upper - slack or depth == _DEEPEST:
            lowest = min(lowest, lower)
        else:
            pieces += [(half, depth + 1) for half in piece.halves(model.polynomial)]
    lower = min(lowest, upper)
    return Minimum((lower - model.error).lower(), (upper + model.error).upper(), point)


def sublevel(model: Model, level: arb, depth: int = 24) -> tuple[arb, arb] | None:
    """Return an interval that contains all t in [−1, 1] with f(t) ≤ level, or None if none has.

    Args:
        model: The function.
        level: The level.
        depth: The interval exceeds the tightest one by at most 2^−depth at each end.
    """
    bound = level + model.error
    ends = [_first(model.polynomial, bound, side, depth) for side in (-1, 1)]
    return None if ends[0] is None or ends[1] is None else (ends[0], ends[1])


def _first(polynomial: arb_poly, level: arb, side: int, depth: int) -> arb | None:
    """The end, towards `side`, of the pieces that may reach below the level."""
    pieces = [(_Piece.of(polynomial, arb(0), arb(1)), 0)]
    while pieces:
        piece, level_of = pieces.pop()
        if piece.best()[0] > level:
            continue
        if level_of == depth:
            return (piece.middle + side * piece.radius).mid()
        halves = piece.halves(polynomial)
        pieces += [(half, level_of + 1) for half in (halves if side == 1 else halves[::-1])]
    return None


def real(ball: Any) -> float:
    """The middle of a ball as a float, for choosing where to look; proves nothing."""
    return float(ball.mid())
