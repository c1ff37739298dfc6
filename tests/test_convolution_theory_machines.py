"""Patch-AGOPs of kernel machines, and their changes with the patch basis: the theory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from theory.convolution.kernel_patches import (
    derive_patch_gradients,
    patch_agop,
    patch_gradients,
)
from theory.convolution.symmetries import carried_agop, carried_metric, derive_equivariance
from theory.rfm.machine_gradients import kernel_agop

few = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**31 - 1)


@pytest.mark.parametrize("derive", [derive_patch_gradients, derive_equivariance])
def test_every_step_holds(derive):
    assert [result.idea for result in derive().check() if not result.holds] == []


def draw(seed, *shape):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


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


@pytest.mark.parametrize("scale", [1e-200, 1e200])
@pytest.mark.parametrize("combination", COMBINATIONS)
@pytest.mark.parametrize("name", ["laplace", "gaussian", "exponential"])
def test_the_unit_of_length_is_free(name, combination, scale):
    """Patches and bandwidth in another unit: gradients are those, over the unit."""
    Z, alpha, X, M = _data(15, 4, 3, 2, 2, 2)
    before = patch_gradients(name, Z, alpha, X, combination=combination, bandwidth=4.0, metric=M)
    options = {"combination": combination, "bandwidth": 4 * scale, "metric": M}
    after = patch_gradients(name, scale * Z, alpha, scale * X, **options)
    np.testing.assert_allclose(scale * after, before, atol=1e-11 * np.abs(before).max())


def test_patches_farther_than_squares_reach_do_not_matter():
    near, far = np.array([[[1.0, 0.0]]]), np.array([[[1e200, 0.0]]])
    for name in ("laplace", "gaussian", "matern52"):
        both = patch_agop(name, np.concatenate([near, far]), [1.0, 1.0], 3 * near)
        np.testing.assert_array_equal(both, patch_agop(name, near, [1.0], 3 * near))


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


# ── another basis of patches ─────────────────────────────────────────────────────────────────────


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
        (lambda: patch_agop("linear", 1e200 * PATCHES, TARGETS, PATCHES), OverflowError,
         "the patch-AGOP overflows"),
        (lambda: patch_gradients("linear", 1e200 * PATCHES, 1e200 * TARGETS, PATCHES),
         OverflowError, "the patch gradient overflows"),
        (lambda: carried_metric(None, 1e-200 * np.eye(2)), OverflowError,
         "the carried matrix overflows"),
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
