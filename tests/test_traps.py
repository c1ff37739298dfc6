"""Traps in which checks of this kind have been caught, each one sprung on purpose.

Every test shows the trap at work first and then that the ledger's helper does not fall into it.
"""

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import sympy
from flint import acb, arb, ctx

from proofs_check.claim import Claim, Evidence, Kind, Leg, Setting
from proofs_check.integrals import certified_integral
from proofs_check.ledger import Verdict, judge
from proofs_check.legs import agreement, ball, derivation_leg, digits_leg, every_agreement
from proofs_check.statistics import EProcess, compare_mean, compare_samples, z_threshold
from proofs_check.trials import Outcome, run_leg
from theory.derivation import Derivation

THIRD = acb(1) / 3
KINK_INTEGRAL = Fraction(10, 9)  # of |x - 1/3| over [-1, 1]


def ignores_the_flag(z, analytic):
    return ((z - THIRD) ** 2).sqrt()


def branches_on_the_midpoint(z, analytic):
    return z - THIRD if z.real.mid() > THIRD.real else THIRD - z


def honest(z, analytic):
    return ((z - THIRD) ** 2).sqrt(analytic=analytic)


@pytest.mark.parametrize("integrand", [ignores_the_flag, branches_on_the_midpoint])
def test_an_integrand_that_lies_about_analyticity(integrand):
    certificate = acb.integral(integrand, -1, 1).real
    assert certificate.rad() < 1e-12  # a narrow ball ...
    assert not certificate.overlaps(ball(KINK_INTEGRAL))  # ... around a wrong number
    with pytest.raises(ValueError, match="ignore the flag `analytic`"):
        certified_integral(integrand, -1, 1, digits=12)
    assert certified_integral(honest, -1, 1, digits=12).contains(ball(KINK_INTEGRAL).mid())


@pytest.mark.parametrize("where", [Fraction(1, 5), Fraction(-3, 7), Fraction(0), Fraction(9, 11)])
def test_the_screen_finds_a_kink_wherever_it_is(where):
    kink = acb(ball(where))
    with pytest.raises(ValueError, match="not analytic"):
        certified_integral(lambda z, analytic: ((z - kink) ** 2).sqrt(), -1, 1, digits=12)


def test_the_screen_lets_honest_integrands_pass():
    for integrand, exact in (
        (lambda z, analytic: z.exp(), arb(1).exp() - 1),
        (lambda z, analytic: z**64, arb(1) / 65),  # more oscillation than points on the circle
        (lambda z, analytic: z.sqrt(analytic=analytic), arb(2) / 3),
        (lambda z, analytic: 1 / (1 + z * z), arb.pi() / 4),
    ):
        found = certified_integral(integrand, 0, 1, digits=15)
        assert agreement(found, exact, 14).holds


def test_a_decimal_is_not_the_float_of_its_name():
    with ctx.workprec(100):
        assert not arb(0.1).overlaps(ball(Fraction(1, 10)))
    assert not agreement(0.1, Fraction(1, 10), 20).holds
    assert agreement(0.1, Fraction(1, 10), 16).holds
    assert ball(Fraction(1, 10)).contains(ball(sympy.Rational(1, 10)).mid())


def test_a_wide_ball_overlaps_anything():
    wide = arb(1, 0.5)
    assert wide.overlaps(arb(1.3))  # the tempting test
    assert not agreement(wide, arb(1.3), 3).holds
    assert not agreement(wide, wide, 3).holds
    assert agreement(arb(1, 1e-12), arb(1), 11).holds
    assert not agreement(arb(1, 1e-12), arb(1), 13).holds


def test_precision_set_on_the_module_does_nothing(monkeypatch):
    monkeypatch.setattr(mpmath, "dps", 150, raising=False)
    third = mpmath.mpf(1) / 3  # 15 digits, not 150
    assert not agreement(third, Fraction(1, 3), 100).holds
    context = mpmath.MPContext()
    context.dps = 150
    assert agreement(context.mpf(1) / 3, Fraction(1, 3), 100).holds


def test_repeated_looks_inflate_false_alarms_and_a_bet_does_not():
    rng, repeats, looks = np.random.default_rng(7), 300, 2000
    alpha = 0.0027  # two-sided "3 sigma"
    x = rng.random((repeats, looks))
    n = np.arange(1, looks + 1)
    z = np.abs(x.cumsum(axis=1) - n / 2) / np.sqrt(n / 12)
    peeking = np.mean((z > z_threshold(alpha))[:, 9:].any(axis=1))
    assert 0.03 < peeking < 0.12  # more than ten times what is nominal
    bets = [EProcess.start(0.5, 0.0, 1.0).observe(row).rejects(alpha) for row in x]
    assert np.mean(bets) <= alpha + 4 * math.sqrt(alpha / repeats)
    assert EProcess.start(0.45, 0.0, 1.0).observe(x[0]).rejects(alpha)  # and yet it finds things


