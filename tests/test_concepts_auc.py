"""AUC, thresholds, PCA and estimates of two Gaussian classes: borders and refusals."""

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import special

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
    assert np.linalg.norm(best) == pytest.approx(1)
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


def test_moments_in_numbers():
    moments = class_moments.moments_of_states(
        [[0, 0], [2, 1], [5, 4], [9, 2], [7, 9]], [0, 0, 3, 3, 3]
    )
    assert moments.midpoint == pytest.approx([4.0, 2.75])
    assert moments.half_difference == pytest.approx([3.0, 2.25])
    assert moments.covariance == pytest.approx(np.array([[4.0, -2.0], [-2.0, 13.0]]))
    assert moments.negative_covariance == pytest.approx(np.array([[2.0, 1.0], [1.0, 0.5]]))
    assert moments.prior == pytest.approx(0.6)
    with pytest.raises(OverflowError, match="larger than every double"):
        class_moments.moments_of_states([[1e160], [0.0], [2e160], [3e160]], [0, 0, 1, 1])
    with pytest.raises(OverflowError, match="larger than every double"):
        class_moments.moments_of_states([[2e160], [3e160], [1.0], [0.0]], [0, 0, 1, 1])


def test_coordinates_of_very_different_sizes():
    """What looks like no variance beside another coordinate is variance all the same."""
    sigma = np.diag([1e-20, 1.0])
    assert auc.predicted_auc([1.0, 0.0], [1e-11, 0.0], sigma) == pytest.approx(auc.AUC(0.1))
    found = thresholds.predicted_accuracy([1.0, 0.0], [1e-11, 0.0], sigma)
    assert found == pytest.approx(0.5 * math.erfc(-0.1 / math.sqrt(2)))


def test_unequal_covariances_count_by_their_mean():
    assert auc.predicted_auc([1.0], [1.0], [[1.0]], [[3.0]]) == pytest.approx(auc.AUC(0.5**0.5))
    best = auc.best_direction([1.0, 1.0], np.diag([1.0, 5.0]), np.diag([1.0, 1.0]))
    assert best == pytest.approx(np.array([3.0, 1.0]) / math.sqrt(10))
    assert moments_with(1.0, 5.0).mean_covariance == 3.0


def moments_with(first, second):
    one = np.ones((1, 1))
    return class_moments.ClassMoments(one[0], one[0], first * one, second * one, 0.5)


def test_variances_and_projections_that_are_rounding():
    u, flat = np.array([0.1, 0.3, -0.4]), np.ones((3, 3))  # uᵀ1 = -1e-16
    assert auc.predicted_auc(u, [1.0, 1.0, 1.0], flat) == 0.5
    assert auc.direction_separation(u, [1.0, 0.0, 0.0], flat) == math.inf
    assert auc.predicted_auc(u, [1.0, 0.0, 0.0], flat) == 1.0
    assert auc.predicted_auc(-u, [1.0, 0.0, 0.0], np.zeros((3, 3))) == 0.0
    assert thresholds.predicted_accuracy(u, [1.0, 1.0, 1.0], flat, prior=0.6) == pytest.approx(0.6)


@pytest.mark.parametrize("size", [1e-150, 1e150])
def test_units_do_not_matter(size):
    """μ in units of s, Σ in units of s²: 1e±150 are sizes like others."""
    mu, sigma, other = np.array([1.0, 0.5]), np.diag([1.0, 2.0]), np.diag([3.0, 1.0])
    moved, unit = size * mu, size**2
    v = [1.0, 0.3]
    args = v, mu, sigma, other
    scaled = v, moved, unit * sigma, unit * other
    assert auc.predicted_auc(*scaled) == pytest.approx(auc.predicted_auc(*args), rel=1e-13)
    for prior in (0.2, 0.7):
        assert thresholds.predicted_accuracy(*scaled, prior=prior) == pytest.approx(
            thresholds.predicted_accuracy(*args, prior=prior), rel=1e-13
        )
    assert auc.best_direction(moved / size**2, unit * sigma) == pytest.approx(
        auc.best_direction(mu, sigma), rel=1e-13
    )
    assert auc.mean_difference_efficiency(moved, unit * sigma) == pytest.approx(
        auc.mean_difference_efficiency(mu, sigma), rel=1e-13
    )
    one, two = (
        principal.principal_direction(m, s) for m, s in ((mu, sigma), (moved, unit * sigma))
    )
    assert two.direction == pytest.approx(one.direction, rel=1e-12)
    assert two.eigenvalue / unit == pytest.approx(one.eigenvalue, rel=1e-12)
    assert two.auc == pytest.approx(one.auc, rel=1e-12)


def test_a_weak_and_a_strong_concept_before_pca():
    weak = principal.principal_direction([1e-150, 1e-150], np.diag([1.0, 2.0]))
    assert weak.direction == pytest.approx([0.0, 1.0])
    strong = principal.principal_direction([1e150, 1e150], np.diag([1.0, 2.0]))
    assert strong.direction == pytest.approx([math.sqrt(0.5)] * 2)
    for size in (1e-160, 1e160):
        with pytest.raises(OverflowError, match="beyond the doubles"):
            principal.principal_direction([size, size], EYE)


def test_what_pca_gives_where_it_misses_the_concept():
    found = principal.principal_direction([1.0, 0.0, 0.0], np.diag([1.0, 9.0, 2.0]))
    assert not found.found
    assert abs(found.direction) == pytest.approx([0.0, 1.0, 0.0])
    assert (found.eigenvalue, found.auc) == (9.0, 0.5)


