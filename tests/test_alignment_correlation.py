"""Correlations at every scale, powers against 50 digits, and every convention of centring."""

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from theory.alignment import centring
from theory.alignment.correlations import correlation, matrix_power_psd

integers = st.integers(-9, 9)
SHAPE = (3, 2)
matrices = arrays(np.int64, SHAPE, elements=integers).map(lambda a: a.astype(float))
exponents = st.integers(-900, 900)


def varied(a):
    return a.max() > a.min()


def exact_correlation(A, B, kind):
    """In fractions but for the last root."""
    a, b = ([Fraction(float(x)) for x in M.flat] for M in (A, B))
    if kind == "pearson":
        a, b = ([x - sum(v) / len(v) for x in v] for v in (a, b))
    inner = sum(x * y for x, y in zip(a, b, strict=True))
    square = inner**2 / (sum(x * x for x in a) * sum(y * y for y in b))
    with mpmath.workdps(40):
        root = mpmath.sqrt(mpmath.mpf(square.numerator) / square.denominator)
        return float(math.copysign(1, inner) * root)


@pytest.mark.parametrize("kind", ["cosine", "pearson"])
@given(A=matrices.filter(varied), B=matrices.filter(varied), left=exponents, right=exponents)
@settings(max_examples=60, deadline=None)
def test_the_definition_at_every_scale(kind, A, B, left, right):
    expected = exact_correlation(A, B, kind)
    found = correlation(np.ldexp(A, left), np.ldexp(B, right), kind)
    assert found == pytest.approx(expected, abs=1e-15)
    assert -1 <= found <= 1
    assert correlation(B, A, kind) == pytest.approx(found, abs=1e-15)
    assert correlation(-A, B, kind) == pytest.approx(-found, abs=1e-15)


@given(A=matrices.filter(varied))
@settings(max_examples=30, deadline=None)
def test_a_matrix_is_perfectly_correlated_with_its_multiples(A):
    for kind in ("cosine", "pearson"):
        assert correlation(A, 7.3 * A, kind) == pytest.approx(1, abs=1e-15)
    assert correlation(A, 0.25 * A - 3, "pearson") == pytest.approx(1, abs=1e-15)


@pytest.mark.parametrize("scale", [1e300, 1e-300, 5e-324])
def test_no_overflow_and_no_underflow(scale):
    A = np.array([[1.0, 0.0], [0.0, 2.0]]) * scale
    assert correlation(A, [[1, 0], [0, 1]]) == pytest.approx(3 / 10**0.5, abs=1e-15)
    assert correlation(A, A, "pearson") == pytest.approx(1, abs=1e-15)
    assert abs(correlation([1e300, -1e300], [1e-300, 1e-300])) < 1e-16
    assert correlation([3.0, -4.0], [4e-300, 3e-300]) == 0


def test_pearson_keeps_its_digits_where_entries_are_nearly_equal():
    A = 1e8 + np.array([[0.0, 1.0], [3.0, 2.0]])
    B = np.array([[1.0, 1.5], [2.0, 1.75]])
    assert correlation(A, B, "pearson") == pytest.approx(
        exact_correlation(A, B, "pearson"), abs=1e-15
    )
    A = 1 + np.array([[0.0, 1.0], [3.0, 2.0]]) * 2.0**-52
    assert correlation(A, B, "pearson") == pytest.approx(
        exact_correlation(A, B, "pearson"), abs=1e-15
    )


def test_any_shape_and_numpys_own_pearson():
    A, B = np.random.default_rng(0).standard_normal((2, 4, 3, 2))
    assert correlation(A, B, "pearson") == pytest.approx(np.corrcoef(A.ravel(), B.ravel())[0, 1])
    assert correlation(A.tolist(), B) == correlation(A, B)


@pytest.mark.parametrize(
    ("A", "B", "kind", "message"),
    [
        ([1.0, 2.0], [1.0], "cosine", r"A has shape \(2,\), B has shape \(1,\)"),
        ([[1.0, 2.0]], [[1.0], [2.0]], "pearson", r"\(1, 2\), B has shape \(2, 1\)"),
        ([1.0, math.nan], [1.0, 2.0], "cosine", "A holds nan; all entries must be finite"),
        ([1.0, 2.0], [1.0, math.inf], "pearson", "B holds inf"),
        ([0.0, 0.0], [1.0, 2.0], "cosine", "A is zero; a zero array has no correlation"),
        ([1.0, 2.0], [0.0, 0.0], "cosine", "B is zero"),
        ([3.0, 3.0], [1.0, 2.0], "pearson", "all 2 entries of A are 3.0; constant entries"),
        ([1.0, 2.0], [0.0, 0.0], "pearson", "all 2 entries of B are 0.0"),
        ([], [], "cosine", r"A has shape \(0,\); it must have at least one entry"),
        ([1.0], [1.0], "spearman", "kind = 'spearman' must be one of 'cosine', 'pearson'"),
    ],
)
def test_what_has_no_correlation_is_refused(A, B, kind, message):
    with pytest.raises(ValueError, match=message):
        correlation(A, B, kind)