def test_heavy_tails_break_the_z_test():
    rng, repeats, alpha = np.random.default_rng(8), 400, 1e-7
    false_alarms = 0
    for _ in range(repeats):
        x = rng.standard_normal(1000) ** 10
        error = x.std(ddof=1) / math.sqrt(x.size)
        false_alarms += not compare_mean(x.mean(), error, x.size, 945.0, alpha, 0.01).holds
        with pytest.raises(ValueError, match="not Gaussian out to"):
            compare_samples(x, 945.0, alpha, 0.01)
    assert false_alarms > 0.02 * repeats  # at a nominal 1e-7


def simulated(tolerance):
    """A claim about the mean of a uniform variable, checked to a tolerance."""

    def run(formulas, setting):
        mean = setting.generator("uniform").random(10_000).mean()
        return Evidence(bool(abs(mean - float(formulas["mean"])) < tolerance), {"mean": mean})

    leg = Leg("mean", Kind.SIMULATED, run, ("mean",))
    tiny = "f: below the resolution"
    return Claim(
        "demo.mean",
        "mean",
        r"E x = \tfrac12",
        "here",
        formulas={"mean": sympy.Rational(1, 2)},
        legs=(leg,),
        equivalents={"mean: everything * (1 + 1e-6)": tiny},
    )


def test_a_tolerance_wider_than_the_effect_is_toothless():
    found = judge(simulated(tolerance=0.02), Setting())
    assert found.verdict is Verdict.TOOTHLESS
    assert any("everything * 51/50" in reason for reason in found.why)
    far_too_wide = judge(simulated(tolerance=10.0), Setting())
    assert "simulated:mean kills no mutant" in far_too_wide.why


def test_a_tolerance_that_resolves_the_effect_is_not():
    found = judge(simulated(tolerance=0.008), Setting())
    assert found.verdict is Verdict.SUPPORTED
    assert found.killed == len(found.mutants) - 1


@pytest.mark.parametrize("nothing", [math.nan, mpmath.mpf("nan"), arb("nan"), math.inf])
def test_nan_is_no_agreement(nothing):
    assert not abs(float("nan") - 1) > 1e-9  # how NaN slips through
    assert not agreement(nothing, 1, 3).holds
    assert not agreement(1, nothing, 3).holds
    assert not agreement(nothing, nothing, 3).holds


def test_nan_among_the_figures_breaks_the_leg():
    leg = Leg("nan", Kind.DIRECT, lambda f, s: Evidence(True, {"error": math.nan}))
    found = run_leg(leg, {}, Setting())
    assert found.outcome is Outcome.BROKEN
    assert "'error' is NaN" in found.detail


@pytest.mark.parametrize(
    "truth", [np.True_, 1, None, "yes", sympy.true, sympy.Symbol("x") < 1, Ellipsis]
)
def test_only_a_bool_is_a_bool(truth):
    leg = Leg("truth", Kind.DIRECT, lambda f, s: Evidence(truth))
    assert run_leg(leg, {}, Setting()).outcome is Outcome.BROKEN


def test_a_grid_that_was_cut_down_to_nothing():
    assert all(agreement(1, 2, 3).holds for _ in [])  # how an empty grid slips through
    with pytest.raises(ValueError, match="no cases"):
        every_agreement([], 10)
    empty = digits_leg("grid", lambda f, s: iter(()), (), 10)
    assert run_leg(empty, {}, Setting()).outcome is Outcome.BROKEN
    no_steps = derivation_leg("steps", lambda: Derivation("nothing", ()), ())
    assert run_leg(no_steps, {}, Setting()).outcome is Outcome.BROKEN


def test_a_reference_of_zero_has_no_relative_digits():
    assert not agreement(0, 0, 3).holds
    assert not agreement(1e-300, 0, 3).holds


@pytest.mark.parametrize("number", [None, True, "0.1", [1.0], sympy.Symbol("x")])
def test_what_is_no_number_is_refused(number):
    with pytest.raises(TypeError):
        agreement(number, 1, 3)


@pytest.mark.parametrize(
    "number", [1j, acb(1, 1), mpmath.mpc(1, 1), sympy.sqrt(-2), sympy.zoo, sympy.nan, sympy.oo]
)
def test_what_is_no_real_number_is_refused(number):
    with pytest.raises(ValueError, match=r"complex|no finite real"):
        agreement(number, 1, 3)


def test_symbolic_constants_are_evaluated_as_far_as_needed():
    assert agreement(sympy.pi, arb.pi(), 15).holds
    with ctx.workprec(400):
        pi = arb.pi()
    assert agreement(sympy.sqrt(sympy.pi) ** 2, pi, 100).holds
    assert not agreement(sympy.pi + sympy.Rational(1, 10**90), pi, 100).holds


def test_agreement_counts_digits():
    assert agreement(Fraction(1001, 1000), 1, 2).figures["digits"] == 3.0
    assert agreement(np.int64(3), 3, 5).figures["digits"] == 20.0
    with pytest.raises(ValueError, match="digits is 0"):
        agreement(1, 1, 0)
