"""Deep linear networks: balance, its decay, and the modes of two layers."""

import itertools
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
import sympy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from numerics.alignment import gradient_flow, layer_matrices
from proofs_check.claims.alignment.linear_common import linear_model
from proofs_check.claims.alignment.linear_flow import Problem, flow, rational_matrix
from theory.alignment import balanced, modes, weight_decay
from theory.alignment.balanced import balance_defect, balanced_exponent, balanced_weights
from theory.alignment.weight_decay import decayed_imbalance, imbalance
from theory.matrix_words import matrices, reduced, trace

DERIVATIONS = (
    (balanced.derive_exponent, balanced.EXPONENT),
    (balanced.derive_frozen, balanced.FROZEN_AGOP),
    (weight_decay.derive_factor, weight_decay.FACTOR),
    (weight_decay.derive_step_factor, weight_decay.STEP_FACTOR),
    (modes.derive_strength, modes.STRENGTH),
    (modes.derive_correlation, modes.CORRELATION),
    (modes.derive_frozen_strength, modes.FROZEN_STRENGTH),
)

widths = st.lists(st.integers(2, 6), min_size=2, max_size=5)
seeds = st.integers(0, 10**6)


def quartic(outputs, targets):
    return ((outputs - targets) ** 4).sum() / 4


LOSSES = ("mse", "logistic", quartic)


def power(matrix, exponent):
    return np.linalg.matrix_power(matrix, exponent)


def agop(weights, layer):
    total = np.linalg.multi_dot([*weights[: layer - 1 : -1], weights[layer - 1]]) if (
        layer < len(weights)
    ) else weights[-1]  # fmt: skip
    return total.T @ total


def problem(sizes, rng):
    X = rng.standard_normal((7, sizes[0]))
    return X, rng.choice([-1.0, 1.0], (7, sizes[-1]))


# ── balance ──────────────────────────────────────────────────────────────────────────────────────


@given(widths, seeds)
def test_balanced_weights_are_balanced_and_obey_the_law(sizes, seed):
    rng = np.random.default_rng(seed)
    weights = balanced_weights(sizes, rng.uniform(0.3, 1.5, rng.integers(1, min(sizes) + 1)), rng)
    assert [w.shape for w in weights] == list(zip(sizes[1:], sizes[:-1], strict=True))
    assert all(np.abs(D).max() < 1e-13 for D in balance_defect(weights))
    for layer in range(1, len(weights) + 1):
        nfm = weights[layer - 1].T @ weights[layer - 1]
        exponent = balanced_exponent(len(weights), layer)
        assert exponent.numerator == 1
        np.testing.assert_allclose(
            power(nfm, exponent.denominator), agop(weights, layer), atol=1e-12
        )


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(2, 4), min_size=3, max_size=4), seeds, st.sampled_from(LOSSES))
def test_balance_and_the_law_survive_training_with_any_loss(sizes, seed, loss):
    rng = np.random.default_rng(seed)
    weights = balanced_weights(sizes, [0.9, 0.5], rng)
    X, Y = problem(sizes, rng)
    end = gradient_flow(linear_model(weights), X, Y, [0.1], loss=loss, rtol=1e-9).at(0)
    depth = len(weights)
    for layer, found in enumerate(layer_matrices(end, X, agop="gradient").values(), 1):
        law = torch.linalg.matrix_power(found.nfm, depth - layer + 1)
        torch.testing.assert_close(law, found.agop, rtol=1e-6, atol=1e-8)


def test_layers_below_need_not_be_balanced_but_those_above_must_be():
    rng = np.random.default_rng(1)
    weights = list(balanced_weights((3, 4, 3, 2), (1.0, 0.5), rng))
    weights[0] = rng.standard_normal((4, 3))
    nfm = weights[1].T @ weights[1]
    np.testing.assert_allclose(power(nfm, 2), agop(weights, 2), atol=1e-13)
    weights[2] = 2 * weights[2]
    assert np.abs(power(nfm, 2) - agop(weights, 2)).max() > 0.1


def test_exponents_are_fractions():
    assert balanced_exponent(2, 1) == Fraction(1, 2)
    assert [balanced_exponent(4, layer) for layer in (1, 2, 3, 4)] == [
        Fraction(1, 4), Fraction(1, 3), Fraction(1, 2), 1]  # fmt: skip


@pytest.mark.parametrize(
    ("depth", "layer", "error", "message"),
    [
        (0, 1, ValueError, "depth = 0 must be an integer >= 1"),
        (2, 0, ValueError, "layer = 0 must be an integer >= 1"),
        (2, 3, ValueError, "layer = 3 must be at most the depth, 2"),
        (2.0, 1, TypeError, r"depth = 2\.0 must be an integer"),
    ],
)
def test_layers_that_do_not_exist_are_refused(depth, layer, error, message):
    with pytest.raises(error, match=message):
        balanced_exponent(depth, layer)


