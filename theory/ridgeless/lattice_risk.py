r"""Certified V(c) and B(c) of isotropic kernels in d = 1, 2, 3, from their definition.

Statements: the balls that `estimation_enclosure` and `approximation_enclosure` return contain

.. math::
    V(c) = \int_{[0,1]^d} \frac{1 + E_2(\theta)}{(1 + E_1(\theta))^2}\,d\theta, \qquad
    B(c) = \frac{E_1(0)^2 + E_2(0)}{(1 + E_1(0))^2}, \qquad
    E_k(\theta) = \sum_{m \ne 0} \Bigl(\frac{\hat\varphi(c(\theta+m))}
    {\hat\varphi(c\theta)}\Bigr)^k.

`estimation_panel`: |V(c) − P(log c)| ≤ e for all c in [lo, hi], by Chebyshev interpolation.
`approximation_jet`: balls around the Taylor coefficients of x ↦ B(e^x) at every point of a ball.

Source: this project.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise, product
from typing import TypeAlias

from flint import arb, arb_poly, arb_series, ctx, fmpq

from .kernels import Kernel
from .lattice_cells import integrate
from .lattice_spectra import Bound, CauchySpectrum, MaternSpectrum, number, spectrum
from .lattice_sums import AliasSums, sums_at, sums_at_origin
from .theta_products import plus_minus, thetas

Bandwidth: TypeAlias = arb | Fraction | int


def _ball(c: Bandwidth) -> arb:
    """The bandwidth as a ball, certainly positive and finite."""
    if isinstance(c, bool) or not isinstance(c, arb | Fraction | int):
        raise TypeError(f"c = {c!r} must be an arb, a Fraction or an int")
    ball = arb(fmpq(c.numerator, c.denominator)) if isinstance(c, Fraction) else arb(c)
    if not (ball > 0 and ball.is_finite()):
        raise ValueError(f"c = {c!r} must be finite and positive")
    return ball


def _check_digits(digits: int) -> None:
    """Refuse what is not an int in 1..25."""
    if isinstance(digits, bool) or not isinstance(digits, int):
        raise TypeError(f"digits = {digits!r} must be an int")
    if not 1 <= digits <= 25:
        raise ValueError(f"digits = {digits!r} must be in 1..25")


def _precision(kernel: Kernel, c: Bandwidth, digits: int) -> int:
    """Bits enough for ∏ϑ − e^{−πt|θ|²}, which cancels, times what amplifies it."""
    with ctx.workprec(64):
        source = spectrum(kernel, _ball(c))
        amplified = source.decay if isinstance(source, MaternSpectrum) else source.parameter
        bits = 96 + 4 * digits + 12 * math.ceil(number(amplified))
        return 64 * math.ceil(bits / 64)  # few precisions, so that tables are shared


def approximation_enclosure(kernel: Kernel, c: Bandwidth, digits: int = 12) -> arb:
    """Certified enclosure of B(c), of relative radius about 10^−digits for exact c.

    Args:
        kernel: Laplace, Matern or Cauchy in dimension 1, 2 or 3.
        c: Bandwidth in grid spacings; for a ball, the result encloses B at all its points.
        digits: Digits aimed at, 1..25; the radius of the result is the proof.

    Raises:
        TypeError: If an argument is of the wrong kind, or the kernel has no tail bound here.
        ValueError: If an argument is out of range.
    """
    _check_digits(digits)
    with ctx.workprec(_precision(kernel, c, digits)):
        ball = _ball(c)
        ends = [ball] if ball.is_exact() else [ball.lower(), ball.upper()]
        sums = [sums_at_origin(spectrum(kernel, end), digits) for end in ends]
        first, second = (sums[0][k].union(sums[-1][k]) for k in (0, 1))  # decreasing in c
        return (first * first + second) / (1 + first) ** 2


def estimation_enclosure(kernel: Kernel, c: Bandwidth, digits: int = 6) -> arb:
    """Certified enclosure of V(c), of relative radius about 10^−digits for exact c.

    Args:
        kernel: Laplace, Matern or Cauchy in dimension 1, 2 or 3.
        c: Bandwidth in grid spacings; for a ball, the result encloses V at all its points.
        digits: Digits aimed at, 1..25; the radius of the result is the proof.

    Raises:
        TypeError: If an argument is of the wrong kind, or the kernel has no tail bound here.
        ValueError: If an argument is out of range.
        ArithmeticError: If no Gauss rule of moderate order is accurate enough.
    """
    _check_digits(digits)
    with ctx.workprec(_precision(kernel, c, digits)):
        source = spectrum(kernel, _ball(c))
        sums = AliasSums.build(source, digits, arb(source.dimension).sqrt() / 2)
        middle = sums_at(sums, [arb(1) / 4] * source.dimension)
        guess = number((1 + middle[1]) / (1 + middle[0]) ** 2)  # V is O(1), or E is flat
        return integrate(sums, 10.0**-digits * guess)


# V as a polynomial

# A function analytic and bounded by M in the Bernstein ellipse ρ around [log lo, log hi] is
# missed by its interpolant in n Chebyshev nodes by at most 4Mρ^{1−n}/(ρ−1). The bounds of
# |Q/S²| below hold for every θ and depend on the imaginary part η of log c:
#
# Matérn. σ²+q = e^{−iη}(|σ²|e^{−iη} + q e^{iη}), where the bracket has modulus between
#    (|σ²|+q) cos η and |σ²|+q and argument within η. So |S| ≥ cos(aη) Σ(|σ²|+q)^{-a} and
#    |Q| ≤ (cos η)^{−2a} Σ(|σ²|+q)^{-2a}, while Q ≤ S² for real σ².
# Cauchy. λ = μ + iτ with τ = μ tan η. Then |Q(λ)| ≤ Q(μ), and, for any real r̄,
#    |S(λ)| ≥ Σ e^{−μr} cos τ(r−r̄) ≥ Σ e^{−μr}(2 − cosh τ(r−r̄)), as cos + cosh ≥ 2. The best r̄
#    gives |S(λ)| ≥ 2S(μ) − √(S(μ−τ)S(μ+τ)) = (2−κ) S(μ), hence |Q/S²| ≤ (2−κ)^{-2}.


@dataclass(frozen=True, eq=False)
class EstimationPanel:
    """|V(c) − polynomial(log c)| ≤ error for c in [lo, hi].

    Attributes:
        polynomial: In x = log c.
        error: Certified bound.
        lo: Left end of the range of c.
        hi: Right end.
    """

    polynomial: arb_poly
    error: Bound
    lo: arb
    hi: arb

    def __call__(self, c: arb) -> arb:
        """A ball around V(c) for c in [lo, hi]."""
        if not self.lo <= c <= self.hi:
            raise ValueError(f"c = {c} must be in [{self.lo}, {self.hi}]")
        return self.polynomial(c.log()) + plus_minus(self.error)


def estimation_panel(
    kernel: Kernel,
    lo: Bandwidth,
    hi: Bandwidth,
    digits: int = 6,
    estimate: Callable[[Kernel, arb, int], arb] = estimation_enclosure,
) -> EstimationPanel:
    """V on [lo, hi] as a polynomial in log c, with a certified error of about 10^−digits.

    Args:
        kernel: Laplace, Matern or Cauchy in dimension 1, 2 or 3.
        lo: Left end of the range of c.
        hi: Right end, larger than lo; the degree grows with log(hi/lo).
        digits: Digits aimed at, 1..20; `error` of the result is the proof.
        estimate: (kernel, c, digits) ↦ a ball around V(c), at the nodes.

    Raises:
        TypeError: If an argument is of the wrong kind, or the kernel has no tail bound here.
        ValueError: If an argument is out of range.
        ArithmeticError: If no ellipse is found in which V is bounded.
    """
    _check_digits(digits)
    with ctx.workprec(_precision(kernel, hi, digits) + 200):
        left, right = _ball(lo), _ball(hi)
        if not left < right:
            raise ValueError(f"lo = {lo!r} must be less than hi = {hi!r}")
        middle, half = (left.log() + right.log()) / 2, (right.log() - left.log()) / 2
        count, missed = _count(kernel, middle, half, digits)
        nodes = [middle + half * arb(fmpq(2 * k + 1, 2 * count)).cos_pi() for k in range(count)]
        values = [estimate(kernel, x.exp(), digits + 1) for x in nodes]
        # Exact values near V: their differences to V grow by no more than Lebesgue's constant.
        polynomial = arb_poly.interpolate(nodes, [value.mid() for value in values])
        lebesgue = 2 / arb.pi() * arb(count).log() + 1
        radius = max((value.rad() for value in values), key=float)
        return EstimationPanel(polynomial, (missed + lebesgue * radius).upper(), left, right)


def _count(kernel: Kernel, middle: arb, half: arb, digits: int) -> tuple[int, Bound]:
    """How many nodes the best ellipse asks for, and the interpolation error."""
    best: tuple[int, Bound] | None = None
    for height, M in _bounds(kernel, middle, half):
        rho = (height / half) + ((height / half) ** 2 + 1).sqrt()  # (ρ − 1/ρ)/2 = height/half
        factor = 4 * M / (rho - 1)
        digits_needed = digits + 0.5 + math.log10(float(factor.upper()))
        count = max(2, 1 + math.ceil(digits_needed * math.log(10) / math.log(number(rho))))
        if best is None or count < best[0]:
            best = count, factor * rho ** (1 - count)
    if best is None:
        raise ArithmeticError("no ellipse around [lo, hi] is certified; try a shorter range")
    return best


def _bounds(kernel: Kernel, middle: arb, half: arb) -> Iterator[tuple[arb, Bound]]:
    """Pairs (η, M): |Q/S²| ≤ M in the ellipse of height η, for all θ."""
    source = spectrum(kernel, middle.exp())
    if isinstance(source, MaternSpectrum):
        for k in range(1, 20):
            eta = arb.pi() / 2 / source.decay.max(arb(1)) * k / 20
            bound = eta.cos() ** (-2 * source.decay) / (source.decay * eta).cos() ** 2
            yield eta, bound
        return
    for eta in (arb(fmpq(k, 20)) for k in (12, 10, 8, 6, 5, 4, 3, 2, 1)):
        reach = (half * half + eta * eta).sqrt()  # half (ρ + 1/ρ)/2
        found = _cauchy_bound(source, reach, eta)
        if found is not None:
            yield eta, found
            return


_PIECE = 0.05  # in log λ
_SPREAD = 0.4  # λ times the diagonal of a cube of θ


def _cauchy_bound(source: CauchySpectrum, reach: arb, eta: arb) -> Bound | None:
    """(2−κ)^{-2} for all θ, and all μ from λe^{−reach} cos η to λe^{reach}; None if κ gets big."""
    low, high = -reach + eta.cos().log(), reach
    count = math.ceil(number(high - low) / _PIECE)
    ends = [source.parameter * (low + (high - low) * k / count).exp() for k in range(count + 1)]
    worst = arb(0)
    for least, greatest in pairwise(ends):
        kappa = _stretch(source.dimension, least, greatest, eta.tan())
        if kappa is None:
            return None
        worst = worst.max(kappa)
    return 1 / (2 - worst) ** 2


def _stretch(dimension: int, least: arb, greatest: arb, slope: arb) -> Bound | None:
    """Bound of κ = √(S(μ−τ)S(μ+τ))/S(μ) for μ between the two and all θ; None if above 1.9.

    S decreases in each θ_i of [0, ½], as every theta function does: its extremes over a cube are at
    two corners. And e^{μr̄} S decreases in μ if r̄ is the least |θ| of the cube; κ is blind to r̄.
    """
    cubes = math.ceil(number(greatest) * math.sqrt(dimension) / (2 * _SPREAD))
    slow = _alias_values(CauchySpectrum(dimension, least * (1 - slope)), cubes)
    fast = _alias_values(CauchySpectrum(dimension, least * (1 + slope)), cubes)
    centre = _alias_values(CauchySpectrum(dimension, greatest), cubes)
    worst = arb(0)
    for corner in product(range(cubes), repeat=dimension):
        if any(a < b for a, b in pairwise(corner)):  # symmetric in the coordinates
            continue
        opposite = tuple(k + 1 for k in corner)
        norm = sum((arb(fmpq(k, 2 * cubes)) ** 2 for k in corner), arb(0)).sqrt()
        squared = slow[corner] * fast[corner] / centre[opposite] ** 2
        squared *= (-2 * norm * (greatest - least)).exp()
        if not squared < 3.61:
            return None
        worst = worst.max(squared)
    return worst.sqrt()


def _alias_values(source: CauchySpectrum, cubes: int) -> dict[tuple[int, ...], arb]:
    """S at the corners of all cubes."""
    d = source.dimension
    sums = AliasSums.build(source, 2, arb(d).sqrt() / 2)
    axis = [arb(fmpq(k, 2 * cubes)) for k in range(cubes + 1)]
    table = thetas(sums.grid.times, axis)
    u = [sum((x * x for x in theta), arb(0)) for theta in product(axis, repeat=d)]
    first = sums.evaluate(1, [table] * d, u)
    values = [(1 + e) / source.inverse(v, 1) for e, v in zip(first, u, strict=True)]
    return dict(zip(product(range(cubes + 1), repeat=d), values, strict=True))


# Taylor coefficients of B

_DISC = arb(fmpq(1, 10))


def approximation_jet(kernel: Kernel, x: arb, length: int, digits: int = 12) -> list[arb]:
    """Balls around the Taylor coefficients f^{(k)}/k!, k < length, of f(x) = B(e^x).

    What the sums leave out is analytic and bounded by some ε in a disc of radius R around each
    point of x, so its coefficients are at most ε R^{−k} (Cauchy).

    Args:
        kernel: Laplace, Matern or Cauchy in dimension 1, 2 or 3.
        x: log c; for a wide ball, every coefficient is enclosed at all its points.
        length: Number of coefficients, at least 1.
        digits: Digits aimed at, 1..25.

    Raises:
        TypeError: If an argument is of the wrong kind, or the kernel has no tail bound here.
        ValueError: If an argument is out of range.
    """
    _check_digits(digits)
    if isinstance(length, bool) or not isinstance(length, int) or length < 1:
        raise ValueError(f"length = {length!r} must be an int >= 1")
    if not isinstance(x, arb):
        raise TypeError(f"x = {x!r} must be an arb")
    with (
        ctx.workprec(_precision(kernel, x.exp(), digits) + 10 * length),
        _series_length(length),
    ):
        direct = _direct_jet(kernel, x, length, digits + length)
        return direct if x.is_exact() else _narrowed(direct, kernel, x)


def _direct_jet(kernel: Kernel, x: arb, length: int, digits: int) -> list[arb]:
    """The coefficients by arithmetic of power series; for wide x far too wide, or nothing."""
    first, second = (_sum_series(kernel, x, power, digits) for power in (1, 2))
    try:
        found = list(((first * first + second) / (1 + first) ** 2).coeffs())
    except ValueError:  # flint refuses to divide by a series that starts with a ball around 0
        return [arb(0, math.inf)] * length
    return found + [arb(0)] * (length - len(found))


def _narrowed(direct: list[arb], kernel: Kernel, x: arb) -> list[arb]:
    """Intersect with Cauchy's bounds MR^{−k} from several discs around the points of x."""
    best = list(direct)
    value = approximation_enclosure(kernel, x.exp())
    best[0] = best[0].intersection(value) if best[0].is_finite() else value
    for k in range(1, 12):
        bound, disc = _disc_bound(kernel, x, arb(fmpq(k, 12)))
        for n in range(1, len(best)):
            outer = plus_minus(bound / disc**n)
            best[n] = best[n].intersection(outer) if best[n].is_finite() else outer
    return best


