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
        (S, [[sympy.nan]], ValueError, "covariance = nan; finite"),
        (S, [[sympy.I]], ValueError, "covariance has the entry I; real"),
        (S, [[1, 2], [3]], ValueError, "covariance = .* has rows of unequal length"),
        (S, 3, TypeError, "covariance = 3; a matrix, or rows"),
        (S, [["a"]], TypeError, "covariance = .* no strings"),
        (sympy.nan, None, ValueError, "expression = nan; finite"),
        (sympy.oo * S, None, ValueError, "expression = .*; finite"),
        ("s", None, TypeError, "expression = 's'; an exact expression"),
        (None, None, TypeError, "expression = None; an exact expression"),
        (True, None, TypeError, "expression = True; an exact expression"),
        (sympy.Symbol("s") ** 2, None, ValueError, "not the variable of this name"),
        (sympy.cos(S**2), None, ValueError, "sines and cosines of degree 1"),
        (sympy.exp((1 + sympy.I) * S**2), None, ValueError, "sines and cosines of degree 1"),
    ],
)
def test_means_refuse_bad_input(expression, covariance, error, message):
    with pytest.raises(error, match=message):
        gaussian_mean(expression, (S,), covariance)


@pytest.mark.parametrize(
    ("variables", "error", "message"),
    [
        ((S, S), ValueError, "all different"),
        ((), ValueError, "at least one"),
        (("s",), TypeError, "variables hold 's'"),
        (S, TypeError, "variables = s; a sequence"),
    ],
)
@pytest.mark.parametrize("call", [gaussian_mean, index_space, population_agop])
def test_bad_variables_are_refused_everywhere(call, variables, error, message):
    with pytest.raises(error, match=message):
        call(S**2, variables)
    with pytest.raises(error, match=message):
        hermite_coefficients(S**2, variables, 2)


def test_a_cosine_of_a_square_would_take_the_wrong_root():
    """Why it is refused: E cos(r²) in three dimensions is negative, the principal root positive."""
    rng = np.random.default_rng(0)
    found = np.cos((rng.standard_normal((200_000, 3)) ** 2).sum(axis=1)).mean()
    principal = sympy.re(1 / sympy.sqrt(sympy.expand((1 - 2 * sympy.I) ** 3)))
    assert found == pytest.approx(-float(principal), abs=0.01)
    with pytest.raises(ValueError, match="sines and cosines of degree 1"):
        gaussian_mean(sympy.cos(X[0] ** 2 + X[1] ** 2 + X[2] ** 2), X)


def test_means_of_generic_quadratics_in_three_variables():
    """The eigenvalues of 1 + QΣ are roots of a cubic: only their signs are asked for."""
    Q = sympy.Matrix([[2, 1, -1], [1, 3, 1], [-1, 1, 4]]) / 3
    x = sympy.Matrix(X)
    found = gaussian_mean(sympy.exp(-(x.T * Q * x)[0, 0] / 2), X)
    assert sympy.simplify(found - 1 / sympy.sqrt((sympy.eye(3) + Q).det())) == 0
    with pytest.raises(ValueError, match="whose mean is infinite"):
        gaussian_mean(sympy.exp((x.T * Q * x)[0, 0] / 2), X)


def test_one_infinite_direction_is_enough_and_two_do_not_cancel():
    """det(1 + Q) > 0 with two negative eigenvalues: the mean is infinite all the same."""
    with pytest.raises(ValueError, match="whose mean is infinite"):
        gaussian_mean(sympy.exp(X[0] ** 2 + X[1] ** 2), X)


def test_a_correlated_tilt():
    """Σ and Q do not commute: mean and covariance of the tilted Gaussian are (Σ⁻¹ + Q)⁻¹."""
    sigma, Q = sympy.Matrix([[2, 1], [1, 3]]), sympy.Matrix([[1, 0], [0, 4]]) / 5
    a, x = sympy.Matrix([1, -2]) / 3, sympy.Matrix(X[:2])
    C = (sigma.inv() + Q).inv()
    factor = sympy.exp((a.T * C * a)[0, 0] / 2) / sympy.sqrt((sympy.eye(2) + Q * sigma).det())
    tilt = sympy.exp((a.T * x)[0, 0] - (x.T * Q * x)[0, 0] / 2)
    found = gaussian_mean(X[0] * X[1] * tilt, X[:2], sigma)
    expected = factor * (C[0, 1] + (C * a)[0, 0] * (C * a)[1, 0])
    assert sympy.simplify(found - expected) == 0


