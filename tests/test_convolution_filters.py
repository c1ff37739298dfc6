"""Filter covariance and patch-AGOP of any convolution, against brute force by definition.

The brute force uses no hooks: it takes one image at a time, unfolds the layer's padded input into
patches, replaces the convolution by an explicit function of these patches, and differentiates.
"""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from numerics.alignment import correlation, layer_matrices, uncentred_nfa
from numerics.alignment.correlations import centred_nfa
from numerics.convolution.eigenpatches import filtered, leading_patches
from numerics.convolution.filters import FilterMatrices, filter_matrices, flat_filters


def normal(*shape, seed=0, dtype=torch.float64):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=rng, dtype=torch.float64).to(dtype)


def randomised(model, seed=0):
    rng = torch.Generator().manual_seed(seed)
    model = model.double()
    for parameter in model.parameters():
        with torch.no_grad():
            drawn = torch.randn(parameter.shape, generator=rng, dtype=torch.float64)
            parameter.copy_(drawn / max(1, parameter[0].numel()) ** 0.5)
    return model.eval()


class Around(nn.Module):
    """A convolution with a path around it, called twice, and one in a branch with stride."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(2, 3, 3, padding=1)
        self.twice = nn.Conv2d(3, 3, 3, padding=1, padding_mode="circular")
        self.last = nn.Conv2d(3, 2, (2, 3), stride=(2, 1), dilation=(1, 2), bias=False)

    def forward(self, x):
        h = torch.tanh(self.first(x))
        h = h + torch.sin(self.twice(input=h)) * h
        h = h + torch.relu_(self.twice(h))
        return torch.tanh(self.last(h)).sum(3)


class Unbatched(nn.Module):
    """The convolution sees one image at a time."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 2)

    def forward(self, x):
        return torch.stack([torch.tanh(self.conv(image)).sum((1, 2)) for image in x])


def plain(*convolutions):
    """The convolutions with tanh between them, a smooth function of everything, two outputs."""
    steps = [step for layer in convolutions for step in (layer, nn.Tanh())]
    return nn.Sequential(*steps, nn.Flatten(), nn.LazyLinear(2))


