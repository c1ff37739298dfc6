"""Certified ranges over an interval, by branch and bound.

A piece of the interval is bounded by the best of three enclosures: the formula evaluated on the
whole piece; a Taylor polynomial at the middle with Lagrange's remainder, which survives
cancellation; and, where the Taylor polynomial shows the derivative free of zeros, the two ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from flint import arb, ctx

Balls = Callable[[Any], Any]
Jets = Callable[[Any, int], list[Any]]

_MOST_PIECES = 2**14
_MOST_PRECISION = 2**13
_MOST_LOST = 2**10  # the Taylor order that makes up for more takes minutes


@dataclass(frozen=True)
class Piece:
    """An interval [lo, hi], a ball around f on it, and enclosures of f at some of its points."""

    lo: Any
    hi: Any
    bounds: Any
    samples: tuple[Any, ...]


@dataclass(frozen=True)
class Encloser:
    """Encloses ranges of one function, given by balls and, if there are any, by jets.

    Attributes:
        name: For messages.
        balls: The function on balls, at flint's current precision.
        jets: (x, length) ↦ its Taylor coefficients at the ball x, or None.
        rtol: The allowed excess, relative to the largest |f| on the interval.
    """

    name: str
    balls: Balls
    jets: Jets | None
    rtol: float

    @property
    def bits(self) -> int:
        """Accuracy that samples need so that they do not blur the tolerance."""
        return 24 - math.frexp(self.rtol)[1]

    def enclose(self, lo: Any, hi: Any) -> Any:
        """Return a ball around the range over [lo, hi].

        Raises:
            ArithmeticError: If the tolerance is out of reach; the message says what was reached.
        """
        with ctx.workprec(self.bits + 64):
            pieces = [self.piece(lo, hi, self.rough_size(lo, hi))]
            while coarse := self.coarse(pieces):
                if len(pieces) + len(coarse) > _MOST_PIECES:
                    raise ArithmeticError(self.complaint(lo, hi, pieces))
                size, known = _attained(pieces)[2], {id(piece) for piece in coarse}
                kept = [piece for piece in pieces if id(piece) not in known]
                pieces = kept + [half for piece in coarse for half in self.halves(piece, size)]
            return self.checked(lo, hi, pieces)

    def coarse(self, pieces: list[Piece]) -> list[Piece]:
        """Return the pieces whose bounds stick out of the attained range by too much."""
        lower, upper, size = _attained(pieces)
        slack = (size * self.rtol / 4).mid()
        return [p for p in pieces if not _within(p.bounds, lower - slack, upper + slack)]

    def checked(self, lo: Any, hi: Any, pieces: list[Piece]) -> Any:
        """Return the hull of all bounds, if it keeps the promise after rounding to a ball."""
        hull, (lower, upper, size) = _hull(p.bounds for p in pieces), _attained(pieces)
        excess = (lower - hull.lower()) + (hull.upper() - upper)
        if not excess <= size * self.rtol:
            raise ArithmeticError(self.complaint(lo, hi, pieces))
        return hull

    def complaint(self, lo: Any, hi: Any, pieces: list[Piece]) -> str:
        """Say what was asked and what was reached."""
        hull, (lower, upper, _) = _hull(p.bounds for p in pieces), _attained(pieces)
        return (
            f"{self.name} on [{lo.str(8)}, {hi.str(8)}]: rtol = {self.rtol} not reached with "
            f"{len(pieces)} pieces; proved {hull.str(12)}, attained "
            f"[{lower.str(12, radius=False)}, {upper.str(12, radius=False)}]"
        )

    def halves(self, piece: Piece, size: Any) -> tuple[Piece, Piece]:
        """Cut a piece in two."""
        middle = _middle(piece.lo, piece.hi)
        if not piece.lo < middle < piece.hi:
            raise ArithmeticError(self.complaint(piece.lo, piece.hi, [piece]))
        return self.piece(piece.lo, middle, size), self.piece(middle, piece.hi, size)

    def piece(self, lo: Any, hi: Any, size: Any) -> Piece:
        """Bound f on [lo, hi]; size is what |f| is known to reach somewhere."""
        prec, value = self.sample(((lo + hi) / 2).mid(), size)
        ends = (self.sample(lo, size)[1], self.sample(hi, size)[1])
        # Terms that cancel leave a remainder that is too large by as many bits as they lost.
        lost = max(0, prec - _accuracy(value, size))
        if lost > _MOST_LOST:
            raise ArithmeticError(f"{self.name} at {lo.str(8)}: {lost} bits cancel, too many")
        with ctx.workprec(prec):
            taylor = self.taylor(lo, hi, ends, order=12 + lost // 4)
            candidates = [self.balls(lo.union(hi)), *taylor]
        return Piece(lo, hi, _smallest(candidates), (value, *ends))

    def rough_size(self, lo: Any, hi: Any) -> Any:
        """Return a size that |f| reaches at an end or in the middle; 0 if balls there hold 0."""
        values = [self.balls(x) for x in (lo, _middle(lo, hi), hi)]
        return max((v.abs_lower() for v in values if v.is_finite()), default=arb(0))

    def sample(self, x: Any, size: Any) -> tuple[int, Any]:
        """Evaluate at an exact point with the wanted accuracy; return the precision, too."""
        prec = self.bits + 64
        while prec <= _MOST_PRECISION:
            with ctx.workprec(prec):
                value = self.balls(x)
            if _accuracy(value, size) >= self.bits:
                return prec, value
            prec *= 2
        raise ArithmeticError(
            f"{self.name} at {x.str(8)}: fewer than {self.bits} bits at {_MOST_PRECISION} bits"
        )

    def taylor(self, lo: Any, hi: Any, ends: tuple[Any, Any], order: int) -> list[Any]:
        """Return the Taylor enclosure, and the hull of the ends if f is monotone on the piece."""
        if self.jets is None:
            return []
        middle, around = ((lo + hi) / 2).mid(), lo.union(hi)
        step = around - middle
        terms = self.jets(middle, order) + self.jets(around, order + 1)[order:]
        slope = _horner([k * terms[k] for k in range(1, order + 1)], step)
        monotone = slope.is_finite() and not slope.contains(0)
        return [_horner(terms, step), *([ends[0].union(ends[1])] if monotone else [])]


def _middle(lo: Any, hi: Any) -> Any:
    """Return an exact point inside: about the geometric mean of a long positive interval."""
    return (lo * hi).sqrt().mid() if 0 < 4 * lo < hi else ((lo + hi) / 2).mid()


def _accuracy(value: Any, size: Any) -> int:
    """Return the bits to which a value is known, relative to itself or to size if that is more."""
    if not value.is_finite():
        return 0
    if value.is_exact():
        return _MOST_PRECISION
    mantissa, exponent = (max(value.abs_lower(), size) / value.rad()).mid().man_exp()
    return int(mantissa.bit_length() + exponent) - 1 if mantissa else 0


def _horner(coefficients: list[Any], x: Any) -> Any:
    total = arb(0)
    for coefficient in reversed(coefficients):
        total = total * x + coefficient
    return total


def _smallest(balls: list[Any]) -> Any:
    finite = [ball for ball in balls if ball.is_finite()]
    return min(finite, key=lambda ball: ball.rad()) if finite else arb.nan()


def _attained(pieces: list[Piece]) -> tuple[Any, Any, Any]:
    """Return what f surely reaches: at most lower, at least upper, and at least size in size."""
    samples = [sample for piece in pieces for sample in piece.samples if sample.is_finite()]
    if not samples:
        return arb.pos_inf(), arb.neg_inf(), arb(0)
    lower = min(sample.upper() for sample in samples)
    upper = max(sample.lower() for sample in samples)
    return lower, upper, max(sample.abs_lower() for sample in samples)


def _within(ball: Any, lower: Any, upper: Any) -> bool:
    return bool(ball.is_finite() and ball.lower() >= lower and ball.upper() <= upper)


def _hull(balls: Iterable[Any]) -> Any:
    """Return one ball around all; a NaN among them spoils it, as it must."""
    everything = list(balls)
    if not all(ball.is_finite() for ball in everything):
        return arb.nan()
    lower = min(ball.lower() for ball in everything)
    return lower.union(max(ball.upper() for ball in everything))
