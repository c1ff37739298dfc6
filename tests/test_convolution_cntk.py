"""The convolutional kernel: against full covariances, closed values, and wide random networks."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from numerics.convolution import prepared
from numerics.convolution.cntk import ConvolutionalNTK
from numerics.convolution.patch_gradients import (
    gradients_of_kernel_machine,
    patch_agop_of_kernel_machine,
)
from numerics.convolution.patches import Patches, normalise_images
from numerics.convolution.windows import window_adjoint, window_sum

PADDINGS = ["valid", "circular", "zero"]
DOUBLE = torch.float64


def normal(*shape, seed=0, dtype=DOUBLE):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def metric(d, seed=5):
    half = normal(d, d, seed=seed)
    return half @ half.T / d


def root_of(M):
    values, vectors = torch.linalg.eigh(M)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T


# Patches


def test_patches_by_hand():
    images = normal(2, 3, 5, 4)
    found = Patches(2, stride=2).extract(images)
    assert found.shape == (2, 2 * 2, 12)
    assert torch.equal(found[1, 3], images[1, :, 2:4, 2:4].flatten())


@pytest.mark.parametrize("side", [1, 2, 3])
def test_circular_patches_move_with_the_image(side):
    images = normal(2, 2, 4, 5)
    patches = Patches(side, padding="circular")
    assert patches.grid(4, 5) == (4, 5)
    moved = patches.extract(images.roll((1, 2), (2, 3))).view(2, 4, 5, -1)
    assert torch.equal(moved, patches.extract(images).view(2, 4, 5, -1).roll((1, 2), (1, 2)))
    middle = patches.extract(images).view(2, 4, 5, 2, side, side)
    centre = (side - 1) // 2
    assert torch.equal(middle[..., centre, centre], images.permute(0, 2, 3, 1))


@pytest.mark.parametrize(
    ("error", "match", "call"),
    [
        (
            ValueError,
            r"images of 2 × 5 pixels are smaller than the patches, 3 × 3",
            lambda: Patches(3).extract(normal(1, 1, 2, 5)),
        ),
        (
            ValueError,
            r"side = \(3, 5\) must be one integer: patches are square",
            lambda: Patches((3, 5)),
        ),
        (TypeError, "side = 2.5 must be an integer", lambda: Patches(2.5)),
        (ValueError, "stride = 0", lambda: Patches(3, 0)),
        (
            ValueError,
            "padding = 'zero' must be one of 'valid', 'circular'",
            lambda: Patches(3, 1, "zero"),
        ),
        (
            ValueError,
            "images holds NaN",
            lambda: Patches(1).extract(torch.full((1, 1, 2, 2), torch.nan)),
        ),
        (ValueError, r"images has shape \(2, 2\)", lambda: Patches(1).extract(torch.ones(2, 2))),
        (
            TypeError,
            "images must be a floating torch tensor, is Tensor",
            lambda: Patches(1).extract(torch.ones(1, 1, 2, 2, dtype=torch.int64)),
        ),
        (
            ValueError,
            r"images\[1\] is constant.*'standardised' is undefined; 1 of 2",
            lambda: normalise_images(
                torch.stack([normal(1, 2, 2), torch.ones(1, 2, 2, dtype=DOUBLE)]), "standardised"
            ),
        ),
        (
            ValueError,
            r"images\[0\] is zero everywhere",
            lambda: normalise_images(torch.zeros(1, 1, 2, 2), "unit_norm"),
        ),
        (
            ValueError,
            "image_normalisation = 'max'",
            lambda: normalise_images(torch.ones(1, 1, 2, 2), "max"),
        ),
    ],
)
def test_patches_refuse(error, match, call):
    with pytest.raises(error, match=match):
        call()


def test_image_normalisations():
    images = 3 + 2 * normal(4, 2, 3, 3)
    assert normalise_images(images, "none") is images
    unit = normalise_images(images, "unit_norm")
    assert torch.allclose(unit.flatten(1).norm(dim=1), torch.ones(4, dtype=DOUBLE))
    standard = normalise_images(images, "standardised").flatten(1)
    assert standard.mean(dim=1).abs().max() < 1e-14
    assert torch.allclose(standard.var(dim=1, correction=0), torch.ones(4, dtype=DOUBLE))


# Windows


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("side", [1, 2, 3, 4])
def test_windows_by_convolution_and_adjoint(side, padding):
    x = normal(4, 6, 2)
    found = window_sum(x, side, padding)
    image = x.permute(2, 0, 1)[:, None]
    before, after = (side - 1) // 2, side // 2
    mode = {"circular": "circular", "zero": "constant"}.get(padding)
    if mode:
        image = functional.pad(image, (before, after, before, after), mode=mode)
    wanted = functional.conv2d(image, torch.ones(1, 1, side, side, dtype=DOUBLE))
    assert torch.allclose(found, wanted[:, 0].permute(1, 2, 0))
    y = normal(*found.shape, seed=1)
    back = window_adjoint(y, side, padding, (4, 6))
    assert torch.isclose((found * y).sum(), (x * back).sum())


# The recursion over all pairs of positions


def full_recursion(kernel, u, v, grid):
    """K of two images, from the covariances of all pairs of positions; u, v: (positions, d)."""
    both = torch.cat([u, v])
    K = both @ both.T / u.shape[1]
    theta, positions = K, len(u)
    for layer in range(kernel.depth):
        deviation = K.diagonal().sqrt()
        outer = torch.outer(deviation, deviation)
        angle = torch.acos((K / outer).clamp(-1, 1))
        slope = 1 - angle / math.pi
        K = outer * (angle.sin() / math.pi + slope * angle.cos())
        theta = theta * slope
        if layer < kernel.depth - 1:
            A = filters_matrix(kernel, grid)
            K, grid = pushed(K, A), output_grid(kernel, grid)
            theta = pushed(theta, A) + K
            positions = math.prod(grid)
    return (K + theta)[:positions, positions:].diagonal().mean()


def output_grid(kernel, grid):
    lost = kernel.filter_side - 1 if kernel.filter_padding == "valid" else 0
    return grid[0] - lost, grid[1] - lost


def filters_matrix(kernel, grid):
    """For every output position and offset the input position, or −1 for zero."""
    side, padding = kernel.filter_side, kernel.filter_padding
    before = 0 if padding == "valid" else (side - 1) // 2
    rows, columns = output_grid(kernel, grid)
    table = []
    for i in range(rows):
        for j in range(columns):
            places = []
            for a in range(side):
                for b in range(side):
                    p, q = i + a - before, j + b - before
                    if padding == "circular":
                        p, q = p % grid[0], q % grid[1]
                    inside = 0 <= p < grid[0] and 0 <= q < grid[1]
                    places.append(p * grid[1] + q if inside else -1)
            table.append(places)
    return torch.tensor(table)


def pushed(K, table):
    """E of a convolution's covariance: the mean over equal offsets of both positions."""
    positions = len(K) // 2
    padded = torch.zeros(len(K) + 1, len(K) + 1, dtype=K.dtype)
    padded[:-1, :-1] = K
    places = torch.cat([table, torch.where(table < 0, -1, table + positions)])
    offsets = [padded[places[:, o][:, None], places[:, o][None]] for o in range(table.shape[1])]
    return torch.stack(offsets).mean(dim=0)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_kernel_against_covariances_of_all_pairs_of_positions(depth, padding):
    kernel = ConvolutionalNTK(Patches(2, 1, "circular"), depth, 2, padding)
    X, Z, M = normal(3, 2, 4, 5), normal(2, 2, 4, 5, seed=1), metric(8)
    root = root_of(M)
    U, V = kernel.patches.extract(X) @ root, kernel.patches.extract(Z) @ root
    wanted = [[full_recursion(kernel, u, v, (4, 5)) for v in V] for u in U]
    assert torch.allclose(kernel.matrix(X, Z, M), torch.tensor(wanted), rtol=1e-12)


