"""Non-crossing partitions, expected traces at every size, and the high-dimensional alignment."""

import math
from fractions import Fraction

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from figures.alignment.high_dimension import high_dimension, sizes
from numerics.alignment.wide import (
    alignment_by_coordinates,
    alignment_by_samples,
    draw_data,
    matrix_alignment,
    network_alignment,
)
from theory.alignment.high_dimension import (
    KURTOSIS,
    LAWS,
    LEAST_CENTRED,
    LEAST_RADEMACHER,
    LEAST_RATIO,
    MOMENTS,
    alignment_form,
    check_moments,
    finite_alignment,
    high_dimensional_alignment,
    least_alignment,
    squared_alignment,
)
from theory.alignment.high_dimension_derivation import (
    derive_alignment,
    derive_least_centred,
    derive_least_constant,
)
from theory.alignment.noncrossing import (
    catalan,
    is_noncrossing,
    kreweras,
    narayana,
    noncrossing_partitions,
    set_partitions,
)
from theory.alignment.sample_words import (
    DIMENSION,
    RATIO,
    SAMPLES,
    expected_trace,
    limiting_trace,
    pairing_counts,
)


def fixed(examples):
    return settings(max_examples=examples, deadline=None, derandomize=True)


# ── non-crossing partitions ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("m", range(1, 9))
def test_they_are_counted_by_catalan_and_narayana_numbers(m):
    found = noncrossing_partitions(m)
    assert len(found) == len(set(found)) == catalan(m)
    for blocks in range(1, m + 1):
        assert sum(len(p) == blocks for p in found) == narayana(m, blocks)


@pytest.mark.parametrize("m", range(1, 8))
def test_they_are_the_set_partitions_without_crossings(m):
    every = [tuple(sorted(p)) for p in set_partitions(m)]
    assert len(every) == sympy.bell(m)
    assert {p for p in every if is_noncrossing(p)} == set(noncrossing_partitions(m))


def test_the_first_crossing_appears_at_four_points():
    assert [sympy.bell(m) - catalan(m) for m in range(1, 5)] == [0, 0, 0, 1]
    assert not is_noncrossing(((0, 2), (1, 3)))


@pytest.mark.parametrize("m", range(1, 8))
def test_the_complement_is_the_coarsest_that_crosses_nothing(m):
    for partition in noncrossing_partitions(m):
        complement = kreweras(partition)
        assert len(complement) == m + 1 - len(partition)
        assert is_noncrossing(interleaved(partition, complement))


def interleaved(partition, complement):
    """Points at even places, gaps at odd ones."""
    blocks = [tuple(2 * p for p in block) for block in partition]
    return (*blocks, *(tuple(2 * g + 1 for g in block) for block in complement))


@pytest.mark.parametrize("m", range(1, 8))
def test_twice_the_complement_is_a_rotation(m):
    for partition in noncrossing_partitions(m):
        turned = {tuple(sorted((p - 1) % m for p in block)) for block in partition}
        twice = {tuple(sorted(p for p in block)) for block in kreweras(kreweras(partition))}
        rotations = [
            {tuple(sorted((p + s) % m for p in block)) for block in partition} for s in (1, -1)
        ]
        assert twice in rotations
        assert turned in rotations


@pytest.mark.parametrize(
    ("points", "error", "message"),
    [
        (0, ValueError, "points = 0 must be an integer >= 1"),
        (15, ValueError, "points = 15 must be at most 14"),
        (2.0, TypeError, "points = 2.0 must be an integer"),
        (True, TypeError, "points = True must be an integer"),
    ],
)
def test_bad_numbers_of_points_are_refused(points, error, message):
    for function in (noncrossing_partitions, set_partitions):
        with pytest.raises(error, match=message):
            function(points)


# ── expected traces ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("m", range(1, 7))
def test_there_are_as_many_pairings_as_double_factorials(m):
    assert pairing_counts(m).total() == math.prod(range(1, 2 * m, 2))


