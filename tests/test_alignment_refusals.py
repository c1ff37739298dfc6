"""Entries that are no real numbers, and scalars out of their domain, are refused by name."""

from fractions import Fraction

import numpy as np
import pytest

from theory import alignment
from theory.arrays import real_entries

GOOD = np.array([[2.0, 1.0], [1.0, 3.0]])
WHITE = np.array([[1.0, 1.0], [1.0, -1.0]])
ONES = np.ones(2)

CALLS = {
    "A": lambda v: alignment.correlation(v, GOOD),
    "weights": lambda v: alignment.compressed_features(v, GOOD),
    "gradients": alignment.agop_from_gradients,
    "X": lambda v: alignment.early_time(v, ONES, GOOD, ONES, "erf"),
    "X of quadratic": lambda v: alignment.quadratic_matrices(v, ONES, GOOD, ONES),
    "residuals": lambda v: alignment.infinite_width_alignment(GOOD, v, "erf"),
    "A of Wick": lambda v: alignment.expected_alignment(3, v, GOOD),
    "Sigma": lambda v: alignment.wide_alignment(GOOD, v),
    "an argument": lambda v: alignment.activation_kernel("erf")(ONES, v, ONES),
    "X of kernel": lambda v: alignment.activation_kernel("cubic").matrix(v),
    "weights: layer 2": lambda v: alignment.balance_defect([GOOD, v]),
    "weights: layer 1": lambda v: alignment.imbalance([v, GOOD], "relu"),
    "singular_values": lambda v: alignment.balanced_weights((2, 2), v, np.random.default_rng(0)),
    "h": lambda v: alignment.fact_matrix(GOOD, v, 1.0),
    "Y": lambda v: alignment.linear_modes(WHITE, v, 0.1),
}


EXACT = ("A of Wick", "Sigma")
"""Exact numbers of any type are allowed there."""

BAD = (1j * GOOD, GOOD > 1, [["1", "2"]])


@pytest.mark.parametrize(
    ("where", "bad"),
    [
        *((where, bad) for where in CALLS for bad in BAD),
        *((where, [[None]]) for where in CALLS if where not in EXACT),
    ],
)
def test_entries_that_are_no_real_numbers(where, bad):
    name = where.split(" of ")[0]
    with pytest.raises(TypeError, match=rf"^{name} has dtype .* must be real numbers"):
        CALLS[where](bad)


def test_rows_of_unequal_length_have_a_name_too():
    with pytest.raises(ValueError, match=r"^h has rows of unequal length"):
        alignment.fact_matrix(GOOD, [[1.0], [1.0, 2.0]], 1.0)


def test_exact_numbers_are_real_numbers():
    found = real_entries("A", [[Fraction(1, 4), 3], [2**70, Fraction(-1, 2)]])
    np.testing.assert_array_equal(found, [[0.25, 3.0], [2.0**70, -0.5]])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: alignment.alignment_bound("4"), TypeError, "condition_number = '4' must be"),
        (lambda: alignment.alignment_bound(4j), TypeError, "condition_number = 4j must be"),
        (lambda: alignment.extremal_pair(True), TypeError, "condition_number = True must be"),
        (lambda: alignment.reversed_alignment(4.0, 1j), TypeError, "label_ratio = 1j must be"),
        (lambda: alignment.reversing_data(4.0, "2"), TypeError, "label_ratio = '2' must be"),
        *(
            (
                lambda v=v: alignment.expected_moments(2, GOOD, GOOD, variance=v),
                (TypeError, ValueError),
                "variance = .* must be a finite number > 0",
            )
            for v in (np.nan, np.inf, -1, 0, 1j, "1")
        ),
        (
            lambda: alignment.expectation("MA").value({"A": GOOD}, 2, [np.nan]),
            ValueError,
            "moments holds nan; finite real numbers",
        ),
        (
            lambda: alignment.expectation("MA").value_given_weights({"A": GOOD}, [1.0, 2j]),
            ValueError,
            "weights holds 2j; finite real numbers",
        ),
    ],
)
def test_scalars_out_of_their_domain(call, error, message):
    with pytest.raises(error, match=message):
        call()
