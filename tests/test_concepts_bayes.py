"""The AGOP of Bayes predictors for Gaussian classes: values, limits and refusals."""

from fractions import Fraction

import mpmath
import numpy as np
import pytest
from flint import arb

from theory.concepts import bayes_scale, gaussian_agop, quadratic_logit
from theory.concepts.bayes_scale import agop_scale, agop_scale_ball
from theory.concepts.gaussian_agop import bayes_agop, discriminant_space, logit_agop
from theory.concepts.gaussian_integrals import sech_mean
from theory.concepts.quadratic_logit import quadratic_logit_agop, quadratic_logit_space

DERIVATIONS = {
    "scale": bayes_scale.derive_scale,
    "range": gaussian_agop.derive_range,
    "quadratic": quadratic_logit.derive_quadratic_logit,
}


@pytest.mark.parametrize("name", DERIVATIONS)
def test_every_step_of_the_derivations_holds(name):
    assert [r.idea for r in DERIVATIONS[name]().check() if not r.holds] == []


@pytest.mark.parametrize("prior", [0.5, 0.3, 1e-3])
def test_the_scale_at_zero_separation(prior):
    assert agop_scale(1e-12, prior) == pytest.approx(4 * prior**2 * (1 - prior) ** 2, rel=1e-14)


def test_the_scale_grows_at_first_only_for_unequal_priors():
    assert agop_scale(0.1) < agop_scale(0.01)
    assert agop_scale(0.1, 0.05) > agop_scale(0.01, 0.05)


@pytest.mark.parametrize(("separation", "prior"), [(0.5, 0.5), (3.0, 0.2), (20.0, 0.01)])
def test_the_scale_lies_between_its_bounds(separation, prior):
    odds = np.log(prior / (1 - prior))
    upper = np.sqrt(np.pi / 2) / 8 / np.cosh(odds / 2) * np.exp(-(separation**2) / 2) / separation
    lower = upper * (1 - (np.pi**2 / 4 - 2 + odds**2 / 4) / (2 * separation**2))
    assert lower <= agop_scale(separation, prior) <= upper


@pytest.mark.parametrize(
    ("separation", "prior"),
    [(1e-60, 1e-300), (0.3, 0.9), (6.0, 1e-9), (37.0, 1 - 1e-10)],
)
def test_the_scale_is_the_integral_of_its_definition(separation, prior):
    """4 E[η²(1 − η)²] over ℓ | ± ~ N(λ ± 2δ², 4δ²), cut at 14 standard deviations."""
    mp = mpmath.MPContext()
    mp.dps = 25
    delta, pi = mp.mpf(separation), mp.mpf(prior)
    odds = mp.log(pi / (1 - pi))
    lift = mp.exp(delta**2 / 2) / min(pi, 1 - pi) ** 2  # the quadrature's error is absolute

    def integrand(u):  # ℓ = λ + 2δu
        eta = 1 / (1 + mp.exp(-odds - 2 * delta * u))
        law = pi * mp.npdf(u - delta) + (1 - pi) * mp.npdf(u + delta)
        return lift * 4 * (eta * (1 - eta)) ** 2 * law

    middle = min(max(-odds / (2 * delta), -delta), delta)
    width = min(1, 8 / (delta + 1))
    ends = [middle + width * k for k in (-14, -9, -5, -3, -2, -1, 0, 1, 2, 3, 5, 9, 14)]
    assert agop_scale(separation, prior) == float(mp.quad(integrand, ends) / lift)


def test_far_classes_underflow_to_zero():
    assert agop_scale(50.0) == agop_scale(1e60) == 0.0
    assert agop_scale_ball(50.0) > 0
    assert agop_scale_ball(1e7).upper() > 0


@pytest.mark.parametrize("power", [1, 3])
@pytest.mark.parametrize("shift", [0.0, -2.0, 40.0])
@pytest.mark.parametrize("deviation", [1e-30, 0.2, 3.0, 300.0])
def test_balls_hold_the_mean_and_are_as_small_as_they_say(power, shift, deviation):
    """Few bits: the tails, which are cut off, are a good part of the radius."""
    exact = sech_mean(power, shift, arb(deviation), 150)
    for bits in (4, 8, 16, 32):
        ball = sech_mean(power, shift, arb(deviation), bits)
        assert ball.contains(exact)
        assert ball.rad() < arb(2) ** (1 - bits) * exact


def test_the_direction_is_the_discriminant():
    v = np.array([1.0, 0.5])
    assert np.allclose(logit_agop([1, 2], np.diag([1.0, 4.0])), 4 * np.outer(v, v))
    assert not bayes_agop([0.0, 0.0], np.eye(2)).any()


def test_two_classes_have_twice_the_agop_of_one_posterior():
    """J² = 2η²(1−η)²(1, −1)(1, −1)ᵀ at C = 2."""
    eta = np.array([0.2, 0.7])
    jacobians = [np.diag([p, 1 - p]) - np.outer([p, 1 - p], [p, 1 - p]) for p in eta]
    for p, J in zip(eta, jacobians, strict=True):
        assert np.allclose(J @ J, 2 * (p * (1 - p)) ** 2 * np.outer([1, -1], [1, -1]))


@pytest.mark.parametrize("size", [1.0, 1e308])
def test_the_discriminant_space_of_equal_and_of_huge_means(size):
    assert discriminant_space([[size, 0], [size, 0]], np.eye(2)).shape == (2, 0)
    assert discriminant_space([[0.0, 0.0], [0.0, 0.0]], np.eye(2)).shape == (2, 0)
    basis = discriminant_space([[size, 0], [-size, 0], [size / 3, 0]], np.eye(2))
    assert np.allclose(np.abs(basis), [[1], [0]])
    assert (
        discriminant_space([[0, 0], [size, 0], [2 / 3 * size, 1e-9 * size]], np.eye(2)).shape[1]
        == 2
    )


