"""The closed-form object against formulas written out again, and traps it must not fall into."""

from __future__ import annotations

import math
import pickle
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
import sympy
from flint import arb, ctx, fmpq
from hypothesis import given, settings
from hypothesis import strategies as st

from theory.closed_form import ClosedForm, balls, panels
from theory.closed_form.jets import has_jets
from theory.closed_form.program import _FUNCTIONS

s = sympy.Symbol("s", positive=True)
k = sympy.Symbol("k", positive=True)
x = sympy.Symbol("x", real=True)
oo = sympy.oo
REALS = (-oo, oo)

LAPLACE = ClosedForm("laplace", sympy.coth(s) / s - sympy.csch(s) ** 2, s, (0, oo))
_TAU = sympy.tanh(s / 2) / (s / 2)
LAPLACE_BIAS = ClosedForm("bias", 1 - 3 * _TAU / 2 + sympy.sech(s / 2) ** 2 / 2, s, (0, oo))
_K, _K_PRIME, _E = sympy.elliptic_k(k**2), sympy.elliptic_k(1 - k**2), sympy.elliptic_e(k**2)
GAUSSIAN = ClosedForm(
    "gaussian",
    sympy.sqrt(sympy.pi / ((1 + k) * _K_PRIME)) / 2 * (1 + (_K - _E) / (k * _K)),
    k,
    (0, 1),
)
EXP = ClosedForm("exp", sympy.exp(-x), x, REALS)


def form(expression: sympy.Expr, domain: Any = REALS, variable: sympy.Symbol = x) -> ClosedForm:
    return ClosedForm("form", expression, variable, domain)


def context(digits: int) -> Any:
    found = mpmath.MPContext()
    found.dps = digits
    return found


def laplace(point: float | Fraction, digits: int = 60) -> Any:
    """The variance through u = exp(−2s), with digits to spare for the cancellation at small s."""
    exact = Fraction(point)
    mp = context(digits + 4 * max(0, -math.floor(math.log10(exact))) + 20)
    argument = mp.mpf(exact.numerator) / exact.denominator
    u = mp.exp(-2 * argument)
    return (1 + u) / (1 - u) / argument - 4 * u / (1 - u) ** 2


def rounded(value: Any) -> float:
    """Round an mpf to the nearest double through integers, subnormals included."""
    return float(as_fraction(value))


def as_fraction(value: Any) -> Fraction:
    sign, mantissa, exponent, _ = value._mpf_
    return (-1) ** sign * Fraction(int(mantissa)) * Fraction(2) ** exponent


def ulps(found: np.ndarray, points: np.ndarray, of: ClosedForm) -> float:
    truth = np.array([of(float(point)) for point in points.ravel()]).reshape(points.shape)
    return float(np.max(np.abs(found - truth) / np.spacing(np.abs(truth))))


# Scalars


@given(st.floats(-300, 300))
@settings(max_examples=60, deadline=None)
def test_laplace_is_correctly_rounded(exponent: float) -> None:
    point = 10.0**exponent
    assert LAPLACE(point) == rounded(laplace(point))


@pytest.mark.parametrize("point", [1e-8, 1e-150, 1e-300, 0.25, 1.0, 700, 1e300, 5e-324])
def test_laplace_where_naive_formulas_cancel_or_overflow(point: float) -> None:
    assert LAPLACE(point) == rounded(laplace(point))


def test_a_neighbouring_double_would_be_noticed() -> None:
    wrong = math.nextafter(LAPLACE(1e-8), 1)
    assert wrong != rounded(laplace(1e-8))


@pytest.mark.parametrize("modulus", [1e-200, 1e-300, Fraction(1, 2), 0.9, 1 - Fraction(1, 10**200)])
def test_gaussian_elliptic_form_at_both_ends(modulus: float | Fraction) -> None:
    mp = context(1300)
    exact = Fraction(modulus)
    r = mp.mpf(exact.numerator) / exact.denominator

    def quarter(complement: Any) -> Any:
        return mp.pi / (2 * mp.agm(1, complement))

    K, K_prime = quarter(mp.sqrt(1 - r * r)), quarter(r)
    E = mp.ellipe(r * r)
    value = mp.sqrt(mp.pi / ((1 + r) * K_prime)) / 2 * (1 + (K - E) / (r * K))
    assert GAUSSIAN(modulus) == rounded(value)


