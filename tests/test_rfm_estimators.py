"""The estimators: scikit-learn's conventions, the rounds' symmetries, and refusals by name."""

import io
import math
import os
import pickle
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

from numerics.rfm import (
    RFMClassifier,
    RFMRegressor,
    bandwidths,
    fit_rfm,
    memory,
    preset,
    progress,
)
from numerics.rfm.estimators import misclassified, project_to_simplex
from numerics.rfm.kernel_agop import agop_of_kernel_machine
from numerics.rfm.kernels import kernel_by_name
from numerics.rfm.learned_metric import NORMALISATIONS, metric_from_agop
from numerics.rfm.machine import Recipe
from numerics.rfm.presets import PRESETS

CHECKS = [
    pytest.param(estimator, check, id=f"{type(estimator).__name__}-{check.func.__name__}-{i}")
    for model in (RFMRegressor(), RFMClassifier())
    for i, (estimator, check) in enumerate(estimator_checks_generator(model, mark=None))
    # It wants an environment variable that is set before SciPy is imported: the next test.
    if check.func.__name__ != "check_array_api_input"
]


@pytest.mark.parametrize(("estimator", "check"), CHECKS)
def test_scikit_learn_accepts_the_estimator(estimator, check):
    check(estimator)


def test_scikit_learn_accepts_everything_and_skips_nothing():
    code = (
        "from sklearn.utils.estimator_checks import check_estimator\n"
        "from numerics.rfm import RFMClassifier, RFMRegressor\n"
        "for model in (RFMRegressor(), RFMClassifier()):\n"
        "    print(*{result['status'] for result in check_estimator(model, on_skip=None)})\n"
    )
    environment = os.environ | {"SCIPY_ARRAY_API": "1"}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == ["passed", "passed"]


def sample(n=120, d=5, seed=0):
    X = np.random.default_rng(seed).standard_normal((n, d))
    return X, X[:, 0] * X[:, 1]


def labelled(n=120, classes=3, seed=0):
    X, _ = sample(n, seed=seed)
    return X, np.array(["a", "b", "c"])[np.digitize(X[:, 0], [-0.5, 0.5][: classes - 1])]


def rounds_by_hand(kernel, X, Y, ridge, rounds):
    """The algorithm as it is written down, with M in the metric of every kernel call."""
    M, index = torch.eye(X.shape[1], dtype=X.dtype), torch.arange(len(X))
    for _ in range(rounds + 1):
        K = kernel.matrix(X, None, M) + ridge * torch.eye(len(X), dtype=X.dtype)
        alpha = torch.linalg.solve(K, Y)
        used, agop = M, agop_of_kernel_machine(kernel, alpha, X, X, M, index)
        M = agop / agop.max()
    return alpha, used, agop


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("laplace", {}),
        ("gaussian", {}),
        ("matern32", {}),
        ("matern52", {}),
        ("generalised", {"norm": 2.0, "power": 0.8}),
        ("generalised", {"norm": 1.0, "power": 0.7}),
        ("polynomial", {"degree": 2, "offset": 1.0}),
    ],
)
def test_the_metric_and_its_root_predict_alike_after_three_rounds(name, options):
    X, y = (torch.from_numpy(a) for a in sample())
    Y, new = torch.stack([y, X[:, 2].sin()], dim=1), torch.from_numpy(sample(seed=1)[0])
    kernel = kernel_by_name(name, 3.0, **options)
    alpha, M, agop = rounds_by_hand(kernel, X, Y, 1e-2, 3)
    machine = fit_rfm(X, Y, Recipe(kernel, ridge=1e-2, rounds=3))  # works with X M^½
    assert machine.chosen == 3
    assert (machine.predict(new) - kernel.matrix(new, X, M) @ alpha).abs().max() < 1e-8
    assert (machine.metric.M - M).abs().max() < 1e-8
    assert (machine.agop - agop).abs().max() < 1e-8 * agop.max()


def test_a_rotation_of_the_inputs_rotates_the_metric():
    X, y = sample()
    Q, _ = np.linalg.qr(np.random.default_rng(3).standard_normal((5, 5)))
    options = {"rounds": 3, "normalisation": "trace"}
    plain, rotated = RFMRegressor(**options).fit(X, y), RFMRegressor(**options).fit(X @ Q, y)
    assert np.abs(rotated.M_ - Q.T @ plain.M_ @ Q).max() < 1e-9
    new = sample(seed=1)[0]
    assert np.abs(rotated.predict(new @ Q) - plain.predict(new)).max() < 1e-9


