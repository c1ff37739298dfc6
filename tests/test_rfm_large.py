"""Kernel systems beyond memory: conjugate gradients and AGOPs tile by tile, against the matrix."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from numerics.rfm import blocks, iterative
from numerics.rfm.estimators import RFMRegressor
from numerics.rfm.iterative import ConvergenceError, NystromPreconditioner, solve
from numerics.rfm.kernel_agop import CENTRINGS, agop_of_kernel_machine
from numerics.rfm.kernels import KERNELS, Gaussian, Laplace, Linear, kernel_by_name
from numerics.rfm.tiles import TiledKernel, streaming_agop

OPTIONS = {
    "generalised": {"norm": 1.0, "power": 1.0},
    "polynomial": {"degree": 3, "offset": 1.0},
}


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=rng, dtype=torch.float64).to(dtype)


def learned(d: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """A metric as the rounds make them: two directions matter, the others hardly."""
    basis = torch.linalg.qr(normal(d, d, seed=9)).Q
    values = torch.full((d,), 1e-4, dtype=torch.float64)
    values[:2] = 1
    M = ((basis * values) @ basis.T).to(dtype)
    return (M + M.T) / 2


def metrics(d: int, dtype: torch.dtype = torch.float64) -> dict[str, torch.Tensor | None]:
    diagonal = torch.linspace(0.0, 2.0, d, dtype=dtype)
    return {"identity": None, "diagonal": diagonal, "full": learned(d, dtype)}


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(one - other) / torch.linalg.vector_norm(other))


@pytest.fixture
def small_tiles(monkeypatch):
    """Tiles of 37 rows, so that a hundred points make a few, the last of them smaller."""
    monkeypatch.setattr(blocks, "SIDE", 37)


# Products


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("metric", ["identity", "diagonal", "full"])
@pytest.mark.parametrize("name", KERNELS)
def test_products_against_the_matrix(name, metric):
    kernel = kernel_by_name(name, 3.0, **OPTIONS.get(name, {}))
    X, M, v = normal(100, 6), metrics(6)[metric], normal(100, 3, seed=1)
    K, tiled = kernel.matrix(X, M=M), TiledKernel.under_metric(kernel, X, M)
    assert apart(tiled.product(v), K @ v) < 1e-13
    assert apart(tiled.diagonal(), K.diagonal()) < 1e-13
    chosen = torch.tensor([3, 50, 99])
    columns = torch.cat([values for _, values in tiled.columns(chosen)])
    assert apart(columns, K[:, chosen]) < 1e-13


@pytest.mark.usefixtures("small_tiles")
def test_sums_of_tiles_in_single_precision_are_double():
    """Products with 1000 ones: the rounding of each tile, not of their sum."""
    X = normal(1000, 2, dtype=torch.float32)
    K = TiledKernel.under_metric(Gaussian(0.5), X)
    ones = torch.ones(1000, 1, dtype=torch.float64)
    expected = TiledKernel.under_metric(Gaussian(0.5), X.double()).product(ones)
    found = K.product(ones)
    assert found.dtype == torch.float64
    assert apart(found, expected) < 2e-7


# AGOP


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("centring", CENTRINGS)
@pytest.mark.parametrize("metric", ["identity", "diagonal", "full"])
@pytest.mark.parametrize("name", KERNELS)
def test_streaming_agop_against_whole_rows(name, metric, centring):
    kernel = kernel_by_name(name, 3.0, **OPTIONS.get(name, {}))
    centres, alpha, M = normal(100, 6), normal(100, 2, seed=1), metrics(6)[metric]
    X = torch.cat([normal(50, 6, seed=2), centres[60:90]])
    index = torch.cat([torch.full((50,), -1), torch.arange(60, 90)])
    arguments = (kernel, alpha, X, centres, M, index)
    found = streaming_agop(*arguments, centring=centring)
    expected = agop_of_kernel_machine(*arguments, centring=centring)
    # A linear machine's centred AGOP is 0: what rounding leaves is compared with the uncentred.
    size = torch.linalg.matrix_norm(agop_of_kernel_machine(*arguments))
    assert torch.linalg.matrix_norm(found - expected) < 1e-11 * size
    assert (found == found.T).all()


@pytest.mark.usefixtures("small_tiles")
def test_streaming_agop_of_one_output_and_without_index():
    """A vector α, and evaluation on the centres: their own terms have no gradient."""
    centres, alpha = normal(100, 6), normal(100, seed=1)
    found = streaming_agop(Laplace(2.0), alpha, centres, centres)
    index = torch.arange(100)
    expected = agop_of_kernel_machine(Laplace(2.0), alpha, centres, centres, None, index)
    assert apart(found, expected) < 1e-12


# Solutions


@pytest.mark.parametrize("outputs", [None, 3])
@pytest.mark.parametrize("metric", ["identity", "full"])
@pytest.mark.parametrize("name", ["laplace", "gaussian", "matern52", "polynomial"])
def test_against_cholesky_in_double_precision(name, metric, outputs):
    """1500 points, residual 1e-8: predictions at new points agree to 1e-6."""
    kernel = kernel_by_name(name, 3.0, **OPTIONS.get(name, {}))
    X, M = normal(1500, 10), metrics(10)[metric]
    Y = torch.stack([X[:, 0] * X[:, 1], X[:, 2].sin(), X[:, 3]], dim=1)
    Y = Y[:, 0] if outputs is None else Y
    alpha, info = solve(kernel, X, Y, M, 1e-2, tolerance=1e-8)
    K = kernel.matrix(X, M=M) + 1e-2 * torch.eye(1500, dtype=torch.float64)
    expected = torch.cholesky_solve(Y.reshape(1500, -1), torch.linalg.cholesky(K))
    left = Y.reshape(1500, -1) - K @ alpha.reshape(1500, -1)
    reached = (left.norm(dim=0) / Y.reshape(1500, -1).norm(dim=0)).max()
    assert alpha.shape == Y.shape
    assert info.residual <= 1e-8
    assert info.residual == pytest.approx(float(reached), rel=1e-2)
    new = kernel.matrix(normal(200, 10, seed=1), X, M)
    assert apart(new @ alpha.reshape(1500, -1), new @ expected) < 1e-6


@pytest.mark.parametrize("metric", ["identity", "full"])
def test_against_cholesky_in_single_precision(metric):
    """The learned metric's matrix is a million times larger than λ; predictions agree to 2e-3."""
    X, M = normal(1500, 10, dtype=torch.float32), metrics(10, torch.float32)[metric]
    Y = X[:, 0] * X[:, 1]
    alpha, info = solve(Laplace(5.0), X, Y, M, 1e-3, tolerance=1e-3)
    assert alpha.dtype == torch.float32
    assert info.residual <= 1e-3
    double = None if M is None else M.double()
    K = Laplace(5.0).matrix(X.double(), M=double) + 1e-3 * torch.eye(1500, dtype=torch.float64)
    expected = torch.linalg.solve(K, Y.double())
    new = Laplace(5.0).matrix(normal(200, 10, seed=1), X.double(), double)
    assert apart(new @ alpha.double(), new @ expected) < 2e-3