@pytest.mark.parametrize(
    ("sizes", "sigma", "error", "message"),
    [
        ((3,), (1.0,), ValueError, r"widths = \(3,\) must have at least 2"),
        ((3, 0), (1.0,), ValueError, r"widths\[1\] = 0 must be an integer >= 1"),
        ((3, 2.5), (1.0,), TypeError, r"widths\[1\] = 2\.5"),
        ((3, 2), (1.0, 1.0, 1.0), ValueError, r"must be \(r,\) with 1 <= r <= 2"),
        ((3, 2), (1.0, 0.0), ValueError, "must be finite and > 0"),
        ((3, 2), (1.0, np.nan), ValueError, "must be finite and > 0"),
    ],
)
def test_weights_that_cannot_be_balanced_are_refused(sizes, sigma, error, message):
    with pytest.raises(error, match=message):
        balanced_weights(sizes, sigma, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([], "weights is empty"),
        ([np.ones(3)], r"layer 1 has shape \(3,\), must be a matrix"),
        ([np.ones((2, 3)), np.full((1, 2), np.inf)], "layer 2 holds NaN or infinite"),
        ([np.ones((2, 3)), np.ones((1, 3))], "layer 2 has shape .* takes 3 inputs, but layer 1"),
    ],
)
def test_weights_that_do_not_chain_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        balance_defect(weights)


# ── weight decay ─────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.integers(1, 4), min_size=3, max_size=4),
    seeds,
    st.sampled_from(LOSSES),
    st.floats(0, 3),
)
def test_the_imbalance_decays_at_twice_the_weight_decay(sizes, seed, loss, decay):
    rng = np.random.default_rng(seed)
    weights = [rng.standard_normal((up, low)) / 2 for low, up in itertools.pairwise(sizes)]
    X, Y = problem(sizes, rng)
    path = gradient_flow(
        linear_model(weights), X, Y, [0.05], loss=loss, weight_decay=decay, rtol=1e-9
    )
    end = [p.detach().numpy() for p in path.at(0).parameters()]
    claimed = decayed_imbalance(weights, decay, 0.05)
    for value, truth in zip(claimed, balance_defect(end), strict=True):
        np.testing.assert_allclose(value, truth, atol=1e-6)


def test_activations_keep_the_diagonals_only():
    W = [np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[5.0, 6.0]])]
    np.testing.assert_allclose(imbalance(W)[0], [[20, 19], [19, 11]])
    np.testing.assert_allclose(imbalance(W, "relu")[0], [20, 11])
    np.testing.assert_allclose(imbalance(W, "quadratic")[0], [45, 47])
    np.testing.assert_allclose(decayed_imbalance(W, 0.5, 2.0, "cubic")[0],
                               np.exp(-2) * np.array([70, 83]))  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0.1, 1.0, "tanh"), ValueError, "activation = 'tanh' must be homogeneous: one of 'relu'"),
        ((-0.1, 1.0), ValueError, r"weight_decay = -0\.1 must be a finite number >= 0"),
        ((0.1, np.nan), ValueError, "time = nan must be a finite number >= 0"),
        (("0.1", 1.0), TypeError, "weight_decay = '0.1'"),
    ],
)
def test_decay_that_makes_no_sense_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        decayed_imbalance([np.ones((2, 2)), np.ones((1, 2))], *arguments)


# ── modes ────────────────────────────────────────────────────────────────────────────────────────


@given(
    st.floats(0, 3), st.floats(0.001, 4), st.integers(1, 20), st.floats(0, 30), st.floats(1e-3, 1)
)
def test_a_mode_solves_its_equation(s, u, n, decay, time):
    def velocity(_, x):
        return 2 * n * x * (s - decay / n - x)

    solved = solve_ivp(velocity, (0, time), [u], "LSODA", rtol=1e-9, atol=1e-13).y[0, -1]
    found = modes.mode_strength(s, u, n, decay)(time)
    assert found == pytest.approx(solved, rel=1e-5, abs=1e-9)


def test_a_mode_keeps_its_digits_at_both_ends():
    mode = modes.mode_strength("5/4", "1/100", 10, "1/2")
    assert mode(1e-300) == 0.01
    assert mode(1e6) == 1.2
    dying = modes.mode_strength("1/2", 1, 10, 10)
    assert dying(10) == pytest.approx(np.exp(-100) / 3, rel=1e-14)
    critical = modes.mode_strength(1, "1/2", 10, 10)
    assert critical(3) == 0.5 / 31


def test_equal_strengths_start_aligned_and_end_at_the_ratio_of_power_sums():
    s = np.array([3.0, 2.0, 0.5])
    rho = modes.mode_correlation([modes.mode_strength(x, "1/100", 10) for x in s])
    assert rho(1e-9) == pytest.approx(1, abs=1e-12)
    limit = np.sum(s**3) / np.sqrt(np.sum(s**2) * np.sum(s**4))
    assert rho(1e3) == pytest.approx(limit, rel=1e-14)
    ball = rho.enclose("1/100", "1/90", 1e-4)
    assert 0 < ball.lower() < ball.upper() < 1


