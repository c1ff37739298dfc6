"""Pieces that several claims of this slice share: kernels in pairs, references, drawn risks."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import mpmath

from numerics.monte_carlo import Estimate
from numerics.ridgeless import Profile, monte_carlo_risk
from theory.ridgeless.kernels import Cauchy, Gaussian, Kernel, Laplace, Matern, Product

from ...claim import Evidence, Formulas, Hypothesis, Kind, Leg, Setting
from ...statistics import compare_mean
from ..shared import BETA, formula

ON_THE_GRID = Hypothesis("n ≥ 2 points per axis at j/n on the torus", lambda n: n >= 2)
POSITIVE_SPECTRUM = Hypothesis("φ̂ ≥ 0, summable, and S_l > 0 in every alias class")
WHITE_NOISE = Hypothesis("noise iid with mean 0 and variance σ²")
BANDWIDTH = Hypothesis("bandwidth c > 0 in grid spacings", lambda c: c > 0)

# Each kernel of theory beside the profile of numerics, which shares nothing with it.
PAIRS: tuple[tuple[Kernel, Profile], ...] = (
    (Laplace(), Profile("laplace")),
    (Gaussian(), Profile("gaussian")),
    (Cauchy(), Profile("cauchy")),
    (Matern(2.5), Profile("matern", nu=2.5)),
    (Laplace(2), Profile("laplace", 2)),
    (Cauchy(2), Profile("cauchy", 2)),
    (Product(Laplace(), 2), Profile("laplace", 2, product=True)),
)


def weights_at_zero(density: Callable[[Any, Any], Any], c: str, dps: int) -> tuple[Any, Any]:
    """r_0(0) and Σ_l r_l(0)² from the definition, by mpmath's summation of φ̂(c l) over l in Z."""
    context = mpmath.MPContext()
    context.dps = dps + 10

    def total(power: int) -> Any:
        def term(label: Any) -> Any:
            return density(context, context.mpf(c) * label) ** power

        return term(0) + 2 * context.nsum(term, [1, context.inf])

    own = density(context, context.mpf(0)) / total(1)
    return own, total(2) / total(1) ** 2


DENSITIES: dict[str, Callable[[Any, Any], Any]] = {
    "laplace": lambda mp, xi: 2 / (1 + 4 * mp.pi**2 * xi**2),
    "cauchy": lambda mp, xi: mp.pi * mp.exp(-2 * mp.pi * abs(xi)),
    "gaussian": lambda mp, xi: mp.sqrt(2 * mp.pi) * mp.exp(-2 * mp.pi**2 * xi**2),
}


@lru_cache(maxsize=32)
def drawn_risk(profile: Profile, n: int, h: float, ridge: float, draws: int, seed: int) -> Estimate:
    """Monte Carlo risk of the zero target with unit noise; it depends on no formula, so is kept."""
    return monte_carlo_risk(profile, n, h, {0: 0.0}, 1.0, ridge, draws=draws, rng=seed)


def monte_carlo_leg(
    reads: tuple[str, ...], profile: Profile, c: float, value: Callable[[Any, float], float]
) -> Leg:
    """A simulated leg: the claimed estimation error against the risk measured over noise draws."""
    n, draws = 64, 6000

    def run(formulas: Formulas, setting: Setting) -> Evidence:
        seed = int(setting.generator(f"monte carlo {profile.name} {c}").integers(2**31))
        measured = drawn_risk(profile, n, c / n, 0.0, draws, seed)
        claimed = float(value(formula(formulas, reads[0]), c))
        comparison = compare_mean(
            measured.mean, measured.standard_error, measured.samples, claimed, setting.alpha, BETA
        )
        return comparison.evidence(f"{profile.name}, n = {n}, c = {c}")

    return Leg("monte carlo", Kind.SIMULATED, run, reads)
