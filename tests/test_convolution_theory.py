"""One-step filters, their expectations, patch-AGOPs of kernel machines, symmetries: the theory."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from theory.convolution.expected_filters import (
    AGOP_OWN,
    M1,
    M2,
    M3,
    M4,
    POSITIONS,
    WIDTH,
    derive_independent_step,
    expected_filter_covariance,
    expected_patch_agop,
    filter_covariance_spread,
    readout_moments,
)
from theory.convolution.first_filters import derive_shared_step, one_step_filters
from theory.convolution.gaussian_filters import derive_gaussian_step, gaussian_patch_agop
from theory.convolution.kernel_patches import (
    derive_patch_gradients,
    patch_agop,
    patch_gradients,
)
from theory.convolution.symmetries import carried_agop, carried_metric, derive_equivariance
from theory.convolution.wide_filters import derive_wide_step, wide_patch_agop
from theory.rfm.machine_gradients import kernel_agop

few = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**31 - 1)


@pytest.mark.parametrize(
    "derive",
    [
        derive_shared_step,
        derive_independent_step,
        derive_wide_step,
        derive_gaussian_step,
        derive_patch_gradients,
        derive_equivariance,
    ],
)
def test_every_step_holds(derive):
    assert [result.idea for result in derive().check() if not result.holds] == []


def test_the_theory_loads_no_torch():
    names = "expected_filters, gaussian_filters, kernel_patches, symmetries"
    code = f"import sys; from theory.convolution import {names}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# ── convolutional networks in PyTorch ────────────────────────────────────────────────────────────

ACTIVATIONS = {
    "linear": lambda z: z,
    "erf": torch.erf,
    "tanh": torch.tanh,
    "softplus": lambda z: torch.logaddexp(z, torch.zeros_like(z)),  # PyTorch's is linear above 20
    "gelu": functional.gelu,
    "cubic": lambda z: z**3,
}


class Network(nn.Module):
    """A convolution, an activation and a readout, shared or for every position."""

    def __init__(self, channels, side, width, activation, padding, readout):
        super().__init__()
        self.conv = nn.Conv2d(channels, width, side, padding=side // 2, padding_mode="circular",
                              dtype=torch.float64)  # fmt: skip
        if not padding:
            self.conv.padding = (0, 0)
            self.conv.padding_mode = "zeros"
        self.act, self.readout = ACTIVATIONS[activation], readout

    def forward(self, images):
        maps = self.act(self.conv(images)).flatten(2).transpose(1, 2)  # (n, P, k)
        return (maps * self.readout).sum(dim=(1, 2))

    def of_patches(self, patches):
        weight = self.conv.weight.flatten(1)
        return (self.act(patches @ weight.T + self.conv.bias) * self.readout).sum(dim=(1, 2))

    def patches(self, images):
        reach = self.conv.padding[0]
        if reach:
            images = functional.pad(images, (reach,) * 4, mode="circular")
        return functional.unfold(images, self.conv.kernel_size).transpose(1, 2)

    def agop(self, images):
        """(1/n) Σ over images and positions of ∇∇ᵀ, by reverse mode."""
        patches = self.patches(images).detach().requires_grad_()
        (slopes,) = torch.autograd.grad(self.of_patches(patches).sum(), patches)
        rows = slopes.flatten(0, 1)
        return (rows.T @ rows / len(images)).numpy()

    def covariance(self):
        weight = self.conv.weight.detach().flatten(1)
        return (weight.T @ weight).numpy()


def draw(seed, *shape, scale=1.0):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=rng, dtype=torch.float64) * scale


def stepped(net, images, targets, rate):
    """One gradient step of the filters alone, from zero filters."""
    with torch.no_grad():
        net.conv.weight.zero_()
    loss = (net(images) - targets).square().sum() / 2
    (slope,) = torch.autograd.grad(loss, net.conv.weight)
    with torch.no_grad():
        net.conv.weight -= rate * slope
    return net


@given(
    seed=seeds,
    n=st.integers(1, 4),
    channels=st.integers(1, 3),
    side=st.sampled_from([1, 3]),
    size=st.integers(3, 5),
    width=st.integers(1, 5),
    activation=st.sampled_from(sorted(ACTIVATIONS)),
    padding=st.booleans(),
    shared=st.booleans(),
    rate=st.sampled_from([0.01, 0.3]),
)
@few
def test_one_step_is_that_of_convolutions_in_torch(
    seed, n, channels, side, size, width, activation, padding, shared, rate
):
    images, targets = draw(seed, n, channels, size, size), draw(seed + 1, n)
    positions = size**2 if padding else (size - side + 1) ** 2
    readout = draw(seed + 2, *((width,) if shared else (positions, width)), scale=0.5)
    net = Network(channels, side, width, activation, padding, readout)
    with torch.no_grad():
        net.conv.bias.copy_(draw(seed + 3, width, scale=0.5))
    stepped(net, images, targets, rate)
    patches = net.patches(images)
    assert net(images).tolist() == pytest.approx(net.of_patches(patches).tolist(), rel=1e-9)
    step = one_step_filters(patches, targets, readout, activation, rate,
                            bias=net.conv.bias.detach())  # fmt: skip
    weight = net.conv.weight.detach().flatten(1).numpy()
    # PyTorch's 1 − tanh² is right to 1e-16 of 1, not of itself: so is a gradient of slope 1.
    unit = 3 * float(readout.square().sum()) * np.sum(weight**2) * positions
    for found, reference, size in (
        (step.filters, weight, 0.0),
        (step.filter_covariance, net.covariance(), 0.0),
        (step.patch_agop, net.agop(images), 1e-16 * unit),
    ):
        largest = np.abs(reference).max()
        np.testing.assert_allclose(found, reference, rtol=0, atol=1e-11 * largest + size)
    if shared:
        _along(step.filter_covariance, step.shared_direction)
        _along(step.patch_agop, step.shared_direction)


def _along(matrix, v):
    unit = v / np.linalg.norm(v)
    np.testing.assert_allclose(
        matrix, np.trace(matrix) * np.outer(unit, unit), atol=1e-10 * np.trace(matrix)
    )


def test_without_bias_the_direction_is_that_of_the_targets():
    images, targets = draw(1, 3, 1, 4, 4), draw(2, 3)
    net = stepped(Network(1, 3, 4, "tanh", True, draw(3, 4)), images, targets, 0.1)
    with torch.no_grad():
        net.conv.bias.zero_()
    step = one_step_filters(net.patches(images), targets, net.readout, "tanh", 0.1)
    expected = (targets[:, None, None] * net.patches(images)).sum(dim=(0, 1))
    np.testing.assert_allclose(step.shared_direction, expected.numpy(), rtol=1e-12)
    assert step.initial_output == 0


def test_relu_and_even_activations_rest():
    patches = np.ones((2, 2, 2))
    for name in ("relu", "quadratic"):
        with pytest.raises(ValueError, match="W rests at 0"):
            one_step_filters(patches, [1.0, 2.0], [1.0], name)


# ── expectations ─────────────────────────────────────────────────────────────────────────────────


@given(
    seed=seeds,
    n=st.integers(1, 3),
    shape=st.sampled_from([(1, 1), (1, 3), (2, 2), (4, 1), (3, 2)]),
    values=st.lists(st.integers(-3, 3), min_size=2, max_size=2, unique=True),
    weight=st.sampled_from([0.5, 0.25]),
)
@settings(max_examples=10, deadline=None)
def test_expectations_are_means_over_all_networks(seed, n, shape, values, weight):
    """Every readout of a law on two values; the networks are stepped by reverse mode."""
    positions, width = shape
    patches, targets = draw(seed, n, positions, 3), draw(seed + 1, n)
    moments = [weight * values[0] ** j + (1 - weight) * values[1] ** j for j in range(1, 5)]
    covariance, agop, square = np.zeros((3, 3)), np.zeros((3, 3)), 0.0
    for picks in itertools.product((0, 1), repeat=positions * width):
        likelihood = weight ** picks.count(0) * (1 - weight) ** picks.count(1)
        readout = torch.tensor([float(values[i]) for i in picks]).double()
        W, matrix = _linear_step(readout.reshape(positions, width), patches, targets)
        covariance += likelihood * W.T @ W
        agop += likelihood * matrix
        square += likelihood * np.sum((W.T @ W) ** 2)
    found = expected_filter_covariance(patches, targets, width, moments)
    np.testing.assert_allclose(found, covariance, atol=1e-10 * np.abs(covariance).max())
    found = expected_patch_agop(patches, targets, width, moments)
    np.testing.assert_allclose(found, agop, atol=1e-10 * np.abs(agop).max())
    if moments[0] == 0:
        spread = square / np.sum(covariance**2) - 1
        claimed = filter_covariance_spread(patches, targets, width, moments)
        assert claimed == pytest.approx(spread, abs=1e-9)


def _linear_step(readout, patches, targets):
    W = torch.zeros(readout.shape[1], patches.shape[2], dtype=torch.float64, requires_grad=True)
    outputs = (patches @ W.T * readout).sum(dim=(1, 2))
    (slope,) = torch.autograd.grad((outputs - targets).square().sum() / 2, W)
    x = patches.clone().requires_grad_()
    (gradients,) = torch.autograd.grad((x @ -slope.T * readout).sum(), x)
    rows = gradients.flatten(0, 1)
    return -slope.numpy(), (rows.T @ rows / len(patches)).numpy()


def test_named_laws():
    k, P = 7, 5
    at = {WIDTH: k, POSITIONS: P}
    for law, expected in (("gaussian", k * (k + P + 1)), ("rademacher", k * (k + P - 1))):
        moments = dict(zip((M1, M2, M3, M4), map(int, readout_moments(law)), strict=True))
        assert AGOP_OWN.subs({**at, **moments}) == expected


def test_one_wide_network_is_within_the_spread_of_its_limit():
    """‖WᵀW/k − Σ v_pv_pᵀ‖ is about √spread times the norm; the patch-AGOP's about twice that."""
    patches, targets, width = draw(5, 4, 6, 5), draw(6, 4), 20_000
    limit = expected_filter_covariance(patches, targets, width) / width
    spread = np.sqrt(filter_covariance_spread(patches, targets, width))
    W, agop = _linear_step(draw(7, 6, width), patches, targets)
    norm = np.linalg.norm(limit)
    assert np.linalg.norm(W.T @ W / width - limit) < 3 * spread * norm
    assert np.linalg.norm(agop / width**2 - limit) < 6 * spread * norm
    assert spread < 0.02


