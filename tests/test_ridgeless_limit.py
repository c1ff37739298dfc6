"""Limiting risk and best bandwidth: closed forms against quadrature, minima against scans."""

import numpy as np
import pytest

from theory.ridgeless import (
    Cauchy,
    Gaussian,
    Laplace,
    Matern,
    limit_forms,
    limit_risk,
    null_threshold,
    optimal_bandwidth,
)
from theory.ridgeless.limit import _approximation, _estimation_by_quadrature

LINES = [Laplace(), Cauchy(), Gaussian()]


@pytest.mark.parametrize("kernel", LINES)
@pytest.mark.parametrize("c", [0.05, 0.3, 1.0, 3.0])
def test_quadrature_agrees_with_closed_forms(kernel, c):
    found = limit_risk(kernel, c)
    estimation, error = _estimation_by_quadrature(kernel, c)
    assert error < 1e-10
    assert estimation == pytest.approx(found.estimation, rel=1e-12)
    assert _approximation(kernel, c) == pytest.approx(found.approximation, rel=1e-12)


def test_closed_forms_exist_where_documented():
    documented = [*LINES, Gaussian(3), Matern(0.5), Matern(1.5), Matern(2.5)]
    assert all(limit_forms(kernel) for kernel in documented)
    assert limit_forms(Laplace(2)) is None
    assert limit_forms(Matern(3.5)) is None


@pytest.mark.parametrize("kernel", LINES)
@pytest.mark.parametrize("snr", [1.0, 30.0])
def test_best_bandwidth_against_a_scan(kernel, snr):
    best = optimal_bandwidth(kernel, snr)
    scanned = min(limit_risk(kernel, c).total(snr) for c in np.geomspace(0.03, 30, 300))
    assert not best.null
    assert scanned - 1e-3 < best.risk <= scanned


@pytest.mark.parametrize("kernel", LINES)
def test_the_zero_function_wins_below_the_threshold_only(kernel):
    threshold = float(null_threshold(kernel))
    below, above = (optimal_bandwidth(kernel, threshold * x) for x in (0.95, 1.1))
    assert (below.null, below.risk, below.spacing_bandwidth) == (True, threshold * 0.95, 0.0)
    assert not above.null
    assert above.risk < threshold * 1.1


def test_the_bias_of_a_wide_cauchy_kernel_has_all_its_neighbours():
    """At c = 20 the neighbours' weights are e^{−40π}: 2d of them, all of the same size."""
    for d in (2, 3):
        weight = np.exp(-40 * np.pi)
        found = _approximation(Cauchy(d), 20.0)
        assert found == pytest.approx(((2 * d) ** 2 + 2 * d) * weight**2, rel=1e-12)
