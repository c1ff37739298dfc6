"""Derivative kernels: accuracy at the ends, identities, refusals; the infinite-width alignment."""

from fractions import Fraction

import mpmath
import numpy as np
import pytest
import sympy
from flint import arb
from hypothesis import given, settings
from hypothesis import strategies as st

from numerics.alignment.wide import network_alignment
from theory.alignment.activation_kernel_derivations import derive_kernel, moment
from theory.alignment.activation_kernels import (
    UU,
    UV,
    VV,
    activation_kernel,
    hermite_expression,
)
from theory.alignment.infinite_width import derive_limit, infinite_width_alignment

NAMES = ("relu", "erf", "linear", "quadratic", "cubic", "hermite1", "hermite2", "hermite5")
every_kernel = pytest.mark.parametrize("name", NAMES)

finite = st.floats(0.05, 20)
cosines = st.floats(-1, 1)


def fixed(examples):
    return settings(max_examples=examples, deadline=None, derandomize=True)


def reference(name, uu, uv, vv):
    """The formula in mpmath with many digits, taken from floats exactly."""
    mp = mpmath.MPContext()
    mp.dps = 80
    names = {"atan2": mp.atan2, "sqrt": mp.sqrt, "pi": mp.pi, "mpf": mp.mpf}
    function = sympy.lambdify((UU, UV, VV), activation_kernel(name).expression, [names, "mpmath"])
    return function(*(mp.mpf(float(x)) for x in (uu, uv, vv)))


@pytest.mark.parametrize("name", [*NAMES, "hermite9"])
def test_every_step_of_the_derivation_holds(name):
    assert [s.idea for s in activation_kernel(name).derivation().check() if not s.holds] == []


@every_kernel
def test_a_wrong_formula_fails_its_derivation(name):
    wrong = activation_kernel(name).expression * sympy.Rational(1000001, 1000000)
    assert not all(s.holds for s in derive_kernel(name, wrong).check())


def test_every_step_of_the_limit_holds():
    assert all(s.holds for s in derive_limit().check())


@every_kernel
@fixed(40)
@given(finite, cosines, finite)
def test_scalars_and_arrays_agree_with_many_digits(name, uu, cosine, vv):
    uv = cosine * np.sqrt(uu * vv) * (1 - 1e-15)
    if uv**2 > uu * vv:
        return
    kernel, wanted = activation_kernel(name), reference(name, uu, uv, vv)
    assert kernel(uu, uv, vv) == pytest.approx(float(wanted), rel=3e-16, abs=1e-300)
    found = kernel(np.array([uu]), np.array([uv]), np.array([vv]))
    assert found[0] == pytest.approx(float(wanted), rel=2e-13, abs=1e-300)


@fixed(60)
@given(finite, cosines, finite, st.floats(0.1, 10), st.floats(0.1, 10))
def test_relu_sees_angles_only(uu, cosine, vv, a, b):
    kernel = activation_kernel("relu")
    uv = 0.999 * cosine * np.sqrt(uu * vv)
    assert kernel(a**2 * uu, a * b * uv, b**2 * vv) == pytest.approx(kernel(uu, uv, vv), rel=1e-12)
    assert kernel(uu, uv, vv) + kernel(uu, -uv, vv) == pytest.approx(0.5, rel=1e-14)


def test_relu_at_its_ends_keeps_its_digits():
    kernel, tiny = activation_kernel("relu"), Fraction(1, 10**30)
    assert (kernel(1, 1, 1), kernel(2, -2, 2), kernel(3, 0, 5)) == (0.5, 0.0, 0.25)
    # Close to −1 the angle that is missing to π is √(2(1 + ρ)).
    near = kernel(1, -1 + tiny, 1)
    assert near == pytest.approx(np.sqrt(2e-30) / (2 * np.pi), rel=1e-15)
    step = 2.0**-50
    array = kernel(np.array([1.0]), np.array([-1 + step]), np.array([1.0]))
    assert array[0] == pytest.approx(kernel(1.0, -1 + step, 1.0), rel=1e-15)


def test_relu_of_samples_that_are_nearly_parallel_keeps_its_digits():
    rng = np.random.default_rng(3)
    u, noise = rng.standard_normal((2, 30))
    X = np.array([u, u + 1e-9 * noise, -u + 1e-7 * noise, 3 * u])
    found = activation_kernel("relu").matrix(X)
    wanted = np.array([[exact_angle_kernel(a, b) for b in X] for a in X])
    np.testing.assert_allclose(found, wanted, rtol=1e-7, atol=1e-15)
    np.testing.assert_allclose(0.5 - found[0, 1], 0.5 - wanted[0, 1], rtol=1e-6)
    assert found[0, 2] == pytest.approx(wanted[0, 2], rel=1e-7)


def exact_angle_kernel(a, b):
    mp = mpmath.MPContext()
    mp.dps = 60

    def inner(x, y):
        return mp.fsum(mp.mpf(p) * mp.mpf(q) for p, q in zip(x.tolist(), y.tolist(), strict=True))

    cosine = inner(a, b) / mp.sqrt(inner(a, a) * inner(b, b))
    return float((mp.pi - mp.acos(max(min(cosine, 1), -1))) / (2 * mp.pi))


