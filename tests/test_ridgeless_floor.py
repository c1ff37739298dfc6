"""The certified floor against a plain minimisation in mpmath that shares no code with it.

Laplace and Cauchy in planes and spaces: `test_ridgeless_floor_lattices`.
"""

import itertools
import math
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache

import mpmath
import numpy as np
import pytest
import sympy
from flint import arb, arb_poly, ctx
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from theory.certified_minimum import Model, minimum, sublevel
from theory.ridgeless import (
    Cauchy,
    Gaussian,
    Laplace,
    Matern,
    Product,
    SpectralKernel,
    floor,
    infimum,
    limit_forms,
    limit_risk,
    monotone,
    null_predictor,
    null_threshold,
)
from theory.ridgeless.curves import risk_curve

mp = mpmath.MPContext()
mp.dps = 30

# ── the two parts of the risk, written down once more ────────────────────────────────────────────


def laplace_parts(c):
    s = 1 / c
    tau = mp.tanh(s / 2) / (s / 2)
    return 1 - 1.5 * tau + mp.sech(s / 2) ** 2 / 2, mp.coth(s) / s - mp.csch(s) ** 2


def cauchy_parts(c):
    t, a = mp.tanh(mp.pi * c), mp.pi * c
    return (1 - t) ** 2 * (1 + t / 2), t * (1 - t / (2 * a))


def gaussian_parts(dimension):
    def parts(c):
        q = mp.exp(-1 / (2 * c**2))
        k = mp.jtheta(2, 0, q) ** 2 / mp.jtheta(3, 0, q) ** 2
        K, E = mp.ellipk(k**2), mp.ellipe(k**2)
        K_prime = K / (2 * mp.pi * c**2)
        V = mp.sqrt(mp.pi / ((1 + k) * K_prime)) / 2 * (1 + (K - E) / (k * K))
        own = mp.sqrt(mp.pi / (2 * K_prime))
        energy = mp.sqrt(mp.pi * (1 + k) / K_prime) / 2
        return 1 - 2 * own**dimension + energy**dimension, V**dimension

    return parts


def matern_parts(nu):
    """The closed forms, which `test_ridgeless_matern` compares with their definitions."""
    forms = limit_forms(Matern(nu))

    def parts(c):
        point = float(c)  # correctly rounded values: 25 digits would take minutes
        return mp.mpf(forms.approximation(point)), mp.mpf(forms.estimation(point))

    return parts


PARTS = {
    "laplace": (Laplace(), laplace_parts),
    "cauchy": (Cauchy(), cauchy_parts),
    "gaussian": (Gaussian(), gaussian_parts(1)),
    "gaussian 2": (Gaussian(2), gaussian_parts(2)),
    "gaussian 3": (Gaussian(3), gaussian_parts(3)),
    "matern 3/2": (Matern(1.5), matern_parts(1.5)),
    "matern 5/2": (Matern(2.5), matern_parts(2.5)),
}


@lru_cache(maxsize=16)
def scanned(name):
    grid = [mp.mpf(2) ** (mp.mpf(k) / 3) for k in range(-24, 34)]
    return grid, [tuple(float(x) for x in PARTS[name][1](c)) for c in grid]


def golden_section(name, snr):
    """The least risk: a scan for a bracket, then golden section in log c."""
    grid, table = scanned(name)
    risks = [float(snr) * B + V for B, V in table]
    best = min(range(1, len(grid) - 1), key=risks.__getitem__)

    def risk(x):
        B, V = PARTS[name][1](mp.exp(x))
        return snr * B + V

    a, b, ratio = mp.log(grid[best - 1]), mp.log(grid[best + 1]), (mp.sqrt(5) - 1) / 2
    left, right = b - ratio * (b - a), a + ratio * (b - a)
    low, high = risk(left), risk(right)
    while b - a > mp.mpf("1e-7"):
        if low < high:
            b, right, high = right, left, low
            left = b - ratio * (b - a)
            low = risk(left)
        else:
            a, left, low = left, right, high
            right = a + ratio * (b - a)
            high = risk(right)
    return min(low, high), mp.exp((a + b) / 2)


ratios = st.floats(-6, 6).map(lambda e: 10.0**e)


@pytest.mark.parametrize("name", PARTS)
@settings(max_examples=200, deadline=None, derandomize=True, phases=[Phase.generate])
@given(snr=ratios)
def test_golden_section_lands_inside(name, snr):
    kernel = PARTS[name][0]
    found = floor(kernel, snr)
    assert (found.upper - found.lower) / found.upper <= 1e-12 + 3 * np.finfo(float).eps
    if snr <= float(null_threshold(kernel)):
        assert found.null
        assert found.lower == found.upper == snr
        return
    least, c = golden_section(name, mp.mpf(snr))
    # Golden section ends above the infimum by up to R''·(1e-7 c)²/2, some 1e-14.
    rounding = mp.mpf("1e-15") if isinstance(kernel, Matern) and name != "laplace" else 0
    assert mp.mpf(found.lower) * (1 - rounding) <= least
    assert least <= mp.mpf(found.upper) * (1 + mp.mpf("1e-13"))
    assert found.bandwidth[0] <= c * (1 + mp.mpf("1e-6"))
    assert found.bandwidth[1] >= c * (1 - mp.mpf("1e-6"))


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("factor", ["1.000001", "1.01", "1.3"])
def test_just_above_the_threshold(name, factor):
    """There the best bandwidth is small and the risk hardly below the zero function's."""
    kernel = PARTS[name][0]
    snr = Fraction(factor) * Fraction(float(null_threshold(kernel)))
    found = floor(kernel, snr)
    assert not found.null
    assert found.lower < float(snr)
    c = sum(found.bandwidth) / 2
    B, V = PARTS[name][1](mp.mpf(c))
    value = mp.mpf(snr.numerator) / snr.denominator * B + V
    assert mp.mpf(found.lower) <= value
    assert value <= mp.mpf(found.upper) * (1 + mp.mpf("1e-11"))