def test_wishart_moments_are_the_classical_ones():
    n, d = SAMPLES, DIMENSION
    third = n * d * (n**2 + d**2 + 3 * n * d + 3 * n + 3 * d + 4)
    assert sympy.expand(expected_trace("SSS", ()) - third) == 0
    assert expected_trace("S", ()) == n * d
    assert [expected_trace("S" * m, (), 1, 1) for m in range(1, 7)] == [1, 3, 15, 105, 945, 10395]


@fixed(20)
@given(st.text("AS", min_size=1, max_size=5), st.integers(1, 5), st.integers(1, 5))
def test_words_can_be_turned_and_reversed(word, n, d):
    moments = (1, 2, 3, 7, 20)
    value = expected_trace(word, moments, n, d)
    for other in (word[1:] + word[0], word[::-1]):
        assert expected_trace(other, moments, n, d) == value


@fixed(20)
@given(st.text("AS", min_size=1, max_size=5), st.integers(1, 6))
def test_all_residuals_one_is_the_wishart_matrix(word, n):
    ones = (1,) * 5
    assert expected_trace(word, ones, n, 3) == expected_trace("S" * len(word), (), n, 3)
    assert limiting_trace(word, ones) == limiting_trace("S" * len(word), ())


def test_expectations_are_those_of_sampled_matrices():
    rng = np.random.default_rng(7)
    n, d, draws = 6, 3, 40000
    X = rng.standard_normal((draws, n, d))
    r = rng.choice([-1.0, 1.0], (draws, n))
    A = np.einsum("tia,ti,tib->tab", X, r, X)
    S = np.einsum("tia,tib->tab", X, X)
    found = np.einsum("tab,tbc,tca->t", A, A, S)
    error = found.std() / math.sqrt(draws)
    assert abs(found.mean() - float(expected_trace("AAS", (0, 1), n, d))) < 5 * error


@pytest.mark.parametrize("word", ["", "AB", "SSSSSSS", "a", 3])
def test_other_words_are_refused(word):
    with pytest.raises(ValueError, match="must be one to 6 letters, each A or S"):
        expected_trace(word, (1,) * 6)


def test_missing_moments_are_refused():
    with pytest.raises(ValueError, match="moments has 1 entries; AAS needs m_1 to m_2"):
        limiting_trace("AAS", (0,))


# ── the alignment ────────────────────────────────────────────────────────────────────────────────

atoms = st.lists(
    st.tuples(st.integers(-9, 9), st.integers(1, 9)),
    min_size=2,
    max_size=4,
    unique_by=lambda a: a[0],
)


def moments_of(law):
    total = sum(weight for _, weight in law)
    return tuple(Fraction(sum(w * x**j for x, w in law), total) for j in range(1, 5))


@pytest.mark.parametrize("derive", [derive_alignment, derive_least_centred, derive_least_constant])
def test_every_step_of_the_derivation_holds(derive):
    assert [step.idea for step in derive().check() if not step.holds] == []


@pytest.mark.parametrize("law", LAWS)
def test_named_laws_are_those_of_their_moments(law):
    gamma = np.geomspace(1e-3, 1e3, 13)
    named = high_dimensional_alignment(gamma, law)
    np.testing.assert_allclose(
        high_dimensional_alignment(gamma, moments=LAWS[law]), named, rtol=1e-14
    )
    assert high_dimensional_alignment(0.5, law) == pytest.approx(named_at(law, 0.5), rel=1e-15)


def named_at(law, gamma):
    return float(sympy.sqrt(squared_alignment(LAWS[law], sympy.Rational(gamma))).evalf(30))


@fixed(20)
@given(atoms, st.fractions(Fraction(1, 50), 50, max_denominator=60))
def test_any_law_gives_a_cosine(law, gamma):
    value = high_dimensional_alignment(gamma, moments=moments_of(law))
    assert 0.85 < value <= 1


