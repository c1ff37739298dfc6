"""Convolutional recursive feature machines: rounds, selection, estimators, the deep version."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from numerics.convolution.cntk import ConvolutionalNTK
from numerics.convolution.conv_estimators import ConvRFMClassifier, ConvRFMRegressor
from numerics.convolution.conv_rfm import ConvRecipe, fit_conv_rfm
from numerics.convolution.deep_conv_rfm import ConvRFMTransformer, random_convolution
from numerics.convolution.patch_gradients import patch_agop_of_kernel_machine
from numerics.convolution.patches import Patches, normalise_images
from numerics.rfm.learned_metric import metric_from_agop

DOUBLE = torch.float64


def sample(n=40, seed=0, size=6, channels=1, signal=2.0):
    """Noise; class 1 shows a cross somewhere."""
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(n, channels, size, size)), np.arange(n) % 2
    for i in np.flatnonzero(y):
        r, c = rng.integers(1, size - 1, 2)
        X[i, 0, r, c - 1 : c + 2] += signal
        X[i, 0, r - 1 : r + 2, c] += signal
    return X, y


def tensors(n=20, seed=0):
    X, y = sample(n, seed)
    return torch.from_numpy(X), torch.from_numpy(2.0 * y - 1)


KERNEL = ConvolutionalNTK(Patches(3), 2)


# The rounds


@pytest.mark.parametrize("exponent", [0.5, 1.0])
@pytest.mark.parametrize("normalisation", ["frobenius", "trace", "largest_entry", "none"])
def test_rounds_by_hand(exponent, normalisation):
    X, y = tensors()
    recipe = ConvRecipe(KERNEL, (0.01,), 2, (exponent,), normalisation)
    found = fit_conv_rfm(X, y, recipe)
    M = None
    for number in range(3):
        K = KERNEL.matrix(X, None, M)
        scale = K.max()
        alpha = torch.linalg.solve(K / scale + 0.01 * torch.eye(20, dtype=DOUBLE), y) / scale
        agop = patch_agop_of_kernel_machine(KERNEL, alpha, X, X, M, torch.arange(20))
        if number < 2:
            M = metric_from_agop(agop, exponent=exponent, normalisation=normalisation).M
    assert torch.allclose(found.metric.M, M, rtol=1e-8)
    assert torch.allclose(found.patch_agop, agop, rtol=1e-6)
    Z = tensors(5, 1)[0]
    assert torch.allclose(found.predict(Z)[:, 0], KERNEL.matrix(Z, X, M) @ alpha, rtol=1e-6)
    assert [h.number for h in found.history] == [0, 1, 2]
    assert found.history[2].spectrum == pytest.approx(np.linalg.eigvalsh(M)[::-1], abs=1e-9)


def test_no_predictor_depends_on_the_normalisation():
    X, y = tensors()
    found = [
        fit_conv_rfm(X, y, ConvRecipe(KERNEL, (0.01,), 2, (1.0,), name)).predict(X)
        for name in ("frobenius", "none")
    ]
    assert torch.allclose(*found, rtol=1e-7)


def test_selection_is_on_validation_data_only_and_round_0_is_a_candidate():
    X, y = tensors(30)
    V, w = tensors(20, 1)
    recipe = ConvRecipe(KERNEL, (0.1, 0.001), 2, (0.5, 1.0))
    found = fit_conv_rfm(X, y, recipe, validation=(V, w))
    errors = [h.error for h in found.history]
    assert len(errors) == 2 * 2 * 3
    assert found.round is found.history[int(np.argmin(errors))]
    assert float((found.predict(V)[:, 0] - w).square().mean()) == pytest.approx(min(errors))
    assert errors[0] == errors[3]  # round 0 of another exponent is the same
    noise = torch.from_numpy(np.random.default_rng(3).permutation(w.numpy()))

    def rounds_hurt(f, t, calls=[]):  # noqa: B006
        calls.append(0)
        return float(len(calls))

    kept = fit_conv_rfm(X, y, recipe, validation=(V, noise), score=rounds_hurt)
    assert kept.round.number == 0
    assert kept.metric.M is None


def test_a_constant_predictor_ends_the_rounds():
    X, y = tensors()
    found = fit_conv_rfm(X, torch.zeros_like(y), ConvRecipe(KERNEL))
    assert [h.number for h in found.history] == [0]
    assert not found.patch_agop.any()


def test_progress_and_devices():
    X, y = tensors()
    seen = []
    found = fit_conv_rfm(X, y, ConvRecipe(KERNEL, rounds=1), progress=seen.append)
    assert [r.number for r in seen] == [0, 1]
    assert torch.equal(found.to("cpu").predict(X), found.predict(X))


@pytest.mark.parametrize(
    ("error", "match", "call"),
    [
        (ValueError, "smaller than the patches", lambda X, y: fit_conv_rfm(X[..., :2], y)),
        (ValueError, "kernel of the training images is zero", lambda X, y: fit_conv_rfm(0 * X, y)),
        (
            ValueError,
            "are chosen by validation data",
            lambda X, y: fit_conv_rfm(X, y, ConvRecipe(ridges=(1.0, 2.0))),
        ),
        (ValueError, "X holds NaN", lambda X, y: fit_conv_rfm(X * torch.nan, y)),
        (ValueError, "Y holds NaN", lambda X, y: fit_conv_rfm(X, y * torch.nan)),
        (ValueError, r"Y \(19,\)", lambda X, y: fit_conv_rfm(X, y[:19])),
        (
            TypeError,
            "Y must be a tensor of dtype torch.float64",
            lambda X, y: fit_conv_rfm(X, y.float()),
        ),
        (
            ValueError,
            "Y has 1 outputs, Y_val 2",
            lambda X, y: fit_conv_rfm(X, y, validation=(X, torch.stack([y, y], 1))),
        ),
        (
            ValueError,
            r"X_val has shape \(20, 1, 6, 5\)",
            lambda X, y: fit_conv_rfm(X, y, validation=(X[..., :5], y)),
        ),
        (
            np.linalg.LinAlgError,
            "round 0: .* ridge = 0 is singular .* repeated images",
            lambda X, y: fit_conv_rfm(
                torch.cat([X, X]), torch.cat([y, y]), ConvRecipe(ridges=(0.0,))
            ),
        ),
        (
            ValueError,
            r"X has shape \(20, 1, 5, 6\)",
            lambda X, y: fit_conv_rfm(X, y, ConvRecipe(rounds=0)).predict(X[:, :, :5]),
        ),
        (ValueError, "ridge = -1", lambda X, y: ConvRecipe(ridges=(-1,))),
        (ValueError, "exponent = 0", lambda X, y: ConvRecipe(exponents=(0,))),
        (ValueError, "must hold at least one number", lambda X, y: ConvRecipe(ridges=())),
        (ValueError, "rounds = -1", lambda X, y: ConvRecipe(rounds=-1)),
        (ValueError, "normalisation = 'max'", lambda X, y: ConvRecipe(normalisation="max")),
        (TypeError, "kernel = 'ntk'", lambda X, y: ConvRecipe("ntk")),
    ],
)
def test_fit_refuses(error, match, call):
    with pytest.raises(error, match=match):
        call(*tensors())


# The estimators


def test_classifier_in_scikit_learns_manner():
    X, y = sample(40)
    names = np.array(["noise", "cross"])[y]
    model = ConvRFMClassifier(rounds=1, ridge=0.01).fit(X, names)
    assert model.classes_.tolist() == ["cross", "noise"]
    assert model.predict(X).tolist() == names.tolist()
    scores, probabilities = model.decision_function(X), model.predict_proba(X)
    assert ((scores > 0) == (names == "noise")).all()
    assert np.allclose(probabilities.sum(axis=1), 1)
    assert model.patch_agop_.shape == model.M_.shape == (9, 9)
    again = clone(model)
    assert again.get_params() == model.get_params()
    assert np.array_equal(again.fit(X, names).decision_function(X), scores)
    single = ConvRFMClassifier(rounds=1, ridge=0.01, dtype="float32").fit(X, names)
    assert single.patch_agop_.dtype == np.float32
    assert np.allclose(single.decision_function(X), scores, atol=1e-3)
    tensor = ConvRFMClassifier(rounds=1, ridge=0.01).fit(torch.from_numpy(X), torch.from_numpy(y))
    assert np.allclose(tensor.decision_function(torch.from_numpy(X)), -scores)


def test_three_classes_and_selection():
    X, y = sample(90)
    y = np.where(np.arange(90) % 3 == 2, 2, y)
    X[y == 2, 0, 2] += 2
    model = ConvRFMClassifier(
        rounds=2, ridge=[1e-3, 1e-1], exponent=(0.5, 1.0), validation_fraction=0.3, random_state=0
    ).fit(X, y)
    assert len(model.history_) == 2 * 2 * 3
    assert model.decision_function(X).shape == (90, 3)
    assert (model.ridge_, model.exponent_) in {(r, e) for r in (1e-3, 1e-1) for e in (0.5, 1.0)}
    lowest = min(h.error for h in model.history_)
    chosen = next(h for h in model.history_ if h.error == lowest)
    assert (model.best_round_, model.ridge_) == (chosen.number, chosen.ridge)
    assert np.array_equal(model.predict_proba(X).argmax(axis=1), model.predict(X))
    other = ConvRFMClassifier(rounds=1).fit(X[:60], y[:60], X[60:], y[60:])
    wrong = np.mean(other.predict(X[60:]) != y[60:])
    assert min(h.error for h in other.history_) == pytest.approx(wrong)


def test_regressor():
    X, _ = sample(60, channels=2)
    y = np.stack([X[:, 0, 2, 2] + 5, X[:, 1].mean(axis=(1, 2))], axis=1)
    model = ConvRFMRegressor(side=2, depth=1, rounds=2, ridge=1e-3)
    both = model.fit(X, y)
    assert both.predict(X).shape == (60, 2)
    assert both.score(X, y) > 0.9
    one = clone(model).fit(X, y[:, 0], X[:20], y[:20, 0])
    assert one.predict(X).shape == (60,)
    assert one.history_[0].error is not None
    assert one.intercept_ == pytest.approx(y[:, 0].mean())


def test_metric_points_to_the_channel():
    """Class 1 is brighter in the first channel: the second plays no role."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(120, 2, 6, 6)), np.arange(120) % 2
    X[:, 0] += 0.5 * y[:, None, None]
    model = ConvRFMClassifier(side=1, depth=1, rounds=2, ridge=1e-1).fit(X, y)
    assert model.M_[0, 0] > 5 * model.M_[1, 1]


