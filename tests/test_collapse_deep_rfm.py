"""Deep RFM: scikit-learn's conventions, the algorithm as it is written down, and refusals."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import estimator_checks_generator

from numerics.collapse.estimator import DeepRFM
from numerics.collapse.feature_maps import draw_feature_map
from numerics.collapse.machine import DeepRecipe, fit_deep_rfm, unit_rows
from numerics.collapse.metrics import collapse_of
from numerics.rfm.kernel_agop import agop_of_kernel_machine
from numerics.rfm.kernels import Laplace
from numerics.rfm.machine import Recipe
from proofs_check.claim import Kind, Setting
from proofs_check.claims.collapse.trained import DEEP_RFM

SMALL = DeepRFM(depth=3, width=32)
CHECKS = [
    pytest.param(estimator, check, id=f"{check.func.__name__}-{i}")
    for i, (estimator, check) in enumerate(estimator_checks_generator(SMALL, mark=None))
    # It wants an environment variable that is set before SciPy is imported: the next test.
    if check.func.__name__ != "check_array_api_input"
]


@pytest.mark.parametrize(("estimator", "check"), CHECKS)
def test_scikit_learn_accepts_the_estimator(estimator, check):
    check(estimator)


def test_scikit_learn_accepts_everything_and_skips_nothing():
    code = (
        "from sklearn.utils.estimator_checks import check_estimator\n"
        "from numerics.collapse.estimator import DeepRFM\n"
        "model = DeepRFM(depth=2, width=16)\n"
        "print(*{result['status'] for result in check_estimator(model, on_skip=None)})\n"
    )
    environment = os.environ | {"SCIPY_ARRAY_API": "1"}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == ["passed"]


def digits(n=150, classes=10, seed=0):
    X, y = load_digits(n_class=classes, return_X_y=True)
    chosen = np.random.default_rng(seed).permutation(len(X))[: n + 200]
    return X[chosen[:n]], y[chosen[:n]], X[chosen[n:]], y[chosen[n:]]


def by_hand(X, Y, model, layers):
    """Unit rows, ridge regression, its AGOP over the largest entry, root, feature map; repeated."""
    for layer in layers:
        X = X / X.norm(dim=1, keepdim=True)
        K = Laplace(2.0).matrix(X)
        alpha = torch.linalg.solve(K + 1e-3 * torch.eye(len(X)), Y)
        M = agop_of_kernel_machine(Laplace(2.0), alpha, X, X, None, torch.arange(len(X)))
        values, vectors = torch.linalg.eigh(M / M.max())
        mapped = X @ (vectors * values.clamp(min=0).sqrt()) @ vectors.T
        features = (mapped @ layer.feature_map.weights.T).clamp(min=0)
        yield X, mapped, features
        X = features


def test_the_layers_are_the_algorithm():
    X, y, new, _ = digits(80)
    model = DeepRFM(depth=4, width=48, random_state=1).fit(X, y)
    Y = torch.eye(10, dtype=torch.float64)[y]
    expected = list(by_hand(torch.from_numpy(X), Y, model, model.machine_.deep))
    found = list(model.layers(X))
    assert [layer.number for layer in found] == [1, 2, 3, 4]
    for layer, (inputs, mapped, features) in zip(found, expected, strict=True):
        # Roots of eigenvalues near zero have half of the digits.
        assert np.abs(layer.inputs - inputs.numpy()).max() < 1e-8
        assert np.abs(layer.mapped - mapped.numpy()).max() < 1e-8
        assert np.abs(layer.features - features.numpy()).max() < 1e-8
    last = torch.nn.functional.normalize(expected[-1][2])
    alpha = torch.linalg.solve(Laplace(2.0).matrix(last) + 1e-3 * torch.eye(80), Y)
    points = torch.nn.functional.normalize(torch.from_numpy(model.transform(new)))
    scores = Laplace(2.0).matrix(points, last) @ alpha
    assert np.abs(model.decision_function(new) - scores.numpy()).max() < 1e-6
    assert (model.predict(new) == scores.argmax(dim=1).numpy()).all()
    assert np.array_equal(model.transform(X), found[-1].features)


def test_the_history_is_the_collapse_of_the_training_samples():
    X, y, *_ = digits(80)
    model = DeepRFM(depth=3, width=48, random_state=1).fit(X, y)
    assert len(model.history_) == 3
    for record, layer in zip(model.history_, model.layers(X), strict=True):
        assert record.number == layer.number
        for part in ("inputs", "mapped", "features"):
            found, wanted = getattr(record, part), collapse_of(getattr(layer, part), y)
            assert found.nc1 == pytest.approx(wanted.nc1, rel=1e-9)
            assert found.nc2 == pytest.approx(wanted.nc2, rel=1e-9)


def test_without_the_agop_step_the_metric_is_the_identity_and_nothing_collapses():
    X, y, *_ = digits()
    learned, fixed = (
        DeepRFM(depth=8, width=64, agop=a, random_state=0).fit(X, y) for a in (True, False)
    )
    assert all(layer.metric.M is None for layer in fixed.machine_.deep)
    first, last = (fixed.history_[i].features for i in (0, -1))
    assert last.nc1 > first.nc1
    for layer in fixed.layers(X):
        assert np.array_equal(layer.inputs, layer.mapped)
    assert learned.history_[-1].features.nc1 < 0.02 * learned.history_[0].features.nc1
    both = [m.machine_.deep[0].feature_map.weights for m in (learned, fixed)]
    assert torch.equal(*both)  # the same random features in both


@pytest.mark.parametrize("name", ["relu", "fourier"])
def test_the_feature_maps_have_their_law(name):
    draw = torch.Generator().manual_seed(0)
    feature_map = draw_feature_map(name, 4, 200000, draw, frequency=0.3)
    x, z = torch.tensor([[0.5, -1.0, 0.3, 0.2], [0.1, 0.4, 0.0, -0.6]], dtype=torch.float64)
    inner = float((feature_map(x[None]) * feature_map(z[None])).sum())
    W = feature_map.weights
    if name == "relu":
        assert W.abs().max() <= 0.5
        assert W.var().item() == pytest.approx(1 / 12, rel=0.01)
        assert feature_map(x[None]).min() == 0
    else:
        assert inner == pytest.approx(np.exp(-0.3 * (x - z).abs().sum().item()), abs=0.02)
        u = feature_map.phases
        assert torch.histc(u, 4, 0, 2 * np.pi).numpy() == pytest.approx(50000, rel=0.02)
        wanted = np.sqrt(2 / 200000) * torch.cos(W @ x + u)
        assert torch.allclose(feature_map(x[None])[0], wanted, rtol=0, atol=1e-12)
        assert torch.quantile(W.flatten()[:100000].abs(), 0.5).item() == pytest.approx(
            0.3, rel=0.05
        )


@pytest.mark.parametrize("name", ["relu", "fourier"])
def test_a_seed_gives_the_same_machine_and_another_seed_another(name):
    X, y, new, _ = digits(60)
    options = {"depth": 2, "width": 32, "feature_map": name}
    first, again, other = (DeepRFM(**options, random_state=s).fit(X, y) for s in (3, 3, 4))
    assert np.array_equal(first.transform(new), again.transform(new))
    assert not np.array_equal(first.transform(new), other.transform(new))


def test_it_classifies_transforms_clones_and_pickles():
    X, y, new, labels = digits(400)
    model = clone(DeepRFM(depth=3, width=128, random_state=0)).fit(X, y)
    assert model.score(new, labels) > 0.9
    again = pickle.loads(pickle.dumps(model))
    assert np.array_equal(again.predict_proba(new), model.predict_proba(new))
    assert again.history_ == model.history_
    assert model.get_feature_names_out()[-1] == "deeprfm127"
    pipe = make_pipeline(DeepRFM(depth=2, width=64, random_state=0), LinearSVC())
    search = GridSearchCV(pipe, {"deeprfm__agop": [True, False]}, cv=2).fit(X, y)
    assert search.score(new, labels) > 0.85


def test_two_classes_and_names():
    X, y, new, labels = digits(100, classes=2)
    names = np.array(["no", "yes"])
    model = DeepRFM(depth=2, width=32, random_state=0).fit(X, names[y])
    scores, chances = model.decision_function(new), model.predict_proba(new)
    assert scores.shape == (len(new),)
    assert ((scores > 0) == (chances[:, 1] > chances[:, 0])).all()
    assert (model.predict(new) == names[(scores > 0).astype(int)]).all()
    assert model.score(new, names[labels]) > 0.95


def test_more_rounds_exponents_bandwidths_and_single_precision():
    X, y, new, labels = digits(120)
    for options in (
        {"rounds": 2},
        {"exponent": 0.5},
        {"bandwidth": "median"},
        {"normalisation": "trace"},
        {"kernel": "gaussian"},
        {"dtype": "float32"},
    ):
        model = DeepRFM(depth=2, width=48, random_state=0, **options).fit(X, y)
        assert model.score(new, labels) > 0.7
        assert model.transform(new).dtype == np.dtype(options.get("dtype", "float64"))


def test_frequency_and_exponent_reach_the_layers():
    X, y, *_ = digits(60)
    maps = [
        DeepRFM(depth=1, width=32, feature_map="fourier", frequency=f, random_state=0).fit(X, y)
        for f in (0.1, 0.7)
    ]
    one, seven = (model.machine_.deep[0].feature_map.weights for model in maps)
    assert torch.allclose(seven, 7 * one)
    whole, half = (
        DeepRFM(depth=1, width=8, exponent=e, random_state=0).fit(X, y).machine_.deep[0].metric.M
        for e in (1.0, 0.5)
    )
    assert not torch.allclose(whole, half, atol=0.01)


def test_a_constant_predictor_leaves_the_metric_and_rows_of_zeros_stay():
    X = torch.ones(6, 3, dtype=torch.float64)
    Y = torch.eye(2, dtype=torch.float64)[[0, 1, 0, 1, 0, 1]]
    machine = fit_deep_rfm(X, Y, DeepRecipe(depth=2, width=4))
    assert machine.deep[0].metric.M is None
    assert torch.equal(unit_rows(torch.zeros(1, 2)), torch.zeros(1, 2))
    model = DeepRFM(depth=1, width=4, random_state=0).fit(X.numpy(), [0, 1, 0, 1, 0, 1])
    assert model.history_[0].inputs.nc1 is None


def test_repeated_samples_stay_equal_and_their_order_does_not_matter():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(50, 7))
    y = (X[:, 0] > 0).astype(int)
    X, y = np.concatenate([X, X[:37]]), np.concatenate([y, 1 - y[:37]])
    order = np.random.default_rng(5).permutation(len(X))
    model, other = (
        DeepRFM(depth=3, width=33, random_state=0).fit(X[some], y[some])
        for some in (np.arange(len(X)), order)
    )
    for layer in model.layers(X):
        assert np.array_equal(layer.inputs[:37], layer.inputs[50:])
        assert np.array_equal(layer.features[:37], layer.features[50:])
    for one, two in zip(model.machine_.deep, other.machine_.deep, strict=True):
        assert torch.allclose(one.metric.M, two.metric.M, atol=1e-8)


@pytest.mark.parametrize("factor", [2, 3, 0.1])
def test_samples_along_one_line_are_one_sample(factor):
    """Rows are brought to unit norm, where multiples of a row differ by rounding alone."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(50, 7))
    y = (X[:, 0] > 0).astype(int)
    X, y = np.concatenate([X, factor * X[:37]]), np.concatenate([y, 1 - y[:37]])
    order = np.random.default_rng(5).permutation(len(X))
    model, other = (
        DeepRFM(depth=3, width=33, random_state=0).fit(X[some], y[some])
        for some in (np.arange(len(X)), order)
    )
    for one, two in zip(model.machine_.deep, other.machine_.deep, strict=True):
        assert torch.allclose(one.metric.M, two.metric.M, atol=1e-8)


