"""The quadratic kernel's predictor for modular arithmetic."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from proofs_check.claims.rfm.grokking import GROKKING
from theory.rfm import grokking
from theory.rfm.grokking_derivation import derive_agop, derive_predictor, derive_spectrum


@pytest.mark.parametrize("derive", [derive_predictor, derive_spectrum, derive_agop])
def test_every_step_holds(derive):
    assert all(result.holds for result in derive().check())


def test_the_printed_form_fails_in_the_derivation():
    assert not derive_predictor(grokking.BILINEAR).check()[-1].holds


def _labels(modulus, operation):
    """Whether a - b, or a + b, leaves the remainder ℓ: one row for each pair, one column for ℓ."""
    signed = -1 if operation == "difference" else 1
    pairs = itertools.product(range(modulus), repeat=2)
    return np.array([np.eye(modulus)[(a + signed * b) % modulus] for a, b in pairs])


@pytest.mark.parametrize("operation", ["difference", "sum"])
def test_answer_matrices_are_the_labels(operation):
    answers = [grokking.answer_matrix(5, ell, operation).ravel() for ell in range(5)]
    np.testing.assert_array_equal(np.stack(answers, axis=1), _labels(5, operation))


def test_differences_belong_to_the_inverse_powers_of_the_shift():
    """C_{i,i+1} = 1: T = C^{-ℓ}, as in the claim."""
    shift = np.roll(np.eye(5), 1, axis=1)
    assert shift[0, 1] == 1
    np.testing.assert_array_equal(grokking.answer_matrix(5, 2), np.linalg.matrix_power(shift.T, 2))


def _solved(modulus, operation, permutation):
    """Inputs, kernel and coefficients, in floating point."""
    one = np.eye(modulus)
    X = np.array([[*one[a], *one[b]] for a, b in itertools.product(range(modulus), repeat=2)])
    P = one[permutation]
    M = np.block([[np.zeros_like(P), P], [P.T, np.zeros_like(P)]])
    K = (X @ M @ X.T) ** 2
    return X, M, K, np.linalg.solve(K, _labels(modulus, operation))


@pytest.mark.parametrize("modulus", [2, 4, 5, 7])
@pytest.mark.parametrize("operation", ["difference", "sum"])
def test_predictor_is_the_interpolant(modulus, operation):
    rng = np.random.default_rng(modulus)
    X, M, _, alpha = _solved(modulus, operation, rng.permutation(modulus))
    points = rng.standard_normal((3, 2 * modulus))
    expected = (points @ M @ X.T) ** 2 @ alpha
    found = grokking.modular_predictor(points[:, :modulus], points[:, modulus:], operation)
    np.testing.assert_allclose(found, expected, atol=1e-11)


@pytest.mark.parametrize("modulus", [2, 3, 6, 7])
def test_spectrum_is_that_of_the_kernel(modulus):
    _, _, K, _ = _solved(modulus, "difference", np.roll(np.arange(modulus), 2))
    spectrum = grokking.modular_kernel_spectrum(modulus)
    expected = sorted(v for v, count in spectrum.items() for _ in range(count))
    np.testing.assert_allclose(np.linalg.eigvalsh(K), expected, atol=1e-10)


def test_spectrum_at_seven():
    assert sorted(grokking.modular_kernel_spectrum(7)) == [-9, -2, 2, 9, 16]


def test_eigenvalues_that_do_not_occur_are_not_listed():
    assert grokking.modular_kernel_spectrum(2) == {-4: 1, 2: 1, 4: 1, 6: 1}


@pytest.mark.parametrize("modulus", [2, 3, 5, 6])
@pytest.mark.parametrize("operation", ["difference", "sum"])
def test_agop_is_that_of_the_interpolant(modulus, operation):
    order = np.random.default_rng(modulus).permutation(modulus)
    X, M, _, alpha = _solved(modulus, operation, order)
    gradients = 2 * (X @ M @ X.T) * alpha[:, 1] @ X @ M
    expected = gradients.T @ gradients / len(X)
    np.testing.assert_allclose(grokking.modular_agop(modulus, 1, operation), expected, atol=1e-12)


def test_predictions_that_no_double_holds_are_refused():
    with pytest.raises(OverflowError, match="the predictor overflows"):
        grokking.modular_predictor([1e200, 1.0], [1.0, 1.0])
    with pytest.raises(OverflowError, match="the bilinear form overflows"):
        grokking.multiplication_algorithm([1e200, 1.0], [1e200, 1.0])


def test_the_largest_answer_is_that_of_the_algorithm():
    first, second = np.random.default_rng(3).standard_normal((2, 50, 7))
    kernel = grokking.modular_predictor(first, second)
    algorithm = grokking.multiplication_algorithm(first, second)
    np.testing.assert_array_equal(kernel.argmax(axis=1), algorithm.argmax(axis=1))
    spread = kernel - algorithm
    assert np.ptp(spread, axis=1).max() < 1e-12 < np.abs(spread).min()


def test_on_the_pairs_both_are_the_labels():
    pair = np.eye(6)[4], np.eye(6)[1]
    for values in (grokking.modular_predictor(*pair), grokking.multiplication_algorithm(*pair)):
        np.testing.assert_array_equal(values, np.eye(6)[3])


def test_the_claim_names_what_it_refutes():
    assert "x₁ᵀC^{-ℓ}x₂" in GROKKING.refutes


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: grokking.answer_matrix(1, 0), "modulus = 1 must be an integer >= 2"),
        (lambda: grokking.answer_matrix(3, 3), "answer = 3 must be below the modulus 3"),
        (lambda: grokking.answer_matrix(3, 1, "product"), "operation = 'product' must be one of"),
        (lambda: grokking.modular_kernel_spectrum(0), "modulus = 0 must be an integer >= 2"),
        (lambda: grokking.modular_predictor([1.0, 0.0], [1.0]), r"second \(1,\); both must be"),
        (lambda: grokking.modular_predictor([np.nan, 0.0], [1.0, 0.0]), "first holds nan"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
