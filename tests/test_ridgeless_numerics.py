"""Kernel regression on the torus by brute force, against what can be worked out by hand.

The values to compare with are written here from definitions: sums over images term by term, the
Laplace interpolant between two neighbours (a solution of -h²u'' + u = 0), means over fine grids.
Spectral sums appear as an independent check only; the package itself has none.
"""

from __future__ import annotations

import itertools
import math
import pickle
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import bernoulli, gamma, kv

from numerics import ridgeless
from numerics.ridgeless import (
    PeriodicKernel,
    Profile,
    SingularSystemError,
    design_errors,
    design_risk,
    exact_risk,
    exact_risk_mp,
    fit,
    grid,
    jittered_grid,
    kernel_matrix,
    lattice,
    monte_carlo_risk,
    periodised,
    periodised_mp,
    predict,
    squared_errors,
    truncation_error,
    uniform_design,
)
from numerics.ridgeless.interpolation import factorise

EPS = np.finfo(np.float64).eps


def unscaled_matern(r):
    return np.exp(-r) * (1 + r + r**2 / 3)  # Matérn 5/2 without its scale: a valid kernel


PROFILES = [
    Profile("gaussian", 1),
    Profile("laplace", 1),
    Profile("cauchy", 1),
    Profile("matern", 1, nu=1.5),
    Profile("matern", 1, nu=0.8),
    Profile("gaussian", 2),
    Profile("laplace", 2),
    Profile("cauchy", 2),
    Profile("matern", 2, nu=2.5),
    Profile("laplace", 2, product=True),
    Profile("cauchy", 2, product=True),
    Profile("laplace", 3),
    Profile("cauchy", 3),
    Profile("unscaled_matern", 2, radial=unscaled_matern),
]
ids = [f"{p.name}-{p.dimension}{'-product' * p.product}-{p.nu}" for p in PROFILES]
every_profile = pytest.mark.parametrize("profile", PROFILES, ids=ids)


def laplace_cost(s):
    """Noise per length between neighbours at distance s bandwidths: coth(s)/s - csch²(s)."""
    return 1 / np.tanh(s) / s - 1 / np.sinh(s) ** 2


# --- profiles ------------------------------------------------------------------------------------


@every_profile
def test_profiles_are_one_at_zero_and_fall(profile):
    x = np.zeros((50, profile.dimension))
    x[:, 0] = np.linspace(0, 8, 50)
    values = profile(x)
    assert values[0] == 1.0
    assert np.all(np.diff(values) < 0)
    assert values[-1] > 0


def test_profiles_by_definition():
    x = np.array([[0.3, -1.2], [2.0, 0.5]])
    r = np.hypot(x[:, 0], x[:, 1])
    assert Profile("gaussian", 2)(x) == pytest.approx(np.exp(-(r**2) / 2), rel=1e-14)
    assert Profile("laplace", 2)(x) == pytest.approx(np.exp(-r), rel=1e-14)
    assert Profile("cauchy", 2)(x) == pytest.approx((1 + r**2) ** -1.5, rel=1e-14)
    product = Profile("cauchy", 2, product=True)
    assert product(x) == pytest.approx(np.prod(1 / (1 + x**2), axis=1), rel=1e-14)


@pytest.mark.parametrize("nu", [0.3, 0.5, 0.8, 1.0, 1.5, 2.5, 3.7, 7.5, 30.0])
def test_matern_by_definition(nu):
    r = np.array([1e-3, 0.1, 0.7, 1.0, 3.0, 9.0])
    z = math.sqrt(2 * nu) * r
    expected = 2 ** (1 - nu) / gamma(nu) * z**nu * kv(nu, z)
    assert Profile("matern", nu=nu)(r[:, None]) == pytest.approx(expected, rel=2e-13)


@pytest.mark.parametrize("nu", [0.2, 0.5, 1.0, 4.5, 25.0, 80.0])
def test_matern_at_and_next_to_zero_and_far_away(nu):
    values = Profile("matern", nu=nu)(np.array([[0.0], [1e-300], [1e-40], [1e5]]))
    assert values.tolist()[:3] == pytest.approx([1.0, 1.0, 1.0], abs=1e-12)
    assert values[3] == 0.0


# --- the periodised kernel -----------------------------------------------------------------------


@every_profile
@pytest.mark.parametrize("h", [0.05, 0.15])
def test_periodised_is_the_literal_sum(profile, h):
    x = np.random.default_rng(0).random((6, profile.dimension))
    x[0] = 0.0
    # The nearest image left out is 7 / 0.15 = 46 bandwidths away.
    reach = range(-8, 9) if profile.dimension < 3 else range(-8, 8)
    images = [np.array(m) for m in itertools.product(reach, repeat=profile.dimension)]
    terms = np.stack([profile((x + m) / h) for m in images])
    literal = np.array([math.fsum(t) for t in terms.T])
    values = periodised(profile, x, h)
    if profile.name == "cauchy":  # decays too slowly: what is left out is positive and not small
        assert np.all(values > literal)
    else:
        assert values == pytest.approx(literal, abs=2e-15)