def _disc_bound(kernel: Kernel, x: arb, share: arb) -> tuple[Bound, arb]:
    """Bound of |B| if log c is at most R from x, and R, a share of all that can be.

    B = (E_1² + E_2)/(1+E_1)² at θ = 0. S is a sum of (|σ²|+q)^{-a} turned by at most aη: for
    Matérn by definition, for Cauchy by Poisson's formula, with a = (d+1)/2 and up to a common
    factor. So |1+E_1| ≥ cos(aη) times its value at |c|, and |E_k| is at most (cos η)^{−ka} times
    its value at |c| (Matérn), or its value at Re c (Cauchy). All E_k decrease in real c.
    """
    source = spectrum(kernel, x.exp())
    matern = isinstance(source, MaternSpectrum)
    a = source.decay if isinstance(source, MaternSpectrum) else arb(source.dimension + 1) / 2
    disc = share * arb.pi() / 2 / a.max(arb(1))
    least = (x.lower() - disc).exp() * (1 if matern else disc.cos())
    E1, E2 = sums_at_origin(spectrum(kernel, least), 3)
    above = sums_at_origin(spectrum(kernel, (x.upper() + disc).exp()), 3)[0]
    turned = (a * disc).cos() * (disc.cos() ** a if matern else 1)
    return (E1 * E1 + E2) / (turned * (1 + above)) ** 2, disc


