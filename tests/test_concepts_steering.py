"""Shifts, laws and their prices: borders and refusals."""

import math

import numpy as np
import pytest

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
    "law = 'other'": lambda: steering.concept_rate(1, 1, law="other"),
    "separation = 0": lambda: steering.concept_rate(1, 0),
    "prior = 0": lambda: tilting.tilted_mixture(1, 1, 0),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_refused_by_name(message):
    with pytest.raises(ValueError, match=message):
        BAD[message]()