def test_normalised_images():
    X, y = sample(30)
    scaled = X * np.linspace(1, 9, 30)[:, None, None, None]
    for how, other in (("unit_norm", scaled), ("standardised", scaled + 3)):
        model = ConvRFMClassifier(rounds=1, image_normalisation=how)
        plain, changed = clone(model).fit(X, y), clone(model).fit(other, y)
        assert np.allclose(plain.decision_function(X), changed.decision_function(other), atol=1e-6)


@pytest.mark.parametrize(
    ("error", "match", "options", "change"),
    [
        (ValueError, "y holds 1 class", {}, lambda X, y: (X, 0 * y)),
        (ValueError, "smaller than the patches, 7 × 7", {"side": 7}, None),
        (
            ValueError,
            r"side = \(2, 3\) must be one integer: patches are square",
            {"side": (2, 3)},
            None,
        ),
        (
            ValueError,
            r"X\[3\] is constant",
            {"image_normalisation": "standardised"},
            lambda X, y: (np.where(np.arange(20)[:, None, None, None] == 3, 1.0, X), y),
        ),
        (ValueError, "X holds NaN", {}, lambda X, y: (X * np.nan, y)),
        (ValueError, r"X has shape \(20, 36\)", {}, lambda X, y: (X.reshape(20, 36), y)),
        (TypeError, "X has dtype <U1", {}, lambda X, y: (np.full((20, 1, 4, 4), "a"), y)),
        (ValueError, "y has 19 entries for 20 images", {}, lambda X, y: (X, y[:19])),
        (ValueError, "y_val holds 7", {}, lambda X, y: (X, y, X, y + 7)),
        (ValueError, "X_val and y_val must be given together", {}, lambda X, y: (X, y, X)),
        (
            ValueError,
            "validation_fraction = 0.5 must be None",
            {"validation_fraction": 0.5},
            lambda X, y: (X, y, X, y),
        ),
        (
            ValueError,
            r"validation_fraction = 1.5 must be in \(0, 1\)",
            {"validation_fraction": 1.5},
            None,
        ),
        (ValueError, "chosen by validation data", {"ridge": (1.0, 2.0)}, None),
        (ValueError, "dtype = 'half'", {"dtype": "half"}, None),
        (ValueError, "padding = 'same'", {"padding": "same"}, None),
    ],
)
def test_classifier_refuses(error, match, options, change):
    X, y = sample(20)
    data = (X, y) if change is None else change(X, y)
    with pytest.raises(error, match=match):
        ConvRFMClassifier(**options).fit(*data)


