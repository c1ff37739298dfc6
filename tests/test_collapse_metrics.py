"""NC1 and NC2 against their definition with explicit covariances, on features and on layers."""

import copy
import tracemalloc

import numpy as np
import pytest
import torch
from torch import nn

from numerics.alignment.networks import mlp
from numerics.collapse import moments as moments_module
from numerics.collapse.layers import collapse_of_layers
from numerics.collapse.linearised import linearised_deep_rfm
from numerics.collapse.metrics import class_index, collapse_of, nc1, nc2
from numerics.collapse.moments import ClassMoments
from numerics.collapse.singular import (
    singular_collapse,
    singular_map,
    train_and_measure_collapse,
)


def sample(n=60, d=7, classes=4, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), rng.integers(classes, size=n - classes)])
    return rng.standard_normal((n, d)) * scale + 2 * rng.standard_normal((classes, d))[
        labels
    ], labels


def covariances(X, labels):
    """Σ_W and Σ_B as matrices, and the centred class means."""
    means = np.array([X[labels == c].mean(axis=0) for c in np.unique(labels)])
    index = np.unique(labels, return_inverse=True)[1]
    within = sum(np.outer(x - means[c], x - means[c]) for x, c in zip(X, index, strict=True))
    centred = means - means.mean(axis=0)
    between = sum(np.outer(m, m) for m in centred)
    return within / len(X), between / len(means), centred


def nc2_by_definition(centred):
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    K = len(unit)
    frame = (1 + 1 / (K - 1)) * np.eye(K) - np.ones((K, K)) / (K - 1)
    return np.mean((unit @ unit.T - frame) ** 2)


@pytest.mark.parametrize("block", [1, 20, 10**6])
@pytest.mark.parametrize("classes", [2, 4])
def test_the_metrics_are_their_definition(monkeypatch, block, classes):
    monkeypatch.setattr(moments_module, "BLOCK", block)
    X, labels = sample(classes=classes)
    within, between, centred = covariances(X, labels)
    wanted = np.trace(within) / np.trace(between)
    assert nc1(X, labels) == pytest.approx(wanted, rel=1e-13)
    assert nc1(X, labels, normalisation="released") == pytest.approx(wanted / classes, rel=1e-13)
    assert nc2(X, labels) == pytest.approx(nc2_by_definition(centred), rel=1e-12, abs=1e-30)
    found = collapse_of(X, labels)
    assert found.within == pytest.approx(np.trace(within), rel=1e-13)
    assert found.between == pytest.approx(np.trace(between), rel=1e-13)
    assert (found.nc1, found.nc2) == (nc1(X, labels), nc2(X, labels))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_arrays_tensors_lists_and_labels_of_any_kind_agree(dtype):
    X, labels = sample(scale=10)
    X = X.astype(dtype)
    names = np.array(["d", "b", "a", "c"])[labels]
    wanted = nc1(X.astype(np.float64), labels)
    for features in (X, torch.from_numpy(X), X.tolist(), np.asfortranarray(X)):
        for given in (labels, labels.tolist(), torch.from_numpy(labels), names, names.tolist()):
            assert nc1(features, given) == pytest.approx(wanted, rel=1e-13)


def test_nothing_changes_with_shift_scale_and_rotation():
    X, labels = sample()
    Q, _ = np.linalg.qr(np.random.default_rng(1).standard_normal((7, 7)))
    for moved in (X + 1e7, 1e-9 * X, X @ Q):
        assert nc1(moved, labels) == pytest.approx(nc1(X, labels), rel=1e-7)
        assert nc2(moved, labels) == pytest.approx(nc2(X, labels), rel=1e-7)


def test_collapsed_features_and_the_simplex_frame_are_zero():
    X, labels = np.eye(5)[np.arange(20) % 5] + 3.0, np.arange(20) % 5
    assert nc1(X, labels) == 0
    assert nc2(X, labels) < 1e-30
    assert nc2(X @ np.diag([1, 1, 1, 1, 4.0]), labels) > 1e-3


