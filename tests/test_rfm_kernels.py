"""Kernels with a metric: values from their definition, gradients from central differences."""

import math

import pytest
import torch

from numerics.rfm import blocks, cholesky, kernel_base
from numerics.rfm.checks import Pair
from numerics.rfm.gram import Gram
from numerics.rfm.kernel_agop import CENTRINGS, agop_of_kernel_machine
from numerics.rfm.kernels import KERNELS, LpExponential, Polynomial, kernel_by_name

L = 1.7
CASES = [
    ("laplace", {}),
    ("gaussian", {}),
    ("matern32", {}),
    ("matern52", {}),
    ("generalised", {"norm": 2.0, "power": 0.8}),
    ("generalised", {"norm": 2.0, "power": 2.0}),
    ("generalised", {"norm": 1.0, "power": 0.7}),
    ("generalised", {"norm": 1.5, "power": 1.5}),
    ("generalised", {"norm": 1.5, "power": 1.2}),
    ("linear", {}),
    ("polynomial", {"degree": 3, "offset": 0.5}),
]
CUSPS = [  # kernels without a gradient at distance 0
    ("laplace", {}),
    ("generalised", {"norm": 2.0, "power": 0.8}),
    ("generalised", {"norm": 1.0, "power": 0.7}),
]
METRICS = ("identity", "diagonal", "full")


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def metric(name, d):
    factor = normal(d, d, seed=7) / math.sqrt(d)
    full = factor @ factor.T
    return {"identity": None, "diagonal": full.diagonal().clone(), "full": full}[name]


def root(M, d):
    if M is None or M.ndim == 1:
        return torch.diag(torch.ones(d, dtype=torch.float64) if M is None else M.sqrt())
    values, vectors = torch.linalg.eigh(M)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T


def definition(name, options, x, z, M):
    """K(x, z) of two points, number by number."""
    R = root(M, len(x))
    u, v = R @ x, R @ z
    inner, r = float(u @ v) / L**2, float(torch.linalg.vector_norm(u - v))
    if name == "linear":
        return inner
    if name == "polynomial":
        return (options["offset"] + inner) ** options["degree"]
    if name == "generalised":
        p, q = options["norm"], options["power"]
        return math.exp(-(float((u - v).abs().pow(p).sum()) ** (q / p)) / L**q)
    s3, s5 = math.sqrt(3) * r / L, math.sqrt(5) * r / L
    return {
        "laplace": lambda: math.exp(-r / L),
        "gaussian": lambda: math.exp(-(r**2) / (2 * L**2)),
        "matern32": lambda: (1 + s3) * math.exp(-s3),
        "matern52": lambda: (1 + s5 + s5**2 / 3) * math.exp(-s5),
    }[name]()


def differences(kernel, alpha, X, Z, M, index=None):
    """Central differences of Σ α_ic K(x, x_i); terms of the index are left out.

    Of fourth order where the kernel is smooth between the points: their truncation and rounding
    are then far below 1e-8. Norms with p < 2 bend where coordinates coincide: second order there.
    """
    smooth = not isinstance(kernel, LpExponential)
    rule = [(8 / 12, 1.0), (-1 / 12, 2.0)] if smooth else [(1 / 2, 1.0)]
    h = 1e-3 if smooth else 1e-6
    columns = []
    for k in range(X.shape[1]):
        total = torch.zeros(len(X), len(Z), dtype=X.dtype)
        for weight, length in rule:
            step = torch.zeros(X.shape[1], dtype=X.dtype)
            step[k] = h * length
            total += weight / h * (kernel.matrix(X + step, Z, M) - kernel.matrix(X - step, Z, M))
        if index is not None:
            total[torch.arange(len(X)), index] = 0
        columns.append(total @ alpha)
    return torch.stack(columns, dim=-1)


@pytest.mark.parametrize(("name", "options"), CASES)
@pytest.mark.parametrize("which", METRICS)
def test_values_are_the_definitions(name, options, which):
    X, Z, M = normal(5, 4), normal(6, 4, seed=1), metric(which, 4)
    found = kernel_by_name(name, L, **options).matrix(X, Z, M)
    for i, x in enumerate(X):
        for j, z in enumerate(Z):
            assert math.isclose(found[i, j], definition(name, options, x, z, M), rel_tol=1e-12)