def test_images_changed_after_the_fit_change_no_prediction():
    X, y = sample(20)
    for model in (ConvRFMClassifier(rounds=1), ConvRFMRegressor(rounds=1)):
        for given in (X.copy(), torch.from_numpy(X.copy())):
            model.fit(given, y)
            before = model.predict(X + 0.5)
            centres = model.machine_.centres.clone()
            given[:] = 0
            assert torch.equal(model.machine_.centres, centres)
            assert np.array_equal(model.predict(X + 0.5), before)


@pytest.mark.filterwarnings("error")
def test_read_only_images_and_ridges_as_arrays():
    X, y = sample(20)
    X.setflags(write=False)
    model = ConvRFMClassifier(rounds=1, ridge=np.array(0.1)).fit(X, y)
    assert model.ridge_ == 0.1
    assert model.score(X, y) > 0.5


@pytest.mark.parametrize("how", ["unit_norm", "standardised"])
@pytest.mark.parametrize(("dtype", "scale"), [(np.float64, 300), (np.float32, 30)])
def test_images_are_normalised_at_any_size(how, dtype, scale):
    X = torch.from_numpy(sample(4)[0].astype(dtype))
    sizes = torch.tensor([10.0**-scale, 1, 10.0**scale, 3], dtype=X.dtype)
    found = normalise_images(X * sizes[:, None, None, None], how)
    assert torch.allclose(found, normalise_images(X, how), rtol=1e-4)


