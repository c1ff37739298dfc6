"""The AGOP of any predictor: three routes, one matrix."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.compose import ColumnTransformer
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

import numerics
from numerics import agop, differenced_agop, module_agop
from numerics.alignment import layer_matrices, mlp
from numerics.rfm.estimators import RFMClassifier, RFMRegressor
from numerics.rfm.kernel_agop import CENTRINGS

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 5))
Y = np.stack([X[:, 0] * X[:, 1], np.sin(X[:, 2]), X[:, 3]], axis=1)
ELSEWHERE = RNG.normal(size=(23, 5))


def apart(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.linalg.norm(one - other) / np.linalg.norm(other))


def by_definition(gradients: np.ndarray, centring: str) -> np.ndarray:
    """From gradients (n, outputs, d), sample by sample and output by output."""
    if centring == "per_output":
        gradients = gradients - gradients.mean(axis=0)
    elif centring == "joint":
        gradients = gradients - gradients.mean(axis=(0, 1))
    return sum(np.outer(g, g) for sample in gradients for g in sample) / len(gradients)


# One function, known by heart: f_0 = x₀² + 3x₁, f_1 = x₁ sin x₂, whose gradients are plain.

GRADIENTS = np.stack(
    [
        np.stack([2 * X[:, 0], np.full(60, 3.0), *np.zeros((3, 60))], axis=1),
        np.stack(
            [np.zeros(60), np.sin(X[:, 2]), X[:, 1] * np.cos(X[:, 2]), *np.zeros((2, 60))], axis=1
        ),
    ],
    axis=1,
)


def in_numpy(x):
    return np.stack([x[:, 0] ** 2 + 3 * x[:, 1], x[:, 1] * np.sin(x[:, 2])], axis=1)


def in_torch(x):
    return torch.stack([x[:, 0] ** 2 + 3 * x[:, 1], x[:, 1] * torch.sin(x[:, 2])], dim=1)


@pytest.mark.parametrize("batch_size", [None, 1, 7, 60])
@pytest.mark.parametrize("centring", CENTRINGS)
def test_differences_and_autograd_against_the_definition(centring, batch_size):
    expected = by_definition(GRADIENTS, centring)
    options = {"centring": centring, "batch_size": batch_size}
    assert apart(agop(in_torch, torch.as_tensor(X), **options), expected) < 1e-14
    assert apart(agop(in_numpy, X, **options), expected) < 1e-10


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_steps_are_relative_to_each_column(scale):
    scales = np.array([scale, 1.0, 1 / scale, 1.0, 1.0])
    expected = GRADIENTS / scales
    found = agop(lambda x: in_numpy(x / scales), X * scales)
    assert apart(found * np.outer(scales, scales), by_definition(expected * scales, "none")) < 1e-9


def test_a_column_far_from_zero():
    found = agop(lambda x: (x[:, 0] - 1e4) ** 2, [[1e4 + 1.0], [1e4 - 3.0]])
    assert found == pytest.approx(np.array([[20.0]]), rel=1e-7)


# Kernel machines: closed form, autograd through the definition, differences.

MACHINES = {
    "laplace": ("laplace", {}),
    "gaussian": ("gaussian", {}),
    "matern32": ("matern32", {}),
    "matern52": ("matern52", {}),
    "generalised": ("generalised", {"norm": 1.5, "power": 1.0}),
    "linear": ("linear", {}),
    "polynomial": ("polynomial", {"degree": 3, "offset": 1.0}),
}


KINKED = {"generalised": 1e-6, "laplacian": 1e-6}


def kernel_in_torch(name: str, options: dict, bandwidth: float, x, z, M):
    """K(x, z), from the definitions alone; distances off zero."""
    u = x[:, None] - z[None]
    r = torch.einsum("abi,ij,abj->ab", u, M, u).sqrt()
    values, vectors = torch.linalg.eigh(M)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    t = x @ M @ z.T / bandwidth**2
    s = r / bandwidth
    if name == "generalised":
        norm = (u @ root).abs().pow(options["norm"]).sum(-1)
        return torch.exp(-(norm ** (options["power"] / options["norm"])) / bandwidth)
    formulas = {
        "laplace": lambda: torch.exp(-s),
        "gaussian": lambda: torch.exp(-(s**2) / 2),
        "matern32": lambda: (1 + 3**0.5 * s) * torch.exp(-(3**0.5) * s),
        "matern52": lambda: (1 + 5**0.5 * s + 5 * s**2 / 3) * torch.exp(-(5**0.5) * s),
        "linear": lambda: t,
        "polynomial": lambda: (options["offset"] + t) ** options["degree"],
    }
    return formulas[name]()


@pytest.mark.parametrize("targets", [Y[:, 0], Y], ids=["one output", "three outputs"])
@pytest.mark.parametrize("name", MACHINES)
def test_three_routes_on_one_kernel_machine(name, targets):
    """Autograd through the definition agrees to 1e-12, differences to 1e-8."""
    kernel, options = MACHINES[name]
    # With kernels of low rank, a larger ridge keeps coefficients, and so rounding, small.
    ridge = 1.0 if name in ("linear", "polynomial") else 1e-3
    model = RFMRegressor(
        kernel=kernel, kernel_params=options, bandwidth=3.0, rounds=2, ridge=ridge
    ).fit(X, targets)
    alpha, M = model.machine_.alpha, torch.as_tensor(model.M_)

    def definition(x):
        K = kernel_in_torch(kernel, options, 3.0, x, torch.as_tensor(X), M)
        return K @ alpha

    closed = agop(model, ELSEWHERE)
    assert apart(agop(definition, torch.as_tensor(ELSEWHERE)), closed) < 1e-12
    # p-norms have kinks where two points share a coordinate: no step may cross one.
    differences = differenced_agop(model.predict, ELSEWHERE, step=KINKED.get(name))
    assert apart(differences.agop, closed) < 1e-8
    assert apart(differences.agop, closed) <= 10 * differences.error + 1e-12


@pytest.mark.parametrize("kernel", ["laplace", "matern52"])
def test_at_the_training_points_it_is_what_the_fit_found(kernel):
    """The self term has gradient 0: for Laplace's kernel, too, whose differences are 0 there."""
    model = RFMRegressor(kernel=kernel, bandwidth=3.0, rounds=1).fit(X, Y)
    assert apart(agop(model, X), model.agop_) < 1e-12
    assert apart(differenced_agop(model.predict, X, step=1e-5).agop, model.agop_) < 1e-7


