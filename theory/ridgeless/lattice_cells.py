"""Certified integral of Q/S² over the cube [0, 1]^d, for `theory.ridgeless.lattice_risk`.

Q/S² = (1+E_2)/(1+E_1)² is even in each θ_i, so the integral is 2^d times that over [0, ½]^d: dyadic
shells of cubes around θ = 0, where there is a singularity, or almost one, with tensor Gauss rules
and Bernstein's bound; the cube in the corner by a Gauss rule, too, or by the range of the integrand
where it is tiny.

Source: this project.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise, product
from math import comb

from flint import arb, arb_mat, ctx, fmpq

from .lattice_spectra import Bound, Grid, Spectrum, number
from .lattice_sums import AliasSums, sums_at
from .theta_products import plus_minus, thetas


def integrate(sums: AliasSums, tolerance: float) -> arb:
    """A ball around the integral of Q/S² over [0, 1]^d, of radius about the tolerance.

    Raises:
        ArithmeticError: If no Gauss rule of moderate order is accurate enough.
    """
    cells = _plan(sums, tolerance)
    total = arb(0)
    for cell in cells:
        total += cell.count * cell.volume * (_mean(sums, cell) + plus_minus(cell.error))
    integral: arb = total * 2**sums.spectrum.dimension
    return integral


# Cells


@dataclass(frozen=True, eq=False)
class Cell:
    """The cubes with ``high`` coordinates in [s, 2s] and the others in [0, s], s = 2^{−shell−2}.

    Attributes:
        orders: Of the Gauss rules for the low and the high coordinates; 0 for no rule at all but
            the range of the integrand (in the corner).
        error: Bound for the rule's error, per unit of volume.
    """

    dimension: int
    shell: int
    high: int
    orders: tuple[int, int]
    error: Bound

    @property
    def count(self) -> int:
        """How many such cubes there are."""
        return comb(self.dimension, self.high)

    @property
    def side(self) -> arb:
        """Length s."""
        return arb(2) ** -(self.shell + 2)

    @property
    def volume(self) -> arb:
        """Volume s^d."""
        return self.side**self.dimension

    @property
    def kinds(self) -> list[int]:
        """1 for the high coordinates, which come first, and 0 for the low ones."""
        return [1] * self.high + [0] * (self.dimension - self.high)

    @property
    def cost(self) -> int:
        """Points of the tensor rule."""
        return math.prod(self.orders[kind] for kind in self.kinds)


def _plan(sums: AliasSums, tolerance: float) -> list[Cell]:
    """The cheapest subdivision whose errors together are below the tolerance, or thereabouts."""
    d = sums.spectrum.dimension
    outer: list[Cell] = []
    plans: list[list[Cell]] = []
    for shells in range(80):
        share = tolerance / 4 * 2.0 ** (d * shells)
        corner = _ruled_cell(sums.spectrum, shells - 1, 0, share)
        if corner is not None:
            plans.append([*outer, corner])
        if _range_is_narrow(sums, shells, share):
            plans.append([*outer, Cell(d, shells - 1, 0, (0, 0), arb(0))])
            break
        if plans and _cost(outer) > min(map(_cost, plans)):
            break
        # Each shell may add half of what the one before it may; there are 2^d − 1 cubes.
        each = tolerance / 4 * 2.0 ** (d * (shells + 1) - shells) / (2**d - 1)
        ring = [_ruled_cell(sums.spectrum, shells, high, each) for high in range(1, d + 1)]
        if None in ring:
            break
        outer += [cell for cell in ring if cell is not None]
    best = min(plans, key=_cost, default=None)
    if best is None or _cost(best) > _MAX_POINTS:
        raise ArithmeticError(
            f"no Gauss rules of order <= {_MAX_ORDER} with <= {_MAX_POINTS} points are accurate"
            f" enough for an error of {tolerance:.1g}; ask for fewer digits or a smaller bandwidth"
        )
    return best


def _cost(cells: list[Cell]) -> int:
    return sum(cell.cost for cell in cells)


def _range_is_narrow(sums: AliasSums, shells: int, share: float) -> bool:
    side = arb(2) ** -(shells + 1)
    if not side * sums.spectrum.dimension < arb(0.5):
        return False
    return float(_corner_range(sums, side).rad()) < share


def _corner_range(sums: AliasSums, side: arb) -> arb:
    """Range of (1+E_2)/(1+E_1)² over [0, side]^d: E_k there against its value at 0."""
    length = arb(sums.spectrum.dimension).sqrt() * side
    at_zero = sums_at(sums, [arb(0)] * sums.spectrum.dimension)
    growth = sums.spectrum.growth(length)
    own = sums.spectrum.inverse(length**2, 1) / sums.spectrum.inverse(arb(0), 1)
    first, second = (
        (at_zero[k - 1] / growth**k).union(at_zero[k - 1] * (growth * own) ** k) for k in (1, 2)
    )
    return (1 + second) / (1 + first) ** 2


def _mean(sums: AliasSums, cell: Cell) -> arb:
    """The Gauss rule's value for the mean of the integrand over the cell, or its range."""
    if cell.orders == (0, 0):
        return _corner_range(sums, cell.side)
    rules = [_axis(cell.orders[kind], cell.shell, kind, ctx.prec) for kind in cell.kinds]
    tables = [
        _table(cell.orders[kind], cell.shell, kind, sums.grid, ctx.prec) for kind in cell.kinds
    ]
    u = [
        sum(squares[1:], squares[0]) for squares in product(*([x * x for x, _ in r] for r in rules))
    ]
    weights = [math.prod(w[1:], start=w[0]) for w in product(*([w for _, w in r] for r in rules))]
    first, second = (sums.evaluate(power, tables, u) for power in (1, 2))
    total = arb(0)
    for weight, e1, e2 in zip(weights, first, second, strict=True):
        total += weight * (1 + e2) / (1 + e1) ** 2
    return total


