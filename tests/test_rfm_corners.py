"""Corners of the recursive feature machine: repeated rows, extreme scales, odd parameters."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from numerics import agop
from numerics.rfm import RFMClassifier, RFMRegressor, fit_rfm, solve
from numerics.rfm.kernels import Laplace, kernel_by_name
from numerics.rfm.learned_metric import metric_from_agop
from numerics.rfm.machine import Recipe


def sample(n=120, d=5, seed=0):
    X = np.random.default_rng(seed).standard_normal((n, d))
    return X, X[:, 0] * X[:, 1]


def apart(one, other):
    return np.linalg.norm(one - other) / np.linalg.norm(other)


# Rows that repeat: what a matrix product makes of equal rows depends on where they stand.


def laplace_agop(machine, rows):
    """From the definition: terms of equal points are left out."""
    X, Z, M = machine.centres[rows], machine.centres, machine.metric.M
    u = X[:, None] - Z[None]
    r = torch.einsum("abi,ij,abj->ab", u, M, u).sqrt()
    L = machine.kernel.bandwidth
    weights = torch.where(r > 0, -torch.exp(-r / L) / (L * r), 0.0)
    gradients = torch.einsum("ab,abi,b->ai", weights, u @ M, machine.alpha[:, 0])
    return (gradients.T @ gradients / len(gradients)).numpy()


def test_repeated_rows_have_no_gradient_at_each_other_in_any_round():
    X, y = sample(301, 30)
    again = np.concatenate([np.arange(301), np.arange(150), np.arange(7)])
    model = RFMRegressor(rounds=1).fit(X[again], y[again])
    assert apart(model.agop_, laplace_agop(model.machine_, slice(None))) < 1e-9


@pytest.mark.parametrize("rows", [[3], [0, 5, 9], list(range(7)), list(range(300, -1, -1))])
def test_the_agop_at_some_of_the_training_points(rows):
    X, y = sample(301, 30)
    model = RFMRegressor(rounds=2).fit(X, y)
    assert apart(agop(model, X[rows]), laplace_agop(model.machine_, rows)) < 1e-9


def test_kernels_of_p_norms_know_equal_points_under_a_full_metric():
    kernel = kernel_by_name("generalised", 3.0, norm=1.0, power=0.7)
    factor, Z = (torch.from_numpy(sample(n, 101, seed)[0]) for n, seed in ((101, 1), (40, 2)))
    alpha, M = torch.from_numpy(sample(40, 2, 3)[1][:, None]), factor.T @ factor / 101
    M = (M + M.T) / 2
    found = kernel.gradients(alpha, Z[:3], Z, M)
    wanted = kernel.gradients(alpha, Z[:3], Z, M, torch.arange(3))
    assert apart(found, wanted) < 1e-9


# Parameters


@pytest.mark.parametrize("number", [np.int64, np.int32, np.float32, Fraction])
@pytest.mark.parametrize(
    ("kernel", "options"),
    [
        ("laplace", {}),
        ("gaussian", {}),
        ("matern52", {}),
        ("linear", {}),
        ("polynomial", {"degree": 2, "offset": 1}),
        ("generalised", {"norm": 2, "power": 1}),
        ("generalised", {"norm": 1, "power": 1}),
    ],
)
def test_numbers_of_any_kind_are_numbers(kernel, options, number):
    X, y = sample(40)
    given = {name: number(v) if name != "degree" else np.int64(v) for name, v in options.items()}
    fits = [
        RFMRegressor(kernel=kernel, bandwidth=L, kernel_params=o, rounds=1, ridge=one, exponent=one)
        .fit(X, y)
        .predict(X)
        for L, o, one in ((number(3), given, number(1)), (3.0, options, 1.0))
    ]
    assert np.array_equal(*fits)


@pytest.mark.parametrize("model", [RFMRegressor, RFMClassifier])
@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"diagonal": "no"}, TypeError, "diagonal = 'no' must be True or False"),
        ({"bandwidth": 1e-200}, ValueError, r"bandwidth = 1e-200 must be in \[1e-150, 1e\+150\]"),
        ({"bandwidth": 1e200, "kernel": "linear"}, ValueError, r"bandwidth = 1e\+200 must be in"),
        ({"device": "gpu"}, ValueError, "device = 'gpu' is none that torch can use here"),
        ({"device": "cuda:99"}, ValueError, "device = 'cuda:99' is none that torch can use here"),
        ({"device": 1.5}, ValueError, "device = 1.5 is none that torch can use"),
        ({"progress": None}, ValueError, "progress = None must be True, False or 'auto'"),
        ({"progress": np.ones(3)}, ValueError, "must be True, False or 'auto'"),
    ],
)
def test_parameters_that_mean_nothing_are_refused(model, options, error, match):
    X, y = sample()
    with pytest.raises(error, match=match):
        model(rounds=1, **options).fit(X, y if model is RFMRegressor else y > 0)


def test_a_device_that_has_gone_is_named_when_predicting():
    X, y = sample()
    model = RFMRegressor(rounds=0).fit(X, y).set_params(device="cuda:99")
    with pytest.raises(ValueError, match="device = 'cuda:99' is none that torch can use here"):
        model.predict(X)
    with pytest.raises(TypeError, match="fit_intercept = 'no' must be True or False"):
        RFMRegressor(fit_intercept="no").fit(X, y)


def test_a_bar_asked_for_by_numpy_is_drawn(capsys):
    RFMRegressor(rounds=1, progress=np.True_).fit(*sample())
    assert "round 1 of 1" in capsys.readouterr().err


# Validation data


@pytest.mark.parametrize("types", [(np.float32, np.float64), (np.float64, np.float32)])
def test_validation_points_take_the_dtype_of_the_training_points(types):
    (X, y), (X_val, y_val) = sample(), sample(seed=1)
    mixed = RFMRegressor(rounds=2).fit(X.astype(types[0]), y, X_val.astype(types[1]), y_val)
    same = RFMRegressor(rounds=2).fit(X.astype(types[0]), y, X_val.astype(types[0]), y_val)
    assert mixed.agop_.dtype == types[0]
    assert [r.error for r in mixed.history_] == pytest.approx(
        [r.error for r in same.history_], rel=1e-5
    )


def test_validation_targets_have_as_many_outputs_as_the_targets():
    X, y = sample()
    Y = np.stack([y, X[:, 2], X[:, 3]], axis=1)
    for wrong in (Y[:, :1], Y[:, :2], y):
        with pytest.raises(ValueError, match=r"y_val has shape \(120.*must have 3 outputs as y"):
            RFMRegressor(rounds=1).fit(X, Y, X, wrong)
    column, row = (RFMRegressor(rounds=1).fit(X, y, X, t) for t in (y[:, None], y))
    assert [r.error for r in column.history_] == [r.error for r in row.history_]


def test_strange_labels_of_several_types_are_named():
    X, y = sample()
    strange = np.array([None, 3, True] * 40, dtype=object)
    with pytest.raises(ValueError, match="y_val holds 3, which is not a class of y"):
        RFMClassifier(rounds=1).fit(X, y > 0, X, strange)


# What is kept


def test_what_is_done_to_the_results_leaves_the_machine_alone():
    X, y = sample()
    model = RFMRegressor(rounds=1).fit(X, y)
    before = agop(model, X)
    model.M_ *= 0
    model.agop_ *= 0
    assert np.array_equal(agop(model, X), before)
    assert model.machine_.agop.abs().max() > 0


def test_a_machine_keeps_its_own_points():
    X, y = (torch.from_numpy(a) for a in sample())
    kept = X.clone()
    machine = fit_rfm(X, y, Recipe(rounds=1))
    before = machine.predict(kept)
    assert torch.equal(X, kept)
    X.zero_()
    assert torch.equal(machine.predict(kept), before)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rounds", [0, 1, 2])
def test_metric_and_agop_are_symmetric_to_the_last_digit(rounds, dtype):
    X, y = sample(101, 33)
    model = RFMRegressor(rounds=rounds).fit(X.astype(dtype), y)
    assert np.array_equal(model.agop_, model.agop_.T)
    assert np.array_equal(model.M_, model.M_.T)


def test_a_round_without_an_error_is_not_the_best():
    X, y = (torch.from_numpy(a) for a in sample())
    errors = iter([math.nan, 0.5, 0.1])
    machine = fit_rfm(X, y, Recipe(rounds=2), validation=(X, y), score=lambda f, y: next(errors))
    assert machine.chosen == 2


# Scales


@pytest.mark.parametrize("solver", ["exact", "iterative"])
@pytest.mark.parametrize(
    ("X_scale", "y_scale", "options", "match"),
    [
        (1e160, 1.0, {}, r"round 0: the kernel matrix is beyond the range of torch\.float64"),
        (
            1e20,
            1.0,
            {"dtype": "float32"},
            r"kernel matrix is beyond .*float32, as entries of X",
        ),
        (1e3, 1.0, {"kernel": "polynomial", "kernel_params": {"degree": 200}}, "kernel matrix is"),
        (1.0, 1e160, {}, r"round 0: the AGOP is beyond the range of torch\.float64: rescale the t"),
        (1.0, 1e20, {"dtype": "float32"}, r"round 0: the AGOP is beyond the range"),
        (1.0, 1e100, {"normalisation": "none", "exponent": 2.0}, r"power 2 is beyond the range"),
        (1.0, 1e-100, {"normalisation": "none", "exponent": 2.0}, r"take a normalisation"),
    ],
)
def test_overflows_are_named(X_scale, y_scale, options, match, solver):
    X, y = sample()
    with pytest.raises(ValueError, match=match):
        RFMRegressor(rounds=2, solver=solver, **options).fit(X_scale * X, y_scale * y)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scale", [1e-15, 1e15])
def test_targets_of_any_size_are_fitted_alike(scale, dtype):
    X, y = sample()
    scaled, plain = (RFMRegressor(rounds=2, dtype=dtype).fit(X, s * y) for s in (scale, 1.0))
    assert np.abs(scaled.predict(X) / scale - plain.predict(X)).max() < 1e-4
    assert np.abs(scaled.M_ - plain.M_).max() < 1e-4


@pytest.mark.parametrize("kernel", ["laplace", "polynomial"])
def test_predictions_that_overflow_are_refused(kernel):
    X, y = sample()
    model = RFMRegressor(kernel=kernel, rounds=0, dtype="float32").fit(10 * X, y)
    with pytest.raises(ValueError, match=r"predictions are beyond the range of torch\.float32"):
        model.predict(np.full((1, 5), 3e38))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("stray", [1e4, 1e9])
def test_a_stray_point_takes_no_digits_from_the_others(dtype, stray):
    X, y = sample()
    far = np.concatenate([X, np.full((1, 5), stray)])
    model = RFMRegressor(rounds=2, dtype=dtype).fit(far, np.append(y, 0.0))
    assert model.score(X, y) > 0.999
    assert apart(model.M_, RFMRegressor(rounds=2, dtype=dtype).fit(X, y).M_) < 0.1


# Gradients that are the same everywhere, or nothing


@pytest.mark.parametrize("solver", ["exact", "iterative"])
@pytest.mark.parametrize("centring", ["per_output", "joint"])
@pytest.mark.parametrize("kernel", ["linear", "polynomial"])
def test_a_centred_affine_machine_learns_no_metric_from_rounding(kernel, centring, solver):
    X, y = sample()
    options = {"kernel_params": {"degree": 1, "offset": 1.0}} if kernel == "polynomial" else {}
    model = RFMRegressor(kernel=kernel, centring=centring, solver=solver, ridge=0.1, **options)
    model.fit(X, X @ np.arange(5.0) + y)
    assert (model.agop_ == 0).all()
    assert np.array_equal(model.M_, np.eye(5))
    assert len(model.history_) == 1


def test_squares_of_gradients_are_not_negative():
    """Gradients along two directions out of six, neither along the last two coordinates."""
    for seed in range(50):
        factors = torch.from_numpy(sample(4, 6, seed)[0]).float()
        factors[:, 4:] = 0
        moment, agop_before = factors[:2].T @ factors[:2], factors[2:].T @ factors[2:]
        rotated = torch.linalg.qr(torch.from_numpy(sample(6, 6, seed)[0]).float()).Q
        metric = metric_from_agop(rotated @ agop_before @ rotated.T)
        assert metric.pull(rotated @ moment @ rotated.T).diagonal().min() >= 0
        agop_before[5, 5] = -1e-20
        metric = metric_from_agop(agop_before)
        assert metric.M.diagonal().min() >= 0
        assert metric.pull(moment).diagonal().min() >= 0


@pytest.mark.parametrize("kernel", ["linear", "polynomial", "laplace"])
def test_samples_of_zeros_are_fitted_by_either_solver(kernel):
    X, y = sample()
    for solver in ("exact", "iterative"):
        model = RFMRegressor(kernel=kernel, solver=solver, rounds=2).fit(0 * X, y)
        assert np.allclose(model.predict(X[:3]), y.mean(), atol=1e-9)


@pytest.mark.parametrize("scale", [1e-200, 1e-160, 1e160, 1e200])
def test_iterated_solutions_scale_with_the_targets(scale):
    X, y = (torch.from_numpy(a) for a in sample())
    Y = torch.stack([y, torch.zeros_like(y)], dim=1)
    alpha, _ = solve(Laplace(3.0), X, Y, ridge=0.1, tolerance=1e-8)
    scaled, info = solve(Laplace(3.0), X, scale * Y, ridge=0.1, tolerance=1e-8)
    assert 0 < info.residual < 1e-8
    assert (scaled / scale - alpha).abs().max() < 1e-6 * alpha.abs().max()


# All samples again


@pytest.mark.parametrize("given", [False, True])
def test_a_refit_is_a_fit_of_all_samples_up_to_the_chosen_round(given):
    (X, y), (X_val, y_val) = sample(), sample(80, seed=1)
    if given:
        model = RFMRegressor(rounds=4, refit=True).fit(X, y, X_val, y_val)
        chosen = RFMRegressor(rounds=4).fit(X, y, X_val, y_val)
        X, y = np.concatenate([X, X_val]), np.concatenate([y, y_val])
    else:
        options = {"rounds": 4, "validation_fraction": 0.3, "random_state": 0}
        model = RFMRegressor(refit=True, **options).fit(X, y)
        chosen = RFMRegressor(**options).fit(X, y)
    alone = RFMRegressor(rounds=model.best_round_).fit(X, y)
    assert len(model.machine_.centres) == len(X)
    assert model.best_round_ == chosen.best_round_
    assert [r.error for r in model.history_] == [r.error for r in chosen.history_]
    assert np.allclose(model.predict(X_val), alone.predict(X_val), atol=1e-9)
    assert np.allclose(model.M_, alone.M_)
    assert math.isclose(model.intercept_, y.mean())


@pytest.mark.parametrize("classes", [2, 3])
def test_a_refit_of_a_classifier_has_seen_all_samples(classes):
    X, _ = sample()
    labels = np.array(["a", "b", "c"])[np.digitize(X[:, 0], [-0.5, 0.5][: classes - 1])]
    options = {"rounds": 2, "validation_fraction": 0.25, "random_state": 0}
    model = RFMClassifier(refit=True, **options).fit(X, labels)
    assert len(model.machine_.centres) == 120
    assert model.score(X, labels) == 1
    assert len(RFMClassifier(**options).fit(X, labels).machine_.centres) == 90
    with pytest.raises(TypeError, match="refit = 1 must be True or False"):
        RFMClassifier(refit=1).fit(X, labels)


def test_without_validation_there_is_nothing_to_refit():
    X, y = sample()
    again, once = (RFMRegressor(rounds=2, refit=r).fit(X, y).predict(X) for r in (True, False))
    assert np.array_equal(again, once)
