"""The exact risk: time, memory and growth, against the direct route and the floor, in one run."""

import os
import statistics
import subprocess
import sys
import time

import numpy as np
import pytest
from sklearn.kernel_ridge import KernelRidge

from numerics.ridgeless import Profile, kernel_matrix
from theory.ridgeless import Gaussian, Laplace, Matern, risk

MEASURE = """
import resource, sys, time
from theory.ridgeless import *
kernel, n, c = eval(sys.argv[1]), int(sys.argv[2]), 5.0
target = {(1,) * kernel.dimension: 1.0}
risk(kernel, 8, 0.1, target, 1.0)
start = time.perf_counter()
risk(kernel, n, c / n, target, 1.0)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(time.perf_counter() - start, peak)
"""


def measured(kernel: str, n: int, threads: int) -> tuple[float, float]:
    """Seconds and peak GiB of one risk in a fresh process."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": str(threads),
    }
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, kernel, str(n)],
        capture_output=True, text=True, check=True, env=environment,
    )  # fmt: skip
    seconds, peak = map(float, run.stdout.split())
    return seconds, peak


def seconds(function, repeats=3):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


@pytest.mark.parametrize(
    ("kernel", "n", "limit"),
    [
        ("Laplace(2)", 4096, 10),
        ("Cauchy(2)", 4096, 10),
        ("Gaussian(2)", 4096, 10),
        ("Matern(1.5, 2)", 4096, 10),
        ("Laplace()", 2**22, 2),
        ("Cauchy()", 2**22, 2),
        ("Gaussian()", 2**22, 2),
        ("Matern(2.5)", 2**22, 2),
    ],
)
def test_large_grids(kernel, n, limit):
    for threads in (1, 2):
        took, peak = measured(kernel, n, threads)
        print(f"\n{kernel}, n = {n}, {threads} threads: {took:.2f} s, {peak:.2f} GiB", end="")
        assert took < limit
        assert peak < 2


@pytest.mark.parametrize("kernel", [Laplace(2), Gaussian(2)])
def test_growth_is_linear_in_the_points(kernel):
    per_point = {
        n: seconds(lambda n=n: risk(kernel, n, 5 / n, {}, 1.0)) / n**2 for n in (1024, 2048, 4096)
    }
    print(f"\n{kernel}: ns per point {[f'{1e9 * t:.1f}' for t in per_point.values()]}", end="")
    assert per_point[4096] < 2 * per_point[2048]  # below that, caches hold the grid


def test_against_the_floor():
    """The two matrix products of an isotropic plane, alternating with the whole risk."""
    n, rank = 2049, 40
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(2 * n, rank)), rng.normal(size=(rank, n))
    ratios = []
    for _ in range(3):
        floor = seconds(lambda: (left @ right, left @ right, np.empty((2 * n, n)).fill(1.0)), 1)
        ratios.append(seconds(lambda: risk(Laplace(2), 4096, 5 / 4096, {}, 1.0), 1) / floor)
    print(
        f"\nrisk of Laplace(2) at n = 4096: {statistics.median(ratios):.1f} × the products", end=""
    )


def direct_risk(profile: Profile, n: int, h: float, ridge: float) -> tuple[float, float]:
    """The risk of cos(2πx) by KernelRidge: fit wave and noise directions, predict on 6n points."""
    points = np.arange(n) / n
    responses = np.column_stack([np.cos(2 * np.pi * points), np.eye(n)])
    model = KernelRidge(alpha=ridge, kernel="precomputed")
    model.fit(kernel_matrix(profile, points, points, h), responses)
    nodes, weights = np.polynomial.legendre.leggauss(6)
    approximation = estimation = 0.0
    for node, weight in zip(nodes, weights, strict=True):
        x = points + (1 + node) / (2 * n)
        predicted = model.predict(kernel_matrix(profile, x, points, h))
        error = predicted[:, 0] - np.cos(2 * np.pi * x)
        approximation += weight / 2 * np.mean(error**2)
        estimation += weight / 2 * np.mean(np.sum(predicted[:, 1:] ** 2, axis=1))
    return approximation, estimation


@pytest.mark.parametrize(
    ("kernel", "profile"),
    [(Laplace(), Profile("laplace")), (Matern(1.5), Profile("matern", nu=1.5))],
)
def test_against_kernel_ridge(kernel, profile):
    """The whole direct route at N = 4096, in doubles, beside the exact risk; the same answer."""
    n, h, ridge = 4096, 0.002, 0.1
    target = {(1,): 0.5, (-1,): 0.5}
    start = time.perf_counter()
    approximation, estimation = direct_risk(profile, n, h, ridge)
    peer = time.perf_counter() - start
    ours = seconds(lambda: risk(kernel, n, h, target, 1.0, ridge), 20)
    print(f"\n{kernel}, N = {n}: KernelRidge {peer:.1f} s, ratio {peer / ours:.0f}", end="")
    found = risk(kernel, n, h, target, 1.0, ridge)
    assert found.approximation == pytest.approx(approximation, rel=1e-7)
    assert found.estimation == pytest.approx(estimation, rel=1e-9)
    assert peer / ours > 1000


def test_import_is_light():
    """`import theory` beside `import numpy`, alternating."""

    def cost(module):
        return seconds(
            lambda: subprocess.run([sys.executable, "-c", f"import {module}"], check=True), 1
        )

    ratios = [cost("theory") / cost("numpy") for _ in range(7)]
    print(f"\nimport theory: {statistics.median(ratios):.2f} × import numpy", end="")
    assert statistics.median(ratios) < 2