@pytest.mark.parametrize(("dtype", "scale"), [(torch.float64, 200), (torch.float32, 25)])
def test_rows_of_any_size_come_to_unit_norm(dtype, scale):
    rows = torch.tensor([[3.0, 4.0]], dtype=dtype).repeat(4, 1)
    sizes = torch.tensor([[10.0**-scale], [1.0], [10.0**scale], [0.0]], dtype=dtype)
    wanted = torch.tensor([[0.6, 0.8]] * 3 + [[0.0, 0.0]], dtype=dtype)
    assert torch.allclose(unit_rows(rows * sizes), wanted)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"depth": 0}, ValueError, "depth = 0 must be an integer >= 1"),
        ({"width": 0}, ValueError, "width = 0 must be an integer >= 1"),
        ({"width": 2.5}, TypeError, r"width = 2\.5 must be an integer"),
        ({"rounds": 0}, ValueError, "rounds = 0 must be an integer >= 1"),
        ({"feature_map": "sine"}, ValueError, "feature_map = 'sine' must be one of 'relu'"),
        ({"frequency": 0.0}, ValueError, r"frequency = 0\.0 must be"),
        ({"kernel": "cauchy"}, ValueError, "kernel = 'cauchy' must be one of"),
        ({"bandwidth": "mean"}, ValueError, "bandwidth = 'mean' must be one of 'median'"),
        ({"agop": 1}, TypeError, "agop = 1 must be True or False"),
        ({"dtype": "float16"}, ValueError, "dtype = 'float16' must be one of"),
        ({"ridge": -1.0}, ValueError, r"ridge = -1\.0 must be"),
    ],
)
def test_bad_parameters_are_refused_by_name(options, error, match):
    X, y, *_ = digits(30)
    with pytest.raises(error, match=match):
        DeepRFM(**options).fit(X, y)


