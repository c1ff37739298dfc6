r"""Below the threshold no bandwidth helps: the "only if" half of ``ridgeless.null_threshold``.

Statement: for every c > 0, :math:`V(c) \ge s^*\,(1 - B(c))`, so that SNR·B + V ≥ SNR for all
SNR ≤ s*; and for SNR > s*, :math:`\mathrm{SNR}\,B + V \ge \mathrm{SNR} - V\,(\mathrm{SNR}/s^*-1)`.

Proof. Write τ = c^d, F = φ̂(0), E = ∫φ² = ρF, ψ = (φ*φ)/E, 1+ε = Σ_k φ(k/c), 1+δ = Σ_k φ(k/c)ψ(k/c).

* V = ∫φ̂(cξ)²/S(ξ)² dξ is E/τ times a mean of 1/S² over a probability density, and 1/x² is convex:
  V ≥ τE/(1+δ)² (Jensen), the mean of τS being 1+δ by Poisson and Parseval.
* 1−B = 2F/S(0) − Q(0)/S(0)² with τS(0) = 1+ε and τQ(0) ≥ E: 1−B ≤ τ[2F/(1+ε) − E/(1+ε)²].
* δ ≤ mε with m = max_{k≠0} ψ(k/c) = ψ(e₁/c), as ψ decreases along every axis. So V ≥ s*(1−B) if
  (2−ρ)(1+ε)² ≥ (2(1+ε)−ρ)(1+mε)²; the difference is a polynomial in ε whose coefficients are
  positive once m is small. They decrease as m and ε grow, and these grow with c: if they are
  positive at c₀, they are for all c ≤ c₀.
* For c ≥ c₀: V(c) ≥ V(c₀) ≥ s* ≥ s*(1−B), V being nondecreasing (claim ``ridgeless.adaptive``).
  Where Jensen's bound of V(c₀) is below s*, boxes [lo, hi] with V(lo) ≥ s*(1−B(hi)) lead from c₀
  to a c₁ with V(c₁) ≥ s*; B is nonincreasing.

Source: this project.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product

import sympy
from flint import arb, ctx

from ..derivation import Derivation, Step
from .curves import risk_curve
from .kernels import RADIUS, Cauchy, Gaussian, Kernel, Laplace, Matern, Product, RadialKernel
from .threshold import energy_ratio, exact_ball, null_threshold

_PRECISION = 128
_SHELLS = 8  # neighbours summed one by one; the rest is bounded


@dataclass(frozen=True, eq=False)
class NullProof:
    """The numbers on which the proof for one kernel rests.

    Attributes:
        kernel: The kernel.
        threshold: s*, a ball.
        narrow: c₀; up to it the polynomial's coefficients are positive.
        estimation: A lower bound of V(c₀), by Jensen.
        neighbours: An upper bound of ε(c₀).
        overlap: An upper bound of m(c₀).
        coefficients: Lower bounds of the two coefficients that must be positive.
        boxes: Where `estimation` is less than s*: edges from c₀ to c₁, of boxes that show it.
    """

    kernel: Kernel
    threshold: arb
    narrow: arb
    estimation: arb
    neighbours: arb
    overlap: arb
    coefficients: tuple[arb, arb]
    boxes: tuple[arb, ...] = ()

    @property
    def narrow_holds(self) -> bool:
        """Whether the statement is proved up to c₀."""
        return all(q > 0 for q in self.coefficients)

    @property
    def holds(self) -> bool:
        """Whether these numbers prove the statement."""
        return self.narrow_holds and (bool(self.estimation >= self.threshold) or bool(self.boxes))


@lru_cache(maxsize=64)
def null_proof(kernel: Kernel) -> NullProof:
    """Prove V(c) ≥ s*(1 − B(c)) for all c > 0.

    Raises:
        ArithmeticError: If no c₀ of the list works.
        TypeError: If the kernel is not Gaussian, Matern, Cauchy or a Product of one.

    Source: this project.
    """
    with ctx.workprec(_PRECISION):
        for eighths in range(16, 0, -1):  # c₀ = 1, 15/16, …: the largest that works
            proof = try_null_proof(kernel, arb(eighths) / 16)
            if proof.holds:
                return proof
            if proof.narrow_holds:
                return replace(proof, boxes=_boxes(proof))
    raise ArithmeticError(f"{kernel!r}: V ≥ s*(1−B) is not proved by any c₀ in 1/16, …, 1")


def _boxes(proof: NullProof) -> tuple[arb, ...]:
    """Edges from c₀ to where V ≥ s*, such that V(lo) ≥ s*(1 − B(hi)) on every box."""
    curve, edges = risk_curve(proof.kernel), [proof.narrow]
    V = curve.estimation(proof.narrow, 6)
    while not V / proof.threshold >= 1:
        step = arb(1) / 2
        while not V / proof.threshold >= 1 - curve.approximation(edges[-1] * (1 + step), 6):
            step /= 2
            if step < arb(2) ** -12:
                raise ArithmeticError(f"{proof.kernel!r}: V ≥ s*(1−B) fails at {edges[-1].str(6)}")
        edges.append((edges[-1] * (1 + step)).mid())
        V = curve.estimation(edges[-1], 6)
    return tuple(edges)


def try_null_proof(kernel: Kernel, c: arb) -> NullProof:
    """Return the numbers for c₀ = c, whether or not they prove anything."""
    line, power = as_power(kernel)
    ratio = exact_ball(energy_ratio(kernel))
    eps, delta = (total**power - 1 for total in _lattice_totals(line, c))
    overlap = _self_convolution(line, 1 / c)
    energy = ratio * exact_ball(line.radial_density.subs(RADIUS, 0)) ** power
    estimation = c**kernel.dimension * energy / (1 + delta) ** 2
    first, second = coefficients(ratio, overlap, eps)
    return NullProof(
        kernel,
        exact_ball(null_threshold(kernel)),
        c,
        estimation.lower(),
        eps.upper(),
        overlap.upper(),
        (first.lower(), second.lower()),
    )


def as_power(kernel: Kernel) -> tuple[RadialKernel, int]:
    """The radial kernel whose coordinate product the kernel is, and the number of factors."""
    if isinstance(kernel, Product):
        line, power = as_power(kernel.factor)
        return line, power * kernel.dimension
    if isinstance(kernel, Gaussian):
        return Gaussian(), kernel.dimension
    if isinstance(kernel, Matern | Cauchy):
        return kernel, 1
    raise TypeError(f"kernel = {kernel!r} must be Gaussian, Matern, Cauchy or a Product of one")


def coefficients(ratio: arb, overlap: arb, neighbours: arb) -> tuple[arb, arb]:
    """The difference is ε·(first + ε·second) where `second` takes its least value on (0, ε]."""
    first = 2 * (1 - ratio) - 2 * overlap * (2 - ratio)
    second = (2 - ratio) * (1 - overlap**2) - 4 * overlap - 2 * overlap**2 * neighbours
    return first, second


def jensen_estimation(kernel: Kernel, c: arb) -> arb:
    """Return a lower bound of V(c): τE/(1+δ)²."""
    with ctx.workprec(_PRECISION):
        return try_null_proof(kernel, c).estimation


def _lattice_totals(line: RadialKernel, c: arb) -> tuple[arb, arb]:
    """Upper bounds of Σφ(k/c) and Σφ(k/c)ψ(k/c) over Z^d."""
    counts: dict[int, int] = {}
    for k in product(range(-_SHELLS, _SHELLS + 1), repeat=line.dimension):
        square = sum(x * x for x in k)
        counts[square] = counts.get(square, 0) + 1
    plain, weighted = arb(0), arb(0)
    for square, count in counts.items():
        r = arb(square).sqrt() / c
        value = _profile(line, r)
        plain += count * value
        weighted += count * value * _self_convolution(line, r)
    beyond = _beyond(line, c)
    # ψ ≤ ψ((J+1)/c) beyond the cube, as it decreases.
    return plain + beyond, weighted + beyond * _self_convolution(line, (_SHELLS + 1) / c)


def _beyond(line: RadialKernel, c: arb) -> arb:
    """Σ φ(k/c) over |k|_∞ > J = 8, bounded: at most 2d·3^{d−1} j^{d−1} points with |k|_∞ = j."""
    d, first = line.dimension, _SHELLS + 1
    count = 2 * d * arb(3) ** (d - 1)
    if isinstance(line, Cauchy):  # φ(j/c) ≤ (c/j)^{d+1}; Σ_{j>J} j^{−2} ≤ 1/J
        return count * c ** (d + 1) / _SHELLS
    # The Gaussian and the Matérn functions with ν ≥ 1/2 are log-concave in r, and j^{d−1} is in j:
    # the ratio of neighbours decreases, so that the first one bounds a geometric series.
    ratio = _majorant(line, arb(first + 1) / c) / _majorant(line, arb(first) / c)
    ratio *= (arb(first + 1) / first) ** (d - 1)
    return count * arb(first) ** (d - 1) * _majorant(line, arb(first) / c) / (1 - ratio)


def _majorant(line: RadialKernel, r: arb) -> arb:
    """A log-concave bound of φ(r): itself, or for Matérn the next half-integer order at z.

    2^{1−ν}/Γ(ν) z^ν K_ν(z) is the mean of e^{−z²/4T} over T ~ Gamma(ν), so it increases with ν.
    """
    if not isinstance(line, Matern):
        return _profile(line, r)
    p = int(sympy.ceiling(line.smoothness - sympy.Rational(1, 2)))
    return _matern(arb(2 * p + 1) / 2, _argument(line, r))


def _profile(line: RadialKernel, r: arb) -> arb:
    """φ at radius r."""
    if isinstance(line, Gaussian):
        return (-(r**2) / 2).exp()
    if isinstance(line, Cauchy):
        return (1 + r**2) ** (-arb(line.dimension + 1) / 2)
    assert isinstance(line, Matern)
    return _matern(exact_ball(line.smoothness), _argument(line, r))


def _self_convolution(line: RadialKernel, r: arb) -> arb:
    """ψ = (φ*φ)/∫φ² at radius r: its density is φ̂², again of the same family."""
    if isinstance(line, Gaussian):
        return (-(r**2) / 4).exp()
    if isinstance(line, Cauchy):
        return (1 + r**2 / 4) ** (-arb(line.dimension + 1) / 2)
    assert isinstance(line, Matern)
    order = exact_ball(2 * line.smoothness + sympy.Rational(line.dimension, 2))
    return _matern(order, _argument(line, r))


def _argument(line: Matern, r: arb) -> arb:
    return exact_ball(2 * line.smoothness).sqrt() * r


def _matern(order: arb, z: arb) -> arb:
    """2^{1−ν}/Γ(ν) z^ν K_ν(z), 1 at z = 0."""
    if z == 0:
        return arb(1)
    return 2 ** (1 - order) / order.gamma() * z**order * z.bessel_k(order)


# --- derivation -------------------------------------------------------------------------------

_rho, _m, _e, _d, _tau, _F, _snr, _V, _B, _s = sympy.symbols(
    "rho m epsilon delta tau F SNR V B s", positive=True
)


def derive_null_predictor(
    coefficient: sympy.Expr | None = None,
) -> Derivation:
    """Derive the polynomial inequality behind "only if".

    Args:
        coefficient: The claimed coefficient of ε, in the symbols rho and m.
    """
    claimed = first_coefficient() if coefficient is None else coefficient
    return Derivation(
        goal="V >= s*(1 - B) for every c",
        steps=(
            Step("Convexity of 1/x^2: its second derivative is 6/x^4 > 0.", _convexity),
            Step("s* = rho/(2 - rho) turns the two bounds into one polynomial in eps.", _reduce),
            Step("Consequence above the threshold: SNR - V(SNR/s* - 1).", _consequence),
            Step(
                "Its coefficients: of eps^3, of eps^2 and (claimed) of eps.",
                lambda: _expanded(claimed),
            ),
        ),
        cites=(
            "Jensen's inequality",
            "Poisson summation",
            "Parseval",
            "Wintner: the convolution of symmetric decreasing functions is symmetric decreasing",
        ),
    )


def first_coefficient() -> sympy.Expr:
    """The coefficient of ε, whose sign decides as c → 0."""
    return 2 * (1 - _rho) - 2 * _m * (2 - _rho)


def _convexity() -> sympy.Expr:
    x = sympy.Symbol("x", positive=True)
    return sympy.simplify(sympy.diff(x**-2, x, 2) - 6 / x**4)


def _gap() -> sympy.Expr:
    return (2 - _rho) * (1 + _e) ** 2 - (2 * (1 + _e) - _rho) * (1 + _m * _e) ** 2


def _reduce() -> sympy.Expr:
    E, threshold = _rho * _F, _rho / (2 - _rho)
    jensen = _tau * E / (1 + _m * _e) ** 2
    deficit = _tau * (2 * _F / (1 + _e) - E / (1 + _e) ** 2)
    scale = threshold * _tau * _F / ((1 + _m * _e) ** 2 * (1 + _e) ** 2)
    return sympy.simplify(jensen - threshold * deficit - scale * _gap())


def _consequence() -> sympy.Expr:
    """SNR·B + V − [SNR − V(SNR/s − 1)] = SNR/s · [V − s(1−B)]: the same sign."""
    left = _snr * _B + _V - (_snr - _V * (_snr / _s - 1))
    return sympy.expand(left - _snr / _s * (_V - _s * (1 - _B)))


def _expanded(claimed: sympy.Expr) -> sympy.Expr:
    second = (2 - _rho) * (1 - _m**2) - 4 * _m
    return sympy.expand(_gap() - _e * claimed - _e**2 * second + 2 * _m**2 * _e**3)


NAMED: tuple[Kernel, ...] = (
    *(kind(d) for d in (1, 2, 3) for kind in (Gaussian, Laplace, Cauchy)),
    Matern(1.5),
    Matern(2.5),
)
"""The kernels of ``ridgeless.inconsistency``."""
