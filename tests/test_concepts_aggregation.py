"""Aggregated scores: laws, order, limits, in-sample separations, and what is refused."""

import numpy as np
import pytest

from theory.concepts.aggregation import (
    aggregated,
    joint_vectors,
    largest_loss,
    layer_gains,
    layer_separations,
    own_vectors,
    stacked_separation,
    weighted_separation,
)
from theory.concepts.layer_scores import equicorrelated_factor, worthwhile_ratio
from theory.concepts.leakage import in_sample_explained, in_sample_separation

MEANS = ([1.0, 0.5], [0.0, 1.0, -0.25], [0.4])


def covariance(seed=0, size=6):
    root = np.random.default_rng(seed).standard_normal((size, size + 2))
    return root @ root.T / size + np.eye(size) / 4


def test_best_layer_scores_and_stack_are_in_order():
    sigma = covariance()
    own = own_vectors(MEANS, sigma)
    found = aggregated(MEANS, sigma, own)
    assert layer_separations(MEANS, sigma).max() < found.separation < found.stacked
    assert found.stacked - found.separation == pytest.approx(found.loss, rel=1e-9)
    assert found.stacked == pytest.approx(stacked_separation(MEANS, sigma), rel=1e-12)
    assert found.stacked / found.separation <= largest_loss([2, 3, 1], sigma)


def test_gains_add_up_and_depend_on_the_order():
    sigma, order = covariance(), [2, 3, 4, 5, 0, 1]
    gains = layer_gains(MEANS, sigma)
    turned = layer_gains((MEANS[1], MEANS[2], MEANS[0]), sigma[np.ix_(order, order)])
    assert gains.sum() == pytest.approx(turned.sum(), rel=1e-12)
    assert gains[0] == pytest.approx(layer_separations(MEANS, sigma)[0], rel=1e-12)
    assert gains[0] != pytest.approx(turned[2], rel=1e-3)


def test_uncorrelated_layers_add_up():
    sigma = np.zeros((6, 6))
    sigma[:2, :2], sigma[2:5, 2:5], sigma[5, 5] = covariance(1, 2), covariance(2, 3), 2.0
    found = aggregated(MEANS, sigma, own_vectors(MEANS, sigma))
    assert found.separation == pytest.approx(layer_separations(MEANS, sigma).sum(), rel=1e-12)
    assert found.loss == pytest.approx(0.0, abs=1e-12)
    assert largest_loss([2, 3, 1], sigma) == pytest.approx(1.0, rel=1e-12)


def test_joint_vectors_and_all_directions_lose_nothing():
    sigma = covariance()
    for vectors in (joint_vectors(MEANS, sigma), [np.eye(2), np.eye(3), np.eye(1)]):
        found = aggregated(MEANS, sigma, vectors)
        assert found.separation == pytest.approx(found.stacked, rel=1e-12)
        assert found.loss < 1e-20


def test_nothing_depends_on_norms_signs_and_units():
    sigma, vectors = covariance(), own_vectors(MEANS, covariance())
    units = np.repeat([1e-90, 1.0, 1e60], [2, 3, 1])
    moved = [u * np.asarray(m) for u, m in zip((1e-90, 1.0, 1e60), MEANS, strict=True)]
    scaled = [v * f for v, f in zip(vectors, (-1e80, 3.0, 1e-50), strict=True)]
    found = aggregated(moved, sigma * np.outer(units, units), scaled)
    assert found.separation == pytest.approx(aggregated(MEANS, sigma, vectors).separation, rel=1e-9)


def test_a_layer_without_signal_helps_the_stack_and_is_weighted_negatively():
    sigma = np.array([[1.0, 0.6], [0.6, 1.0]])
    assert stacked_separation([[1.0], [0.0]], sigma) == pytest.approx(25 / 16)
    weights = aggregated([[1.0], [0.5]], sigma, [[1.0], [1.0]]).weights
    assert weights[1] < 0 < weights[0]


def test_a_later_layer_of_a_residual_stream_without_new_signal_adds_nothing():
    sigma = np.minimum.outer(np.arange(1.0, 5.0), np.arange(1.0, 5.0))
    assert layer_gains([[1.0]] * 4, sigma) == pytest.approx([1.0, 0.0, 0.0, 0.0], abs=1e-14)


def test_equal_weights_are_worthwhile_from_the_ratio_on():
    for rho in (-0.5, 0.0, 0.7):
        C, ratio = np.array([[1.0, rho], [rho, 1.0]]), worthwhile_ratio()(rho)
        border = weighted_separation([1.0, ratio], C, [1.0, 1.0])
        assert border == pytest.approx(1.0, rel=1e-14)
        assert weighted_separation([1.0, ratio - 0.01], C, [1.0, 1.0]) < 1