def test_bad_samples_and_recipes_are_refused():
    X, y, new, _ = digits(30)
    with pytest.raises(ValueError, match="y holds 1 class"):
        SMALL.fit(X, np.zeros(30))
    with pytest.raises(ValueError, match="Input X contains NaN"):
        SMALL.fit(np.where(X > 15, np.nan, X), y)
    model = clone(SMALL).fit(X, y)
    with pytest.raises(ValueError, match="X has 3 features, but DeepRFM is expecting 64"):
        model.transform(new[:, :3])
    with pytest.raises(TypeError, match="machine = 3 must be a Recipe"):
        DeepRecipe(3)
    points, targets = torch.ones(4, 2), torch.ones(4)
    with pytest.raises(TypeError, match="X must be a floating torch tensor"):
        fit_deep_rfm(points.numpy(), targets)
    with pytest.raises(ValueError, match="X holds NaN"):
        fit_deep_rfm(points * torch.nan, targets, DeepRecipe(agop=False))
    with pytest.raises(ValueError, match=r"Y \(3,\): must be"):
        fit_deep_rfm(points, targets[:3])
    assert DeepRecipe().machine == Recipe(Laplace(2.0), rounds=1)


# The claim's trained leg finds by itself what the ledger's cheaper legs find first.


@pytest.mark.parametrize(
    "name",
    ["removed", "halfway", "fourth root", "shuffled", "inverted", "covariance", "one output"],
)
def test_the_trained_leg_alone_finds_a_missing_or_weak_agop_step(name):
    (mutant,) = [m for m in DEEP_RFM.mutants if m.name.startswith("step") and name in m.name]
    leg = next(leg for leg in DEEP_RFM.legs if leg.kind is Kind.TRAINED)
    found = leg.run({**DEEP_RFM.formulas, **mutant.formulas}, Setting())
    assert not found.holds
    assert "NC1 falls by" in found.detail
