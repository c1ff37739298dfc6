"""Write a certificate of the inconsistency theorem that `verify` can check without this package.

B and V come from theory's closed forms in ball arithmetic, or, for the method "jensen", from the
balls below (`verify` states the bounds). The two share texts, and nothing that evaluates.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise, product
from pathlib import Path
from typing import Any

from flint import arb, ctx, fmpq
from scipy import optimize

from theory.ridgeless.kernels import Cauchy, Gaussian, Kernel, Laplace
from theory.ridgeless.limit import limit_forms

from .verify import CLAIM, EXPECTED, FORMAT, REACH, STATEMENT, THEOREM, digest

SLACK = 1e-5
"""The certified kappa falls short of the infimum of the bounds by this fraction of it."""

EDGE_DECIMALS = 9
BOUND_DECIMALS = 12
LEAST, WIDEST = 0.02, 3.0  # where the infimum is looked for, in grid spacings

Ball = Callable[[Fraction], Any]


@dataclass(frozen=True)
class Bounds:
    """Lower bounds of B and V as balls, in c.

    Attributes:
        approximation: Nonincreasing.
        estimation: Nondecreasing for c ≤ peak.
        peak: Where the bound of V is largest, or `WIDEST` if it is V itself.
    """

    approximation: Ball
    estimation: Ball
    peak: float

    def B(self, c: float) -> float:
        """The bound of B as a float."""
        return float(self.approximation(Fraction(c)))

    def V(self, c: float) -> float:
        """The bound of V as a float."""
        return float(self.estimation(Fraction(c)))


def certificate() -> dict[str, object]:
    """Return the certificate of `ridgeless.inconsistency`, all numbers as decimal strings."""
    document: dict[str, object] = {
        "format": FORMAT,
        "claim": CLAIM,
        "statement": STATEMENT,
        "theorem": THEOREM,
        "snr": "1",
        "entries": [entry(*kernel) for kernel in EXPECTED],
    }
    return {**document, "sha256": digest(document)}


def write_certificate(path: Path) -> dict[str, object]:
    """Write the certificate and return it.

    Raises:
        OSError: The file cannot be written; then nothing is left behind, and an old file stays.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path.parent} is not a folder")
    document = certificate()
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            json.dump(document, file, separators=(",", ":"))
            file.write("\n")
        Path(name).chmod(0o644)  # mkstemp makes it private
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return document


def entry(name: str, dimension: int, nu: str | None) -> dict[str, object]:
    """Return one kernel's entry: the bounds to the left, on boxes, and to the right."""
    method = EXPECTED[name, dimension, nu]
    bounds = (
        _closed_forms(name, dimension) if method == "closed form" else _jensen(name, dimension, nu)
    )
    target = (1 - SLACK) * _infimum(bounds)
    edges = _march(bounds, target)
    first, last = edges[0], edges[-1]
    left = _down(bounds.approximation(first))
    right = _down(bounds.estimation(last))
    boxes = [
        (lo, hi, _down(bounds.approximation(hi) + bounds.estimation(lo)))
        for lo, hi in pairwise(edges)
    ]
    return {
        "kernel": name,
        "dimension": dimension,
        "nu": nu,
        "method": method,
        "lower": _text(min(left, right, *(bound for _, _, bound in boxes)), BOUND_DECIMALS),
        "left": {"end": _edge(first), "bound": _text(left, BOUND_DECIMALS)},
        "right": {"start": _edge(last), "bound": _text(right, BOUND_DECIMALS)},
        "boxes": [[_edge(lo), _edge(hi), _text(bound, BOUND_DECIMALS)] for lo, hi, bound in boxes],
    }


# --- the boxes ----------------------------------------------------------------------------------


def _infimum(bounds: Bounds) -> float:
    """inf over c of B(c) + V(c), V taken as its largest value beyond the peak, where B → 0."""
    low, high = math.log(LEAST), math.log(bounds.peak)

    def risk(log_c: float) -> float:
        return bounds.B(math.exp(log_c)) + bounds.V(math.exp(log_c))

    scan = [low + (high - low) * i / 60 for i in range(61)]
    best = min(range(1, 60), key=lambda i: risk(scan[i]))  # the risk can have two minima
    found = optimize.minimize_scalar(
        risk, bounds=(scan[best - 1], scan[best + 1]), method="bounded", options={"xatol": 1e-7}
    )
    return min(float(found.fun), bounds.V(bounds.peak))