def test_powers_may_be_high():
    expected = 400**2 * sympy.factorial2(797)
    assert population_agop(X[0] ** 400, X[:1])[0, 0] == expected
    assert moment((301, 3), sympy.ImmutableMatrix([[1, 1], [1, 1]])) == sympy.factorial2(303)


def test_variables_may_share_a_name():
    x = sympy.Dummy("x"), sympy.Dummy("x")
    assert population_agop(x[0] * x[1], x) == sympy.eye(2)


def test_a_covariance_may_be_symmetric_without_looking_so():
    a, b = sympy.symbols("a b", positive=True)
    agop = population_agop(X[0] * X[1], X[:2], [[1, a * (b + 1)], [a * b + a, 1]])
    assert sympy.expand(agop[0, 1] - a * b - a) == 0


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
        (("x0**2", X), TypeError, r"target = 'x0\*\*2'; an exact expression"),
        ((None, X), TypeError, "target = None; an exact expression"),
        ((sympy.Symbol("x0") ** 2, X), ValueError, "target holds a symbol x0 that is not"),
        ((sympy.nan, X), ValueError, "target = nan; finite"),
        ((sympy.oo, X), ValueError, "target = oo; finite"),
        ((X[0], X[:1], [[sympy.oo]]), ValueError, "covariance = oo; finite"),
    ],
)
def test_population_refuses_bad_input(arguments, error, message):
    with pytest.raises(error, match=message):
        population_agop(*arguments)


def test_multi_index_refuses_directions_that_do_not_fit():
    with pytest.raises(ValueError, match=r"directions have shape \(1, 2\); one row for each"):
        multi_index_agop(S * T, (S, T), [[1, 2]])
    with pytest.raises(ValueError, match=r"directions have shape \(1, 0\)"):
        multi_index_agop(S, (S,), [[]])


@pytest.mark.parametrize(
    ("direction", "error", "message"),
    [
        ([], ValueError, r"directions have shape \(1, 0\)"),
        ([sympy.nan, 1], ValueError, "direction = nan; finite"),
        ([sympy.oo, 1], ValueError, "direction = oo; finite"),
        ([sympy.I, 1], ValueError, "direction has the entry I; real"),
        (["a"], TypeError, "direction = .* no strings"),
        ([0.5], TypeError, "direction has the Float 0.5"),
    ],
)
def test_single_index_refuses_bad_directions(direction, error, message):
    with pytest.raises(error, match=message):
        single_index_agop(S**3, S, direction)


def test_an_entry_beside_the_diagonal_may_be_negative():
    agop = multi_index_agop(S * T, (S, T), [[1, 0], [0, 1]], [[2, -1], [-1, 3]])
    assert agop == sympy.Matrix([[3, -1], [-1, 2]])


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


def test_hermite_sums_of_a_jump_are_no_agop():
    """1[z > 0] has slope 0 almost everywhere; Σ p c_p², c_p = He_{p−1}(0)/√(2πp!), diverges."""
    coefficients = [0.5] + [
        special.eval_hermitenorm(p - 1, 0.0) / math.sqrt(2 * math.pi * math.factorial(p))
        for p in range(1, 120)
    ]
    sums = [float(slope_energy(coefficients[:end])) for end in (30, 60, 120)]
    assert sums[1] > 1.3 * sums[0]
    assert sums[2] > 1.3 * sums[1]


@pytest.mark.parametrize(
    "coefficients",
    [{}, {(0,): 1, (1, 1): 2}, {(-1,): 1}, {(): 1}, {(1.5,): 1}, {(HALF,): 1}, {1: 1}],
)
def test_hermite_refuses_bad_multi_indices(coefficients):
    with pytest.raises(ValueError, match="coefficients have the multi-indices"):
        hermite_agop(coefficients)


@pytest.mark.parametrize("bad", [math.nan, sympy.nan, math.inf, sympy.oo, sympy.I])
def test_hermite_refuses_coefficients_that_are_no_real_numbers(bad):
    for call in (lambda: slope_energy([0, bad]), lambda: hermite_agop({(1,): bad})):
        with pytest.raises(ValueError, match="coefficients hold"):
            call()


