"""How fast closed forms are: ratios to NumPy's tanh on the same points."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sympy

from theory.closed_form import ClosedForm
from theory.theta import ComplementaryQuarterPeriod, EllipticDeficitRatio, EllipticModulus

s = sympy.Symbol("s", positive=True)
K_PRIME, k = ComplementaryQuarterPeriod(s), EllipticModulus(s)
EXPRESSIONS = {
    "laplace": sympy.coth(s) / s - sympy.csch(s) ** 2,
    "gaussian": sympy.sqrt(sympy.pi / ((1 + k) * K_PRIME)) / 2 * (1 + EllipticDeficitRatio(s)),
}


def fresh(name: str) -> ClosedForm:
    return ClosedForm(name, EXPRESSIONS[name], s, (0, sympy.oo))


def seconds(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


@pytest.fixture
def million() -> np.ndarray:
    exponents = np.random.default_rng(0).uniform(-4, 2, 10**6)
    return np.asarray(10.0**exponents)


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_a_million_values(benchmark: Any, million: np.ndarray, name: str) -> None:
    of = fresh(name)
    cold = seconds(lambda: of(million))
    benchmark(of, million)
    tanh = min(seconds(lambda: np.tanh(million)) for _ in range(5))
    warm = benchmark.stats.stats.min
    sys.stdout.write(f"\n{name}: {warm:.3f} s = {warm / tanh:.1f} tanh; cold {cold:.2f} s\n")
    assert warm < 0.5


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_a_scalar(benchmark: Any, name: str) -> None:
    of = fresh(name)
    points = np.random.default_rng(0).uniform(0.1, 3, 200)
    benchmark(lambda: [of(point) for point in points])
    each = benchmark.stats.stats.min / points.size
    tanh = min(seconds(lambda: [np.tanh(point) for point in points]) for _ in range(5))
    sys.stdout.write(
        f"\n{name}: {each * 1e6:.0f} µs a scalar = {each * points.size / tanh:.0f} np.tanh\n"
    )
    assert each < 200e-6