def _march(bounds: Bounds, target: float) -> list[Fraction]:
    """Return edges whose boxes all keep B(hi) + V(lo) ≥ target: each as wide as that allows."""
    end = _root(lambda c: bounds.V(c) - target, LEAST, bounds.peak)
    start = _root(lambda c: bounds.B(c) - target, LEAST, end)
    last = _round(end, math.ceil)
    edges = [_round(start, math.floor)]
    while edges[-1] < last:
        need = target - bounds.V(float(edges[-1]))
        edges.append(_next_edge(bounds, edges[-1], last, need))
    return edges


def _next_edge(bounds: Bounds, lo: Fraction, last: Fraction, need: float) -> Fraction:
    """Return the largest hi ≤ last with B(hi) ≥ need, looked for in steps that double."""
    step, previous, hi = 1e-4, float(lo), float(lo)
    while bounds.B(hi) >= need:
        if hi >= float(last):
            return last
        previous, hi = hi, min(hi + step, float(last))
        step *= 2
    hi = _root(lambda c: bounds.B(c) - need, previous, hi)
    return max(_round(hi, math.floor), lo + Fraction(1, 10**EDGE_DECIMALS))


def _root(function: Callable[[float], float], lo: float, hi: float) -> float:
    return float(optimize.brentq(function, lo, hi, xtol=1e-10))


def _round(x: float, rounding: Callable[[Fraction], int]) -> Fraction:
    scale = 10**EDGE_DECIMALS
    return Fraction(rounding(Fraction(x) * scale), scale)


def _edge(x: Fraction) -> str:
    return _text(x, EDGE_DECIMALS)


def _text(x: Fraction, decimals: int) -> str:
    """Write a decimal fraction 0 ≤ x < 10 exactly."""
    digits = f"{int(x * 10**decimals):0{decimals + 1}d}"
    return f"{digits[0]}.{digits[1:].rstrip('0') or '0'}"


def _down(ball: Any) -> Fraction:
    """Return the lower end of a ball, rounded down to 12 decimals."""
    mantissa, exponent = ball.lower().man_exp()
    lower = Fraction(int(mantissa)) * Fraction(2) ** int(exponent)
    return Fraction(math.floor(lower * 10**BOUND_DECIMALS), 10**BOUND_DECIMALS)


# --- B and V ------------------------------------------------------------------------------------


def _closed_forms(name: str, dimension: int) -> Bounds:
    kernels: dict[str, Callable[[int], Kernel]] = {
        "laplace": Laplace,
        "gaussian": Gaussian,
        "cauchy": Cauchy,
    }
    forms = limit_forms(kernels[name](dimension))
    if forms is None:
        raise ValueError(f"{name} in dimension {dimension} has no closed form")
    return Bounds(
        lru_cache(maxsize=8)(forms.approximation.ball),
        lru_cache(maxsize=8)(forms.estimation.ball),
        WIDEST,
    )


def _jensen(name: str, dimension: int, nu: str | None) -> Bounds:
    bounds: _CauchyBounds | _MaternBounds = _CauchyBounds(dimension)
    if name != "cauchy":
        bounds = _MaternBounds(Fraction(nu or "1/2"), dimension)
    approximation = lru_cache(maxsize=8)(bounds.approximation)
    estimation = lru_cache(maxsize=8)(bounds.estimation)
    peak = optimize.minimize_scalar(
        lambda c: -float(estimation(Fraction(c))), bounds=(0.1, 0.9), method="bounded"
    )
    return Bounds(approximation, estimation, float(peak.x))


@lru_cache(maxsize=8)
def _orbits(d: int, reach: int) -> tuple[tuple[int, int], ...]:
    """Return (|k|², orbit size) over 0 ≤ k_1 ≤ … ≤ k_d ≤ reach but 0, up to signs and order."""
    orbits = []
    for k in product(range(reach + 1), repeat=d):
        if any(k) and tuple(sorted(k)) == k:
            orders = math.factorial(d)
            for value in set(k):
                orders //= math.factorial(k.count(value))
            orbits.append((sum(x * x for x in k), orders * 2 ** sum(x > 0 for x in k)))
    return tuple(orbits)


def _sum(d: int, radial: Callable[[Any], Any], reach: int = REACH) -> Any:
    return sum((size * radial(arb(square).sqrt()) for square, size in _orbits(d, reach)), arb(0))


def _exact(x: Fraction) -> Any:
    return arb(fmpq(x.numerator, x.denominator))


