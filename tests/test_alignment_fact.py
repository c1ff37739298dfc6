"""FACT: exact at critical points of any loss, known everywhere else."""

import numpy as np
import pytest
import sympy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from theory.alignment import fact
from theory.alignment.fact import fact_defect, fact_matrix

seeds = st.integers(0, 10**6)
decays = st.floats(0.01, 10)
sizes = st.integers(1, 6)


def ridge_solution(H, Y, decay):
    """The critical point of (1/2n)‖HWᵀ − Y‖² + (λ/2)‖W‖²."""
    n = len(H)
    return np.linalg.solve(H.T @ H / n + decay * np.eye(H.shape[1]), H.T @ Y / n).T


@given(st.integers(1, 12), sizes, sizes, seeds, decays)
def test_fact_holds_for_ridge_regression(n, d, o, seed, decay):
    rng = np.random.default_rng(seed)
    H, Y = rng.standard_normal((n, d)), rng.standard_normal((n, o))
    W = ridge_solution(H, Y, decay)
    g = (H @ W.T - Y) @ W
    assert fact_defect(W, g, H, decay) < 1e-9
    F = fact_matrix(g, H, decay)
    np.testing.assert_allclose(F, F.T, atol=1e-9 * np.abs(F).max())
    assert np.linalg.eigvalsh(F).min() > -1e-9 * np.abs(F).max()


@settings(max_examples=20)
@given(st.integers(2, 12), sizes, seeds, st.floats(0.05, 2))
def test_fact_holds_for_logistic_regression(n, d, seed, decay):
    rng = np.random.default_rng(seed)
    H, y = rng.standard_normal((n, d)), rng.choice([-1.0, 1.0], n)

    def objective(w):
        margins = y * (H @ w)
        slopes = -y / (1 + np.exp(margins))
        value = np.mean(np.logaddexp(0, -margins)) + decay / 2 * w @ w
        return value, H.T @ slopes / n + decay * w

    w = optimize.minimize(objective, np.ones(d), jac=True, method="BFGS", options={"gtol": 1e-9}).x
    slopes = -y / (1 + np.exp(y * (H @ w)))
    # ‖WᵀW − F‖ is ‖w‖ times the gradient that the optimiser left, over λ.
    F = fact_matrix(np.outer(slopes, w), H, decay)
    assert np.abs(np.outer(w, w) - F).max() < 1e-6


LOSSES = {
    "squares": lambda f, y: (f - y).square().sum() / 2,
    "quartic": lambda f, y: (f - y).pow(4).sum() / 4,
    "logistic": lambda f, y: torch.nn.functional.softplus(-f * y).sum(),
}


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 8), sizes, sizes, seeds, decays, st.sampled_from(sorted(LOSSES)))
def test_away_from_critical_points_the_gradient_makes_the_difference(n, d, k, seed, decay, loss):
    rng = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=rng, dtype=torch.float64)

    W, V, y = draw(k, d).requires_grad_(), draw(2, k), draw(n, 2).sign()
    H = draw(n, d).requires_grad_()
    total = LOSSES[loss](torch.tanh(H @ W.T) @ V.T, y)
    slope, g = torch.autograd.grad(total, (W, H))
    w = W.detach().numpy()
    gradient = slope.numpy() / n + decay * w
    F = fact_matrix(g.numpy(), H.detach().numpy(), decay)
    np.testing.assert_allclose(F, w.T @ w - w.T @ gradient / decay, rtol=1e-9, atol=1e-9)


def test_the_defect_is_relative():
    W, H = np.array([[2.0, 0.0]]), np.array([[1.0, 0.0]])
    assert fact_defect(W, np.array([[-4.0, 0.0]]), H, 1.0) == 0
    assert fact_defect(W, np.array([[-2.0, 0.0]]), H, 1.0) == 0.5
    assert fact_defect(10 * W, np.array([[-200.0, 0.0]]), H, 1.0) == 0.5


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((np.ones((3, 2)), np.ones((3, 3)), 1.0), ValueError, r"shape \(3, 2\) and h \(3, 3\)"),
        ((np.ones((0, 2)), np.ones((0, 2)), 1.0), ValueError, "gradients_wrt_h has shape .* empty"),
        ((np.ones(3), np.ones(3), 1.0), ValueError, r"shape \(3,\), must be a matrix"),
        ((np.ones((3, 2)), np.full((3, 2), np.nan), 1.0), ValueError, "h holds NaN or infinite"),
        (
            (np.ones((3, 2)), np.ones((3, 2)), 0.0),
            ValueError,
            r"weight_decay = 0\.0 must be .* > 0",
        ),
        ((np.ones((3, 2)), np.ones((3, 2)), None), TypeError, "weight_decay = None"),
    ],
)
def test_what_has_no_fact_matrix_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        fact_matrix(*arguments)


@pytest.mark.parametrize(
    ("W", "message"),
    [
        (np.ones((2, 3)), r"weight has shape \(2, 3\), must be \(k, 2\)"),
        (np.zeros((2, 2)), "weight is 0"),
        (np.full((2, 2), np.inf), "weight holds NaN or infinite"),
    ],
)
def test_weights_without_a_defect_are_refused(W, message):
    with pytest.raises(ValueError, match=message):
        fact_defect(W, np.ones((3, 2)), np.ones((3, 2)), 1.0)


@pytest.mark.parametrize(
    ("derive", "formula"),
    [(fact.derive_coefficient, fact.COEFFICIENT), (fact.derive_delay, fact.DELAY)],
)
def test_derivations_hold_and_would_fail(derive, formula):
    assert all(result.holds for result in derive().check())
    assert not all(result.holds for result in derive(sympy.Rational(51, 50) * formula).check())
