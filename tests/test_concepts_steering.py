"""Shifts, laws and their prices: borders and refusals."""

import math

import numpy as np
import pytest
from scipy import special

from theory.concepts import steering, tilting

EYE = np.eye(2)


@pytest.mark.parametrize("derive", [steering.derive_steering, tilting.derive_tilting])
def test_every_step_of_the_derivations_holds(derive):
    assert [r.idea for r in derive().check() if not r.holds] == []


@pytest.mark.parametrize("seed", range(5))
def test_ends_effects_and_prices_agree(seed):
    rng = np.random.default_rng(seed)
    A, mu = rng.standard_normal((4, 4)), rng.standard_normal(4)
    sigma = A @ A.T + 0.1 * np.eye(4)
    near = steering.steering_shift(mu, sigma, -1.5)
    short = steering.steering_shift(mu, sigma, -1.5, np.inf)
    one, two = (steering.shift_effect(t, mu, sigma) for t in (near, short))
    price = steering.steering_price(mu, sigma)
    assert (one.change, two.change) == pytest.approx((-1.5, -1.5))
    assert two.divergence / one.divergence == pytest.approx(price.divergence)
    assert (one.norm / two.norm) ** 2 == pytest.approx(price.squared_norm)
    assert np.linalg.norm(np.outer(near, mu) - np.outer(mu, near)) < 1e-10
    assert price.divergence > 1
    assert price.squared_norm > 1


def test_the_two_prices_are_different_numbers_and_1_along_an_eigenvector():
    price = steering.steering_price([1, 1], np.diag([1, 4]))
    assert (price.divergence, price.squared_norm) == pytest.approx((325 / 289, 34 / 25))
    price = steering.steering_price([0, 3], np.diag([1, 4]))
    assert (price.divergence, price.squared_norm) == pytest.approx((1, 1))


def test_a_large_penalty_tends_to_the_least_norm():
    mu, sigma = [1.0, -2.0], np.diag([1.0, 9.0])
    far = steering.steering_shift(mu, sigma, 1.0, 1e14)
    assert far == pytest.approx(steering.steering_shift(mu, sigma, 1.0, math.inf), rel=1e-12)


def test_a_penalty_between_the_ends():
    mu, spectrum, penalty = np.array([1.0, -2.0]), np.array([1.0, 9.0]), 1e4
    t = steering.steering_shift(mu, np.diag(spectrum), 1.0, penalty)
    assert t[1] / t[0] == pytest.approx(-2 * (1 + penalty) / (1 + 9 * penalty), rel=1e-12)
    assert 2 * np.sum(mu * t / spectrum) == pytest.approx(1.0)
    huge = steering.steering_shift(mu, np.diag(spectrum), 1.0, 10**400)
    assert huge == pytest.approx(steering.steering_shift(mu, np.diag(spectrum), 1.0, math.inf))


@pytest.mark.parametrize("size", [1e-150, 1e150])
def test_units_do_not_matter(size):
    mu, sigma = np.array([1.0, 1.0]), np.diag([1.0, 4.0])
    for penalty in (0.0, 0.7, math.inf):
        own = steering.steering_shift(mu, sigma, 2.5, penalty)
        moved = steering.steering_shift(size * mu, size**2 * sigma, 2.5, penalty / size**2)
        assert moved / size == pytest.approx(own, rel=1e-12)
        effect = steering.shift_effect(moved, size * mu, size**2 * sigma)
        assert effect.change == pytest.approx(2.5)
        assert effect.norm / size == pytest.approx(np.linalg.norm(own))
        assert effect.divergence == pytest.approx(own @ (own / [1.0, 4.0]) / 2)
    price = steering.steering_price(size * mu, size**2 * sigma)
    assert price.divergence == pytest.approx(325 / 289)


def test_sizes_beyond_squares():
    assert steering.steering_shift([1e-160, 0], EYE, 1.0)[0] == pytest.approx(5e159)
    assert steering.steering_shift([1e160, 0], EYE, 1.0, math.inf)[0] * 1e160 == pytest.approx(0.5)
    tiny = steering.shift_effect([3e-170, 4e-170], [1, 0], EYE)
    assert tiny.norm * 1e170 == pytest.approx(5.0)
    backwards = steering.shift_effect([-1.0, 2.0], [1, 0], EYE)
    assert (backwards.change, backwards.divergence) == (-2.0, 2.5)
    assert steering.concept_rate(1.0, 1e-200, 0.2) == 0.0
    for name, call in {
        "the KL": lambda: steering.shift_effect([1e160, 0], [1, 0], EYE),
        "the shift": lambda: steering.steering_shift([1e-300, 0], EYE, 1e10),
        "the shift or its KL": lambda: tilting.tilted_mixture(1e160, 1.0),
        "its square": lambda: tilting.tilted_mixture(1.0, 1e160),
        "the KL is": lambda: tilting.mixture_shift_divergence(1e160, 1.0),
    }.items():
        with pytest.raises(OverflowError, match=name):
            call()