def test_classifiers_and_single_precision():
    labels = np.where(X[:, 0] > 0.5, "high", np.where(X[:, 0] < -0.5, "low", "middle"))
    model = RFMClassifier(kernel="gaussian", bandwidth=3.0, rounds=1, dtype="float32")
    model.fit(X, labels)
    found = agop(model, ELSEWHERE)
    differences = differenced_agop(model.decision_function, ELSEWHERE)
    assert found.dtype == np.float64
    assert apart(differences.agop, found) < 1e-2
    assert apart(found, agop(RFMClassifier(**{**model.get_params(), "dtype": "float64"}).fit(
        X, labels
    ), ELSEWHERE)) < 1e-3  # fmt: skip


@pytest.mark.parametrize("gamma", [None, 0.3])
@pytest.mark.parametrize("kernel", ["rbf", "laplacian", "linear", "polynomial"])
def test_kernel_ridge_of_scikit_learn(kernel, gamma):
    model = KernelRidge(kernel=kernel, gamma=gamma, alpha=0.1, degree=3, coef0=1).fit(X, Y)
    closed = agop(model, ELSEWHERE)
    differences = differenced_agop(model.predict, ELSEWHERE, step=KINKED.get(kernel))
    assert apart(differences.agop, closed) < 1e-8


def test_kernel_ridge_without_a_closed_form_is_a_black_box():
    model = KernelRidge(kernel="cosine", alpha=0.1).fit(X, Y[:, 0])
    expected = differenced_agop(model.predict, ELSEWHERE).agop
    assert agop(model, ELSEWHERE) == pytest.approx(expected, rel=1e-15)