def test_huge_and_tiny_variances_do_not_overflow():
    relu, erf = activation_kernel("relu"), activation_kernel("erf")
    for scale in (1e-300, 1e300):
        found = relu(np.array([scale]), np.array([0.5 * scale]), np.array([scale]))
        assert found[0] == pytest.approx(1 / 3, rel=1e-14)
        assert relu(scale, 0.5 * scale, scale) == pytest.approx(1 / 3, rel=1e-14)
    found = erf(np.array([1e200]), np.array([0.0]), np.array([1e200]))
    assert (
        found[0] == pytest.approx(erf(1e200, 0, 1e200), rel=1e-14) == pytest.approx(2e-200 / np.pi)
    )


def test_a_polynomial_whose_terms_cancel_keeps_its_digits():
    kernel = activation_kernel("hermite3")
    uu = np.nextafter(1 - np.sqrt(0.5), 1)
    uv = 0.5
    # 3 (uv² + (uu − 1)(vv − 1)/2) with vv = uu would vanish at (uu − 1)² = −2 uv²: take vv > 1.
    vv = 1 - 2 * uv**2 / (uu - 1)
    found = kernel(np.array([uu]), np.array([uv]), np.array([vv]))[0]
    wanted = float(reference("hermite3", uu, uv, vv))
    assert abs(wanted) < 1e-14
    assert found == pytest.approx(wanted, rel=1e-15)


@fixed(30)
@given(st.integers(1, 12), st.fractions(-1, 1, max_denominator=50))
def test_mehler(order, rho):
    found = hermite_expression(order).subs({UU: 1, VV: 1, UV: sympy.Rational(rho)})
    assert found == order * sympy.Rational(rho) ** (order - 1)


@fixed(30)
@given(st.integers(0, 6), st.integers(0, 6))
def test_moments_are_sums_over_pairings(a, b):
    assert sympy.expand(moment(a, b) - pairing_sum((), "u" * a + "v" * b)) == 0


def pairing_sum(done, word):
    """Isserlis: pair the first letter with each of the others."""
    if not word:
        return sympy.prod(done)
    covariance = {"uu": UU, "uv": UV, "vu": UV, "vv": VV}
    return sympy.Add(
        *(
            pairing_sum((*done, covariance[word[0] + word[i]]), word[1:i] + word[i + 1 :])
            for i in range(1, len(word))
        )
    )


@every_kernel
def test_balls_contain_the_value_and_digits_are_kept(name):
    kernel = activation_kernel(name)
    point = ("0.8", "-0.3", "1.1")
    ball = kernel.ball(*point, prec=200)
    value = kernel.mp(*point, dps=40)
    assert abs(ball - arb(value)) < 1e-38
    wide = kernel.ball(arb("0.8", "1e-3"), arb("-0.3", "1e-3"), arb("1.1", "1e-3"))
    assert wide.contains(kernel.ball("0.8005", "-0.3005", "1.0995", prec=300).mid())


def test_a_ball_across_the_edge_of_all_covariances_is_no_nan():
    ball = activation_kernel("relu").ball(arb(1, "1e-9"), arb(1, "1e-9"), arb(1, "1e-9"))
    assert ball.is_finite()
    assert ball.contains(arb("0.5"))


@every_kernel
def test_matrices_are_symmetric_kernels(name):
    X = np.random.default_rng(1).standard_normal((5, 3))
    K = activation_kernel(name).matrix(X, 0.7)
    np.testing.assert_array_equal(K, K.T)
    kernel, gram = activation_kernel(name), 0.7 * X @ X.T
    wanted = [[kernel(gram[i, i], gram[i, j], gram[j, j]) for j in range(5)] for i in range(5)]
    np.testing.assert_allclose(K, wanted, rtol=1e-12, atol=1e-7 if name == "relu" else 1e-13)
    assert np.linalg.eigvalsh(K).min() > -1e-12


def test_formulas_can_be_read_and_compared():
    assert r"\operatorname{atan}_{2}" in activation_kernel("relu").latex()
    assert activation_kernel("hermite2") is activation_kernel("hermite2")
    assert activation_kernel("hermite1").expression == 1


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["tanh", "hermite", "hermite0", "hermite-1", "ReLU", None])
def test_unknown_activations_are_refused_with_those_allowed(name):
    with pytest.raises(ValueError, match=r"activation = .* must be one of relu, erf, .*hermite<p>"):
        activation_kernel(name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1, 0, 1), r"variance_u = -1.0 must be a finite number >= 0"),
        ((1, 0, float("nan")), r"variance_v = nan is not finite"),
        ((1, 2, 1), r"covariance = 2.0 must be at most √"),
        ((0, 0, 1), r"variance_u is 0, must be > 0 for relu"),
        ((np.array([-1.0]), 0.0, 1.0), r"variance_u holds -1.0"),
        ((1.0, np.array([1.5]), 1.0), r"covariance holds 1.5, must be at most"),
        ((1.0, np.array([np.nan]), 1.0), r"holds NaN or infinite entries"),
        ((np.array([0.0]), 0.0, 1.0), r"variance_u is 0, must be > 0 for relu"),
    ],
)
def test_what_is_no_covariance_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        activation_kernel("relu")(*arguments)