@pytest.mark.parametrize("A", [[1j, 2], ["1", "2"], [True, False], [None, 1.0]])
def test_entries_that_are_no_real_numbers_are_refused(A):
    with pytest.raises(TypeError, match=r"A has dtype .*; its entries must be real numbers"):
        correlation(A, [1.0, 2.0])


# ── powers ───────────────────────────────────────────────────────────────────────────────────────


def psd(seed, d=5, rank=5):
    root = np.random.default_rng(seed).integers(-5, 6, (rank, d)).astype(float)
    return root.T @ root


def mp_power(A, exponent):
    with mpmath.workdps(50):
        values, vectors = mpmath.eigsy(mpmath.matrix(A.tolist()))
        powers = [x ** mpmath.mpf(exponent) if x > 1e-30 else 0 for x in values]
        found = vectors * mpmath.diag(powers) * vectors.T
        return np.array(found.tolist(), dtype=float)


@pytest.mark.parametrize("exponent", [0.5, 1 / 3, 0.1, 1, 2, 3.7, -1, -0.5])
@pytest.mark.parametrize("seed", [0, 1])
def test_powers_agree_with_fifty_digits(exponent, seed):
    A = psd(seed)
    expected = mp_power(A, exponent)
    # An eigenvalue is known to rounding of the largest; a power magnifies that by the condition.
    condition = np.linalg.cond(A) ** max(1 - exponent, 0) if exponent < 1 else 1
    error = np.linalg.norm(matrix_power_psd(A, exponent) - expected)
    assert error <= 1e-13 * condition * np.linalg.norm(expected)


@pytest.mark.parametrize("exponent", [0.1, 0.25, 0.5, 1.0])
def test_rounding_errors_of_a_singular_matrix_are_not_magnified(exponent):
    A = psd(3, d=6, rank=2)
    expected = mp_power(A, exponent)
    assert np.linalg.norm(matrix_power_psd(A, exponent) - expected) < 1e-12 * np.linalg.norm(
        expected
    )


@given(
    seed=st.integers(0, 50),
    s=st.floats(0.1, 2),
    t=st.floats(0.1, 2),
    shift=st.integers(-200, 200),
)
@settings(max_examples=40, deadline=None)
def test_exponents_add_and_scales_come_out(seed, s, t, shift):
    A = psd(seed) + np.eye(5)
    power = matrix_power_psd(A, s)
    assert np.array_equal(power, power.T)
    np.testing.assert_allclose(
        power @ matrix_power_psd(A, t), matrix_power_psd(A, s + t), rtol=1e-8, atol=1e-9
    )
    scaled = matrix_power_psd(np.ldexp(A, shift), s)
    np.testing.assert_allclose(
        scaled / np.linalg.norm(scaled), power / np.linalg.norm(power), atol=1e-13
    )
    assert scaled[0, 0] / power[0, 0] == pytest.approx(2.0 ** (s * shift), rel=1e-11)


def test_special_powers():
    A = psd(4, d=4, rank=2)
    np.testing.assert_allclose(matrix_power_psd(A, 0), np.eye(4), atol=1e-14)
    np.testing.assert_array_equal(matrix_power_psd(np.zeros((2, 2)), 0.5), np.zeros((2, 2)))
    np.testing.assert_allclose(matrix_power_psd(A, 1), A, atol=1e-12)
    assert matrix_power_psd([[1e300]], 0.5)[0, 0] == pytest.approx(1e150)
    assert matrix_power_psd([[1e-300]], -1)[0, 0] == pytest.approx(1e300)
    noisy = np.diag([1.0, -1e-6])
    found = matrix_power_psd(noisy, 0.5, tolerance=1e-5)
    np.testing.assert_allclose(found, np.diag([1.0, 0]), rtol=1e-15)


