r"""Matérn and Cauchy densities as mixtures of Gaussians, with bounds for all that this leaves out.

Statement: with the weights, early terms and errors below, `lattice_sums` encloses

.. math::
    E_k(\theta) = \sum_{m \ne 0} \Bigl(\frac{F(|\theta+m|^2)}{F(|\theta|^2)}\Bigr)^k,
    \qquad F(q) = (\sigma^2+q)^{-a} \text{ or } e^{-\lambda\sqrt q},

for θ in [0, ½]^d, d ≤ 3 and k = 1, 2; here a = ν + d/2, σ² = ν/(2π²c²), and λ = 2πc.

Source: this project.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, TypeAlias

from flint import arb, ctx, fmpq

from .kernels import Cauchy, Kernel, Matern
from .theta_products import below

# 1. Mixtures of Gaussians, with t = e^v:
#      (σ²+q)^{-a} = (π^a/Γ(a)) ∫ t^a e^{−πσ²t} e^{−πqt} dv,
#      e^{−λ√q} = (λ/2π) ∫ t^{-1/2} e^{−λ²/(4πt)} e^{−πqt} dv.
#    The trapezoidal rule with step h leaves a short sum of products of theta functions. Only its
#    weights depend on c, so one table of thetas serves every c.
# 2. Shift v by ±iω: the rule's error is at most 2/(e^{2πω/h} − 1) times the integral of the
#    modulus on the shifted line, (cos ω)^{-a} F(q) or (cos ω)^{-1/2} e^{−λ cos ω √q}.
# 3. The same for x = log c in a complex disc of radius R, where σ² and λ² turn by at most 2R and
#    grow by at most e^{2R}: cos ω becomes cos(ω+2R). R = 0 is the real case.

Bound: TypeAlias = arb  # an upper bound ≥ 0


@dataclass(frozen=True)
class Grid:
    """The times t_j = e^{j/steps} for first ≤ j ≤ last."""

    steps: int
    first: int
    last: int

    @property
    def step(self) -> arb:
        """The step h in log t."""
        return arb(fmpq(1, self.steps))

    @property
    def times(self) -> list[arb]:
        """All t_j."""
        return _times(self, ctx.prec)


@lru_cache(maxsize=64)
def _times(grid: Grid, prec: int) -> list[arb]:  # noqa: ARG001 (the precision is part of the key)
    return [(grid.step * j).exp() for j in range(grid.first, grid.last + 1)]


def covering(steps: int, low: float, high: float) -> Grid:
    """A grid from log t ≤ low to log t ≥ high, with rounded ends so that tables are shared."""
    return Grid(steps, steps * math.floor(low), steps * math.ceil(high))


@dataclass(frozen=True, eq=False)
class Errors:
    """What the rule leaves out of B = Σ_{m≠0} F^k and of E_k = B/F(|θ|²)^k.

    Attributes:
        absolute: In B: times that are too early or too late.
        relative: In B, as a fraction of it.
        weighted: In E_k.
    """

    absolute: Bound
    relative: Bound
    weighted: Bound


class Spectrum(ABC):
    """F for one bandwidth; its ``parameter`` σ² or λ is a ball, or a power series in log c."""

    dimension: int
    parameter: Any

    @abstractmethod
    def inverse(self, u: arb, power: int) -> Any:
        """F(u)^{−power}."""

    @abstractmethod
    def ellipse_bound(self, u: arb, p: arb, y: arb) -> Bound | None:
        """Bound of |Q/S²| at z = x + iy e_i if |x_i+m_i| ≥ p and Σ_{j≠i} (x_j+m_j)² ≥ u for all m.

        If L_m ≤ |F((z+m)²)| ≤ κ L_m and all arguments are within ψ < π/2, then
        |Q| ≤ κ² Σ L_m² ≤ κ² (Σ L_m)² and |S| ≥ cos ψ Σ L_m: the bound is κ²/cos² ψ. The κ found
        for the nearest m serves all. None if this is not certain.
        """

    @abstractmethod
    def turning(self, power: int, disc: arb) -> Bound:
        """How much |F(0)^{−power}| and E_power(0) can grow from the centre of the disc."""

    @abstractmethod
    def growth(self, length: arb) -> arb:
        """A factor by which F(|θ+m|²) and F(|m|²), m ≠ 0, can differ if |θ| ≤ length < 1."""

    @abstractmethod
    def grid(self, digits: int, extent: float, disc: float = 0.0) -> Grid:
        """Times that should give the wanted digits; the errors found later are the proof."""

    @abstractmethod
    def weights(self, power: int, grid: Grid) -> list[Any]:
        """The weights of e^{−πt_j|θ+m|²}."""

    @abstractmethod
    def early(self, power: int, grid: Grid) -> tuple[Any, list[Any]]:
        """The times before the grid: their sum over all m, and the term m = 0 in powers of |θ|²."""

    @abstractmethod
    def errors(self, power: int, grid: Grid, extent: arb, disc: arb) -> Errors:
        """What weights and early terms miss where |θ| ≤ extent; ``disc`` is R above."""


def spectrum(kernel: Kernel, c: Any) -> MaternSpectrum | CauchySpectrum:
    """The spectrum of a kernel at bandwidth c, a ball or a power series.

    Raises:
        TypeError: If the kernel is not Laplace, Matérn or Cauchy.
        ValueError: If its dimension is not 1, 2 or 3.
    """
    if not isinstance(kernel, Cauchy | Matern):
        raise TypeError(
            f"no tail bound for kernel = {kernel!r}: it must be Laplace, Matern or Cauchy"
        )
    if kernel.dimension not in (1, 2, 3):
        raise ValueError(f"kernel = {kernel!r} must have dimension 1, 2 or 3")
    if isinstance(kernel, Cauchy):
        return CauchySpectrum(kernel.dimension, 2 * arb.pi() * c)
    nu = Fraction(int(kernel.smoothness.p), int(kernel.smoothness.q))
    if not Fraction(1, 8) <= nu <= 8:  # slow sums below, long Gauss rules above
        raise ValueError(f"nu = {kernel.nu!r} must be in [1/8, 8] to be enclosed")
    exact = arb(fmpq(nu.numerator, nu.denominator))
    decay = exact + arb(kernel.dimension) / 2
    return MaternSpectrum(kernel.dimension, exact / (2 * arb.pi() ** 2) / (c * c), decay)


def number(ball: Any) -> float:
    """A float to plan with, not to prove with."""
    return float(ball.mid()) if isinstance(ball, arb) else float(ball[0].mid())


# Matérn


@dataclass(frozen=True, eq=False)
class MaternSpectrum(Spectrum):
    """F(q) = (σ² + q)^{-a}; the parameter is σ²."""

    dimension: int
    parameter: Any
    decay: arb

    def inverse(self, u: arb, power: int) -> Any:  # noqa: D102 (inherits the docstring)
        return (self.parameter + u) ** (power * self.decay)

    def ellipse_bound(self, u: arb, p: arb, y: arb) -> Bound | None:
        """L_m = F(|x+m|²+y²), and the upper bound is F(|x+m|²−y²).

        Arguments are at most a·arctan(2yP/(s²−y²+P²)) with s² = σ² + Σ_{j≠i}(x_j+m_j)² and
        P = |x_i+m_i|: decreasing in s², and in P beyond √(s²−y²), where it is y/√(s²−y²).
        """
        gap = (self.parameter + u - y * y).lower()  # the bounds decrease in it
        nearest = (gap + p * p).lower()
        if not (nearest > 0 and (gap > 0 or gap <= p * p)):
            return None
        tangent = 2 * y * p / nearest if gap <= p * p else y / gap.sqrt()
        psi = self.decay * tangent.atan()
        if not psi < arb.pi() / 2:
            return None
        bound: arb = (1 + 2 * y * y / nearest) ** (2 * self.decay) / psi.cos() ** 2
        return bound

    def turning(self, power: int, disc: arb) -> Bound:
        """|(σ²)^a| and (|σ²|/(|σ²|+q))^a grow by at most e^{2Ra}."""
        return (2 * disc * power * self.decay).exp()

    def growth(self, length: arb) -> arb:
        """|m|(1−|θ|) ≤ |θ+m| ≤ |m|(1+|θ|)."""
        return (1 - length) ** (-2 * self.decay)

    def grid(self, digits: int, extent: float, disc: float = 0.0) -> Grid:  # noqa: D102
        wanted, a, s = (digits + 3) * math.log(10), 2 * number(self.decay), number(self.parameter)
        log_w = max(0.0, a * math.log(s + extent**2)) + 4 * a * disc
        steps = 2
        while _shift_factor(arb(1) / steps, arb(a), arb(disc)) > arb(-wanted).exp():
            steps += 1
        high = 1.0
        while math.pi * (math.exp(high) - 1) / 4 < a * (high + 1.2) + log_w + wanted + 3:
            high += 0.1
        flat = math.log(math.pi / (wanted + log_w + 5))
        series = -math.log(math.pi * (s * math.exp(2 * disc) + extent**2))
        return covering(steps, min(flat, series), high)

    def _scale(self, a: arb, grid: Grid) -> arb:
        return grid.step * arb.pi() ** a / a.gamma()

    def weights(self, power: int, grid: Grid) -> list[Any]:  # noqa: D102
        a = power * self.decay
        scale = self._scale(a, grid)
        return [scale * t**a * (self.parameter * (-arb.pi() * t)).exp() for t in grid.times]

    def early(self, power: int, grid: Grid) -> tuple[Any, list[Any]]:
        """∏ϑ = t^{-d/2} up to the error below; e^{−πt(σ²+u)} by its Taylor series in σ² and u."""
        a = power * self.decay
        scale = self._scale(a, grid)
        together = _taylor(grid, a - arb(self.dimension) / 2)
        own = _taylor(grid, a)
        own_at_u = [
            scale
            * sum(
                (math.comb(n, k) * own[n] * self.parameter ** (n - k) for n in range(k, len(own))),
                arb(0),
            )
            for k in range(len(own))
        ]
        return scale * evaluate(together, self.parameter), own_at_u

    def errors(self, power: int, grid: Grid, extent: arb, disc: arb) -> Errors:  # noqa: D102
        a, half = power * self.decay, arb(self.dimension) / 2
        first, beyond = grid.times[0], grid.times[-1] * grid.step.exp()
        # Late: Σ_{m≠0} e^{−πt|θ+m|²} ≤ e^{−π(t−1)/4} ϑ(0,1)^d with ϑ(0,1) < 2, as |θ+m| ≥ 1/2.
        # If the next term is less than half of the first one left out, so are all later ratios.
        if not (grid.step * a - arb.pi() * beyond * grid.step.expm1() / 4).exp() < arb(0.5):
            raise ArithmeticError("the last time is too early")  # cannot happen: see grid
        late = 2 * arb(2) ** self.dimension * beyond**a * (-arb.pi() * (beyond - 1) / 4).exp()
        # Early: ∏ϑ = t^{-d/2}(1+η) with 0 ≤ 1+η ≤ (1 + 4e^{−π/t})^d, by Jacobi's transformation.
        excess = (1 + 4 * (-arb.pi() / first).exp()) ** self.dimension - 1
        flat = below(first, a - half, grid.step) * excess
        # |e^{−z} − its Taylor polynomial| ≤ |z|^n/n! for Re z ≥ 0.
        size = _leading(self.parameter) * (2 * disc).exp()
        rest = _omitted(grid, a - half, size) + _omitted(grid, a, size + extent * extent)
        return Errors(
            absolute=self._scale(a, grid) * (late + flat + rest),
            relative=_shift_factor(grid.step, a, disc),
            weighted=arb(0),
        )


def _shift_factor(step: arb, a: arb, disc: arb, omega: arb | None = None) -> Bound:
    """2 cos(ω+2R)^{-a}/(e^{2πω/h} − 1); the best ω is near arctan(2π/(ha)) − 2R."""
    angle = (2 * arb.pi() / (step * a)).atan() - 2 * disc if omega is None else omega
    if not (angle > 0 and angle + 2 * disc < arb.pi() / 2):
        raise ValueError(f"disc = {disc} must leave an angle to shift by")
    return 2 * (angle + 2 * disc).cos() ** (-a) / (2 * arb.pi() * angle / step).expm1()


def _leading(parameter: Any) -> arb:
    return parameter if isinstance(parameter, arb) else parameter[0]


_TAYLOR = 24


def _taylor(grid: Grid, a: arb) -> list[arb]:
    """Σ t_j^a e^{−πt_j z} over all times before the grid, in powers of z."""
    first, coefficients, factor = grid.times[0], [], arb(1)
    for p in range(_TAYLOR):
        coefficients.append(factor * below(first, a + p, grid.step))
        factor *= -arb.pi() / (p + 1)
    return coefficients


def _omitted(grid: Grid, a: arb, size: arb) -> Bound:
    """Bound of what `_taylor` omits for |z| ≤ size."""
    term = (arb.pi() * size) ** _TAYLOR / math.factorial(_TAYLOR)
    return term * below(grid.times[0], a + _TAYLOR, grid.step)


def evaluate(coefficients: list[Any], z: Any) -> Any:
    """Σ coefficients[k] z^k, for balls or power series."""
    total = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        total = total * z + coefficient
    return total


# Cauchy


@dataclass(frozen=True, eq=False)
class CauchySpectrum(Spectrum):
    """F(q) = e^{−λ√q}; the parameter is λ."""

    dimension: int
    parameter: Any

    def inverse(self, u: arb, power: int) -> Any:  # noqa: D102
        return (self.parameter * (power * u.sqrt())).exp()

    def ellipse_bound(self, u: arb, p: arb, y: arb) -> Bound | None:
        """L_m = e^{−λ|x+m|}: |Im √((z+m)²)| ≤ y and √(|x+m|²−y²) ≤ Re √((z+m)²) ≤ |x+m|."""
        nearest = (u + p * p).lower()  # the bound decreases in it
        psi = self.parameter * y
        if not (nearest > y * y and psi < arb.pi() / 2):
            return None
        stretch = nearest.sqrt() - (nearest - y * y).sqrt()
        bound: arb = (2 * self.parameter * stretch).exp() / psi.cos() ** 2
        return bound

    def turning(self, power: int, disc: arb) -> Bound:  # noqa: ARG002 (interface)
        """F(0) = 1; there is no relative error."""
        return arb(1)

    def growth(self, length: arb) -> arb:
        """|m| − |θ| ≤ |θ+m| ≤ |m| + |θ|."""
        factor: arb = (self.parameter * length).exp()
        return factor

    def grid(self, digits: int, extent: float, disc: float = 0.0) -> Grid:  # noqa: D102
        rate, d = number(self.parameter), self.dimension
        wanted = (digits + 3) * math.log(10) + (0.0 if extent else 2 * rate)
        steps = 2
        while not all(
            self._shifted(k, arb(1) / steps, arb(extent), arb(disc)) < arb(-wanted).exp()
            for k in (1, 2)
        ):
            steps += 1
        need = wanted + 2 * rate * extent + 4
        high = 1.0
        while math.pi * (math.exp(high) - 1) / 4 < need:
            high += 0.1
        low, squeeze = 2.0, rate**2 * math.exp(-2 * disc) * math.cos(2 * disc) / (4 * math.pi)
        while squeeze * math.exp(-low) < need - low * (d + 1) / 2:
            low -= 0.1
        return covering(steps, low, high)

    def weights(self, power: int, grid: Grid) -> list[Any]:  # noqa: D102
        rate = power * self.parameter
        scale, exponent = grid.step * rate / (2 * arb.pi()), rate * rate / (-4 * arb.pi())
        return [scale * (exponent * (1 / t)).exp() * t.rsqrt() for t in grid.times]

    def early(self, power: int, grid: Grid) -> tuple[Any, list[Any]]:  # noqa: ARG002 (interface)
        """Nothing: e^{−λ²/(4πt)} is beyond all digits there."""
        return arb(0), [arb(0)]

    def errors(self, power: int, grid: Grid, extent: arb, disc: arb) -> Errors:  # noqa: D102
        rate, d, h = power * _leading(self.parameter), self.dimension, grid.step
        first, beyond = grid.times[0] / h.exp(), grid.times[-1] * h.exp()
        squeeze = (rate * (-disc).exp()) ** 2 * (2 * disc).cos() / (4 * arb.pi())
        # Both series of left-out terms at least halve from one term to the next.
        halving = (h * (d + 1) / 2 - squeeze / first * h.expm1()).exp()
        if not (halving < arb(0.5) and first < 8):  # cannot happen: see grid
            raise ArithmeticError("the first time is too late")
        if not (arb.pi() * beyond * h.expm1() / 4).exp() > 2:
            raise ArithmeticError("the last time is too early")
        # ∏ϑ ≤ t^{-d/2}(1 + 4e^{−π/t})^d for t < 8 (Jacobi), and the late bound of MaternSpectrum.
        early = first ** (-arb(d) / 2) * (1 + 4 * (-arb.pi() / first).exp()) ** d
        early *= first.rsqrt() * (-squeeze / first).exp()
        late = arb(2) ** d * (-arb.pi() * (beyond - 1) / 4).exp() * beyond.rsqrt()
        return Errors(
            absolute=h * rate * disc.exp() / arb.pi() * (early + late),
            relative=arb(0),
            weighted=self._shifted(power, h, extent, disc),
        )

    def _shifted(self, power: int, step: arb, extent: arb, disc: arb) -> Bound:
        """Error of the trapezoidal rule in E_k: the least over several shifts ω."""
        rate = power * _leading(self.parameter)
        bounds = []
        for omega in (arb(fmpq(k, 20)) for k in (1, 2, 4, 8, 12, 16, 20, 24, 28)):
            if omega + 2 * disc < arb.pi() / 2:
                slower = rate * (-disc).exp() * (omega + 2 * disc).cos()
                others = ((rate - slower) * extent).exp() * self._others(slower, extent)
                bounds.append(_shift_factor(step, arb(1) / 2, disc, omega) * others)
        return min(bounds, key=lambda ball: float(ball.upper()))

    def _others(self, rate: arb, extent: arb) -> Bound:
        """Bound of Σ_{m≠0} e^{−rate(|θ+m|−|θ|)} for θ in [0, ½]^d with |θ| ≤ extent.

        |θ+m| ≥ |θ|, and |θ+m| ≥ |m|_∞ − 1/2, or |m|_∞ at θ = 0; and Σ_m z^{|m|_∞} is rational.
        """
        z = (-rate).exp()
        numerator = {1: [1, 1], 2: [1, 6, 1], 3: [1, 23, 23, 1]}[self.dimension]
        total: arb = evaluate([arb(n) for n in numerator], z) / (1 - z) ** self.dimension
        if extent.is_zero():
            return total - 1
        near = 3**self.dimension - 1
        others: arb = near + (rate * (extent + arb(1) / 2)).exp() * (total - 1 - near * z)
        return others