def cauchy_by_spectrum(profile, x, h):
    """The Fourier transform of (1+|x|²)^{-(d+1)/2} is c e^{-2π|ξ|}: an independent check."""
    if profile.product:
        one = Profile("cauchy")
        return np.prod([cauchy_by_spectrum(one, c[:, None], h) for c in x.T], axis=0)
    d = profile.dimension
    reach = math.ceil(38 / (2 * math.pi * h))
    k = np.array(list(itertools.product(range(-reach, reach + 1), repeat=d)), dtype=float)
    if d == 3:
        k = k[np.linalg.norm(k, axis=1) <= reach]
    weights = np.exp(-2 * np.pi * h * np.linalg.norm(k, axis=1))
    constant = h**d * math.pi ** ((d + 1) / 2) / gamma((d + 1) / 2)
    return constant * np.array([np.sum(weights * np.cos(2 * np.pi * (k @ p))) for p in x])


@pytest.mark.parametrize("profile", [p for p in PROFILES if p.name == "cauchy"], ids=str)
@pytest.mark.parametrize("h", [0.2, 0.5, 1.5])
def test_cauchy_tails(profile, h):
    x = np.random.default_rng(1).random((5, profile.dimension))
    x[0] = 0.0
    assert periodised(profile, x, h) == pytest.approx(cauchy_by_spectrum(profile, x, h), rel=2e-14)


@given(
    profile=st.sampled_from([p for p in PROFILES if p.name != "cauchy"]),
    h=st.floats(0.03, 0.8),
    digits=st.integers(1, 8),
    seed=st.integers(0, 100),
)
@settings(max_examples=60, deadline=None)
def test_truncation_error_bounds_the_truncation(profile, h, digits, seed):
    x = np.random.default_rng(seed).random((4, profile.dimension))
    tolerance = 10.0**-digits
    error = np.abs(periodised(profile, x, h, tolerance) - periodised(profile, x, h)).max()
    stated = truncation_error(profile, h, tolerance)
    assert error <= stated + 1e-14
    if not profile.separable or profile.dimension == 1:
        assert stated <= tolerance


def test_truncation_error_is_not_vacuous():
    # Something is left out, and the bound is of its size.
    x = np.full((1, 1), 0.5)
    for h in (0.5, 0.9, 2.0):
        rough = periodised(Profile("laplace"), x, h, 1e-3)[0]
        left_out = periodised(Profile("laplace"), x, h)[0] - rough
        assert 0 < left_out <= truncation_error(Profile("laplace"), h, 1e-3) <= 10 * left_out


@pytest.mark.parametrize("d", [1, 2, 3])
def test_euler_maclaurin_remainder_is_bounded(d, monkeypatch):
    # With few near terms and few Bernoulli terms the error shows, and stays below the bound.
    profile, h = Profile("cauchy", d), 0.3
    x = np.concatenate([np.full((1, d), 0.5), np.random.default_rng(2).random((5, d)) - 0.5])
    exact = periodised(profile, x, h)
    monkeypatch.setattr(lattice, "NEAR", 1)
    monkeypatch.setattr(lattice, "ORDER", 2)
    monkeypatch.setattr(lattice, "_BERNOULLI", bernoulli(4))
    lattice.power_sum_error.cache_clear()
    error = np.abs(periodised(profile, x, h) - exact).max()
    bound = truncation_error(profile, h)
    lattice.power_sum_error.cache_clear()
    assert 1e-10 < error <= bound < 0.1


def test_rows_replaced_by_integrals_are_bounded(monkeypatch):
    # d = 2: Σ_m (t² + m²)^{-3/2} against ∫ = 2/t², over the rows t = 3/2, 5/2, ... of one side.
    rows = np.arange(1.5, 12)
    m = np.arange(-20_000, 20_001.0)
    sums = np.array([np.sum((t**2 + m**2) ** -1.5) for t in rows])
    sums += 1 / 20_000.5**2  # the two ends
    error = np.sum(np.abs(sums - 2 / rows**2))
    monkeypatch.setattr(lattice, "NEAR", 1)
    monkeypatch.setattr(lattice, "ORDER", 2)
    monkeypatch.setattr(lattice, "_BERNOULLI", bernoulli(4))
    (bound,) = lattice._layer_remainders(1, 1.5)
    assert 1e-5 < error <= bound < 0.1
    lattice.power_sum_error.cache_clear()
    whole = lattice.power_sum_error(2, 1.5)
    inside, end = 3 * lattice.power_sum_error(1, 1.5), 2 * lattice._end_remainder(1.0)
    lattice.power_sum_error.cache_clear()
    assert whole == pytest.approx(inside + 2 * bound + 2 * end)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_cauchy_truncation_is_below_rounding(d):
    assert truncation_error(Profile("cauchy", d), 0.5) < 1e-16


