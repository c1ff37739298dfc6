"""Concept detectors: probes against direct formulas, no leak between folds, errors by name."""

from __future__ import annotations

import pickle
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError, SkipTestWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import check_estimator

from numerics.concepts import detector_base
from numerics.concepts.crossfit import Plan, cross_fit, parts
from numerics.concepts.detector import ConceptDetector, ConceptRegressor
from numerics.concepts.probes import PROBES, fit_probe
from numerics.concepts.rfm_probe import tuned_machine
from numerics.concepts.targets import Target, auc
from numerics.rfm.kernel_agop import agop_of_kernel_machine


def gaussian(n=120, d=6, classes=2, shift=2.0, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    X = rng.normal(size=(n, d))
    X[np.arange(n), y] += shift
    return X, Target(y.astype(float), classes)


def fitted(kind, X, target, k=None, **options):
    return fit_probe(kind, X, target, k, np.random.default_rng(0), **options)


def unit(v):
    return v / np.linalg.norm(v, axis=-1, keepdims=True)


@pytest.mark.parametrize("classes", [2, 3])
def test_mean_difference_by_its_definition(classes):
    X, target = gaussian(classes=classes)
    y = target.index
    named = [1] if classes == 2 else range(classes)
    wanted = unit(np.array([X[y == c].mean(0) - X[y != c].mean(0) for c in named]))
    assert np.allclose(fitted("mean_difference", X, target).vectors, wanted, atol=1e-14)


@pytest.mark.parametrize(("n", "d"), [(60, 5), (30, 40)])
def test_pca_is_that_of_all_pairs(n, d):
    X, target = gaussian(n, d, classes=3)
    y = target.index
    moment, pairs = np.zeros((d, d)), 0
    for i in range(n):
        for j in range(i):
            if y[i] != y[j]:
                moment += np.outer(X[i] - X[j], X[i] - X[j])
                pairs += 1
    _, vectors = np.linalg.eigh(moment / pairs)
    found = fitted("pca", X, target, 3).vectors
    assert np.allclose(np.abs(found @ vectors[:, : -3 - 1 : -1]), np.eye(3), atol=1e-8)


@pytest.mark.parametrize(("n", "d"), [(60, 5), (30, 40)])
def test_linear_and_logistic_are_scikit_learns(n, d):
    X, target = gaussian(n, d, shift=1.0)
    linear = fitted("linear", X, target)
    peer = Ridge(alpha=linear.chosen["ridge"]).fit(X, target.outputs[:, 0])
    assert np.allclose(linear.vectors[0], unit(peer.coef_), atol=1e-8)
    logistic = fitted("logistic", X, target)
    model = LogisticRegression(C=logistic.chosen["C"], tol=1e-10, max_iter=10000).fit(
        X, target.index
    )
    assert abs(logistic.vectors[0] @ unit(model.coef_[0]) - 1) < 1e-5
    predictions = partial(fitted, X=X, target=target, features="predictions")
    assert np.allclose(predictions("linear").features(X)[:, 0], peer.predict(X), atol=1e-8)
    decisions = predictions("logistic").features(X)[:, 0]
    assert np.allclose(decisions, model.decision_function(X), rtol=1e-3, atol=1e-3)


def test_rfm_vectors_are_those_of_the_agop():
    X, target = gaussian(80, 5)
    machine, _ = tuned_machine(X, target, np.random.default_rng(0))
    M = machine.metric.M
    index = torch.arange(len(machine.centres))
    args = (machine.kernel, machine.alpha, machine.centres, machine.centres, M, index)
    probe = fitted("rfm", X, target, 2)
    agop = agop_of_kernel_machine(*args, centring=probe.chosen["centring"]).numpy()
    _, vectors = np.linalg.eigh(agop)
    assert np.allclose(np.abs(probe.vectors @ vectors[:, :-3:-1]), np.eye(2), atol=1e-6)
    predictions = fitted("rfm", X, target, 2, features="predictions").features(X)
    assert np.array_equal(predictions, machine.predict(torch.tensor(X)).numpy())


@pytest.mark.parametrize("kind", PROBES)
@pytest.mark.parametrize("classes", [2, 3])
def test_vectors_and_directions_do_not_depend_on_the_features(kind, classes):
    X, target = gaussian(60, 4, classes)
    model = ConceptDetector(kind, folds=2, random_state=0)
    other = clone(model).set_params(features="predictions")
    for fit in (model, other):
        fit.fit(X, target.index)
    assert np.array_equal(model.vectors_[0], other.vectors_[0])
    assert np.array_equal(model.directions(1)[0], other.directions(1)[0])
    if kind in ("mean_difference", "pca"):
        assert np.array_equal(model.decision_function(X), other.decision_function(X))


KINDS_AND_FEATURES = [(kind, "projections") for kind in PROBES] + [
    (kind, "predictions") for kind in ("rfm", "linear", "logistic")
]


@pytest.mark.parametrize(("kind", "features"), KINDS_AND_FEATURES)
def test_labels_of_a_fold_change_nothing_in_its_own_features(kind, features):
    """Exactly: flipping all labels of a fold leaves its features bit-identical."""
    X, target = gaussian(60, 8)
    plan = Plan(kind, 3, 2, 0, features=features)
    folds = list(parts(target, plan))
    _, test = folds[0]
    flipped = target.numbers.copy()
    flipped[test] = 1 - flipped[test]
    targets = (target, Target(flipped, 2))
    before, after = (cross_fit({0: X}, t, plan, folds).features[0][test] for t in targets)
    assert np.array_equal(before, after)


def null_deviation(positive, negative):
    """Standard deviation of the AUC of scores that know nothing of the labels (Mann–Whitney)."""
    return np.sqrt((positive + negative + 1) / (12 * positive * negative))


@pytest.mark.parametrize(("kind", "features"), KINDS_AND_FEATURES)
def test_random_labels_leave_chance(kind, features, monkeypatch):
    """d ≫ n, where probes separate any labels: neither out-of-fold nor held-out scores do.

    A fold's AUC has the Mann–Whitney deviation exactly, as its labels are in random order given
    all that the other folds' probe knows. The AUCs of a data set's two folds are correlated, so
    that their mean deviates as much at most; data sets are independent.
    """
    n, seeds, folds = 64, 3, 2
    d = 96 if kind == "rfm" else 160
    cross_fits = []

    def spied(*arguments):
        cross_fits.append(cross_fit(*arguments))
        return cross_fits[-1]

    monkeypatch.setattr(detector_base, "cross_fit", spied)
    in_sample, out_of_fold, held_out = [], [], []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        X, y = rng.normal(size=(2 * n, d)).astype(np.float32), np.arange(2 * n) % 2
        y = np.concatenate([rng.permutation(y[:n]), rng.permutation(y[n:])])
        model = ConceptDetector(
            kind, features=features, vectors_per_layer=1, folds=folds, random_state=seed
        )
        held_out.append(auc(model.fit(X[:n], y[:n]).decision_function(X[n:]), y[n:] == 1))
        in_sample.append(auc(cross_fits[-1].probes[0].features(X[:n])[:, 0], y[:n] == 1))
        target, scores = Target(y[:n].astype(float), 2), cross_fits[-1].features[0][:, 0]
        plan = model._plan()
        for _, fold in parts(target, plan):
            out_of_fold.append(auc(scores[fold], y[fold] == 1))
    deviations = 4 / np.sqrt(seeds)
    bound = deviations * null_deviation(n / folds / 2, n / folds / 2)
    assert abs(np.mean(out_of_fold) - 0.5) < bound
    assert np.mean(in_sample) - 0.5 > bound  # what a leak would look like
    assert abs(np.mean(held_out) - 0.5) < deviations * null_deviation(n / 2, n / 2)


def xor(n, d=6, seed=0):
    X = np.random.default_rng(seed).normal(size=(n, d))
    return X, (X[:, 0] * X[:, 1] > 0).astype(int)


@pytest.mark.parametrize(
    ("aggregator", "features"), [("rfm", "projections"), ("linear", "predictions")]
)
def test_rfm_finds_the_product_that_linear_probes_miss(aggregator, features):
    X, y = xor(500)
    train, test = slice(0, 250), slice(250, None)

    def area(probe, aggregator, features):
        options = {"features": features, "vectors_per_layer": 2, "folds": 3, "random_state": 0}
        model = ConceptDetector(probe, aggregator, **options).fit(X[train], y[train])
        return auc(model.decision_function(X[test]), y[test] == 1)

    assert area("rfm", aggregator, features) > 0.9
    # The law of each class is symmetric about 0, so that a linear score's AUC is ½.
    deviation = null_deviation(y[test].sum(), (1 - y[test]).sum())
    for linear in ("linear", "logistic", "mean_difference"):
        assert abs(area(linear, "linear", features) - 0.5) < 4 * deviation


def test_settled_axes_agree_between_folds_where_eigenvectors_do_not():
    X, y = xor(300)
    target = Target(y.astype(float), 2)
    full = {}
    for settle in (True, False):
        fits = []
        for seed in range(4):
            rows = np.random.default_rng(seed).choice(300, 240, replace=False)
            rng = np.random.default_rng(seed)
            fits.append(fit_probe("rfm", X[rows], target.rows(rows), 2, rng, settle=settle).axes)
        full[settle] = min(
            np.abs((a * b).sum(axis=1)).min() for i, a in enumerate(fits) for b in fits[:i]
        )
    # At 45° an axis is as near to its neighbour as to itself; half of that is the bound.
    assert full[True] > np.cos(np.pi / 8)
    assert full[False] < np.cos(np.pi / 4)


@pytest.mark.parametrize(("kind", "features"), KINDS_AND_FEATURES)
def test_aggregate_is_at_least_the_best_layer(kind, features):
    rng = np.random.default_rng(0)
    y, cut = np.arange(400) % 2, 120
    stack = rng.normal(size=(400, 3, 4))
    stack[:, :, 0] += y[:, None]
    model = ConceptDetector(kind, features=features, folds=3, random_state=0)
    model.fit(stack[:cut], y[:cut])
    layers = model.layer_scores(stack[cut:])
    best = max(roc_auc_score(y[cut:], layers[:, i]) for i in range(3))
    assert roc_auc_score(y[cut:], model.decision_function(stack[cut:])) >= best
    for name, vectors in model.vectors_.items():
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
        assert (np.corrcoef(stack[:cut, name] @ vectors.T, y[:cut], rowvar=False)[-1] > 0).all()


@pytest.mark.parametrize("estimator", [ConceptDetector, ConceptRegressor])
@pytest.mark.parametrize("probe", ["linear", pytest.param("rfm", marks=pytest.mark.slow)])
def test_scikit_learns_checks(estimator, probe):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkipTestWarning)  # the array API is not switched on
        check_estimator(estimator(probe, folds=3))