@pytest.mark.parametrize(
    ("A", "exponent", "error", "message"),
    [
        (np.diag([1.0, -0.5]), 0.5, ValueError, r"A has the eigenvalue -0\.5; it must be positive"),
        (np.diag([1e300, -1e290]), 1, ValueError, r"eigenvalue -1e\+290"),
        ([[1.0, 1.0], [1.0, 1.0]], -1, ValueError, "counts as 0; A must be positive definite"),
        (np.zeros((2, 2)), -1, ValueError, "must be positive definite"),
        ([[1.0, 2.0], [1.0, 1.0]], 1, ValueError, r"A\[0, 1\] = 2\.0 and A\[1, 0\] = 1\.0 differ"),
        (np.ones((2, 3)), 1, ValueError, r"A has shape \(2, 3\); it must be square"),
        ([[math.nan]], 1, ValueError, "A holds nan"),
        ([[1.0]], math.inf, ValueError, "exponent = inf must be a finite number"),
        ([[1.0]], "2", TypeError, "exponent = '2' must be a finite number"),
        ([[1e300]], 1.5, OverflowError, "beyond the largest double"),
        ([["x"]], 1, TypeError, "its entries must be real numbers"),
    ],
)
def test_powers_that_do_not_exist_are_refused(A, exponent, error, message):
    with pytest.raises(error, match=message):
        matrix_power_psd(A, exponent)


def test_a_negative_tolerance_is_refused():
    with pytest.raises(ValueError, match="tolerance = -1 must be a finite number >= 0"):
        matrix_power_psd([[1.0]], 1, tolerance=-1)


# ── centring ─────────────────────────────────────────────────────────────────────────────────────


def example(n=7, o=3, k=6, d=5, seed=0):
    """Weights, initial weights, output Jacobians by z, and gradients by the layer's input."""
    rng = np.random.default_rng(seed)
    W, W_0 = rng.standard_normal((2, k, d))
    jacobians = rng.standard_normal((n, o, k)) + 1
    K = np.einsum("nok,nol->kl", jacobians, jacobians) / n
    return W, W_0, K, jacobians @ W


def test_each_centring_from_its_definition():
    W, W_0, K, G = example()
    n, o, d = G.shape
    loop = sum(np.outer(G[a, c], G[a, c]) for a in range(n) for c in range(o)) / n
    np.testing.assert_allclose(centring.agop_from_gradients(G), loop)
    np.testing.assert_allclose(centring.agop_from_ptk(W, K), loop)
    means = [G[:, c].mean(axis=0) for c in range(o)]
    per_output = loop - sum(np.outer(m, m) for m in means)
    np.testing.assert_allclose(centring.agop_less_mean_of_each_output(G), per_output)
    joint = G.reshape(-1, d).mean(axis=0)
    np.testing.assert_allclose(
        centring.agop_less_joint_mean(G), loop - o * np.outer(joint, joint), atol=1e-12
    )
    D = W - W_0
    np.testing.assert_allclose(centring.change_from_initial(W, W_0), D)
    np.testing.assert_allclose(centring.nfm_of_change(W, W_0), D.T @ D)
    np.testing.assert_allclose(centring.agop_of_change(W, W_0, K), D.T @ K @ D)
    np.testing.assert_allclose(centring.less_mean_entry(loop).sum(), 0, atol=1e-12)
    assert correlation(loop, W.T @ W, "pearson") == pytest.approx(
        correlation(centring.less_mean_entry(loop), centring.less_mean_entry(W.T @ W))
    )


def test_with_one_output_both_means_agree_and_the_axis_may_be_left_out():
    *_, G = example(o=1)
    a, b = centring.agop_less_mean_of_each_output(G), centring.agop_less_joint_mean(G)
    np.testing.assert_allclose(a, b)
    np.testing.assert_allclose(centring.agop_less_joint_mean(G[:, 0]), b)


@pytest.mark.parametrize("convention", centring.PRESETS, ids=lambda p: f"{p.name}, {p.source}")
def test_presets_from_their_definition(convention):
    W, W_0, K, G = example()
    moved = W - W_0
    left = moved if convention.nfm is centring.Weights.CHANGE else W
    right = moved if convention.agop is centring.Gradients.CHANGE else W
    agop = right.T @ K @ right
    if convention.exponent == 0.5:
        agop = mp_power(agop, 0.5)
    expected = correlation(left.T @ left, agop, convention.kind)
    found = centring.evaluate(convention, W, initial_weights=W_0, ptk=K)
    assert found == pytest.approx(expected, abs=1e-12)
    if convention.agop is centring.Gradients.CURRENT:
        by_gradients = centring.evaluate(convention, W, initial_weights=W_0, gradients=G)
        assert by_gradients == pytest.approx(expected, abs=1e-12)