@given(st.floats(-745.2, 709.7))
@settings(max_examples=50, deadline=None)
def test_subnormals_and_underflow(argument: float) -> None:
    mp = context(60)
    assert EXP(-argument) == rounded(mp.exp(mp.mpf(argument)))


def test_underflow_is_zero_and_overflow_is_refused() -> None:
    assert EXP(746) == 0.0
    assert math.copysign(1, form(-sympy.exp(-x))(1000)) == 1
    with pytest.raises(OverflowError, match="exp at -710"):
        EXP(-710)


@pytest.mark.parametrize(
    ("expression", "argument", "value"),
    [
        (x, 1 + Fraction(1, 2**53), 1.0),
        (x, 1 + Fraction(3, 2**53), 1 + 2.0**-51),
        (x / 3, 3 + Fraction(3, 2**53), 1.0),
        (sympy.sqrt(x), (1 + Fraction(1, 2**53)) ** 2, 1.0),
        (sympy.sin(x) ** 2 + sympy.cos(x) ** 2 + sympy.Rational(3, 2**53), 1, 1 + 2.0**-51),
        (x, Fraction(1, 2**1075), 0.0),
        (x, Fraction(3, 2**1075), 2.0**-1073),
    ],
)
def test_ties_go_to_even(expression: sympy.Expr, argument: Any, value: float) -> None:
    assert form(expression)(argument) == value


def test_an_undecided_tie_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(balls, "LARGEST_PRECISION", 512)  # too little to call in SymPy
    with pytest.raises(ArithmeticError, match="form at 1: undecided"):
        form(sympy.sin(x) ** 2 + sympy.cos(x) ** 2 + sympy.Rational(1, 2**53))(1)


def test_arguments_are_taken_exactly() -> None:
    identity = form(x)
    with ctx.workprec(200):
        tenth = fmpq(1, 10)
        assert not arb(0.1).contains(tenth)
        assert not identity.ball(0.1, 200).contains(tenth)
        assert identity.ball("0.1", 200).contains(tenth)
        assert identity.ball("1/10", 200).contains(tenth)
    same = [2, 2.0, Fraction(2), "2", "4/2", np.float64(2), np.float32(2), np.int32(2)]
    assert {LAPLACE(v) for v in (*same, np.longdouble(2), sympy.Integer(2))} == {LAPLACE(2)}
    assert form(3 * x - 1)(1 / 3) != 0.0
    assert form(3 * x - 1)("1/3") == 0.0


@pytest.mark.parametrize("bad", [0, -1.5, "-1/3", math.inf, math.nan, "-inf", "1/0", "two", ""])
def test_values_outside_the_domain_are_refused(bad: Any) -> None:
    for call in (LAPLACE, LAPLACE.ball, lambda v: LAPLACE.mp(v, 20)):
        with pytest.raises(ValueError, match=r"^s = "):
            call(bad)


@pytest.mark.parametrize("bad", [True, 1j, None, [1.0], b"1"])
def test_types_that_are_no_real_numbers_are_refused(bad: Any) -> None:
    with pytest.raises(TypeError, match=r"s = .* allowed"):
        LAPLACE(bad)


def test_irrational_ends_are_compared_exactly() -> None:
    arc = form(sympy.sin(x), (0, sympy.pi))
    below = math.pi  # the double is below π
    assert arc(below) > 0
    with pytest.raises(ValueError, match=r"0 < x < pi"):
        arc(math.nextafter(below, 4))
    found = arc(np.full(40, below))
    assert found[0] == arc(below)
    with pytest.raises(ValueError, match=r"x\[1\]"):
        arc(np.array([1.0, math.nextafter(below, 4)]))


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        (x * sympy.Float("0.1"), "Float atom"),
        (x * 0.5, "Float atom"),
        (x + s, "free symbol s"),
        (sympy.Function("f")(x), "cannot evaluate f"),
        (sympy.Heaviside(x), "cannot evaluate"),
        (sympy.I * x, "cannot evaluate"),
    ],
)
def test_expressions_that_cannot_be_trusted_are_refused(
    expression: sympy.Expr, reason: str
) -> None:
    with pytest.raises(TypeError, match=reason):
        form(expression)