def test_few_products_suffice():
    """What the preconditioner is for: three times fewer products than without it."""
    X, M = normal(1500, 10), metrics(10)["diagonal"]
    Y = X[:, 0] * X[:, 1]
    _, good = solve(Laplace(10.0), X, Y, M, 1e-3)
    _, poor = solve(Laplace(10.0), X, Y, M, 1e-3, rank=1)
    assert good.rank == round(6 * 1500**0.5)
    assert 3 * good.products < poor.products
    assert good.products < 20


def test_the_preconditioner_is_the_inverse_of_its_definition():
    """P⁻¹ against BBᵀ + μI with the Nyström approximation from numpy; K − BBᵀ ≥ 0."""
    X = normal(300, 4)
    rng = torch.Generator().manual_seed(0)
    P = NystromPreconditioner(TiledKernel.under_metric(Laplace(2.0), X), 1e-2, 30, rng)
    K, S = Laplace(2.0).matrix(X).numpy(), P.landmarks.numpy()
    nystrom = K[:, S] @ np.linalg.solve(K[np.ix_(S, S)], K[S])
    assert len(set(S)) == 30
    left = K - nystrom
    shift = 1e-2 + iterative.LIFT * left.diagonal().mean()
    assert pytest.approx(shift, rel=1e-9) == P.shift
    assert np.linalg.eigvalsh(left)[0] > -1e-12
    v = normal(300, 2, seed=1)
    expected = np.linalg.solve(nystrom + shift * np.eye(300), v.numpy())
    assert apart(P.solve(v), torch.as_tensor(expected)) < 1e-9


