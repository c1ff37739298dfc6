"""Benchmarks of the convolutional kernel; they print, and assert only memory and agreement.

The peer is `neural-tangents`. Both programs compute the same Gram matrix, in single precision, on
the same images and the same number of threads, one after the other in processes of their own; each
figure is the least of its repetitions, in wall time and in CPU time (all threads), which tells more
on a machine that others use. The peer's time contains no compilation; of several batch sizes the
fastest counts.

The peer lives in an environment of its own (with newer versions of these packages it cannot be
imported):

    python3 -m venv build/nt
    build/nt/bin/pip install neural-tangents==0.6.5 jax==0.4.23 jaxlib==0.4.23 tf2jax==0.3.5 \
        "numpy<2" "scipy<1.13"
    NT_PYTHON=build/nt/bin/python make bench
"""

from __future__ import annotations

import os
import sys

import pytest

from tests.benchmarks.workers import SERVE, Worker, least, peer

PEER = os.environ.get("NT_PYTHON", "build/nt/bin/python")
THREADS = 2
REPETITIONS = 3
BATCHES = (10, 20, 50)
GIB = 2**30

COMMON = """
import json, resource, sys, time
import numpy as np

threads, n, depth = map(int, sys.argv[1:4])
images = np.random.default_rng(0).standard_normal((n, 3, 32, 32)).astype(np.float32)

def timed(function):
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - wall, time.process_time() - cpu

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
"""

OURS = """
import torch
from numerics.convolution.cntk import ConvolutionalNTK
from numerics.convolution.patches import Patches
from numerics.convolution.patch_gradients import patch_agop_of_kernel_machine

torch.set_num_threads(threads)
kernel = ConvolutionalNTK(Patches(3, 1, "circular"), depth)
X = torch.from_numpy(images)

def gram():
    def run():
        global K
        K = kernel.matrix(X)
    return timed(run)

def agop():
    alpha = torch.ones(n, 1)
    return timed(lambda: patch_agop_of_kernel_machine(kernel, alpha, X, X, None, torch.arange(n)))

def entries(m):
    return K[:m, :m].double().tolist()

serve()
"""

THEIRS = """
import os
os.environ["XLA_FLAGS"] = f"--xla_cpu_multi_thread_eigen={'true' if threads > 1 else 'false'}"
import neural_tangents as nt
from neural_tangents import stax

layers = []
for _ in range(depth):
    layers += [stax.Conv(1, (3, 3), (1, 1), "CIRCULAR"), stax.ABRelu(0, 2**0.5)]
_, _, kernel = stax.serial(*layers, stax.Flatten(), stax.Dense(1))
X = images.transpose(0, 2, 3, 1)

def gram(batch):
    batched = nt.batch(kernel, batch, store_on_device=False)
    batched(X[:2 * batch], None, "ntk")  # compiles
    def run():
        global K
        K = np.asarray(batched(X, None, "ntk"))
    return timed(run)

def entries(m):
    return K[:m, :m].astype(float).tolist()

serve()
"""


def ours(n: int, depth: int, threads: int = THREADS) -> Worker:
    return Worker(sys.executable, COMMON + SERVE + OURS, n, depth, threads=threads)


def theirs(n: int, depth: int, threads: int) -> Worker:
    return Worker(peer(PEER, "neural_tangents"), COMMON + SERVE + THEIRS, n, depth, threads=threads)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("depth", [1, 3])
def test_gram_matrix_against_the_peer(depth, threads):
    n = 200
    with theirs(n, depth, threads) as reference, ours(n, depth, threads) as own:
        other = {batch: [] for batch in BATCHES}
        mine = []
        for _repetition in range(REPETITIONS):
            mine.append(own("gram"))
            for batch in BATCHES:
                other[batch].append(reference("gram", batch))
        entries = own("entries", 5), reference("entries", 5)
    best = least([least(samples) for samples in other.values()])
    one = least(mine)
    print(
        f"\n{n} images of 32 x 32 x 3, depth {depth}, {threads} threads: {one[0]:.2f} s (CPU "
        f"{one[1]:.2f} s), {one[0] / best[0]:.2f} (wall) and {one[1] / best[1]:.2f} (CPU) times "
        "neural-tangents; target 1"
    )
    for row, wanted in zip(*entries, strict=True):
        assert row == pytest.approx(wanted, rel=1e-3)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_gram_matrix_of_2000_images():
    """The target is 10 minutes on two cores and 4 GiB."""
    with ours(2000, 3) as own:
        wall, cpu = own("gram")
        highest = own("peak")
    print(
        f"\n2000 images of 32 x 32 x 3, depth 3: {wall:.0f} s (CPU {cpu:.0f} s), "
        f"{highest / GIB:.2f} GiB at the peak"
    )
    assert highest < 4 * GIB


def test_patch_agop_against_the_gram_matrix():
    with ours(100, 3) as own:
        gram = least([own("gram") for _ in range(REPETITIONS)])
        agop = least([own("agop") for _ in range(REPETITIONS)])
    # The Gram matrix takes each pair once, the gradients both ways.
    print(
        f"\n100 images of 32 x 32 x 3, depth 3: the patch-AGOP takes {agop[0]:.2f} s (CPU "
        f"{agop[1]:.2f} s), {agop[1] / gram[1]:.1f} times the Gram matrix"
    )