def test_one_third_is_not_a_float() -> None:
    with ctx.workprec(300):
        assert form(x / 3).ball(1, 300).contains(fmpq(1, 3))
        assert not form(x * sympy.Rational(1 / 3)).ball(1, 300).contains(fmpq(1, 3))


# Every function, in balls, in mpmath and in power series

_POINTS = {"acosh": Fraction(7, 5), "zeta": Fraction(7, 2)}
_EXTRAS = {
    "general power": x**x,
    "root": x ** sympy.Rational(5, 3),
    "inverse root": x ** sympy.Rational(-1, 3),
    "inverse square root": x ** sympy.Rational(-3, 2),
    "constants": sympy.pi + sympy.E * x + sympy.EulerGamma + sympy.Catalan,
    "algebraic": x * sympy.CRootOf(sympy.Symbol("y") ** 5 - sympy.Symbol("y") - 1, 0),
    "Hurwitz": sympy.zeta(3, x),
}
_ALL = {name: function(x) for function, name in _FUNCTIONS.items()} | _EXTRAS


@pytest.mark.parametrize("name", sorted(_ALL))
def test_balls_and_mpmath_agree_to_fifty_digits(name: str) -> None:
    of, point = form(_ALL[name], (0, 10)), _POINTS.get(name, Fraction(2, 5))
    with ctx.workprec(220):
        ball, value = of.ball(point, 220), balls.ball_of(as_fraction(of.mp(point, 50)))
        # A wide ball overlaps everything: the ball has to be narrow as well as near.
        assert ball.rel_accuracy_bits() > 180
        assert abs(ball - value) < abs(ball) * arb(10) ** -49


@pytest.mark.parametrize("name", sorted(n for n in _ALL if has_jets(form(_ALL[n])._program)))
@pytest.mark.parametrize("sign", [1, -1])
def test_taylor_coefficients_are_derivatives(name: str, sign: int) -> None:
    point = _POINTS.get(name, Fraction(2, 5)) if sign > 0 else Fraction(-2, 5)
    if sign < 0 and not sympy.sympify(_ALL[name]).subs(x, sympy.Rational(-2, 5)).is_real:
        expression = _ALL[name].subs(x, -x)  # no real value at a negative point: mirror
    else:
        expression = _ALL[name]
    of = form(expression)
    assert of._jets is not None
    with ctx.workprec(200):
        terms = of._jets(balls.ball_of(point), 4)
    for order in (0, 1, 2, 3):
        try:
            derivative = form(expression.diff(x, order) / math.factorial(order))
        except TypeError:  # polygamma and the like
            continue
        with ctx.workprec(200):
            difference = terms[order] - derivative.ball(point, 200)
            assert abs(difference) < arb(10) ** -40


# Arrays


@pytest.mark.parametrize("of", [LAPLACE, LAPLACE_BIAS], ids=lambda of: of.name)
@given(exponent=st.floats(-9, 5), spread=st.floats(1e-3, 1.0))
@settings(max_examples=8, deadline=None)
def test_arrays_are_within_four_ulp(of: ClosedForm, exponent: float, spread: float) -> None:
    points = 10.0**exponent * (1 + spread * np.linspace(0, 1, 300).reshape(3, 100))
    assert ulps(of(points), points, of) <= 4


@pytest.mark.parametrize(
    ("of", "lo", "hi"),
    [
        (EXP, -2.0, -1.99),  # negative arguments
        (EXP, 744.0, 746.0),  # subnormal values
        (EXP, 1000.0, 1001.0),  # every value is 0
        (form(sympy.log(x), (0, oo)), 0.99, 1.01),  # a zero of f
        (form(sympy.log(x) / (1 - x), (0, 1)), 0.99, 1 - 1e-9),  # next to the edge
        (GAUSSIAN, 0.45, 0.55),
    ],
    ids=str,
)
def test_arrays_in_awkward_places(of: ClosedForm, lo: float, hi: float) -> None:
    points = np.linspace(lo, hi, 400)
    assert ulps(of(points), points, of) <= 4


def test_panels_are_really_used_and_a_wrong_one_is_noticed() -> None:
    of = form(sympy.tanh(x))
    points = np.linspace(1, 1.1, 500)
    of(points)
    table = of._panels
    assert len(table.rows) == 1
    table.rows[0][3] *= 1 + 1e-13  # the coefficient of t
    table.freeze()
    assert ulps(of(points), points, of) > 4