# Other estimators


def test_linear_model_and_pipeline():
    model = LinearRegression().fit(X, Y)
    assert apart(agop(model, X), model.coef_.T @ model.coef_) < 1e-10
    piped = make_pipeline(StandardScaler(), LinearRegression()).fit(X, Y)
    assert apart(agop(piped, X), model.coef_.T @ model.coef_) < 1e-10


def test_searches_stand_for_their_best_estimator():
    search = GridSearchCV(RFMClassifier(rounds=1), {"ridge": [0.1, 1.0]}, cv=2)
    search.fit(X, X[:, 0] > 0)
    assert np.array_equal(agop(search, ELSEWHERE), agop(search.best_estimator_, ELSEWHERE))


def test_estimators_that_know_their_columns_by_name():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcde"))
    scaled = ColumnTransformer([("scaled", StandardScaler(), ["a", "d"])], remainder="passthrough")
    model = LinearRegression().fit(X, Y)
    expected = model.coef_.T @ model.coef_
    for named in (LinearRegression(), make_pipeline(scaled, LinearRegression())):
        assert apart(agop(named.fit(frame, Y), frame), expected) < 1e-10
    assert agop(RFMRegressor(rounds=1).fit(frame, Y), frame).shape == (5, 5)


def test_a_class_is_no_predictor():
    with pytest.raises(TypeError, match="is the class RFMRegressor: give a fitted instance"):
        agop(RFMRegressor, X)


def test_probabilities_of_a_classifier():
    model = LogisticRegression().fit(X, X[:, 0] + X[:, 1] > 0)
    p = model.predict_proba(ELSEWHERE)[:, 1]
    slopes = (p * (1 - p))[:, None] * model.coef_
    assert apart(agop(model, ELSEWHERE), 2 * slopes.T @ slopes / len(p)) < 1e-9


# Modules


def test_module_against_its_first_layer():
    """The AGOP with respect to the input is the first layer's."""
    model = mlp([5, 7, 6, 3], "tanh", bias=True, generator=1)
    expected = layer_matrices(model, torch.as_tensor(X))["0"].agop.numpy()
    assert apart(agop(model, X), expected) < 1e-13
    assert apart(agop(model, X, batch_size=7), expected) < 1e-13
    black_box = differenced_agop(lambda x: model(torch.as_tensor(x)).detach().numpy(), X)
    assert apart(black_box.agop, expected) < 1e-9


def test_module_is_left_as_it_was():
    model = mlp([5, 4, 2], "relu", bias=True, generator=1)
    model[0].weight.requires_grad_(False)
    model[2].bias.grad = torch.ones(2, dtype=torch.float64)
    inputs = torch.as_tensor(X).requires_grad_()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    with torch.no_grad():  # the caller's mode does not matter
        agop(model, inputs)
    assert not model[0].weight.requires_grad
    assert model[2].weight.requires_grad
    assert (model[2].bias.grad == 1).all()
    assert model[2].weight.grad is None
    assert inputs.grad is None
    assert model.training
    assert all((p == before[name]).all() for name, p in model.named_parameters())


def test_images_are_flattened_and_inputs_changed_in_place():
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(12, 2)).double()
    images = torch.as_tensor(np.random.default_rng(1).normal(size=(9, 3, 2, 2)))
    kept = images.clone()
    on = (images.reshape(9, -1) > 0).double()
    gradients = (on[:, None] * model[2].weight.detach()).numpy()
    assert apart(agop(model, images), by_definition(gradients, "none")) < 1e-14
    assert (images == kept).all()


def test_constant_predictors_have_no_gradient():
    found = differenced_agop(lambda x: np.ones(len(x)), X)
    assert (found.agop == 0).all()
    assert found.error == 0


