"""The boundary of the inconsistency theorem: thin tails, spikes, and the threshold of the null."""

import itertools
import math

import numpy as np
import pytest
import sympy
from flint import arb

from theory.derivation import Derivation
from theory.ridgeless import cauchy, gaussian, laplace, spiky, tail_needed, threshold
from theory.ridgeless.kernels import Cauchy, Gaussian, Laplace, Matern, Product
from theory.ridgeless.spectral import SpectralKernel

MORE = sympy.Rational(51, 50)


def holds(derivation: Derivation) -> bool:
    return all(result.residual == 0 for result in derivation.check())


def last_holds(derivation: Derivation) -> bool:
    return derivation.steps[-1].check().holds


# --- tail_needed


def test_tail_derivations_hold() -> None:
    assert holds(tail_needed.derive_limit())
    assert holds(tail_needed.derive_bounds())


@pytest.mark.parametrize("claimed", [MORE, -1, 0])
def test_wrong_limit_fails(claimed: sympy.Expr) -> None:
    results = tail_needed.derive_limit(sympy.sympify(claimed)).check()
    assert [r.holds for r in results[-2:]] == [False, False]


def test_wrong_bounds_fail() -> None:
    assert not holds(tail_needed.derive_bounds(lower=sympy.Rational(1, 14)))
    assert not holds(tail_needed.derive_bounds(upper=sympy.Integer(5)))
    assert not holds(tail_needed.derive_bounds(upper=-tail_needed.UPPER))


def brute_variance(n: int, aliases: int = 4000) -> tuple[float, float]:
    """V_n from the definition with |m| ≤ aliases, S and Q cut or completed by an integral."""
    m = np.arange(-aliases, aliases + 1)
    low = high = 0.0
    for residue in range(n):
        k = np.abs(residue + n * m)
        g = 1 / ((np.e + k) * np.log(np.e + k) ** 2)
        tail = 2 / (n * np.log(np.e + n * (aliases - 1)))
        low += (g**2).sum() / (g.sum() + tail) ** 2 / n
        high += (g**2).sum() / g.sum() ** 2 / n
    return low, high


@pytest.mark.parametrize("n", [2, 3, 8, 15])
def test_variance_against_brute_force(n: int) -> None:
    ball = tail_needed.variance_enclosure(n)
    low, high = brute_variance(n)
    assert float(ball.rad()) < 1e-3
    assert float(ball.lower()) < high
    assert float(ball.upper()) > low
    assert abs(float(ball.mid()) / low - 1) < 0.01


def test_blocks_agree_with_direct_sum() -> None:
    blocks, direct = tail_needed._in_blocks(20000), tail_needed._direct(20000)
    assert blocks.overlaps(direct)
    assert float(blocks.rad() / blocks.mid()) < 0.1
    assert not blocks.overlaps(direct * 1.1)


@pytest.mark.parametrize("n", [1000, 10**5, 10**50, 10**300])
def test_bounds_enclose_the_variance(n: int) -> None:
    ball = tail_needed.variance_enclosure(n)
    assert not ball < tail_needed.variance_lower(n)
    assert not ball > tail_needed.variance_upper(n)
    assert tail_needed.variance_lower(n) < tail_needed.variance_upper(n)


def test_variance_log_n_approaches_one() -> None:
    at = [10**6, 10**30, 10**300]
    products = [tail_needed.variance_enclosure(n) * arb(n).log() for n in at]
    assert products[2] < products[1] < products[0]
    assert abs(float(products[2].mid()) - 1) < 0.07
    assert float(products[2].rad()) < 0.1


def test_tail_ratio_grows_like_log_n() -> None:
    ratios = [tail_needed.tail_ratio(10**p) for p in (2, 4, 8, 16, 32)]
    assert all(a < b for a, b in itertools.pairwise(ratios))
    assert 0.9 < float(ratios[-1]) / math.log(10**32) < 1.1


def test_bias_bound_is_a_bound_and_vanishes() -> None:
    n, target = 40, {0: 1.0, 2: 0.5 + 0.5j, -2: 0.5 - 0.5j}
    m = np.arange(-20000, 20001)
    exact = 0.0
    for k, f in target.items():
        g = 1 / ((np.e + np.abs(k + n * m)) * np.log(np.e + np.abs(k + n * m)) ** 2)
        r = g / g.sum()
        own = r[20000]
        exact += abs(f) ** 2 * ((1 - own) ** 2 + (r**2).sum() - own**2)
    assert exact < float(tail_needed.bias_bound(n, target)) < 8 * exact
    assert float(tail_needed.bias_bound(10**20, target)) < 1e-36


def test_tail_bad_input() -> None:
    with pytest.raises(ValueError, match="n = 1"):
        tail_needed.variance_enclosure(1)
    with pytest.raises(TypeError, match="n ="):
        tail_needed.variance_enclosure(10.0)
    with pytest.raises(ValueError, match="frequency 5"):
        tail_needed.bias_bound(10, {5: 1.0})