@lru_cache(maxsize=256)
def _axis(order: int, shell: int, kind: int, prec: int) -> list[tuple[arb, arb]]:  # noqa: ARG001
    """Gauss nodes on [s, 2s] or [0, s] and their weights, of sum 1; prec is part of the key."""
    side = arb(2) ** -(shell + 2)
    rule = (arb.legendre_p_root(order, k, weight=True) for k in range(order))
    return [(side * (kind + (1 + x) / 2), w / 2) for x, w in rule]


@lru_cache(maxsize=256)
def _table(order: int, shell: int, kind: int, grid: Grid, prec: int) -> tuple[arb_mat, arb_mat]:
    """Theta functions at the nodes; the same for every c, hence worth keeping."""
    return thetas(grid.times, [x for x, _ in _axis(order, shell, kind, prec)])


# Errors of the Gauss rules

_MAX_ORDER = 120
_MAX_POINTS = 1_000_000  # well under a minute
_PIECES = 8
_EXCESSES = [Fraction(6, 5) ** k for k in range(13, -16, -2)]  # ρ − 1, from 10.7 to 0.08


def _ruled_cell(source: Spectrum, shell: int, high: int, tolerance: float) -> Cell | None:
    """A cell with Gauss rules whose error per unit of volume is below the tolerance.

    If |f| ≤ M in the Bernstein ellipse ρ, Chebyshev's series cut at degree 2n−1 misses
    2Mρ^{-2n}/(1−1/ρ); the rule and the mean (total weight 1 each) double it. One such error for
    each coordinate in turn, the others real.
    """
    d, orders, error = source.dimension, [0, 0], arb(0)
    for kind, count in ((0, d - high), (1, high)):
        if count:
            order, bound = _axis_rule(source, shell, high, kind, tolerance / d)
            if order > _MAX_ORDER:
                return None
            orders[kind], error = order, error + count * bound
    return Cell(d, shell, high, (orders[0], orders[1]), error)


def _axis_rule(
    source: Spectrum, shell: int, high: int, kind: int, tolerance: float
) -> tuple[int, Bound]:
    """The least even order for one kind of coordinate, and its error."""
    best, error = _MAX_ORDER + 1, arb(0)
    for excess in _EXCESSES:
        rho = 1 + arb(fmpq(excess.numerator, excess.denominator))
        M = _ellipse_bound(source, shell, high - kind, kind, rho)
        if M is None or not M.is_finite():
            continue
        factor = 4 * M / (1 - 1 / rho)
        needed = math.log(float(factor.upper()) / tolerance) / (2 * math.log(number(rho)))
        order = max(2, 2 * math.ceil(needed / 2))
        if order < best:
            best, error = order, factor * rho ** (-2 * order)
    return best, error


def _ellipse_bound(source: Spectrum, shell: int, others: int, kind: int, rho: arb) -> Bound | None:
    """Bound of the integrand when one coordinate runs over the ellipse, the others real.

    Of the other coordinates ``others`` are at least s. Every interior point has the real part of
    a point of the boundary and a smaller imaginary part, so the bounds along the boundary suffice.
    """
    side = arb(2) ** -(shell + 2)
    centre, half = side * kind + side / 2, side / 2
    wide, tall = half * (rho + 1 / rho) / 2, half * (rho - 1 / rho) / 2
    worst = arb(0)
    for cosine, sine in _arcs(_PIECES):
        distance = _distance_to_integers(centre + wide * cosine)
        M = source.ellipse_bound(others * side**2, distance, tall * sine)
        if M is None:
            return None
        worst = worst.max(M)
    return worst


@lru_cache(maxsize=4)
def _arcs(pieces: int) -> list[tuple[arb, arb]]:
    """Balls around cos over pieces of [0, π], and upper bounds of sin there."""
    ends = [arb(fmpq(k, pieces)) for k in range(pieces + 1)]
    arcs = [(a.union(b), a, b) for a, b in pairwise(ends)]
    return [
        (a.cos_pi().union(b.cos_pi()), whole.sin_pi().min(arb(1)).abs_upper())
        for whole, a, b in arcs
    ]


def _distance_to_integers(x: arb) -> arb:
    """Lower bound of min_k |x − k| over a ball of radius below 1/2."""
    if not x.rad() < 0.5:
        return arb(0)
    below = math.floor(number(x))
    return (x - below).abs_lower().min((x - below - 1).abs_lower())
