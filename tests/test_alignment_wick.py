"""Quadratic networks and Wick moments against brute force that shares nothing with them."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from proofs_check.claims.alignment.quadratic_brute import flow_and_ptk
from proofs_check.claims.alignment.wick_brute import expected_words
from proofs_check.claims.alignment.wick_sampling import cumulants
from theory.alignment import expected, quadratic
from theory.alignment.loop_equations import derive_expectation, loop_equation_expectation
from theory.alignment.wick import (
    canonical,
    expectation,
    pairings,
    row_factor,
    row_loops,
    set_partitions,
    weight_moment,
)

MOMENTS = tuple((Fraction(1, 3) ** j + Fraction(5, 2) ** j) / 2 for j in range(1, 7))
MOMENT_WORDS = (expected.CROSS_WORD, expected.NFM_WORD, expected.AGOP_WORD)


def symmetric(entries: Sequence[int], size: int) -> Any:
    """A symmetric matrix of Python integers from its lower triangle."""
    matrix = np.zeros((size, size), dtype=object)
    matrix[np.tril_indices(size)] = list(entries)
    return matrix + np.tril(matrix, -1).T


def matrices(size: int) -> st.SearchStrategy[Any]:
    entries = size * (size + 1) // 2
    triangle = st.lists(st.integers(-4, 4), min_size=entries, max_size=entries)
    return triangle.map(lambda found: symmetric(found, size))


@st.composite
def words(draw: st.DrawFn, most_blocks: int) -> tuple[str, ...]:
    """One or two words with at most so many blocks in all, and at least one."""
    blocks = draw(st.integers(1, most_blocks))
    gaps = draw(st.lists(st.text("AB", max_size=2), min_size=blocks, max_size=blocks))
    cut = draw(st.integers(1, blocks))
    both = ("".join("M" + gap for gap in part) for part in (gaps[:cut], gaps[cut:]))
    return tuple(word for word in both if word)


def quadrature(
    words: Sequence[str], letters: dict[str, Any], width: int, law: dict[float, float]
) -> float:
    """E prod tr(word) by Gauss-Hermite nodes for every entry of W, exact up to degree 11."""
    size = len(letters["A"])
    nodes, weights = np.polynomial.hermite_e.hermegauss(6)
    weights = weights / weights.sum()
    total = 0.0
    for c in itertools.product(law, repeat=width):
        for place in itertools.product(range(6), repeat=width * size):
            w = nodes[list(place)].reshape(width, size)
            block = (w.T * c) @ w
            value = math.prod(law[x] for x in c) * math.prod(weights[list(place)])
            for word in words:
                product = np.eye(size)
                for letter in word:
                    product = product @ (block if letter == "M" else letters[letter])
                value *= product.trace()
            total += value
    return total


# --- words -------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(words(5), matrices(2), matrices(2), st.integers(1, 3))
def test_words_are_the_averaged_polynomials(names, A, B, width):
    letters = {"A": A, "B": B}
    found = expectation(*names).value(letters, width, MOMENTS, Fraction(2, 3))
    frozen = tuple(
        (name, tuple(tuple(map(Fraction, row)) for row in m)) for name, m in letters.items()
    )
    assert found == expected_words(names, frozen, width, MOMENTS, Fraction(2, 3))


@pytest.mark.parametrize(
    ("names", "width", "size"),
    [(("MAMBM",), 1, 2), (("MABMAMBMBAM",), 2, 1), (("MA", "MBM"), 2, 1), (("MBMAAMBMAA",), 1, 2)],
)
def test_words_by_quadrature(names, width, size):
    rng = np.random.default_rng(3)
    half = rng.normal(size=(2, size, size))
    letters = dict(zip("AB", half + half.transpose(0, 2, 1), strict=True))
    law = {0.5: 0.25, 1.7: 0.75}
    moments = [sum(p * c**j for c, p in law.items()) for j in range(1, 6)]
    truth = quadrature(names, letters, width, law)
    assert expectation(*names).value(letters, width, moments) == pytest.approx(truth, rel=1e-11)


@settings(max_examples=40, deadline=None)
@given(words(5))
def test_pairings_agree_with_integration_by_parts(names):
    gap = expectation(*names).expression() - loop_equation_expectation(*names)
    assert sympy.expand(gap) == 0


@settings(max_examples=40, deadline=None)
@given(words(4), matrices(3), matrices(3), st.integers(1, 4), st.fractions(-3, 3))
def test_scaling_a_letter_scales_by_its_degree(names, A, B, width, t):
    found = expectation(*names)
    degree = sum(word.count("A") for word in names)
    scaled = found.value({"A": t * A, "B": B}, width, MOMENTS)
    assert scaled == t**degree * found.value({"A": A, "B": B}, width, MOMENTS)


@settings(max_examples=40, deadline=None)
@given(words(4), matrices(2), matrices(2), st.integers(1, 4))
def test_a_rotation_of_the_inputs_changes_nothing(names, A, B, width):
    turn = np.array([[Fraction(3, 5), Fraction(4, 5)], [Fraction(-4, 5), Fraction(3, 5)]])
    found = expectation(*names)
    turned = {"A": turn @ A @ turn.T, "B": turn @ B @ turn.T}
    assert found.value(turned, width, MOMENTS) == found.value({"A": A, "B": B}, width, MOMENTS)


@settings(max_examples=40, deadline=None)
@given(words(4), st.integers(0, 9), st.booleans())
def test_words_may_be_rotated_and_reversed(names, shift, reverse):
    def moved(word: str) -> str:
        turned = word[shift % len(word) :] + word[: shift % len(word)]
        return turned[::-1] if reverse else turned

    assert expectation(*map(moved, names)).expression() == expectation(*names).expression()
    assert expectation(*reversed(names)).expression() == expectation(*names).expression()


@settings(max_examples=20, deadline=None)
@given(matrices(3), st.integers(1, 5))
def test_one_row_is_a_quadratic_form(A, power):
    """Its cumulants are 2^(n-1) (n-1)! tr(A^n): Isserlis for one vector, in closed form."""
    trace = A @ A
    traces = [A.trace(), trace.trace()]
    for _ in range(4):
        trace = trace @ A
        traces.append(trace.trace())
    kappa = [2**n * math.factorial(n) * t for n, t in enumerate(traces)]
    moments = [1]
    for n in range(1, power + 1):
        terms = (math.comb(n - 1, j - 1) * kappa[j - 1] * moments[n - j] for j in range(1, n + 1))
        moments.append(sum(terms))
    found = expectation(*["MA"] * power).value({"A": A}, 1, [1] * power)
    assert found == moments[power]
    assert expectation("MA" * power).value({"A": A}, 1, [1] * power) == moments[power]


def test_the_wishart_matrix_has_its_known_moments():
    k, d = 5, 3
    identity = {"I": np.eye(d, dtype=int)}
    assert expectation("M").value(identity, k, [1]) == k * d
    assert expectation("MM").value(identity, k, [1, 1]) == k * d * (k + d + 1)
    third = k * d * (k**2 + d**2 + 3 * k * d + 3 * k + 3 * d + 4)
    assert expectation("MMM").value(identity, k, [1, 1, 1]) == third


def test_words_without_blocks_are_constants():
    letters = {"A": np.array([[2, 1], [1, 5]])}
    assert expectation("AA").value(letters, 3, []) == 31
    assert expectation("", "MA").value(letters, 3, [1]) == 2 * 3 * 7


@settings(max_examples=20, deadline=None)
@given(words(4), matrices(2), matrices(2), st.lists(st.integers(0, 3), min_size=1, max_size=3))
def test_given_weights_average_to_random_ones(names, A, B, weights):
    """Over all arrangements of iid weights, each of the listed values being equally likely."""
    letters, found = {"A": A, "B": B}, expectation(*names)
    law = [Fraction(sum(w**j for w in weights), len(weights)) for j in range(1, 5)]
    both = list(itertools.product(weights, repeat=2))
    mean = sum(found.value_given_weights(letters, w) for w in both) * Fraction(1, len(both))
    assert mean == found.value(letters, 2, law)


def test_counts_of_pairings_and_partitions():
    assert [len(list(pairings(tuple(range(2 * p))))) for p in range(1, 6)] == [1, 3, 15, 105, 945]
    assert [len(list(set_partitions(range(p)))) for p in range(1, 6)] == [1, 2, 5, 15, 52]
    assert sum(term.count for term in expectation(expected.AGOP_WORD).terms) == 105
    assert row_loops(((0, 3), (1, 2), (4, 5))) == (1, 2)
    assert canonical("BAC") == canonical("CAB") == ("A", "B", "C")


@pytest.mark.parametrize("loops", [(1,), (1, 1), (2, 1), (1, 1, 1), (2, 2), (1, 1, 2, 1)])
@pytest.mark.parametrize("width", [1, 2, 3, 5])
def test_rows_by_listing_all_values(loops, width):
    """Weights of 1 or 3, equally likely: the mean of prod p_j over all 2^k of them."""
    every = list(itertools.product((1, 3), repeat=width))
    total = sum(math.prod(sum(c**j for c in cs) for j in loops) for cs in every)
    found = row_factor(loops, width, lambda j: Fraction(1 + 3**j, 2))
    assert found == Fraction(total, len(every))


def test_derivation_refuses_a_wrong_polynomial():
    right = expectation("MAMB").expression()
    assert all(step.holds for step in derive_expectation(["MAMB"], right).check())
    assert not derive_expectation(["MAMB"], right + weight_moment(2)).steps[-1].check().holds


# --- the rule of independent loops -------------------------------------------------------------


def test_row_loops_share_rows():
    """One weight, one Gaussian readout: E (4 a² w²)² = 16 · 3 · 3, not 16 (1 + 2 · 3)."""
    one = [[Fraction(1)]]
    found = expected.expected_moments(1, one, one, "gaussian")
    assert found.nfm == 16 * 3 * 3
    values = {sympy.Symbol("tr(AAAA)", real=True): 1, sympy.Symbol("tr(AA)", real=True): 1}
    values |= {expected.WIDTH: 1, expected.SPREAD: 1}
    values |= {expected.readout_moment(1): 1, expected.readout_moment(2): 3}
    assert expected.printed_rule(expected.NFM_WORD).subs(values) == 16 * (1 + 2 * 3)


def test_the_rule_of_independent_loops_holds_for_signs():
    signs = {expected.readout_moment(j): 1 for j in range(1, 5)}
    for word in MOMENT_WORDS:
        right = expected.in_readout_moments(expectation(word).expression())
        gap = right - expected.printed_rule(word)
        assert sympy.expand(gap.subs(signs)) == 0
        assert sympy.expand(gap) != 0


def test_residuals_must_not_depend_on_the_weights():
    """n = d = k = 1, x = y = 1, a = ±1: with r = 1 - a w² the fourth power of r enters."""
    w2 = [1, 1, 3, 15, 105, 945, 10395]  # E w^2j
    exact = 16 * sum(math.comb(4, j) * (-1) ** j * w2[2 + j] for j in (0, 2, 4))
    given_residual = expected.expected_moments(1, [[1]], [[1]]).nfm
    assert given_residual == 16 * 3
    assert exact == 16 * (3 + 6 * 105 + 10395)


# --- quadratic networks ------------------------------------------------------------------------

fractions = st.fractions(-3, 3, max_denominator=4)


@st.composite
def networks(draw: st.DrawFn) -> tuple[Any, ...]:
    n, d, k = (draw(st.integers(1, 3)) for _ in range(3))

    def rows(count: int, length: int) -> list[list[Fraction]]:
        row = st.lists(fractions, min_size=length, max_size=length)
        return draw(st.lists(row, min_size=count, max_size=count))

    return rows(n, d), rows(1, n)[0], rows(k, d), rows(1, k)[0]


@settings(max_examples=50, deadline=None)
@given(networks())
def test_quadratic_matrices_are_those_of_the_loss(network):
    X, y, W, a = network
    flow, ptk = flow_and_ptk(X, y, W, a)
    x, w, readout = (np.array(v, dtype=float) for v in (X, W, a))
    residuals = np.array(y, dtype=float) - (x @ w.T) ** 2 @ readout
    found = quadratic.quadratic_matrices(x, residuals, w, readout)
    for claimed, truth in ((found.nfm, flow.T @ flow), (found.agop, flow.T @ ptk @ flow)):
        exact = truth.astype(float)
        np.testing.assert_allclose(claimed, exact, rtol=1e-9, atol=1e-9 * (1 + np.abs(exact).max()))


def test_derivations_hold():
    derivations = (
        quadratic.derive_quadratic(),
        expected.derive_words(),
        expected.derive_wide_limit(),
        expected.derive_shared_row(),
    )
    assert all(step.holds for derivation in derivations for step in derivation.check())
    wrong = quadratic.derive_quadratic(block=2 * quadratic.BLOCK_MATRIX)
    assert not all(step.holds for step in wrong.check())


@pytest.mark.parametrize("law", ["rademacher", "gaussian", "sparse"])
@pytest.mark.parametrize(("size", "width"), [(4, 6), (6, 3), (3, 10)])
def test_drawn_networks_have_the_expected_moments(size, width, law):
    """Networks drawn as they are and measured by automatic differentiation.

    The tails are those of polynomials of degree up to 16, so that 5 standard errors state no
    error rate; the seed is fixed, and the claim has a leg that averages the radii instead.
    """
    from numerics.alignment import RandomTwoLayer, initial_alignment

    rng = np.random.default_rng(size)
    X, residuals = rng.normal(size=(5 * size, size)), rng.normal(size=5 * size)
    draws = RandomTwoLayer(size, width, "quadratic", law)
    blocks = []
    for _ in range(20):
        W, a = draws.draw(rng, 10_000)
        seen = initial_alignment(W, a, X, "quadratic", residuals=residuals)
        blocks.append(np.stack([seen.inner, seen.nfm, seen.agop]))
    samples = np.concatenate(blocks, axis=1)
    A, Sigma = quadratic.input_matrices(X, residuals)
    claimed = expected.expected_moments(width, A, Sigma, law, samples=5 * size)
    exact = np.array([float(claimed.cross), float(claimed.nfm), float(claimed.agop)])
    error = samples.std(axis=1) / math.sqrt(samples.shape[1])
    assert (np.abs(samples.mean(axis=1) - exact) < 5 * error).all()
    assert (error < 0.1 * exact).all()


# --- expected alignment ------------------------------------------------------------------------


def example(seed: int = 0, size: int = 3) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return quadratic.input_matrices(rng.normal(size=(7, size)), rng.normal(size=7))


@pytest.mark.parametrize("law", ["rademacher", "gaussian", "sparse"])
def test_expected_alignment_tends_to_that_of_infinite_width(law):
    A, Sigma = example()
    limit = expected.wide_alignment(A, Sigma)
    gaps = [abs(expected.expected_alignment(k, A, Sigma, law) - limit) for k in (10**3, 10**6)]
    assert gaps[1] < 1e-4
    assert gaps[1] < gaps[0] / 500
    square, wide = A @ A, A @ Sigma @ A
    cosine = np.sum(square * wide) / np.linalg.norm(square) / np.linalg.norm(wide)
    assert limit == pytest.approx(cosine, rel=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 99), st.integers(1, 50), st.sampled_from([1e-180, 1e-3, 1e100]))
def test_expected_alignment_is_a_cosine_without_units(seed, width, scale):
    A, Sigma = example(seed)
    found = expected.expected_alignment(width, A, Sigma, "gaussian")
    assert 0 < found <= 1
    again = expected.expected_alignment(width, scale * A, scale * Sigma, "gaussian")
    assert again == pytest.approx(found, rel=1e-10)
    scaled = [Fraction(4) ** j * mu for j, mu in enumerate((1, 3, 15, 105), start=1)]
    assert expected.expected_alignment(width, A, Sigma, scaled) == pytest.approx(found, rel=1e-10)


def test_one_input_is_aligned_at_any_width():
    found = expected.expected_moments(1, [[3]], [[2]], "rademacher")
    assert found.squared_alignment == Fraction(15 * 15, 3 * 105)
    wide = expected.expected_moments(10**9, [[3]], [[2]], "rademacher")
    assert 1 - wide.squared_alignment < Fraction(1, 10**8)


def test_exact_input_gives_fractions_and_floats_agree():
    A, Sigma = [[2, 1], [1, -1]], [[3, 1], [1, 2]]
    exact = expected.expected_moments(4, A, Sigma, "sparse", samples=5)
    floats = expected.expected_moments(
        4, np.array(A, float), np.array(Sigma, float), "sparse", samples=5
    )
    assert isinstance(exact.squared_alignment, Fraction)
    for name in ("cross", "nfm", "agop", "alignment"):
        assert getattr(floats, name) == pytest.approx(float(getattr(exact, name)), rel=1e-13)
    assert expected.expected_alignment(4, A, Sigma, "sparse") == pytest.approx(exact.alignment)


def test_large_integers_do_not_overflow():
    big = 10**6 * np.array([[2, 1], [1, -1]])
    found = expected.expected_moments(2, big, big)
    small = expected.expected_moments(2, big // 10**6, big // 10**6)
    assert found.agop == small.agop * 10**36


def test_symbols_and_numbers_agree():
    A, Sigma = np.array([[2, 1], [1, -1]]), np.array([[3, 1], [1, 2]])
    found = expected.alignment_moments()
    numbers = expected.expected_moments(5, A, Sigma, (1, 2, 5, 14), variance=Fraction(1, 3))
    for name in ("cross", "nfm", "agop"):
        expression = getattr(found, name)
        values = {expected.WIDTH: 5, expected.SPREAD: sympy.sqrt(sympy.Rational(1, 3))}
        values |= {quadratic.SAMPLES: 1}
        values |= {expected.readout_moment(j): m for j, m in enumerate((1, 2, 5, 14), start=1)}
        for symbol in expression.free_symbols - set(values):
            product = np.eye(2, dtype=object)
            for letter in symbol.name[3:-1]:
                product = product @ (A if letter == "A" else Sigma)
            values[symbol] = int(product.trace())
        exact = Fraction(getattr(numbers, name))
        assert expression.subs(values) == sympy.Rational(exact.numerator, exact.denominator)


def test_cumulants_of_a_gaussian_squared():
    assert cumulants([1, 3, 15, 105]) == [1, 2, 8, 48]


# --- bad input ---------------------------------------------------------------------------------

GOOD = [[2.0, 1.0], [1.0, 3.0]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: expectation(), "words is empty; at least one"),
        (lambda: expectation("MA" * 7), "words have 7 blocks 'M'; at most 6"),
        (lambda: expectation("MA").value({"B": GOOD}, 1, [1]), "letters has no 'A'; it has B"),
        (lambda: expectation("MA").value({}, 1, [1]), "letters has the names"),
        (lambda: expectation("MA").value({"A": GOOD}, 0, [1]), "width = 0 must be an integer"),
        (lambda: expectation("MAM").value({"A": GOOD}, 1, [1]), "moments has 1 entries; 2 blocks"),
        (lambda: expectation("MA").value_given_weights({"A": GOOD}, []), "weights is empty"),
        (lambda: expected.expected_alignment(2, [[1, 2], [3, 4]], GOOD), "A differs from its tr"),
        (lambda: expected.expected_alignment(2, [[np.nan]], [[1.0]]), "A has entries that are not"),
        (lambda: expected.expected_alignment(2, GOOD, [[1.0]]), "letters have the shapes"),
        (lambda: expected.expected_alignment(2, [1.0], [[1.0]]), r"A has the shape \(1,\)"),
        (lambda: expected.expected_alignment(2, GOOD, GOOD, "cauchy"), "moments = 'cauchy' must"),
        (lambda: expected.expected_alignment(2, GOOD, GOOD, (1, 2)), "moments has 2 entries"),
        (lambda: expected.expected_alignment(2, GOOD, GOOD, (1, 0, 1, 1)), "finite numbers > 0"),
        (lambda: expected.expected_alignment(2, GOOD, GOOD, (1, 0.5, 1, 1)), "those of a law"),
        (lambda: expected.readout_moments("sparse", 1.5), "density = 1.5 must be a probability"),
        (lambda: expected.expected_alignment(2, [[0.0]], [[1.0]]), "A or A Sigma A is 0"),
        (lambda: expected.wide_alignment([[1, 0], [0, 0]], [[0, 0], [0, 1]]), "stands still"),
        (lambda: expected.expected_moments(2, GOOD, GOOD, samples=0), "samples = 0 must be"),
        (lambda: quadratic.input_matrices([[1.0]], [1.0, 2.0]), r"residuals have the shape \(2,\)"),
        (
            lambda: quadratic.quadratic_matrices([[1.0]], [1.0], [[1.0, 2.0]], [1.0]),
            r"weights have the shape \(1, 2\)",
        ),
        (
            lambda: quadratic.quadratic_matrices([[1.0]], [1.0], [[1.0]], [1.0, 2.0]),
            r"readout has the shape \(2,\)",
        ),
        (
            lambda: quadratic.quadratic_matrices([[np.inf]], [1.0], [[1.0]], [1.0]),
            "X has entries that are not finite",
        ),
        (lambda: quadratic.input_matrices([1.0], [1.0]), r"X has the shape \(1,\)"),
    ],
)
def test_bad_input_is_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_width_that_is_no_integer_is_refused():
    with pytest.raises(TypeError, match=r"width = 2.5 must be an integer >= 1"):
        expected.expected_alignment(2.5, GOOD, GOOD)


def test_importing_the_moments_loads_no_torch():
    code = "import sys, theory.alignment.expected; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_small_asymmetries_and_moments_of_signed_laws_are_refused():
    with pytest.raises(ValueError, match="A differs from its transpose by 1e-06"):
        expected.expected_alignment(2, [[1.0, 1e-6], [0.0, 1.0]], GOOD)
    # E c^j of c = -1 or 2 with equal chances: those of a law, but not of the law of a square.
    with pytest.raises(ValueError, match="must be those of a law"):
        expected.expected_alignment(2, GOOD, GOOD, (0.5, 2.5, 3.5, 8.5))


def test_a_negative_cross_moment_is_a_negative_alignment():
    assert expected.AlignmentMoments(Fraction(-3), Fraction(4), Fraction(9)).alignment == -0.5