def test_zero_variances_are_fine_for_smooth_activations():
    assert activation_kernel("erf")(0, 0, 0) == pytest.approx(4 / np.pi)
    assert activation_kernel("cubic")(0, 0, 1) == 0.0


def test_types_and_digits_are_refused():
    with pytest.raises(TypeError, match="variance_u = True"):
        activation_kernel("erf")(True, 0, 1)
    with pytest.raises(ValueError, match="dps = 0"):
        activation_kernel("erf").mp(1, 0, 1, 0)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([1.0, 2.0], r"X has shape \(2,\), must be \(n, d\)"),
        (np.zeros((0, 2)), r"X has shape \(0, 2\)"),
        ([[1.0, np.inf]], "X holds NaN or infinite entries"),
        ([[1.0, 0.0], [0.0, 0.0]], "the norm of a row of X is 0, must be > 0 for relu"),
    ],
)
def test_bad_samples_are_refused(X, message):
    with pytest.raises(ValueError, match=message):
        activation_kernel("relu").matrix(X)


# ── the infinite-width alignment ─────────────────────────────────────────────────────────────────

data = st.integers(0, 2**32 - 1)


def drawn(seed, n=6, d=4):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)), rng.standard_normal(n)


@fixed(25)
@given(data, st.sampled_from(NAMES), st.floats(1e-3, 1e3), st.floats(-1e3, 1e3))
def test_alignment_is_a_cosine_that_does_not_see_the_residuals_scale(seed, name, variance, scale):
    X, r = drawn(seed)
    found = infinite_width_alignment(X, r, name, variance)
    assert 0 < found <= 1
    if scale != 0:
        again = infinite_width_alignment(X, scale * r, name, variance)
        assert again == pytest.approx(found, rel=1e-9)


@fixed(15)
@given(data)
def test_relu_and_powers_do_not_see_the_scale_of_the_weights(seed):
    X, r = drawn(seed)
    for name in ("relu", "linear", "quadratic", "cubic"):
        near, far = (infinite_width_alignment(X, r, name, v) for v in (1e-100, 1e100))
        assert near == pytest.approx(far, rel=1e-9)


@fixed(15)
@given(data)
def test_rotations_of_the_data_change_nothing(seed):
    X, r = drawn(seed)
    Q = np.linalg.qr(np.random.default_rng(seed).standard_normal((4, 4)))[0]
    for name in NAMES:
        found = infinite_width_alignment(X @ Q, r, name)
        assert found == pytest.approx(infinite_width_alignment(X, r, name), rel=1e-9)


def test_linear_units_align_perfectly_and_others_do_not():
    X, r = drawn(0)
    # κ = 1 makes ẆᵀẆ and ẆᵀKẆ multiples of one rank-one matrix.
    assert infinite_width_alignment(X, r, "linear") == pytest.approx(1, abs=1e-14)
    assert infinite_width_alignment(X, r, "quadratic") < 1 - 1e-5


@pytest.mark.parametrize("name", ["relu", "erf", "quadratic", "cubic", "hermite3"])
def test_a_wide_network_is_close(name):
    X, r = drawn(5)
    rng = np.random.default_rng(2)
    angles = [
        np.arccos(network_alignment(X, r, 16384, name, rng, weight_scale=0.6)) for _ in range(4)
    ]
    wanted = np.arccos(infinite_width_alignment(X, r, name, 0.36))
    assert np.mean(angles) == pytest.approx(wanted, abs=0.03)


@pytest.mark.parametrize(
    ("residuals", "variance", "message"),
    [
        ([1.0], 1.0, r"residuals has shape \(1,\), must be \(2,\)"),
        ([1.0, np.nan], 1.0, "residuals holds NaN"),
        ([0.0, 0.0], 1.0, "no direction to align"),
        ([1.0, 1.0], 0.0, "weight_variance = 0.0 must be a finite number > 0"),
        ([1.0, 1.0], np.inf, "weight_variance = inf is not finite"),
    ],
)
def test_bad_residuals_and_variances_are_refused(residuals, variance, message):
    with pytest.raises(ValueError, match=message):
        infinite_width_alignment([[1.0, 0.0], [0.5, 1.0]], residuals, "erf", variance)


def test_arrays_keep_their_digits_where_the_terms_of_a_polynomial_cancel():
    """κ = 3σ_uv² + 3(σ_uu - 1)(σ_vv - 1)/2 of hermite3 with terms of ±3/4 and a sum of 3e-9."""
    uv = 0.5 + 1e-9
    found = activation_kernel("hermite3")(np.array([2.0]), np.array([uv]), np.array([0.5]))
    exact = 3 * Fraction(uv) ** 2 - Fraction(3, 4)
    assert found[0] == pytest.approx(float(exact), rel=1e-14, abs=0)