@pytest.mark.parametrize(("name", "options"), CASES)
@pytest.mark.parametrize("which", METRICS)
@pytest.mark.parametrize("outputs", [1, 3])
def test_gradients_off_the_training_points_are_central_differences(name, options, which, outputs):
    X, Z, M = normal(7, 4), normal(9, 4, seed=1), metric(which, 4)
    alpha, kernel = normal(9, outputs, seed=2), kernel_by_name(name, L, **options)
    found = kernel.gradients(alpha, X, Z, M)
    assert found.shape == (7, outputs, 4)
    assert (found - differences(kernel, alpha, X, Z, M)).abs().max() < 1e-8


@pytest.mark.parametrize(("name", "options"), CASES)
@pytest.mark.parametrize("which", METRICS)
@pytest.mark.parametrize("outputs", [1, 3])
def test_gradients_on_the_training_points_are_central_differences(name, options, which, outputs):
    Z, M = normal(9, 4, seed=1), metric(which, 4)
    alpha, kernel = normal(9, outputs, seed=2), kernel_by_name(name, L, **options)
    index = torch.arange(9)
    dropped = index if (name, options) in CUSPS else None
    found = kernel.gradients(alpha, Z, Z, M, index)
    error = (found - differences(kernel, alpha, Z, Z, M, dropped)).abs().max()
    # For 1 < q < 2 the self term is C¹ only: its symmetric difference is 0 at any step.
    assert error < 1e-8


def test_one_output_may_be_a_vector():
    Z, alpha, kernel = normal(9, 4), normal(9, seed=2), kernel_by_name("laplace", L)
    found = kernel.gradients(alpha, Z, Z, None, torch.arange(9))
    assert found.shape == (9, 4)
    assert torch.equal(found, kernel.gradients(alpha[:, None], Z, Z, None, torch.arange(9))[:, 0])


@pytest.mark.parametrize("name", ["laplace", "matern32", "gaussian"])
def test_float32_keeps_close_and_repeated_points(name):
    # Points far from the origin: squared norms are 1e6 times the squared distances.
    X = 100 + 0.1 * normal(40, 3)
    X = torch.cat([X, X[:5], X[:5] + 1e-4]).float()
    alpha, kernel = normal(50, 2, seed=1).float(), kernel_by_name(name, 1.0)
    exact, index = X.double(), torch.arange(50)
    K = kernel.matrix(X)
    assert (K - kernel.matrix(exact)).abs().max() < 1e-6
    assert torch.equal(K.diagonal(), torch.ones(50))
    assert torch.equal(K[:5].diagonal(40), torch.ones(5))
    found = kernel.gradients(alpha, X, X, None, index)
    wanted = kernel.gradients(alpha.double(), exact, exact, None, index)
    assert (found - wanted).abs().max() < 1e-4 * wanted.abs().max()


