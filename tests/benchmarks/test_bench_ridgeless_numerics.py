"""Monte Carlo on the grid: circulant matrices against dense ones, same draws, same test points."""

from __future__ import annotations

import time

import pytest

from numerics.ridgeless import monte_carlo_risk

DRAWS = 64


def measure(n: int, dimension: int, order: int, method: str) -> float:
    target = {(1,) * dimension: 1.0}
    return monte_carlo_risk(
        "laplace",
        n,
        2 / n,
        target,
        draws=DRAWS,
        rng=0,
        dimension=dimension,
        order=order,
        method=method,
    ).mean


@pytest.mark.parametrize(("n", "dimension", "order"), [(2048, 1, 4), (32, 2, 2)])
def test_fast_path_is_fifty_times_faster(benchmark, n, dimension, order):
    """Everything is counted on both sides: kernel values, factorisation, solves, predictions."""
    fast = benchmark.pedantic(measure, (n, dimension, order, "fft"), rounds=5, warmup_rounds=1)
    start = time.perf_counter()
    dense = measure(n, dimension, order, "dense")
    seconds = time.perf_counter() - start
    ratio = seconds / benchmark.stats.stats.median
    benchmark.extra_info["dense_seconds"] = seconds
    benchmark.extra_info["ratio"] = ratio
    print(f"\nn = {n}, d = {dimension}: dense {seconds:.2f} s, ratio {ratio:.0f}")
    assert fast == pytest.approx(dense, rel=1e-12)
    assert ratio >= 50


def test_fast_path_throughput(benchmark):
    """Draws per second once everything is set up: the cost that grows with the number of draws."""
    result = benchmark.pedantic(
        monte_carlo_risk,
        ("laplace", 2048, 2 / 2048, {1: 1.0}),
        {"draws": 2048, "rng": 0, "order": 4},
        rounds=2,
    )
    assert result.samples == 2048