def test_presets_say_what_the_reference_says():
    table = {(p.source, p.name): (p.nfm.value, p.kind, p.exponent) for p in centring.PRESETS}
    assert table["paper C", "C-NFA"] == ("W - W_0", "cosine", 1.0)
    assert table["centered_NFA", "C-NFA"] == ("W - W_0", "pearson", 1.0)
    assert table["centered_NFA", "UC-NFA"] == ("W", "pearson", 1.0)
    assert table["deep_neural_feature_ansatz", "NFA"] == ("W", "cosine", 1.0)
    assert table["agop_feature_learning", "NFA"] == ("W", "pearson", 0.5)
    assert table["neural_collapse_rfm", "NFA"] == ("W", "pearson", 0.5)
    removed = centring.preset("NFA, initial weights removed")
    assert (removed.nfm, removed.agop) == (centring.Weights.CHANGE, centring.Gradients.CURRENT)
    assert centring.deep_linear_preset(4).exponent == 0.25


def test_gradients_less_their_means_can_be_compared_too():
    W, *_, G = example()
    for kind, function in (
        (centring.Gradients.LESS_JOINT_MEAN, centring.agop_less_joint_mean),
        (centring.Gradients.LESS_MEAN_OF_EACH_OUTPUT, centring.agop_less_mean_of_each_output),
    ):
        convention = centring.Preset("own", "here", centring.Weights.CURRENT, kind, "cosine", 1.0)
        found = centring.evaluate(convention, W, gradients=G)
        assert found == pytest.approx(correlation(W.T @ W, function(G)))


def test_presets_agree_with_the_measuring_room():
    torch = pytest.importorskip("torch")
    from numerics.alignment import (
        centred_nfa,
        init_removed_nfa,
        layer_matrices,
        mlp,
        uncentred_nfa,
    )

    model = mlp([5, 8, 3], "tanh", generator=3)
    inputs = np.random.default_rng(1).standard_normal((20, 5))
    found = layer_matrices(model, inputs, agop="gradient")["0"]
    start = (
        found.weight + 0.3 * torch.randn(8, 5, generator=torch.Generator().manual_seed(0)).double()
    )
    W, W_0, K = (x.numpy() for x in (found.weight, start, found.ptk))
    pairs = {
        ("UC-NFA", "paper C"): uncentred_nfa(found),
        ("C-NFA", "centered_NFA"): centred_nfa(found, start, kind="pearson"),
        ("NFA", "agop_feature_learning"): uncentred_nfa(found, power=0.5, kind="pearson"),
        ("NFA, initial weights removed", None): init_removed_nfa(
            found, start, power=0.5, kind="pearson"
        ),
    }
    for (name, source), measured in pairs.items():
        convention = centring.preset(name, source)
        assert centring.evaluate(convention, W, initial_weights=W_0, ptk=K) == pytest.approx(
            measured, abs=1e-12
        )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda W, V, K, G: centring.nfm(W[0]), r"weights has shape \(5,\); a matrix"),
        (lambda W, V, K, G: centring.agop_from_ptk(W, K[:2]), r"ptk has shape \(2, 6\), weights"),
        (
            lambda W, V, K, G: centring.change_from_initial(W, V[:2]),
            r"\(6, 5\), initial_weights \(2",
        ),
        (lambda W, V, K, G: centring.agop_from_gradients(W[0]), r"gradients have shape \(5,\)"),
        (lambda W, V, K, G: centring.preset("C-NFA"), "several presets have the name 'C-NFA'"),
        (lambda W, V, K, G: centring.preset("NTK"), "no preset has the name 'NTK'"),
        (lambda W, V, K, G: centring.deep_linear_preset(0), "depth = 0 must be an integer >= 1"),
        (
            lambda W, V, K, G: centring.evaluate(centring.preset("C-NFA", "paper C"), W, ptk=K),
            "initial_weights is missing: 'C-NFA' cannot do without",
        ),
        (
            lambda W, V, K, G: centring.evaluate(centring.preset("NFA, sweep"), W),
            "ptk is missing: 'NFA, sweep' cannot do without",
        ),
        (
            lambda W, V, K, G: centring.evaluate(
                centring.preset("NFA, sweep"), W, gradients=G[:, :, :3]
            ),
            r"NFM has shape \(5, 5\), AGOP has shape \(3, 3\); they differ",
        ),
    ],
)
def test_bad_input_is_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call(*example())