def test_panels_refuse_bad_polynomials() -> None:
    t = panels.TESTS
    assert panels.is_good([1.0, 0.25, *[0.0] * 10], t, 1 + t / 4)
    assert not panels.is_good([1.0, 0.25, *[0.0] * 10], t, (1 + t / 4) * (1 + 1e-15))
    assert not panels.is_good([1.0, 0.75, *[0.0] * 10], t, 1 + 0.75 * t)


def test_arrays_depend_on_their_content_only() -> None:
    points, fresh = np.linspace(1, 1.1, 100), LAPLACE.replace_expression(LAPLACE.expression)
    few = fresh(points[:5])
    fresh(points)
    assert np.array_equal(fresh(points[:5]), few)


def test_shapes_and_dtypes() -> None:
    assert LAPLACE(np.ones((2, 0, 3))).shape == (2, 0, 3)
    assert LAPLACE(np.array(1.0)).shape == ()
    assert LAPLACE(np.ones((2, 3), dtype=np.float32)).dtype == np.float64
    assert LAPLACE(np.array([[1, 2]])).tolist() == [[LAPLACE(1), LAPLACE(2)]]
    assert LAPLACE(np.arange(1.0, 9.0)[::2]).tolist() == [LAPLACE(v) for v in (1, 3, 5, 7)]


@pytest.mark.parametrize("bad", [math.nan, math.inf, 0.0, -2.0, -math.inf])
def test_the_first_bad_element_is_named(bad: float) -> None:
    points = np.ones((3, 4))
    points[1, 2] = points[2, 0] = bad
    with pytest.raises(ValueError, match=rf"s\[1, 2\] = {bad} .*0 < s < oo"):
        LAPLACE(points)


def test_arrays_that_are_not_doubles_are_refused() -> None:
    with pytest.raises(ValueError, match=r"s\[0\] = 9007199254740993"):
        LAPLACE(np.array([2**53 + 1]))
    for dtype in (complex, object, np.longdouble, bool):
        with pytest.raises(TypeError, match="dtype"):
            LAPLACE(np.ones(3, dtype=dtype))


# mpmath


@given(st.floats(-20, 20), st.integers(1, 80))
@settings(max_examples=30, deadline=None)
def test_mpmath_digits(exponent: float, digits: int) -> None:
    point = 10.0**exponent
    truth, found = laplace(point, digits + 20), LAPLACE.mp(point, digits)
    assert abs(found - truth) <= abs(truth) * mpmath.mpf(10) ** -digits
    assert isinstance(found, mpmath.mpf)


def test_mpmath_leaves_the_global_precision_alone() -> None:
    before = mpmath.mp.prec, ctx.prec, ctx.cap
    assert mpmath.libmp.libmpf.bitcount(LAPLACE.mp(1, 100).man_exp[0]) > 300
    LAPLACE.enclose(1, 2)
    LAPLACE(np.linspace(1, 1.1, 50))
    assert (mpmath.mp.prec, ctx.prec, ctx.cap) == before


@pytest.mark.parametrize("digits", [0, -3, 2.5])
def test_mpmath_refuses_silly_precisions(digits: Any) -> None:
    with pytest.raises(ValueError, match="dps"):
        LAPLACE.mp(1, digits)


# Enclosures


def is_tight(range_ball: Any, lower: Any, upper: Any, rtol: float) -> bool:
    """The ball contains [lower, upper] and exceeds it by at most rtol of the largest value."""
    with ctx.workprec(300):
        excess = (lower - range_ball.lower()) + (range_ball.upper() - upper)
        size = arb(max(abs(lower), abs(upper)))
        inside = range_ball.lower() <= lower.upper() and range_ball.upper() >= upper.lower()
        return bool(inside and excess <= size * arb(rtol) * 1.001)


@given(st.floats(-8, 4), st.floats(1e-6, 3), st.sampled_from([2.0**-20, 2.0**-12]))
@settings(max_examples=12, deadline=None)
def test_laplace_ranges_are_tight(exponent: float, width: float, rtol: float) -> None:
    lo = 10.0**exponent
    hi = lo * (1 + width)
    found = LAPLACE.enclose(lo, hi, rtol)  # the variance decreases
    assert is_tight(found, LAPLACE.ball(hi, 300), LAPLACE.ball(lo, 300), rtol)
    assert all(found.contains(LAPLACE.ball(lo + t * (hi - lo), 300)) for t in (0.1, 0.5, 0.9))


