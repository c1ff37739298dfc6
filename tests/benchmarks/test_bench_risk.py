"""The exact risk: time, memory and growth, against the direct route and the floor, in one run."""

import os
import statistics
import subprocess
import sys
import time

import numpy as np
import pytest
from sklearn.kernel_ridge import KernelRidge

from numerics.ridgeless import Profile, grid, kernel_matrix
from theory.ridgeless import Cauchy, Gaussian, Laplace, risk

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
        n: seconds(lambda n=n: risk(kernel, n, 5 / n, {}, 1.0)) / n**2 for n in (512, 1024, 2048)
    }
    print(f"\n{kernel}: ns per point {[f'{1e9 * t:.1f}' for t in per_point.values()]}", end="")
    assert per_point[2048] < 2 * per_point[512]


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


@pytest.mark.parametrize(("kernel", "name"), [(Laplace(2), "laplace"), (Cauchy(2), "cauchy")])
def test_against_kernel_ridge(kernel, name):
    """The direct route to the bias at N = 4096: fit noise-free data, predict on midpoints.

    Setting up the kernel matrices counts for neither route; the fit alone is compared with the
    whole exact risk. Agreement is checked on the residual at the midpoints' share of the risk.
    """
    n, h = 64, 0.05
    points = grid(n, 2)
    K = kernel_matrix(Profile(name, 2), points, points, h)
    y = np.cos(2 * np.pi * points[:, 0])
    model = KernelRidge(alpha=0.1, kernel="precomputed")
    peer, ours = [], []
    for _ in range(3):
        start = time.perf_counter()
        model.fit(K, np.column_stack([y, np.eye(n * n)]))
        peer.append(time.perf_counter() - start)
        target = {(1, 0): 0.5, (-1, 0): 0.5}
        ours.append(seconds(lambda: risk(kernel, n, h, target, 1.0, 0.1), 5))
    ratio = statistics.median(p / o for p, o in zip(peer, ours, strict=True))
    print(f"\n{name}, N = 4096: KernelRidge {min(peer):.2f} s, ratio {ratio:.0f}", end="")
    assert ratio > 1000
    # The same answer: the dual weights of a wave are 1/(N S + λ), an eigenvalue of the system.
    weight = float(model.dual_coef_[:, 0] @ y / (y @ y))
    from theory.ridgeless.alias import alias_excess

    excess = alias_excess(kernel, h * n, [np.array([1 / n]), np.zeros(1)]).first.item()
    density = float(kernel.spectral_density(np.array([h, 0.0])))
    assert weight == pytest.approx(1 / (n**2 * h**2 * density * (1 + excess) + 0.1), rel=1e-9)


def test_import_is_light():
    """`import theory` beside `import numpy`, alternating."""

    def cost(module):
        return seconds(
            lambda: subprocess.run([sys.executable, "-c", f"import {module}"], check=True), 1
        )

    ratios = [cost("theory") / cost("numpy") for _ in range(7)]
    print(f"\nimport theory: {statistics.median(ratios):.2f} × import numpy", end="")
    assert statistics.median(ratios) < 2