@pytest.mark.parametrize("layers", [2, 5, 40])
def test_equicorrelated_scores_gain_less_than_the_inverse_correlation(layers):
    C = 0.7 * np.eye(layers) + 0.3
    found = stacked_separation([[1.0]] * layers, C)
    assert found == pytest.approx(equicorrelated_factor(layers)(0.3), rel=1e-12)
    assert found < 1 / 0.3


def test_in_sample_explained_is_the_mean_over_orders():
    rng = np.random.default_rng(0)
    X, y = rng.standard_cauchy((30, 7)), np.repeat([1.0, -1.0], [12, 18])
    Q, _ = np.linalg.qr(X - X.mean(axis=0))
    y -= y.mean()
    shares = [np.sum((Q.T @ rng.permutation(y)) ** 2) / (y @ y) for _ in range(20000)]
    assert np.mean(shares) == pytest.approx(in_sample_explained(7, 30), abs=6e-3)


def test_in_sample_separations_of_the_two_probes():
    assert in_sample_separation(10, (50, 50)) == pytest.approx(10 / 87)
    assert in_sample_separation(10, (50, 50), probe="mean_difference") == pytest.approx(10 / 96)
    assert in_sample_separation(200, (50, 50), 2.0, "mean_difference") == pytest.approx(400 / 96)


@pytest.mark.parametrize(
    ("means", "sigma", "message"),
    [
        ([], np.eye(1), "means holds no layer"),
        ([[1.0], [np.nan]], np.eye(2), r"means\[1\] holds nan"),
        ([[[1.0]]], np.eye(1), r"means\[0\] has shape \(1, 1\)"),
        ([[1.0], [1.0]], np.eye(3), r"\(2, 2\) is allowed, for layers of 1 \+ 1 dimensions"),
        ([[1.0], [1.0]], np.ones((2, 2)), "not positive definite.*leave it out"),
        ([[1.0], [1.0]], np.diag([1.0, 0.0]), "0.0 on its diagonal"),
        ([[1.0, 1.0]], [[1.0, 0.5], [0.1, 1.0]], "not symmetric"),
    ],
)
def test_bad_layers_are_refused_by_name(means, sigma, message):
    for function in (stacked_separation, layer_gains, own_vectors, joint_vectors):
        with pytest.raises(ValueError, match=message):
            function(means, sigma)


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ([[1.0, 1.0]], "vectors holds 1 layers; 2 are needed"),
        ([[1.0], [1.0]], r"vectors\[0\] has shape \(1,\); \(2,\) or \(k, 2\)"),
        ([[0.0, 0.0], [1.0]], "zero vector"),
        ([[1e-160, 0.0], [1.0]], "too small for doubles to square"),
        ([[[[1.0, 1.0]]], [1.0]], r"vectors\[0\] has shape \(1, 1, 2\)"),
        ([[[1.0, 1.0], [2.0, 2.0]], [1.0]], "linearly dependent"),
    ],
)
def test_bad_vectors_are_refused_by_name(vectors, message):
    with pytest.raises(ValueError, match=message):
        aggregated([[1.0, 0.0], [1.0]], np.eye(3), vectors)


def test_own_and_joint_vectors_are_solutions():
    sigma = covariance()
    own, joint = own_vectors(MEANS, sigma), joint_vectors(MEANS, sigma)
    assert sigma @ np.concatenate(joint) == pytest.approx(np.concatenate(MEANS), abs=1e-12)
    assert [len(v) for v in joint] == [2, 3, 1]
    assert sigma[2:5, 2:5] @ own[1] == pytest.approx(np.array(MEANS[1]), abs=1e-12)


def test_the_largest_loss_is_that_of_scaled_layers():
    root = np.array([[2.0, 1.0], [0.5, 3.0]])
    scale = np.block([[np.array([[5.0]]), np.zeros((1, 2))], [np.zeros((2, 1)), root]])
    plain = np.array([[1.0, 0.6, 0.0], [0.6, 1.0, 0.0], [0.0, 0.0, 1.0]])
    assert largest_loss([1, 2], scale @ plain @ scale.T) == pytest.approx(1.5625, rel=1e-12)


def test_a_matrix_symmetric_to_rounding_is_taken_as_its_symmetric_part():
    sigma = covariance()
    off = sigma.copy()
    off[0, 5] += 1e-11
    half = sigma.copy()
    half[0, 5] = half[5, 0] = sigma[0, 5] + 5e-12
    vectors = own_vectors(MEANS, sigma)
    assert aggregated(MEANS, off, vectors).covariance == pytest.approx(
        aggregated(MEANS, half, vectors).covariance, rel=1e-15
    )