@fixed(12)
@given(atoms, st.fractions(Fraction(1, 20), 20), st.fractions(-5, 5, max_denominator=9))
def test_the_residuals_scale_does_not_matter(law, gamma, scale):
    if scale == 0:
        return
    scaled = [(scale * x, weight) for x, weight in law]
    first, second = (
        high_dimensional_alignment(gamma, moments=moments_of(x)) for x in (law, scaled)
    )
    assert first == pytest.approx(second, rel=1e-15)


@fixed(30)
@given(atoms, st.fractions(Fraction(1, 20), 20, max_denominator=60))
def test_centred_laws_never_align_less_than_signs(law, gamma):
    mean = moments_of(law)[0]
    centred = moments_of([(x - mean, weight) for x, weight in law])
    assert centred[0] == 0
    squared = squared_alignment([sympy.Rational(m) for m in centred], sympy.Rational(gamma))
    assert squared >= LEAST_RADEMACHER
    kurtosis = sympy.Rational(centred[3] / centred[1] ** 2)
    assert squared >= LEAST_CENTRED.subs(KURTOSIS, kurtosis)


@fixed(6)
@given(atoms)
def test_alignment_is_perfect_at_both_ends(law):
    for gamma in (Fraction(1, 10**30), Fraction(10**30)):
        assert high_dimensional_alignment(gamma, moments=moments_of(law)) == pytest.approx(
            1, abs=1e-9
        )


@pytest.mark.parametrize(
    ("law", "ratio", "squared"),
    [
        ("rademacher", sympy.sqrt(2), (12 - 4 * sympy.sqrt(2)) / 7),
        ("gaussian", sympy.sqrt(6) / 3, (12 - 3 * sympy.sqrt(6)) / 5),
        ("constant", 1, sympy.Rational(21, 22)),
    ],
)
def test_least_alignments(law, ratio, squared):
    found = least_alignment(law)
    assert sympy.simplify(found.ratio - ratio) == 0
    assert sympy.simplify(found.squared - squared) == 0
    around = [high_dimensional_alignment(float(ratio) * s, law) for s in (0.9, 1.1)]
    assert min(around) > found.correlation == pytest.approx(math.sqrt(squared), rel=1e-15)


@fixed(8)
@given(st.fractions(1, 12, max_denominator=4))
def test_least_alignment_of_a_centred_law_depends_on_its_kurtosis(kurtosis):
    found = least_alignment(moments=(0, 1, 0, kurtosis))
    at = {KURTOSIS: sympy.Rational(kurtosis)}
    assert float(found.ratio - LEAST_RATIO.subs(at)) == pytest.approx(0, abs=1e-14)
    assert float(found.squared - LEAST_CENTRED.subs(at)) == pytest.approx(0, abs=1e-14)


def test_a_law_with_a_mean_can_align_less_than_signs():
    law = moments_of([(9, 1), (-2, 19)])
    assert least_alignment(moments=law).squared.evalf(20) < LEAST_RADEMACHER.evalf(20)


@pytest.mark.parametrize("law", LAWS)
def test_finite_sizes_approach_the_limit_like_one_over_n(law):
    limit = high_dimensional_alignment("1/2", law) ** 2
    small, large = (float(finite_alignment(2 * n, n, law)) - limit for n in (500, 1000))
    assert small / large == pytest.approx(2, rel=0.05)
    assert finite_alignment(4, 3, law) == finite_alignment(4, 3, moments=LAWS[law])