@pytest.mark.parametrize("activation", ["linear", "erf", "tanh"])
@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_wide_networks_of_any_activation(activation, scale):
    patches, targets, width = draw(8, 3, 4, 3, scale=scale), draw(9, 3), 200_000
    readout = draw(10, 4, width, scale=0.8)
    step = one_step_filters(patches, targets, readout, activation, 0.4)
    limit = wide_patch_agop(patches, targets, activation, 0.4, deviation=0.8)
    gap = np.linalg.norm(step.patch_agop / width**2 - limit) / np.linalg.norm(limit)
    assert gap < 0.02
    if activation != "linear":
        along = expected_filter_covariance(patches, targets, 1, activation=activation)
        cosine = np.sum(along * limit) / np.linalg.norm(along) / np.linalg.norm(limit)
        assert cosine < 0.995


@given(seed=seeds, width=st.integers(1, 6), deviation=st.sampled_from([0.5, 2.0]))
@few
def test_linear_networks_have_one_expectation(seed, width, deviation):
    """The Gaussian formula for any activation, and the one for linear networks and any law."""
    patches, targets = draw(seed, 2, 3, 4), draw(seed + 1, 2)
    moments = [0.0, deviation**2, 0.0, 3 * deviation**4]
    expected = expected_patch_agop(patches, targets, width, moments, 0.3)
    found = gaussian_patch_agop(patches, targets, width, "linear", 0.3, deviation=deviation)
    np.testing.assert_allclose(found, expected, atol=1e-11 * np.abs(expected).max())