# Closed values


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_closed_values_of_one_position(depth):
    """At one position there are only angles: equal, opposite, and, for depth 1, orthogonal."""
    kernel = ConvolutionalNTK(Patches(2), depth, 1)
    x, y = normal(1, 1, 2, 2), normal(1, 1, 2, 2, seed=1)
    a = float(x.square().mean())
    assert float(kernel.matrix(x)) == pytest.approx((depth + 1) * a, rel=1e-14)
    assert float(kernel.matrix(x, 3 * x)) == pytest.approx(3 * (depth + 1) * a, rel=1e-7)
    if depth == 1:
        assert float(kernel.matrix(x, -x)) == pytest.approx(0, abs=1e-7)
        y = y - (x * y).sum() / x.square().sum() * x
        wanted = math.sqrt(a * float(y.square().mean())) / math.pi
        assert float(kernel.matrix(x, y)) == pytest.approx(wanted, rel=1e-14)


@pytest.mark.parametrize("depth", [1, 3])
def test_own_values_of_circular_filters(depth):
    kernel = ConvolutionalNTK(Patches(3, 1, "circular"), depth)
    X = normal(4, 2, 6, 6)
    wanted = (depth + 1) * kernel.patches.extract(X).square().mean(dim=(1, 2))
    assert torch.allclose(kernel.diagonal(X), wanted, rtol=1e-14)
    assert torch.equal(kernel.matrix(X).diagonal(), kernel.diagonal(X))