@pytest.mark.parametrize(("name", "options"), CASES)
def test_a_factor_of_the_metric_is_a_bandwidth(name, options):
    """K_{cM, L} = K_{M, L/√c}, and the gradients with it."""
    c, M, X, Z, alpha = (
        2.6,
        metric("full", 4),
        normal(5, 4),
        normal(6, 4, seed=1),
        normal(6, seed=2),
    )
    wide, narrow = kernel_by_name(name, L, **options), kernel_by_name(name, L / c**0.5, **options)
    assert torch.allclose(wide.matrix(X, Z, c * M), narrow.matrix(X, Z, M), rtol=1e-12)
    found, wanted = wide.gradients(alpha, X, Z, c * M), narrow.gradients(alpha, X, Z, M)
    assert torch.allclose(found, wanted, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize(("name", "options"), CASES)
@pytest.mark.parametrize("which", METRICS)
@pytest.mark.parametrize("centring", CENTRINGS)
def test_agop_is_the_mean_outer_product_of_the_gradients(name, options, which, centring):
    X, Z, M, alpha = normal(30, 4), normal(9, 4, seed=1), metric(which, 4), normal(9, 3, seed=2)
    kernel = kernel_by_name(name, L, **options)
    J = kernel.gradients(alpha, X, Z, M)
    scale = torch.einsum("nci,nci->i", J, J).max() / 30  # centred, a linear machine's AGOP is 0
    means = {"none": 0 * J[:1], "per_output": J.mean(0, keepdim=True)}
    means["joint"] = J.mean((0, 1), keepdim=True)
    J = J - means[centring]
    wanted = torch.einsum("nci,ncj->ij", J, J) / 30
    found = agop_of_kernel_machine(kernel, alpha, X, Z, M, centring=centring)
    diagonal = agop_of_kernel_machine(kernel, alpha, X, Z, M, centring=centring, diagonal=True)
    assert (found - wanted).abs().max() < 1e-12 * scale
    assert (diagonal - wanted.diagonal()).abs().max() < 1e-12 * scale


def test_many_blocks_are_one(monkeypatch):
    X, Z, alpha = normal(30, 4), normal(9, 4, seed=1), normal(9, 3, seed=2)
    kernel = kernel_by_name("matern52", L)
    arguments = (alpha, X, Z, None, torch.arange(30) % 9 - 1)
    whole = [agop_of_kernel_machine(kernel, *arguments, centring=c) for c in CENTRINGS]
    monkeypatch.setattr("numerics.rfm.kernel_base.BLOCK", 40)
    gradients = kernel.gradients(*arguments)
    monkeypatch.setattr("numerics.rfm.kernel_base.WEIGHTED", 2 * Z.numel())  # two outputs, then one
    for c, wanted in zip(CENTRINGS, whole, strict=True):
        assert torch.allclose(agop_of_kernel_machine(kernel, *arguments, centring=c), wanted)
    assert torch.allclose(kernel.gradients(*arguments), gradients)


@pytest.mark.parametrize(("name", "options"), CASES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("weighted", [2**26, 1])
def test_gram_solves_and_takes_the_agop_in_one_array(name, options, dtype, weighted, monkeypatch):
    monkeypatch.setattr(blocks, "SIDE", 16)
    monkeypatch.setattr(cholesky, "SIDE", 12)
    monkeypatch.setattr(kernel_base, "WEIGHTED", weighted)  # outputs together, or one by one
    X, Y = normal(50, 4, dtype=dtype), normal(50, 2, seed=1, dtype=dtype)
    kernel, ridge = kernel_by_name(name, L, **options), 0.5
    system = Gram(50, dtype, torch.device("cpu"))
    for _ in range(2):  # the array is used again in the next round
        system.fill(kernel, X, ridge)
        alpha = system.solve(Y, ridge)
    exact = X.double()
    K = kernel.matrix(exact) + ridge * torch.eye(50, dtype=torch.float64)
    wanted = torch.linalg.solve(K, Y.double())
    tolerance = 1e-10 if dtype == torch.float64 else 2e-3
    assert (alpha - wanted).abs().max() < tolerance * wanted.abs().max()
    for centring in CENTRINGS:  # "none" comes first: a linear machine's centred AGOP is 0
        index = torch.arange(50)
        agop = agop_of_kernel_machine(
            kernel, alpha.double(), exact, exact, None, index, centring=centring
        )
        if centring == "none":
            scale = agop.abs().max() * (1e-10 if dtype == torch.float64 else 1e-3)
        assert (system.agop(alpha, centring, False) - agop).abs().max() < scale
        assert (system.agop(alpha, centring, True) - agop.diagonal()).abs().max() < scale


@pytest.mark.parametrize(
    ("name", "options", "match"),
    [
        ("cauchy", {}, "kernel = 'cauchy' must be one of 'laplace'"),
        ("laplace", {"bandwidth": 0.0}, "bandwidth = 0.0 must be a finite number > 0"),
        ("laplace", {"bandwidth": math.nan}, "bandwidth = nan must be"),
        ("generalised", {"norm": 3.0}, r"norm = 3.0 must be in \[1, 2\]"),
        ("generalised", {"norm": 1.0, "power": 1.5}, r"power = 1.5 must be in \(0, norm\]"),
        ("polynomial", {"degree": 0}, "degree = 0 must be an integer >= 1"),
        ("polynomial", {"offset": -1.0}, "offset = -1.0 must be a finite number >= 0"),
    ],
)
def test_bad_kernels_are_refused(name, options, match):
    with pytest.raises(ValueError, match=match):
        kernel_by_name(name, **options)


def test_unknown_options_are_refused():
    with pytest.raises(TypeError, match="kernel 'laplace' has no option among"):
        kernel_by_name("laplace", degree=2)
    assert set(KERNELS) == {name for name, _ in CASES}
    assert kernel_by_name("polynomial", 1.0) == Polynomial(1.0)


@pytest.mark.parametrize(
    ("changed", "error", "match"),
    [
        ({"X": torch.zeros(3)}, ValueError, r"X has shape \(3,\), must be \(n, d\)"),
        ({"X": torch.zeros(3, 2).int()}, TypeError, "X must be a floating torch tensor"),
        ({"X": torch.full((3, 2), torch.nan)}, ValueError, "X holds NaN or infinite entries"),
        ({"Z": torch.zeros(3, 4)}, ValueError, r"X has shape \(3, 2\), centres \(3, 4\)"),
        ({"Z": torch.zeros(3, 2).double()}, TypeError, "X is torch.float32"),
        ({"M": torch.ones(3)}, ValueError, r"M has shape \(3,\), must be \(2,\) or \(2, 2\)"),
        ({"M": torch.tensor([1.0, -1.0])}, ValueError, "M has the diagonal entry -1"),
        ({"M": torch.tensor([[1.0, 1.0], [0.0, 1.0]])}, ValueError, "M is not symmetric"),
        ({"M": torch.ones(2).double()}, TypeError, "M must be a tensor of dtype torch.float32"),
        ({"M": torch.tensor([torch.inf, 1.0])}, ValueError, "M holds NaN or infinite"),
        ({"self_index": torch.tensor([0, 1, 3])}, ValueError, "self_index must be in -1, ..., 2"),
        ({"self_index": torch.tensor([0, 1])}, ValueError, r"self_index has shape \(2,\)"),
        ({"self_index": torch.ones(3)}, TypeError, "self_index must be a tensor of dtype"),
    ],
)
def test_points_that_do_not_fit_are_refused(changed, error, match):
    arguments = {"X": torch.zeros(3, 2), "Z": torch.zeros(3, 2), "M": None} | changed
    with pytest.raises(error, match=match):
        kernel_by_name("laplace").matrix(**arguments)


def test_coefficients_that_do_not_fit_are_refused():
    kernel, X = kernel_by_name("laplace"), torch.zeros(3, 2)
    with pytest.raises(ValueError, match=r"alpha has shape \(2,\), must be \(3,\)"):
        kernel.gradients(torch.zeros(2), X, X)
    with pytest.raises(ValueError, match="alpha holds NaN"):
        kernel.gradients(torch.full((3,), torch.nan), X, X)
    with pytest.raises(TypeError, match=r"alpha must be a tensor of dtype torch\.float32"):
        kernel.gradients(torch.zeros(3).double(), X, X)
    with pytest.raises(ValueError, match="X_eval has no rows"):
        agop_of_kernel_machine(kernel, torch.zeros(3), X[:0], X)
    with pytest.raises(ValueError, match="centring = 'mean' must be one of 'none'"):
        agop_of_kernel_machine(kernel, torch.zeros(3), X, X, centring="mean")


def test_an_indefinite_metric_is_refused_where_its_root_is_needed():
    M = torch.tensor([[1.0, 2.0], [2.0, 1.0]])
    with pytest.raises(ValueError, match="M has the eigenvalue -1, must be at least 0"):
        kernel_by_name("generalised", norm=1.0).matrix(torch.zeros(3, 2), None, M)


@pytest.mark.parametrize("d", [7, 8, 15])
@pytest.mark.parametrize("outputs", [1, 3, 8])
@pytest.mark.parametrize("name", ["matern32", "polynomial"])
def test_filled_columns_change_no_gradient(d, outputs, name, monkeypatch):
    X, Z, alpha = normal(6, d), normal(11, d, seed=1), normal(11, outputs, seed=2)
    kernel = kernel_by_name(name, L)
    wanted = torch.autograd.functional.jacobian(
        lambda x: (kernel_of(kernel, x, Z) @ alpha).sum(0), X
    )
    found = kernel.gradients(alpha, X, Z)
    assert torch.allclose(found, wanted.transpose(0, 1), rtol=1e-12, atol=1e-14)
    monkeypatch.setattr(kernel_base, "LANES", 1)
    assert torch.allclose(kernel.gradients(alpha, X, Z), found, rtol=1e-13, atol=1e-15)


def kernel_of(kernel, x, Z):
    """K(x, Z) from the definition, to be differentiated."""
    if isinstance(kernel, Polynomial):
        return (kernel.offset + x @ Z.T / kernel.bandwidth**2) ** kernel.degree
    s = 3**0.5 * torch.cdist(x, Z, compute_mode="donot_use_mm_for_euclid_dist") / kernel.bandwidth
    return (1 + s) * torch.exp(-s)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", ["laplace", "matern32", "gaussian"])
def test_rows_apart_by_rounding_are_one_point(name, dtype):
    X, alpha = normal(12, 5, dtype=dtype), normal(24, 2, seed=1, dtype=dtype)
    kernel, near = kernel_by_name(name, L), torch.nextafter(X, torch.full_like(X, torch.inf))
    index = torch.arange(24)
    same, apart = (
        kernel.gradients(alpha, both, both, None, index)
        for both in (torch.cat([X, X]), torch.cat([X, near]))
    )
    assert torch.allclose(same, apart, rtol=0, atol=200 * torch.finfo(dtype).eps)
    assert kernel.matrix(X, near).diagonal().min() == 1
    further = X + 40 * (near - X)  # beyond rounding, distances count
    assert kernel.pairs(Pair(X, further)).diagonal().min() > 0
