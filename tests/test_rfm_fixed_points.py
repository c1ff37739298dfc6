"""Fixed points of lin-RFM, and the AGOP as a gradient of the optimal ridge value."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import sympy

from proofs_check.claims.rfm import lin_rfm_brute as brute
from theory.rfm import lin_rfm, ridge_value
from theory.rfm.lin_rfm_derivation import derive_depth, derive_exponent, derive_rank_deficient

NEARLY_SINGULAR = np.outer([1.0, 3.0, 1 / 7], [1.0, 1 / 3])
"""Of rank one, up to rounding."""


@pytest.mark.parametrize("derive", [derive_exponent, derive_rank_deficient, derive_depth,
                                    ridge_value.derive_agop_factor])  # fmt: skip
def test_every_step_holds(derive):
    assert all(result.holds for result in derive().check())


def test_a_wrong_exponent_is_found_out():
    results = derive_exponent(2 - 2 * lin_rfm.POWER).check()
    assert not results[-1].holds


@pytest.mark.parametrize("depth", [1, 2, 3, 7])
@pytest.mark.parametrize("placement", ["data", "metric"])
def test_depth_and_exponent_agree(depth, placement):
    power = lin_rfm.depth_power(depth, placement)
    assert lin_rfm.schatten_exponent(power, placement) == pytest.approx(2 / depth, abs=1e-15)


@pytest.mark.parametrize("power", [0.0, 0.25, 0.4, 0.5, 0.9])
@pytest.mark.parametrize("placement", ["data", "metric"])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_multiplier_is_the_penalty_gradient(power, placement, smoothing):
    """For p = 0 the penalty is a sum of logarithms, whose gradient is twice the multiplier."""
    rng = np.random.default_rng(1)
    X, E = rng.standard_normal((2, 4, 3))
    p = lin_rfm.schatten_exponent(power, placement)
    multiplier = lin_rfm.lin_rfm_multiplier(X, power, placement, smoothing)
    ends = [lin_rfm.schatten_penalty(X + s * E, p, smoothing) for s in (1e-5, -1e-5)]
    expected = (p or 2) * np.sum(multiplier * E)
    assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_multiplier_is_that_of_a_fixed_point(smoothing):
    """X = Λ M^{2β}, M = (XᵀX + ε)^α: with data times M the metric enters twice, else once."""
    X = np.random.default_rng(4).standard_normal((4, 3))
    values, vectors = np.linalg.eigh(X.T @ X + smoothing * np.eye(3))
    M = (vectors * values**0.4) @ vectors.T
    for placement, moved in (("data", M @ M), ("metric", M)):
        multiplier = lin_rfm.lin_rfm_multiplier(X, 0.4, placement, smoothing)
        np.testing.assert_allclose(multiplier @ moved, X, rtol=1e-10)


@pytest.mark.parametrize(("placement", "slope"), [("data", 4), ("metric", 2)])
def test_exponent_and_power_of_each_convention(placement, slope):
    assert lin_rfm.schatten_exponent(0.3, placement) == pytest.approx(2 - slope * 0.3)
    assert lin_rfm.depth_power(3, placement) == pytest.approx(2 * (1 - 1 / 3) / slope)


def test_penalty_of_a_wide_matrix_counts_its_zeros():
    assert lin_rfm.schatten_penalty([[3.0, 4.0]], 1.0, 1.0) == pytest.approx(np.sqrt(26) + 1)


@pytest.mark.parametrize("p", [-1.0, 0.5, 3.0])
def test_penalty_is_the_sum_over_singular_values(p):
    matrix = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 7.0]])
    squares = np.linalg.eigvalsh(matrix.T @ matrix)
    for smoothing in (0.0, 0.7):
        expected = np.sum((squares + smoothing) ** (p / 2))
        assert lin_rfm.schatten_penalty(matrix, p, smoothing) == pytest.approx(expected, rel=1e-12)


def test_penalty_at_zero_is_the_logarithm_of_the_determinant():
    matrix = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 7.0]])
    determinant = np.linalg.det(matrix.T @ matrix + 0.7 * np.eye(2))
    assert lin_rfm.schatten_penalty(matrix, 0.0, 0.7) == pytest.approx(np.log(determinant))


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_singular_values_whose_squares_no_double_holds(scale):
    X = scale * np.eye(2)
    np.testing.assert_allclose(lin_rfm.lin_rfm_multiplier(X, 0.25), np.eye(2))
    assert lin_rfm.schatten_penalty(X, 1.0) == pytest.approx(2 * scale)
    assert lin_rfm.schatten_penalty(X, -1.0) == pytest.approx(2 / scale)
    assert lin_rfm.schatten_penalty(X, 0.0) == pytest.approx(4 * np.log(scale))


def test_a_small_but_honest_singular_value_is_allowed():
    X = np.diag([1.0, 1e-6])
    np.testing.assert_allclose(lin_rfm.lin_rfm_multiplier(X, 0.25), np.eye(2))


@pytest.mark.parametrize(
    "call",
    [
        lambda: lin_rfm.schatten_exponent(1e308),
        lambda: lin_rfm.schatten_penalty([[1e200]], 3.0),
        lambda: lin_rfm.lin_rfm_multiplier(1e-5 * np.eye(2), 1e3),
    ],
)
def test_lin_rfm_refuses_overflows(call):
    with pytest.raises(OverflowError, match="overflows: scale the data"):
        call()


def test_a_round_keeps_the_measured_values():
    rng = np.random.default_rng(2)
    measurements = [brute.integers(3, 2, rng) for _ in range(3)]
    X = brute.integers(3, 2, rng)
    values = [brute.inner(A, X) for A in measurements]
    found = brute.exact_round(measurements, values, brute.fractions([[2, 1], [1, 3]]))
    assert [brute.inner(A, found) for A in measurements] == values


def test_lin_rfm_rests_at_a_small_change():
    found = brute.iterated(2, 2, Fraction(1, 4), Fraction(1), Fraction(1), 3)
    assert found.change < 1e-30
    assert 1 < found.rounds < brute.ROUNDS


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lin_rfm.schatten_exponent(-1.0), "power = -1.0 must be a finite number >= 0"),
        (lambda: lin_rfm.schatten_exponent(0.5, "both"), "placement = 'both' must be one of"),
        (lambda: lin_rfm.depth_power(0), "depth = 0 must be an integer >= 1"),
        (lambda: lin_rfm.schatten_penalty([1.0, 2.0], 1.0), "matrix has shape"),
        (lambda: lin_rfm.schatten_penalty([[0.0]], -1.0), "singular value 0 needs smoothing"),
        (lambda: lin_rfm.schatten_penalty([[np.nan]], 1.0), "matrix holds nan"),
        (lambda: lin_rfm.schatten_penalty([[1.0]], [1.0, 2.0]), r"exponent has shape \(2,\)"),
        (lambda: lin_rfm.schatten_penalty([[1.0]], np.nan), "exponent holds nan"),
        (
            lambda: lin_rfm.schatten_penalty(NEARLY_SINGULAR, -1.0),
            "singular value 0 needs smoothing",
        ),
        (
            lambda: lin_rfm.schatten_penalty(NEARLY_SINGULAR, 0.0),
            "singular value 0 needs smoothing",
        ),
        (lambda: lin_rfm.lin_rfm_multiplier([[1.0, 1.0]], 0.5), "lacks full column rank"),
        (lambda: lin_rfm.lin_rfm_multiplier(np.ones((2, 2)), 0.5), "lacks full column rank"),
    ],
)
def test_lin_rfm_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def _data(outputs=2):
    rng = np.random.default_rng(5)
    X, Y, R = (
        rng.standard_normal((6, 3)),
        rng.standard_normal((6, outputs)),
        rng.standard_normal((3, 3)),
    )
    return X, Y, R @ R.T, 0.7


def test_ridge_value_is_the_least_objective():
    X, Y, M, mu = _data()
    root = np.linalg.cholesky(M)
    moved = X @ root
    w = np.linalg.solve(moved.T @ moved + mu * np.eye(3), moved.T @ Y)
    least = np.sum((moved @ w - Y) ** 2) / 2 + mu / 2 * np.sum(w**2)
    assert ridge_value.optimal_ridge_value(X, Y, M, mu) == pytest.approx(least, rel=1e-12)
    linear = root @ w
    agop = ridge_value.agop_of_ridge_solution(X, Y, M, mu)
    np.testing.assert_allclose(agop, linear @ linear.T, rtol=1e-11)


def test_gradient_is_that_of_the_value():
    X, Y, M, mu = _data()
    E = np.random.default_rng(6).standard_normal((3, 3))
    E = (E + E.T) * 1e-5
    ends = [ridge_value.optimal_ridge_value(X, Y, M + s * E, mu) for s in (1, -1)]
    slope = np.sum(ridge_value.ridge_value_gradient(X, Y, M, mu) * E)
    assert (ends[0] - ends[1]) / 2 == pytest.approx(slope, rel=1e-6)


def test_one_output_may_be_a_vector():
    X, Y, M, mu = _data(outputs=1)
    as_vector = ridge_value.agop_of_ridge_solution(X, Y[:, 0], M, mu)
    np.testing.assert_array_equal(as_vector, ridge_value.agop_of_ridge_solution(X, Y, M, mu))


@pytest.mark.parametrize(
    "call",
    [
        ridge_value.optimal_ridge_value,
        ridge_value.ridge_value_gradient,
        ridge_value.agop_of_ridge_solution,
    ],
)
def test_ridge_values_without_digits_are_refused(call):
    """Data of rank one and a ridge below their rounding; data whose squares no double holds."""
    with pytest.raises(ValueError, match="ridge = 1e-30 is too small"):
        call(NEARLY_SINGULAR, [1.0, 2.0, 3.0], np.eye(2), 1e-30)
    with pytest.raises(OverflowError, match="the system overflows"):
        call([[1e200]], [1e200], [[1.0]], 1.0)


def test_a_singular_fixed_point_of_the_root_has_no_multiple_of_the_identity_as_gradient():
    """The claim's note: M ∝ AGOP^{1/2} rests at a rank-one M, where ∇Q has rank one, too."""
    X, Y, _, mu = _data(outputs=1)
    direction = ridge_value.ridge_value_gradient(X, Y, np.eye(3), mu)[:, 0]
    M = np.eye(3)
    for _ in range(60):
        agop = ridge_value.agop_of_ridge_solution(X, Y, M, mu)
        M = agop / np.sqrt(np.trace(agop) * np.trace(agop @ agop) / np.trace(agop))
    root = agop / np.sqrt(np.trace(agop))  # of a matrix of rank one
    np.testing.assert_allclose(M / np.trace(M), root / np.trace(root), rtol=1e-10)
    gradient = ridge_value.ridge_value_gradient(X, Y, M, mu)
    assert np.linalg.matrix_rank(gradient, tol=1e-10 * np.abs(gradient).max()) == 1
    assert direction.any()


