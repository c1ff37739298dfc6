"""Measuring a network's matrices: time and memory against plain backward passes and vmap(jacrev).

The network has 5 hidden ReLU layers of width 256 and 10 outputs; 5,000 samples of dimension 784.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SETUP = """
import resource, sys, time
import torch
from torch.func import functional_call, jacrev, vmap
from numerics.alignment import alignments, layer_matrices, mlp

threads, dtype, samples = int(sys.argv[1]), getattr(torch, sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(threads)
model = mlp([784] + [256] * 5 + [10], scale=2**0.5, generator=0, dtype=dtype)
inputs = torch.randn(samples, 784, generator=torch.Generator().manual_seed(1)).to(dtype)

clock = time.process_time if threads == 1 else time.perf_counter  # others may use the machine

def seconds(function):
    start = clock()
    function()
    return clock() - start

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
"""

AGAINST_BACKWARD_PASSES = """
def backward_passes(size):
    for chunk in torch.split(inputs, size):
        x = chunk.clone().requires_grad_()
        outputs = model(x)
        for c in range(10):
            torch.autograd.grad(outputs[:, c].sum(), x, retain_graph=c < 9)

ours, peer = [], []
for size in (256, 512, 1024, 5000) * 4:  # as many attempts for the one as for the other
    ours.append(seconds(lambda: layer_matrices(model, inputs)))
    peer.append(seconds(lambda: backward_passes(size)))
print(min(ours), min(ours) / min(peer))
"""

AGAINST_JACREV = """
def per_sample():
    layers = {name: m for name, m in model.named_modules() if hasattr(m, "weight")}
    shifts = {name: inputs.new_zeros(m.out_features) for name, m in layers.items()}

    def output(shifts, x):
        for module in model:
            x = module(x)
            if isinstance(module, torch.nn.Linear):
                x = x + shifts[names[module]]
        return x

    names = {m: name for name, m in layers.items()}
    jacobians = vmap(jacrev(output), (None, 0))
    sums = dict.fromkeys(layers, 0)
    with torch.no_grad():
        for chunk in torch.split(inputs, SIZE):
            for name, k in jacobians(shifts, chunk).items():
                rows = k.reshape(-1, k.shape[-1])
                sums[name] = sums[name] + rows.T @ rows / samples
        return {n: layers[n].weight.T @ K @ layers[n].weight for n, K in sums.items()}

def layer_by_layer(both):
    with torch.no_grad():
        for chunk in torch.split(inputs, SIZE):
            h = chunk
            for i, module in enumerate(model):
                if isinstance(module, torch.nn.Linear):
                    sum_of_outer_products(model[i:], h)
                    if both:
                        sum_of_outer_products(model[i + 1:], module(h))
                h = module(h)

def sum_of_outer_products(rest, h):
    rows = vmap(jacrev(rest))(h).reshape(-1, h.shape[1])
    return rows.T @ rows

def by_weights():
    parameters = dict(model.named_parameters())

    def output(parameters, x):
        return functional_call(model, parameters, (x,))

    jacobians = vmap(jacrev(output), (None, 0))
    for x in torch.split(inputs, 8):
        jacobians(parameters, x)

SIZE = 128
ours, shifts = layer_matrices(model, inputs), per_sample()
for name in ours:
    apart = (ours[name].agop - shifts[name]).norm() / ours[name].agop.norm()
    assert apart < 1e-5, apart
ours, shifts, agops, layers = [], [], [], []
for SIZE in (128, 512, 128):
    ours.append(seconds(lambda: layer_matrices(model, inputs)))
    shifts.append(seconds(per_sample))
    agops.append(seconds(lambda: layer_by_layer(False)))
    layers.append(seconds(lambda: layer_by_layer(True)))
best = min(ours)
print(best, *(min(peer) / best for peer in (shifts, agops, layers)), seconds(by_weights) / best)
"""

MEMORY = """
layer_matrices(model, inputs[:4])
before = peak()
layer_matrices(model, inputs)
print(peak(), peak() - before)
"""


def measured(code: str, threads: int, dtype: str, samples: int = 5000) -> list[float]:
    """What the code prints in a fresh process."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "passive"}
    run = subprocess.run(
        [sys.executable, "-c", SETUP + code, str(threads), dtype, str(samples)],
        capture_output=True, text=True, check=True, env=environment,
    )  # fmt: skip
    return [float(value) for value in run.stdout.split()]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("threads", [1, 2])
def test_against_the_unavoidable_backward_passes(threads, dtype):
    """One vector-Jacobian product for each output; the best of four rounds and four chunk sizes."""
    ours, ratio = measured(AGAINST_BACKWARD_PASSES, threads, dtype)
    print(f"\n{dtype}, {threads} threads: {ours:.2f} s = {ratio:.2f} times the backward passes")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("threads", [1, 2])
def test_against_jacobians_of_each_sample(threads, dtype):
    """By shifts of all layers' outputs, by each layer's input and output in turn, by the weights.

    The first needs the network rewritten with shifts; it computes nothing twice.
    """
    ours, shifts, agops, layers, weights = measured(AGAINST_JACREV, threads, dtype, 500)
    print(
        f"\n{dtype}, {threads} threads, 500 samples: {ours:.2f} s; vmap(jacrev) by shifts takes "
        f"{shifts:.1f} times, by each layer's input (AGOP) {agops:.1f} times, by its input and "
        f"output (AGOP, PTK) {layers:.1f} times, by the weights {weights:.0f} times"
    )


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_memory(dtype):
    peak, more = measured(MEMORY, 1, dtype)
    print(f"\n{dtype}: {peak:.2f} GiB at the peak, {more:.2f} GiB more than before measuring")
    assert peak < 1