def test_all_points_as_landmarks_solve_in_few_steps():
    X = normal(200, 3)
    _, info = solve(Laplace(2.0), X, X[:, 0], ridge=1e-3, rank=200, tolerance=1e-9)
    assert info.shift == pytest.approx(1e-3, rel=1e-6)
    assert info.products <= 3


def test_rank_deficient_kernels_and_repeated_points():
    X = normal(400, 5)
    X[200:] = X[:200]
    Y = X[:, 0] + X[:, 1]
    for kernel in (Linear(1.0), Laplace(3.0)):
        alpha, info = solve(kernel, X, Y, ridge=1e-2, tolerance=1e-8)
        K = kernel.matrix(X) + 1e-2 * torch.eye(400, dtype=torch.float64)
        assert apart(K @ alpha, Y) < 1e-8
        assert info.residual < 1e-8


def test_outputs_are_solved_as_if_alone():
    """Easy, hard and zero targets share the products, and the zero ones stay zero."""
    X = normal(500, 5)
    Y = torch.stack([torch.ones(500).double(), normal(500, seed=3), torch.zeros(500).double()], 1)
    alpha, info = solve(Laplace(3.0), X, Y, ridge=1e-2, tolerance=1e-9)
    assert (alpha[:, 2] == 0).all()
    assert info.residual <= 1e-9
    for c in range(2):
        alone, _ = solve(Laplace(3.0), X, Y[:, c], ridge=1e-2, tolerance=1e-9)
        assert apart(alpha[:, c], alone) < 1e-6


def test_nothing_to_solve():
    alpha, info = solve(Laplace(3.0), normal(50, 5), torch.zeros(50, dtype=torch.float64))
    assert (alpha == 0).all()
    assert (info.residual, info.products, info.residuals) == (0, 0, ())


def test_one_point():
    X = torch.ones(1, 2, dtype=torch.float64)
    alpha, _ = solve(Laplace(3.0), X, X[:, 0], ridge=1.0, tolerance=1e-12)
    assert alpha.item() == pytest.approx(0.5, rel=1e-12)


def test_the_seed_decides():
    X = normal(600, 5, dtype=torch.float32)
    first, again, other = (
        solve(Laplace(3.0), X, X[:, 0], generator=g)[0]
        for g in (5, torch.Generator().manual_seed(5), 6)
    )
    assert (first == again).all()
    assert (first != other).any()


def test_progress_is_told():
    told: list[float] = []
    X = normal(300, 5)
    _, info = solve(Laplace(3.0), X, X[:, 0], progress=told.append)
    assert tuple(told) == info.residuals
    assert told[-1] < 1e-3 < told[0]


@pytest.mark.parametrize("diagonal", [False, True])
def test_estimators_with_either_solver_agree(diagonal):
    """Three rounds on the product target: predictions to 1 % of their size, M to 1 %."""
    X = normal(1200, 12).numpy()
    y = X[:, 0] * X[:, 1]
    options = {"rounds": 3, "diagonal": diagonal, "random_state": 0}
    exact = RFMRegressor(solver="exact", **options).fit(X, y)
    iterated = RFMRegressor(solver="iterative", **options).fit(X, y)
    new = normal(300, 12, seed=1).numpy()
    truth = exact.predict(new)
    assert np.linalg.norm(iterated.predict(new) - truth) < 1e-2 * np.linalg.norm(truth)
    assert np.linalg.norm(iterated.M_ - exact.M_) < 1e-2 * np.linalg.norm(exact.M_)


