"""Collapse: Deep RFM at its usual size, and NC1 in memory of one copy of the features.

Each runs in a process of its own with two threads. The floor of Deep RFM is what its layers cannot
do without, timed alone on data of the same shapes: one kernel system, one AGOP and one
eigendecomposition a layer. The floor of NC1 is one pass that reads the features.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

THREADS = 2

COMMON = """
import json, resource, time
import torch

torch.set_num_threads(2)

def timed(function):
    start = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - start[0], time.process_time() - start[1]

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
"""

DEEP = """
from numerics.collapse.estimator import DeepRFM
from numerics.rfm.gram import Gram
from numerics.rfm.kernels import Laplace

n, d, depth, width, outputs = 2000, 64, 20, 512, 10
rng = torch.Generator().manual_seed(0)
labels = torch.arange(n) % outputs
centres = torch.randn(outputs, d, generator=rng, dtype=torch.float64)
X = centres[labels] + torch.randn(n, d, generator=rng, dtype=torch.float64)
Y = torch.nn.functional.one_hot(labels).double()

def fit():
    global model
    model = DeepRFM(depth=depth, width=width, random_state=0).fit(X.numpy(), labels.numpy())

def layer(points):
    system = Gram(n, torch.float64, points.device)
    system.fill(Laplace(2.0), points, 1e-3)
    moment = system.agop(system.solve(Y, 1e-3), "none", False)
    torch.linalg.eigh(moment)

def floor():
    layer(torch.nn.functional.normalize(X))
    for found in list(model.layers(X.numpy()))[1:]:
        layer(torch.from_numpy(found.inputs))

spent, highest = timed(fit), peak()
ends = model.history_[0].features.nc1, model.history_[-1].features.nc1
print(json.dumps({"fit": spent, "peak": highest, "NC1": ends, "floor": timed(floor)}))
"""

METRIC = """
from numerics.collapse.metrics import nc1

n, d = 10_000, 2_048
dtype = {dtype}
X = torch.randn(n, d, generator=torch.Generator().manual_seed(0), dtype=dtype)
labels = torch.arange(n) % 10
nc1(X[:100], labels[:100])
before = peak()
spent = timed(lambda: nc1(X, labels))
after, copy = peak(), X.numel() * X.element_size() / 2**20
read = timed(lambda: torch.linalg.vector_norm(X, dtype=torch.float64))
print(json.dumps({{"more": after - before, "copy": copy, "spent": spent, "read": read}}))
"""


def run(code: str) -> dict:
    environment = os.environ | {"OMP_NUM_THREADS": str(THREADS), "OMP_WAIT_POLICY": "passive"}
    done = subprocess.run(
        [sys.executable, "-c", COMMON + code],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def test_deep_rfm_with_20_layers_on_2000_samples():
    found = run(DEEP)
    (wall, cpu), (floor, floor_cpu) = found["fit"], found["floor"]
    first, last = found["NC1"]
    print(
        f"\nDeep RFM, n = 2000, d = 64, 20 layers of 512: {wall:.1f} s (target 180), CPU {cpu:.1f} "
        f"s; its systems, AGOPs and eigendecompositions alone {floor:.1f} s, CPU {floor_cpu:.1f} "
        f"s, ratio {cpu / floor_cpu:.2f}; peak {found['peak']:.0f} MiB; NC1 {first:.3g} to "
        f"{last:.3g}"
    )


def test_nc1_of_10000_samples_of_dimension_2048():
    for dtype in ("torch.float64", "torch.float32"):
        found = run(METRIC.format(dtype=dtype))
        (wall, cpu), (read, _) = found["spent"], found["read"]
        print(
            f"\nNC1, 10,000 x 2,048, {dtype}: {wall:.2f} s, CPU {cpu:.2f} s ({wall / read:.1f} "
            f"times a norm); memory beside the features {found['more']:.0f} MiB, "
            f"{found['more'] / found['copy']:.2f} of one copy ({found['copy']:.0f} MiB)"
        )