def test_kernels_beyond_the_range_and_mismatched_targets_are_refused():
    X, y = sample(20)
    with pytest.raises(ValueError, match=r"kernel .* is beyond the range of torch\.float32"):
        ConvRFMClassifier(dtype="float32").fit(1e25 * X, y)
    with pytest.raises(ValueError, match=r"too small for squares in torch\.float64"):
        ConvRFMClassifier().fit(1e-200 * X, y)
    with pytest.raises(ValueError, match=r"y_val has shape \(20,\), y \(20, 2\)"):
        ConvRFMRegressor().fit(X, np.stack([y, y], 1), X, y)
    with pytest.raises(ValueError, match="y_val holds 'a', which is not a class"):
        ConvRFMClassifier().fit(X, y, X, np.array(["a", 3] * 10, dtype=object))
    with pytest.raises(ValueError, match="X has masked entries"):
        ConvRFMClassifier().fit(np.ma.masked_greater(X, 2), y)


@pytest.mark.parametrize(
    ("M", "error", "match"),
    [
        (-torch.ones(9, dtype=DOUBLE), ValueError, "diagonal entry -1"),
        (torch.full((9,), torch.nan, dtype=DOUBLE), ValueError, "M holds NaN"),
        (torch.ones(9, 9, dtype=DOUBLE).triu(), ValueError, "M is not symmetric"),
        (torch.eye(9), TypeError, "M must be a tensor of dtype torch.float64"),
        (np.eye(9), TypeError, "M must be a tensor"),
    ],
)
def test_what_is_no_covariance_of_filters_is_refused(M, error, match):
    with pytest.raises(error, match=match):
        random_convolution(tensors()[0], Patches(3), M, 4, generator=torch.Generator())