@every_profile
def test_fast_kernel_is_the_obvious_one(profile):
    x = np.random.default_rng(3).uniform(-2, 2, (40, profile.dimension))
    x[0], x[1] = 0.5, 0.0
    for h in (0.04, 0.3):
        fast, slow = PeriodicKernel(profile, h)(x), periodised(profile, x, h)
        assert np.abs(fast - slow).max() < 2e-14


@every_profile
def test_kernel_is_periodic_and_even(profile):
    x = np.random.default_rng(4).random((5, profile.dimension))
    values = periodised(profile, x, 0.2)
    assert periodised(profile, x + 3, 0.2) == pytest.approx(values, rel=1e-12)
    assert periodised(profile, -x, 0.2) == pytest.approx(values, rel=1e-14)


def test_slow_decay_is_refused():
    def slow(r):
        return 1 / (1 + r)

    with pytest.raises(ValueError, match=r"decays too slowly.*tolerance"):
        periodised(Profile("slow", 2, radial=slow), np.zeros((1, 2)), 0.1)


# --- sixty digits --------------------------------------------------------------------------------


@pytest.mark.parametrize("x", [0, Fraction(1, 7), Fraction(1, 2), Fraction(-9, 4)])
@pytest.mark.parametrize("h", [Fraction(1, 20), Fraction(3, 10), 2])
def test_periodised_to_sixty_digits(x, h):
    with mpmath.workdps(80):
        t, b = (mpmath.mpf(v.numerator) / v.denominator for v in map(Fraction, (x, h)))
        theta = (
            b
            * mpmath.sqrt(2 * mpmath.pi)
            * mpmath.jtheta(3, mpmath.pi * t, mpmath.exp(-2 * (mpmath.pi * b) ** 2))
        )
        a = 2 * mpmath.pi * b
        poisson = a / 2 * mpmath.sinh(a) / (mpmath.cosh(a) - mpmath.cos(2 * mpmath.pi * t))
        assert abs(periodised_mp("gaussian", x, h, 60) - theta) < mpmath.mpf(10) ** -60
        assert abs(periodised_mp("cauchy", x, h, 60) - poisson) < mpmath.mpf(10) ** -60
        # Matérn 1/2 is Laplace, summed in another way.
        images = periodised_mp(Profile("matern", nu=0.5), x, h, 60)
        assert abs(periodised_mp("laplace", x, h, 60) - images) < mpmath.mpf(10) ** -60


@pytest.mark.parametrize("profile", PROFILES[:5], ids=ids[:5])
def test_both_precisions_agree(profile):
    for x in (0.0, 0.11, 0.5):
        double = periodised(profile, [[x]], 0.3)[0]
        assert float(periodised_mp(profile, x, 0.3, 30)) == pytest.approx(double, rel=1e-14)


def test_global_precision_is_left_alone():
    before = mpmath.mp.prec
    periodised_mp("gaussian", "1/3", "1/4", 100)
    assert mpmath.mp.prec == before


# --- designs -------------------------------------------------------------------------------------


def test_grid():
    points = grid(3, 2)
    assert points.shape == (9, 2)
    expected = list(itertools.product([0, 1 / 3, 2 / 3], repeat=2))
    assert points.tolist() == [list(p) for p in expected]


def test_jittered_grid_has_one_point_in_every_cell():
    points = jittered_grid(5, 2, np.random.default_rng(0), 1.0)
    cells = {tuple(c) for c in np.rint(points * 5).astype(int) % 5}
    assert len(cells) == 25
    assert np.array_equal(jittered_grid(5, 2, np.random.default_rng(0), 0.0), grid(5, 2))
    moved = jittered_grid(5, 1, np.random.default_rng(0), 0.1) - grid(5, 1)
    assert 0 < np.abs(moved - np.round(moved)).max() <= 0.01


def test_uniform_design_is_uniform_and_seeded():
    points = uniform_design(4000, 3, np.random.default_rng(0))
    assert points.shape == (4000, 3)
    assert points.mean(axis=0) == pytest.approx([0.5] * 3, abs=5 / math.sqrt(12 * 4000))
    assert np.array_equal(points, uniform_design(4000, 3, np.random.default_rng(0)))


# --- interpolation -------------------------------------------------------------------------------


@every_profile
def test_kernel_matrices_are_symmetric_and_positive(profile):
    x = uniform_design(12, profile.dimension, np.random.default_rng(5))
    K = kernel_matrix(profile, x, x, 0.1)
    assert np.abs(K - K.T).max() <= 4 * EPS
    assert np.linalg.eigvalsh(K).min() > 0
    assert kernel_matrix(profile, x + 0.37, x + 0.37, 0.1) == pytest.approx(K, abs=1e-12)


@every_profile
def test_interpolation_reproduces_the_data(profile):
    rng = np.random.default_rng(6)
    x = jittered_grid(4, profile.dimension, rng, 0.5)
    y = rng.standard_normal((len(x), 2)) + 1j * rng.standard_normal((len(x), 2))
    fitted = fit(profile, x, y, 0.15)
    tolerance = 100 * EPS * fitted.condition_number
    assert np.abs(predict(fitted, x) - y).max() < tolerance < 1e-6
    assert np.abs(predict(fitted, x + 1) - y).max() < 100 * tolerance