@dataclass(frozen=True)
class _CauchyBounds:
    """φ = (1+r²)^{−(d+1)/2}, φ̂ = φ̂(0) e^{−2π|ξ|}."""

    d: int

    def approximation(self, c: Fraction) -> Any:
        """(E₁² + E₂)/(1 + E₁)² by partial sums over the frequencies."""
        with ctx.workprec(128):
            nome = (-2 * arb.pi() * _exact(c)).exp()
            first = _sum(self.d, lambda r: nome**r)
            second = _sum(self.d, lambda r: nome ** (2 * r))
            return (first**2 + second) / (1 + first) ** 2

    def estimation(self, c: Fraction) -> Any:
        """τE/(1 + δ)², the rest of δ by comparison with an integral."""
        with ctx.workprec(128):
            d, x = self.d, _exact(c)
            s = arb(d + 1) / 2
            mass = arb.pi() ** s / s.gamma()
            delta = _sum(d, lambda r: ((1 + (r / x) ** 2) * (1 + (r / (2 * x)) ** 2)) ** -s)
            rest = 2 * d * 3 ** (d - 1) * (2 * x * x) ** (d + 1)
            rest /= (d + 2) * arb(REACH) ** (d + 2)
            return x**d * mass / 2**d / (1 + delta + rest) ** 2


@dataclass(frozen=True)
class _MaternBounds:
    """Matérn by its recurrence: φ*φ/E is the Matérn function of 2ν + d/2, with the same z."""

    nu: Fraction
    d: int

    def approximation(self, c: Fraction) -> Any:
        """(E₁² + E₂)/(1 + E₁)², E₁ by Poisson's formula, E₂ over |l|_∞ ≤ 2."""
        with ctx.workprec(128):
            x = _exact(c)
            s = self._rate(x)
            spread = 1 + _sum(self.d, lambda r: _matern(self.nu, s * r))
            first = spread / (x**self.d * self._mass(self.nu)) - 1
            power = -_exact(2 * self.nu + self.d)
            second = _sum(self.d, lambda r: (1 + (2 * arb.pi() * r / s) ** 2) ** power, reach=2)
            return (first**2 + second) / (1 + first) ** 2

    def estimation(self, c: Fraction) -> Any:
        """τE/(1 + δ)², the rest of δ by a geometric series."""
        with ctx.workprec(128):
            d, x, j = self.d, _exact(c), REACH + 1
            s, own = self._rate(x), 2 * self.nu + Fraction(d, 2)
            upper = Fraction(5, 2) if d == 2 else own  # the bound of K_2 that `verify` explains

            def radial(r: Any) -> Any:
                return _matern(self.nu, s * r) * _matern(upper, s * r)

            degree = int(self.nu - Fraction(1, 2) + upper - Fraction(1, 2))
            ratio = (arb(j + 1) / j) ** (degree + d - 1) * (-2 * s).exp()
            rest = 2 * d * (2 * j + 1) ** (d - 1) * radial(arb(j)) / (1 - ratio)
            energy = self._mass(self.nu) ** 2 / self._mass(own)  # ∫ φ̂², as ∫ of a density is 1
            return x**d * energy / (1 + _sum(d, radial) + rest) ** 2

    def _rate(self, x: Any) -> Any:
        return _exact(2 * self.nu).sqrt() / x

    def _mass(self, nu: Fraction) -> Any:
        """φ̂(0) = (4π/2ν₀)^{d/2} Γ(ν + d/2)/Γ(ν), for the same z = √(2ν₀)|x|."""
        ratio = _exact(nu + Fraction(self.d, 2)).gamma() / _exact(nu).gamma()
        return (2 * arb.pi() / _exact(self.nu)) ** (arb(self.d) / 2) * ratio


def _matern(nu: Fraction, z: Any) -> Any:
    """2^{1−ν}/Γ(ν) · z^ν K_ν(z), ν half-integral, by K_{ν+1} = K_{ν−1} + (2ν/z) K_ν.

    In θ_p = z^{p+½} K_{p+½}(z) e^z √(2/π) that is θ_{p+1} = (2p+1) θ_p + z² θ_{p−1}.
    """
    before, theta, at_zero = arb(1), arb(1), 1  # p = 0; θ_0 = 1 and θ_1 = 1 + z
    for p in range(int(nu)):
        before, theta = theta, z + 1 if p == 0 else (2 * p + 1) * theta + z * z * before
        at_zero *= 2 * p + 1
    return theta * (-z).exp() / at_zero
