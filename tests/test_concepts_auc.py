"""AUC, thresholds, PCA and estimates of two Gaussian classes: borders and refusals."""

import math

import numpy as np
import pytest

from theory.concepts import auc, class_moments, estimated, kantorovich, principal, thresholds

DERIVATIONS = {
    "auc": auc.derive_auc,
    "kantorovich": kantorovich.derive_kantorovich,
    "principal": principal.derive_principal,
    "thresholds": thresholds.derive_threshold,
    "estimated": estimated.derive_estimated,
}
EYE = np.eye(2)


@pytest.mark.parametrize("name", DERIVATIONS)
def test_every_step_of_the_derivations_holds(name):
    assert [r.idea for r in DERIVATIONS[name]().check() if not r.holds] == []


@pytest.mark.parametrize("seed", range(5))
def test_the_best_direction_beats_others_and_scale_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    A, B, mu = rng.standard_normal((4, 4)), rng.standard_normal((4, 4)), rng.standard_normal(4)
    plus, minus = A @ A.T, B @ B.T
    best = auc.best_direction(mu, plus, minus)
    value = auc.predicted_auc(best, mu, plus, minus)
    others = best + 0.1 * rng.standard_normal((20, 4))
    assert all(auc.predicted_auc(v, mu, plus, minus) < value for v in others)
    assert auc.predicted_auc(1e200 * best, mu, plus, minus) == pytest.approx(value, rel=1e-12)
    assert auc.predicted_auc(-best, mu, plus, minus) == pytest.approx(1 - value, rel=1e-9)


def test_the_mean_difference_attains_the_kantorovich_factor():
    for kappa in (1.0, 4.0, 1e6):
        found = auc.mean_difference_efficiency([1.0, 1.0], np.diag([kappa, 1.0]))
        assert found == pytest.approx(2 * math.sqrt(kappa) / (1 + kappa), rel=1e-12)
    assert auc.mean_difference_efficiency([2.0, 0.0], np.diag([9.0, 1.0])) == pytest.approx(1.0)


def test_scores_without_variance():
    flat = np.diag([0.0, 1.0])
    assert auc.predicted_auc([1.0, 0.0], [1.0, 1.0], flat) == 1.0
    assert auc.predicted_auc([-1.0, 0.0], [1.0, 1.0], flat) == 0.0
    assert auc.predicted_auc([1.0, 0.0], [0.0, 1.0], flat) == 0.5
    assert thresholds.predicted_accuracy([1.0, 0.0], [1.0, 1.0], flat, prior=0.3) == 1.0
    with pytest.raises(ValueError, match="vary in one class only"):
        thresholds.predicted_accuracy([1.0, 0.0], [1.0, 1.0], flat, EYE)


def test_a_direction_pointing_the_wrong_way_is_worth_the_constant_answer():
    assert thresholds.predicted_accuracy([-1.0, 0.0], [1.0, 0.0], EYE, prior=0.7) == (
        pytest.approx(0.7)
    )


def test_moments_predict_the_auc_of_gaussian_states():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 20000)
    x = rng.standard_normal((20000, 3)) * [1.0, 2.0, 0.5] + np.outer(2 * y - 1, [0.5, 0.5, 0.1])
    moments = class_moments.moments_of_states(x, y)
    v = np.array([1.0, 0.2, -0.3])
    s = x @ v
    ranks = np.empty(len(s))
    ranks[np.argsort(s)] = np.arange(1, len(s) + 1)
    n, m = int(y.sum()), int((1 - y).sum())
    measured = (ranks[y == 1].sum() - n * (n + 1) / 2) / (n * m)
    predicted = auc.predicted_auc(
        v, moments.half_difference, moments.covariance, moments.negative_covariance
    )
    assert predicted == pytest.approx(measured, abs=0.01)
    assert moments.prior == pytest.approx(y.mean())
    assert moments.mean_covariance == pytest.approx(np.diag([1.0, 4.0, 0.25]), abs=0.15)


def test_pca_on_both_sides_of_its_condition():
    """μ meets the top eigenspace or not; the tie is refused."""
    mu = np.array([1.0, 1.0, 0.0])
    sigma = np.diag([1.0, 2.0, 3.0])
    # aμᵀ(3 − Σ)⁺μ = 1.5a
    assert not principal.principal_direction(mu, sigma, 0.6).found
    assert principal.principal_direction(mu, sigma, 0.7).auc > 0.5
    with pytest.raises(ValueError, match="not unique"):
        principal.principal_direction(mu, sigma, 2 / 3)
    tilted = principal.principal_direction([1.0, 1.0, 1e-3], sigma, 0.6)
    assert tilted.found
    assert 0.5 < tilted.auc < 0.51


def test_pca_of_isotropic_classes_is_the_mean_difference():
    found = principal.principal_direction([3.0, 4.0], EYE, principal.states_weight(0.2))
    assert found.direction == pytest.approx([0.6, 0.8])
    assert found.eigenvalue == pytest.approx(1 + 0.64 * 25)


def test_the_estimate_in_one_dimension_is_a_sign():
    """E AUC = P(right sign)Φ(√2 δ) + P(wrong sign)(1 − Φ(√2 δ))."""
    delta, n, m = 1.5, 1, 1
    right = 0.5 * math.erfc(-delta / math.sqrt((1 / n + 1 / m) / 4) / math.sqrt(2))
    expected = right * auc.AUC(delta) + (1 - right) * (1 - auc.AUC(delta))
    assert estimated.expected_auc(delta, 1, n, m) == pytest.approx(expected, rel=1e-12)


def test_the_largest_loss_of_area():
    assert auc.largest_auc_loss(0) == 0.5
    assert auc.largest_auc_loss(1) == 0.0
    assert 0 < auc.largest_auc_loss(1 - 1e-12) < 1e-11


BAD = {
    "direction is 0": lambda: auc.predicted_auc([0, 0], [1, 0], EYE),
    "direction has shape": lambda: auc.predicted_auc([1], [1, 0], EYE),
    "half_difference is 0": lambda: auc.predicted_auc([1, 0], [0, 0], EYE),
    "half_difference has shape": lambda: auc.best_direction([1, 0, 0], EYE),
    "covariance is not symmetric": lambda: auc.best_direction([1, 0], [[1, 1], [0, 1]]),
    "covariance has the eigenvalue": lambda: auc.best_direction([1, 0], -EYE),
    "negative_covariance has the": lambda: auc.best_direction([1, 0], EYE, -EYE),
    "add a ridge": lambda: auc.best_direction([1, 0], np.ones((2, 2))),
    "covariance holds nan": lambda: auc.best_direction([1, 0], [[np.nan, 0], [0, 1]]),
    "efficiency = 1.5": lambda: auc.largest_auc_loss(1.5),
    "prior = 1.0": lambda: principal.states_weight(1.0),
    "weight = 0": lambda: principal.principal_direction([1, 0], EYE, 0),
    "labels hold 1 values": lambda: class_moments.moments_of_states(np.eye(3), [1, 1, 1]),
    "at least 2 each": lambda: class_moments.moments_of_states(np.eye(3), [1, 1, 0]),
    "states have shape": lambda: class_moments.moments_of_states(np.ones(3), [1, 1, 0]),
    "dimension = 0": lambda: estimated.expected_auc(1.0, 0, 1, 1),
    "load = -1": lambda: estimated.limiting_auc(1.0, -1),
    "use limiting_auc": lambda: estimated.expected_auc(10.0, 3, 10**6, 10**6),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_refused_by_name(message):
    with pytest.raises(ValueError, match=message):
        BAD[message]()