def test_inputs_of_all_kinds_and_copies():
    X, target = gaussian(60)
    X, y = X.astype(np.float16).astype(np.float32), np.where(target.index, "b", "a")
    model = ConceptDetector("linear", random_state=0)
    wanted = model.fit(X, y).decision_function(X)
    for same in (torch.tensor(X), torch.tensor(X).half(), X[:, None], {0: torch.tensor(X)}):
        assert np.array_equal(clone(model).fit(same, y).decision_function(same), wanted)
    assert np.array_equal(pickle.loads(pickle.dumps(model)).decision_function(X), wanted)
    brain = torch.tensor(X).bfloat16()
    assert np.array_equal(
        clone(model).fit(brain, y).decision_function(brain),
        clone(model).fit(brain.float(), y).decision_function(brain.float()),
    )
    search = GridSearchCV(model, {"probe": ["linear", "pca"]}, cv=2).fit(X[:, None], y)
    assert search.best_score_ > 0.7
    assert np.array_equal(model.directions("a")[0], -model.directions()[0])


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"y": np.zeros(60)}, "holds 1 class"),
        ({"y": np.r_[np.zeros(57), 1, 1, 1]}, "has 3 samples, must have at least folds = 5"),
        ({"y": np.linspace(0, 1, 60)}, "continuous"),
        ({"y": np.arange(50) % 2}, "60 samples, y has 50"),
        ({"probe": "svm"}, "probe = 'svm'"),
        ({"aggregator": "mean"}, "aggregator = 'mean'"),
        ({"features": "scores"}, "features = 'scores' must be one of 'projections', 'predictions'"),
        ({"features": None}, "features = None"),
        ({"folds": 1}, "folds = 1"),
        ({"vectors_per_layer": 0}, "vectors_per_layer = 0"),
        ({"states": {}}, "empty mapping"),
        ({"states": {"a": np.full((60, 3), np.nan)}}, "NaN"),
        ({"states": {"a": np.ones((60, 3)), "b": np.ones((59, 3))}}, "different numbers"),
        ({"states": {"a": np.ones((60, 0))}}, "n, d >= 1"),
        ({"states": {"a": torch.ones(60, 3), "b": torch.ones(60, 3, device="meta")}}, "devices"),
    ],
)
def test_bad_input_is_refused(changes, match):
    arguments = {"y": np.arange(60) % 2, "states": {"a": gaussian(60)[0]}} | changes
    y, states = arguments.pop("y"), arguments.pop("states")
    with pytest.raises(ValueError, match=match):
        ConceptDetector(**{"probe": "linear"} | arguments).fit(states, y)


