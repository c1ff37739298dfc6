"""Product concepts: limits, borders and refusals."""

import math

import mpmath
import numpy as np
import pytest

from theory.concepts import (
    product_features,
    product_logistic,
    product_probes,
    product_roc,
    product_scores,
)

EYE = np.eye(2)


@pytest.mark.parametrize(
    "derive",
    [
        product_probes.derive_probes,
        product_features.derive_features,
        product_scores.derive_scores,
        product_scores.derive_areas,
        product_roc.derive_roc,
        product_logistic.derive_logistic,
    ],
)
def test_every_step_of_the_derivations_holds(derive):
    assert [r.idea for r in derive().check() if not r.holds] == []


@pytest.mark.parametrize(("p", "q"), [(0.3, 0.3), (1.0, 2.0), (1e-20, 5.0), (3.0, 0.5)])
def test_strengths_may_change_places(p, q):
    assert product_scores.product_auc(p, q) == product_scores.product_auc(q, p)
    assert product_scores.product_error(p, q) == product_scores.product_error(q, p)


@pytest.mark.parametrize("p", [1e-50, 0.1, 1.0, 2.5, 38.0])
def test_equal_strengths_have_the_closed_form(p):
    assert product_scores.product_auc(p, p) == product_scores.EQUAL_AUC(p)


def test_areas_and_errors_between_chance_and_certainty():
    grid = [1e-60, 0.01, 0.5, 1.0, 2.0, 4.0]
    areas = [product_scores.product_auc(p, 1.5) for p in grid]
    errors = [product_scores.product_error(p, 1.5) for p in grid]
    assert np.all(np.diff(areas) > 0)
    assert np.all(np.diff(errors) < 0)
    assert (areas[0], errors[0]) == (0.5, 0.5)
    # a feature that is seen without noise leaves the other alone: Φ(√2 q) and Φ(−q)
    assert product_scores.product_auc(38.0, 0.5) == pytest.approx((1 + math.erf(0.5)) / 2, abs=1e-3)
    assert product_scores.product_error(38.0, 0.5) == pytest.approx(math.erfc(0.5 / 2**0.5) / 2)


@pytest.mark.parametrize(("p", "q"), [(1.0, 1.0), (1.5, 1.7)])
def test_the_bayes_auc_is_above_that_of_the_quadratic(p, q):
    coarse = product_roc.bayes_auc_bounds(p, q, 5)
    fine = product_roc.bayes_auc_bounds(p, q, 14)
    assert coarse.lower < fine.lower < fine.upper < coarse.upper
    assert fine.lower > product_scores.product_auc(p, q)


@pytest.mark.parametrize(("p", "q", "count"), [(0.05, 6.0, 12), (6.0, 6.0, 12), (2.0, 0.3, 12)])
def test_bounds_may_change_places_and_close_up_with_the_square_of_the_thresholds(p, q, count):
    coarse, fine = (product_roc.bayes_auc_bounds(p, q, n) for n in (count, 3 * count))
    assert product_roc.bayes_auc_bounds(q, p, count) == coarse
    assert coarse.lower <= fine.upper
    assert fine.lower <= coarse.upper <= 1
    assert fine.upper - fine.lower < (coarse.upper - coarse.lower) / 6 + 1e-8


def test_probe_errors_fall_from_a_half_to_a_quarter():
    errors = [product_probes.PROBE_ERROR(p) for p in (1e-9, 0.5, 1.0, 2.0, 8.0)]
    assert np.all(np.diff(errors) < 0)
    assert errors[0] == pytest.approx(0.5)
    assert errors[-1] == pytest.approx(0.25, abs=1e-6)
    assert min(errors) > 0.25


def test_features_and_the_range_of_the_agop_are_whitened():
    sigma = np.diag([1.0, 2.0, 4.0])
    first, second = np.array([1.0, 0.0, 2.0]), np.array([2.0, 1.0, -4.0])
    second = second - second @ np.linalg.solve(sigma, first) / 2.0 * first
    agop = product_features.product_bayes_agop(first, second, sigma)
    plane = np.linalg.solve(sigma, np.column_stack([first, second]))
    normal = np.cross(plane[:, 0], plane[:, 1])
    assert np.abs(agop @ normal).max() < 1e-15
    assert np.linalg.eigvalsh(agop)[1] > 1e-3