@settings(max_examples=25, deadline=None)
@given(
    depth=st.integers(1, 3),
    padding=st.sampled_from(PADDINGS),
    scale=st.floats(1e-3, 1e3),
    seed=st.integers(0, 1000),
)
def test_homogeneous_symmetric_semidefinite_and_equivariant(depth, padding, scale, seed):
    kernel = ConvolutionalNTK(Patches(2), depth, 2, padding)
    X = normal(5, 1, 6, 5, seed=seed)
    K = kernel.matrix(X)
    assert torch.equal(K, K.T)
    assert torch.linalg.eigvalsh(K)[0] > -1e-8 * K.max()
    assert torch.allclose(kernel.matrix(scale * X, X), scale * kernel.matrix(X, X))
    turn = torch.linalg.qr(normal(4, 4, seed=seed)).Q
    M = metric(4, seed)
    turned = kernel.matrix(X, X.flip(0), turn @ M @ turn.T)
    again = Turned(kernel.patches.side, turn)
    assert torch.allclose(
        turned, ConvolutionalNTK(again, depth, 2, padding).matrix(X, X.flip(0), M)
    )


class Turned(Patches):
    """Patches in another orthonormal basis."""

    def __init__(self, side, turn):
        super().__init__(side)
        object.__setattr__(self, "turn", turn)

    def cut(self, images):
        return super().cut(images) @ self.turn


def test_blocks_do_not_matter(monkeypatch):
    kernel = ConvolutionalNTK(Patches(2), 2)
    X, Z = normal(9, 1, 5, 5), normal(4, 1, 5, 5, seed=1)
    alpha = normal(9, 2, seed=2)
    index = torch.arange(9)

    def run():
        return (
            kernel.matrix(X),
            kernel.matrix(X, Z),
            kernel.diagonal(X),
            patch_agop_of_kernel_machine(kernel, alpha, X, X, None, index),
        )

    whole = run()
    monkeypatch.setattr(prepared, "ENTRIES", 16 * 4)
    monkeypatch.setattr(prepared, "HELD", 16 * 4 * 5)
    for one, other in zip(whole, run(), strict=True):
        assert torch.allclose(one, other, rtol=1e-13, atol=1e-15)