@pytest.mark.parametrize("call", [layer_separations, layer_gains, stacked_separation])
def test_separations_beyond_the_doubles_are_refused(call):
    with pytest.raises(OverflowError, match="overflows: scale the data"):
        call([[1.0], [1e160]], np.eye(2))
    with pytest.raises(OverflowError, match="overflows: scale the data"):
        stacked_separation([[1e154], [1e154]], np.eye(2))
    with pytest.raises(OverflowError, match="overflows: scale the data"):
        aggregated([[1.0], [1e160]], np.eye(2), [[1.0], [1e-100]])
    with pytest.raises(OverflowError, match="overflows: scale the data"):
        joint_vectors([[1e160]], [[1e-160]])
    with pytest.raises(OverflowError, match="variance overflows"):
        aggregated([[1.0]], [[1.0]], [[1e160]])
    with pytest.raises(OverflowError, match="overflows: scale the data"):
        weighted_separation([1e160], [[1.0]], [1.0])


def test_weights_and_scores_of_every_size():
    assert weighted_separation([1e154, 1e154], 1e308 * np.eye(2), [1.0, 1.0]) == pytest.approx(2)
    assert weighted_separation([1.0, 0.0], np.eye(2), [1e-200, 1e-200]) == pytest.approx(0.5)
    assert weighted_separation([1.0, 0.0], np.eye(2), [1e200, 1e200]) == pytest.approx(0.5)
    far = weighted_separation([1.0, 1.0], np.diag([1e-300, 1.0]), [1e-200, 0.0])
    assert far == pytest.approx(1e300)
    C = np.diag([1e-200, 1e200])
    assert weighted_separation([1e-100, 1e100], C, [1e100, 1e-100]) == pytest.approx(2)


def test_nearly_dependent_scores_are_taken_and_dependent_ones_refused():
    found = stacked_separation([[1.0], [1.0]], [[1.0, 1 - 1e-9], [1 - 1e-9, 1.0]])
    assert found == pytest.approx(2 / (2 - 1e-9), rel=1e-6)
    vectors = [[[1.0, 0.0], [1.0, 1e-5]], [1.0]]
    assert aggregated([[1.0, 1.0], [1.0]], np.eye(3), vectors).loss == pytest.approx(0, abs=1e-12)


def test_domains_of_closed_forms():
    with pytest.raises(ValueError, match="rho"):
        equicorrelated_factor(3)(-0.6)
    assert equicorrelated_factor(3)(-0.4) == pytest.approx(15)
    assert worthwhile_ratio()(-0.5) == pytest.approx(0.0, abs=1e-15)


def test_in_sample_separations_with_a_concept_and_unequal_counts():
    assert in_sample_separation(2, (6, 14), 0.5) == pytest.approx((400 * 2 / 336 + 10) / 15)
    assert in_sample_separation(2, (2, 3), probe="mean_difference") == pytest.approx(50 / 24)
    for counts, probe, least in (((3, 2), "least_squares", 6), ((2, 2), "mean_difference", 5)):
        with pytest.raises(ValueError, match=f"at least {least}"):
            in_sample_separation(2, counts, 0.0, probe)
    with pytest.raises(ValueError, match=r"counts\[1\] = 0"):
        in_sample_separation(1, (9, 0))
    with pytest.raises(TypeError, match="counts = 10 must"):
        in_sample_separation(1, 10)
    with pytest.raises(ValueError, match="samples = 1"):
        in_sample_explained(0, 1)


def test_bad_numbers_are_refused_by_name():
    with pytest.raises(ValueError, match="weights are all 0"):
        weighted_separation([1.0], np.eye(1), [0.0])
    with pytest.raises(ValueError, match=r"weights have shape \(2,\)"):
        weighted_separation([1.0], np.eye(1), [1.0, 1.0])
    with pytest.raises(ValueError, match="rank = 5 must be at most samples - 1 = 4"):
        in_sample_explained(5, 5)
    with pytest.raises(ValueError, match="counts add up to 13; at least 14"):
        in_sample_separation(10, (6, 7))
    with pytest.raises(ValueError, match="probe = 'pca' must be one of"):
        in_sample_separation(1, (6, 7), 0.0, "pca")
    with pytest.raises(TypeError, match="two integers"):
        in_sample_separation(1, (6, 7.5))
    with pytest.raises(ValueError, match=r"sizes\[0\] = 0"):
        largest_loss([0, 1], np.eye(1))
    with pytest.raises(ValueError, match="layers = 1"):
        equicorrelated_factor(1)
    with pytest.raises(OverflowError, match="overflows: scale the data"):
        stacked_separation([[1e200]], np.eye(1))
