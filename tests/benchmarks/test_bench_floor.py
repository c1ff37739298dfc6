"""What certified digits of the floor cost, beside an uncertified minimisation of the same risk."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import mpmath
import pytest
from scipy import optimize

from theory.ridgeless import Cauchy, Gaussian, Laplace, Matern, floor, limit_forms, limit_risk
from theory.ridgeless.curves import risk_curve

LINES = {
    "laplace": Laplace(),
    "cauchy": Cauchy(),
    "gaussian": Gaussian(),
    "matern 3/2": Matern(1.5),
    "matern 5/2": Matern(2.5),
    "gaussian 3": Gaussian(3),
}
LATTICES = {
    ("laplace", 2): (Laplace(2), 60.0),
    ("cauchy", 2): (Cauchy(2), 60.0),
    ("laplace", 3): (Laplace(3), 300.0),
    ("cauchy", 3): (Cauchy(3), 300.0),
}


def seconds(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def fresh_floor(kernel: Any, snr: Any, digits: int) -> Any:
    """Nothing remembered from before."""
    risk_curve.cache_clear()
    return floor(kernel, snr, digits)


def plain(kernel: Any, snr: float, digits: int) -> Any:
    """Brent's method on the same closed forms in mpmath, which proves nothing."""
    forms = limit_forms(kernel)
    assert forms is not None
    dps = digits + 5

    def risk(log_c: float) -> float:
        c = float(mpmath.exp(log_c))
        return float(snr * forms.approximation.mp(c, dps) + forms.estimation.mp(c, dps))

    return optimize.minimize_scalar(risk, bounds=(-3, 3), method="bounded")


@pytest.mark.parametrize("name", LINES)
def test_twelve_digits(benchmark: Any, name: str) -> None:
    kernel = LINES[name]
    fresh_floor(kernel, 2, 12)
    benchmark(fresh_floor, kernel, 3, 12)
    mine, peer = (
        benchmark.stats.stats.min,
        min(seconds(lambda: plain(kernel, 3.0, 12)) for _ in "ab"),
    )
    sys.stdout.write(f"\n{name}: {mine:.3f} s = {mine / peer:.2f} uncertified minimisations\n")
    assert mine < 1


@pytest.mark.parametrize("name", ["laplace", "gaussian"])
def test_cost_against_digits(name: str) -> None:
    cost = {d: seconds(lambda d=d: fresh_floor(LINES[name], 3, d)) for d in (3, 6, 12, 25, 50, 100)}
    sys.stdout.write(f"\n{name}: " + ", ".join(f"{d} digits {t:.3f} s" for d, t in cost.items()))
    assert cost[100] < 60


@pytest.mark.parametrize("case", LATTICES, ids=str)
def test_planes_and_spaces(case: tuple[str, int]) -> None:
    kernel, allowed = LATTICES[case]
    point = seconds(lambda: limit_risk(kernel, 0.5))
    cost = {digits: seconds(lambda d=digits: fresh_floor(kernel, 1, d)) for digits in (2, 6)}
    sys.stdout.write(
        f"\n{case}: 2 digits {cost[2]:.1f} s, 6 digits {cost[6]:.1f} s = {cost[6] / point:.0f} "
        "uncertified evaluations\n"
    )
    assert cost[6] < allowed
