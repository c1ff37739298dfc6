"""The early-time expansion of a large network: time, and memory beside what is returned."""

import os
import statistics
import subprocess
import sys

import pytest

MEASURE = """
import resource, sys, time
import numpy as np
from theory.alignment.expansion import early_time
n, d, k, o = map(int, sys.argv[2:])
rng = np.random.default_rng(0)
X, W, a, y = (rng.normal(size=s) for s in ((n, d), (k, d), (o, k), (n, o)))
early_time(X[:4], y[:4], W / d**0.5, a / k**0.5, sys.argv[1], train_readout=True)
start = time.perf_counter(), time.process_time()
early_time(X, y, W / d**0.5, a / k**0.5, sys.argv[1], train_readout=True)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(time.perf_counter() - start[0], time.process_time() - start[1], peak)
"""


def measured(activation: str, *sizes: int) -> tuple[float, float, float]:
    """Seconds on the clock, seconds of one processor, and peak GiB, in a fresh process."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, activation, *map(str, sizes)],
        capture_output=True, text=True, check=True, env=environment,
    )  # fmt: skip
    clock, processor, peak = map(float, run.stdout.split())
    return clock, processor, peak


@pytest.mark.parametrize("activation", ["relu", "erf", "gelu", "hermite3"])
def test_one_output(activation):
    runs = [measured(activation, 2000, 500, 1000, 1) for _ in range(3)]
    clock, processor, peak = map(statistics.median, zip(*runs, strict=True))
    print(f"{activation}: {clock:.2f} s, {processor:.2f} s of one processor, {peak:.2f} GiB")
    assert processor < 2  # of one thread: on an idle machine the clock shows the same
    assert peak < 1


def test_ten_outputs():
    clock, processor, peak = measured("relu", 2000, 500, 1000, 10)
    print(f"10 outputs: {clock:.2f} s, {processor:.2f} s of one processor, {peak:.2f} GiB")
    assert processor < 2  # of one thread: on an idle machine the clock shows the same


def test_many_samples_need_no_gram_matrix():
    """60,000 samples: a Gram matrix alone would take 27 GiB."""
    clock, _, peak = measured("relu", 60_000, 50, 64, 1)
    print(f"n = 60,000: {clock:.2f} s, {peak:.2f} GiB")
    assert peak < 2
