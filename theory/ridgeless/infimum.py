r"""The floor: the certified infimum of the limiting risk over all bandwidths.

Statement (claim ``ridgeless.inconsistency``): for SNR > 0,
:math:`\inf_{c>0}\,[\mathrm{SNR}\,B(c)+V(c)] > 0`, enclosed here by branch and bound. For SNR ≤ s*
it is SNR, the risk of the zero function, approached as c → 0 and never attained.

(0, ∞) is cut into boxes [lo, hi]; the bounds leave no gap:

* (0, hi]: risk ≥ SNR·B(hi), and ≥ SNR − V(hi)(SNR/s* − 1) by `theory.ridgeless.null_predictor`;
* [lo, ∞): risk ≥ V(lo);
* between: risk ≥ SNR·B(hi) + V(lo), as B does not increase and V does not decrease
  (`theory.ridgeless.monotone`), and on short boxes the minimum of a polynomial with an error.

The box with the least bound is cut until it meets what a point attains. Source: this project.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import Any

import sympy
from flint import arb, ctx

from ..certified_minimum import minimum, real, sublevel
from ..closed_form.arguments import exact
from ..closed_form.balls import ball_of
from ..validation import integer
from .curves import LocalRisk, RiskCurve, risk_curve
from .kernels import Kernel
from .null_predictor import null_proof
from .threshold import exact_ball, null_threshold

_MOST_BOXES = 4000
_ROUGH = 1.02  # hi/lo; for one digit, two points bound a box well enough
_SHORTEST = 1 + 2.0**-30  # hi/lo; a model that fails on less than that fails for good
_SMALLEST_SNR = Fraction(1, 10**308)


@dataclass(frozen=True)
class Floor:
    """The infimum over all bandwidths of the limiting risk SNR·B(c) + V(c), in units of σ².

    Attributes:
        lower: A float that is at most the infimum.
        upper: A float that is at least the infimum.
        bandwidth: (lo, hi) in grid spacings: every minimiser lies between them; None if there is
            none, because the infimum is the zero function's risk SNR, approached as c → 0.
        enclosure: A ball around the infimum, with all digits.
        boxes: Number of boxes that the proof took.
    """

    lower: float
    upper: float
    bandwidth: tuple[float, float] | None
    enclosure: arb = field(repr=False)
    boxes: int = 0

    @property
    def null(self) -> bool:
        """Whether no interpolant beats the zero function."""
        return self.bandwidth is None


def floor(kernel: Kernel, snr: float | Fraction | str, digits: int | None = None) -> Floor:
    """Return certified bounds of inf_c [SNR·B(c) + V(c)] that agree to so many digits.

    Args:
        kernel: Gaussian, Laplace, Matern or Cauchy in d ≤ 3, or a coordinate product of these
            with a closed form.
        snr: ‖f*‖²/σ² > 0; int, Fraction and str are taken exactly, a float as the double it is.
        digits: Relative accuracy, (upper − lower)/upper ≤ 10^−digits; the bounds as floats are
            rounded outwards, `enclosure` is not. 12 if not given, at most 100 where V has a
            closed form (18 for Matérn 3/2 and 5/2); else 6 if not given and at most 8. See
            `most_digits`.

    Raises:
        TypeError: If the kernel has no certified alias sums (for example SpectralKernel), or snr
            is no real number.
        ValueError: If snr is not finite and positive, or digits is out of range.
        ArithmeticError: If the bounds do not meet with 4000 boxes.

    Source: this project.

    Examples:
        >>> from theory.ridgeless import Laplace, floor
        >>> bounds = floor(Laplace(), 1)
        >>> bounds.lower, bounds.upper
        (0.5003431261957041, 0.5003431261957042)
        >>> floor(Laplace(), "1/4").null
        True
    """
    if not isinstance(kernel, Kernel):
        raise TypeError(f"kernel = {kernel!r} must be a kernel of theory.ridgeless")
    ratio = _checked_snr(snr)
    curve = risk_curve(kernel)
    wanted = _checked_digits(digits, curve)
    if not _beats_zero(kernel, ratio):
        with ctx.workprec(int(3.33 * wanted) + 64):
            value = ball_of(ratio)
        null_proof(kernel)  # without it, nothing would be certified
        return Floor(*_floats(value, value), None, value)
    return _Search(curve, ratio, wanted).run()


def most_digits(kernel: Kernel) -> int:
    """Return the most digits that `floor` certifies for a kernel."""
    return risk_curve(kernel).most_digits


def _checked_snr(snr: Any) -> Fraction:
    value = exact(snr, "snr")
    if not _SMALLEST_SNR <= value <= 1 / _SMALLEST_SNR:
        raise ValueError(f"snr = {snr!r} must be a number > 0 (between 1e-308 and 1e308)")
    return value


def _checked_digits(digits: object, curve: RiskCurve) -> int:
    most = curve.most_digits
    if digits is None:
        return 12 if most >= 12 else 6
    value = integer("digits", digits, 1)
    if value > most:
        raise ValueError(f"digits = {value} must be at most {most} for {curve.kernel!r}")
    return value


@lru_cache(maxsize=64)
def _threshold(kernel: Kernel) -> sympy.Expr:
    return null_threshold(kernel)


def _beats_zero(kernel: Kernel, snr: Fraction) -> bool:
    """Whether SNR > s*, exactly."""
    return bool(sympy.Rational(snr.numerator, snr.denominator) > _threshold(kernel))


def _floats(lower: arb, upper: arb) -> tuple[float, float]:
    """Doubles rounded outwards."""
    low, high = float(lower.lower().mid()), float(upper.upper().mid())
    while arb(low) > lower.lower():
        low = math.nextafter(low, -math.inf)
    while arb(high) < upper.upper():
        high = math.nextafter(high, math.inf)
    return low, high


@dataclass(frozen=True, eq=False)
class _Box:
    """An interval of bandwidths; lo = None stands for 0 and hi = None for ∞.

    Attributes:
        bound: The risk is at least this on the box.
        local: The model that gave the bound; None as long as only monotonicity did.
        digits: The model's digits.
    """

    lo: arb | None
    hi: arb | None
    bound: arb
    local: LocalRisk | None = None
    digits: int = 0


class _Search:
    """Best-first branch and bound for one SNR > s*."""

    def __init__(self, curve: RiskCurve, snr: Fraction, digits: int) -> None:
        self.curve, self.digits = curve, digits
        self.prec = 2 * int(3.33 * digits) + 64
        self.narrow = null_proof(curve.kernel).narrow
        with ctx.workprec(self.prec):
            self.snr = ball_of(snr)
            self.excess = self.snr / exact_ball(_threshold(curve.kernel)) - 1
            self.upper = self.snr.upper()
        self.boxes: list[_Box] = []
        self.points: dict[object, tuple[arb, arb]] = {}

    def run(self) -> Floor:
        """Cut the box with the least bound until that bound meets the best point."""
        with ctx.workprec(self.prec):
            self.boxes = [self.monotone(None, arb(1)), self.monotone(arb(1), None)]
            for count in range(_MOST_BOXES):
                worst = min(self.boxes, key=lambda box: box.bound)
                if self.upper - worst.bound <= self.upper / arb(10) ** self.digits:
                    return self.result(worst.bound, count)
                self.boxes = [b for b in self.boxes if b is not worst and b.bound <= self.upper]
                self.boxes += self.cut(worst)
        raise ArithmeticError(
            f"{self.curve.kernel!r}, snr = {self.snr.str(8)}: the bounds do not meet to "
            f"{self.digits} digits with {_MOST_BOXES} boxes"
        )

    def result(self, lower: arb, count: int) -> Floor:
        """Put together what is proved."""
        ends = [self.minimisers(box) for box in self.boxes if box.bound <= self.upper]
        low, high = min(end[0] for end in ends), max(end[1] for end in ends)
        bandwidth = (_floats(low, low)[0], _floats(high, high)[1])
        enclosure = lower.union(self.upper)
        return Floor(*_floats(lower, self.upper), bandwidth, enclosure, count + len(self.boxes))

    def minimisers(self, box: _Box) -> tuple[arb, arb]:
        """An interval that contains every minimiser in the box."""
        lo, hi = box.lo or arb(0), box.hi or arb.pos_inf()
        inside = box.local and sublevel(box.local.model, self.upper)
        if not (box.local and inside):
            return lo, hi
        first, last = (box.local.bandwidth(t) for t in inside)
        return max(lo, first.lower()), min(hi, last.upper())

    # --- bounds ------------------------------------------------------------------------------

    def at(self, c: arb) -> tuple[arb, arb]:
        """B(c) and V(c), V to a few digits where it is costly; what the point attains is noted."""
        key = c.man_exp()  # which refuses a c that is not exact
        if key not in self.points:
            B = self.curve.approximation(c, self.digits + 3)
            V = self.curve.estimation(c, self.curve.coarse_digits or self.digits + 3)
            self.points[key] = B, V
            self.upper = min(self.upper, (self.snr * B + V).upper())
        return self.points[key]

    def monotone(self, lo: arb | None, hi: arb | None) -> _Box:
        """A box bounded by its two ends alone."""
        V = arb(0) if lo is None else self.at(lo)[1].lower()
        bound = V if hi is None else (self.snr * self.at(hi)[0].lower() + V).lower()
        if lo is None and hi is not None and hi <= self.narrow:
            narrow = self.snr - self.at(hi)[1].upper() * self.excess.upper()
            bound = max(bound, narrow.lower())
        return _Box(lo, hi, bound)

    def cut(self, box: _Box) -> list[_Box]:
        """Replace a box by others with better bounds."""
        if box.lo is None or box.hi is None:
            middle = 4 * box.lo if box.lo is not None else _required(box.hi) / 4
        elif box.hi > (self.curve.ratio if self.digits > 1 else _ROUGH) * box.lo:
            middle = _between(box.lo, box.hi)
        else:
            return self.model(box, box.lo, box.hi)
        return [self.monotone(box.lo, middle), self.monotone(middle, box.hi)]

    def model(self, box: _Box, lo: arb, hi: arb) -> list[_Box]:
        """Bound a short box by a polynomial, first a coarse one if the curve has such a stage."""
        coarse = self.curve.coarse_digits
        digits = coarse if coarse and not box.digits else self.final_digits(box.digits)
        try:
            local = self.curve.local(lo, hi, self.snr, digits)
        except ArithmeticError:
            if not hi > _SHORTEST * lo:
                raise
            middle = _between(lo, hi)
            return [self.monotone(lo, middle), self.monotone(middle, hi)]
        found = minimum(local.model, arb(10) ** -digits)
        self.upper = min(self.upper, found.upper)
        modelled = _Box(lo, hi, max(box.bound, found.lower), local, digits)
        if digits != coarse:
            return [modelled]
        if sublevel(local.model, self.upper) is None:
            return []
        low, high = self.minimisers(modelled)  # what is cut away lies above what is attained
        return [_Box(low, high, modelled.bound, None, digits)]

    def final_digits(self, before: int) -> int:
        """Decimals for the asked relative accuracy; more if a model as good did not do."""
        decimals = self.digits + 1 + max(0, math.ceil(-math.log10(real(self.upper))))
        return decimals if before < decimals else before + 4


def _required(c: arb | None) -> arb:
    """The whole half-line is never a box."""
    if c is None:
        raise AssertionError("a box without ends")
    return c


def _between(lo: arb, hi: arb) -> arb:
    """A short dyadic number near the geometric mean."""
    with ctx.workprec(30):
        return (lo * hi).sqrt().mid()