def test_the_general_formula_is_symbolic():
    found = squared_alignment()
    assert found.free_symbols == {RATIO, *MOMENTS}
    assert "gamma" in alignment_form("gaussian").latex()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"gamma": 0}, "gamma = 0.* is outside the domain"),
        ({"gamma": -1.0}, "gamma = -1.* is outside the domain"),
        ({"gamma": float("nan")}, "nan is not finite"),
        ({"gamma": np.array([1.0, -2.0])}, "-2"),
        ({"gamma": 1, "residuals": "uniform"}, "residuals = 'uniform' must be one of rademacher"),
        ({"gamma": 1, "moments": (0, 1, 0)}, "must be four numbers"),
        ({"gamma": 1, "moments": "0101"}, "must be four numbers"),
        ({"gamma": 1, "moments": (0, 0, 0, 0)}, "m_2 must be positive"),
        ({"gamma": 1, "moments": (2, 1, 0, 5)}, "belong to no law: m_2 − m_1²"),
        ({"gamma": 1, "moments": (0, 2, 0, 3)}, "belong to no law: m_4 − m_2²"),
        ({"gamma": 1, "moments": (0, 1, 2, 3)}, "belong to no law: m_2 m_4 − m_3²"),
        ({"gamma": 1, "moments": (0, 1, 1, "1.5")}, "belong to no law: the determinant"),
        ({"gamma": 1, "moments": (0, float("inf"), 0, 1)}, r"moments\[1\] = inf is not finite"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        high_dimensional_alignment(**arguments)


def test_bad_types_and_sizes_are_refused():
    with pytest.raises(TypeError, match=r"moments\[0\] = None"):
        check_moments((None, 1, 0, 1))
    with pytest.raises(ValueError, match="samples = 0 must be an integer >= 1"):
        finite_alignment(0, 1)
    with pytest.raises(TypeError, match=r"dimension = 1\.5 must be an integer"):
        finite_alignment(1, 1.5)


# ── brute force and the figure ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("shape", [(5, 8), (8, 5), (4, 4)])
@pytest.mark.parametrize("law", LAWS)
def test_both_ways_to_measure_the_same_data_agree(shape, law):
    X, r = draw_data(*shape, law, np.random.default_rng(1))
    assert alignment_by_samples(X, r) == pytest.approx(alignment_by_coordinates(X, r), rel=1e-12)


def test_a_very_wide_quadratic_network_has_the_matrices_alignment():
    X, r = draw_data(8, 4, "rademacher", np.random.default_rng(2))
    found = network_alignment(X, r, 2**17, "quadratic", np.random.default_rng(3))
    assert found == pytest.approx(alignment_by_coordinates(X, r), abs=5e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 3, "gaussian"), "samples = 0"),
        ((3, 0, "gaussian"), "dimension = 0"),
        ((3, 3, "uniform"), "residuals = 'uniform' must be one of 'rademacher'"),
    ],
)
def test_bad_data_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        matrix_alignment(*arguments, np.random.default_rng(0))


def test_unknown_networks_are_refused():
    with pytest.raises(ValueError, match="activation = 'sine' must be one of 'relu'"):
        network_alignment(np.eye(2), np.ones(2), 3, "sine", np.random.default_rng(0))
    with pytest.raises(ValueError, match="width = 0"):
        network_alignment(np.eye(2), np.ones(2), 0, "relu", np.random.default_rng(0))


def test_the_figure_marks_the_least_alignments_on_its_lines():
    plot = high_dimension(12, (-2, 0, 2), draws=60, width=512, networks=2, resolution=9)
    assert [quantity for quantity, _, _ in plot.pairs()] == list(LAWS)
    for law, line, points in plot.pairs():
        least = plot.data[f"{law}: least"]
        assert least.y[0] == pytest.approx(high_dimensional_alignment(float(least.x[0]), law))
        assert np.all(line.y >= least.y[0])
        z = (points.y - line.at(points.x)) / points.error
        assert abs(z.sum()) / math.sqrt(len(z)) < 4.5
    assert [sizes(g, 12) for g in (0.25, 1.0, 4.0)] == [(48, 12), (12, 12), (12, 48)]


def test_a_law_given_by_moments_keeps_its_digits_at_tiny_ratios():
    """Powers of γ as small as 1e-800 cancel between the traces."""
    found = high_dimensional_alignment(np.array([1e-200, 1e-110]), moments=(0, 1, 0, 2))
    np.testing.assert_array_equal(found, [1.0, 1.0])
