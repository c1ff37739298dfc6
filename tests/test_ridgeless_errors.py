"""Bad input is refused by name, with its value and what is allowed."""

import math

import numpy as np
import pytest

from theory.ridgeless import (
    Cauchy,
    Gaussian,
    Laplace,
    Matern,
    Product,
    SpectralKernel,
    limit_risk,
    null_threshold,
    optimal_bandwidth,
    risk,
    spline_constant,
)

INF, NAN = math.inf, math.nan


def call(**changed):
    arguments = {
        "kernel": Laplace(),
        "n": 8,
        "bandwidth": 0.1,
        "target": {1: 1.0},
        "noise_variance": 1.0,
        "ridge": 0.0,
    }
    return risk(**(arguments | changed))


def test_the_unchanged_call_works():
    assert call().total > 0


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("n", 1, "n = 1 must be an integer >= 2"),
        ("n", 0, "n = 0 must be"),
        ("n", -4, "n = -4 must be"),
        ("bandwidth", 0, "bandwidth = 0 must be a finite number > 0"),
        ("bandwidth", -1, "bandwidth = -1 must be"),
        ("bandwidth", INF, "bandwidth = inf must be"),
        ("bandwidth", NAN, "bandwidth = nan must be"),
        ("noise_variance", -0.1, "noise_variance = -0.1 must be a finite number >= 0"),
        ("noise_variance", NAN, "noise_variance = nan must be"),
        ("ridge", -1e-9, "ridge = -1e-09 must be"),
        ("ridge", INF, "ridge = inf must be"),
        ("target", {(1, 2): 1.0}, r"frequency \(1, 2\) must have 1 entries"),
        ("target", {1: NAN}, "coefficient nan of frequency 1 must be finite"),
        ("target", {1: complex(0, INF)}, "of frequency 1 must be finite"),
    ],
)
def test_values_out_of_range(name, value, message):
    with pytest.raises(ValueError, match=message):
        call(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("kernel", "laplace", "kernel = 'laplace' must be a kernel"),
        ("kernel", None, "kernel = None must be"),
        ("n", 8.0, r"n = 8.0 must be an integer"),
        ("n", True, "n = True must be"),
        ("bandwidth", None, "bandwidth = None must be"),
        ("bandwidth", "0.1", "bandwidth = '0.1' must be"),
        ("bandwidth", True, "bandwidth = True must be"),
        ("target", [1.0, 2.0], "must map integer frequencies"),
        ("target", {0.5: 1.0}, "frequency 0.5 must be an int"),
        ("target", {1: "1"}, "coefficient '1' of frequency 1 must be a number"),
    ],
)
def test_arguments_of_the_wrong_type(name, value, message):
    with pytest.raises(TypeError, match=message):
        call(**{name: value})


def test_target_of_the_wrong_dimension_in_the_plane():
    with pytest.raises(ValueError, match="frequency 1 must have 2 entries"):
        call(kernel=Laplace(2))
    with pytest.raises(ValueError, match=r"frequency \(1, 1, 1\) must have 2 entries"):
        call(kernel=Laplace(2), target={(1, 1, 1): 1.0})


@pytest.mark.parametrize("family", [Gaussian, Laplace, Cauchy])
def test_dimensions(family):
    with pytest.raises(ValueError, match="dimension = 0 must be an integer >= 1"):
        family(0)
    with pytest.raises(TypeError, match=r"dimension = 1\.5 must be an integer"):
        family(1.5)


@pytest.mark.parametrize("nu", [0, -1, INF, NAN])
def test_smoothness_out_of_range(nu):
    with pytest.raises(ValueError, match=r"nu = .* must be a finite number > 0"):
        Matern(nu)


@pytest.mark.parametrize("nu", ["1/2", None, True, 1j])
def test_smoothness_of_the_wrong_type(nu):
    with pytest.raises(TypeError, match=r"nu = .* must be a finite number > 0"):
        Matern(nu)


def test_products():
    with pytest.raises(ValueError, match="must have dimension 1"):
        Product(Laplace(2), 2)
    with pytest.raises(TypeError, match="kernel = 'laplace' must be a Kernel"):
        Product("laplace", 2)


@pytest.mark.parametrize(
    ("density", "message"),
    [
        (lambda xi: -np.exp(-(xi**2)), r"must be finite and >= 0"),
        (lambda xi: np.where(xi > 1e9, -1e-40, np.exp(-(xi**2))), r"must be finite and >= 0"),
        (lambda xi: np.full_like(xi, NAN), r"must be finite and >= 0"),
        (lambda xi: 1 / (1 + abs(xi)), "not summable"),
        (lambda xi: np.ones_like(xi), "not summable"),
        (lambda xi: 1 / ((np.e + abs(xi)) * np.log(np.e + abs(xi)) ** 2), "too slowly"),
        (lambda xi: np.exp(-((xi - 1) ** 2)), "must be even"),
        (lambda xi: 1.0, "returned shape"),
    ],
)
def test_spectral_densities(density, message):
    with pytest.raises(ValueError, match=message):
        SpectralKernel(density, 1)


def test_spectral_density_must_be_a_function():
    with pytest.raises(TypeError, match=r"spectral_density = 3\.0 must be a function"):
        SpectralKernel(3.0, 1)


def test_spectral_density_that_vanishes_on_the_grid():
    triangle = SpectralKernel(lambda xi: np.maximum(0, 1 - abs(xi)), 1)
    with pytest.raises(ValueError, match=r"is 0: use a smaller bandwidth"):
        risk(triangle, 8, 1.0, {0: 1.0}, 1.0)


def test_spectral_density_that_decays_too_slowly_in_the_plane():
    slow = SpectralKernel(lambda xi: (1 + np.sum(xi**2, axis=-1)) ** -1.5, 2)
    with pytest.raises(ValueError, match=r"allow it by tolerance \(now 1e-06\)"):
        risk(slow, 4, 0.2, {(0, 0): 1.0}, 1.0)


@pytest.mark.parametrize("c", [0, -1.0, INF, NAN])
def test_spacing_bandwidth(c):
    with pytest.raises(ValueError, match=r"spacing_bandwidth = .* must be a finite number > 0"):
        limit_risk(Laplace(), c)


@pytest.mark.parametrize("snr", [0, -1.0, INF, NAN])
def test_snr(snr):
    with pytest.raises(ValueError, match=r"snr = .* must be a finite number > 0"):
        optimal_bandwidth(Laplace(), snr)


@pytest.mark.parametrize("function", [limit_risk, optimal_bandwidth])
def test_unknown_kernel(function):
    with pytest.raises(TypeError, match="kernel = 'rbf' must be a kernel"):
        function("rbf", 1.0)


def test_null_threshold_of_an_unknown_kernel():
    with pytest.raises(TypeError, match="kernel"):
        null_threshold("rbf")


@pytest.mark.parametrize("alpha", [1, 0.5, -2, INF, NAN])
def test_alias_sums_that_diverge(alpha):
    with pytest.raises(ValueError, match="alpha must"):
        spline_constant(alpha)


def test_point_of_the_wrong_dimension():
    with pytest.raises(ValueError, match=r"has shape \(3,\), its last axis must be 2"):
        Laplace(2).kernel(np.zeros(3))