def test_a_singular_metric_is_allowed():
    X, Y, _, mu = _data()
    agop = ridge_value.agop_of_ridge_solution(X, Y, np.diag([1.0, 0.0, 0.0]), mu)
    assert np.count_nonzero(agop) == 1


def test_the_printed_factor():
    mu = sympy.Symbol("mu", positive=True)
    assert ridge_value.AGOP_FACTOR.subs(ridge_value.NORM_WEIGHT, mu / 2) == -2 / mu


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ridge": 0.0}, "ridge = 0.0 must be a finite number > 0"),
        ({"metric": np.eye(2)}, r"metric has shape \(2, 2\); \(3, 3\) is allowed"),
        ({"metric": np.triu(np.ones((3, 3)))}, "metric is not symmetric"),
        ({"metric": np.eye(3) + 1e-6 * np.triu(np.ones((3, 3)))}, "metric is not symmetric"),
        ({"metric": np.diag([1.0, 1.0, -1e-6])}, "metric has the eigenvalue -1e-06"),
        ({"metric": -np.eye(3)}, "metric has the eigenvalue -1"),
        ({"targets": np.ones(5)}, r"inputs have shape \(6, 3\), targets \(5, 1\)"),
        ({"inputs": np.full((6, 3), np.inf)}, "inputs holds inf"),
    ],
)
def test_ridge_value_refuses(change, message):
    X, Y, M, mu = _data()
    arguments = {"inputs": X, "targets": Y, "metric": M, "ridge": mu, **change}
    with pytest.raises(ValueError, match=message):
        ridge_value.optimal_ridge_value(**arguments)