@pytest.mark.parametrize("snr", [1e-300, 1e-20, 1e20, 1e100])
@pytest.mark.parametrize("kernel", [Laplace(), Cauchy(), Gaussian()])
def test_extreme_ratios(kernel, snr):
    found = floor(kernel, snr)
    wide = 2 / 3 if kernel == Laplace() else 1.0
    assert 0 < found.lower <= found.upper <= min(snr, wide) * (1 + 1e-12)


def test_many_digits():
    with ctx.workprec(400):
        many, plain = floor(Laplace(), 1, digits=60), floor(Laplace(), 1)
        assert many.enclosure.rad() < arb(10) ** -60
        assert plain.enclosure.contains(many.enclosure)


def test_products():
    """Two axes of Laplace: the closed forms' powers, minimised on a fine grid."""
    found = floor(Product(Laplace(), 2), 3)
    grid = np.geomspace(0.9, 1.6, 4001)
    least = min(limit_risk(Product(Laplace(), 2), float(c)).total(3.0) for c in grid)
    assert found.lower <= least <= found.upper * (1 + 1e-6)


def test_the_constant_bounds_every_ratio():
    """Floor/min(SNR, 1) is least at SNR = 1."""
    for kernel, _ in PARTS.values():
        constant = floor(kernel, 1).lower
        for exponent in np.linspace(-5, 5, 21):
            snr = 10.0**exponent
            assert floor(kernel, snr, 8).upper / min(snr, 1.0) >= constant * (1 - 1e-12)


# ── exact arguments ──────────────────────────────────────────────────────────────────────────────


def test_a_float_is_the_double_that_it_is():
    double, tenth = floor(Laplace(), 4.1, 25), floor(Laplace(), "4.1", 25)
    assert floor(Laplace(), Fraction(4.1), 25).enclosure.overlaps(double.enclosure)
    assert not double.enclosure.overlaps(tenth.enclosure)


def test_the_threshold_itself_is_null_and_a_hair_above_is_not():
    assert floor(Laplace(), "1/3").null
    assert floor(Laplace(), 1 / 3).null  # the double is less than 1/3
    above = floor(Laplace(), Fraction(1, 3) + Fraction(1, 10**30), 12)
    assert not above.null
    assert above.bandwidth[0] >= 0


# ── input ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("snr", "error", "message"),
    [
        (0, ValueError, "snr = 0 must be a number > 0"),
        (-1.5, ValueError, "snr = -1.5 must be a number > 0"),
        (math.nan, ValueError, "snr = nan is not finite"),
        (math.inf, ValueError, "snr = inf is not finite"),
        ("one", ValueError, "snr = 'one' is no number"),
        (None, TypeError, "snr = None has type NoneType"),
        (True, TypeError, "snr = True has type bool"),
    ],
)
def test_bad_ratios(snr, error, message):
    with pytest.raises(error, match=message):
        floor(Laplace(), snr)


@pytest.mark.parametrize(
    ("digits", "error", "message"),
    [
        (0, ValueError, "digits = 0 must be an integer >= 1"),
        (10**4, ValueError, "digits = 10000 must be at most 100"),
        (2.5, TypeError, "digits = 2.5 must be an integer"),
    ],
)
def test_bad_digits(digits, error, message):
    with pytest.raises(error, match=message):
        floor(Laplace(), 1, digits)


def test_digits_that_are_not_given():
    assert infimum._checked_digits(None, risk_curve(Laplace())) == 12
    assert infimum._checked_digits(None, risk_curve(Laplace(2))) == 6
    with pytest.raises(ValueError, match="digits = 12 must be at most 8 for Laplace"):
        floor(Laplace(2), 1, 12)


def test_a_kernel_without_tail_bound():
    own = SpectralKernel(lambda xi: 2 / (1 + 4 * math.pi**2 * xi**2), 1)
    with pytest.raises(TypeError, match="no certified alias sums; allowed: Gaussian, Laplace"):
        floor(own, 1)
    with pytest.raises(TypeError, match="kernel = 'laplace' must be a kernel"):
        floor("laplace", 1)
    with pytest.raises(TypeError, match="no certified alias sums"):
        floor(Cauchy(4), 1)