# Memory

PEAK = """
import resource, torch
from numerics.rfm.iterative import solve
from numerics.rfm.kernels import Laplace
from numerics.rfm.tiles import streaming_agop

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10

def fit(n):
    X = torch.randn(n, 10, generator=torch.Generator().manual_seed(0))
    alpha, info = solve(Laplace(10.0), X, X[:, 0], ridge=1.0, rank=200, tolerance=1e-1)
    streaming_agop(Laplace(10.0), alpha, X, X, None, torch.arange(n))

fit(500)
before = peak()
fit(9000)
print(peak() - before)
"""


def test_memory_is_that_of_the_preconditioner():
    """9,000 points: a matrix would take 309 MiB, B takes 7 MiB, and a few tiles 4 MiB each."""
    run = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    assert float(run.stdout) < 100


# Refusals


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"ridge": -1.0}, ValueError, "ridge = -1.0 must be a finite number >= 0"),
        ({"ridge": float("nan")}, ValueError, "ridge = nan must be"),
        ({"tolerance": 0.0}, ValueError, "tolerance = 0.0 must be a finite number > 0"),
        ({"max_products": 1}, ValueError, "max_products = 1 must be an integer >= 2"),
        ({"rank": 0}, ValueError, "rank = 0 must be an integer >= 1"),
        ({"rank": 41}, ValueError, "rank = 41 must be at most the number of points, 40"),
        ({"generator": -1}, ValueError, "generator = -1 must be an integer >= 0"),
        ({"generator": "x"}, TypeError, "generator = 'x' must be an integer"),
        ({"X": np.ones((40, 3))}, TypeError, "X must be a floating torch tensor"),
        ({"X": normal(40, 3) / 0}, ValueError, "X holds NaN or infinite entries"),
        ({"X": normal(0, 3), "Y": normal(0)}, ValueError, "shape"),
        ({"Y": normal(39)}, ValueError, r"Y has shape \(39,\), must be \(40,\) or \(40, outputs\)"),
        ({"Y": normal(40, 0)}, ValueError, r"Y has shape \(40, 0\)"),
        ({"Y": normal(40) / 0}, ValueError, "Y holds NaN or infinite entries"),
        ({"Y": torch.ones(40).long()}, TypeError, "Y must be a floating torch tensor"),
        ({"M": torch.ones(4).double()}, ValueError, r"M has shape \(4,\), must be \(3,\)"),
        ({"M": torch.ones(3)}, TypeError, "M must be a tensor of dtype torch.float64"),
        ({"M": -torch.ones(3).double()}, ValueError, "M has the diagonal entry -1"),
    ],
)
def test_solve_refuses(changes, error, match):
    usual = {"kernel": Laplace(1.0), "X": normal(40, 3), "Y": normal(40, seed=1)}
    with pytest.raises(error, match=match):
        solve(**{**usual, **changes})


def test_a_residual_that_is_not_reached():
    X = normal(300, 2)
    match = r"after 4 kernel products.*raise the ridge \(1e-06\)"
    with pytest.raises(ConvergenceError, match=match):
        solve(Laplace(10.0), X, normal(300, seed=1), ridge=1e-6, rank=1, max_products=4)


def test_single_precision_that_stalls():
    """Smooth kernel, tiny ridge: rounding of K is above λ, and the message says what mends it."""
    X = normal(500, 2, dtype=torch.float32)
    with pytest.raises(ConvergenceError, match="use float64"):
        solve(Gaussian(10.0), X, normal(500, seed=1, dtype=torch.float32), ridge=1e-9)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"centring": "mean"}, "centring = 'mean' must be one of"),
        ({"X_eval": normal(0, 3)}, "X_eval has no rows"),
        ({"alpha": normal(39)}, r"alpha has shape \(39,\)"),
    ],
)
def test_streaming_agop_refuses(changes, match):
    usual = {"kernel": Laplace(1.0), "alpha": normal(40), "X_eval": normal(5, 3)}
    with pytest.raises(ValueError, match=match):
        streaming_agop(**{**usual, "centres": normal(40, 3), **changes})