def test_modes_of_data_are_those_of_the_trained_network():
    rng = np.random.default_rng(2)
    X = np.linalg.qr(rng.standard_normal((12, 3)))[0] * np.sqrt(12)
    Y = rng.standard_normal((12, 2))
    found = modes.linear_modes(X, Y, 0.04, 0.7)
    middle = np.linalg.qr(rng.standard_normal((4, 2)))[0]
    start = [0.2 * middle @ found.inputs.T, 0.2 * found.outputs @ middle.T]
    end = gradient_flow(linear_model(start), X, Y, [0.15], weight_decay=0.7).at(0)
    first = next(iter(layer_matrices(end, X).values()))
    np.testing.assert_allclose(found.nfm(0.15), first.nfm.numpy(), atol=1e-9)
    np.testing.assert_allclose(found.agop(0.15), first.agop.numpy(), atol=1e-9)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((-1, 1, 5), ValueError, "singular_value = -1 must be a finite number >= 0"),
        ((1, 0, 5), ValueError, "start = 0 must be > 0: a mode at 0 never moves"),
        ((1, 1, 0), ValueError, "samples = 0 must be an integer >= 1"),
        ((1, 1, 5, float("inf")), ValueError, "weight_decay = inf must be a finite number"),
        ((1, "a", 5), ValueError, "start = 'a' must be a finite number"),
        ((1, 1, 2.5), TypeError, r"samples = 2\.5 must be an integer"),
        (([1], 1, 5), TypeError, "argument should be"),
    ],
)
def test_modes_that_make_no_sense_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        modes.mode_strength(*arguments)


@pytest.mark.parametrize(
    ("X", "Y", "message"),
    [
        (np.eye(3), np.ones((3, 1)), "X is not whitened: XᵀX/n differs from I by 0.667"),
        (np.eye(3), np.ones((2, 1)), r"X has shape \(3, 3\) and Y \(2, 1\)"),
        (np.eye(3), np.ones(3), r"must be \(n, d\) and \(n, o\)"),
        (np.eye(3), np.full((3, 1), np.nan), "X or Y holds NaN"),
    ],
)
def test_data_that_are_not_whitened_are_refused(X, Y, message):
    with pytest.raises(ValueError, match=message):
        modes.linear_modes(X, Y, 0.1)


def test_no_modes_have_no_correlation():
    with pytest.raises(ValueError, match="strengths is empty"):
        modes.mode_correlation([])


# ── derivations and their tools ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("derive", "formula"), DERIVATIONS)
def test_derivations_hold_and_would_fail(derive, formula):
    assert all(result.holds for result in derive().check())
    wrong = derive(sympy.Rational(51, 50) * formula).check()
    assert not all(result.holds for result in wrong)


def test_traces_are_equal_exactly_for_cyclic_words():
    A, B, C = matrices("A B C")
    assert trace(A * B * C - B * C * A) == 0
    assert trace(A**2 * B - A * B * A) == 0
    assert trace(A * B * C - A * C * B) != 0
    assert trace(A * B) != trace(A * sympy.transpose(B))
    assert reduced(A * B * C * B, {B * C: sympy.Integer(2)}) == 2 * A * B


def test_the_power_series_of_a_flow_is_that_of_the_network():
    X = rational_matrix([[1, 2], [0, 1], [-1, 1]])
    Y = rational_matrix([[1], [0], [2]])
    weights = [
        rational_matrix([[1, 0], [Fraction(1, 2), 1]]),
        rational_matrix([[1, Fraction(1, 3)]]),
    ]
    found = flow(Problem(X, Y, Fraction(1, 2)), weights, Fraction(1, 20), 16)
    start = [np.array([[float(x.p) / float(x.q) for x in row] for row in W.tolist()])
             for W in weights]  # fmt: skip
    path = gradient_flow(linear_model(start), [[1.0, 2], [0, 1], [-1, 1]], [[1.0], [0], [2]],
                         [0.05], weight_decay=0.5, rtol=1e-12)  # fmt: skip
    for exact, parameter in zip(found, path.at(0).parameters(), strict=True):
        values = [[float(x.mid()) for x in row] for row in exact.tolist()]
        np.testing.assert_allclose(values, parameter.detach().numpy(), atol=1e-10)
    with pytest.raises(ArithmeticError, match="more steps are needed"):
        flow(Problem(X, Y), weights, Fraction(1, 2), 1)


def test_theory_needs_no_torch():
    names = ", ".join(
        f"theory.alignment.{m}" for m in ("balanced", "weight_decay", "modes", "fact")
    )
    code = f"import sys, {names}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
