"""Population AGOP under Gaussian inputs, its range, Hermite sums and jumps."""

import math

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, special

from theory.rfm.dependence import index_space
from theory.rfm.gaussian_means import gaussian_mean, moment
from theory.rfm.hermite import hermite_agop, hermite_coefficients, slope_energy
from theory.rfm.jumps import gated_product_agop, threshold_energy
from theory.rfm.population import multi_index_agop, population_agop, single_index_agop
from theory.rfm.population_derivation import (
    derive_index_space,
    derive_jumps,
    derive_population,
)

X = sympy.symbols("x0:3", real=True)
S, T = sympy.symbols("s t", real=True)
HALF = sympy.Rational(1, 2)
few = settings(max_examples=20, deadline=None)
small = st.integers(-3, 3)


def matrices(rows, columns):
    entries = st.lists(small, min_size=rows * columns, max_size=rows * columns)
    return entries.map(lambda values: sympy.Matrix(rows, columns, values))


def cubics():
    monomials = [X[0], X[1] ** 2, X[0] * X[2], X[1] * X[2] ** 2, X[0] ** 3]
    coefficients = st.lists(small, min_size=5, max_size=5)
    return coefficients.map(lambda c: sum(a * m for a, m in zip(c, monomials, strict=True)))


@pytest.mark.parametrize("derive", [derive_population, derive_index_space, derive_jumps])
def test_every_step_of_the_derivations_holds(derive):
    assert [r.idea for r in derive().check() if not r.holds] == []


# ── means ────────────────────────────────────────────────────────────────────────────────────────


def matchings(letters):
    if not letters:
        yield ()
        return
    first, *rest = letters
    for place, partner in enumerate(rest):
        for other in matchings(rest[:place] + rest[place + 1 :]):
            yield ((first, partner), *other)


@given(powers=st.lists(st.integers(0, 3), min_size=3, max_size=3), L=matrices(3, 3))
@few
def test_moments_are_sums_over_pairings(powers, L):
    """Isserlis' theorem: a sum over all perfect matchings of the factors."""
    sigma = sympy.ImmutableMatrix(L * L.T)
    letters = [i for i, power in enumerate(powers) for _ in range(power)]
    pairings = matchings(letters) if len(letters) % 2 == 0 else ()
    expected = sum(sympy.prod(sigma[i, j] for i, j in pairs) for pairs in pairings)
    assert moment(tuple(powers), sigma) == expected


@pytest.mark.parametrize(
    "expression",
    [
        sympy.exp(S / 2 - S**2 / 3),
        S**2 * sympy.cos(2 * S),
        sympy.sinh(S) ** 2,
        (1 + S) ** 3 * sympy.sin(S),
        sympy.exp(S**2 / 8),
    ],
)
def test_means_are_integrals(expression):
    function = sympy.lambdify(S, expression, "numpy")
    deviation = 1.5

    def integrand(s):
        return function(s) * math.exp(-(s**2) / (2 * deviation**2))

    reference, _ = integrate.quad(integrand, -30, 30, limit=400, epsabs=1e-13)
    reference /= deviation * math.sqrt(2 * math.pi)
    found = gaussian_mean(expression, (S,), sympy.Matrix([[sympy.Rational(9, 4)]]))
    assert float(found) == pytest.approx(reference, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("expression", "covariance", "error", "message"),
    [
        (sympy.tanh(S), None, ValueError, "allowed are polynomials times exponentials"),
        (sympy.Abs(S), None, ValueError, "allowed are polynomials times exponentials"),
        (sympy.exp(S**3), None, ValueError, "degree at most 2"),
        (sympy.exp(S**2 / 2), None, ValueError, "whose mean is infinite"),
        (0.5 * S, None, TypeError, "expression has the Float 0.5"),
        (S, sympy.eye(2), ValueError, r"covariance has shape \(2, 2\); \(1, 1\)"),
        (S, sympy.Matrix([[-1]]), ValueError, "covariance has a negative eigenvalue"),
        (S, sympy.Matrix([[0.5]]), TypeError, "covariance has the Float 0.5"),
    ],
)
def test_means_refuse_bad_input(expression, covariance, error, message):
    with pytest.raises(error, match=message):
        gaussian_mean(expression, (S,), covariance)


# ── AGOP ─────────────────────────────────────────────────────────────────────────────────────────


def test_the_product_has_the_identity_on_its_plane_in_any_dimension():
    x = sympy.symbols("x0:100")
    agop = population_agop(x[0] * x[1], x)
    assert agop == sympy.diag(1, 1, *[0] * 98)