# --- spiky


def test_spiky_derivations_hold() -> None:
    assert holds(spiky.derive_spike())
    assert holds(spiky.derive_consistency())


@pytest.mark.parametrize("change", [lambda f: f * MORE, lambda f: -f, lambda f: f - f])
def test_wrong_spike_fails(change: object) -> None:
    assert not last_holds(spiky.derive_spike(change(spiky.SPIKE_ENERGY)))
    assert not last_holds(spiky.derive_consistency(change(spiky.ESTIMATION_BOUND)))


def test_dropped_terms_fail() -> None:
    for term in spiky.ESTIMATION_BOUND.as_ordered_terms():
        claimed = spiky.ESTIMATION_BOUND - term
        assert not last_holds(spiky.derive_consistency(claimed))


@pytest.mark.parametrize("width", [0.2, 0.07, 0.031])
def test_spike_alias_sums(width: float) -> None:
    """n = 2: Σ ŝ = 1/n in both classes for w ≤ 1/n, Σ ŝ² = (2w/3)/n for 2w ≤ 1/n."""
    n = 2
    for residue in range(n):
        k = residue + n * np.arange(-200000, 200001)
        s = width * np.sinc(width * k) ** 2
        assert abs(s.sum() - 1 / n) < 1e-4 / width
        assert abs(s.sum() - 1 / n) < 2e-5 / width
        assert abs((s**2).sum() - 2 * width / 3 / n) < 1e-12
    assert abs(float(spiky.spike_coefficient(3, width)) - width * np.sinc(3 * width) ** 2) < 1e-15