# The deep version


def test_random_convolution_has_the_kernels_covariance():
    """On average over filters the channels' inner products are the covariance after layer one."""
    X = torch.randn(2, 2, 4, 4, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    half = torch.randn(8, 8, generator=torch.Generator().manual_seed(1), dtype=DOUBLE)
    M, patches = half @ half.T / 8, Patches(2)
    generator = torch.Generator().manual_seed(2)
    out = random_convolution(X, patches, M, 40000, generator=generator)
    assert out.shape == (2, 40000, 3, 3)
    U = patches.extract(X)
    K = torch.einsum("npa,ab,mpb->nmp", U, M, U) / 8
    size = (K[0, 0] * K[1, 1]).sqrt()
    angle = torch.acos(K[0, 1] / size)
    wanted = size * (angle.sin() + (torch.pi - angle) * angle.cos()) / torch.pi
    products = (out[0] * out[1] * 40000).flatten(1)  # one independent sample for each filter
    error = products.std(dim=1).new_tensor(0) + products.std(dim=0) / 200
    assert ((products.mean(dim=0) - wanted).abs() < 5 * error).all()
    plain = random_convolution(X, patches, None, 4, generator=generator, nonlinearity="none")
    assert plain.min() < 0


def test_transformer_and_pipeline():
    X, y = sample(40, channels=2)
    layer = ConvRFMTransformer(
        ConvRFMClassifier(side=2, padding="circular", rounds=1), width=6, random_state=1
    )
    out = layer.fit(X, y).transform(X)
    assert out.shape == (40, 6, 6, 6)
    assert isinstance(layer.transform(torch.from_numpy(X)), torch.Tensor)
    assert np.array_equal(clone(layer).fit(X, y).transform(X), out)
    assert layer.M_.shape == (8, 8)
    found = layer.machine_
    assert np.linalg.norm(layer.M_) == pytest.approx(8**0.5)
    assert np.allclose(layer.M_ / layer.M_[0, 0], found.patch_agop_ / found.patch_agop_[0, 0])
    deep = make_pipeline(
        layer, ConvRFMTransformer(width=8, random_state=2), ConvRFMClassifier(side=2)
    )
    assert deep.fit(X, y).score(X, y) > 0.9


@pytest.mark.parametrize(
    ("error", "match", "call"),
    [
        (
            TypeError,
            "machine = 3 must be a ConvRFMClassifier",
            lambda X, y: ConvRFMTransformer(3).fit(X, y),
        ),
        (ValueError, "width = 0", lambda X, y: ConvRFMTransformer(width=0).fit(X, y)),
        (
            ValueError,
            "nonlinearity = 'tanh'",
            lambda X, y: ConvRFMTransformer(nonlinearity="tanh").fit(X, y),
        ),
        (
            ValueError,
            "predictor is constant",
            lambda X, y: ConvRFMTransformer(ConvRFMRegressor()).fit(X, 0 * y),
        ),
        (
            ValueError,
            r"must be \(n, 1, 6, 6\) as in fit",
            lambda X, y: ConvRFMTransformer().fit(X, y).transform(X[:, :, 1:]),
        ),
        (
            ValueError,
            r"M has shape \(4, 4\), must be \(9,\) or \(9, 9\)",
            lambda X, y: random_convolution(
                torch.from_numpy(X),
                Patches(3),
                torch.eye(4, dtype=DOUBLE),
                2,
                generator=torch.Generator(),
            ),
        ),
    ],
)
def test_deep_version_refuses(error, match, call):
    with pytest.raises(error, match=match):
        call(*sample(20))