def test_ridge_solves_its_normal_equations():
    rng = np.random.default_rng(7)
    x, y = rng.random(8), rng.standard_normal(8)
    fitted = fit("laplace", x, y, 0.2, ridge=0.3)
    K = kernel_matrix("laplace", x, x, 0.2)
    assert fitted.coefficients == pytest.approx(np.linalg.solve(K + 0.3 * np.eye(8), y), rel=1e-10)
    assert predict(fitted, x) == pytest.approx(y - 0.3 * fitted.coefficients, rel=1e-9)


def test_condition_number_is_of_the_right_size():
    x = grid(16, 1)
    fitted = fit("gaussian", x, np.ones(16), 0.1)
    truth = np.linalg.cond(kernel_matrix("gaussian", x, x, 0.1), 1)
    assert truth / 3 < fitted.condition_number <= truth * 1.01


def test_singular_systems_are_named():
    with pytest.raises(SingularSystemError, match=r"ridge.*smaller bandwidth"):
        fit("gaussian", grid(16, 1), np.ones(16), 1.0)
    with pytest.raises(SingularSystemError, match="repeated points"):
        fit("laplace", [0.1, 0.1, 0.6], [1.0, 2.0, 3.0], 0.2)
    # Cholesky gets through this one, with no digit left.
    with pytest.raises(SingularSystemError, match=r"condition number \d\.\de\+1[67]"):
        factorise(np.array([[1.0, 1 - EPS / 2], [1 - EPS / 2, 1.0]]), 0.0)
    assert np.isfinite(
        fit("gaussian", grid(16, 1), np.ones(16), 1.0, ridge=1e-6).coefficients
    ).all()


# --- the risk ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 7, 32])
@pytest.mark.parametrize("c", [0.05, 0.6, 1.0, 4.0, 25.0])
def test_laplace_estimation_on_the_grid(n, c):
    risk = exact_risk("laplace", grid(n, 1), {}, c / n, 0.7)
    assert risk.estimation == pytest.approx(0.7 * laplace_cost(1 / c), rel=1e-10)
    assert risk.approximation == 0.0
    assert risk.quadrature_error < 1e-12


