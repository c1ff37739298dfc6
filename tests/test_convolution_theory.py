"""Filters after one step from zero, and translations of trained networks: the theory."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from theory.convolution.first_filters import derive_shared_step, one_step_filters

few = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**31 - 1)


def test_every_step_holds():
    assert [r.idea for r in derive_shared_step().check() if not r.holds] == []


def test_the_theory_loads_no_torch():
    names = "expected_filters, gaussian_filters, kernel_patches, symmetries, wide_filters"
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
        net.conv.weight.zero_()
    before = net(images).detach()
    stepped(net, images, targets, rate)
    patches = net.patches(images)
    assert net(images).tolist() == pytest.approx(net.of_patches(patches).tolist(), rel=1e-9)
    step = one_step_filters(patches, targets, readout, activation, rate,
                            bias=net.conv.bias.detach())  # fmt: skip
    assert [step.initial_output] * n == pytest.approx(before.tolist(), rel=1e-11, abs=1e-13)
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


def test_a_unit_without_readout_rests_alone():
    step = one_step_filters([[[1.0, 2.0]]], [3.0], [0.0, 2.0])
    np.testing.assert_array_equal(step.filters, [[0.0, 0.0], [6.0, 12.0]])


# ── symmetries of trained networks ────────────────────────────────────────────────────────────────


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
        (lambda: one_step_filters(PATCHES, TARGETS, [1e200], rate=1e200), OverflowError,
         "the step overflows"),
        (lambda: one_step_filters(PATCHES, TARGETS, [1.0], rate=1e200), OverflowError,
         "the patch-AGOP overflows"),
        (lambda: one_step_filters(PATCHES, TARGETS, [1e-90], rate=1e250).filter_covariance,
         OverflowError, "WᵀW overflows"),
    ],
)  # fmt: skip
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
