"""Closed forms of the limiting risk: Laplace, Cauchy, Gaussian, and their coordinate products."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import mpmath
import numpy as np
import sympy
from flint import acb, arb, ctx

from numerics.ridgeless import Profile, exact_risk, exact_risk_mp, grid
from theory.closed_form import ClosedForm
from theory.derivation import Derivation
from theory.ridgeless import (
    cauchy,
    gaussian,
    gaussian_series,
    laplace,
    matern_line,
    products,
)

from ...claim import Claim, Evidence, Formulas, Kind, Leg, Mutant, Setting
from ...legs import Case, derivation_leg, digits_leg
from ..shared import formula, joined
from .common import BANDWIDTH, DENSITIES, ON_THE_GRID, WHITE_NOISE, monte_carlo_leg, weights_at_zero

DIGITS = 25
POINTS = ("0.3", "0.75", "1.7")

Deriver = Callable[[Any], Derivation]


def _of(derive: Callable[..., Derivation]) -> Deriver:
    return lambda claimed: derive(claimed.expression)


@lru_cache(maxsize=64)
def _weights(name: str, c: str) -> tuple[Any, Any]:
    return weights_at_zero(DENSITIES[name], c, DIGITS)


def _approximation_cases(
    name: str, points: tuple[str, ...] = POINTS
) -> Callable[[Formulas, Setting], Iterator[Case]]:
    """B(c) against 1 − 2 r_0 + Σ r_l², the alias sums at θ = 0 summed by mpmath."""

    def cases(formulas: Formulas, setting: Setting) -> Iterator[Case]:
        for c in points:
            own, energy = _weights(name, c)
            claimed = formula(formulas, "approximation").mp(c, DIGITS + 10)
            yield f"B at c = {c}", claimed, 1 - 2 * own + energy

    return cases


@lru_cache(maxsize=16)
def _solved(name: str, n: int, c: Fraction) -> Any:
    """The estimation error of n points by inverting the kernel matrix in high precision."""
    return exact_risk_mp(name, n, {0: 0.0}, c / n, dps=80, digits=DIGITS).estimation


# ── Laplace ──────────────────────────────────────────────────────────────────────────────────────


def _laplace_solved(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    for n, c in ((2, Fraction(3, 10)), (3, Fraction(17, 10)), (5, Fraction(4, 5))):
        claimed = formula(formulas, "estimation").mp(c, DIGITS + 10)
        yield f"V at c = {c}, n = {n}", claimed, _solved("laplace", n, c)


LAPLACE = Claim(
    id="ridgeless.laplace",
    title="Laplace kernel, d = 1, in closed form",
    statement=(
        r"V = \frac{\coth s}{s} - \mathrm{csch}^2 s\ \text{for every } n\ge 2,\quad "
        r"B = 1 - \tfrac32\tau + \tfrac12\mathrm{sech}^2\tfrac s2,\quad "
        r"s = 1/c,\ \tau = \frac{\tanh(s/2)}{s/2}"
    ),
    source="here",
    hypotheses=(ON_THE_GRID, BANDWIDTH, WHITE_NOISE),
    formulas={"estimation": laplace.ESTIMATION, "approximation": laplace.APPROXIMATION},
    legs=(
        derivation_leg("V by lattice sums", _of(laplace.derive_estimation), ("estimation",), True),
        derivation_leg(
            "B by lattice sums", _of(laplace.derive_approximation), ("approximation",), True
        ),
        derivation_leg(
            "V by the differential equation",
            _of(laplace.derive_estimation_by_equation),
            ("estimation",),
            True,
        ),
        derivation_leg(
            "B by the differential equation",
            _of(laplace.derive_approximation_by_equation),
            ("approximation",),
            True,
        ),
        digits_leg("solved systems", _laplace_solved, ("estimation",), DIGITS),
        digits_leg("lattice sums", _approximation_cases("laplace"), ("approximation",), DIGITS),
        monte_carlo_leg(("estimation",), Profile("laplace"), 0.8, lambda form, c: form(c)),
    ),
    uses=("ridgeless.limit",),
)


# ── Cauchy ───────────────────────────────────────────────────────────────────────────────────────


def _cauchy_solved(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """The finite-n formula against solved systems."""
    for c in (Fraction(3, 10), Fraction(4, 5)):
        claimed = formula(formulas, "estimation_3").mp(c, DIGITS + 10)
        yield f"V_3 at c = {c}", claimed, _solved("cauchy", 3, c)


def _cauchy_quadrature(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    for c in POINTS:
        reference = _quadrature("cauchy", c)
        yield f"V at c = {c}", formula(formulas, "estimation").mp(c, DIGITS + 10), reference


@lru_cache(maxsize=16)
def _quadrature(name: str, c: str) -> Any:
    """V(c) = 2 ∫_0^½ Q/S² dθ by Gauss–Legendre in mpmath; alias tails are below e^{−75} = 3e−33."""
    mp = mpmath.MPContext()
    mp.dps = DIGITS + 15
    density, spacing = DENSITIES[name], mp.mpf(c)
    reach = int(mp.ceil(75 / (2 * mp.pi * spacing)))

    def energy(theta: Any) -> Any:
        terms = [density(mp, spacing * (theta + m)) for m in range(-reach, reach + 1)]
        return mp.fsum(t**2 for t in terms) / mp.fsum(terms) ** 2

    return 2 * mp.quad(energy, [0, 0.5], method="gauss-legendre")


CAUCHY = Claim(
    id="ridgeless.cauchy",
    title="Cauchy kernel, d = 1, in closed form",
    statement=(
        r"V = t\Big(1-\frac{t}{2a}\Big),\ B = (1-t)^2\Big(1+\frac t2\Big),\ t=\tanh a,\ a=\pi c;"
        r"\quad V_n = t\Big[1-\frac1{2n}\sum_{l<n}\mathrm{sech}^2\,2\pi h\big(\tfrac n2-l\big)\Big]"
    ),
    source="here",
    hypotheses=(ON_THE_GRID, BANDWIDTH, WHITE_NOISE),
    formulas={
        "estimation": cauchy.ESTIMATION,
        "approximation": cauchy.APPROXIMATION,
        "estimation_3": cauchy.finite_estimation(3),
    },
    legs=(
        derivation_leg("V", _of(cauchy.derive_estimation), ("estimation",), True),
        derivation_leg("B", _of(cauchy.derive_approximation), ("approximation",), True),
        derivation_leg(
            "V_n", lambda v: cauchy.derive_finite_estimation(3, v.expression), ("estimation_3",)
        ),
        digits_leg("solved systems", _cauchy_solved, ("estimation_3",), DIGITS),
        digits_leg("quadrature", _cauchy_quadrature, ("estimation",), DIGITS),
        digits_leg("lattice sums", _approximation_cases("cauchy"), ("approximation",), DIGITS),
        monte_carlo_leg(("estimation",), Profile("cauchy"), 0.6, lambda form, c: form(c)),
    ),
    uses=("ridgeless.limit",),
)


# ── Gaussian ─────────────────────────────────────────────────────────────────────────────────────


def _gaussian_quadrature(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """Both forms of V, in c and in the modulus k(c), against quadrature of the definition."""
    for c in POINTS:
        reference = _quadrature("gaussian", c)
        yield f"V at c = {c}", formula(formulas, "estimation").mp(c, DIGITS + 10), reference


def _gaussian_modulus(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """The forms in k at rational k, against those in c at c(k)."""
    for k in ("0.1", "0.5", "0.9"):
        c = gaussian.BANDWIDTH_FROM_MODULUS.ball(k, 256)
        for part, reference in (
            ("estimation", gaussian.ESTIMATION),
            ("approximation", gaussian.APPROXIMATION),
        ):
            claimed = formula(formulas, f"{part}_in_modulus").ball(k, 256)
            yield f"{part} at k = {k}", claimed, reference.ball(c, 256)


def _elliptic_identity(formulas: Formulas, setting: Setting) -> Evidence:
    """The identity of elliptic functions behind the formula, in balls at complex points."""
    radius = 0.0
    with ctx.workprec(256):  # 0.2 and 0.05 as balls that are as narrow as the rest
        complex_point = acb(arb("0.2"), arb("0.05"))
    for c in ("1/3", "2/3", "5/4"):
        for theta in ("1/10", "37/100", complex_point):
            ball = gaussian.elliptic_identity(theta, c, prec=256)
            if not ball.contains(0):
                return Evidence(False, {}, f"θ = {theta}, c = {c}: {ball} does not contain 0")
            radius = max(radius, float(abs(ball).upper()))
    figures = {"radius": radius, "points": 9}
    return Evidence(radius < 1e-60, figures, f"radius {radius} is not below 1e-60")


GAUSSIAN = Claim(
    id="ridgeless.gaussian",
    title="Gaussian kernel, d = 1, by complete elliptic integrals",
    statement=(
        r"V = \tfrac12\sqrt{\frac{\pi}{(1+k)K'}}\Big(1+\frac{K-E}{kK}\Big),\quad "
        r"B = 1-\sqrt{\frac{2\pi}{K'}}+\tfrac12\sqrt{\frac{\pi(1+k)}{K'}},\quad "
        r"c^2 = \frac{K}{2\pi K'}"
    ),
    source="here",
    hypotheses=(BANDWIDTH, WHITE_NOISE),
    formulas={
        "estimation": gaussian.ESTIMATION,
        "approximation": gaussian.APPROXIMATION,
        "estimation_in_modulus": gaussian.ESTIMATION_IN_MODULUS,
        "approximation_in_modulus": gaussian.APPROXIMATION_IN_MODULUS,
    },
    legs=(
        derivation_leg("V", _of(gaussian.derive_estimation), ("estimation",), True),
        derivation_leg("B", _of(gaussian.derive_approximation), ("approximation",), True),
        derivation_leg("V in k", _of(gaussian.derive_estimation), ("estimation_in_modulus",), True),
        derivation_leg(
            "B in k", _of(gaussian.derive_approximation), ("approximation_in_modulus",), True
        ),
        derivation_leg(
            "V by power series in the nome",
            _of(gaussian_series.derive_estimation_by_series),
            ("estimation",),
        ),
        Leg("elliptic identity", Kind.CERTIFIED, _elliptic_identity, on_mutants=False),
        digits_leg("quadrature", _gaussian_quadrature, ("estimation",), DIGITS),
        # At c = 1.7, B = 2e-49 would be lost in the difference that defines it.
        digits_leg(
            "lattice sums", _approximation_cases("gaussian", POINTS[:2]), ("approximation",), 20
        ),
        digits_leg(
            "modulus", _gaussian_modulus, ("estimation_in_modulus", "approximation_in_modulus"), 40
        ),
        monte_carlo_leg(("estimation",), Profile("gaussian"), 0.5, lambda form, c: form(c)),
    ),
    uses=("ridgeless.limit",),
)


# ── products ─────────────────────────────────────────────────────────────────────────────────────


@lru_cache(maxsize=4)
def _plane_estimation(n: int, c: float) -> float:
    """The estimation error of the Laplace product on an n² grid, from the definition."""
    profile = Profile("laplace", 2, product=True)
    return float(exact_risk(profile, grid(n, 2), {(0, 0): 0.0}, c / n).estimation)


def _product_solved(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    for n, c in ((2, 0.5), (3, 1.2)):
        values = {products.ESTIMATION_SYMBOL: laplace.ESTIMATION(c), products.DIMENSION: 2}
        claimed = float(formula(formulas, "estimation").subs(values))
        yield f"V_2 of the Laplace product, c = {c}", claimed, _plane_estimation(n, c)


def _product_summed(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """B_d of Gaussian products from one unfactored lattice sum over Z^d."""
    for d, c in ((2, 0.4), (3, 0.5)):
        line = np.arange(-12.0, 13.0)
        radius2 = sum(np.meshgrid(*[line**2] * d, indexing="ij"), start=np.zeros([25] * d))
        terms = np.exp(-2 * np.pi**2 * c**2 * radius2)
        weights = terms / terms.sum()
        own, energy = (form(c) for form in (gaussian.OWN_WEIGHT, gaussian.WEIGHT_ENERGY))
        values = {
            products.WEIGHT_SYMBOL: own,
            products.ENERGY_SYMBOL: energy,
            products.DIMENSION: d,
        }
        reference = float(1 - 2 * weights.max() + np.sum(weights**2))
        yield f"B_{d}, c = {c}", float(formula(formulas, "approximation").subs(values)), reference


PRODUCTS = Claim(
    id="ridgeless.products",
    title="coordinate products",
    statement=r"V_d = V_1^d,\quad B_d = 1 - 2r_0^d + \Big(\sum_l r_l^2\Big)^d",
    source="here",
    hypotheses=(BANDWIDTH, WHITE_NOISE),
    formulas={"estimation": products.ESTIMATION, "approximation": products.APPROXIMATION},
    legs=(
        derivation_leg("V", products.derive_estimation, ("estimation",), True),
        derivation_leg("B", products.derive_approximation, ("approximation",), True),
        digits_leg("solved systems", _product_solved, ("estimation",), 9),
        digits_leg("lattice sums", _product_summed, ("approximation",), 12),
    ),
    uses=("ridgeless.limit",),
)

# ── Matérn 3/2 and 5/2 ───────────────────────────────────────────────────────────────────────────

ORDERS = {"3_2": 1.5, "5_2": 2.5}


MATERN_FORMULAS = ("estimation_3_2", "approximation_3_2", "estimation_5_2", "approximation_5_2")


@dataclass(frozen=True)
class Long:
    """A closed form whose thousands of automatic mutants are left to the slow tests."""

    form: ClosedForm


def _form(formulas: Formulas, name: str) -> ClosedForm:
    found = formula(formulas, name)
    return found.form if isinstance(found, Long) else found


def _matern_mutants() -> tuple[Mutant, ...]:
    """The long form set wrong by hand."""
    right, other = (matern_line.matern_forms(nu).estimation for nu in (2.5, 1.5))
    c = right.variable
    wrong = {
        "everything * (1 + 1e-6)": right.expression * (1 + sympy.Rational(1, 10**6)),
        "a wider kernel": right.expression.subs(c, c * sympy.Rational(51, 50)),
        "that of 3/2": other.expression,
        "its inverse": 1 / right.expression,
    }
    return tuple(
        Mutant(f"estimation_5_2: {name}", {"estimation_5_2": Long(right.replace_expression(form))})
        for name, form in wrong.items()
    )


def _matern_derivation(*claimed: ClosedForm | Long) -> Derivation:
    """V and B derived from the lattice sums, whose rational functions of cos 2πθ are integrated."""
    kinds = (matern_line.derive_estimation, matern_line.derive_approximation)
    cases = [(derive, nu) for nu in ORDERS.values() for derive in kinds]
    parts = zip(cases, claimed, strict=True)
    return joined("V and B", *(derive(nu, _expression(form)) for (derive, nu), form in parts))


def _expression(claimed: ClosedForm | Long) -> sympy.Expr:
    return claimed.form.expression if isinstance(claimed, Long) else claimed.expression


def _matern_solved(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """V against solved systems of 48 points, where V_n − V is below 1e-16."""
    for order in ORDERS:
        for c in (0.4, 0.9):
            claimed = _form(formulas, f"estimation_{order}").mp(c, 20)
            yield f"V, ν = {order}, c = {c}", claimed, _matern_risk(order, c)


@lru_cache(maxsize=8)
def _matern_risk(order: str, c: float) -> float:
    profile = Profile("matern", nu=ORDERS[order])
    return exact_risk(profile, np.arange(48) / 48, {0: 0.0}, c / 48, order=24).estimation


def _matern_bias(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """B is the bias of the constant target at every n: two points solved in high precision."""
    for order in ORDERS:
        for c in (Fraction(2, 5), Fraction(3, 2)):
            claimed = formula(formulas, f"approximation_{order}").mp(c, DIGITS)
            yield f"B, ν = {order}, c = {c}", claimed, _matern_constant(order, c)


@lru_cache(maxsize=8)
def _matern_constant(order: str, c: Fraction) -> Any:
    profile = Profile("matern", nu=ORDERS[order])
    return exact_risk_mp(profile, 2, {0: 1.0}, c / 2, 0, dps=60, digits=15).approximation


MATERN = Claim(
    id="ridgeless.matern",
    title="Matérn 3/2 and 5/2, d = 1, in closed form",
    statement=(
        r"\nu\in\{\tfrac32,\tfrac52\}:\ V = \int_0^1\frac{P(\cos2\pi\theta)}"
        r"{p(\cos2\pi\theta)^2}d\theta \text{ and } B \text{ are algebraic in } "
        r"s,\ \coth s,\ \mathrm{csch}\,s,\ s=\sqrt{2\nu}/c"
    ),
    source="here",
    hypotheses=(BANDWIDTH, WHITE_NOISE),
    formulas={
        "estimation_3_2": matern_line.matern_forms(1.5).estimation,
        "approximation_3_2": matern_line.matern_forms(1.5).approximation,
        "estimation_5_2": Long(matern_line.matern_forms(2.5).estimation),
        "approximation_5_2": matern_line.matern_forms(2.5).approximation,
    },
    legs=(
        derivation_leg("V and B", _matern_derivation, MATERN_FORMULAS, whole=True),
        digits_leg("solved systems", _matern_solved, ("estimation_3_2", "estimation_5_2"), 11),
        digits_leg("two points", _matern_bias, ("approximation_3_2", "approximation_5_2"), 14),
    ),
    mutants=_matern_mutants(),
    uses=("ridgeless.limit",),
    notes="V → C(4,1) and C(6,1) as c → ∞: the algebraic numbers of ridgeless.splines.",
)

CLAIMS = (LAPLACE, CAUCHY, GAUSSIAN, MATERN, PRODUCTS)