@given(st.integers(2, 20), st.floats(0.02, 2.0), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_laplace_estimation_on_any_design(n, h, seed):
    x = uniform_design(n, 1, np.random.default_rng(seed))
    gaps = np.diff(np.sort(x[:, 0]), append=x.min() + 1)
    risk = exact_risk("laplace", x, {}, h)
    expected = np.sum(gaps * laplace_cost(gaps / h))
    # The naive formula itself loses 1/s² of its digits.
    tolerance = 100 * EPS * (risk.condition_number + (h / gaps.min()) ** 2)
    assert risk.estimation == pytest.approx(expected, rel=1e-11 + tolerance)


@pytest.mark.parametrize(("n", "h"), [(2, 0.3), (5, 0.1), (8, 1.0)])
def test_laplace_approximation_between_neighbours(n, h):
    target = {1: 1.0 - 0.5j, -3: 0.25j, 6: 0.5}

    def f(x):
        return sum(a * np.exp(2j * np.pi * k * x) for k, a in target.items())

    def squared_error(t, j):
        left, right = f(j / n), f((j + 1) / n)
        hat = (left * np.sinh((1 / n - t) / h) + right * np.sinh(t / h)) / np.sinh(1 / (n * h))
        return abs(hat - f(j / n + t)) ** 2

    parts = [quad(squared_error, 0, 1 / n, args=(j,), epsabs=1e-13)[0] for j in range(n)]
    risk = exact_risk("laplace", grid(n, 1), target, h)
    assert risk.approximation == pytest.approx(sum(parts), rel=1e-11)


@pytest.mark.parametrize(
    ("profile", "n", "h", "ridge", "nodes", "tolerance"),
    [
        (Profile("gaussian", 1), 7, 0.2, 0.0, 200, 1e-9),
        (Profile("cauchy", 1), 6, 0.2, 0.1, 200, 1e-11),
        (Profile("gaussian", 2), 3, 0.3, 0.05, 40, 1e-11),
        (Profile("cauchy", 2), 3, 0.3, 0.0, 60, 1e-10),
        (Profile("cauchy", 2, product=True), 3, 0.3, 0.02, 60, 1e-10),
        (Profile("gaussian", 3), 2, 0.3, 0.0, 20, 1e-9),
        (Profile("cauchy", 3), 2, 0.4, 0.01, 24, 1e-8),
        (Profile("laplace", 2), 3, 0.3, 0.0, 100, 1e-4),
        (Profile("matern", 2, nu=0.8), 3, 0.3, 0.2, 100, 1e-4),
        (Profile("laplace", 3), 2, 0.4, 0.0, 24, 2e-3),
    ],
)
def test_risk_is_a_mean_over_a_fine_grid(profile, n, h, ridge, nodes, tolerance):
    # Means over equidistant points: spectrally accurate for smooth kernels, rough at cones.
    d = profile.dimension
    target = {(1,) * d: 1.0, (2,) + (0,) * (d - 1): 0.5j, (-1,) * d: 0.25}
    x, t = grid(n, d), grid(nodes, d) + 0.5 / nodes
    K, k = (periodised_matrix(profile, a, x, h) for a in (x, t))
    W = np.linalg.solve(K + ridge * np.eye(len(x)), k.T)
    f = [sum(a * np.exp(2j * np.pi * (p @ np.array(m))) for m, a in target.items()) for p in (x, t)]
    risk = exact_risk(profile, x, target, h, 1.3, ridge)
    assert risk.approximation == pytest.approx(np.mean(abs(W.T @ f[0] - f[1]) ** 2), rel=tolerance)
    assert risk.estimation == pytest.approx(1.3 * np.mean((W**2).sum(axis=0)), rel=tolerance)
    assert risk.total == risk.approximation + risk.estimation


def periodised_matrix(profile, x, z, h):
    return PeriodicKernel(profile, h)(x[:, None, :] - z)


@pytest.mark.parametrize(
    ("profile", "n", "order"),
    [
        (Profile("laplace", 1), 5, 4),
        (Profile("cauchy", 1), 5, 4),
        (Profile("matern", 1, nu=0.8), 4, 5),
        (Profile("laplace", 2), 3, 5),
        (Profile("matern", 2, nu=0.6), 2, 5),
        (Profile("laplace", 3), 2, 4),
        (Profile("cauchy", 3), 2, 4),
    ],
)
def test_quadrature_error_is_honest(profile, n, order):
    d = profile.dimension
    rough, fine = (
        exact_risk(profile, grid(n, d), {(1,) * d: 1}, 1 / n, order=o) for o in (order, 2 * order)
    )
    error = max(
        abs(rough.approximation - fine.approximation), abs(rough.estimation - fine.estimation)
    )
    assert 1e-15 < error <= rough.quadrature_error
    assert fine.quadrature_error < rough.quadrature_error / 10


@pytest.mark.parametrize("nu", [0.3, 0.6, 1.0])
def test_rough_kernels_are_integrated_well_too(nu):
    for d in (1, 2):
        risk = exact_risk(Profile("matern", d, nu=nu), grid(3, d), {(1,) * d: 1}, 1 / 3)
        assert risk.quadrature_error < 1e-9


@pytest.mark.parametrize(
    ("profile", "n"), [(Profile("laplace", 1), 6), (Profile("laplace", 2), 3), ("cauchy", 3)]
)
def test_translation_changes_nothing(profile, n):
    # Moved grids go through other code than the grid itself.
    d = 1 if isinstance(profile, str) else profile.dimension
    shift = np.array([0.123, 0.456][:d])
    k = (1, 2)[:d]
    phase = np.exp(-2j * np.pi * (shift @ np.array(k)))
    still = exact_risk(profile, grid(n, d), {k: 1.0, (0,) * d: 0.3}, 0.2, 0.5)
    moved = exact_risk(profile, grid(n, d) + shift, {k: phase, (0,) * d: 0.3}, 0.2, 0.5)
    assert moved.approximation == pytest.approx(still.approximation, rel=1e-11)
    assert moved.estimation == pytest.approx(still.estimation, rel=1e-11)


@given(st.floats(0, 10), st.floats(-3, 3), st.floats(0.05, 0.5), st.floats(0, 1))
@settings(max_examples=25, deadline=None)
def test_risk_scales_with_noise_and_target(variance, amplitude, h, ridge):
    unit = exact_risk("laplace", grid(5, 1), {1: 1.0, 4: 2j}, h, 1.0, ridge)
    scaled = exact_risk(
        "laplace", grid(5, 1), {1: amplitude, 4: 2j * amplitude}, h, variance, ridge
    )
    assert scaled.estimation == pytest.approx(variance * unit.estimation, rel=1e-12)
    expected = amplitude**2 * unit.approximation
    assert scaled.approximation == pytest.approx(expected, rel=1e-10, abs=1e-300)


def test_products_multiply():
    # K is a Kronecker product, so the cost of noise is the one-dimensional one to the power d.
    for d in (2, 3):
        risk = exact_risk(Profile("laplace", d, product=True), grid(3, d), {}, 0.3, order=6)
        assert risk.estimation == pytest.approx(laplace_cost(1 / 0.9) ** d, rel=1e-8)


def test_target_as_function_or_mapping():
    def cosine(x):
        return np.cos(2 * np.pi * x[:, 0])

    a = exact_risk("gaussian", grid(6, 1), cosine, 0.15)
    b = exact_risk("gaussian", grid(6, 1), {1: 0.5, -1: 0.5}, 0.15)
    assert a.approximation == pytest.approx(b.approximation, rel=1e-9)


# --- the risk in arbitrary precision -------------------------------------------------------------


@pytest.mark.parametrize("profile", PROFILES[:4], ids=ids[:4])
def test_high_precision_agrees_with_doubles(profile):
    target = {1: 1.0, 2: -0.5j}
    high = exact_risk_mp(profile, 4, target, 0.2, 0.5, 0.01, dps=18, digits=12)
    low = exact_risk(profile, grid(4, 1), target, 0.2, 0.5, 0.01)
    assert float(high.approximation) == pytest.approx(low.approximation, rel=1e-11)
    assert float(high.estimation) == pytest.approx(low.estimation, rel=1e-11)
    assert float(high.total) == pytest.approx(low.total, rel=1e-11)


def test_high_precision_laplace_to_thirty_digits():
    risk = exact_risk_mp("laplace", 4, {}, Fraction(1, 2), dps=45, digits=32)
    with mpmath.workdps(45):
        s = mpmath.mpf(1) / 2
        expected = mpmath.coth(s) / s - mpmath.csch(s) ** 2
        assert abs(risk.estimation - expected) < mpmath.mpf(10) ** -32


def test_high_precision_on_irregular_points():
    x = [Fraction(1, 10), Fraction(3, 7), Fraction(1, 2), Fraction(9, 10)]
    for name in ("gaussian", "cauchy", "laplace"):
        high = exact_risk_mp(name, x, {1: 1.0}, "1/5", dps=30, digits=12)
        low = exact_risk(name, [float(v) for v in x], {1: 1.0}, 0.2, order=40)
        assert float(high.approximation) == pytest.approx(low.approximation, rel=1e-9)
        assert float(high.estimation) == pytest.approx(low.estimation, rel=1e-9)


def test_high_precision_where_doubles_are_singular():
    with pytest.raises(SingularSystemError, match="exact_risk_mp"):
        exact_risk("gaussian", grid(12, 1), {}, 0.5)
    with pytest.raises(SingularSystemError, match="raise dps"):
        exact_risk_mp("gaussian", 12, {}, "1/2", dps=30)
    risks = [exact_risk_mp("gaussian", 12, {1: 1}, "1/2", dps=dps) for dps in (110, 140)]
    assert risks[0].condition_number > 1e70
    difference = abs(risks[0].estimation - risks[1].estimation)
    assert difference < 1e-19
    assert 0.9 < float(risks[0].estimation) < 1


# --- Monte Carlo ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("profile", "n", "h", "target", "ridge"),
    [
        (Profile("laplace", 1), 9, 0.2, {1: 1.0, 3: 2j}, 0.0),
        (Profile("cauchy", 1), 8, 0.1, {1: 1.0, 9: 0.5}, 0.3),
        (Profile("matern", 1, nu=0.8), 6, 0.2, {2: 1j}, 0.0),
        (Profile("laplace", 2), 4, 0.3, {(1, -1): 1j}, 0.0),
        (Profile("cauchy", 2), 5, 0.2, {(1, 2): 1.0}, 0.1),
        (Profile("laplace", 3), 3, 0.3, {(1, 0, 2): 1.0}, 0.0),
    ],
)
def test_fast_path_is_the_dense_path(profile, n, h, target, ridge):
    d = profile.dimension
    noise = np.random.default_rng(0).standard_normal((3, n**d))
    fast, dense = (
        squared_errors(profile, n, h, target, noise, ridge, dimension=d, order=2, method=m)
        for m in ("fft", "dense")
    )
    assert fast == pytest.approx(dense, rel=1e-12)
    assert np.ptp(fast) > 0.01 * fast.mean()