@pytest.mark.parametrize(
    ("features", "labels", "match"),
    [
        (np.ones((4, 2)), [0, 0, 1, 1], "all 2 class means coincide: NC1 is infinite"),
        (np.ones((4, 2)), [0, 0, 0, 0], "labels hold 1 class, .*0.*; there must be at least 2"),
        (np.ones((4, 2)), [0, 1, 0], r"labels have shape \(3,\), features have 4 samples"),
        (np.ones((4, 2)), np.eye(4), r"labels have shape \(4, 4\)"),
        (np.ones((4, 2)), [0, 1, np.nan, 1], "labels hold NaN"),
        (np.full((4, 2), np.nan), [0, 1, 0, 1], "features hold NaN"),
        (np.full((4, 2), 1e200), [0, 1, 0, 1], "features are too large"),
        (np.ones(4), [0, 1, 0, 1], r"features have shape \(4,\), must be \(n, d\)"),
        (np.ones((0, 4)), [], r"features have shape \(0, 4\)"),
    ],
)
def test_bad_features_are_refused_by_name(features, labels, match):
    with pytest.raises(ValueError, match=match):
        nc1(features, labels)


def test_coinciding_means_are_recognised_up_to_rounding():
    X, _ = sample(n=40)
    twice, labels = np.concatenate([X, X[::-1]]), np.repeat([0, 1], 40)
    with pytest.raises(ValueError, match="coincide"):
        nc1(twice + 5.0, labels)
    found = collapse_of(twice + 5.0, labels)
    assert (found.nc1, found.nc2) == (None, None)
    line, three = np.array([[-1.0, 0], [0, 0], [1, 0]]) + 7.0, [0, 1, 2]
    assert nc1(line, three) == 0
    with pytest.raises(ValueError, match=r"coincides with the mean of all .* NC2 is undefined"):
        nc2(line, three)


def test_classes_without_samples_and_strange_labels_are_refused():
    X, labels = sample()
    assert nc1(X, labels, classes=[3, 2, 1, 0]) == nc1(X, labels)
    with pytest.raises(ValueError, match="class 4 has no sample"):
        nc1(X, labels, classes=range(5))
    with pytest.raises(ValueError, match="labels hold 3, which is not among classes"):
        nc2(X, labels, classes=range(3))
    with pytest.raises(ValueError, match="normalisation = 'mean' must be one of"):
        nc1(X, labels, normalisation="mean")
    with pytest.raises(TypeError, match="features have dtype <U1"):
        nc1(np.array([["a"], ["b"]]), [0, 1])


def test_classes_given_twice_and_complex_features_are_refused():
    X, labels = sample()
    with pytest.raises(ValueError, match="must be different, 1 is there twice"):
        nc1(X, labels, classes=[0, 1, 1, 2, 3])
    with pytest.raises(TypeError, match=r"features have dtype torch\.complex128"):
        nc1(torch.from_numpy(X) + 1j, labels)
    assert nc1(X, torch.from_numpy(labels).bfloat16()) == nc1(X, labels)


def test_no_copy_of_the_features_is_made():
    X = np.random.default_rng(0).standard_normal((3000, 2000))
    tracemalloc.start()
    nc1(X, np.arange(3000) % 10)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < X.nbytes / 4  # NumPy's part; the benchmark measures all of the process


