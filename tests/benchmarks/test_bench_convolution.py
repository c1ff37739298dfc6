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

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

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

def serve():
    for line in sys.stdin:
        name, arguments = json.loads(line)
        print(json.dumps(globals()[name](*arguments)), flush=True)
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


class Worker:
    """A process that runs the functions of a script on demand, on as many cores as threads."""

    def __init__(self, python: str, code: str, n: int, depth: int, threads: int = THREADS) -> None:
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": str(threads),
            "OMP_WAIT_POLICY": "passive",
        }
        cores = ",".join(map(str, sorted(os.sched_getaffinity(0))[:threads]))
        self.process = subprocess.Popen(
            ["taskset", "-c", cores, python, "-c", COMMON + code, *map(str, (threads, n, depth))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env=environment,
        )  # fmt: skip

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def __call__(self, name, *arguments):
        self.process.stdin.write(json.dumps([name, arguments]) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, f"the process that ran {name}{arguments} ended"
        return json.loads(answer)


def theirs(n: int, depth: int, threads: int) -> Worker:
    found = (
        Path(PEER).exists()
        and not subprocess.run(
            [PEER, "-c", "import neural_tangents"], capture_output=True, check=False
        ).returncode
    )
    if not found:
        pytest.skip(
            f"neural-tangents is not installed at {PEER}; see this file's head for how to install"
        )
    return Worker(PEER, THEIRS, n, depth, threads)


def least(samples):
    return [min(values) for values in zip(*samples, strict=True)]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("depth", [1, 3])
def test_gram_matrix_against_the_peer(depth, threads):
    n = 200
    with theirs(n, depth, threads) as peer, Worker(sys.executable, OURS, n, depth, threads) as own:
        other = {batch: [] for batch in BATCHES}
        ours = []
        for _repetition in range(REPETITIONS):
            ours.append(own("gram"))
            for batch in BATCHES:
                other[batch].append(peer("gram", batch))
        entries = own("entries", 5), peer("entries", 5)
    best = least([least(samples) for samples in other.values()])
    one = least(ours)
    print(
        f"\n{n} images of 32 x 32 x 3, depth {depth}, {threads} threads: {one[0]:.2f} s (CPU "
        f"{one[1]:.2f} s), {one[0] / best[0]:.2f} (wall) and {one[1] / best[1]:.2f} (CPU) times "
        "neural-tangents; target 1"
    )
    for row, reference in zip(*entries, strict=True):
        assert row == pytest.approx(reference, rel=1e-3)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_gram_matrix_of_2000_images():
    """The target is 10 minutes on two cores and 4 GiB."""
    with Worker(sys.executable, OURS, 2000, 3) as own:
        wall, cpu = own("gram")
        highest = own("peak")
    print(
        f"\n2000 images of 32 x 32 x 3, depth 3: {wall:.0f} s (CPU {cpu:.0f} s), "
        f"{highest / GIB:.2f} GiB at the peak"
    )
    assert highest < 4 * GIB


def test_patch_agop_against_the_gram_matrix():
    with Worker(sys.executable, OURS, 100, 3) as own:
        gram = least([own("gram") for _ in range(REPETITIONS)])
        agop = least([own("agop") for _ in range(REPETITIONS)])
    # The Gram matrix takes each pair once, the gradients both ways.
    print(
        f"\n100 images of 32 x 32 x 3, depth 3: the patch-AGOP takes {agop[0]:.2f} s (CPU "
        f"{agop[1]:.2f} s), {agop[1] / gram[1]:.1f} times the Gram matrix"
    )