def test_squared_error_without_noise_is_the_approximation():
    target = {1: 1.0, 2: 0.5j, -1: 0.25}
    errors = squared_errors("laplace", 6, 0.2, target, np.zeros((1, 6)), order=20)
    expected = exact_risk("laplace", grid(6, 1), target, 0.2).approximation
    assert errors == pytest.approx([expected], rel=1e-12)


@pytest.mark.parametrize(
    ("profile", "n", "h", "ridge", "noise"),
    [
        ("laplace", 32, 0.1, 0.0, "gaussian"),
        ("gaussian", 16, 0.08, 0.0, "rademacher"),
        ("cauchy", 16, 0.05, 0.2, "gaussian"),
        (Profile("laplace", 2), 5, 0.2, 0.0, "rademacher"),
    ],
)
def test_monte_carlo_finds_the_risk(profile, n, h, ridge, noise):
    d = 1 if isinstance(profile, str) else 2
    target = {(1,) * d: 0.7, (2,) * d: 0.2j}
    measured = monte_carlo_risk(
        profile, n, h, target, 0.5, ridge, draws=12_000, rng=2, dimension=d, noise=noise, order=4
    )
    exact = exact_risk(profile, grid(n, d), target, h, 0.5, ridge).total
    assert abs(measured.z(exact)) < 5
    # A risk that is wrong by 3 % would be found: it lies beyond 5 + 3 standard errors.
    assert 0.03 * exact > 8 * measured.standard_error