# ── traps ────────────────────────────────────────────────────────────────────────────────────────


def outside(found, name, snr):
    least, _ = golden_section(name, mp.mpf(snr))
    return not mp.mpf(found.lower) <= least <= mp.mpf(found.upper) * (1 + mp.mpf("1e-13"))


def test_trap_a_wrong_tail_constant(monkeypatch):
    """With s* set a third too high the tail (0, hi] seems to lie above the minimum near it."""
    snr = 0.45
    assert not outside(floor(Laplace(), snr), "laplace", snr)
    monkeypatch.setattr(infimum, "_threshold", lambda kernel: sympy.Rational(449, 1000))
    assert outside(floor(Laplace(), snr), "laplace", snr)


def test_trap_a_skipped_box(monkeypatch):
    honest = infimum._Search.cut
    monkeypatch.setattr(infimum._Search, "cut", lambda self, box: honest(self, box)[:1])
    assert outside(floor(Laplace(), 2.0), "laplace", 2.0)


def test_trap_a_model_without_its_error(monkeypatch):
    """Models of too low an order, with the remainder forgotten, give false bounds."""

    def careless(jet, middle, radius, digits):
        return Model(arb_poly([q * radius**k for k, q in enumerate(jet(middle, 3, 128))]), arb(0))

    monkeypatch.setattr("theory.ridgeless.curves.taylor_model", careless)
    assert outside(floor(Laplace(), 2.0), "laplace", 2.0)


# ── the pieces ───────────────────────────────────────────────────────────────────────────────────

coefficients = st.lists(st.floats(-3, 3), min_size=1, max_size=9)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(coefficients=coefficients)
def test_minimum_of_a_polynomial(coefficients):
    with ctx.workprec(128):
        model = Model(arb_poly(coefficients), arb("1e-18"))
        found = minimum(model, arb("1e-14"))
        grid = np.linspace(-1, 1, 4001)
        values = np.polynomial.polynomial.polyval(grid, coefficients)
        assert float(found.lower) <= values.min() + 1e-12
        assert float(found.upper - found.lower) <= 1.1e-14
        assert float(found.upper) <= values.min() + 1e-12
        level = values.min() + 0.1
        interval = sublevel(model, arb(level))
        inside = grid[values <= level]
        assert float(interval[0]) <= inside.min()
        assert inside.max() <= float(interval[1])
        assert float(interval[1]) - inside.max() < 2e-3
        assert inside.min() - float(interval[0]) < 2e-3


def test_nothing_lies_below_the_minimum():
    with ctx.workprec(128):
        model = Model(arb_poly([1, 0, 1]), arb("1e-10"))
        assert sublevel(model, arb("0.99")) is None


def test_a_model_that_bounds_nothing():
    with pytest.raises(ArithmeticError, match="bounds nothing"):
        Model(arb_poly([arb.nan()]), arb(0))


@pytest.mark.parametrize("kernel", null_predictor.NAMED)
def test_null_proof(kernel):
    """The proof's numbers hold at c₀ and not at a bandwidth that is too large for them."""
    proof = null_predictor.null_proof(kernel)
    assert proof.holds
    assert not null_predictor.try_null_proof(kernel, arb(2)).narrow_holds
    assert not replace(proof, estimation=arb("0.01")).holds
    if kernel.dimension == 1 or isinstance(kernel, Gaussian):
        for c in np.geomspace(0.05, 20, 40):
            found = limit_risk(kernel, float(c))
            deficit = float(null_threshold(kernel)) * (1 - found.approximation)
            assert found.estimation >= deficit * (1 - 1e-12)
        exact = limit_risk(kernel, float(proof.narrow)).estimation
        assert exact * 0.5 < float(proof.estimation) <= exact


@pytest.mark.parametrize("kernel", [*null_predictor.NAMED, Product(Laplace(), 2), Matern(4, 2)])
def test_both_parts_are_monotone(kernel):
    if kernel.dimension == 3 and not isinstance(kernel, Gaussian):
        grid = (0.3, 0.6, 1.2)
    else:
        grid = np.geomspace(0.1, 5, 12)
    risks = [limit_risk(kernel, float(c)) for c in grid]
    pairs = list(itertools.pairwise(risks))
    assert all(a.estimation < b.estimation for a, b in pairs)
    assert all(a.approximation > b.approximation for a, b in pairs)


def test_an_elasticity_that_falls_is_refused():
    """A density with a bump: e^{−r}(1 + 9r²)/(1 + r²) has a falling elasticity."""

    class Bump(Cauchy):
        @property
        def log_radial_density(self):
            r = monotone.RADIUS
            return -r + sympy.log((1 + 9 * r**2) / (1 + r**2))

    results = monotone.derive_elasticity(Bump()).check()
    assert not all(result.holds for result in results)


def test_curves_are_remembered_without_being_confused():
    curve = risk_curve(Laplace())
    c = arb("0.5").mid()
    first, again = curve.estimation(c, 15), curve.estimation(c, 15)
    sharper = curve.estimation(c, 40)
    assert first is again
    assert sharper.rad() < first.rad()
    assert not curve.approximation(c, 15).overlaps(first)