def test_scale_of_features_that_are_far_from_the_noise():
    scale = product_features.product_scale
    assert scale(1e-30, 38.0) == pytest.approx(0.25)
    assert scale(1.0, 1e-30) == pytest.approx(1e-60 * scale(1.0, 38.0), rel=1e-12)


@pytest.mark.parametrize(("own", "other"), [(1.0, 2.0), (0.1, 5.0), (7.0, 0.4)])
def test_the_scale_of_a_feature_is_the_double_nearest_to_its_definition(own, other):
    """E η_S² and E tanh²T under the laws of S and T themselves, N(±p², p²) and N(±q², q²)."""
    mp = mpmath.MPContext()
    mp.dps = 30

    def mean(function, strength):
        p = mp.mpf(strength)
        points = [k * p for k in (-14, -6, -2, 0, 2, 6, 14)] + [k / 2 for k in range(-9, 10)]
        ends = sorted({*points, -(p**2) - 14 * p, p**2 + 14 * p})
        return mp.quad(lambda s: function(s) * mp.npdf(s, p**2, p), ends)

    known = mean(lambda s: mp.sech(s) ** 4 / 4, own) * mean(lambda t: mp.tanh(t) ** 2, other)
    assert product_features.product_scale(own, other) == float(known)


def test_strengths_come_in_the_order_of_the_features_in_any_units():
    strengths = product_features.product_strengths
    assert strengths([1.0, 0.0], [0.0, 3.0], np.diag([4.0, 9.0])) == (0.5, 1.0)
    for size in (1e-300, 1e300):
        root = math.sqrt(size)
        found = strengths([root, 0.0], [0.0, 3 * root], np.diag([4 * size, 9 * size]))
        assert found == pytest.approx((0.5, 1.0))
    assert strengths([1e-200, 0.0], [0.0, 1e200], EYE) == pytest.approx((1e-200, 1e200))


def _bessel(mp, order, q):
    """e^q K_ν(q), for large q by Hankel's series."""
    if q < 1e4:
        return mp.exp(q) * mp.besselk(order, q)
    terms, term = mp.mpf(1), mp.mpf(1)
    for k in range(1, 7):
        term *= (4 * order**2 - (2 * k - 1) ** 2) / (8 * k * q)
        terms += term
    return mp.sqrt(mp.pi / (2 * q)) * terms


@pytest.mark.parametrize(
    ("steepness", "correlation"),
    [(0.04, 1 - 3e-11), (2e3, 1 - 5e-6), (1e-6, 1 - 1e-9), (3.0, -0.95)],
)
def test_moments_of_soft_labels_are_as_accurate_as_they_say(steepness, correlation):
    """The trapezoidal rule again, with 25 digits and a smaller step in log q."""
    mp = mpmath.MPContext()
    mp.dps = 25
    size, kappa = mp.mpf(abs(correlation)), mp.mpf(steepness)
    rest = 1 - size**2
    decay = 1 - size + 2 * kappa * rest
    even, odd, h = mp.mpf(0), mp.mpf(0), mp.mpf(1) / 6
    for k in range(int((-40 - max(0, mp.log(decay))) / h), int(mp.log(60 / decay) / h)):
        q = mp.exp(k * h)
        height = h * 2 * rest**1.5 / mp.pi * q**2 * mp.sech(kappa * rest * q / 2) ** 4
        near, far = mp.exp(-(1 - size) * q) / 2, mp.exp(-(1 + size) * q) / 2
        even += height * _bessel(mp, 1, q) * (near + far)
        odd += height * _bessel(mp, 0, q) * (near - far)
    found = product_logistic.product_moments(steepness, correlation)
    known = (float(even), math.copysign(float(odd), correlation))
    assert found == pytest.approx(known, rel=3e-15)


