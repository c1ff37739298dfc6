"""The early-time expansion: against the flow itself, its symmetries, scaling laws and refusals."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import sympy
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from numerics.alignment import two_layer
from numerics.alignment.early_flow import at_zero, early_correlations
from theory.alignment import early_derivation, early_words
from theory.alignment.activations import NAMES, Activation, activation, formula
from theory.alignment.early_symbolic import assemble, early_time_symbolic, symbolic_network
from theory.alignment.expansion import (
    EarlyTime,
    _flow,
    _Start,
    _through_jacobians,
    _through_ptk,
    correlation_slope,
    early_time,
)

ACTIVATIONS = (*NAMES, "hermite1", "hermite2", "hermite3")
NUMBERS = (
    "centred_correlation",
    "centred_slope",
    "uncentred_correlation",
    "uncentred_slope",
)
MATRICES = tuple(
    f.name for f in dataclasses.fields(EarlyTime) if f.name not in ("kink_time", "kind")
)


@dataclasses.dataclass(frozen=True)
class Net:
    X: np.ndarray
    y: np.ndarray
    W: np.ndarray
    a: np.ndarray
    activation: str
    loss: str = "mse"
    trained: bool = False

    def expand(self, **options) -> EarlyTime:
        arguments = self.X, self.y, self.W, self.a, self.activation, self.loss
        return early_time(*arguments, train_readout=self.trained, **options)

    def changed(self, **changes) -> Net:
        return dataclasses.replace(self, **changes)

    def rate(self, early: EarlyTime) -> float:
        """How fast the network changes, in inverse units of t."""
        speed = np.linalg.norm(early.velocity)
        own = np.linalg.norm(early.acceleration) / speed + speed / np.linalg.norm(self.W)
        own += np.linalg.norm(early.readout_velocity) / np.linalg.norm(self.a)
        size = np.std if early.kind == "pearson" else np.linalg.norm
        pairs = (("nfm_leading", "nfm_next"), ("agop_leading", "agop_next"))
        pairs += (("nfm", "nfm_slope"), ("agop", "agop_slope"))
        for matrix, change in pairs:  # a matrix that is small by cancellation changes fast
            own += size(getattr(early, change)) / size(getattr(early, matrix))
        return float(own)


def draw(seed, act, n=5, d=3, k=4, o=1, loss="mse", trained=False) -> Net:
    rng = np.random.default_rng(seed)
    y = rng.normal(size=(n, o))
    return Net(
        rng.normal(size=(n, d)),
        np.sign(y) if loss == "logistic" else y,
        rng.normal(size=(k, d)) / np.sqrt(d),
        rng.normal(size=(o, k)) / np.sqrt(k),
        act,
        loss,
        trained,
    )


def numbers(early: EarlyTime) -> np.ndarray:
    return np.array([getattr(early, name) for name in NUMBERS])


# --- against the flow -------------------------------------------------------------------------

sizes = st.integers(1, 6)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    act=st.sampled_from(ACTIVATIONS),
    n=sizes,
    d=sizes,
    k=sizes,
    o=st.integers(1, 3),
    logistic=st.booleans(),
    trained=st.booleans(),
    kind=st.sampled_from(["cosine", "cosine", "pearson"]),
    seed=st.integers(0, 2**31),
)
def test_limit_and_slopes_are_those_of_the_flow(act, n, d, k, o, logistic, trained, kind, seed):
    net = draw(seed, act, n, d, k, o, "logistic" if logistic and o == 1 else "mse", trained)
    assume(kind == "cosine" or d > 1)  # one entry has no Pearson correlation
    try:
        early = net.expand(kind=kind)
    except ArithmeticError:
        assume(False)
    rate = net.rate(early)
    instant = 1e-6 / max(1, rate)  # where the network changes faster than in a unit of t
    assume(early.kink_time > 10 * instant)
    step = min(0.01 / rate, early.kink_time / 10)
    times = np.union1d([instant], step * np.arange(1, 6))
    names = ["0.weight", "2.weight"] if trained else ["0.weight"]
    flow = early_correlations(
        two_layer(net.W, net.a, act), net.X, net.y, times, loss=net.loss, trained=names, kind=kind
    )
    assert abs(flow.centred[times == instant][0] - early.centred_correlation) < 1e-4
    nodes = times >= step
    for name in ("centred", "uncentred"):
        value, slope = at_zero(times[nodes], getattr(flow, name)[nodes])
        predicted = getattr(early, f"{name}_slope")
        assert value == pytest.approx(getattr(early, f"{name}_correlation"), abs=1e-6)
        assert abs(slope - predicted) < 0.01 * abs(predicted) + 1e-6 * rate


@pytest.mark.parametrize("act", ["quadratic", "hermite3", "relu"])
@pytest.mark.parametrize("o", [1, 2])
def test_symbolic_and_numeric_agree(act, o):
    rng = np.random.default_rng(10)
    tables = [
        [[sympy.Rational(int(v), 37) for v in row] for row in rng.integers(-40, 41, size=shape)]
        for shape in ((3, 2), (3, o), (2, 2), (o, 2))
    ]
    exact = early_time_symbolic(*tables, act, train_readout=True)
    floats = [np.array(table, dtype=float) for table in tables]
    early = early_time(*floats, act, train_readout=True)
    for name in MATRICES:
        expected = np.array(getattr(exact, name).evalf(30), dtype=float)
        np.testing.assert_allclose(getattr(early, name), expected, rtol=1e-11, atol=1e-13)
    expected = [float(getattr(exact, name).evalf(30)) for name in NUMBERS]
    np.testing.assert_allclose(numbers(early), expected, rtol=1e-10, atol=1e-13)


def test_an_undefined_activation_is_expanded_too():
    phi, a, w, x, y, r = sympy.Function("phi"), *sympy.symbols("a w x y r", real=True)
    early = early_time_symbolic([[x]], [y], [[w]], [a], phi)
    slope, turn = (sympy.diff(phi(r), r, i).subs(r, w * x) for i in (1, 2))
    residual = y - a * phi(w * x)
    velocity = residual * a * slope * x
    assert sympy.expand(early.velocity[0] - velocity) == 0
    rate = -((a * slope * x) ** 2) + residual * a * turn * x**2
    assert sympy.expand(early.acceleration[0] - rate * velocity) == 0


def test_the_logistic_loss_is_expanded_symbolically():
    w = sympy.Symbol("w", real=True)
    early = early_time_symbolic([[1]], [1], [[w]], [1], "linear", "logistic")
    assert sympy.simplify(early.velocity[0] - 1 / (1 + sympy.exp(w))) == 0
    slope = sympy.diff(1 / (1 + sympy.exp(w)), w)
    assert sympy.simplify(early.acceleration[0] - slope * early.velocity[0]) == 0


@pytest.mark.parametrize("loss", ["mse", "logistic"])
def test_velocity_and_acceleration_are_differences_of_the_loss(loss):
    net = draw(3, "tanh", loss=loss)

    def total(W):
        f = np.tanh(net.X @ W.T) @ net.a.T
        return {"mse": ((f - net.y) ** 2).sum() / 2, "logistic": np.logaddexp(0, -net.y * f).sum()}[
            loss
        ]

    def descent(W, h=1e-5):
        steps = h * np.eye(W.size).reshape(-1, *W.shape)
        return np.array([total(W - s) - total(W + s) for s in steps]).reshape(W.shape) / (2 * h)

    early = net.expand()
    np.testing.assert_allclose(early.velocity, descent(net.W), atol=1e-8)
    h = 1e-4
    change = (descent(net.W + h * early.velocity) - descent(net.W - h * early.velocity)) / (2 * h)
    np.testing.assert_allclose(early.acceleration, change, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("o", [1, 3])
@pytest.mark.parametrize("trained", [False, True])
def test_both_routes_to_the_products_agree(o, trained):
    net = draw(5, "erf", 7, 4, 6, o)
    start = _Start.of(net.X, net.y, net.W, net.a, "erf", "mse")
    flow = _flow(start, trained)
    one, other = (route(start, flow) for route in (_through_ptk, _through_jacobians))
    for field in dataclasses.fields(one):
        name = field.name
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-10, atol=1e-12)


# --- symmetries -------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(act=st.sampled_from(ACTIVATIONS), seed=st.integers(0, 2**31), trained=st.booleans())
def test_rotated_inputs_rotate_the_matrices_and_leave_the_numbers(act, seed, trained):
    net = draw(seed, act, o=2, trained=trained)
    Q = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    try:
        early, turned = net.expand(), net.changed(X=net.X @ Q, W=net.W @ Q).expand()
    except ArithmeticError:
        assume(False)
    scale = np.abs(early.agop_next).max()
    np.testing.assert_allclose(turned.agop_next, Q.T @ early.agop_next @ Q, atol=1e-9 * scale)
    tolerance = 1e-9 * max(1, net.rate(early))
    np.testing.assert_allclose(numbers(turned), numbers(early), atol=tolerance)


@settings(max_examples=20, deadline=None)
@given(act=st.sampled_from(ACTIVATIONS), seed=st.integers(0, 2**31))
def test_units_samples_and_outputs_have_no_order(act, seed):
    net = draw(seed, act, o=3, trained=True)
    rng = np.random.default_rng(seed)
    n, k, o = (rng.permutation(size) for size in (5, 4, 3))
    other = net.changed(X=net.X[n], y=net.y[n][:, o], W=net.W[k], a=net.a[o][:, k])
    try:
        early, shuffled = net.expand(), other.expand()
    except ArithmeticError:
        assume(False)
    tolerance = 1e-9 * max(1, net.rate(early))
    np.testing.assert_allclose(numbers(shuffled), numbers(early), atol=tolerance)


@pytest.mark.parametrize("o", [1, 2])
def test_rotated_outputs_change_nothing(o):
    net = draw(11, "tanh", o=3, trained=True)
    Q = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turned = net.changed(y=net.y @ Q, a=Q.T @ net.a)
    np.testing.assert_allclose(numbers(turned.expand()), numbers(net.expand()), rtol=1e-9)


def test_an_output_that_is_zero_and_should_be_is_no_output():
    net = draw(12, "gelu")
    wider = net.changed(y=np.c_[net.y, np.zeros(5)], a=np.r_[net.a, np.zeros((1, 4))])
    np.testing.assert_allclose(numbers(wider.expand()), numbers(net.expand()), rtol=1e-10)
    flat = net.changed(y=net.y[:, 0], a=net.a[0])
    np.testing.assert_array_equal(numbers(flat.expand()), numbers(net.expand()))


# --- scaling laws: (change, factor of both slopes) --------------------------------------------

DEGREE = {"relu": 1, "linear": 1, "quadratic": 2, "cubic": 3}


@pytest.mark.parametrize("act", ["tanh", "relu", "quadratic"])
def test_readout_and_targets_times_c_speed_up_by_c_squared(act):
    net, c = draw(13, act, o=2), 3.0
    scaled = net.changed(a=c * net.a, y=c * net.y).expand()
    factors = [1, c**2, 1, c**2]
    np.testing.assert_allclose(numbers(scaled), factors * numbers(net.expand()), rtol=1e-9)


@pytest.mark.parametrize("act", DEGREE)
def test_homogeneous_networks_only_change_their_clock(act):
    net, c, p = draw(14, act, o=2), 1.7, DEGREE[act]
    early = numbers(net.expand())
    data = net.changed(X=c * net.X, y=c**p * net.y).expand()
    np.testing.assert_allclose(numbers(data), [1, c ** (2 * p), 1, c ** (2 * p)] * early, rtol=1e-8)
    weights = net.changed(W=c * net.W, y=c**p * net.y).expand()
    clock = c ** (2 * p - 2)
    np.testing.assert_allclose(numbers(weights), [1, clock, 1, clock] * early, rtol=1e-8)


def test_every_sample_twice_doubles_the_speed():
    net = draw(15, "erf", trained=True)
    twice = net.changed(X=np.r_[net.X, net.X], y=np.r_[net.y, net.y]).expand()
    np.testing.assert_allclose(numbers(twice), [1, 2, 1, 2] * numbers(net.expand()), rtol=1e-9)


@pytest.mark.parametrize("case", [draw(16, "tanh", n=1), draw(17, "linear", n=6)])
def test_one_sample_or_a_linear_scalar_network_aligns_at_once(case):
    early = case.expand()
    assert early.centred_correlation == pytest.approx(1, abs=1e-12)
    assert early.centred_slope == pytest.approx(0, abs=1e-9)


def test_second_derivatives_are_twice_the_leading_coefficients():
    early = draw(18, "erf").expand()
    np.testing.assert_array_equal(
        early.nfm_second_derivative, 2 * early.velocity.T @ early.velocity
    )
    np.testing.assert_array_equal(early.agop_second_derivative, 2 * early.agop_leading)


def test_for_several_outputs_the_form_with_a_diagonal_of_residuals_is_wrong():
    """With Σ_c r_αc on the diagonal and Σ_c ⟨k_αc, k_βc⟩ in 𝒦; with blocks it is right."""
    net = draw(19, "tanh", o=2)
    f, slope = np.tanh(net.X @ net.W.T) @ net.a.T, 1 - np.tanh(net.X @ net.W.T) ** 2
    r, J = net.y - f, slope[:, None] * net.a
    R = np.diag(r.sum(axis=1))
    summed = np.einsum("aci,bci->ab", J, J)
    true = net.expand().nfm_leading
    assert np.linalg.norm(net.X.T @ R @ summed @ R @ net.X - true) > 0.1 * np.linalg.norm(true)
    blocks = np.einsum("ac,bd,aci,bdi->ab", r, r, J, J)
    np.testing.assert_allclose(net.X.T @ blocks @ net.X, true, rtol=1e-10)


def test_the_kink_time_is_where_a_preactivation_arrives_first():
    early = early_time([[1.0]], [0.0], [[2.0], [3.0]], [1.0, 1.0], "relu")
    np.testing.assert_array_equal(early.velocity, [[-5.0], [-5.0]])
    assert early.kink_time == 2 / 5
    assert draw(20, "tanh").expand().kink_time == np.inf


def test_the_slope_of_a_correlation_is_a_difference_quotient():
    rng = np.random.default_rng(0)
    A, B, dA, dB = rng.normal(size=(4, 3, 3))
    h = 1e-6
    for kind in ("cosine", "pearson"):
        centre = (lambda M: M - M.mean()) if kind == "pearson" else (lambda M: M)

        def rho(t, centre=centre):
            a, b = centre(A + t * dA), centre(B + t * dB)
            return np.vdot(a, b) / np.linalg.norm(a) / np.linalg.norm(b)

        found = correlation_slope(A, B, dA, dB, kind)
        assert found == pytest.approx((rho(h) - rho(-h)) / (2 * h), rel=1e-7)


# --- activations ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*NAMES, "hermite0", "hermite1", "hermite2", "hermite7"])
def test_activations_and_derivatives_are_those_of_the_formula(name):
    expression, z = formula(name)
    points = np.array([-3.1, -0.4, 0.7, 2.2])
    phi = activation(name)
    for order, function in enumerate((phi.value, phi.first, phi.second)):
        derivative = sympy.diff(expression, z, order) if order else expression
        derivative = derivative.replace(sympy.DiracDelta, lambda *_: sympy.S.Zero)
        expected = [float(derivative.subs(z, sympy.Rational(str(p))).evalf(30)) for p in points]
        np.testing.assert_allclose(function(points), expected, rtol=1e-13, atol=1e-14)


def test_far_out_nothing_overflows():
    far = np.array([-800.0, 800.0])
    np.testing.assert_array_equal(activation("softplus").value(far), [0, 800])
    np.testing.assert_array_equal(activation("tanh").first(far), [0, 0])
    assert np.isfinite(activation("hermite900").value(np.array([1.0]))).all()


def test_an_own_activation_is_used():
    own = Activation("own", np.sin, np.cos, lambda z: -np.sin(z))
    half = sympy.Rational(1, 2)
    table = [[1, 2]], [half], [[half, 1]], [2]
    early = early_time([[1, 2]], [0.5], [[0.5, 1]], [2], own)
    exact = early_time_symbolic(*table, sympy.sin)
    expected = np.array(exact.acceleration.evalf(20), dtype=float)
    np.testing.assert_allclose(early.acceleration, expected, rtol=1e-12)
    assert early.kink_time == np.inf


# --- derivations and words --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["factorisation", "early_time", "early_series"])
def test_derivations_hold(name):
    results = getattr(early_derivation, f"derive_{name}")().check()
    assert [r.idea for r in results if not r.holds] == []


def test_words_are_transposed_and_differentiated():
    J, Jt, K, W, V, Vt = (getattr(early_words, n) for n in ("J", "Jt", "K", "W", "V", "Vt"))
    assert early_words.transpose(3 * Vt * K**2 * W + J) == 3 * early_words.Wt * K**2 * V + Jt
    rate = early_words.differentiate(J * Jt, {J: early_words.J_DOT, Jt: early_words.J_DOT_T})
    assert rate == early_words.J_DOT * Jt + J * early_words.J_DOT_T


def test_what_is_no_word_is_refused():
    K = early_words.K
    at = {K: np.eye(2), early_words.INNER: 2}
    assert (
        early_words.evaluate(K**2 / early_words.INNER, {**at, early_words.INNER: 2.0})[0, 0] == 0.5
    )
    with pytest.raises(ValueError, match="exponent of a matrix must be at least 1"):
        early_words.evaluate(K**-1, at)
    with pytest.raises(ValueError, match="cannot be evaluated"):
        early_words.evaluate(sympy.sqrt(early_words.INNER), at)
    with pytest.raises(KeyError):
        early_words.evaluate(early_words.W, at)


def test_a_wrong_formula_changes_what_is_assembled():
    net = symbolic_network([[1, 2]], [1], [[1, 0], [2, 1]], [1, 2], "quadratic")
    wrong = {**early_words.FORMULAS, "ptk_dot": 0 * early_words.K + early_words.PTK}
    right, mutant = (assemble(net, f)["agop_next"] for f in (early_words.FORMULAS, wrong))
    assert (right != mutant).all()


def test_importing_the_numeric_expansion_loads_neither_sympy_nor_torch():
    code = (
        "import sys, theory.alignment.expansion as m; m.early_time([[1.]], [1.], [[2.]], [1.], "
        "'tanh'); sys.exit(bool({'sympy', 'torch', 'flint', 'matplotlib'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- refusals ---------------------------------------------------------------------------------

X, Y, W, A = [[1.0, 0.0], [1.0, 1.0]], [1.0, 2.0], [[1.0, 0.5], [0.5, 1.0]], [1.0, 1.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[1.0]], Y, W, A, "tanh"), r"X \(1, 1\), y \(2, 1\).*do not fit"),
        ((X, [1.0, 2.0, 3.0], W, A, "tanh"), r"y \(3, 1\).*do not fit"),
        ((X, Y, W, [1.0], "tanh"), r"readout \(1, 1\) do not fit"),
        ((X, Y, [1.0, 0.5], A, "tanh"), r"weights \(2,\).*allowed: \(n, d\)"),
        ((X, Y, [[np.nan, 1.0], [1.0, 1.0]], A, "tanh"), "weights holds nan"),
        (([[np.inf, 0.0], [1.0, 1.0]], Y, W, A, "tanh"), "X holds inf"),
        ((X, Y, W, A, "sigmoid"), "activation = 'sigmoid'; allowed: relu, erf"),
        ((X, Y, W, A, "tanh", "hinge"), "loss = 'hinge' must be one of mse, logistic"),
        ((X, Y, W, A, "tanh", "logistic"), "labels ±1"),
        ((X, Y, [[0.0, 0.5], [0.5, 1.0]], A, "relu"), "sample 0, unit 0 is 0.*relu has no deriv"),
        ((np.zeros((0, 2)), [], W, A, "tanh"), "at least one entry"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        early_time(*arguments)


def test_other_types_and_kinds_are_refused():
    with pytest.raises(TypeError, match="activation = 3 must be a name"):
        early_time(X, Y, W, A, 3)
    with pytest.raises(TypeError, match="X has dtype"):
        early_time([["a", "b"]], Y, W, A, "tanh")
    with pytest.raises(ValueError, match="kind = 'spearman'"):
        early_time(X, Y, W, A, "tanh", kind="spearman")
    with pytest.raises(ValueError, match="dA, dB have shapes"):
        correlation_slope([1, 2], [2, 1], [1], [1, 1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((X, [1.5, 3.0], W, A, "linear"), "all residuals y - f are 0"),
        ((X, Y, -np.array(W), A, "relu"), "every relu unit is dead on every sample"),
        ((X, Y, W, [0.0, 0.0], "tanh"), "the readout is 0"),
        (([[1.0], [-1.0]], [1.0, 1.0], [[1.0]], [1.0], "quadratic"), "residuals"),
        (([[1.0], [-1.0]], [2.0, 2.0], [[1.0]], [1.0], "hermite0"), "φ' = 0"),
        (
            ([[1.0], [1.0]], [3.0, -1.0], [[1.0]], [1.0], "linear"),
            "gradients of the samples cancel",
        ),
    ],
)
def test_where_nothing_moves_the_limit_does_not_exist(arguments, message):
    with pytest.raises(ArithmeticError, match=message):
        early_time(*arguments)


def test_lost_digits_are_refused():
    with pytest.raises(ArithmeticError, match="nfm_leading leaves the range of doubles"):
        early_time([[1e-150]], [1.0], [[1e-60]], [1e-60], "linear")


def test_the_uncentred_correlation_is_refused_where_there_is_none():
    early = early_time(X, Y, np.zeros((2, 2)), A, "tanh")
    assert 0 < early.centred_correlation <= 1
    with pytest.raises(ValueError, match="WᵀW = 0 at t = 0"):
        _ = early.uncentred_correlation
    orthogonal = early_time([[1.0, 0.0]], [1.0], [[0.0, 1.0]], [1.0], "tanh")
    with pytest.raises(ValueError, match="no uncentred correlation"):
        _ = early_time(X, Y, np.zeros((2, 2)), A, "tanh").uncentred_slope
    assert orthogonal.uncentred_correlation == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[0.5]], [1], [[1]], [1], "tanh"), "X holds 0.5"),
        (([[1, 2]], [1], [[1]], [1], "tanh"), "do not fit"),
        (([1, 2], [1], [[1]], [1], "tanh"), r"allowed: \(n, d\), \(k, d\)"),
        (([[1]], [1], [[1]], [1], "tanh", "hinge"), "loss = 'hinge'"),
        (([[1]], [2], [[1]], [1], "tanh", "logistic"), "labels ±1"),
    ],
)
def test_symbolic_input_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        early_time_symbolic(*arguments)
    with pytest.raises(ArithmeticError, match="Ẇ = 0"):
        early_time_symbolic([[1]], [2], [[2]], [1], "linear")


def test_extrapolation_is_exact_for_polynomials_and_refuses_the_rest():
    t = np.array([0.1, 0.2, 0.3, 0.5])
    assert at_zero(t, 2 - 3 * t + t**3) == pytest.approx((2, -3), rel=1e-12)
    with pytest.raises(ValueError, match="at least 2 distinct times"):
        at_zero([0.1, 0.1], [1.0, 2.0])


def test_residuals_that_are_rounding_errors_are_no_residuals():
    """Fitted targets, computed in another order: the residuals are not all 0, but mean nothing."""
    net = draw(0, "tanh")
    units = [[np.tanh(sum(w * x)) for w in net.W] for x in net.X]
    fitted = np.array([[sum(a * u for a, u in zip(net.a[0], row, strict=True))] for row in units])
    y = fitted * (1 + np.finfo(float).eps)
    assert (y != np.tanh(net.X @ net.W.T) @ net.a.T).any()
    with pytest.raises(ArithmeticError, match="residuals y - f are 0 up to rounding"):
        net.changed(y=y).expand()
