"""NC1 and NC2 of Gram matrices, the singular structure, and the collapsed kernel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from theory.collapse.best_kernel import collapsed_kernel, kernel_value, least_kernel_value
from theory.collapse.fixed_points import fixed_point
from theory.collapse.metrics import nc1, nc2
from theory.collapse.singular import singular_features


def one_hot(sizes):
    return np.repeat(np.eye(len(sizes)), sizes, axis=1)


def features(sizes, dimension, seed):
    return np.random.default_rng(seed).standard_normal((dimension, sum(sizes))) + 0.5


def measured(X, sizes):
    """NC1 and NC2 of columns, from their definitions."""
    ends = np.cumsum(sizes)
    groups = [X[:, end - n : end] for n, end in zip(sizes, ends, strict=True)]
    means = np.stack([group.mean(axis=1) for group in groups], axis=1)
    scatter = [np.sum((g - g.mean(axis=1, keepdims=True)) ** 2) for g in groups]
    centred = means - means.mean(axis=1, keepdims=True)
    unit = centred / np.linalg.norm(centred, axis=0)
    K = len(sizes)
    simplex = np.where(np.eye(K, dtype=bool), 1.0, -1 / (K - 1))
    first = sum(scatter) / X.shape[1] / (np.sum(centred**2) / K)
    return first, np.mean((unit.T @ unit - simplex) ** 2)


SIZES = st.lists(st.integers(1, 4), min_size=2, max_size=4)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(SIZES, st.integers(3, 6), st.integers(0, 2**20))
def test_metrics_of_gram_matrices(sizes, dimension, seed):
    X, Y = features(sizes, dimension, seed), one_hot(sizes)
    first, second = measured(X, sizes)
    assert nc1(X.T @ X, Y) == pytest.approx(first, rel=1e-8, abs=1e-12)
    assert nc1(X.T @ X, Y, "released") == pytest.approx(first / len(sizes), rel=1e-8, abs=1e-12)
    assert nc2(X.T @ X, Y) == pytest.approx(second, rel=1e-7, abs=1e-12)


def test_metrics_at_the_fixed_point():
    found = fixed_point(4, 3, kernel_ridge=0.5, feature_ridge=2.0, scale=1.5)
    Y = one_hot([4, 4, 4])
    assert nc1(found.gram, Y) == pytest.approx(found.nc1, rel=1e-12)
    for distance in ("cosines", "frobenius"):
        assert nc2(found.gram, Y, distance) < 1e-12
    assert found.nc2 == 0


def test_frobenius_sees_lengths():
    vertices = np.eye(3) - 1 / 3
    stretched = vertices * [1.0, 2.0, 3.0]
    centred = stretched - stretched.mean(axis=1, keepdims=True)
    assert nc2(stretched.T @ stretched, np.eye(3), "frobenius") > 0.1
    assert nc2(vertices.T @ vertices, np.eye(3), "frobenius") < 1e-12
    B, simplex = centred.T @ centred, vertices
    expected = np.linalg.norm(B / np.linalg.norm(B) - simplex / np.linalg.norm(simplex))
    assert nc2(stretched.T @ stretched, np.eye(3), "frobenius") == pytest.approx(expected)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(1, 6), st.integers(2, 6), st.integers(0, 2**20))
def test_singular_features(width, dimension, seed):
    sizes = [3, 3]
    X = features(sizes, dimension, seed)
    rng = np.random.default_rng(seed)
    W, bias = rng.standard_normal((width, dimension)), rng.standard_normal((width, 1))
    moved = singular_features(W, X)
    assert moved.shape == (min(width, dimension), 6)
    np.testing.assert_allclose(moved.T @ moved, X.T @ W.T @ W @ X, atol=1e-10)
    Z = W @ X + bias
    assert nc1(moved.T @ moved, one_hot(sizes)) == pytest.approx(nc1(Z.T @ Z, one_hot(sizes)), 1e-7)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(SIZES, st.floats(1e-3, 1e3), st.floats(0.0, 1.0), st.integers(0, 2**20))
def test_no_kernel_is_better(sizes, ridge, mixed, seed):
    Y, V = one_hot(sizes), features(sizes, 3, seed)
    V = V / np.linalg.norm(V, axis=0)
    least = least_kernel_value(sizes, ridge)
    best = collapsed_kernel(Y)
    assert kernel_value(best, Y, ridge) == pytest.approx(least, rel=1e-12)
    kernel = (1 - mixed) * best + mixed * V.T @ V
    assert kernel_value(kernel, Y, ridge) >= least * (1 - 1e-12)


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("metric", [nc1, nc2])
@pytest.mark.parametrize(
    ("gram", "labels", "message"),
    [
        (np.eye(3), np.ones((1, 3)), "labels have 1 class; at least 2"),
        (np.eye(3), np.eye(2), r"labels have shape \(2, 2\); \(K, 3\) is allowed"),
        (np.eye(2), [[1, 1], [0, 0]], "labels: class 1 has no sample"),
        (np.eye(2), [[0.5, 0], [0.5, 1]], "labels are not one-hot"),
        (np.eye(2), [[1, 1], [1, 0]], "labels are not one-hot"),
        (-np.eye(2), np.eye(2), "gram has the eigenvalue -1; none below 0"),
        (np.ones((2, 3)), np.eye(2), r"gram has shape \(2, 3\)"),
        ([[np.inf, 0], [0, 1]], np.eye(2), "gram holds inf"),
    ],
)
def test_metrics_refuse(metric, gram, labels, message):
    with pytest.raises(ValueError, match=message):
        metric(gram, labels)


def test_coinciding_means_are_refused():
    with pytest.raises(ValueError, match="all 2 class means coincide, so that NC1 is infinite"):
        nc1(np.ones((4, 4)), one_hot([2, 2]))
    with pytest.raises(ValueError, match="has no direction"):
        nc2(np.outer([-1, 0, 1], [-1, 0, 1]), np.eye(3))
    with pytest.raises(ValueError, match="normalisation = 'other' must be one of"):
        nc1(np.eye(2), np.eye(2), "other")
    with pytest.raises(ValueError, match="distance = 'other' must be one of"):
        nc2(np.eye(2), np.eye(2), "other")


@pytest.mark.parametrize("seed", range(8))
def test_means_are_told_apart_down_to_rounding(seed):
    X, Y = features([5], 4, seed) + 5.0, one_hot([5, 5])
    same = np.hstack([X, X[:, ::-1]])
    for metric in (nc1, nc2):
        with pytest.raises(ValueError, match=r"coincide|no direction"):
            metric(same.T @ same, Y)
    near = np.array([[1.0, 1.0], [1e-5, -1e-5]])  # 1e-10 between
    assert nc1(near.T @ near, np.eye(2)) == 0
    assert nc2(near.T @ near, np.eye(2)) < 1e-20
    collapsed = np.repeat(features([3], 4, seed), 4, axis=1)
    assert 0 <= nc1(collapsed.T @ collapsed, one_hot([4, 4, 4])) < 1e-14


def test_kernels_are_refused():
    with pytest.raises(ValueError, match="kernel has 1 on its diagonal; at most 1"):
        kernel_value(np.diag([1.0, 1 + 1e-9]), np.eye(2), 1.0)
    with pytest.raises(ValueError, match=r"kernel has 1\.5 on its diagonal; at most 1"):
        kernel_value(1.5 * np.eye(2), np.eye(2), 1.0)
    with pytest.raises(ValueError, match="kernel has the eigenvalue"):
        kernel_value([[1.0, 2.0], [2.0, 1.0]], np.eye(2), 1.0)
    with pytest.raises(ValueError, match="ridge = 0 must be a finite number > 0"):
        kernel_value(np.eye(2), np.eye(2), 0)
    with pytest.raises(ValueError, match="class_sizes = 0 must be an integer >= 1"):
        least_kernel_value([2, 0], 1.0)
    with pytest.raises(ValueError, match="class_sizes is empty"):
        least_kernel_value([], 1.0)
    with pytest.raises(ValueError, match="labels are not one-hot"):
        collapsed_kernel([[1, 2]])


def test_singular_features_refuse():
    with pytest.raises(ValueError, match=r"weights have shape \(2, 3\), features \(2, 4\)"):
        singular_features(np.ones((2, 3)), np.ones((2, 4)))
    with pytest.raises(TypeError, match="weights has dtype complex128"):
        singular_features(np.ones((2, 2)) * 1j, np.ones((2, 4)))


def test_a_single_label_without_shape_is_refused():
    with pytest.raises(ValueError, match="shape"):
        collapsed_kernel(3.0)


@pytest.mark.parametrize("size", [1e-200, 1e200, 1e308])
def test_metrics_do_not_see_the_scale(size):
    G, Y = np.diag([1.0, 1.0, 0.5]), np.array([[1, 1, 0], [0, 0, 1]])
    assert nc1(size * G, Y) == pytest.approx(nc1(G, Y), rel=1e-12)
    for distance in ("cosines", "frobenius"):
        assert nc2(size * G, Y, distance) == pytest.approx(nc2(G, Y, distance), abs=1e-12)