def test_single_precision():
    kernel = ConvolutionalNTK(Patches(3, 1, "circular"), 3)
    X = normal(6, 3, 8, 8)
    near = torch.cat([X, X + 1e-3 * normal(6, 3, 8, 8, seed=1)])
    exact = kernel.matrix(near)
    found = kernel.matrix(near.float())
    assert found.dtype == torch.float32
    assert (found - exact).abs().max() < 2e-4 * exact.max()


def test_shared_patches_lose_half_of_the_digits_and_no_more():
    kernel = ConvolutionalNTK(Patches(3, 1, "circular"), 3)
    X = normal(3, 1, 6, 6)
    K, copies = kernel.matrix(X), kernel.matrix(X, X.clone())
    assert (K - copies).abs().max() < 1e-6 * K.max()


def test_zero_patches_count_nothing():
    kernel = ConvolutionalNTK(Patches(1), 2)
    x, z = torch.zeros(1, 1, 3, 3, dtype=DOUBLE), normal(1, 1, 3, 3)
    assert float(kernel.matrix(x, z)) == 0
    x[0, 0, 1, 1] = 1
    alpha = torch.ones(1, 1, dtype=DOUBLE)
    assert torch.isfinite(kernel.matrix(torch.cat([x, z]))).all()
    assert torch.isfinite(patch_agop_of_kernel_machine(kernel, alpha, x, z)).all()


@pytest.mark.parametrize(
    ("error", "match", "call"),
    [
        (ValueError, "depth = 0", lambda X: ConvolutionalNTK(depth=0)),
        (TypeError, "patches = 3", lambda X: ConvolutionalNTK(3)),
        (ValueError, "filter_padding = 'same'", lambda X: ConvolutionalNTK(filter_padding="same")),
        (
            ValueError,
            "filter_side = 3 must be at most 2",
            lambda X: ConvolutionalNTK(Patches(3)).matrix(X),
        ),
        (ValueError, "smaller than the patches", lambda X: ConvolutionalNTK(Patches(5)).matrix(X)),
        (
            ValueError,
            r"Z has shape \(1, 1, 4, 5\)",
            lambda X: ConvolutionalNTK(Patches(1)).matrix(X, normal(1, 1, 4, 5)),
        ),
        (TypeError, "Z torch.float32", lambda X: ConvolutionalNTK(Patches(1)).matrix(X, X.float())),
        (
            ValueError,
            r"M has shape \(3, 3\), must be \(4,\) or \(4, 4\)",
            lambda X: ConvolutionalNTK(Patches(2)).matrix(X, M=metric(3)),
        ),
        (
            ValueError,
            "M is not symmetric",
            lambda X: ConvolutionalNTK(Patches(2)).matrix(X, M=normal(4, 4).abs()),
        ),
        (
            ValueError,
            "eigenvalue",
            lambda X: ConvolutionalNTK(Patches(2)).matrix(
                X, M=1 - torch.eye(4, dtype=DOUBLE) * 0.5
            ),
        ),
        (
            ValueError,
            r"alpha has shape \(3,\)",
            lambda X: gradients_of_kernel_machine(ConvolutionalNTK(Patches(2)), normal(3), X, X),
        ),
        (
            ValueError,
            "self_index must be in -1, ..., 1",
            lambda X: gradients_of_kernel_machine(
                ConvolutionalNTK(Patches(2)), normal(2), X, X, None, torch.tensor([0, 2])
            ),
        ),
        (
            TypeError,
            "centres must be",
            lambda X: gradients_of_kernel_machine(ConvolutionalNTK(Patches(2)), normal(2), X, None),
        ),
    ],
)
def test_kernel_refuses(error, match, call):
    with pytest.raises(error, match=match):
        call(normal(2, 1, 4, 4))


# Wide random networks