@pytest.mark.parametrize("diagonal", [True, False])
def test_a_permutation_of_the_features_permutes_the_metric(diagonal):
    X, y = sample()
    order = [3, 0, 4, 1, 2]
    plain = RFMRegressor(rounds=3, diagonal=diagonal).fit(X, y)
    permuted = RFMRegressor(rounds=3, diagonal=diagonal).fit(X[:, order], y)
    wanted = plain.M_[order] if diagonal else plain.M_[np.ix_(order, order)]
    assert permuted.M_.shape == ((5,) if diagonal else (5, 5))
    assert np.abs(permuted.M_ - wanted).max() < 1e-10


def test_the_order_of_the_samples_does_not_matter():
    X, y = sample()
    order, new = np.random.default_rng(2).permutation(len(X)), sample(seed=1)[0]
    plain = RFMRegressor(rounds=3, bandwidth="median").fit(X, y)
    shuffled = RFMRegressor(rounds=3, bandwidth="median").fit(X[order], y[order])
    assert np.abs(plain.predict(new) - shuffled.predict(new)).max() < 1e-9
    assert np.abs(plain.M_ - shuffled.M_).max() < 1e-10


def test_the_best_round_on_validation_data_is_kept():
    (X, y), (X_val, y_val) = sample(), sample(seed=1)
    model = RFMRegressor(rounds=4, fit_intercept=False).fit(X, y, X_val, y_val)
    errors = [r.error for r in model.history_]
    assert len(errors) == 5
    assert model.best_round_ == int(np.argmin(errors))
    alone = RFMRegressor(rounds=model.best_round_, fit_intercept=False).fit(X, y)
    assert np.allclose(model.predict(X_val), alone.predict(X_val), rtol=0, atol=1e-12)
    assert np.allclose(model.M_, alone.M_)
    assert np.allclose(model.agop_, alone.agop_)
    assert math.isclose(errors[model.best_round_], np.mean((model.predict(X_val) - y_val) ** 2))
    for r in model.history_[1:]:
        assert r.spectrum.shape == (5,)
        assert (np.diff(r.spectrum) <= 0).all()


def test_round_0_is_kept_where_learning_features_hurts():
    (X, y), (X_val, y_val) = sample(60, 40), sample(200, 40, seed=1)
    model = RFMRegressor(rounds=3).fit(X, y, X_val, y_val)
    assert model.best_round_ == 0
    assert np.array_equal(model.M_, np.eye(40))
    assert np.array_equal(model.history_[0].spectrum, np.ones(40))
    assert model.agop_.shape == (40, 40)
    assert np.array_equal(RFMRegressor(rounds=0, diagonal=True).fit(X, y).M_, np.ones(40))


@pytest.mark.parametrize("error", [1.0, math.nan])
def test_equal_or_undefined_errors_keep_the_earliest_round(error):
    X, y = (torch.from_numpy(a) for a in sample())
    machine = fit_rfm(X, y, Recipe(rounds=2), validation=(X, y), score=lambda f, y: error)
    assert machine.chosen == 0
    assert len(machine.history) == 3


def test_patience_ends_the_rounds():
    (X, y), (X_val, y_val) = sample(60, 40), sample(200, 40, seed=1)
    model = RFMRegressor(rounds=6, patience=2).fit(X, y, X_val, y_val)
    assert [r.number for r in model.history_] == [0, 1, 2]


def test_a_fraction_of_the_samples_is_kept_apart():
    X, y = sample()
    options = {"rounds": 2, "validation_fraction": 0.25}
    first = RFMRegressor(**options, random_state=1).fit(X, y)
    again = RFMRegressor(**options, random_state=1).fit(X, y)
    other = RFMRegressor(**options, random_state=2).fit(X, y)
    assert len(first.machine_.centres) == 90
    assert np.array_equal(first.predict(X), again.predict(X))
    assert not np.array_equal(first.predict(X), other.predict(X))
    assert all(r.error is not None for r in first.history_)
    model = RFMClassifier(**options, random_state=1).fit(*labelled())
    assert 0 <= model.history_[0].error <= 1


