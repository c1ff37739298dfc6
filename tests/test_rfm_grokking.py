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


def _solved(modulus, operation, permutation):
    """Inputs, kernel and coefficients, in floating point."""
    one = np.eye(modulus)
    X = np.array([[*one[a], *one[b]] for a, b in itertools.product(range(modulus), repeat=2)])
    P = one[permutation]
    M = np.block([[np.zeros_like(P), P], [P.T, np.zeros_like(P)]])
    K = (X @ M @ X.T) ** 2
    answers = [grokking.answer_matrix(modulus, r, operation).ravel() for r in range(modulus)]
    return X, M, K, np.linalg.solve(K, np.stack(answers, axis=1))


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


@pytest.mark.parametrize("operation", ["difference", "sum"])
def test_agop_is_that_of_the_interpolant(operation):
    X, M, _, alpha = _solved(5, operation, [3, 1, 0, 4, 2])
    gradients = 2 * (X @ M @ X.T) * alpha[:, 2] @ X @ M
    expected = gradients.T @ gradients / len(X)
    np.testing.assert_allclose(grokking.modular_agop(5, 2, operation), expected, atol=1e-12)


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