@pytest.mark.parametrize("correlation", [1 - 1e-12, -(1 - 1e-9), 1 - 1e-6])
@pytest.mark.parametrize("steepness", [1e-12, 0.5, 40.0])
def test_soft_labels_of_nearly_parallel_features(steepness, correlation):
    """s = t in the limit: D = |O| = E Z² sech⁴(κZ²/2), up to (1 + κ)(1 − |ρ|)."""
    mp = mpmath.MPContext()
    limit = mp.quad(
        lambda z: 2 * z**2 * mp.sech(steepness * z**2 / 2) ** 4 * mp.npdf(z),
        [0, 0.1, 0.3, 1, 2, 4, 8, 14],
    )
    diagonal, mixed = product_logistic.product_moments(steepness, correlation)
    near = pytest.approx(float(limit), rel=3 * (1 + steepness) * (1 - abs(correlation)) + 2e-14)
    assert (diagonal, abs(mixed)) == (near, near)
    assert mixed * correlation > 0


def test_soft_labels_have_no_mixed_term_iff_the_features_are_uncorrelated():
    moments = product_logistic.product_moments
    assert moments(2.0, 0.0)[1] == 0.0
    assert moments(2.0, 0.3)[1] == -moments(2.0, -0.3)[1] > 0
    assert moments(1e-12, 0.6) == pytest.approx((1.0, 0.6), rel=1e-11)
    assert 1e8 * moments(1e8)[0] == pytest.approx(8 / (3 * math.pi), rel=1e-6)
    assert 1e30 * moments(1e30)[0] == pytest.approx(8 / (3 * math.pi), rel=3e-15)
    agop = product_logistic.product_logistic_agop([1, 0], [0, 1], EYE, 2.0)
    assert np.allclose(agop, moments(2.0)[0] / 4 * EYE, rtol=1e-15, atol=0)


BAD = {
    "first = 0": lambda: product_scores.product_error(0, 1),
    "second = nan": lambda: product_scores.product_auc(1, math.nan),
    "second = 39": lambda: product_scores.product_auc(1, 39),
    "first = 7": lambda: product_roc.bayes_auc_bounds(7, 1),
    "thresholds = 1": lambda: product_roc.bayes_auc_bounds(1, 1, 1),
    "uᵀΣ⁻¹w is": lambda: product_features.product_bayes_agop([1, 0], [1, 1], EYE),
    "uᵀΣ⁻¹w is -0.7": lambda: product_features.product_strengths([1, 0], [-1, 1], EYE),
    "uᵀΣ⁻¹w is 1e-10": lambda: product_features.product_strengths([1, 0], [1e-10, 1], EYE),
    "first is 0": lambda: product_features.product_strengths([0, 0], [0, 1], EYE),
    "second has shape": lambda: product_features.product_strengths([1, 0], [1], EYE),
    "add a ridge": lambda: product_features.product_bayes_agop([1, 0], [0, 1], np.ones((2, 2))),
    "correlation = 1": lambda: product_logistic.product_logistic_agop([1, 0], [1, 0], EYE),
    "slope = 0": lambda: product_logistic.product_logistic_agop([1, 0], [0, 1], EYE, 0),
    "does not vary": lambda: product_logistic.product_logistic_agop(
        [1, 0], [0, 1], np.diag([1.0, 0.0])
    ),
    "steepness = 1e": lambda: product_logistic.product_moments(1e40),
    "correlation = 1000": lambda: product_logistic.product_moments(1.0, 10**400),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_refused_by_name(message):
    with pytest.raises(ValueError, match=message):
        BAD[message]()


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (lambda: product_features.product_strengths([1, 0], [0, 1], 1e-320 * EYE), "Σ⁻¹u"),
        (lambda: product_features.product_bayes_agop([1e-160, 0], [0, 1e-160], 1e-320 * EYE), ""),
        (lambda: product_logistic.product_logistic_agop([1e200, 0], [0, 1], EYE), "variance"),
        (
            lambda: product_logistic.product_logistic_agop([1e153, 0], [0, 1], 1e-300 * EYE, 1e154),
            "AGOP",
        ),
    ],
)
def test_what_is_larger_than_every_double_is_refused_by_name(call, what):
    with pytest.raises(OverflowError, match=f"{what}.* overflows"):
        call()


def test_what_is_no_number_is_refused():
    with pytest.raises(TypeError, match="first"):
        product_scores.product_error("1", 1)
    with pytest.raises(TypeError, match="correlation"):
        product_logistic.product_moments(1.0, True)