MODELS = {
    "plain": lambda: plain(nn.Conv2d(2, 4, 3), nn.Conv2d(4, 3, 2, bias=False)),
    "stride": lambda: plain(nn.Conv2d(2, 3, 3, stride=2, padding=(1, 2))),
    "dilation": lambda: plain(nn.Conv2d(2, 3, (2, 3), dilation=(3, 2))),
    "same": lambda: plain(nn.Conv2d(2, 3, (2, 4), dilation=(1, 2), padding="same")),
    "circular": lambda: plain(nn.Conv2d(2, 3, 3, padding=2, padding_mode="circular")),
    "reflect": lambda: plain(nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect")),
    "replicate": lambda: plain(nn.Conv2d(2, 3, 3, padding="same", padding_mode="replicate")),
    "groups": lambda: plain(nn.Conv2d(2, 4, 3, groups=2), nn.Conv2d(4, 6, 2, groups=2)),
    "depthwise": lambda: plain(nn.Conv2d(2, 6, 3, groups=2, stride=2, padding="valid")),
    "pixels": lambda: plain(nn.Conv2d(2, 5, 1)),
    "around": Around,
    "unbatched": Unbatched,
}


def model_of(name, seed=0):
    model = MODELS[name]().double()
    model(normal(1, 2, 7, 8))
    return randomised(model, seed)


class OnPatches(nn.Module):
    """The same convolution as an explicit function of its input's patches, plus shifts of them."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        self.shifts = []

    def forward(self, input):  # noqa: A002 - the name of a convolution's argument
        single = input.ndim == 3
        h = input[None] if single else input
        patches = self.patches(h)
        shift = torch.zeros_like(patches).requires_grad_()
        self.shifts.append(shift)
        z = torch.einsum("kp,npq->nkq", self.matrix(), patches + shift)
        if self.layer.bias is not None:
            z = z + self.layer.bias[:, None]
        with torch.no_grad():
            shape = self.layer(h).shape
        z = z.reshape(shape)
        return z[0] if single else z

    def patches(self, h):
        layer = self.layer
        reach = [d * (k - 1) for k, d in zip(layer.kernel_size, layer.dilation, strict=True)]
        if layer.padding == "same":
            (top, left), ends = [r // 2 for r in reach], [r - r // 2 for r in reach]
        else:
            ends = [0, 0] if layer.padding == "valid" else list(layer.padding)
            top, left = ends
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        h = functional.pad(h, (left, ends[1], top, ends[0]), mode=mode)
        return functional.unfold(h, layer.kernel_size, layer.dilation, stride=layer.stride)

    def matrix(self):
        """Each filter written out over all channels, entry by entry."""
        weight, layer = self.layer.weight.detach(), self.layer
        seen = layer.in_channels // layer.groups
        full = torch.zeros(layer.out_channels, layer.in_channels, *layer.kernel_size).double()
        for k in range(layer.out_channels):
            group = k // (layer.out_channels // layer.groups)
            full[k, group * seen : (group + 1) * seen] = weight[k]
        return full.flatten(1)


def brute_force(model, inputs, name, outputs=None):
    """WᵀW, patch-AGOP and the number of positions, from gradients by the patches themselves."""
    model = copy.deepcopy(model)
    parent, _, child = name.rpartition(".")
    on_patches = OnPatches(model.get_submodule(name))
    setattr(model.get_submodule(parent), child, on_patches)
    total, positions = 0, 0
    for image in inputs:
        on_patches.shifts.clear()
        flat = model(image[None]).flatten()
        for c in range(len(flat)) if outputs is None else outputs:
            gradients = torch.autograd.grad(flat[c], on_patches.shifts, retain_graph=True)
            total = total + sum(g[0] @ g[0].T for g in gradients)
        positions = sum(s.shape[2] for s in on_patches.shifts)
    W = on_patches.matrix()
    return W.T @ W, total / len(inputs), positions


def assert_measured(measured: FilterMatrices, expected):
    covariance, agop, positions = expected
    assert measured.positions == positions
    torch.testing.assert_close(measured.filter_covariance, covariance, rtol=1e-12, atol=1e-13)
    scale = float(agop.abs().max())
    torch.testing.assert_close(measured.patch_agop, agop, rtol=1e-11, atol=1e-12 * scale)


@pytest.mark.filterwarnings("ignore:Using padding=.same. with even:UserWarning")
@pytest.mark.parametrize("name", MODELS)
def test_every_convolution_agrees_with_gradients_by_its_patches(name):
    model, inputs = model_of(name), normal(3, 2, 7, 8, seed=1)
    found = filter_matrices(model, inputs)
    assert set(found) == {n for n, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    for layer, measured in found.items():
        assert_measured(measured, brute_force(model, inputs, layer))


@given(
    channels=st.sampled_from([(1, 1, 1), (2, 3, 1), (4, 6, 2), (3, 3, 3)]),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 2)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    mode=st.sampled_from(["zeros", "circular", "reflect", "replicate"]),
    bias=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=30, deadline=None)
def test_drawn_convolutions_agree(channels, kernel, stride, dilation, padding, mode, bias, seed):
    entering, leaving, groups = channels
    layer = nn.Conv2d(
        entering, leaving, kernel, stride, padding, dilation, groups, bias, padding_mode=mode
    )
    inputs = normal(2, entering, 6, 5, seed=seed)
    model = plain(layer).double()
    model(inputs)
    model = randomised(model, seed)
    assert_measured(filter_matrices(model, inputs)["0"], brute_force(model, inputs, "0"))


def test_padding_makes_room_for_a_kernel_larger_than_the_image():
    model = plain(nn.Conv2d(1, 2, 5, padding="same"), nn.Conv2d(2, 2, 3, padding=1)).double()
    inputs = normal(2, 1, 2, 3)
    model(inputs)
    for name, measured in filter_matrices(randomised(model), inputs).items():
        assert_measured(measured, brute_force(model, inputs, name))


@pytest.mark.parametrize("batch_size", [1, 2, 5, 99])
def test_the_size_of_a_chunk_changes_nothing(batch_size):
    model, inputs = model_of("around"), normal(5, 2, 7, 8, seed=2)
    whole = filter_matrices(model, inputs)
    for name, measured in filter_matrices(model, inputs, batch_size=batch_size).items():
        torch.testing.assert_close(measured.patch_agop, whole[name].patch_agop)
        assert measured.positions == whole[name].positions


def test_chosen_outputs_layers_and_averages():
    model, inputs = model_of("plain"), normal(3, 2, 7, 8, seed=3)
    found = filter_matrices(model, inputs, ["2"], outputs=[1], average="positions")
    assert list(found) == ["2"]
    _, agop, positions = brute_force(model, inputs, "2", outputs=[1])
    torch.testing.assert_close(found["2"].patch_agop, agop / positions)
    assert positions == 4 * 5


def test_patches_as_large_as_the_image_make_a_linear_layer():
    """Both measurements, by different code, of one and the same network."""
    conv = randomised(nn.Sequential(nn.Conv2d(2, 5, 3), nn.Tanh(), nn.Flatten(), nn.Linear(5, 2)))
    linear = nn.Sequential(nn.Flatten(), nn.Linear(18, 5), nn.Tanh(), nn.Linear(5, 2)).double()
    with torch.no_grad():
        linear[1].weight.copy_(conv[0].weight.flatten(1))
        linear[1].bias.copy_(conv[0].bias)
    linear[3].load_state_dict(conv[3].state_dict())
    inputs = normal(6, 2, 3, 3)
    one, other = filter_matrices(conv, inputs)["0"], layer_matrices(linear, inputs)["1"]
    torch.testing.assert_close(one.patch_agop, other.agop)
    assert uncentred_nfa(one, power=0.5) == pytest.approx(uncentred_nfa(other, power=0.5))


def test_the_correlations_of_the_alignment_slice_take_these_matrices():
    model, inputs = model_of("groups"), normal(4, 2, 7, 8, seed=4)
    for name, measured in filter_matrices(model, inputs).items():
        covariance, agop, _ = brute_force(model, inputs, name)
        for kind in ("cosine", "pearson"):
            expected = correlation(agop, covariance, kind)
            assert uncentred_nfa(measured, kind=kind) == pytest.approx(expected, rel=1e-10)
        initial = torch.zeros_like(measured.weight)
        assert centred_nfa(measured, initial) == pytest.approx(uncentred_nfa(measured))
        W = flat_filters(model.get_submodule(name))
        torch.testing.assert_close(W.T @ W, measured.filter_covariance)
        assert W.shape[1] == torch.Size(measured.patch).numel()


def test_single_precision_and_half_the_model_frozen():
    model, inputs = model_of("plain"), normal(4, 2, 7, 8, seed=5)
    exact = filter_matrices(model, inputs)
    model = model.float()
    model[0].requires_grad_(False)
    for name, measured in filter_matrices(model, inputs.float()).items():
        assert measured.patch_agop.dtype == torch.float32
        scale = float(exact[name].patch_agop.abs().max())
        near = exact[name].patch_agop.float()
        torch.testing.assert_close(measured.patch_agop, near, rtol=1e-4, atol=1e-5 * scale)


def test_weights_by_parametrisation_are_the_filters_in_use():
    model = model_of("plain")
    nn.utils.parametrizations.weight_norm(model[0])
    inputs = normal(2, 2, 7, 8)
    found = filter_matrices(model, inputs, ["0"])["0"]
    torch.testing.assert_close(found.weight, model[0].weight.detach().flatten(1))


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_is_left_as_it_was(fails):
    model, inputs = model_of("around"), normal(2, 2, 7, 8)
    model.last.train()
    model.first.weight.requires_grad_(False)
    model.twice.bias.grad = torch.ones(3).double()
    before = {n: (p.clone(), p.requires_grad) for n, p in model.named_parameters()}
    modes = [m.training for m in model.modules()]
    state = torch.get_rng_state()
    if fails:
        with pytest.raises(ValueError, match="outputs"):
            filter_matrices(model, inputs, outputs=[99])
    else:
        with torch.no_grad():
            filter_matrices(model, inputs)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name][0])
        assert parameter.requires_grad == before[name][1]
    assert torch.equal(model.twice.bias.grad, torch.ones(3).double())
    assert model.last.weight.grad is None
    assert [m.training for m in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


def test_memory_stays_bounded_by_chunks(monkeypatch):
    from numerics.alignment import probe as probing

    sizes = []
    model = model_of("plain")
    model.register_forward_hook(lambda _, args, __: sizes.append(len(args[0])))
    monkeypatch.setattr(probing, "MEMORY", 60_000)
    filter_matrices(model, normal(40, 2, 7, 8))
    assert max(sizes) < 40


# Refusals


class Detached(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 2)
        self.how = how

    def forward(self, x):
        z = self.conv(x).flatten(1)
        return {"detach": z.detach(), "argmax": z.argmax(1), "other": x.flatten(1) * 1.0}[self.how]


class Doubled(nn.Conv2d):
    def forward(self, input):  # noqa: A002 - the name of a convolution's argument
        return 2 * super().forward(input)


class Copied(nn.Conv2d):
    def forward(self, input):  # noqa: A002 - the name of a convolution's argument
        return super().forward(input)


def image(*shape):
    return normal(*shape, dtype=torch.float32)


def with_nan():
    broken = image(2, 1, 4, 4)
    broken[1, 0, 2, 2] = float("nan")
    return broken


def nan_filters():
    model = nn.Sequential(nn.Conv2d(1, 2, 2))
    with torch.no_grad():
        model[0].weight[0] = float("nan")
    return model


CONV = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten())
REFUSED = [
    (lambda: (nn.Sequential(nn.Linear(2, 2)), image(3, 2)), "no convolutions"),
    (lambda: (nn.Conv1d(1, 2, 2), image(3, 1, 4)), "no convolutions"),
    (lambda: (CONV, image(3, 1, 2, 4)), "reach over 3 × 3 pixels, larger than its input of 2 × 4"),
    (
        lambda: (nn.Sequential(nn.Conv2d(1, 1, 3, dilation=2, padding=(0, 1))), image(1, 1, 4, 4)),
        "reach over 5 × 5 pixels.*padding 0 × 2",
    ),
    (lambda: (CONV, with_nan()), "inputs hold NaN"),
    (lambda: (nan_filters(), image(1, 1, 4, 4)), "parameter '0.weight' holds NaN"),
    (lambda: (CONV, image(0, 1, 4, 4)), "at least 1 sample"),
    (lambda: (Detached("detach"), image(2, 1, 3, 3)), "not differentiable"),
    (lambda: (Detached("other"), image(2, 1, 3, 3).requires_grad_()), "not differentiable|depend"),
    (
        lambda: (nn.Sequential(nn.Conv2d(1, 2, 2), nn.BatchNorm2d(2)), image(2, 1, 3, 3)),
        "samples mix",
    ),
    (lambda: (nn.Sequential(nn.Conv2d(1, 2, 2), nn.Dropout()), image(2, 1, 3, 3)), "at random"),
    (lambda: (nn.Sequential(Doubled(1, 2, 2)), image(2, 1, 3, 3)), "does not return the conv"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED)
def test_what_cannot_be_measured_is_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        filter_matrices(*make())


def test_outputs_that_are_no_numbers_or_no_module_are_refused():
    with pytest.raises(TypeError, match=r"dtype torch.int64 and is not differentiable"):
        filter_matrices(Detached("argmax"), image(2, 1, 3, 3))
    with pytest.raises(TypeError, match=r"must be a torch.nn.Module"):
        filter_matrices(lambda x: x, image(2, 1, 3, 3))
    with pytest.raises(TypeError, match="must be a sequence of names"):
        filter_matrices(CONV, image(2, 1, 3, 3), "0")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": ["1"]}, r"no convolution '1'; the convolutions are \['0'\]"),
        ({"layers": []}, "names no layer"),
        ({"batch_size": 0}, "batch_size = 0"),
        ({"outputs": [8]}, "must be among 0 to 7"),
        ({"average": "pixels"}, "average = 'pixels'"),
    ],
)
def test_options_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        filter_matrices(CONV, image(2, 1, 4, 4), **options)


def test_a_layer_that_is_not_called_is_refused_if_named_and_left_out_if_not():
    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle = nn.Conv2d(1, 2, 2), nn.Conv2d(1, 2, 2)

        def forward(self, x):
            return self.used(x)

    assert list(filter_matrices(Idle(), image(1, 1, 3, 3))) == ["used"]
    with pytest.raises(ValueError, match=r"layers \['idle'\] are not called"):
        filter_matrices(Idle(), image(1, 1, 3, 3), ["used", "idle"])


def test_a_subclass_that_computes_the_convolution_is_measured():
    model = nn.Sequential(Copied(1, 2, 2, groups=1))
    filter_matrices(model, image(2, 1, 3, 3))


# Leading directions


def test_leading_patches_are_eigenvectors_in_the_order_of_their_eigenvalues():
    factor = normal(12, 12)
    matrix = factor @ factor.T
    found = leading_patches(matrix, (3, 2, 2), 12)
    vectors = found.flatten(1)
    torch.testing.assert_close(vectors @ vectors.T, torch.eye(12).double())
    images = vectors @ matrix
    values = (images * vectors).sum(1)
    assert torch.equal(values, values.sort(descending=True).values)
    torch.testing.assert_close(images, values[:, None] * vectors)
    assert torch.equal(vectors.abs().amax(1), vectors.amax(1))


def test_filtered_images_are_inner_products_with_patches():
    images, patches = normal(2, 3, 4, 5), normal(2, 3, 2, 3, seed=1)
    found = filtered(images, patches)
    assert found.shape == (2, 2, 3, 3)
    expected = (images[1, :, 1:3, 2:5] * patches[0]).sum()
    torch.testing.assert_close(found[1, 0, 1, 2], expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: leading_patches(torch.eye(4), (1, 2, 3), 1), r"must be \(6, 6\)"),
        (lambda: leading_patches(torch.eye(4), (1, 2, 2), 5), "count = 5 must be at most 4"),
        (lambda: leading_patches(torch.eye(4) / 0, (1, 2, 2), 1), "NaN or infinite"),
        (lambda: leading_patches(torch.ones(4, 4).triu(), (1, 2, 2), 1), "not symmetric"),
        (lambda: filtered(normal(1, 2, 3, 3), normal(1, 1, 2, 2)), "2 channels, patches 1"),
        (lambda: filtered(normal(1, 1, 3, 3), normal(1, 1, 4, 2)), "smaller than the patches"),
    ],
)
def test_directions_that_cannot_be_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