def test_symbols_are_carried_along():
    a, b, r = sympy.symbols("a b r", positive=True)
    sigma = [[a, r], [r, b]]
    assert population_agop(X[0] * X[1], X[:2], sigma) == sympy.Matrix([[b, r], [r, a]])


@given(target=cubics(), L=matrices(3, 3))
@few
def test_means_over_rotated_inputs(target, L):
    """f(Lz) has the AGOP LᵀAL, where A is that of f under Σ = LLᵀ."""
    z = sympy.symbols("z0:3", real=True)
    at = dict(zip(X, L * sympy.Matrix(z), strict=True))
    moved = sympy.expand(target.subs(at, simultaneous=True))
    expected = (L.T * population_agop(target, X, L * L.T) * L).applyfunc(sympy.expand)
    assert population_agop(moved, z) == expected


@given(target=cubics(), U=matrices(3, 3))
@few
def test_multi_index_is_the_agop_of_the_composition(target, U):
    at = dict(zip(X, U * sympy.Matrix(X), strict=True))
    composed = sympy.expand(target.subs(at, simultaneous=True))
    sigma = sympy.Matrix([[2, 1, 0], [1, 2, 0], [0, 0, 1]])
    assert multi_index_agop(target, X, U, sigma) == population_agop(composed, X, sigma)


def test_single_index_of_a_sine():
    tau = sympy.Symbol("tau", positive=True)
    agop = single_index_agop(sympy.sin(S), S, [1, 0], tau**2 * sympy.eye(2))
    assert sympy.simplify(agop[0, 0] - (1 + sympy.exp(-2 * tau**2)) / 2) == 0
    assert agop[1, 1] == agop[0, 1] == 0


def test_single_index_of_erf():
    """E (2/√π)² e^{−2s²} = (4/π)/√(1 + 4) for s ~ N(0, 1)."""
    agop = single_index_agop(sympy.erf(S), S, [1])
    assert sympy.simplify(agop[0, 0] - 4 / (sympy.pi * sympy.sqrt(5))) == 0


def test_the_population_agop_is_the_limit_of_sample_ones():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200_000, 2))
    gradients = np.stack([np.cos(x[:, 0]) * x[:, 1], np.sin(x[:, 0])], axis=1)
    agop = population_agop(sympy.sin(S) * T, (S, T))
    found = gradients.T @ gradients / len(x)
    assert np.array(agop.tolist(), dtype=float) == pytest.approx(found, abs=0.02)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((X[0], (X[0], X[0])), ValueError, "all different"),
        ((X[0], ()), ValueError, "at least one"),
        ((X[0], ("x0",)), TypeError, "variables hold 'x0'"),
        ((1.5 * X[0], X), TypeError, "target has the Float 1.5"),
        ((X[0], X, [[1, 0], [0, 1]]), ValueError, r"covariance has shape \(2, 2\)"),
        ((X[0], X[:2], [[1, 0], [1, 1]]), ValueError, "covariance is not symmetric"),
        ((sympy.Heaviside(S), (S,)), ValueError, "DiracDelta"),
        ((sympy.log(S), (S,)), ValueError, "allowed are polynomials"),
    ],
)
def test_population_refuses_bad_input(arguments, error, message):
    with pytest.raises(error, match=message):
        population_agop(*arguments)


def test_multi_index_refuses_directions_that_do_not_fit():
    with pytest.raises(ValueError, match=r"directions have shape \(1, 2\); one row for each"):
        multi_index_agop(S * T, (S, T), [[1, 2]])


# ── Hermite ──────────────────────────────────────────────────────────────────────────────────────


@given(target=cubics())
@few
def test_hermite_sums_are_the_population_agop(target):
    coefficients = hermite_coefficients(target, X, 3) or {(0, 0, 0): 0}
    found = hermite_agop(coefficients).applyfunc(sympy.simplify)
    assert found == population_agop(target, X)


def test_hermite_series_of_a_sine():
    """c_p = ±e^{−1/2}/√p! for odd p: Σ p c_p² = e^{−1} cosh 1 = (1 + e^{−2})/2."""
    orders = range(1, 40, 2)
    coefficients = [0.0] * 40
    for p in orders:
        coefficients[p] = math.exp(-0.5) / math.sqrt(math.factorial(p))
    assert float(slope_energy(coefficients)) == pytest.approx((1 + math.exp(-2)) / 2, rel=1e-14)