@pytest.mark.parametrize("activation", ["erf", "gelu"])
def test_means_over_drawn_networks_of_any_activation(activation):
    """Each entry of the mean of 4000 networks within five standard errors."""
    patches, targets, width = draw(15, 2, 3, 2, scale=0.7), draw(16, 2), 3
    rng = np.random.default_rng(17)
    readouts = 0.8 * rng.standard_normal((4000, 3, width))
    drawn = np.stack(
        [one_step_filters(patches, targets, a, activation, 0.4).patch_agop for a in readouts]
    )
    expected = gaussian_patch_agop(patches, targets, width, activation, 0.4, deviation=0.8)
    error = drawn.std(axis=0) / np.sqrt(len(drawn))
    assert (np.abs(drawn.mean(axis=0) - expected) < 5 * error).all()
    assert (20 * error < expected.max()).all()


def test_the_wide_limit_is_that_of_the_expectation():
    patches, targets = draw(18, 2, 3, 2), draw(19, 2)
    limit = wide_patch_agop(patches, targets, "tanh", 0.5)
    gaps = [
        np.abs(gaussian_patch_agop(patches, targets, k, "tanh", 0.5) / k**2 - limit).max()
        for k in (10**3, 10**6)
    ]
    assert gaps[0] / gaps[1] == pytest.approx(1000, rel=0.01)
    assert gaps[1] < 1e-4 * np.abs(limit).max()