def networks(images, kernel, width, draws, generator):
    """Outputs at two images and inner products of the gradients there, of random networks.

    Weights are N(0, 1), and every layer divides by the root of its fan-in. Returns f(x)f(z) and
    ⟨∇f(x), ∇f(z)⟩, shape (draws, 2).
    """
    channels, side = images.shape[1], kernel.patches.side
    shapes = [(width, channels, side, side)]
    shapes += [(width, width, kernel.filter_side, kernel.filter_side)] * (kernel.depth - 1)
    positions = math.prod(kernel.shape.grids(*images.shape[2:])[-1])
    shapes.append((width * positions,))
    found = []
    for _ in range(draws):
        weights = [torch.randn(s, generator=generator).requires_grad_() for s in shapes]
        outputs = [network(image[None], kernel, weights) for image in images]
        gradients = [flat(torch.autograd.grad(f, weights)) for f in outputs]
        found.append(
            (float((outputs[0] * outputs[1]).detach()), float(gradients[0] @ gradients[1]))
        )
    return np.array(found)


def flat(parts):
    return torch.cat([part.flatten() for part in parts])


def network(image, kernel, weights):
    """First convolution on the circular image (stride 1 sees the same patches), then the rest."""
    x = image
    for number, w in enumerate(weights[:-1]):
        side = w.shape[-1]
        padding = kernel.patches.padding if number == 0 else kernel.filter_padding
        mode = {"circular": "circular", "zero": "constant"}.get(padding)
        if mode:
            before, after = (side - 1) // 2, side // 2
            x = functional.pad(x, (before, after, before, after), mode=mode)
        x = functional.conv2d(x, w) / math.sqrt(w[0].numel())
        x = math.sqrt(2) * functional.relu(x)
    return (x.flatten() @ weights[-1]) / math.sqrt(x.numel())


def z_score(samples, value):
    return abs(samples.mean() - value) / (samples.std(ddof=1) / math.sqrt(len(samples)))


def test_one_convolution_is_exact_in_expectation_at_every_width():
    images = normal(2, 2, 4, 4, dtype=torch.float32)
    images[1] = images[0] + images[1] / 2
    kernel = ConvolutionalNTK(Patches(2), 1)
    found = networks(images, kernel, 8, 4000, torch.Generator().manual_seed(1))
    u, v = (kernel.patches.extract(images.double())[i] for i in (0, 1))
    whole = float(kernel.matrix(images.double())[0, 1])
    angle = torch.acos(functional.cosine_similarity(u, v, dim=1))
    size = u.norm(dim=1) * v.norm(dim=1) / u.shape[1]
    nngp = float((size * (angle.sin() + (math.pi - angle) * angle.cos()) / math.pi).mean())
    # Products of two nearly Gaussian numbers, 4000 of them: their mean is Gaussian enough for 4.5.
    assert z_score(found[:, 0], nngp) < 4.5
    assert z_score(found[:, 1], whole) < 4.5


@pytest.mark.parametrize("padding", ["valid", "circular"])
def test_deeper_networks_tend_to_the_kernel(padding):
    """The bias at width k is c/k + O(1/k²): twice the mean at 2k less that at k has none of c/k."""
    images = normal(2, 1, 4, 4, dtype=torch.float32)
    images[1] = images[0] + images[1] / 2
    kernel = ConvolutionalNTK(Patches(2, 1, "circular"), 3, 3, "circular")
    if padding == "valid":
        kernel = ConvolutionalNTK(Patches(2, 1, "circular"), 2, 2, "valid")
    generator = torch.Generator().manual_seed(2)
    wide = networks(images, kernel, 64, 400, generator)[:, 1]
    narrow = networks(images, kernel, 32, 400, generator)[:, 1]
    mean = 2 * wide.mean() - narrow.mean()
    error = math.sqrt((4 * wide.var(ddof=1) + narrow.var(ddof=1)) / 400)
    value = float(kernel.matrix(images.double())[0, 1])
    assert abs(mean - value) < 4.5 * error
    assert error < 0.05 * value


# Gradients