def test_spiky_interpolant_is_ridge_plus_bumps() -> None:
    """On a fine grid: the exact distance, and the bound, against the two predictors."""
    n, width, rho, bandwidth = 6, 0.02, 0.4, 0.3
    rng = np.random.default_rng(1)
    y = rng.normal(size=n)
    grid = np.arange(n) / n
    fine = (np.arange(60000) + 0.5) / 60000

    def periodic(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        gap = np.abs(a[:, None] - b)
        return np.minimum(gap, 1 - gap)

    def smooth(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        gap = np.abs(a[:, None] - b)
        return sum(np.exp(-np.abs(gap + m) / bandwidth) for m in range(-30, 31))

    def spike(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.maximum(0, 1 - periodic(a, b) / width)

    K = smooth(grid, grid)
    assert np.array_equal(K + rho * spike(grid, grid), K + rho * np.eye(n))
    weights = np.linalg.solve(K + rho * np.eye(n), y)
    difference = rho * spike(fine, grid) @ weights
    residual = y - K @ weights
    distance = float(np.sqrt((difference**2).mean()))
    assert abs(distance - math.sqrt(2 * width / 3) * np.linalg.norm(residual)) < 1e-6
    assert distance < float(spiky.spike_gap(n, width, float((y**2).mean())))


@pytest.mark.parametrize(
    ("n", "bandwidth", "ridge"), [(16, 0.1, 1.0), (64, 0.5, 0.2), (9, 2.0, 0.1)]
)
def test_consistency_bounds_against_exact_risk(n: int, bandwidth: float, ridge: float) -> None:
    target = {0: 1.0, 1: 0.5j, -1: -0.5j}
    m = np.arange(-50000, 50001)
    estimation = approximation = 0.0
    for residue in range(n):
        k = residue + n * m
        g = 2 * bandwidth / (1 + (2 * np.pi * bandwidth * k) ** 2)
        r = g / (g.sum() + ridge / n)
        estimation += (r**2).sum() / n
        for frequency, f in target.items():
            if (frequency - residue) % n == 0:
                own = r[np.argmin(np.abs(k - frequency))]
                approximation += abs(f) ** 2 * ((1 - own) ** 2 + (r**2).sum() - own**2)
    assert estimation < float(spiky.estimation_bound(n, bandwidth, ridge))
    bound = float(spiky.approximation_bound(n, bandwidth, ridge, target))
    assert approximation < bound < 100 * approximation


def test_spiky_interpolation_is_consistent() -> None:
    target = {0: 1.0, 1: 0.5, -1: 0.5}
    bounds = [
        float(spiky.spiky_risk_bound(n, 0.1, 0.5, n**-2.0, 1.0, target))
        for n in (10**4, 10**6, 10**8)
    ]
    assert 9 < bounds[0] / bounds[1] < 12  # rate n^{-1/2}
    assert 9 < bounds[1] / bounds[2] < 12
    assert bounds[2] < 5e-4


def test_spiky_bad_input() -> None:
    with pytest.raises(ValueError, match="width"):
        spiky.spike_gap(10, 0.06, 1.0)
    with pytest.raises(ValueError, match="frequency 8"):
        spiky.approximation_bound(16, 0.1, 1.0, {8: 1.0})
    with pytest.raises(ValueError, match="ridge"):
        spiky.estimation_bound(16, 0.1, 0.0)


# --- threshold

NAMED = [
    (Laplace(1), sympy.Rational(1, 3)),
    (Laplace(2), sympy.Rational(1, 7)),
    (Laplace(3), sympy.Rational(1, 15)),
    (Gaussian(1), 1 / (2 * sympy.sqrt(2) - 1)),
    (Gaussian(2), sympy.Rational(1, 3)),
    (Cauchy(1), sympy.Rational(1, 3)),
    (Cauchy(2), sympy.Rational(1, 7)),
    (Matern(1.5, 2), sympy.Rational(3, 13)),
    (Matern(1, 2), sympy.Rational(1, 5)),
    (Product(Laplace(1), 3), sympy.Rational(1, 15)),
]


@pytest.mark.parametrize(("kernel", "expected"), NAMED, ids=[repr(k) for k, _ in NAMED])
def test_threshold_value_and_derivation(kernel: object, expected: sympy.Expr) -> None:
    assert sympy.simplify(threshold.null_threshold(kernel) - expected) == 0
    assert holds(threshold.derive_threshold(kernel))
    for wrong in (expected * MORE, -expected, sympy.S.Zero):
        assert not last_holds(threshold.derive_threshold(kernel, wrong))


def test_threshold_of_smooth_matern_has_gammas() -> None:
    s = threshold.null_threshold(Matern(0.75, 1))
    assert holds(threshold.derive_threshold(Matern(0.75, 1)))
    assert (
        abs(float(s) - 1 / (6 * math.sqrt(math.pi) * math.gamma(0.75) / math.gamma(0.25) - 1))
        < 1e-14
    )


def test_threshold_of_a_spectral_kernel() -> None:
    density = SpectralKernel(lambda xi: 7 * np.exp(-(xi**2)), 1)
    assert (
        abs(threshold.null_threshold(density) - float(threshold.null_threshold(Gaussian(1)))) < 1e-9
    )
    hollow = SpectralKernel(lambda xi: (0.01 + xi**4) * np.exp(-(xi**2)), 1)
    assert threshold.null_threshold(hollow) == math.inf


def test_expansion_holds_and_fails() -> None:
    assert holds(threshold.derive_expansion())
    for wrong in (lambda F, E: E * MORE, lambda F, E: -E, lambda F, E: F):
        assert not holds(threshold.derive_expansion(claimed_estimation=wrong))
    for wrong in (lambda F, E: -2 * F, lambda F, E: E + 2 * F, lambda F, E: MORE * (E - 2 * F)):
        assert not holds(threshold.derive_expansion(claimed_approximation=wrong))


@pytest.mark.parametrize("c", [0.12, 0.05])
def test_narrow_risk_encloses_closed_forms(c: float) -> None:
    for kernel, exact in ((Laplace(1), laplace), (Cauchy(1), cauchy), (Gaussian(1), gaussian)):
        narrow = threshold.narrow_risk(kernel, c)
        assert narrow.estimation.overlaps(exact.ESTIMATION.ball(c))
        assert narrow.approximation.overlaps(exact.APPROXIMATION.ball(c))
    small = threshold.narrow_risk(Laplace(1), 0.02)
    assert float(small.approximation.rad()) < 1e-9


@pytest.mark.parametrize(
    "kernel", [Laplace(2), Gaussian(3), Cauchy(2), Matern(2.5, 2), Matern(0.3, 1)]
)
def test_neighbour_sum_is_a_bound(kernel: object) -> None:
    c, reach = 0.4, 30
    axis = np.arange(-reach, reach + 1) / c
    points = np.stack(np.meshgrid(*[axis] * kernel.dimension, indexing="ij"), axis=-1)
    values = kernel.kernel(points if kernel.dimension > 1 else points[..., 0])
    direct = float(values.sum()) - 1
    bound = float(threshold.neighbour_sum(kernel, arb(c)))
    assert direct < bound < 40 * direct


def test_just_above_threshold_narrow_wins_and_just_below_it_does_not() -> None:
    for kernel in (Laplace(1), Gaussian(1), Laplace(2), Matern(1.5, 2)):
        s = float(threshold.null_threshold(kernel))
        narrow = threshold.narrow_risk(kernel, 0.03)
        assert 1.001 * s * narrow.approximation + narrow.estimation < 1.001 * s
        assert 0.999 * s * narrow.approximation + narrow.estimation > 0.999 * s


def test_threshold_bad_input() -> None:
    with pytest.raises(TypeError, match="kernel"):
        threshold.null_threshold("laplace")
    with pytest.raises(ValueError, match="too large"):
        threshold.narrow_risk(Laplace(1), 3.0)
    with pytest.raises(ValueError, match="c ="):
        threshold.narrow_risk(Laplace(1), 0.0)