# Refusals


def rows_lost(x):
    return x[:-1, 0]


@pytest.mark.parametrize(
    ("predictor", "inputs", "error", "match"),
    [
        (in_numpy, [[1.0, np.nan, 1.0]], ValueError, "X holds NaN or infinite entries"),
        (in_numpy, [1.0, 2.0], ValueError, r"X has shape \(2,\), must be \(n, d\)"),
        (in_numpy, np.zeros((0, 3)), ValueError, r"X has shape \(0, 3\)"),
        (in_numpy, [[1j, 2.0, 1.0]], TypeError, "complex"),
        (rows_lost, X, ValueError, r"returned shape \(0,\) for 1 samples, must be \(1,\)"),
        (lambda x: x[:, :, None], X, ValueError, r"returned shape \(1, 5, 1\) for 1 samples"),
        (lambda x: x[:, 0] * np.nan, X, ValueError, "predictor returned NaN or infinite values"),
        (lambda x: x[:, 0] > 0, X, TypeError, "returned bool values, which are not differentiable"),
        (lambda x: np.array(["a"] * len(x)), X, TypeError, "not differentiable"),
        (
            lambda x: RNG.normal(size=len(x)), X, ValueError, "the differences do not settle",
        ),
        (lambda x: np.floor(50 * x[:, 0]), X, ValueError, "The predictor jumps"),
        ("nonsense", X, TypeError, "the predictor is a str: it has none of"),
        (KernelRidge(kernel="rbf"), X, ValueError, "KernelRidge is not fitted"),
        (in_torch, torch.as_tensor(X).long(), TypeError, "gradients need floating inputs"),
        (lambda x: x.detach(), torch.as_tensor(X), ValueError, "not differentiable"),
        (lambda x: x[:, 0].round().long(), torch.as_tensor(X), TypeError, "not differentiable"),
        (rows_lost, torch.as_tensor(X), ValueError, "its first axis must be the 1 samples"),
        (lambda x: x - x.mean(0), torch.as_tensor(X), ValueError, "samples mix"),
        (lambda x: x.abs().sqrt(), torch.zeros(3, 2), ValueError, "a gradient holds NaN"),
        (lambda x: x / 0, torch.zeros(3, 2), ValueError, "output holds NaN"),
        (nn.Sequential(nn.Linear(5, 5), nn.Dropout()).double(), X, ValueError, "drops out"),
        (nn.BatchNorm1d(5).double(), X, ValueError, "samples mix: call model.eval"),
        (nn.Linear(5, 1), torch.as_tensor(X), TypeError, "inputs have dtype torch.float64"),
    ],
)  # fmt: skip
def test_refused_by_name(predictor, inputs, error, match):
    with pytest.raises(error, match=match):
        agop(predictor, inputs)


def test_rows_that_vary_with_the_batch():
    with pytest.raises(ValueError, match=r"returned shape \(3,\) for 360 samples"):
        agop(lambda x: x[:3, 0], X, batch_size=60)


def test_another_number_of_columns():
    model = RFMRegressor(rounds=0).fit(X, Y)
    with pytest.raises(ValueError, match=r"X has shape \(60, 4\), the predictor was fitted on 5"):
        agop(model, X[:, :4])


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"centring": "mean"}, "centring = 'mean' must be one of 'none', 'per_output', 'joint'"),
        ({"step": 0.0}, "step = 0.0 must be a finite number > 0"),
        ({"step": np.nan}, "step = nan must be"),
        ({"batch_size": 0}, "batch_size = 0 must be an integer >= 1"),
    ],
)
def test_options_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        agop(in_numpy, X, **options)


# The package


def test_public_names_and_lightness():
    assert set(dir(numerics)) >= {"agop", "module_agop", "differenced_agop"}
    assert callable(numerics.agop)
    assert callable(module_agop)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = numerics.nonsense
    code = "import sys, numerics; print({'torch', 'sklearn', 'numpy'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
