"""Expected filter covariances and patch-AGOPs over independent readouts: the theory."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
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
from theory.convolution.first_filters import one_step_filters
from theory.convolution.gaussian_filters import derive_gaussian_step, gaussian_patch_agop
from theory.convolution.wide_filters import derive_wide_step, wide_patch_agop

few = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**31 - 1)
ACTIVATIONS = {
    "linear": lambda z: z,
    "erf": torch.erf,
    "tanh": torch.tanh,
    "gelu": functional.gelu,
}


@pytest.mark.parametrize(
    "derive", [derive_independent_step, derive_wide_step, derive_gaussian_step]
)
def test_every_step_holds(derive):
    assert [result.idea for result in derive().check() if not result.holds] == []


def draw(seed, *shape, scale=1.0):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=rng, dtype=torch.float64) * scale


@given(
    seed=seeds,
    n=st.integers(1, 3),
    shape=st.sampled_from([(1, 1), (1, 3), (2, 2), (4, 1), (3, 2)]),
    values=st.lists(st.integers(-3, 3), min_size=2, max_size=2, unique=True),
    weight=st.sampled_from([0.5, 0.25]),
    activation=st.sampled_from(sorted(ACTIVATIONS)),
    rate=st.sampled_from([0.3, 2.0]),
)
@settings(max_examples=10, deadline=None)
def test_expectations_are_means_over_all_networks(seed, n, shape, values, weight, activation, rate):
    """Every readout of a law on two values; the networks are stepped by reverse mode."""
    positions, width = shape
    patches, targets = draw(seed, n, positions, 3), draw(seed + 1, n)
    moments = [weight * values[0] ** j + (1 - weight) * values[1] ** j for j in range(1, 5)]
    (bent, covariance, agop), square = np.zeros((3, 3, 3)), 0.0
    for picks in itertools.product((0, 1), repeat=positions * width):
        likelihood = weight ** picks.count(0) * (1 - weight) ** picks.count(1)
        readout = torch.tensor([float(values[i]) for i in picks]).double()
        readout = readout.reshape(positions, width)
        curved = rate * _filters(readout, patches, targets, ACTIVATIONS[activation])
        bent += likelihood * curved.T @ curved
        W, matrix = _linear_step(readout, patches, targets)
        covariance += likelihood * W.T @ W
        agop += likelihood * matrix
        square += likelihood * np.sum((W.T @ W) ** 2)
    found = expected_filter_covariance(patches, targets, width, moments)
    np.testing.assert_allclose(found, covariance, atol=1e-10 * np.abs(covariance).max())
    options = {"activation": activation, "rate": rate}
    found = expected_filter_covariance(patches, targets, width, moments, **options)
    np.testing.assert_allclose(found, bent, atol=1e-10 * np.abs(bent).max())
    found = expected_patch_agop(patches, targets, width, moments, rate)
    np.testing.assert_allclose(found, rate**2 * agop, atol=1e-10 * np.abs(found).max())
    if moments[0] == 0:
        spread = square / np.sum(covariance**2) - 1
        claimed = filter_covariance_spread(patches, targets, width, moments)
        assert claimed == pytest.approx(spread, abs=1e-9)


def _filters(readout, patches, targets, activation):
    """W after a step of size 1 from zero filters."""
    W = torch.zeros(readout.shape[1], patches.shape[2], dtype=torch.float64, requires_grad=True)
    outputs = (activation(patches @ W.T) * readout).sum(dim=(1, 2))
    (slope,) = torch.autograd.grad((outputs - targets).square().sum() / 2, W)
    return -slope.numpy()


def _linear_step(readout, patches, targets):
    W = _filters(readout, patches, targets, ACTIVATIONS["linear"])
    x = patches.clone().requires_grad_()
    (gradients,) = torch.autograd.grad((x @ torch.from_numpy(W).T * readout).sum(), x)
    rows = gradients.flatten(0, 1)
    return W, (rows.T @ rows / len(patches)).numpy()


def test_named_laws():
    k, P = 7, 5
    at = {WIDTH: k, POSITIONS: P}
    nodes, weights = np.polynomial.hermite_e.hermegauss(9)
    laws = {"gaussian": (nodes, weights / weights.sum()), "rademacher": ([-1.0, 1.0], [0.5, 0.5])}
    expected = {"gaussian": k * (k + P + 1), "rademacher": k * (k + P - 1)}
    for law, (values, likelihood) in laws.items():
        moments = readout_moments(law)
        by_law = [np.dot(likelihood, np.power(values, j)) for j in range(1, 5)]
        assert moments == pytest.approx(by_law, rel=1e-13, abs=1e-13)
        symbols = dict(zip((M1, M2, M3, M4), moments, strict=True))
        assert float(AGOP_OWN.subs({**at, **symbols})) == expected[law]


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_moments_of_a_law_are_told_from_others_at_any_scale(scale):
    """±a, Bernoulli and three-point laws are taken; below the fourth moment of ±a there is none."""
    powers = scale ** np.arange(1, 5)
    for moments in (
        [0, 1, 0, 1],
        [0.5] * 4,
        [1] * 4,
        [-0.1, 0.5, -0.1, 0.5],
        [0, 1, 1, 2],
        [0] * 4,
    ):
        found = readout_moments(powers * moments)
        assert found == tuple(powers * moments)
    for moments in ([0, 1, 0, 0.999], [1.001, 1, 1, 1], [0.5, 0.5, 0.5, 0.499], [0, 0, 0, 1],
                    [0, 1, 1, 1.99], [0, 1, 1e150, 1], [0, -1, 0, 1]):  # fmt: skip
        with pytest.raises(ValueError, match="which no law has"):
            readout_moments(powers * moments)


@pytest.mark.parametrize("scale", [1e-250, 1e-100, 1e100, 1e250])
def test_the_spread_has_no_scale(scale):
    patches, targets = draw(24, 2, 3, 4).numpy(), draw(25, 2)
    spread = filter_covariance_spread(patches, targets, 4)
    assert filter_covariance_spread(scale * patches, targets, 4) == pytest.approx(spread, rel=1e-12)
    power = scale**0.25
    found = filter_covariance_spread(patches, targets, 4, [0, power, 0, 3 * power**2])
    assert found == pytest.approx(spread, rel=1e-12)


def test_the_spread_of_a_rarely_used_readout():
    """m_2² is below the doubles, m_4 is not: ±1e-65 with probability 1e-40, and else 0."""
    patches, targets = draw(24, 2, 3, 4).numpy(), draw(25, 2)
    expected = filter_covariance_spread(patches, targets, 4, [0.0, 1.0, 0.0, 1e40])
    found = filter_covariance_spread(patches, targets, 4, [0.0, 1e-170, 0.0, 1e-300])
    assert found == pytest.approx(expected, rel=1e-12)


def test_a_small_rate_tames_large_patches():
    """η² and Σ v_pv_pᵀ alone are beyond the doubles, their product is not."""
    patches, targets = draw(26, 2, 3, 4).numpy(), draw(27, 2)
    for expected in (expected_filter_covariance, expected_patch_agop):
        found = expected(1e200 * patches, targets, 3, rate=1e-200)
        np.testing.assert_allclose(found, expected(patches, targets, 3), rtol=1e-11)


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


@pytest.mark.parametrize("activation", ["erf", "tanh", "gelu"])
def test_one_unit_by_quadrature_over_its_readout(activation):
    """k = 1, P = 2: the mean over the plane of readouts by Gauss and Hermite's rule."""
    patches, targets = draw(28, 2, 2, 3, scale=0.4), draw(29, 2)
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    weights = weights / weights.sum()
    mean = np.zeros((3, 3))
    for (a, u), (b, w) in itertools.product(zip(nodes, weights, strict=True), repeat=2):
        readout = 0.7 * np.array([[a], [b]])
        step = one_step_filters(patches, targets, readout, activation, 0.5)
        mean += u * w * step.patch_agop
    found = gaussian_patch_agop(patches, targets, 1, activation, 0.5, deviation=0.7)
    np.testing.assert_allclose(found, mean, atol=1e-7 * mean.max())


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