def test_small_steps_of_wide_networks_are_linear():
    patches, targets = draw(8, 3, 4, 3), draw(9, 3)
    limit = wide_patch_agop(patches, targets, "tanh", 1e-4) / 1e-8
    linear = wide_patch_agop(patches, targets, "linear", 1.0)
    np.testing.assert_allclose(limit, linear, rtol=1e-5)


def test_means_over_long_steps_keep_their_digits():
    """One patch, φ = erf: h = E g²φ'(sg) = (2/√π)(1 + 2s²)^{−3/2}, s from 0.02 to 2e6."""
    for rate in (1e-2, 1.0, 30.0, 1e6):
        c = 2 / np.sqrt(np.pi)
        s = rate * c
        expected = (rate * c * c * (1 + 2 * s**2) ** -1.5) ** 2
        limit = wide_patch_agop([[[1.0]]], [1.0], "erf", rate)
        assert limit[0, 0] == pytest.approx(expected, rel=1e-9)


def test_a_blank_patch_has_the_slope_at_zero():
    limit = wide_patch_agop([[[1.0, 0.0], [0.0, 0.0]]], [1.0], "erf", 1e-6)
    assert limit[0, 0] == pytest.approx(1e-12 * (4 / np.pi) ** 2, rel=1e-6)


# ── kernel machines ──────────────────────────────────────────────────────────────────────────────

COMBINATIONS = ("additive", "pairs", "joint")


def _data(seed, n, positions, dimension, outputs, rank):
    rng = np.random.default_rng(seed)
    Z, X = (
        rng.standard_normal((n, positions, dimension)),
        rng.standard_normal((2, positions, dimension)),
    )
    root = rng.standard_normal((rank, dimension))
    return Z, rng.standard_normal((n, outputs)), X, root.T @ root


@given(
    seed=seeds,
    n=st.integers(1, 5),
    positions=st.integers(1, 4),
    dimension=st.integers(1, 4),
    outputs=st.integers(1, 3),
    combination=st.sampled_from(COMBINATIONS),
    name=st.sampled_from(["laplace", "gaussian", "matern52", "linear", "exponential"]),
    bandwidth=st.sampled_from([0.7, 3.0]),
)
@few
def test_patch_gradients_are_automatic_ones(
    seed, n, positions, dimension, outputs, combination, name, bandwidth
):
    Z, alpha, X, M = _data(seed, n, positions, dimension, outputs, dimension)
    M /= dimension * positions
    x = torch.from_numpy(X).requires_grad_()
    f = _gram(name, combination, x, *map(torch.from_numpy, (Z, M)), bandwidth) @ torch.from_numpy(
        alpha
    )
    rows = [torch.autograd.grad(f[:, c].sum(), x, retain_graph=True)[0] for c in range(outputs)]
    reference = torch.stack(rows, dim=1).numpy()
    options = {"combination": combination, "bandwidth": bandwidth, "metric": M}
    found = patch_gradients(name, Z, alpha, X, **options)
    np.testing.assert_allclose(found, reference, atol=1e-10 * np.abs(reference).max())
    flat = reference.reshape(-1, dimension)
    agop = patch_agop(name, Z, alpha, X, **options)
    np.testing.assert_allclose(agop, flat.T @ flat / 2, atol=1e-10 * np.abs(agop).max())