def test_enclosures_survive_cancellation() -> None:
    found = LAPLACE.enclose(1e-8, 2e-8)
    assert found.contains(LAPLACE.ball(1.5e-8, 300))
    assert found.rad() < 1e-6
    with ctx.workprec(128):  # the formula on the whole interval knows nothing
        naive = LAPLACE.ball(arb(1.5e-8, 0.5e-8))
    assert not naive.rad() < 1


@pytest.mark.parametrize(
    ("expression", "lo", "hi", "lower", "upper"),
    [
        (x * sympy.exp(-x), Fraction(1, 2), 3, 3 * sympy.exp(-3), sympy.exp(-1)),
        ((x - 1) ** 2, 0, "2.5", sympy.Integer(0), sympy.Rational(9, 4)),
        (sympy.sin(x), -10, 10, sympy.Integer(-1), sympy.Integer(1)),
        (x ** sympy.Rational(1, 3) - x, "0.1", 1, sympy.Integer(0), 2 * sympy.sqrt(3) / 9),
        (x**3, -2, 1, sympy.Integer(-8), sympy.Integer(1)),
        (sympy.pi + 0 * x, 0, 1, sympy.pi, sympy.pi),
        (sympy.elliptic_k(x), "0.1", "0.1001", None, None),
    ],
)
def test_ranges_with_inner_extrema(
    expression: sympy.Expr, lo: Any, hi: Any, lower: sympy.Expr, upper: sympy.Expr
) -> None:
    of = form(expression)
    lower, upper = (
        of.ball(end, 300) if value is None else form(value).ball(0, 300)
        for end, value in ((lo, lower), (hi, upper))
    )
    rtol = 2**-20 if of._jets else 2**-12
    assert is_tight(of.enclose(lo, hi, rtol), lower, upper, rtol)


def test_a_range_that_cannot_be_reached_is_not_returned() -> None:
    with pytest.raises(ArithmeticError, match=r"not reached with .* pieces; proved"):
        LAPLACE.enclose(1, 2, 2**-60)  # a ball's radius has 30 bits
    with pytest.raises(ArithmeticError, match="bits cancel, too many"):
        LAPLACE.enclose(1e-300, 2e-300)
    with pytest.raises(ArithmeticError, match="fewer than"):
        form(sympy.sin(x) ** 2 + sympy.cos(x) ** 2 - 1).enclose(1, 2)


@pytest.mark.parametrize(
    ("lo", "hi", "rtol"), [(2, 1, 0.1), (1, 2, 0), (1, 2, math.nan), (0, 1, 0.1), (1, "inf", 0.1)]
)
def test_bad_intervals_are_refused(lo: Any, hi: Any, rtol: float) -> None:
    with pytest.raises(ValueError, match=r"lo|hi"):
        LAPLACE.enclose(lo, hi, rtol)


def test_a_ball_has_to_lie_in_the_domain() -> None:
    with pytest.raises(ValueError, match="not wholly inside"):
        LAPLACE.ball(arb(1, 2))
    wide = LAPLACE.ball(arb(1, 0.01))
    assert wide.contains(LAPLACE.ball(1.0, 300))
    assert wide.rad() > 1e-4


# The object


def test_compose_and_replace() -> None:
    c = sympy.Symbol("c", positive=True)
    by_bandwidth = LAPLACE.compose(1 / c, c, (0, oo), "by bandwidth")
    assert by_bandwidth(4) == LAPLACE(0.25)
    assert by_bandwidth.name == "by bandwidth"
    assert LAPLACE.compose(1 / c, c, (0, oo)).name == "laplace"
    mutant = LAPLACE.replace_expression(sympy.coth(s) / s + sympy.csch(s) ** 2)
    assert mutant(1) != LAPLACE(1)
    assert (mutant.name, mutant.domain) == (LAPLACE.name, LAPLACE.domain)


def test_latex_and_pickle() -> None:
    assert LAPLACE.latex() == sympy.latex(LAPLACE.expression)
    LAPLACE(np.linspace(1, 1.1, 50))  # compiled functions and panels do not travel
    copy = pickle.loads(pickle.dumps(LAPLACE))
    assert copy(0.3) == LAPLACE(0.3)
    assert copy.source == "this project"