def test_hermite_sums_reach_relu():
    """E relu'(z)² = ½ from the coefficients c_p of relu, slowly."""
    nodes, weights = special.roots_hermitenorm(200)
    weights = weights / math.sqrt(2 * math.pi)
    waves = [special.eval_hermitenorm(p, nodes) / math.sqrt(math.factorial(p)) for p in range(40)]
    coefficients = [float(np.sum(weights * np.maximum(nodes, 0) * wave)) for wave in waves]
    assert float(slope_energy(coefficients)) == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("coefficients", [{}, {(0,): 1, (1, 1): 2}, {(-1,): 1}, {(): 1}])
def test_hermite_refuses_bad_multi_indices(coefficients):
    with pytest.raises(ValueError, match="coefficients have the multi-indices"):
        hermite_agop(coefficients)


def test_hermite_refuses_a_negative_degree():
    with pytest.raises(ValueError, match="degree = -1"):
        hermite_coefficients(S, (S,), -1)


# ── range ────────────────────────────────────────────────────────────────────────────────────────


@given(target=cubics(), U=matrices(3, 3))
@few
def test_the_range_is_the_space_of_directions_on_which_f_depends(target, U):
    at = dict(zip(X, U * sympy.Matrix(X), strict=True))
    composed = sympy.expand(target.subs(at, simultaneous=True))
    basis = index_space(composed, X)
    for sigma in (None, sympy.Matrix([[2, 1, 0], [1, 2, 0], [0, 0, 1]])):
        agop = population_agop(composed, X, sigma)
        assert agop.rank() == basis.cols == sympy.Matrix.hstack(agop, basis).rank()


def test_a_singular_covariance_can_hide_a_direction():
    """Under Σ ≻ 0 fails: inputs on the line x_1 = 0 do not show the slope x_1 of x_1²."""
    agop = population_agop(X[0] + X[1] ** 2, X[:2], sympy.diag(1, 0))
    assert agop == sympy.diag(1, 0)
    assert index_space(X[0] + X[1] ** 2, X[:2]).cols == 2


@pytest.mark.parametrize(
    ("polynomial", "error", "message"),
    [
        (sympy.sin(S), ValueError, r"polynomial = sin\(s\)"),
        (S * T, ValueError, "with numbers as coefficients"),
        (0.5 * S, TypeError, "polynomial has the Float"),
    ],
)
def test_index_space_refuses_bad_input(polynomial, error, message):
    with pytest.raises(error, match=message):
        index_space(polynomial, (S,))


# ── jumps ────────────────────────────────────────────────────────────────────────────────────────


@given(width=st.floats(0.05, 2), deviation=st.floats(0.2, 2), threshold=st.floats(-1, 1))
@few
def test_the_energy_of_a_smoothed_threshold(width, deviation, threshold):
    values = [sympy.Rational(v) for v in (width, deviation, threshold)]

    def integrand(x):
        slope = math.exp(-(((x - threshold) / width) ** 2) / 2) / (width * math.sqrt(2 * math.pi))
        return slope**2 * math.exp(-((x / deviation) ** 2) / 2) / (deviation * 2.5066282746310002)

    ends = (threshold - 12 * width, threshold + 12 * width)
    reference, _ = integrate.quad(integrand, *ends, points=[threshold], epsabs=0, epsrel=1e-11)
    assert float(threshold_energy(*values)) == pytest.approx(reference, rel=1e-8)


def test_the_gated_product_with_and_without_width():
    """Narrower gates: two entries tend to σ²/2, the third grows without bound."""
    sharp = gated_product_agop(HALF)
    assert sharp == sympy.diag(sympy.Rational(1, 8), sympy.Rational(1, 8), 0)
    entries = [
        [float(v) for v in gated_product_agop(HALF, sympy.Rational(1, n)).diagonal()]
        for n in (2, 100, 10_000)
    ]
    assert entries[2][0] == pytest.approx(1 / 8, rel=1e-3)
    assert entries[0][2] < entries[0][0]
    assert entries[1][2] > entries[1][0]
    assert entries[2][2] == pytest.approx(100 * entries[1][2], rel=1e-2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: threshold_energy(0), ValueError, "width = 0 must be positive"),
        (lambda: threshold_energy(1, -1), ValueError, "deviation = -1 must be positive"),
        (lambda: threshold_energy(0.5), TypeError, "width has the Float"),
        (lambda: gated_product_agop(0), ValueError, "deviation = 0 must be positive"),
    ],
)
def test_jumps_refuse_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