def test_several_outputs_share_one_metric():
    X, y = sample()
    Y = np.stack([y, X[:, 2], np.sin(X[:, 0])], axis=1)
    model = RFMRegressor(rounds=2).fit(X, Y)
    assert model.predict(X).shape == Y.shape
    assert model.intercept_.shape == (3,)
    assert np.abs(model.predict(X) - Y).max() < 0.1
    column = RFMRegressor(rounds=2).fit(X, Y[:, :1])
    assert column.predict(X).shape == (120, 1)
    assert np.allclose(column.predict(X)[:, 0], RFMRegressor(rounds=2).fit(X, y).predict(X))


@pytest.mark.parametrize("classes", [2, 3])
def test_classes_scores_and_probabilities_agree(classes):
    X, labels = labelled(classes=classes)
    model = RFMClassifier(rounds=2).fit(X, labels)
    scores, chances = model.decision_function(X), model.predict_proba(X)
    assert model.classes_.tolist() == ["a", "b", "c"][:classes]
    assert scores.shape == ((120,) if classes == 2 else (120, 3))
    assert chances.shape == (120, classes)
    assert (chances >= 0).all()
    assert np.allclose(chances.sum(axis=1), 1)
    assert (model.classes_[chances.argmax(axis=1)] == model.predict(X)).all()
    assert model.score(X, labels) > 0.95
    assert model.M_.argmax() == 0  # the first feature alone decides


def test_validation_labels_choose_the_round_of_a_classifier():
    (X, labels), (X_val, labels_val) = labelled(), labelled(seed=1)
    model = RFMClassifier(rounds=3).fit(X, labels, X_val, labels_val)
    errors = [r.error for r in model.history_]
    assert model.best_round_ == int(np.argmin(errors))
    assert math.isclose(1 - model.score(X_val, labels_val), min(errors), abs_tol=1e-12)


def test_misclassified_counts():
    one, wanted = torch.tensor([[0.5], [-0.1], [0.2]]), torch.tensor([[1.0], [1.0], [-1.0]])
    assert misclassified(one, wanted) == 2 / 3
    assert misclassified(torch.eye(3), torch.eye(3)[[0, 1, 1]]) == 1 / 3


def test_the_nearest_probability_vector_is_nearest():
    rng = np.random.default_rng(0)
    for scores in rng.standard_normal((20, 4)):
        nearest = project_to_simplex(scores[None])[0]
        others = rng.dirichlet(np.ones(4), size=2000)
        assert ((others - scores) ** 2).sum(axis=1).min() >= ((nearest - scores) ** 2).sum() - 1e-12


@pytest.mark.parametrize("model", [RFMRegressor(rounds=2), RFMClassifier(rounds=2)])
def test_a_pickled_model_predicts_alike(model):
    X, y = labelled() if isinstance(model, RFMClassifier) else sample()
    model = clone(model).fit(X, y)
    assert np.array_equal(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X))


def test_pipelines_and_searches():
    X, y = sample()
    pipe = make_pipeline(StandardScaler(), RFMRegressor(rounds=2))
    grid = {"rfmregressor__ridge": [1e-3, 10.0], "rfmregressor__kernel": ["laplace", "gaussian"]}
    search = GridSearchCV(pipe, grid, cv=3).fit(X, y)
    assert search.best_params_["rfmregressor__ridge"] == 1e-3
    assert search.score(X, y) > 0.9


def test_pandas_frames_are_taken_and_their_columns_remembered():
    pandas = pytest.importorskip("pandas")
    X, y = sample()
    frame = pandas.DataFrame(X, columns=list("abcde"))
    model = RFMRegressor(rounds=1).fit(frame, pandas.Series(y))
    assert model.feature_names_in_.tolist() == list("abcde")
    assert np.array_equal(model.predict(frame), RFMRegressor(rounds=1).fit(X, y).predict(X))
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame[list("bacde")])


@pytest.mark.parametrize(
    ("given", "dtype", "used"),
    [
        (np.float32, None, np.float32),
        (np.float64, None, np.float64),
        (np.float64, "float32", np.float32),
        (np.float32, "float64", np.float64),
        (np.int64, None, np.float64),
    ],
)
def test_precision_is_that_of_the_data_or_the_one_asked_for(given, dtype, used):
    X, y = sample()
    X = (3 * X).astype(given)
    model = RFMRegressor(rounds=1, dtype=dtype).fit(X, y)
    assert {model.M_.dtype, model.agop_.dtype, model.predict(X).dtype} == {np.dtype(used)}
    assert model.predict(X.astype(np.float64)).dtype == used


