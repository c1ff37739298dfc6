"""The parts of concept detectors against their definitions, on uneven classes and odd scales."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score

from numerics.concepts import crossfit, rfm_probe
from numerics.concepts.aggregators import SHRINKAGES, fit_aggregate, probabilities
from numerics.concepts.axes import settled, signed
from numerics.concepts.crossfit import Plan, cross_fit, parts
from numerics.concepts.detector import ConceptDetector, ConceptRegressor
from numerics.concepts.probes import PENALTIES, PROBES, RIDGES, fit_probe
from numerics.concepts.states import as_array, by_layer, split_layers
from numerics.concepts.targets import Target, correlation, two_parts
from numerics.rfm.kernels import Laplace
from numerics.rfm.machine import Recipe, fit_rfm


def rng(seed=0):
    return np.random.default_rng(seed)


def uneven(sizes=(9, 16, 35), d=4, seed=0, shift=1.0):
    """Classes of different sizes, columns of different scales, far from 0."""
    generator = rng(seed)
    y = generator.permutation(np.repeat(np.arange(len(sizes)), sizes))
    X = generator.normal(size=(len(y), d))
    X[np.arange(len(y)), y] += shift
    return X * np.arange(1, d + 1) + 20, Target(y.astype(float), len(sizes))


def unit(v):
    return v / np.linalg.norm(v, axis=-1, keepdims=True)


# Signs and axes


@pytest.mark.parametrize("sizes", [(20, 40), (5, 15, 40)])
def test_signs_are_those_of_the_strongest_correlation(sizes):
    for seed in range(20):
        X, target = uneven(sizes, seed=seed, shift=0.1)
        vectors = unit(rng(seed).normal(size=(3, 4)))
        named = [1] if len(sizes) == 2 else range(len(sizes))
        for given, found in zip(vectors, signed(vectors, X, target), strict=True):
            each = [np.corrcoef(X @ given, target.index == c)[0, 1] for c in named]
            assert np.array_equal(found, np.sign(max(each, key=abs)) * given)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_settled_axes_by_their_definition(dtype):
    X, target = uneven((20, 40))
    X = (X + 1000).astype(dtype)
    vectors = np.linalg.qr(rng(1).normal(size=(4, 3)))[0].T
    spectrum = np.array([2.0, 0.7, 0.1])
    y = (target.numbers - target.numbers.mean()) / target.numbers.std()
    p = (X.astype(float) - X.astype(float).mean(0)) @ vectors.T
    B = np.zeros((3, 3))
    for a in range(3):
        for b in range(3):
            moment = np.mean(y * p[:, a] * p[:, b]) / (p[:, a].std() * p[:, b].std())
            weight = np.sqrt(spectrum[a] * spectrum[b]) / spectrum[0]
            B[a, b] = weight * (float(a == b) + moment)
    values, rotation = np.linalg.eigh(B)
    assert values[0] < values[1] < values[2]
    expected = signed(rotation.T[::-1] @ vectors, X, target)
    assert np.allclose(settled(vectors, spectrum, X, target), expected, atol=1e-10)
    assert np.array_equal(
        settled(vectors, np.zeros(3), np.ones_like(X), Target(np.ones(60))).shape, (3, 4)
    )


# Probes


def test_pca_of_uneven_classes():
    X, target = uneven()
    differences = [
        X[i] - X[j] for i in range(60) for j in range(i) if target.index[i] != target.index[j]
    ]
    values, vectors = np.linalg.eigh(np.transpose(differences) @ differences)
    found = fit_probe("pca", X, target, 3, rng())
    axes = settled(found.vectors, values[:-4:-1], X, target)
    assert np.allclose(found.axes, axes, atol=1e-8)
    assert np.array_equal(fit_probe("pca", X, target, 3, rng(), settle=False).axes, found.vectors)
    assert np.allclose(np.abs(found.vectors @ vectors[:, :-4:-1]), np.eye(3), atol=1e-8)
    shifts = unit(
        np.array([X[target.index == c].mean(0) - X[target.index != c].mean(0) for c in range(3)])
    )
    span = found.vectors.T @ found.vectors
    assert np.allclose(found.directions, unit(shifts @ span), atol=1e-10)
    difference = fit_probe("mean_difference", X, target, None, rng())
    projections = (X - X.mean(0)) @ difference.vectors.T
    assert np.allclose(difference.features(X), projections, atol=1e-10)
    assert np.allclose(difference.directions, shifts, atol=1e-12)
    assert np.allclose(difference.mean, X.mean(0), rtol=1e-14)


def test_sizes_of_vectors():
    X, target = uneven((20, 40), d=8)
    assert fit_probe("pca", X, target, None, rng()).vectors.shape == (5, 8)
    assert fit_probe("pca", X, target, 9, rng()).vectors.shape == (8, 8)
    first = fit_probe("pca", X, target, 3, rng())
    assert np.array_equal(first.directions, first.vectors[:1])
    tiny = fit_probe("mean_difference", X * 1e-200, target, None, rng())
    assert np.allclose(np.linalg.norm(tiny.vectors, axis=1), 1, rtol=1e-12)
    wide = (X[:, :, None] * np.ones(30)).reshape(60, -1).astype(np.float32) + 3e4
    assert fit_probe("mean_difference", wide, target, None, rng()).mean.dtype == np.float64
    expected = wide.astype(float).mean(0)
    assert np.allclose(
        fit_probe("mean_difference", wide, target, None, rng()).mean, expected, rtol=1e-12
    )


@pytest.mark.parametrize("kind", ["linear", "logistic"])
@pytest.mark.parametrize("sizes", [(12, 28), (9, 12, 19)])
def test_parameters_are_those_that_are_best_on_the_samples_aside(kind, sizes):
    """Of equal ones the one that shrinks most."""
    chosen = set()
    for seed in range(8):
        X, target = uneven(sizes, seed=seed, shift=0.4)
        kept, aside = two_parts(target, 0.2, rng(seed))
        assert len(kept) > 3 * len(aside)
        grid = RIDGES[::-1] if kind == "linear" else PENALTIES[::-1]
        errors = []
        for value in grid:
            errors.append(1 - area(kind, value, X, target, kept, aside))
        best = grid[int(np.argmin(np.round(errors, 12)))]
        found = fit_probe(kind, X, target, None, rng(seed)).chosen
        assert found == {"ridge" if kind == "linear" else "C": best}
        chosen.add(best)
    assert len(chosen) > 1


def area(kind, value, X, target, kept, aside):
    y = target.index[aside]
    if kind == "linear":
        model = Ridge(alpha=value).fit(X[kept], target.outputs[kept])
        scores = model.predict(X[aside]).reshape(len(aside), -1)
    else:
        model = LogisticRegression(C=value, tol=1e-8, max_iter=5000).fit(
            X[kept] - X[kept].mean(0), target.index[kept]
        )
        scores = model.decision_function(X[aside] - X[kept].mean(0)).reshape(len(aside), -1)
    if scores.shape[1] == 1:
        return roc_auc_score(y, scores[:, 0])
    return np.mean([roc_auc_score(y == c, scores[:, c]) for c in range(scores.shape[1])])


def test_a_class_of_one_leaves_nothing_to_choose():
    X, target = uneven((1, 30))
    assert fit_probe("linear", X, target, None, rng()).chosen == {"ridge": 1e-1}
    machine, chosen = rfm_probe.tuned_machine(X, target, rng())
    assert chosen == {"bandwidth": 10.0, "centring": "none", "round": 8}
    assert len(machine.centres) == 31


@pytest.mark.parametrize("sizes", [(16, 24), (8, 12, 20), ()])
def test_the_machine_is_the_best_of_all_settings_and_rounds(sizes):
    found = set()
    for seed in range(4):
        X, target = uneven(sizes or (20, 20), d=3, seed=seed, shift=0.5)
        X = (X - 20) * 3
        if not sizes:
            target = Target(X[:, 0] + rng(seed).normal(size=40))
        kept, aside = two_parts(target, 0.2, rng(seed))
        judge = target.rows(aside)
        best = None
        for bandwidth in (10.0, 1.0, 100.0):
            for centring in ("none", "per_output"):
                recipe = Recipe(Laplace(bandwidth), ridge=1e-3, rounds=8, centring=centring)
                machine = fit_rfm(
                    torch.tensor(X[kept]),
                    torch.tensor(target.rows(kept).outputs),
                    recipe,
                    validation=(torch.tensor(X[aside]), torch.tensor(judge.outputs)),
                    score=lambda p, _, judge=judge: judge.error(p.numpy()),
                )
                error = machine.history[machine.chosen].error
                if best is None or error < best[0]:
                    best = error, machine, (bandwidth, centring, machine.chosen)
        machine, chosen = rfm_probe.tuned_machine(X, target, rng(seed))
        assert tuple(chosen.values()) == best[2]
        assert torch.equal(machine.alpha, best[1].alpha)
        found.add(best[2])
    assert len(found) > 2


def test_many_samples_hold_a_smaller_contest(monkeypatch):
    X, target = uneven((20, 40))
    monkeypatch.setattr(rfm_probe, "CONTEST", 30)
    fits, plain = [], rfm_probe._fit
    monkeypatch.setattr(rfm_probe, "_fit", lambda *a: fits.append(a[2:]) or plain(*a))
    machine, _ = rfm_probe.tuned_machine(X, target, rng())
    kept, aside = two_parts(target, 0.2, rng())
    contest, (parted, recipe) = fits[:-1], fits[-1]
    assert len(contest) == 6
    for (some, judges), setting in contest:
        assert (len(some), len(judges), setting.patience) == (20, 10, 2)
        assert set(some) <= set(kept)
        assert set(judges) <= set(aside)
    assert np.array_equal(parted[0], kept)
    assert np.array_equal(parted[1], aside)
    assert recipe.patience == 4
    assert len(machine.centres) == len(kept)


def test_single_precision_gives_way_to_double(monkeypatch):
    X, target = uneven((20, 40))
    plain = rfm_probe._fit_in

    def singular(dtype, *arguments):
        if dtype == torch.float32:
            raise np.linalg.LinAlgError("singular")
        return plain(dtype, *arguments)

    for states, dtype in ((X, torch.float64), (X.astype(np.float32), torch.float32)):
        machine, _ = rfm_probe.tuned_machine(states, target, rng())
        assert machine.alpha.dtype == dtype
    monkeypatch.setattr(rfm_probe, "_fit_in", singular)
    machine, _ = rfm_probe.tuned_machine(X.astype(np.float32), target, rng())
    assert machine.alpha.dtype == torch.float64


# Cross-fitting


def test_folds_hold_each_class_in_its_proportion_and_are_drawn():
    _, target = uneven((20, 40))
    found = [list(parts(target, Plan("pca", None, 5, seed))) for seed in (0, 0, 1)]
    for _, test in found[0]:
        assert np.bincount(target.index[test]).tolist() == [4, 8]
    same = [np.array_equal(a[1], b[1]) for a, b in zip(found[0], found[1], strict=True)]
    other = [np.array_equal(a[1], b[1]) for a, b in zip(found[0], found[2], strict=True)]
    assert all(same)
    assert not any(other)
    numeric = list(parts(Target(np.arange(60.0)), Plan("linear", None, 5, 0)))
    assert max(np.diff(numeric[0][1])) > 1


def test_every_fit_has_a_generator_of_its_own(monkeypatch):
    X, target = uneven((20, 40))
    states, plain = [], crossfit.fit_probe

    def spied(kind, X, target, vectors, generator, **options):
        states.append(generator.bit_generator.state["state"]["state"])
        return plain(kind, X, target, vectors, generator, **options)

    monkeypatch.setattr(crossfit, "fit_probe", spied)
    for seed in (0, 1):
        cross_fit({"a": X, "b": X}, target, Plan("pca", None, 2, seed))
    assert len(states) == len(set(states)) == 12


def test_features_are_those_of_the_other_folds_probe():
    """A fold may span less than all samples do: its missing features are 0."""
    X, target = uneven((3, 3), d=10)
    plan = Plan("pca", 6, 3, 0)
    found = cross_fit({"a": X[:, ::-1].copy(), "b": X}, target, plan)
    assert list(found.features) == ["a", "b"]
    for train, test in parts(target, plan):
        probe = fit_probe("pca", X[train], target.rows(train), 6, rng())
        assert probe.width == 5
        assert np.allclose(found.features["b"][test, :5], probe.features(X[test]))
        assert not found.features["b"][test, 5:].any()
    assert found.probes["b"].width == 6
    full = fit_probe("pca", X, target, 6, rng())
    assert np.allclose(found.probes["b"].axes, full.axes)


# Aggregators


@pytest.mark.parametrize("sizes", [(12, 28), (9, 12, 19)])
def test_linear_aggregator_leaves_one_out(sizes):
    chosen = set()
    for seed, shift in enumerate((0.0, 0.3, 1.0, 3.0)):
        X, target = uneven(sizes, seed=seed, shift=shift)
        X = np.c_[X, np.full(40, 7.0)]
        z = (X - X.mean(0)) / np.where(X.std(0) > 0, X.std(0), 1)
        errors = [left_out(z, target.outputs, 40 * shrinkage) for shrinkage in SHRINKAGES]
        best = SHRINKAGES[int(np.argmin(errors))]
        peer = Ridge(alpha=40 * best).fit(z, target.outputs)
        fresh = X + rng(seed).normal(size=X.shape)
        expected = peer.predict((fresh - X.mean(0)) / np.where(X.std(0) > 0, X.std(0), 1))
        found = fit_aggregate("linear", X, target, rng()).scores(fresh)
        assert np.allclose(found, expected.reshape(found.shape), atol=1e-8)
        chosen.add(best)
    assert len(chosen) > 1


def left_out(z, outputs, alpha):
    total = 0.0
    for i in range(len(z)):
        rest = np.arange(len(z)) != i
        origin, mean = z[rest].mean(0), outputs[rest].mean(0)
        centred = z[rest] - origin
        moment = centred.T @ centred + alpha * np.eye(z.shape[1])
        slopes = np.linalg.solve(moment, centred.T @ (outputs[rest] - mean))
        total += np.sum((mean + (z[i] - origin) @ slopes - outputs[i]) ** 2)
    return total


def test_leaving_one_out_of_few():
    """Here it matters that the mean is left out, too."""
    for seed in range(40):
        X, target = uneven((3, 4), d=2, seed=seed)
        z = (X - X.mean(0)) / X.std(0)
        errors = [left_out(z, target.outputs, 7 * shrinkage) for shrinkage in SHRINKAGES]
        peer = Ridge(alpha=7 * SHRINKAGES[int(np.argmin(errors))]).fit(z, target.outputs[:, 0])
        found = fit_aggregate("linear", X, target, rng()).scores(X)[:, 0]
        assert np.allclose(found, peer.predict(z), atol=1e-8)


@pytest.mark.parametrize("sizes", [(12, 28), (9, 12, 19)])
def test_logistic_aggregator_is_scikit_learns(sizes):
    X, target = uneven(sizes)
    z = (X - X.mean(0)) / X.std(0)
    peer = LogisticRegression(C=1.0, tol=1e-8, max_iter=5000).fit(z, target.index)
    found = fit_aggregate("logistic", X, target, rng()).scores(X)
    expected = peer.decision_function(z).reshape(found.shape)
    assert np.allclose(found, expected, atol=2e-3)
    if len(sizes) == 3:
        assert np.allclose(probabilities("logistic", found), softmax(found, axis=1))


def test_probabilities_by_their_definition():
    scores = np.array([[-3.0], [-0.4], [0.0], [0.5], [2.0]])
    assert np.allclose(probabilities("linear", scores)[:, 1], [0, 0.3, 0.5, 0.75, 1])
    assert np.allclose(probabilities("logistic", scores)[:, 1], expit(scores[:, 0]))
    assert np.allclose(probabilities("rfm", scores).sum(1), 1)
    several = np.array([[2 / 3, -1 / 3, -1 / 3], [0.1, 0.0, -0.1], [-1.0, 3.0, 0.0]])
    expected = [[1, 0, 0], [1 / 3 + 0.1, 1 / 3, 1 / 3 - 0.1], [0, 1, 0]]
    assert np.allclose(probabilities("linear", several), expected)


# Targets


def test_targets_by_their_definition():
    several = Target(np.array([0.0, 2.0, 2.0, 1.0]), 3)
    assert np.allclose(several.outputs, np.eye(3)[[0, 2, 2, 1]] - 1 / 3)
    assert several.rows(np.array([1, 2])).outputs.shape == (2, 3)
    assert Target(np.array([0.0, 1.0, 0.0]), 2).outputs.tolist() == [[-1], [1], [-1]]
    assert np.allclose(Target(np.array([5.0, 7.0, 5.0, 7.0])).outputs, [[-1], [1], [-1], [1]])
    assert not Target(np.full(3, 2.0)).outputs.any()
    numbers = Target(np.array([1.0, 2.0, 4.0]))
    assert numbers.error(-numbers.numbers[:, None]) == pytest.approx(2)
    assert correlation(np.ones(3), numbers.numbers) == 0
    predictions = rng().normal(size=(4, 3))
    areas = [roc_auc_score(several.index == c, predictions[:, c]) for c in range(3)]
    assert several.error(predictions) == pytest.approx(1 - np.mean(areas))


def test_parts_are_drawn_class_by_class():
    target = Target(np.repeat([0.0, 1.0, 2.0], [1, 2, 20]), 3)
    kept, aside = two_parts(target, 0.2, rng())
    assert sorted([*kept, *aside]) == list(range(23))
    assert np.bincount(target.index[aside], minlength=3).tolist() == [1, 1, 4]
    assert not np.array_equal(aside, two_parts(target, 0.2, rng(1))[1])
    assert two_parts(Target(np.arange(10.0)), 0.2, rng())[1].shape == (2,)


# States


def test_states_keep_their_precision_and_order():
    stack = rng().normal(size=(4, 3, 2)).astype(np.float32)
    layers = split_layers(as_array("states", stack))
    assert all(np.array_equal(layers[i], stack[:, i]) for i in range(3))
    for given, kept in ((np.float32, "f4"), (np.float16, "f4"), (np.int8, "f8"), (bool, "f8")):
        assert by_layer({"a": np.ones((3, 2), given)})["a"].dtype == np.dtype(kept)
    learned = torch.ones(3, 2, requires_grad=True)
    assert by_layer({"b": learned, "a": learned}, ["a"]).keys() == {"a"}


@pytest.mark.parametrize(
    ("states", "error", "match"),
    [
        ({1.5: np.ones((60, 2))}, TypeError, "layer 1.5 must be named by a str or an int"),
        ({True: np.ones((60, 2))}, TypeError, "layer True must be named"),
        ({"a": np.full((60, 2), "x")}, TypeError, "has dtype <U1, must be real numbers"),
        ({"a": torch.ones(60, 2).to_sparse()}, TypeError, "layout torch.sparse_coo, must be dense"),
        ({"a": torch.ones(60, 2, device="meta")}, ValueError, "must have values"),
        (np.ones((60, 0, 2)), ValueError, "each >= 1"),
        ({"a": np.ma.masked_greater(np.arange(120.0).reshape(60, 2), 50)}, ValueError, "masked"),
        ({"a": np.diag([1e141, *np.ones(59)])}, ValueError, r"states\['a'\] reaches 1e\+141"),
        (np.diag([1e-150, *np.zeros(59)]), ValueError, r"states\[0\] varies by 1e-150 only"),
    ],
)
def test_states_that_are_none_are_refused(states, error, match):
    with pytest.raises(error, match=match):
        ConceptDetector("linear").fit(states, np.arange(60) % 2)


@pytest.mark.parametrize("probe", ["linear", "logistic", "mean_difference", "pca"])
@pytest.mark.parametrize("scale", [1e-100, 1e100])
def test_scales_far_from_one(probe, scale):
    X, target = uneven((20, 40), shift=4.0)
    model = ConceptDetector(probe, folds=2, random_state=0).fit(X * scale, target.index)
    assert model.score(X * scale, target.index) > 0.9
    with pytest.raises(ValueError, match="must be at most 1e"):
        model.predict(X * 1e141)


def test_float32_machines_refuse_what_they_cannot_hold():
    X, target = uneven((20, 40))
    model = ConceptDetector("rfm", features="predictions", folds=2, random_state=0)
    model.fit(X.astype(np.float32), target.index)
    with pytest.raises(ValueError, match=r"beyond the range of torch\.float32"):
        model.predict(X * 1e100)


# Estimators


def test_scores_predictions_and_directions_of_three_classes():
    X, target = uneven(shift=3.0)
    y = np.array(["c", "a", "b"])[target.index]
    states = {"low": X, "high": X[:, ::-1].copy()}
    model = ConceptDetector("mean_difference", None, folds=2, random_state=0).fit(states, y)
    scores = model.decision_function(states)
    assert np.allclose(scores, model.layer_scores(states).mean(axis=1))
    assert np.array_equal(model.predict(states), np.array(["a", "b", "c"])[scores.argmax(axis=1)])
    assert np.array_equal(model.predict_proba(states).argmax(axis=1), scores.argmax(axis=1))
    for i, name in enumerate("abc"):
        shift = unit(X[y == name].mean(0) - X[y != name].mean(0))
        given = model.directions(name)
        assert np.allclose(given["low"], shift)
        given["low"][:] = 0
        assert np.allclose(model.probes_["low"].directions[i], shift)
    assert {a.kind for a in model.aggregates_.values()} == {"linear"}
    for wrong in (None, "d", ["a", "b"], np.arange(2)):
        with pytest.raises(ValueError, match="must be one of the classes"):
            model.directions(wrong)


@pytest.mark.parametrize("kind", PROBES)
def test_a_class_s_direction_leads_to_it(kind):
    """Also where its vector goes against another class more than with its own."""
    against = 0
    for seed in range(5):
        X, target = uneven((6, 12, 18), seed=seed)
        probe = fit_probe(kind, X, target, None, rng())
        for c, v in enumerate(probe.directions):
            each = [np.corrcoef(X @ v, target.index == e)[0, 1] for e in range(3)]
            assert each[c] > 0
            against += np.abs(each).argmax() != c
    assert against


def test_the_second_of_two_classes_has_the_positive_scores():
    X, target = uneven((20, 40), shift=0.5)
    model = ConceptDetector("linear", folds=2, random_state=0).fit(X, target.index)
    assert np.array_equal(model.predict(X), (model.decision_function(X) > 0).astype(int))
    assert np.array_equal(model.directions(1)[0], model.vectors_[0][0])
    assert model.n_features_in_ == 4
    model.fit({0: X}, target.index)
    assert not hasattr(model, "n_features_in_")
    assert model.predict(X).shape == (60,)
    others = [ConceptDetector("linear", random_state=s)._plan().seed for s in (0, 1)]
    assert len(set(others)) == 2
    model.fit(X[:, None, :].repeat(2, axis=1), target.index)
    for wrong, match in (
        (X, r"must be of shape \(n, 2, d\)"),
        (X[:, None], "1 layers, was fitted"),
    ):
        with pytest.raises(ValueError, match=match):
            model.predict(wrong)


@pytest.mark.parametrize("aggregator", ["linear", None])
def test_numbers_in_their_own_units(aggregator):
    X, _ = uneven((20, 40))
    y = 1e6 + 50 * X[:, 1] + rng().normal(size=60)
    model = ConceptRegressor("linear", aggregator, folds=3, random_state=0)
    model.fit(np.stack([X, X], axis=1), y)
    stack = np.stack([X, X], axis=1)
    assert np.abs(model.predict(stack) - y).max() < 20
    assert np.abs(model.layer_scores(stack) - y[:, None]).max() < 20
    model.directions()[0][:] = 0
    assert np.linalg.norm(model.directions()[0]) == pytest.approx(1)


@pytest.mark.parametrize(
    ("y", "match"),
    [
        (np.arange(60.0) * 1e300, r"y reaches 5.9e\+301"),
        (np.arange(60.0) * 1e-200, "y varies by 5.9e-199 only"),
        (np.full(60, np.nan), "NaN"),
    ],
)
def test_numbers_that_cannot_be_squared_are_refused(y, match):
    with pytest.raises(ValueError, match=match):
        ConceptRegressor("linear").fit({"a": uneven((20, 40))[0]}, y)


def test_fewer_numbers_than_folds():
    with pytest.raises(ValueError, match="at least folds = 5 samples, not 4 samples"):
        ConceptRegressor("linear").fit({"a": np.eye(4)}, np.arange(4.0))