def by_autograd(kernel, alpha, U, V, grid, root):
    """Gradients with respect to patches, differentiating the recursion as it is written."""
    U = U.clone().requires_grad_(True)
    X, Z = U @ root, V @ root
    d = X.shape[2]
    K = torch.einsum("npd,mpd->pnm", X, Z) / d
    a, b = X.square().sum(2).T / d, Z.square().sum(2).T / d
    theta = K
    for layer in range(kernel.depth):
        outer = torch.sqrt(a[:, :, None] * b[:, None, :])
        angle = torch.acos(K / outer)
        slope = 1 - angle / math.pi
        value, theta = outer * (angle.sin() / math.pi + slope * angle.cos()), theta * slope
        if layer < kernel.depth - 1:
            table = filters_matrix(kernel, grid)
            grid = output_grid(kernel, grid)
            K, theta, a, b = (averaged(t, table) for t in (value, theta, a, b))
            theta = theta + K
    f = (value + theta).mean(0) @ alpha
    columns = [torch.autograd.grad(c.sum(), U, retain_graph=True)[0] for c in f.unbind(1)]
    return torch.stack(columns, dim=2)


def averaged(x, table):
    padded = torch.cat([x, torch.zeros_like(x[:1])])
    return padded[table].mean(dim=1)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_gradients_against_autograd(depth, padding):
    kernel = ConvolutionalNTK(Patches(2, 1, "circular"), depth, 2, padding)
    X, Z, alpha, M = normal(4, 2, 4, 5), normal(3, 2, 4, 5, seed=1), normal(3, 2, seed=2), metric(8)
    U, V = kernel.patches.extract(X), kernel.patches.extract(Z)
    wanted = by_autograd(kernel, alpha, U, V, (4, 5), root_of(M))
    assert torch.allclose(
        gradients_of_kernel_machine(kernel, alpha, X, Z, M), wanted, rtol=1e-9, atol=1e-12
    )
    agop = torch.einsum("npci,npcj->ij", wanted, wanted) / len(X)
    found = patch_agop_of_kernel_machine(kernel, alpha, X, Z, M)
    assert torch.allclose(found, agop, rtol=1e-10)
    one = patch_agop_of_kernel_machine(kernel, alpha[:, 0], X, Z, M)
    assert torch.allclose(one, patch_agop_of_kernel_machine(kernel, alpha[:, :1], X, Z, M))


@pytest.mark.parametrize("depth", [1, 2])
def test_gradients_at_centres_against_central_differences(depth):
    """Where an image meets itself K has a cone, whose two-sided difference is 0."""
    kernel = ConvolutionalNTK(Patches(2, stride=2), depth, 2)  # patches share no pixel
    X, alpha = normal(4, 1, 6, 6), normal(4, seed=2)
    found = gradients_of_kernel_machine(kernel, alpha, X, X, None, torch.arange(4))[:, :, 0]
    by_angle = gradients_of_kernel_machine(kernel, alpha, X, X)[:, :, 0]
    assert torch.allclose(found, by_angle, rtol=1e-6, atol=1e-8)
    step = 1e-5
    for pixel in ((0, 0), (3, 4), (5, 5)):
        moved = []
        for sign in (1, -1):
            other = X.clone()
            other[1, 0, pixel[0], pixel[1]] += sign * step
            moved.append(float(kernel.matrix(other[1:2], X) @ alpha))
        place = (pixel[0] // 2) * 3 + pixel[1] // 2
        entry = 2 * (pixel[0] % 2) + pixel[1] % 2
        difference = (moved[0] - moved[1]) / (2 * step)
        assert float(found[1, place, entry]) == pytest.approx(difference, rel=1e-4, abs=1e-6)


def test_agop_in_single_precision_drops_the_self_term():
    kernel = ConvolutionalNTK(Patches(3), 2)
    X, alpha = normal(10, 2, 8, 8), normal(10, 1, seed=3)
    index = torch.arange(10)
    exact = patch_agop_of_kernel_machine(kernel, alpha, X, X, None, index)
    found = patch_agop_of_kernel_machine(kernel, alpha.float(), X.float(), X.float(), None, index)
    assert (found - exact).abs().max() < 1e-4 * exact.abs().max()