@pytest.mark.parametrize("size", [1e-8, 1.0, 1e8])
def test_the_rank_of_a_quadratic_logit_is_blind_to_units(size):
    """D ∥ vvᵀ, its entries a hundred times those of A₊; Δ is 0, along v or across it."""
    v, w = np.array([3.0, 1.0]) / np.sqrt(10), np.array([-1.0, 3.0]) / np.sqrt(10)
    narrow = size * (np.outer(w, w) + np.outer(v, v) / 100)
    for means, rank in ((0 * v, 1), (v, 1), (w, 2)):
        space = quadratic_logit_space(means, [0, 0], size * np.eye(2), narrow)
        assert space.shape == (2, rank)
    assert abs(abs(quadratic_logit_space(v, [0, 0], narrow, size * np.eye(2))[:, 0] @ v) - 1) < 1e-9


def test_the_rank_of_a_quadratic_logit_for_covariances_of_many_sizes():
    eye, v = np.eye(2), np.array([3.0, 1.0]) / np.sqrt(10)
    wide = np.diag([1e13, 1.0])  # Σ⁻¹Δ is short
    assert quadratic_logit_space([1, 0], [0, 0], wide, wide).shape == (2, 1)
    close = np.diag([1.0, 1 + 1e-8])  # D is small
    assert quadratic_logit_space([1, 0], [0, 0], eye, close).shape == (2, 2)
    narrow = eye - (1 - 1e-6) * np.outer(v, v)  # D is large
    assert quadratic_logit_space(v, [0, 0], eye, narrow).shape == (2, 1)


def test_the_top_eigenvector_can_miss_the_linear_discriminant():
    agop = quadratic_logit_agop([1, 0], [0, 0], np.eye(2), np.diag([1.0, 4.0]))
    assert np.allclose(agop, np.diag([1, 45 / 32]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: agop_scale(0), "separation"),
        (lambda: agop_scale(1e61), "between 1e-60 and 1e60"),
        (lambda: agop_scale(1.0, 1.0), "prior = 1.0"),
        (lambda: agop_scale_ball(1.0, 0.5, 0), "precision = 0"),
        (lambda: agop_scale(1.0, float("nan")), "prior = nan"),
        (lambda: agop_scale(1.0, 10**400), "prior = 1000"),
        (lambda: agop_scale(1.0, Fraction(1, 10**400)), "rounds to 0.0"),
        (lambda: bayes_agop([0.0], [[1.0]], 2.0), "prior = 2.0"),
        (lambda: quadratic_logit_agop([1e308], [-1e308], [[1]], [[1]]), "first_mean - second_mean"),
        (lambda: quadratic_logit_agop([1], [0], [[1]], [[0]]), "second_covariance has the eigenv"),
        (lambda: bayes_agop([1, 2], np.eye(3)), "covariance has shape"),
        (lambda: bayes_agop([[1, 2]], np.eye(2)), "half_difference has shape"),
        (lambda: logit_agop([1, 2], [[1, 2], [2, 1]]), "positive definite"),
        (lambda: logit_agop([1, 2], [[1, 2], [0, 1]]), "not symmetric"),
        (lambda: logit_agop([1, np.nan], np.eye(2)), "finite"),
        (lambda: discriminant_space([[1, 2]], np.eye(2)), "C >= 2"),
        (lambda: quadratic_logit_space([1], [1, 2], np.eye(2), np.eye(2)), "first_mean has shape"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (lambda: logit_agop([1e160, 0], np.eye(2)), "AGOP"),
        (lambda: logit_agop([1e-10, 0], 1e-320 * np.eye(2)), "Σ⁻¹μ"),
        (lambda: bayes_agop([1e-155], [[1e-310]]), "Σ⁻¹μ"),
        (lambda: quadratic_logit_agop([1e200], [0], [[1]], [[2]]), "AGOP"),
        (lambda: quadratic_logit_agop([1], [0], [[1e-320]], [[2e-320]]), "AGOP"),
        (lambda: quadratic_logit_space([1], [0], [[1e-320]], [[2e-320]]), "Σ⁻¹"),
    ],
)
def test_what_is_larger_than_every_double_is_refused_by_name(call, what):
    with pytest.raises(OverflowError, match=f"{what} overflows"):
        call()


@pytest.mark.parametrize("size", [1e-300, 1e-150, 1e150, 1e300])
def test_agops_of_very_small_and_very_large_units(size):
    """x → √s x divides an AGOP by s; squares of means and of scores leave the doubles."""
    mean, S = np.array([1.0, -0.5]), np.array([[2.0, 0.6], [0.6, 0.5]])
    moved = np.sqrt(size) * mean
    assert np.allclose(bayes_agop(moved, size * S) * size, bayes_agop(mean, S))
    assert np.allclose(logit_agop(moved, size * S) * size, logit_agop(mean, S))
    for difference in (1e-200, 1e200):
        space = quadratic_logit_space([0.0, difference], [0.0, 0.0], size * S, size * S)
        v = np.linalg.solve(S, [0.0, 1.0])
        assert space.shape == (2, 1)
        assert abs(abs(space[:, 0] @ v) - np.linalg.norm(v)) < 1e-12 * np.linalg.norm(v)


def test_a_separation_outside_the_range_is_refused_though_its_square_is_zero():
    with pytest.raises(ValueError, match="between 1e-60 and 1e60"):
        bayes_agop([1e-200], [[1e-200]])


def test_a_prior_that_is_no_number_is_refused():
    with pytest.raises(TypeError, match="prior"):
        agop_scale(1.0, "half")