def test_moments_are_those_of_all_blocks(monkeypatch):
    monkeypatch.setattr(moments_module, "BLOCK", 30)
    X, labels = sample(d=3)
    sizes, add = [], ClassMoments._add
    monkeypatch.setattr(
        ClassMoments, "_add", lambda self, x, i: (sizes.append(len(x)), add(self, x, i))[1]
    )
    for classes, rows in ((5, 10), (20, 20)):  # as many rows as classes at least
        sizes.clear()
        found = ClassMoments(classes)
        found.add(torch.from_numpy(X), torch.from_numpy(labels))
        assert sizes == [rows] * (60 // rows)
        assert found.size == pytest.approx(np.sum(X**2), rel=1e-13)
        assert found.counts.tolist() == np.bincount(labels, minlength=classes).tolist()
        assert (found.means[4:] == 0).all()
    with pytest.raises(ValueError, match="features have dimension 2, before they had 3"):
        found.add(torch.ones(4, 2), torch.arange(4))


def test_means_apart_by_more_than_rounding_are_apart():
    close = np.array([[1.0, 1e-11], [1.0, -1e-11]])
    assert nc1(close, [0, 1]) == 0
    assert collapse_of(close, [0, 1]).between == pytest.approx(1e-22)


def test_classes_keep_their_given_order():
    assert class_index(["b", "a", "b"], 3, ["b", "a"])[0].tolist() == [0, 1, 0]
    assert class_index(["b", "a", "b"], 3)[0].tolist() == [1, 0, 1]


# Layers of networks


class Branches(nn.Module):
    """A layer used twice, an activation in place, an image, and a module that returns a tuple."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.act = nn.ReLU(inplace=True)
        self.twice = nn.Linear(8, 8)
        self.conv = nn.Conv1d(1, 2, 3)
        self.lstm = nn.LSTM(4, 3, batch_first=True)
        self.unused = nn.Linear(2, 2)

    def forward(self, x):
        h = self.act(self.first(x))
        h = self.twice(self.twice(h))
        image = self.conv(h[:, None])
        return self.lstm(image.reshape(len(x), -1, 4))[0].flatten(1)


def test_every_layer_is_measured_as_its_features_are():
    torch.manual_seed(0)
    model = Branches().double()
    X, labels = sample(d=6)
    x = torch.from_numpy(X)
    found = collapse_of_layers(model, X, labels, batch_size=17)
    first = model.first(x)
    once = model.twice(first.relu())
    wanted = {
        "first": first,
        "act": first.relu(),
        "twice": once,
        "twice, call 2": model.twice(once),
        "conv": model.conv(model.twice(once)[:, None]).flatten(1),
    }
    assert list(found) == list(wanted)
    for name, features in wanted.items():
        one = collapse_of(features, labels)
        assert found[name].nc1 == pytest.approx(one.nc1, rel=1e-11)
        assert found[name].nc2 == pytest.approx(one.nc2, rel=1e-11)
    whole = collapse_of_layers(model, X, labels, layers=[""])
    assert whole[""].nc1 == pytest.approx(nc1(model(x).detach(), labels), rel=1e-11)


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.Linear(7, 5), nn.BatchNorm1d(5), nn.Dropout(0.5), nn.Linear(5, 3))
    model.double().eval()
    model[3].train()
    model[0].weight.grad = torch.ones_like(model[0].weight)
    before, modes = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()]
    X, labels = sample()
    collapse_of_layers(model, X, labels)
    model[3].register_forward_hook(lambda *_: None)
    with torch.no_grad():
        model[3].weight.fill_(1e300)
    with pytest.raises(ValueError, match="layer '3': features hold NaN"):
        collapse_of_layers(model, X * 1e10, labels)
    assert [m.training for m in model.modules()] == modes
    assert (model[0].weight.grad == 1).all()
    assert all(len(m._forward_hooks) == (m is model[3]) for m in model.modules())
    for name in ("0.weight", "1.running_mean", "1.num_batches_tracked"):
        assert torch.equal(model.state_dict()[name], before[name])


def test_layers_whose_weights_are_made_from_others_are_layers():
    X, labels = sample()
    model = mlp((7, 5, 4), generator=0)
    nn.utils.parametrizations.weight_norm(model[0])
    assert list(collapse_of_layers(model, X, labels)) == ["0", "1", "2"]
    found = singular_collapse(model, X, labels)
    assert list(found) == ["0", "2"]
    assert found["0"].linear.nc1 == pytest.approx(found["0"].singular.nc1, rel=1e-10)


def test_models_that_cannot_be_measured_are_refused():
    X, labels = sample()
    model = mlp((7, 4, 3), generator=0)
    cases = (
        (nn.Sequential(nn.Linear(7, 3), nn.BatchNorm1d(3)).double(), {}, "samples mix"),
        (nn.Sequential(nn.Linear(7, 3), nn.Dropout(0.5)).double(), {}, "drops out at random"),
        (model, {"layers": ["5"]}, "no layer '5' of type Module"),
        (model, {"layers": []}, "no layer of type Module"),
        (Branches().double(), {"layers": ["unused"]}, "are not called in the forward pass"),
        (Branches().double(), {"layers": ["lstm"]}, "layer 'lstm' returns tuple"),
    )
    for module, options, match in cases:
        width = 6 if isinstance(module, Branches) else 7
        with pytest.raises(ValueError, match=match):
            collapse_of_layers(module, X[:, :width], labels, **options)
    with pytest.raises(ValueError, match="labels hold 1 class"):
        collapse_of_layers(model, X, np.zeros(60))
    with pytest.raises(TypeError, match="must be a sequence of names"):
        collapse_of_layers(model, X, labels, layers="0")
    with pytest.raises(TypeError, match=r"must be a torch\.nn\.Module"):
        collapse_of_layers(X, X, labels)
    with pytest.raises(TypeError, match=r"inputs have dtype torch\.float32"):
        collapse_of_layers(model, torch.ones(60, 7), labels)


class Table(nn.Module):
    """A layer that gives out a table, and one that only short chunks call."""

    def __init__(self):
        super().__init__()
        self.linear, self.short = nn.Linear(7, 4), nn.Linear(4, 4)
        self.table = nn.Embedding(4, 4)

    def forward(self, x):
        h = self.linear(x) + self.table(torch.arange(4)).sum(0)
        return self.short(h) if len(x) == 4 else h


def test_layers_seen_for_some_of_the_samples_only_are_not_measured():
    X, labels = sample()
    model = Table().double()
    assert list(collapse_of_layers(model, X, labels, batch_size=8)) == ["linear"]
    with pytest.raises(ValueError, match=r"layers \['short'\] are called for some of the samples"):
        collapse_of_layers(model, X, labels, ["short"], batch_size=8)


def test_linear_layers_without_a_row_for_each_sample_are_refused_by_name():
    X, labels = sample()

    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(1, 2)

        def forward(self, x):
            return self.linear(x.reshape(-1, 1)).reshape(len(x), -1)

    with pytest.raises(ValueError, match=r"layer 'linear' works on .*\(420, 1\), must have a row"):
        singular_collapse(Tokens().double(), X, labels)


# The singular decomposition


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_taken_apart(dtype):
    X, labels = sample()
    model = mlp((7, 5), generator=0).to(dtype)
    found = singular_collapse(model, X, labels)["0"]
    assert found.singular.nc1 == pytest.approx(found.linear.nc1, rel=0.05)


@pytest.mark.parametrize("shape", [(4, 7), (7, 7), (12, 7)])
def test_only_the_singular_part_and_the_nonlinearity_change_the_variability(shape):
    X, labels = sample()
    W = torch.from_numpy(np.random.default_rng(1).standard_normal(shape))
    rotated, out = torch.from_numpy(X) @ singular_map(W).T, torch.from_numpy(X) @ W.T
    assert rotated.shape[1] == min(shape)
    assert nc1(rotated, labels) == pytest.approx(nc1(out, labels), rel=1e-12)
    assert nc2(rotated, labels) == pytest.approx(nc2(out, labels), rel=1e-10)
    assert nc1(out, labels) != pytest.approx(nc1(X, labels), rel=1e-4)


def test_a_network_is_taken_apart_at_its_linear_layers():
    X, labels = sample()
    model = mlp((7, 9, 4), bias=True, generator=0)
    found = singular_collapse(model, X, labels, batch_size=13)
    assert list(found) == ["0", "2"]
    h = torch.from_numpy(X)
    for name, layer in (("0", model[0]), ("2", model[2])):
        z = layer(h).detach()
        values = (h, h @ singular_map(layer.weight).T, z, z.relu())
        for part, features in zip(
            ("features", "singular", "linear", "nonlinear"), values, strict=True
        ):
            assert getattr(found[name], part).nc1 == pytest.approx(nc1(features, labels), rel=1e-10)
        assert found[name].singular.nc1 == pytest.approx(found[name].linear.nc1, rel=1e-10)
        h = z.relu()
    with pytest.raises(ValueError, match="no layer '1' of type Linear"):
        singular_collapse(model, X, labels, ["1"])
    with pytest.raises(ValueError, match=r"layers \['unused'\] are not called"):
        singular_collapse(Branches().double(), X[:, :6], labels, ["unused"])
    layer = nn.Linear(7, 7).double()
    with pytest.raises(ValueError, match="layer '0' is called twice"):
        singular_collapse(nn.Sequential(layer, layer), X, labels)


def test_training_collapses_what_comes_out():
    X, labels = sample(n=120)
    model = mlp((7, 32, 32, 4), generator=0)
    draws = torch.Generator().manual_seed(1)
    records = train_and_measure_collapse(
        model, X, labels, lr=0.1, epochs=40, batch_size=30, record_at=(0, 160),
        layers=["2"], generator=draws,
    )  # fmt: skip
    first, last = records
    assert (first.step, last.step) == (0, 160)
    assert last.loss < first.loss / 3
    assert list(last.layers) == ["2"]
    assert last.layers["2"].nonlinear.nc1 < first.layers["2"].nonlinear.nc1 / 2


def test_the_loss_and_the_activation_are_those_asked_for():
    X, labels = sample()
    model = mlp((7, 9, 4), "tanh", generator=0)
    start = copy.deepcopy(model)
    first, last = train_and_measure_collapse(
        model, X, labels, lr=0.3, epochs=1, record_at=(0, 1), layers=["0"],
        activation="tanh", generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    out = start(torch.from_numpy(X))
    loss = ((out - torch.eye(4, dtype=torch.float64)[labels]) ** 2).sum(dim=1).mean() / 2
    assert first.loss == pytest.approx(loss.item(), rel=1e-12)
    loss.backward()
    for before, after in zip(start.parameters(), model.parameters(), strict=True):
        assert torch.allclose(after, before - 0.3 * before.grad, rtol=1e-10, atol=1e-14)
    for record, net in ((first, start), (last, model)):
        z = net[0](torch.from_numpy(X)).detach()
        assert record.layers["0"].nonlinear.nc1 == pytest.approx(nc1(z.tanh(), labels), rel=1e-10)


# The linearised recursion


def test_the_linearised_run_reaches_its_fixed_point():
    X, labels = np.random.default_rng(0).standard_normal((12, 5)), np.arange(12) % 3
    run = linearised_deep_rfm(X, labels, kernel_ridge=1.0, feature_ridge=4.0, scale=2.0, depth=60)
    G, Y = run.gram, np.eye(3)[labels]
    P = G @ np.linalg.inv(G + np.eye(12))
    np.testing.assert_allclose(2 * P @ Y @ Y.T @ P + 4 * np.eye(12), G, atol=1e-10)
    assert run.sines[0] > 0.1 > 1e-6 > run.sines[-1]
    assert run.nc2[-1] < 1e-12
    assert run.nc1[-1] < run.nc1[0]
    for wrong, match in ((X * np.nan, "features hold NaN"), (X[:, 0], r"shape \(12,\)")):
        with pytest.raises(ValueError, match=match):
            linearised_deep_rfm(wrong, labels, kernel_ridge=1.0, feature_ridge=1.0, depth=2)
    for options, match in (({"kernel_ridge": 0.0}, "kernel_ridge = 0.0"), ({"depth": 0}, "depth")):
        good = {"kernel_ridge": 1.0, "feature_ridge": 1.0, "depth": 2}
        with pytest.raises(ValueError, match=match):
            linearised_deep_rfm(X, labels, **(good | options))


def test_every_layer_of_the_linearised_run_is_its_definition():
    X, labels = np.random.default_rng(0).standard_normal((12, 5)), np.arange(12) % 3
    run = linearised_deep_rfm(X, labels, kernel_ridge=1.0, feature_ridge=0.5, scale=2.0, depth=3)
    G, Y = X @ X.T, np.eye(3)[labels]
    for layer in range(4):
        values, vectors = np.linalg.eigh(G)
        within, between, centred = covariances(vectors * np.sqrt(values.clip(0)), labels)
        cosines = np.linalg.svd((Y / 2).T @ vectors[:, -3:], compute_uv=False)
        assert run.sines[layer] == pytest.approx(np.sqrt(1 - cosines.min() ** 2), rel=1e-8)
        assert run.nc1[layer] == pytest.approx(np.trace(within) / np.trace(between), rel=1e-10)
        assert run.nc2[layer] == pytest.approx(nc2_by_definition(centred), rel=1e-8)
        P = G @ np.linalg.inv(G + np.eye(12))
        G = 2 * P @ Y @ Y.T @ P + 0.5 * np.eye(12)