def test_monte_carlo_does_not_depend_on_processes():
    one, two, dense = (
        monte_carlo_risk("laplace", 8, 0.2, {1: 1}, draws=40, rng=3, block=10, method=m, n_jobs=j)
        for m, j in (("fft", 1), ("fft", 2), ("dense", 1))
    )
    assert pickle.dumps(one) == pickle.dumps(two)
    assert dense.mean == pytest.approx(one.mean, rel=1e-12)
    assert monte_carlo_risk("laplace", 8, 0.2, {1: 1}, draws=40, rng=4, block=10) != one


def test_both_paths_refuse_singular_systems():
    for method in ("fft", "dense"):
        with pytest.raises(SingularSystemError, match="singular to working precision"):
            monte_carlo_risk("gaussian", 16, 1.0, {}, draws=4, rng=0, method=method)
        # A ridge below rounding (the largest eigenvalue is 40) makes it positive, not soluble.
        with pytest.raises(SingularSystemError, match="singular to working precision"):
            monte_carlo_risk("gaussian", 16, 1.0, {}, 1.0, 5e-15, draws=4, rng=0, method=method)


# --- random designs ------------------------------------------------------------------------------


def test_laplace_on_random_designs():
    n, h = 12, 0.2
    measured = design_risk("laplace", "uniform", n, h, draws=80, rng=1)

    # A gap has density (n-1)(1-g)^{n-2}; every gap g contributes g times the cost of noise.
    def contribution(g):
        return n * (n - 1) * (1 - g) ** (n - 2) * g * laplace_cost(max(g, 1e-6) / h)

    exact = quad(contribution, 0, 1, limit=200)[0]
    assert abs(measured.z(exact)) < 5
    assert 0.03 * exact > 8 * measured.standard_error
    assert measured.mean < design_risk("laplace", "grid", n, h, draws=2, rng=1).mean


def test_grid_and_unmoved_design_are_certain():
    for design, amount in (("grid", 1.0), ("jittered", 0.0)):
        measured = design_risk("laplace", design, 6, 0.25, draws=3, rng=0, amount=amount)
        assert measured.mean == pytest.approx(laplace_cost(1 / 1.5), rel=1e-11)
        assert measured.standard_error < 1e-15


def test_gaussian_explodes_on_random_designs_only():
    settled = design_errors("gaussian", "grid", 8, 0.125, draws=1, rng=0, dps=50)
    jittered = design_errors("gaussian", "jittered", 8, 0.125, draws=2, rng=0, amount=0.2, dps=40)
    uniform = design_errors("gaussian", "uniform", 8, 0.125, draws=6, rng=0, dps=40)
    assert 0.9 < settled[0] < 1
    assert np.median(jittered) < 1.2
    assert np.median(uniform) > 20
    logarithms = design_risk(
        "gaussian", "uniform", 8, 0.125, draws=6, rng=0, dps=40, logarithm=True
    )
    assert logarithms.mean == pytest.approx(np.log10(uniform).mean(), rel=1e-12)


def test_design_risk_in_both_precisions():
    low, high = (
        design_errors("gaussian", "jittered", 5, 0.1, draws=2, rng=5, dps=dps) for dps in (None, 40)
    )
    assert low == pytest.approx(high, rel=1e-10)


# --- refusals ------------------------------------------------------------------------------------

