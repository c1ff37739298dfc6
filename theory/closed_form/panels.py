"""Fast arrays: local polynomials of degree 11, fitted to balls when data first ask for them.

The doubles are cut into panels by their leading bits (sign, exponent, three bits of mantissa), so
that finding an element's panel is a shift and a look-up. A panel that one polynomial cannot serve
to 2 ulp is halved, again and again; what is left after nine halvings (around zeros of f, at the
edge of the domain) goes to the scalar evaluator, and so do panels that few elements hit. The
outcome depends on the array alone and not on what was evaluated before.
"""

from __future__ import annotations

import functools
import math
import struct
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
from flint import arb, arb_mat, ctx
from numpy.typing import NDArray

from . import balls
from .arguments import Domain

Array = NDArray[np.float64]

DEGREE = 11
FIRST_BITS, LAST_BITS = 3, 12  # mantissa bits that number a panel, before and after all halvings
FEW = 16  # fewer elements than this are cheaper one by one than a panel is to fit
CHUNK = 2**14  # elements whose temporaries fit the cache
FIT_BITS = 80
SLACK = 2  # ulp at the test points

# What the look-up table holds: a row of coefficients (≥ 0), one of these two, or, from
# FIRST_SPLIT downwards, the number of a halved panel.
UNSEEN, SCALAR, FIRST_SPLIT = -1, -2, -3

# Fit at the zeros of the Chebyshev polynomial T₁₂, test where it is largest (every other time).
NODES = np.cos(np.pi * (np.arange(DEGREE + 1) + 0.5) / (DEGREE + 1))
TESTS = np.cos(np.pi * np.arange(0, DEGREE + 2, 2) / (DEGREE + 1)) * (1 - 2.0**-40)


class PanelTable:
    """The panels of one function that have been fitted so far."""

    def __init__(
        self,
        name: str,
        evaluate: Callable[[Any], Any],
        nearest: Callable[[Fraction], float],
        domain: Domain,
    ) -> None:
        self.name = name
        self.evaluate = evaluate
        self.nearest = nearest
        self.domain = domain
        self.roots = np.full(2 ** (12 + FIRST_BITS), UNSEEN, dtype=np.int64)
        self.halves: list[tuple[int, int]] = []
        self.rows: list[list[float]] = []
        self.freeze()

    def __call__(self, x: NDArray[Any]) -> Array:
        """Evaluate elementwise, within 4 ulp.

        Raises:
            TypeError: If the dtype is not real or wider than a double.
            ValueError: If an element is not finite, outside the domain, or an integer that is no
                double; the message gives its index and value.
        """
        points = self.admit(x).ravel()
        panel = _leading_bits(points, FIRST_BITS)
        hits = np.bincount(panel, minlength=self.roots.size)
        self.fit(np.flatnonzero((hits >= FEW) & (self.roots == UNSEEN)))
        result = np.empty(points.shape)
        for start in range(0, points.size, CHUNK):
            part = slice(start, start + CHUNK)
            self.evaluate_chunk(points[part], hits[panel[part]] < FEW, result[part])
        return result.reshape(x.shape)

    def admit(self, x: NDArray[Any]) -> Array:
        """Return the array in double precision, or refuse it."""
        if x.dtype.kind not in "iuf" or x.dtype.itemsize > 8:
            raise TypeError(f"{self.domain.name} has dtype {x.dtype}; allowed: real, up to float64")
        points = np.ascontiguousarray(x, dtype=np.float64)
        smallest, largest = self.domain.doubles
        good = (points >= smallest) & (points <= largest)  # False for NaN, too
        if x.dtype.kind in "iu":
            good &= points.astype(x.dtype) == x
        if not good.all():
            index = np.unravel_index(int(np.argmin(good)), x.shape)
            place = ", ".join(str(i) for i in index)
            raise ValueError(
                f"{self.domain.name}[{place}] = {x[index]} is not a double in the domain "
                f"{self.domain}"
            )
        return points

    def evaluate_chunk(self, x: Array, few: NDArray[np.bool_], result: Array) -> None:
        """Write f(x) to result; elements in panels that few others share go one by one."""
        row = self.find(x)
        alone = few | (row < 0)
        with np.errstate(all="ignore"):  # elements without a row borrow the first one's
            self.horner(x, np.maximum(row, 0), result)
        for i in np.flatnonzero(alone):
            result[i] = self.nearest(Fraction(float(x[i])))

    def find(self, x: Array) -> NDArray[np.int64]:
        """Return each element's row of coefficients, or a negative number if it has none."""
        found = self.roots[_leading_bits(x, FIRST_BITS)]
        for depth in range(FIRST_BITS + 1, LAST_BITS + 1):
            (split,) = np.nonzero(found <= FIRST_SPLIT)
            if not split.size:
                break
            bit = _leading_bits(x[split], depth) & 1
            found[split] = self.split_table[FIRST_SPLIT - found[split], bit]
        return found

    def horner(self, x: Array, row: NDArray[np.int64], result: Array) -> None:
        """Evaluate each element's polynomial in t = (x − middle)/half, which is exact."""
        t = (x - self.columns[0].take(row)) / self.columns[1].take(row)
        self.columns[-1].take(row, out=result, mode="clip")
        for column in self.columns[-2:1:-1]:
            result *= t
            result += column.take(row)

    def fit(self, panels: NDArray[np.int64]) -> None:
        """Fit these panels."""
        for panel in panels:
            self.roots[panel] = self.fit_panel(int(panel), FIRST_BITS)
        if panels.size:
            self.freeze()

    def freeze(self) -> None:
        """Lay out what was fitted as arrays: middle, half width, coefficients from the constant."""
        rows = self.rows or [[0.0, 1.0, *[0.0] * (DEGREE + 1)]]  # a row for rows that are not used
        self.columns = np.ascontiguousarray(np.array(rows).T)
        self.split_table = np.array(self.halves or [(SCALAR, SCALAR)], dtype=np.int64)

    def fit_panel(self, panel: int, depth: int) -> int:
        """Return the table entry for a panel: a new row, SCALAR, or a new split."""
        middle, half = _middle_and_half(panel, depth)
        coefficients = self.coefficients(middle, half)
        if coefficients is not None:
            self.rows.append([middle, half, *coefficients])
            return len(self.rows) - 1
        if depth == LAST_BITS:
            return SCALAR
        self.halves.append((SCALAR, SCALAR))
        place = len(self.halves) - 1
        self.halves[place] = (
            self.fit_panel(2 * panel, depth + 1),
            self.fit_panel(2 * panel + 1, depth + 1),
        )
        return FIRST_SPLIT - place

    def coefficients(self, middle: float, half: float) -> list[float] | None:
        """Return a polynomial that is good enough on the panel, or None."""
        tests = middle + half * TESTS
        if not all(Fraction(float(x)) in self.domain for x in tests):
            return None
        constant = self.constant(middle, half)
        if constant is not None:
            return [constant, *[0.0] * DEGREE]
        try:
            return self.interpolate(middle, half, tests)
        except ArithmeticError:  # a zero of f at a node
            return None

    def constant(self, middle: float, half: float) -> float | None:
        """Return the double to which f rounds on the whole panel, if there is one."""
        with ctx.workprec(FIT_BITS + 48):
            return balls.nearest_double(self.evaluate(arb(middle, half)))

    def interpolate(self, middle: float, half: float, tests: Array) -> list[float] | None:
        """Interpolate f at the Chebyshev nodes, and return the polynomial if it passes the tests.

        Raises:
            ArithmeticError: If f is 0 at a node or at a test point.
        """
        prec, truth = self.values([Fraction(float(x)) for x in tests], balls.START_PRECISION)
        rounded = np.array([float(ball) for ball in truth])
        size = np.abs(rounded)
        if not np.isfinite(size).all() or size.max() > 3 * size.min():
            return None  # is_good would refuse, as 3/2 of the constant term is over 3 times 1/2
        points = [Fraction(middle) + Fraction(half) * Fraction(float(t)) for t in NODES]
        found = _solve(self.values(points, prec)[1])
        return found if is_good(found, (tests - middle) / half, rounded) else None

    def values(self, points: list[Fraction], prec: int) -> tuple[int, list[Any]]:
        """Return accurate balls around f, and the precision that the last of them took."""
        found = []
        for x in points:
            prec, ball = balls.accurate(self.evaluate, x, FIT_BITS, self.name, prec)
            found.append(ball)
        return prec, found