def test_pca_of_a_turned_eigenvector_is_not_fooled_by_rounding():
    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((5, 5)))[0]
    sigma = (turn * [1.0, 2.0, 3.0, 4.0, 9.0]) @ turn.T
    assert not principal.principal_direction(1.9 * turn[:, 0], sigma).found
    assert principal.principal_direction(2.1 * turn[:, 0], sigma).direction == pytest.approx(
        turn[:, 0], abs=1e-12
    )


def test_pca_with_shared_content_is_judged_on_the_states():
    E, sigma, mu = np.diag([2.0, 1.0]), np.diag([2.0, 11.0]), np.ones(2)
    found = principal.principal_direction(mu, sigma, 2.0, pair_covariance=E)
    values, vectors = np.linalg.eigh(E + 2 * np.outer(mu, mu))
    v = vectors[:, -1]
    expected = auc.AUC(abs(v @ mu) / math.sqrt(v @ sigma @ v))
    assert (found.eigenvalue, found.auc) == pytest.approx((values[-1], expected))
    with pytest.raises(ValueError, match="pair_covariance has the eigenvalue"):
        principal.principal_direction(mu, sigma, pair_covariance=-E)


@pytest.mark.parametrize("prior", [0.02, 0.5, 0.9])
@pytest.mark.parametrize(
    ("a", "plus", "minus"),
    [
        (0.5, 1.0, 3.0),
        (0.0, 2.0, 1.0),
        (-1.0, 9.0, 0.5),
        (-0.2, 0.5, 2.0),
        (1.0, 1e-6, 1.0),
        (3.0, 1.0, 1.0),
    ],
)
def test_the_accuracy_is_that_of_the_best_threshold(prior, a, plus, minus):
    """Against every threshold of a fine net; the constant answers are its ends."""
    t = np.concatenate([np.linspace(-40, 40, 40001), a + plus * np.linspace(-9, 9, 4001)])
    upper, lower = (
        0.5 * special.erfc(x / math.sqrt(2)) for x in (-(t - a) / plus, (a + t) / minus)
    )
    errors = prior * upper + (1 - prior) * lower
    mu, sigma = [a, 1.0], np.diag([plus**2, 1.0])
    other = np.diag([minus**2, 1.0])
    found = thresholds.predicted_accuracy([1.0, 0.0], mu, sigma, other, prior=prior)
    assert found == pytest.approx(1 - min(errors.min(), prior, 1 - prior), abs=1e-6)


def test_far_classes_are_told_apart_wholly():
    assert thresholds.predicted_accuracy([1.0], [1e170], [[1.0]], [[4.0]], prior=0.9) == 1.0
    assert thresholds.predicted_accuracy([-1.0], [1e170], [[1.0]], [[4.0]], prior=0.9) == 0.9
    with pytest.raises(ValueError, match="vary in one class only"):
        thresholds.predicted_accuracy([1.0], [1e-9], [[1e-300]], [[1.0]])


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


@pytest.mark.parametrize(("n", "m"), [(1, 1), (3, 50), (1000, 900)])
def test_estimates_of_many_samples(n, m):
    """The same sign test, up to sums of thousands of terms; never above 1."""
    for delta in (0.2, 1.0, 30.0 if n == 1 else 2.0):
        right = 0.5 * math.erfc(-delta / math.sqrt((1 / n + 1 / m) / 4) / math.sqrt(2))
        expected = right * auc.AUC(delta) + (1 - right) * (1 - auc.AUC(delta))
        found = estimated.expected_auc(delta, 1, n, m)
        assert found == pytest.approx(expected, rel=1e-9)
        assert found <= 1


def test_the_limit_of_estimates():
    assert estimated.limiting_auc(1.0, 3.0) == pytest.approx(auc.AUC(0.5))
    assert estimated.limiting_auc(1e160, 1.0) == 1.0


def test_the_largest_loss_of_area():
    eta = 0.37
    losses = [auc.AUC(x) - auc.AUC(eta * x) for x in np.linspace(0, 4, 4001)]
    assert auc.largest_auc_loss(eta) == pytest.approx(max(losses), abs=1e-7)
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
    "prior = 0 must": lambda: principal.states_weight(0),
    "rounds to 1.0": lambda: principal.states_weight(Fraction(10**30 - 1, 10**30)),
    "efficiency = nan": lambda: auc.largest_auc_loss(math.nan),
    "efficiency = 1000": lambda: auc.largest_auc_loss(10**400),
    r"negative_covariance \(1, 1\)": lambda: auc.best_direction([1, 0], EYE, [[1]]),
    "not symmetric": lambda: auc.predicted_auc([1, 0], [1, 0], [[1, 1e-6], [0, 1]]),
    "eigenvalue -1e-05": lambda: auc.predicted_auc([1, 0], [1, 0], np.diag([1, -1e-5])),
    "weight = 0": lambda: principal.principal_direction([1, 0], EYE, 0),
    "labels hold 1 values": lambda: class_moments.moments_of_states(np.eye(3), [1, 1, 1]),
    "at least 2 each": lambda: class_moments.moments_of_states(np.eye(3), [1, 1, 0]),
    "states have shape": lambda: class_moments.moments_of_states(np.ones(3), [1, 1, 0]),
    "dimension = 0": lambda: estimated.expected_auc(1.0, 0, 1, 1),
    "load = -1": lambda: estimated.limiting_auc(1.0, -1),
    "more than 1e[+]07; use": lambda: estimated.expected_auc(1e5, 3, 1, 1),
    "use limiting_auc": lambda: estimated.expected_auc(10.0, 3, 10**6, 10**6),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_refused_by_name(message):
    with pytest.raises(ValueError, match=message):
        BAD[message]()