def test_hermite_refuses_what_is_no_number():
    for call in (lambda: slope_energy([0, "b"]), lambda: hermite_agop({(1,): "b"})):
        with pytest.raises(TypeError, match="coefficients hold 'b'"):
            call()
    with pytest.raises(TypeError, match=r"coefficients = \[1\]; a mapping"):
        hermite_agop([1])
    with pytest.raises(TypeError, match="link = 's'; an exact expression"):
        hermite_coefficients("s", (S,), 1)


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


@given(target=cubics(), U=matrices(3, 3))
@few
def test_the_basis_is_orthogonal(target, U):
    at = dict(zip(X, U * sympy.Matrix(X), strict=True))
    basis = index_space(sympy.expand(target.subs(at, simultaneous=True)), X)
    assert (basis.T * basis).is_diagonal()
    assert all(sympy.gcd_list(list(basis[:, k])) == 1 for k in range(basis.cols))


def test_directions_with_roots():
    """(√2 − 1)x + y and x + (√2 + 1)y are one direction."""
    root = sympy.sqrt(2)
    f = (root - 1) * X[0] ** 2 + 2 * X[0] * X[1] + (root + 1) * X[1] ** 2
    assert sympy.simplify(index_space(f, X) - sympy.Matrix([1, 1 + root, 0])) == sympy.zeros(3, 1)


def test_a_singular_covariance_can_hide_a_direction():
    """Under Σ ≻ 0 fails: inputs on the line x_1 = 0 do not show the slope x_1 of x_1²."""
    agop = population_agop(X[0] + X[1] ** 2, X[:2], sympy.diag(1, 0))
    assert agop == sympy.diag(1, 0)
    assert index_space(X[0] + X[1] ** 2, X[:2]).cols == 2


@pytest.mark.parametrize(
    ("polynomial", "error", "message"),
    [
        (sympy.sin(S), ValueError, r"polynomial = sin\(s\)"),
        (S * T, ValueError, "with real numbers as coefficients"),
        (0.5 * S, TypeError, "polynomial has the Float"),
        (sympy.I * S, ValueError, "with real numbers as coefficients"),
        (sympy.nan, ValueError, "polynomial = nan; finite"),
        ("s", TypeError, "polynomial = 's'; an exact expression"),
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


def test_the_gated_product_by_quadrature():
    """Every entry, from the gradient (x_1Φ, x_0Φ, x_0x_1Φ'), in three independent coordinates."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(5)
    x, w = nodes / 2, weights / weights.sum()
    a, b, z = np.meshgrid(x, x, np.linspace(-4, 4, 4001), indexing="ij")
    mass = np.multiply.outer(np.multiply.outer(w, w), np.exp(-2 * z[0, 0] ** 2))
    mass /= mass.sum()
    gate = special.ndtr(z / 0.2)
    slope = np.exp(-((z / 0.2) ** 2) / 2) / (0.2 * math.sqrt(2 * math.pi))
    rows = np.stack([b * gate, a * gate, a * b * slope]).reshape(3, -1)
    found = np.array(gated_product_agop(HALF, sympy.Rational(1, 5)).tolist(), dtype=float)
    assert found == pytest.approx((rows * mass.ravel()) @ rows.T, rel=1e-9, abs=1e-12)


def test_the_gate_is_the_largest_entry_below_a_width_of_0_124():
    """The number in the claim's notes."""
    narrow, wide = (
        gated_product_agop(HALF, sympy.Rational(n, 1000)).diagonal() for n in (124, 125)
    )
    assert narrow[2] > narrow[0]
    assert wide[2] < wide[0]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: threshold_energy(0), ValueError, "width = 0 must be positive"),
        (lambda: threshold_energy(1, -1), ValueError, "deviation = -1 must be positive"),
        (lambda: threshold_energy(0.5), TypeError, "width has the Float"),
        (lambda: gated_product_agop(0), ValueError, "deviation = 0 must be positive"),
        (lambda: gated_product_agop(1, 0), ValueError, "width = 0 must be positive"),
        (lambda: threshold_energy(sympy.oo), ValueError, "width = oo; finite"),
        (lambda: threshold_energy(1, 1, sympy.nan), ValueError, "threshold = nan; finite"),
        (lambda: threshold_energy(1, 1, sympy.I), ValueError, "threshold = I must be real"),
        (lambda: threshold_energy(1, 1, "t"), TypeError, "threshold = 't'; an exact expression"),
        (lambda: threshold_energy(None), TypeError, "width = None; an exact expression"),
    ],
)
def test_jumps_refuse_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