def is_good(coefficients: list[float], t: Array, truth: Array) -> bool:
    """Check a polynomial as it will be evaluated: 2 ulp at the tests, and little cancellation."""
    # Then Horner's own rounding errors stay below 3 ulp at every point of the panel.
    if not 2 * np.abs(coefficients[1:]).sum() <= abs(coefficients[0]):
        return False
    values = np.full_like(t, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        values = values * t + coefficient
    return bool(np.all(np.abs(values - truth) <= SLACK * np.spacing(np.abs(truth))))


def _leading_bits(x: Array, depth: int) -> NDArray[np.int64]:
    """Return sign, exponent and the first depth bits of the mantissa as one integer."""
    bits: NDArray[np.int64] = (x.view(np.uint64) >> np.uint64(52 - depth)).astype(np.int64)
    return bits


def _middle_and_half(panel: int, depth: int) -> tuple[float, float]:
    """Return the middle and half the width of a panel; both are doubles."""
    (edge,) = struct.unpack("<d", struct.pack("<Q", panel << (52 - depth)))
    half = math.ldexp(math.ulp(edge), 51 - depth)
    return edge + math.copysign(half, edge), half


def _solve(values: list[Any]) -> list[float]:
    """Return the coefficients of the polynomial with these values at the nodes."""
    with ctx.workprec(FIT_BITS + 48):
        solution = _inverse_vandermonde() * arb_mat([[value] for value in values])
    return [float(solution[i, 0]) for i in range(DEGREE + 1)]


@functools.cache
def _inverse_vandermonde() -> Any:
    with ctx.workprec(FIT_BITS + 48):
        return arb_mat([[arb(float(t)) ** j for j in range(DEGREE + 1)] for t in NODES]).inv()