def test_long_and_short_steps_in_one_image():
    """φ = erf at s of order 1 beside s = 1e90, whose nodes lie far out; linear at s = 1e12."""
    alone = wide_patch_agop([[[1.0]]], [1.0], "erf")[0, 0]
    both = wide_patch_agop([[[1.0, 0.0], [0.0, 1e45]]], [1.0], "erf")
    assert both[0, 0] == pytest.approx(alone, rel=1e-9)
    assert gaussian_patch_agop([[[1.0, 0.0], [0.0, 1e45]]], [1.0], 1, "erf")[0, 0] > 0
    assert wide_patch_agop([[[1e6]]], [1.0])[0, 0] == pytest.approx(1e12, rel=1e-9)


def test_a_blank_patch_has_the_slope_at_zero():
    limit = wide_patch_agop([[[1.0, 0.0], [0.0, 0.0]]], [1.0], "erf", 1e-6)
    assert limit[0, 0] == pytest.approx(1e-12 * (4 / np.pi) ** 2, rel=1e-6)


# ── bad input ────────────────────────────────────────────────────────────────────────────────────

PATCHES, TARGETS = np.ones((2, 3, 4)), np.ones(2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
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
        (lambda: filter_covariance_spread(PATCHES, TARGETS, 2, [0.0] * 4), ValueError,
         "E a² = 0.0; a mean of 0 and E a² > 0"),
        (lambda: filter_covariance_spread(PATCHES, 0 * TARGETS, 2), ValueError, "W rests at 0"),
        (lambda: expected_patch_agop(PATCHES, TARGETS, 10**400), OverflowError,
         "width has 1329 binary digits"),
        (lambda: expected_filter_covariance(PATCHES, TARGETS, 10**5000), OverflowError,
         "width has 16610 binary digits"),
        (lambda: gaussian_patch_agop(PATCHES, TARGETS, 10**400), OverflowError,
         "width has 1329 binary digits"),
        (lambda: gaussian_patch_agop(PATCHES, TARGETS, 10**200), OverflowError,
         "E patch-AGOP overflows"),
        (lambda: expected_patch_agop(PATCHES, TARGETS, 10**200), OverflowError,
         "E patch-AGOP overflows"),
        (lambda: expected_filter_covariance(PATCHES, TARGETS, 2, rate=1e200), OverflowError,
         "E WᵀW overflows"),
        (lambda: expected_patch_agop(PATCHES, TARGETS, 2, [0.0, 1e200, 0.0, np.inf]), ValueError,
         "readout holds inf"),
        (lambda: filter_covariance_spread(PATCHES, TARGETS, 2, [0.0, 1e-100, 0.0, 1e300]),
         OverflowError, "the spread overflows"),
        (lambda: expected_patch_agop(1e200 * PATCHES, 1e200 * TARGETS, 2), OverflowError,
         "Σ_i r_i x_ip overflows"),
        (lambda: wide_patch_agop(1e160 * PATCHES, TARGETS, "tanh"), OverflowError,
         "a pre-activation overflows"),
        (lambda: wide_patch_agop(PATCHES, TARGETS, rate=1e-2, deviation=1e100), OverflowError,
         "the limit of patch-AGOP/k² overflows"),
        (lambda: wide_patch_agop(PATCHES, TARGETS, "quadratic"), ValueError, r"φ'\(0\) = 0"),
        (lambda: wide_patch_agop(PATCHES, TARGETS, "softplus"), ValueError, r"φ\(0\) = 0.69"),
        (lambda: gaussian_patch_agop(PATCHES, TARGETS, 0), ValueError, "width = 0"),
        (lambda: gaussian_patch_agop(PATCHES, TARGETS, 1, "relu"), ValueError, r"φ'\(0\) = 0"),
        (lambda: wide_patch_agop(PATCHES, TARGETS, deviation=-1.0), ValueError, "deviation = -1.0"),
    ],
)  # fmt: skip
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