def test_bad_states_at_predict_time():
    X, target = gaussian(60)
    model = ConceptDetector("linear", random_state=0)
    with pytest.raises(NotFittedError):
        model.predict({"a": X})
    model.fit({"a": X, "b": X[:, :3]}, target.index)
    for states, match in (
        ({"a": X}, "'b' is missing"),
        ({"a": X, "b": X}, "6 dimensions, was fitted with 3"),
        (X, "must be a mapping with the layers"),
    ):
        with pytest.raises(ValueError, match=match):
            model.predict(states)
    with pytest.raises(ValueError, match="target = 5"):
        model.directions(5)
    with pytest.raises(ValueError, match="probe = 'pca'"):
        ConceptRegressor("pca").fit(X, X[:, 0])


@pytest.mark.parametrize("probe", ["rfm", "linear"])
def test_numeric_concept(probe):
    X = np.random.default_rng(0).normal(size=(160, 2, 5))
    y = 3 * X[:, 1, 2] + 7
    model = ConceptRegressor(probe, folds=3, random_state=0).fit(X[:120], y[:120])
    assert model.score(X[120:], y[120:]) > 0.95
    assert model.directions()[1][2] > 0.95
    assert model.layer_scores(X).shape == (160, 2)


def test_product_as_a_numeric_concept():
    X = np.random.default_rng(0).normal(size=(300, 4))
    y = 5 + 2 * X[:, 0] * X[:, 1]
    for features, low, high in (("predictions", 0.8, 1), ("projections", -1, 0.1)):
        model = ConceptRegressor("rfm", features=features, folds=2, random_state=0)
        assert low < model.fit(X[:200], y[:200]).score(X[200:], y[200:]) < high