def _sum_series(kernel: Kernel, x: arb, power: int, digits: int) -> arb_series:
    """E_power(0) as a power series in log c around x."""
    at_ball = spectrum(kernel, x.exp())
    source = spectrum(kernel, arb_series([x, 1]).exp())
    grid = at_ball.grid(digits, 0.0, number(_DISC))
    full, own = (table.entries() for table in thetas(grid.times, [arb(0)]))
    everything, near = source.early(power, grid)
    total = everything - near[0]
    for weight, a, b in zip(source.weights(power, grid), full, own, strict=True):
        total = total + weight * (a**source.dimension - b)
    errors = at_ball.errors(power, grid, arb(0), _DISC)
    size = at_ball.turning(power, _DISC)
    missed = size * at_ball.inverse(arb(0), power) * errors.absolute + errors.weighted
    missed += size * errors.relative * sums_at_origin(at_ball, digits)[power - 1]
    outer = [plus_minus(missed / _DISC**k) for k in range(ctx.cap)]
    series: arb_series = source.inverse(arb(0), power) * total + arb_series(outer)
    return series


@contextlib.contextmanager
def _series_length(length: int) -> Iterator[None]:
    """Set flint's truncation order and put the old one back."""
    previous = ctx.cap
    ctx.cap = length
    try:
        yield
    finally:
        ctx.cap = previous