X, Y = grid(4, 1), np.ones(4)
RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: Profile("gausian"), ValueError, "profile = 'gausian' must be one of 'gaussian'"),
        (lambda: Profile("matern"), TypeError, "nu = None"),
        (lambda: Profile("matern", nu=-1.0), ValueError, r"nu = -1\.0"),
        (lambda: Profile("laplace", nu=0.5), ValueError, "nu = 0.5 must be None"),
        (lambda: Profile("laplace", 0), ValueError, "dimension = 0"),
        (lambda: Profile("mine", radial=lambda r: 2 + r), ValueError, "0 to 1"),
        (lambda: Profile("mine", radial=3), TypeError, "radial = 3"),
        (lambda: periodised(Profile("laplace"), [[0.1]], 0.0), ValueError, r"bandwidth = 0\.0"),
        (lambda: periodised(Profile("laplace"), [[0.1]], math.inf), ValueError, "bandwidth = inf"),
        (lambda: periodised(Profile("laplace"), [[0.1]], math.nan), ValueError, "bandwidth = nan"),
        (lambda: periodised(Profile("laplace"), [[0.1]], "1"), TypeError, "bandwidth = '1'"),
        (lambda: periodised(Profile("laplace"), [0.1, 0.2], 0.1), ValueError, r"\(\.\.\., 1\)"),
        (lambda: periodised(Profile("laplace"), [[0.1]], 0.1, 0.0), ValueError, "tolerance"),
        (lambda: periodised(Profile("laplace"), [[1e999]], 0.1), ValueError, "NaN or infinite"),
        (lambda: periodised_mp("laplace", math.nan, 1, 20), ValueError, "x = nan must be finite"),
        (lambda: periodised_mp("laplace", 0, -1, 20), ValueError, "bandwidth"),
        (lambda: periodised_mp(unscaled_matern, 0, 1, 20), ValueError, "unscaled_matern.*your own"),
        (lambda: periodised_mp("laplace", 0, 1, 0), ValueError, "dps = 0"),
        (lambda: grid(1, 1), ValueError, "n = 1 must be an integer >= 2"),
        (lambda: grid(2.0, 1), TypeError, r"n = 2\.0"),
        (lambda: uniform_design(1, 1, RNG), ValueError, "n_points = 1"),
        (lambda: uniform_design(4, 1, 0), TypeError, "rng = 0"),
        (lambda: jittered_grid(4, 1, RNG, 1.5), ValueError, r"amount = 1\.5 must be in \[0, 1\]"),
        (lambda: kernel_matrix("laplace", X, grid(2, 2), 0.1), ValueError, r"z has shape \(4, 2\)"),
        (lambda: kernel_matrix("laplace", np.zeros((2, 2, 2)), X, 0.1), ValueError, "x has shape"),
        (lambda: kernel_matrix(Profile("laplace", 2), X, X, 0.1), ValueError, "dimension 2, but"),
        (lambda: kernel_matrix(7, X, X, 0.1), TypeError, "profile = 7"),
        (lambda: fit("laplace", X, Y[:3], 0.1), ValueError, r"y has shape \(3,\), must be \(4"),
        (lambda: fit("laplace", X, Y * math.nan, 0.1), ValueError, "y holds NaN"),
        (lambda: fit("laplace", X * math.nan, Y, 0.1), ValueError, "x holds NaN"),
        (lambda: fit("laplace", X, ["a"] * 4, 0.1), TypeError, "y has dtype"),
        (lambda: fit("laplace", X, Y, 0.1, ridge=-1.0), ValueError, r"ridge = -1\.0"),
        (lambda: fit("laplace", [0.5], [1.0], 0.1), ValueError, "at least 2"),
        (lambda: predict(fit("laplace", X, Y, 0.1), grid(2, 2)), ValueError, r"must be \(N, 1\)"),
        (lambda: exact_risk("laplace", X, {}, 0.1, -1.0), ValueError, r"noise_variance = -1\.0"),
        (lambda: exact_risk("laplace", X, {(1, 1): 1}, 0.1), ValueError, r"\(1, 1\) must have 1"),
        (lambda: exact_risk("laplace", X, {0.5: 1}, 0.1), TypeError, r"frequency 0\.5"),
        (lambda: exact_risk("laplace", X, {1: math.nan}, 0.1), ValueError, "coefficient nan"),
        (lambda: exact_risk("laplace", X, {1: "a"}, 0.1), TypeError, "coefficient 'a'"),
        (lambda: exact_risk("laplace", X, 5, 0.1), TypeError, "target = 5"),
        (lambda: exact_risk("laplace", X, lambda x: x, 0.1), ValueError, "target returned shape"),
        (lambda: exact_risk("laplace", X[:1], {}, 0.1), ValueError, "at least 2"),
        (lambda: exact_risk("laplace", grid(2, 4), {}, 0.1), ValueError, "d = 1, 2 or 3"),
        (lambda: exact_risk("laplace", X, {}, 0.1, order=2), ValueError, "order = 2"),
        (lambda: exact_risk_mp("laplace", 1, {}, 1), ValueError, "design = 1"),
        (lambda: exact_risk_mp("laplace", 100, {}, 1), ValueError, "2 to 64"),
        (lambda: exact_risk_mp("laplace", 4, {}, 1, -1), ValueError, "noise_variance"),
        (lambda: exact_risk_mp("laplace", 4, lambda x: x, 1), TypeError, "mapping"),
        (
            lambda: squared_errors("laplace", 4, 0.1, {}, np.ones((2, 5))),
            ValueError,
            r"shape \(2, 5\), must be real \(count, 4\)",
        ),
        (
            lambda: monte_carlo_risk("laplace", 4, 0.1, {}, draws=4, rng=0, noise="cauchy"),
            ValueError,
            "noise = 'cauchy' must be one of 'gaussian', 'rademacher'",
        ),
        (
            lambda: monte_carlo_risk("laplace", 4, 0.1, {}, draws=4, rng=0, method="fast"),
            ValueError,
            "method = 'fast'",
        ),
        (
            lambda: monte_carlo_risk("laplace", 4, 0.1, {}, draws=4, rng=0, dimension=4),
            ValueError,
            "dimension = 4",
        ),
        (
            lambda: design_risk("laplace", "sobol", 4, 0.1, draws=2, rng=0),
            ValueError,
            "design = 'sobol'",
        ),
        (
            lambda: design_risk("laplace", "jittered", 4, 0.1, draws=2, rng=0, amount=2.0),
            ValueError,
            "amount",
        ),
    ],
)
def test_bad_input_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_everything_public_is_documented():
    assert all(getattr(ridgeless, name).__doc__ for name in ridgeless.__all__)
