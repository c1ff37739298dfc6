"""The Gaussian's elliptic functions against flint's and mpmath's, and against sums of Gaussians."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
import sympy
from flint import acb, arb, ctx
from hypothesis import given, settings
from hypothesis import strategies as st

from theory import theta
from theory.closed_form import ClosedForm, balls
from theory.theta import (
    ComplementaryQuarterPeriod,
    EllipticDeficit,
    EllipticDeficitRatio,
    EllipticModulus,
    QuarterPeriod,
)

c = sympy.Symbol("c", positive=True)
k, K_PRIME = EllipticModulus(c), ComplementaryQuarterPeriod(c)
RATIO = EllipticDeficitRatio(c)
CLASSES = [
    EllipticModulus,
    QuarterPeriod,
    ComplementaryQuarterPeriod,
    EllipticDeficit,
    EllipticDeficitRatio,
]


def form(expression: sympy.Expr) -> ClosedForm:
    return ClosedForm("gaussian", expression, c, (0, sympy.oo))


VARIANCE = form(sympy.sqrt(sympy.pi / ((1 + k) * K_PRIME)) / 2 * (1 + RATIO))
VARIANCE_BY_DEFICIT = form(
    sympy.sqrt(sympy.pi / ((1 + k) * K_PRIME)) / 2 * (1 + EllipticDeficit(c) / k)
)
BIAS = form(1 - sympy.sqrt(2 * sympy.pi / K_PRIME) + sympy.sqrt(sympy.pi * (1 + k) / K_PRIME) / 2)


def context(digits: int) -> Any:
    found = mpmath.MPContext()
    found.dps = digits
    return found


def as_fraction(value: Any) -> Fraction:
    sign, mantissa, exponent, _ = value._mpf_
    return (-1) ** sign * Fraction(int(mantissa)) * Fraction(2) ** exponent


def gaussian_sum(mp: Any, a: Any, theta: Any) -> Any:
    """Σ_l exp(−a(θ+l)²) over all integers l, term by term."""
    reach = int(mp.sqrt(mp.dps * 2.5 / a)) + 3
    return mp.fsum(mp.exp(-a * (theta + l) ** 2) for l in range(-reach, reach + 1))  # noqa: E741


def brute_bias(mp: Any, bandwidth: float) -> Any:
    """B = 1 − 2 r_0 + Σ r_l² at θ = 0 from its definition; Poisson summation for narrow kernels."""
    a = 2 * (mp.pi * mp.mpf(bandwidth)) ** 2

    def total(rate: Any) -> Any:
        if rate > 1:
            return gaussian_sum(mp, rate, 0)
        return mp.sqrt(mp.pi / rate) * gaussian_sum(mp, mp.pi**2 / rate, 0)

    return 1 - 2 / total(a) + total(2 * a) / total(a) ** 2


def brute_variance(mp: Any, bandwidth: float, points: int) -> Any:
    """V = ∫₀¹ Σ_l r_l(θ)² dθ from its definition; equidistant points are exact to many digits."""
    a = 2 * (mp.pi * mp.mpf(bandwidth)) ** 2
    nodes = [mp.mpf(j) / points for j in range(points)]
    terms = (gaussian_sum(mp, 2 * a, t) / gaussian_sum(mp, a, t) ** 2 for t in nodes)
    return mp.fsum(terms) / points


# The functions


@pytest.mark.parametrize("bandwidth", [0.06, 0.1, 0.3, 0.399, 0.4, 0.41, 0.7, 1.0, 2.0])
def test_definitions_through_flints_elliptic_integrals(bandwidth: float) -> None:
    with ctx.workprec(1500):
        modulus, quarter, complement, deficit, ratio = (f._arb(arb(bandwidth)) for f in CLASSES)
        K = acb(modulus**2).elliptic_k().real
        E = acb(modulus**2).elliptic_e().real
        nome = (-arb.pi() * complement / quarter).exp()
        pairs = [
            (nome, (-1 / (2 * arb(bandwidth) ** 2)).exp()),
            (quarter, K),
            (complement, acb(1 - modulus**2).elliptic_k().real),
            (deficit, (K - E) / K),
            (ratio, (K - E) / (modulus * K)),
        ]
        for ours, theirs in pairs:
            # Narrow as well as near: a wide ball would overlap whatever is claimed.
            assert abs(ours / theirs - 1) < arb(10) ** -200


@pytest.mark.parametrize("bandwidth", ["1e-6", "0.05", "0.2", "0.5", "3", "1e6"])
@pytest.mark.parametrize("function", CLASSES)
def test_mpmath_agrees_at_both_ends(function: Any, bandwidth: str) -> None:
    of = form(function(c))
    sign, mantissa, exponent, _ = of.mp(bandwidth, 50)._mpf_  # no Fraction can hold exp(−10¹¹)
    _, ball = balls.accurate(of._evaluate, Fraction(bandwidth), 180, "")
    with ctx.workprec(250):
        assert sign == 0
        assert abs(ball / arb((int(mantissa), int(exponent))) - 1) < arb(10) ** -49


@pytest.mark.parametrize(
    ("bandwidth", "limits"),
    [
        ("1e-200", [0, sympy.pi / 2, sympy.Rational(10) ** 400 / 4, 0, 0]),
        ("1e200", [1, sympy.pi**2 * sympy.Rational(10) ** 400, sympy.pi / 2, 1, 1]),
    ],
)
def test_limits(bandwidth: str, limits: list[sympy.Expr]) -> None:
    for function, limit in zip(CLASSES, limits, strict=True):
        with ctx.workprec(2000):
            expected = form(sympy.sympify(limit)).ball(1, 2000)
            error = abs(form(function(c)).ball(bandwidth, 2000) - expected)
            assert error < arb(10) ** -300 * arb.max(expected, arb(1))


@pytest.mark.parametrize("function", CLASSES)
@pytest.mark.parametrize("bandwidth", [1e-6, 0.01, 0.39, 0.41, 5.0, 1e6])
def test_values_have_relative_accuracy(function: Any, bandwidth: float) -> None:
    with ctx.workprec(160):
        assert function._arb(arb(bandwidth)).rel_accuracy_bits() > 100


@given(st.floats(-3, 3), st.floats(1e-9, 1.0), st.lists(st.floats(0, 1), min_size=3, max_size=3))
@settings(max_examples=40, deadline=None)
def test_wide_balls_contain_and_do_not_exceed(
    exponent: float, width: float, places: list[float]
) -> None:
    centre, radius = 10.0**exponent, 10.0**exponent * width / 2.5
    for function in CLASSES:
        with ctx.workprec(128):
            ball = arb(centre, radius)
            wide = function._arb(ball)
            ends = function._arb(ball.lower()).union(function._arb(ball.upper()))
            assert wide.rad() <= ends.rad() * 1.001
            for place in places:
                point = arb(centre + radius * (2 * place - 1) * 0.999)
                assert wide.overlaps(function._arb(point))
                assert wide.contains(function._arb(point).mid()) or wide.rel_accuracy_bits() > 90


@pytest.mark.parametrize("series", ["_theta3", "_theta2_tail", "_moment"])
@pytest.mark.parametrize("terms", [1, 2, 3])
def test_what_is_left_out_of_a_sum_is_in_the_ball(
    series: str, terms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ctx.workprec(300):
        q = arb(0.04)
        truth = getattr(theta, series)(q)
        monkeypatch.setattr(theta, "_terms", lambda _: terms)
        short = getattr(theta, series)(q)
        assert short.contains(truth)
        assert arb(10) ** -30 < short.rad() < 0.2


@pytest.mark.parametrize("function", CLASSES)
@pytest.mark.parametrize("bandwidth", [0.38, 0.42])
def test_what_is_left_out_of_a_series_is_in_the_ball(
    function: Any, bandwidth: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = form(function(c))
    assert of._jets is not None
    with ctx.workprec(200):
        truth = of._jets(arb(bandwidth), 4)
        monkeypatch.setattr(theta, "_terms", lambda _: 2)
        monkeypatch.setattr(theta, "_series_terms", lambda _: 4)
        theta._cached_thetas.cache_clear()
        theta._cached_series.cache_clear()
        short, series = function._arb(arb(bandwidth)), of._jets(arb(bandwidth), 4)
    theta._cached_thetas.cache_clear()
    theta._cached_series.cache_clear()
    assert short.contains(truth[0])
    assert 1e-9 < short.rad() < 0.1  # wide because terms are missing, and not absurdly so
    assert all(wide.contains(narrow) for wide, narrow in zip(series, truth, strict=True))
    assert series[0].rad() > 1e-12


def test_balls_that_reach_zero_have_no_value() -> None:
    for function in CLASSES:
        assert function._arb(arb(1, 2)).is_nan()


@pytest.mark.parametrize("function", CLASSES)
@pytest.mark.parametrize("bandwidth", [Fraction(1, 5), Fraction(7, 10), Fraction(3, 2)])
def test_derivatives_and_power_series(function: Any, bandwidth: Fraction) -> None:
    mp = context(60)
    point = mp.mpf(bandwidth.numerator) / bandwidth.denominator
    slope = mp.diff(lambda t: function._mp(mp, t), point)
    value = form(function(c).diff(c)).mp(bandwidth, 30)
    assert abs(value - slope) < abs(slope) * mp.mpf(10) ** -24
    of = form(function(c))
    assert of._jets is not None
    with ctx.workprec(300):
        terms = of._jets(balls.ball_of(bandwidth), 4)
    for order in (1, 2, 3):
        derivative = form(function(c).diff(c, order) / math.factorial(order)).ball(bandwidth, 300)
        with ctx.workprec(300):
            assert abs(terms[order] / derivative - 1) < arb(10) ** -50


@pytest.mark.parametrize("function", CLASSES)
def test_power_series_over_a_wide_ball_contain_those_inside(function: Any) -> None:
    of = form(function(2 / c))
    assert of._jets is not None
    with ctx.workprec(128):
        wide = of._jets(arb(3, 0.01), 6)
        narrow = of._jets(arb(3.007), 6)
        assert all(w.contains(n) for w, n in zip(wide, narrow, strict=True))
        assert all(w.rad() < 0.1 for w in wide)


@pytest.mark.parametrize("bandwidth", [Fraction(1, 5), Fraction(3, 5)])
def test_rewriting_gives_the_definitions(bandwidth: Fraction) -> None:
    for function in CLASSES[1:]:
        rewritten = form(function(c).rewrite(sympy.elliptic_k))
        assert rewritten.expression.has(sympy.elliptic_k)
        assert rewritten(bandwidth) == form(function(c))(bandwidth)


def test_latex_and_sign() -> None:
    assert sympy.latex(k) == r"k\left(c\right)"
    assert sympy.latex(K_PRIME**2) == r"{K'}^{2}\left(c\right)"
    assert all(function(c).is_positive for function in CLASSES)
    assert EllipticModulus(sympy.Symbol("t")).is_positive is None


# The Gaussian's risk


@pytest.mark.parametrize("bandwidth", [0.2, 0.35, 0.4, 0.5, 0.8, 1.1])
def test_variance_is_the_integral_that_defines_it(bandwidth: float) -> None:
    mp = context(45)
    truth = brute_variance(mp, bandwidth, points=50 + int(450 * bandwidth**2))
    assert abs(VARIANCE.mp(bandwidth, 40) - truth) < mp.mpf(10) ** -38
    assert VARIANCE(bandwidth) == VARIANCE_BY_DEFICIT(bandwidth) == float(as_fraction(truth))


def test_variance_is_narrow_and_wide_at_the_ends() -> None:
    mp = context(60)
    for bandwidth in (1e-6, 1e-3, 0.03):  # up to exp(−1/(8c²)), which is below 10⁻⁶⁰ here
        assert VARIANCE(bandwidth) == float(as_fraction(mp.sqrt(mp.pi) * mp.mpf(bandwidth)))
    for bandwidth in (4.5, 1e3, 1e6):  # up to exp(−2π²c²)
        value = 1 - 1 / (2 * (mp.pi * mp.mpf(bandwidth)) ** 2)
        assert VARIANCE(bandwidth) == float(as_fraction(value))


@given(st.floats(-6, 0.6))
@settings(max_examples=40, deadline=None)
def test_bias_is_correctly_rounded(exponent: float) -> None:
    bandwidth = 10.0**exponent
    mp = context(60 + int(10 * bandwidth**2) * 2)
    assert BIAS(bandwidth) == float(as_fraction(brute_bias(mp, bandwidth)))


def test_bias_underflows() -> None:
    mp = context(900)
    for bandwidth in (4.3, 4.34, 4.35):  # subnormal
        truth = float(as_fraction(brute_bias(mp, bandwidth)))
        assert BIAS(bandwidth) == truth
    assert 0 < BIAS(4.34) < 1e-308
    assert [BIAS(bandwidth) for bandwidth in (4.5, 10, 1e3, 1e6)] == [0.0] * 4


@pytest.mark.parametrize("of", [VARIANCE, VARIANCE_BY_DEFICIT, BIAS])
@pytest.mark.parametrize("centre", [0.02, 0.35, 0.4, 1.7])
def test_arrays_are_within_four_ulp(of: ClosedForm, centre: float) -> None:
    points = centre * (1 + 1e-2 * np.linspace(0, 1, 80))
    truth = np.array([of(float(point)) for point in points])
    assert np.max(np.abs(of(points) - truth) / np.spacing(np.abs(truth))) <= 4


@pytest.mark.parametrize(
    ("of", "lo", "hi"),
    [(VARIANCE, 0.4, 0.401), (VARIANCE, 0.001, 100), (BIAS, 0.3, 1.5), (BIAS, 0.001, 100)],
)
def test_ranges_are_tight(of: ClosedForm, lo: float, hi: float) -> None:
    found = of.enclose(lo, hi)
    with ctx.workprec(300):
        ends = sorted((of.ball(lo, 300), of.ball(hi, 300)), key=lambda ball: ball.mid())
        excess = (ends[0] - found.lower()) + (found.upper() - ends[1])
        assert all(found.contains(end.mid()) for end in ends)
        assert excess < 2**-20 * ends[1]