def test_float32_is_close_to_float64():
    X, y = sample()
    models = [RFMRegressor(rounds=3, dtype=d).fit(X, y) for d in ("float32", "float64")]
    new = sample(seed=1)[0]
    single, double = (m.predict(new) for m in models)
    assert np.abs(single - double).max() < 1e-2
    assert np.abs(models[0].M_ - models[1].M_).max() < 1e-3


def test_a_constant_target_is_predicted_exactly_and_ends_the_rounds():
    X, _ = sample()
    model = RFMRegressor(rounds=3).fit(X, np.full(120, 2.5))
    assert (model.predict(X + 1) == 2.5).all()
    assert (model.agop_ == 0).all()
    assert len(model.history_) == 1
    assert np.array_equal(model.M_, np.eye(5))
    without = RFMRegressor(rounds=3, fit_intercept=False).fit(X, np.full(120, 2.5))
    assert np.abs(without.predict(X) - 2.5).max() < 0.1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kernel", ["laplace", "gaussian", "matern32"])
def test_repeated_rows_without_a_ridge_are_refused(dtype, kernel):
    for seed in range(8):  # the repeated row's pivot is rounding noise of either sign
        X, y = sample(seed=seed)
        X, y = np.concatenate([X, X[60:61]]), np.concatenate([y, y[60:61]])
        with pytest.raises(np.linalg.LinAlgError, match=r"round 0: .* take a larger ridge, a sm"):
            RFMRegressor(kernel=kernel, ridge=0.0, dtype=dtype).fit(X, y)
    assert np.isfinite(
        RFMRegressor(kernel=kernel, rounds=2, dtype=dtype).fit(X, y).predict(X)
    ).all()


def test_without_repeated_rows_no_ridge_interpolates():
    X, y = sample()
    assert np.abs(RFMRegressor(ridge=0.0, rounds=2).fit(X, y).predict(X) - y).max() < 1e-8


def test_too_little_memory_is_named(monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda device: 1e5)
    with pytest.raises(MemoryError, match=r"kernel matrix of n = 120 samples needs .* GiB"):
        RFMRegressor().fit(*sample())