def _gram(name, combination, x, Z, M, L):
    inner = name in ("linear", "exponential")
    if inner:
        u = torch.einsum("qpi,ij,nrj->qnpr", x, M, Z) / L**2
    else:
        away = x[:, None, :, None] - Z[None, :, None]
        u = torch.einsum("qnpri,ij,qnprj->qnpr", away, M, away) / L**2
    if combination != "pairs":
        u = u.diagonal(dim1=2, dim2=3)
    u = u.flatten(2)
    if combination == "joint":
        u = u.sum(dim=2, keepdim=True)
    five = (5 * u).sqrt()
    values = {
        "laplace": lambda: (-u.sqrt()).exp(),
        "gaussian": lambda: (-u / 2).exp(),
        "matern52": lambda: (1 + five + five**2 / 3) * (-five).exp(),
        "linear": lambda: u,
        "exponential": lambda: u.exp(),
    }
    return values[name]().sum(dim=2)


@pytest.mark.parametrize("name", ["laplace", "gaussian", "linear"])
def test_ordinary_machines_are_special_cases(name):
    """Joint: metric I ⊗ M. Pairs: a machine on all patches. One position: all three alike."""
    Z, alpha, X, M = _data(11, 4, 3, 2, 2, 2)
    wide = kernel_agop(name, Z.reshape(4, 6), alpha, X.reshape(2, 6), metric=np.kron(np.eye(3), M))
    blocks = sum(wide[i : i + 2, i : i + 2] for i in (0, 2, 4))
    found = patch_agop(name, Z, alpha, X, combination="joint", metric=M)
    np.testing.assert_allclose(found, blocks, rtol=1e-11)
    patches = kernel_agop(
        name, Z.reshape(12, 2), np.repeat(alpha, 3, axis=0), X.reshape(6, 2), metric=M
    )
    found = patch_agop(name, Z, alpha, X, combination="pairs", metric=M)
    np.testing.assert_allclose(found, 3 * patches, rtol=1e-11)
    one = [
        patch_agop(name, Z[:, :1], alpha, X[:, :1], combination=c, metric=M) for c in COMBINATIONS
    ]
    ordinary = kernel_agop(name, Z[:, 0], alpha, X[:, 0], metric=M)
    for matrix in one:
        np.testing.assert_allclose(matrix, ordinary, rtol=1e-11)


def test_pixel_gradients_are_folded_patch_gradients():
    """One sums patch gradients over the patches that hold a pixel: another matrix results."""
    images = draw(12, 3, 1, 4, 4)
    alpha = draw(13, 3)
    patches = functional.unfold(images, 2).transpose(1, 2)
    x = images.clone().requires_grad_()
    moved = functional.unfold(x, 2).transpose(1, 2)
    f = _gram("gaussian", "additive", moved, patches, torch.eye(4).double(), 2.0) @ alpha
    (pixels,) = torch.autograd.grad(f.sum(), x)
    G = patch_gradients("gaussian", patches, alpha, patches, bandwidth=2.0)[:, 0]
    folded = functional.fold(torch.from_numpy(G).transpose(1, 2), (4, 4), 2)
    np.testing.assert_allclose(folded.numpy(), pixels.numpy(), atol=1e-12)


def test_equal_patches_have_no_term_of_their_own():
    """Laplace at a training image: the mean of the one-sided slopes, here 0."""
    Z = np.zeros((1, 2, 3))
    for combination in COMBINATIONS:
        assert not patch_agop("laplace", Z, [1.0], Z, combination=combination).any()


def test_a_diagonal_metric_and_one_output():
    Z, alpha, X, _ = _data(14, 3, 2, 3, 1, 3)
    diagonal = [1.0, 0.0, 2.0]
    for combination in COMBINATIONS:
        options = {"combination": combination, "bandwidth": 2.0}
        found = patch_agop("gaussian", Z, alpha[:, 0], X, metric=diagonal, **options)
        full = patch_agop("gaussian", Z, alpha, X, metric=np.diag(diagonal), **options)
        np.testing.assert_array_equal(found, full)
        assert not found[1].any()


# ── symmetries ───────────────────────────────────────────────────────────────────────────────────


