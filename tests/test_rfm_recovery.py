"""What recursive feature machines find in a product of two inputs, and where they learn nothing."""

from __future__ import annotations

import numpy as np
import pytest

from numerics.rfm.data import product
from numerics.rfm.estimators import RFMRegressor


def drawn(n, d, seed=0):
    found = product(n, np.random.default_rng(seed), d=d)
    return found.inputs, found.targets


def plane_angle(agop):
    """Sine of the largest angle between the top two eigenvectors and the span of e₀, e₁."""
    vectors = np.linalg.eigh(agop)[1][:, -2:]
    return np.linalg.norm(vectors[2:], ord=2)


@pytest.mark.parametrize(("n", "d"), [(500, 20), pytest.param(2000, 100, marks=pytest.mark.slow)])
@pytest.mark.parametrize("seed", [0, 1])
def test_on_the_product_target_the_plane_is_found(n, d, seed):
    (X, y), (X_val, y_val) = drawn(n, d, seed), drawn(n // 4, d, seed + 10)
    new, wanted = drawn(1000, d, seed + 20)
    options = {"kernel": "gaussian", "bandwidth": 4.0, "ridge": 1e-7}
    model = RFMRegressor(rounds=8, **options).fit(X, y, X_val, y_val)
    fixed = RFMRegressor(rounds=0, **options).fit(X, y)
    error, fixed_error = (np.mean((m.predict(new) - wanted) ** 2) for m in (model, fixed))
    assert plane_angle(model.agop_) < 0.01
    assert error < 0.1 * fixed_error


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_laplace_on_the_product_target_with_a_diagonal_metric(seed):
    (X, y), (X_val, y_val) = drawn(2000, 100, seed), drawn(500, 100, seed + 10)
    new, wanted = drawn(1000, 100, seed + 20)
    model = RFMRegressor(rounds=8, diagonal=True).fit(X, y, X_val, y_val)
    fixed = RFMRegressor(rounds=0).fit(X, y)
    error, fixed_error = (np.mean((m.predict(new) - wanted) ** 2) for m in (model, fixed))
    assert set(np.argsort(model.agop_)[-2:]) == {0, 1}
    assert error < 0.1 * fixed_error


@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["laplace", "gaussian"])
def test_round_0_is_kept_in_dimension_500(kernel):
    (X, y), (X_val, y_val) = drawn(2000, 500), drawn(500, 500, seed=1)
    model = RFMRegressor(kernel=kernel, rounds=3).fit(X, y, X_val, y_val)
    assert model.best_round_ == 0
    assert np.array_equal(model.M_, np.eye(500))