@pytest.mark.parametrize("prior", [0.5, 0.9, 1e-3])
@pytest.mark.parametrize("change", [-1e-8, 1e-8])
def test_small_changes_cost_their_square_over_twice_the_variance(prior, change):
    q = 1.44
    variance = 4 * q + 16 * q**2 * prior * (1 - prior)
    law = tilting.tilted_mixture(change, 1.2, prior)
    assert law.divergence / change**2 == pytest.approx(1 / (2 * variance), rel=1e-6)
    assert law.factor / change == pytest.approx(2 / variance, rel=1e-6)


@pytest.mark.parametrize("prior", [1e-12, 0.3, 0.999])
@pytest.mark.parametrize("change", [-300.0, -6.0, 0.2, 4.0, 1e3])
def test_the_tilted_law_has_the_mean_logit_and_its_two_divergences(prior, change):
    """KL of a mixture tilted along μ is that of a class's shift and that of the shares."""
    delta = 1.3
    law = tilting.tilted_mixture(change, delta, prior)
    mean = 2 * law.factor * delta**2 + 4 * delta**2 * (law.prior - prior)
    shares = sum(special.rel_entr([law.prior, 1 - law.prior], [prior, 1 - prior]))
    assert mean == pytest.approx(change, rel=1e-12)
    assert law.divergence == pytest.approx(law.factor**2 * delta**2 / 2 + shares, rel=1e-9)


@pytest.mark.parametrize("prior", [0.2, 0.97])
@pytest.mark.parametrize(("delta", "move"), [(2.0, 10.0), (2.0, -5.0), (0.1, 3.0), (6.0, 12.0)])
def test_a_moved_mixture_against_a_sum_over_a_fine_grid(delta, move, prior):
    def log_density(x):
        upper, lower = (
            np.log(prior) - (x - delta) ** 2 / 2,
            np.log(1 - prior) - (x + delta) ** 2 / 2,
        )
        return np.logaddexp(upper, lower) - np.log(2 * np.pi) / 2

    x = np.linspace(-20, 20, 20001)
    here, there = log_density(x), log_density(x + move)
    expected = np.sum(np.exp(here) * (here - there)) * (x[1] - x[0])
    found = tilting.mixture_shift_divergence(2 * delta * move, delta, prior)
    assert found == pytest.approx(expected, rel=1e-9)


def test_classes_far_apart_are_moved_each_on_its_own():
    assert tilting.mixture_shift_divergence(2e4, 1e4) == pytest.approx(0.5, rel=1e-10)
    assert tilting.mixture_shift_divergence(2e150, 1e150, 0.3) == pytest.approx(0.5, rel=1e-10)


@pytest.mark.parametrize("prior", [0.5, 0.9])
@pytest.mark.parametrize("delta", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("change", [-3.0, 0.5])
def test_the_tilted_mixture_is_nearer_than_the_shifted_and_this_than_a_class(prior, delta, change):
    tilted = tilting.tilted_mixture(change, delta, prior)
    moved = tilting.mixture_shift_divergence(change, delta, prior)
    assert 0 < tilted.divergence < moved < change**2 / (8 * delta**2)
    assert (tilted.prior > prior) == (change > 0)


def test_no_change_costs_nothing():
    assert tilting.tilted_mixture(0.0, 1.0, 0.25) == tilting.TiltedMixture(0.0, 0.25, 0.0)
    assert tilting.mixture_shift_divergence(0.0, 1.0) == 0.0


def test_rates_rise_with_the_change():
    rates = [steering.concept_rate(x, 1.2, 0.3) for x in np.linspace(-20, 20, 41)]
    assert np.all(np.diff(rates) > 0)
    assert rates[0] < 1e-6
    assert rates[-1] > 1 - 1e-6


BAD = {
    "penalty = -1": lambda: steering.steering_shift([1, 0], EYE, 1, -1),
    "penalty = nan": lambda: steering.steering_shift([1, 0], EYE, 1, math.nan),
    "change = inf": lambda: steering.steering_shift([1, 0], EYE, math.inf),
    "add a ridge": lambda: steering.steering_shift([1, 0], np.ones((2, 2)), 1),
    "shift is 0": lambda: steering.shift_effect([0, 0], [1, 0], EYE),
    "shift has shape": lambda: steering.shift_effect([1], [1, 0], EYE),
    "law = .'mixture'.": lambda: steering.concept_rate(1, 1, law=["mixture"]),
    "law = 'other'": lambda: steering.concept_rate(1, 1, law="other"),
    "separation = 0": lambda: steering.concept_rate(1, 0),
    "prior = 0": lambda: tilting.tilted_mixture(1, 1, 0),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_refused_by_name(message):
    with pytest.raises(ValueError, match=message):
        BAD[message]()