def _pooled(images, targets, zeros, steps=5):
    """Patch-AGOP and filter covariance of a network with a pooled readout, trained."""
    net = Network(2, 3, 4, "tanh", True, draw(20, 4))
    if zeros:
        net.conv.padding_mode = "zeros"
    with torch.no_grad():
        net.conv.weight.copy_(draw(21, 4, 2, 3, 3, scale=0.3))
        net.conv.bias.copy_(draw(22, 4))
    optimiser = torch.optim.SGD(net.parameters(), lr=1e-3)
    for _ in range(steps):
        optimiser.zero_grad()
        (net(images) - targets).square().sum().backward()
        optimiser.step()
    return net


@given(seed=seeds, shifts=st.lists(st.integers(0, 3), min_size=3, max_size=3))
@settings(max_examples=5, deadline=None)
def test_trained_networks_do_not_see_translations(seed, shifts):
    """Circular padding and a pooled readout: each image may even be shifted by itself."""
    images, targets = draw(seed, 3, 2, 4, 4), draw(seed + 1, 3)
    moved = torch.stack([x.roll(s, 2) for x, s in zip(images, shifts, strict=True)])
    nets = [_pooled(x, targets, False) for x in (images, moved)]
    (before, after) = (
        (net.covariance(), net.agop(x)) for net, x in zip(nets, (images, moved), strict=True)
    )
    for left, right in zip(before, after, strict=True):
        np.testing.assert_allclose(left, right, atol=1e-11 * np.abs(left).max())


def test_trained_networks_with_zeros_beyond_the_border_do():
    images, targets = draw(30, 3, 2, 4, 4), draw(31, 3)
    left, right = (_pooled(x, targets, True).covariance() for x in (images, images.roll(1, 2)))
    assert np.abs(left - right).max() > 1e-3 * np.abs(left).max()


@given(seed=seeds, combination=st.sampled_from(COMBINATIONS), orthogonal=st.booleans())
@few
def test_retrained_machines_follow_a_change_of_basis(seed, combination, orthogonal):
    rng = np.random.default_rng(seed)
    Z, _, _, M = _data(seed, 4, 3, 3, 1, 3)
    y = rng.standard_normal((4, 1))
    B = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    if not orthogonal:
        B = B @ np.diag([0.5, 1.0, 2.0])
    before = _retrained(Z, y, combination, M)
    after = _retrained(Z @ B.T, y, combination, carried_metric(M, B))
    np.testing.assert_allclose(after, carried_agop(before, B), atol=1e-8 * np.abs(after).max())
    if orthogonal:
        np.testing.assert_allclose(after, B @ before @ B.T, atol=1e-8 * np.abs(after).max())
        np.testing.assert_allclose(carried_metric(None, B), np.eye(3), atol=1e-12)
    order = rng.permutation(3)
    moved = _retrained(Z[:, order], y, combination, M)
    np.testing.assert_allclose(moved, before, atol=1e-8 * np.abs(before).max())


def _retrained(Z, y, combination, M):
    """Gaussian kernel ridge regression, and its patch-AGOP at the training images."""
    tensors = map(torch.from_numpy, (Z, Z, M))
    K = _gram("gaussian", combination, *tensors, 3.0).numpy()
    alpha = np.linalg.solve(K + 0.1 * np.eye(len(Z)), y)
    return patch_agop("gaussian", Z, alpha, Z, combination=combination, bandwidth=3.0, metric=M)


# ── bad input ────────────────────────────────────────────────────────────────────────────────────