def test_available_memory_is_what_the_container_leaves(monkeypatch, tmp_path):
    limit, usage = tmp_path / "max", tmp_path / "current"
    limit.write_text("1000000\n")
    usage.write_text("400000\n")
    monkeypatch.setattr(memory, "CGROUPS", ((str(limit), str(usage)),))
    assert memory.available_memory(torch.device("cpu")) == 600000
    limit.write_text("max\n")
    assert memory.available_memory(torch.device("cpu")) > 2**20


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"kernel": "cauchy"}, ValueError, "kernel = 'cauchy' must be one of"),
        ({"bandwidth": -1.0}, ValueError, "bandwidth = -1.0 must be"),
        ({"bandwidth": "mean"}, ValueError, "bandwidth = 'mean' must be one of 'median'"),
        ({"bandwidth": "median", "kernel": "linear"}, ValueError, "one of inner products"),
        ({"ridge": -1e-3}, ValueError, "ridge = -0.001 must be"),
        ({"rounds": -1}, ValueError, "rounds = -1 must be an integer >= 0"),
        ({"rounds": 1.5}, TypeError, "rounds = 1.5 must be an integer"),
        ({"centring": "mean"}, ValueError, "centring = 'mean' must be one of"),
        ({"normalisation": "max"}, ValueError, "normalisation = 'max' must be one of"),
        ({"exponent": 0.0}, ValueError, "exponent = 0.0 must be"),
        ({"patience": 0}, ValueError, "patience = 0 must be an integer >= 1"),
        ({"solver": "lu"}, ValueError, "solver = 'lu' must be one of 'exact', 'iterative'"),
        ({"validation_fraction": 1.5}, ValueError, "validation_fraction = 1.5 must be in"),
        ({"validation_fraction": 0.0}, ValueError, "validation_fraction = 0.0 must be"),
        ({"dtype": "float16"}, ValueError, "dtype = 'float16' must be one of"),
        ({"kernel_params": {"degree": 2}}, TypeError, "kernel 'laplace' has no option"),
        ({"progress": "never"}, ValueError, "progress = 'never' must be True, False or 'auto'"),
    ],
)
@pytest.mark.parametrize("model", [RFMRegressor, RFMClassifier])
def test_bad_parameters_are_refused_by_name(model, options, error, match):
    X, y = sample()
    with pytest.raises(error, match=match):
        model(**options).fit(X, y if model is RFMRegressor else y > 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_are_refused(bad):
    X, y = sample()
    spoilt, worse = X.copy(), y.copy()
    spoilt[3, 1] = worse[3] = bad
    word = "NaN" if np.isnan(bad) else "infinity"
    with pytest.raises(ValueError, match=f"Input X contains {word}"):
        RFMRegressor().fit(spoilt, y)
    with pytest.raises(ValueError, match=f"Input y contains {word}"):
        RFMRegressor().fit(X, worse)
    with pytest.raises(ValueError, match=f"Input X contains {word}"):
        RFMRegressor(rounds=1).fit(X, y).predict(spoilt)
    with pytest.raises(ValueError, match=f"Input y_val contains {word}"):
        RFMRegressor().fit(X, y, X, worse)


def test_data_that_do_not_fit_together_are_refused():
    X, y = sample()
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        RFMRegressor().fit(X, y[:-1])
    with pytest.raises(ValueError, match="X has 4 features, but RFMRegressor is expecting 5"):
        RFMRegressor(rounds=0).fit(X, y).predict(X[:, :4])
    with pytest.raises(ValueError, match="X_val and y_val must be given together"):
        RFMRegressor().fit(X, y, X)
    with pytest.raises(ValueError, match=r"validation_fraction = 0\.2 must be None where"):
        RFMRegressor(validation_fraction=0.2).fit(X, y, X, y)
    with pytest.raises(ValueError, match=r"X_val has shape \(120, 5\), Y_val \(119,\)"):
        RFMRegressor().fit(X, y, X, y[:-1])
    with pytest.raises(ValueError, match=r"y_val has shape \(120, 2\), must have 1 outputs as y"):
        RFMRegressor().fit(X, y, X, np.stack([y, y], axis=1))


def test_labels_that_do_not_fit_are_refused():
    X, labels = labelled()
    with pytest.raises(ValueError, match=r"y holds 1 class, .*'a'.*; there must be at least 2"):
        RFMClassifier().fit(X, np.full(120, "a"))
    with pytest.raises(ValueError, match="y_val holds 'z', which is not a class of y"):
        RFMClassifier().fit(X, labels, X, np.full(120, "z"))
    with pytest.raises(ValueError, match="Unknown label type"):
        RFMClassifier().fit(X, X[:, 0])


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
def test_metrics_from_an_agop(normalisation, exponent):
    factor = torch.from_numpy(sample()[0][:9])
    agop = factor.T @ factor * 1e3
    metric = metric_from_agop(agop, exponent=exponent, normalisation=normalisation)
    values, vectors = torch.linalg.eigh(agop)
    power = (vectors * values**exponent) @ vectors.T
    divisor = {
        "largest_entry": power.max(),
        "trace": power.trace() / 5,
        "frobenius": torch.linalg.matrix_norm(power) / 5**0.5,
        "none": torch.tensor(1.0),
    }[normalisation]
    assert torch.allclose(metric.M, power / divisor, rtol=1e-10)
    assert torch.allclose(metric.root @ metric.root, metric.M, rtol=1e-10)
    assert torch.allclose(metric.spectrum, torch.linalg.eigvalsh(metric.M).flip(0), rtol=1e-8)
    diagonal = metric_from_agop(
        agop.diagonal().clone(), exponent=exponent, normalisation=normalisation
    )
    wanted = metric_from_agop(
        torch.diag(agop.diagonal()), exponent=exponent, normalisation=normalisation
    )
    assert torch.allclose(diagonal.M, wanted.M.diagonal(), rtol=1e-12)
    assert torch.allclose(diagonal.spectrum, wanted.spectrum, rtol=1e-12)


def test_no_metric_comes_from_nothing():
    assert metric_from_agop(torch.zeros(3, 3)) is None
    with pytest.raises(ValueError, match=r"the AGOP is beyond the range of torch\.float32"):
        metric_from_agop(torch.tensor([1.0, torch.inf]))
    tiny = metric_from_agop(torch.diag(torch.tensor([1e-30, 4e-30])), exponent=2.0)
    assert torch.allclose(tiny.M.diagonal(), torch.tensor([1 / 16, 1.0]))


def test_a_normalisation_is_a_bandwidth():
    """K_{cM, L} = K_{M, L/√c}: with the median of each round it plays no role at all."""
    X, y = sample()
    fits = [
        RFMRegressor(rounds=3, bandwidth="median", normalisation=name).fit(X, y).predict(X)
        for name in NORMALISATIONS
    ]
    for other in fits[1:]:
        assert np.abs(other - fits[0]).max() < 1e-8


def test_the_median_bandwidth_is_the_median_distance():
    X, y = sample(40)
    model = RFMRegressor(rounds=0, bandwidth="median").fit(X, y)
    distances = np.sort([np.linalg.norm(a - b) for i, a in enumerate(X) for b in X[:i]])
    below = distances[(len(distances) - 1) // 2]
    assert math.isclose(model.bandwidth_, below, rel_tol=1e-12)
    same = RFMRegressor(rounds=0, bandwidth="median").fit(np.ones((4, 2)), np.arange(4.0))
    assert same.bandwidth_ == 1.0


def test_the_median_of_many_points_is_that_of_some(monkeypatch):
    monkeypatch.setattr(bandwidths, "SAMPLE", 60)
    X, y = sample()
    drawn = [
        RFMRegressor(rounds=0, bandwidth="median", random_state=s).fit(X, y).bandwidth_
        for s in (0, 0, 1)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert math.isclose(drawn[0], drawn[2], rel_tol=0.1)


@pytest.mark.parametrize("centring", ["none", "per_output", "joint"])
@pytest.mark.parametrize("solver", ["exact", "iterative"])
def test_centring_reaches_the_agop(centring, solver):
    X, y = sample()
    Y = np.stack([y, X[:, 2] + X[:, 3]], axis=1)
    model = RFMRegressor(rounds=0, centring=centring, solver=solver, random_state=0).fit(X, Y)
    machine = model.machine_
    wanted = agop_of_kernel_machine(
        machine.kernel,
        machine.alpha,
        machine.centres,
        machine.centres,
        None,
        torch.arange(120),
        centring=centring,
    )
    assert np.allclose(model.agop_, wanted, rtol=1e-10, atol=1e-12)


def test_the_iterative_solver_agrees_with_the_exact_one():
    (X, y), new = sample(300), sample(seed=1)[0]
    exact = RFMRegressor(rounds=2, ridge=0.1).fit(X, y)
    iterative = RFMRegressor(rounds=2, ridge=0.1, solver="iterative", random_state=0).fit(X, y)
    assert np.abs(exact.predict(new) - iterative.predict(new)).max() < 2e-2
    assert np.abs(exact.M_ - iterative.M_).max() < 2e-2


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_fit_and_search(name):
    X, y = sample(80)
    protocol = preset(name)
    assert protocol.source
    model = protocol.regressor(random_state=0).fit(X, y)
    assert np.isfinite(model.predict(X)).all()
    assert set(protocol.classifier(random_state=0).fit(X, y > 0).predict(X)) <= {False, True}


def test_a_preset_searches_its_grid():
    X, y = sample(60)
    protocol = preset("tabular")
    search = protocol.search(protocol.regressor(), cv=2).fit(X, y)
    assert len(search.cv_results_["params"]) == 5 * 6 * 2
    assert set(search.best_params_) == {"rows", "rfm__ridge", "rfm__rounds"}
    with pytest.raises(ValueError, match="preset = 'deep' must be one of 'scripts'"):
        preset("deep")


def test_the_bar_is_for_long_fits_on_a_terminal(monkeypatch, capsys):
    X, y = sample()
    RFMRegressor(rounds=2).fit(X, y)
    assert capsys.readouterr().err == ""
    RFMRegressor(rounds=2, progress=True).fit(X, y, X, y)
    assert "round 2 of 2, error" in capsys.readouterr().err
    terminal = SimpleNamespace(isatty=lambda: True, write=io.StringIO().write, flush=lambda: None)
    monkeypatch.setattr(progress, "LONG", -1.0)
    monkeypatch.setattr(progress.sys, "stderr", terminal)
    shown = []
    monkeypatch.setattr(progress._Bar, "_show", lambda bar: shown.append(bar.rounds))
    RFMRegressor(rounds=2).fit(X, y)
    assert shown == [2]
    monkeypatch.setattr(progress, "LONG", 1e9)
    RFMRegressor(rounds=2).fit(X, y)
    assert shown == [2]