PATCHES, TARGETS = np.ones((2, 3, 4)), np.ones(2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: one_step_filters(np.ones((2, 3)), TARGETS, [1.0]), ValueError,
         r"patches have shape \(2, 3\); \(n, positions, dimension\)"),
        (lambda: one_step_filters(PATCHES, np.ones(3), [1.0]), ValueError,
         r"targets have shape \(3,\); \(2,\) is allowed"),
        (lambda: one_step_filters(PATCHES, TARGETS, np.ones((2, 4))), ValueError,
         r"readout has shape \(2, 4\); \(k,\) for a shared one or \(3, k\)"),
        (lambda: one_step_filters(PATCHES, TARGETS, [1.0], bias=[1.0, 2.0]), ValueError,
         r"bias has shape \(2,\); \(1,\) is allowed"),
        (lambda: one_step_filters(PATCHES * np.nan, TARGETS, [1.0]), ValueError,
         "patches holds nan"),
        (lambda: one_step_filters(PATCHES, TARGETS, [1.0], rate=0.0), ValueError, "rate = 0.0"),
        (lambda: one_step_filters(PATCHES, TARGETS, [1.0], "sine"), ValueError,
         "activation = 'sine'"),
        (lambda: expected_patch_agop(PATCHES, TARGETS, 0), ValueError, "width = 0"),
        (lambda: expected_patch_agop(PATCHES, TARGETS, 2, "cauchy"), ValueError,
         "readout = 'cauchy'; allowed: gaussian, rademacher"),
        (lambda: expected_patch_agop(PATCHES, TARGETS, 2, [0.0, 1.0, 0.0, 0.5]), ValueError,
         "which no law has"),
        (lambda: expected_patch_agop(PATCHES, TARGETS, 2, [0.0, 1.0]), ValueError,
         r"readout has shape \(2,\); 4 moments"),
        (lambda: expected_filter_covariance(PATCHES, TARGETS, 2, activation="softplus"), ValueError,
         r"activation softplus has φ\(0\) = 0.69"),
        (lambda: filter_covariance_spread(PATCHES, TARGETS, 2, [1.0, 1.0, 1.0, 1.0]), ValueError,
         "readout has mean 1.0"),
        (lambda: filter_covariance_spread(PATCHES, 0 * TARGETS, 2), ValueError, "W rests at 0"),
        (lambda: wide_patch_agop(PATCHES, TARGETS, "quadratic"), ValueError, r"φ'\(0\) = 0"),
        (lambda: wide_patch_agop(PATCHES, TARGETS, "softplus"), ValueError, r"φ\(0\) = 0.69"),
        (lambda: gaussian_patch_agop(PATCHES, TARGETS, 0), ValueError, "width = 0"),
        (lambda: gaussian_patch_agop(PATCHES, TARGETS, 1, "relu"), ValueError, r"φ'\(0\) = 0"),
        (lambda: wide_patch_agop(PATCHES, TARGETS, deviation=-1.0), ValueError, "deviation = -1.0"),
        (lambda: patch_agop("gaussian", PATCHES[0], [1.0], PATCHES), ValueError,
         r"centres have shape \(3, 4\)"),
        (lambda: patch_agop("gaussian", PATCHES, [1.0], PATCHES), ValueError,
         r"coefficients have shape \(1,\); \(2,\) or \(2, o\)"),
        (lambda: patch_agop("gaussian", PATCHES, TARGETS, PATCHES[:, :2]), ValueError,
         r"centres have shape \(2, 3, 4\), inputs \(2, 2, 4\)"),
        (lambda: patch_agop("gaussian", PATCHES, TARGETS, PATCHES, combination="mean"), ValueError,
         "combination = 'mean'; allowed: additive, pairs, joint"),
        (lambda: patch_agop("gauss", PATCHES, TARGETS, PATCHES), ValueError, "kernel = 'gauss'"),
        (lambda: patch_agop("gaussian", PATCHES, TARGETS, PATCHES, bandwidth=0), ValueError,
         "bandwidth = 0"),
        (lambda: patch_agop("gaussian", PATCHES, TARGETS, PATCHES, metric=np.eye(3)), ValueError,
         r"metric has shape \(3, 3\)"),
        (lambda: patch_agop("exponential", 40 * PATCHES, TARGETS, PATCHES * 40), OverflowError,
         "overflows at τ = 6.4e"),
        (lambda: carried_agop(np.eye(2), np.eye(3)), ValueError, r"agop has shape \(2, 2\)"),
        (lambda: carried_agop(np.eye(2), np.ones((2, 2))), ValueError, "basis is singular"),
        (lambda: carried_metric(None, np.ones((2, 3))), ValueError, r"basis has shape \(2, 3\)"),
    ],
)  # fmt: skip
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_pair_kernels_take_any_number_of_positions():
    found = patch_gradients("linear", PATCHES, TARGETS, PATCHES[:, :1], combination="pairs")
    assert found.shape == (2, 1, 1, 4)
