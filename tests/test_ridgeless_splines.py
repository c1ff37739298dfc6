"""Spline constants: residues against quadrature, both against a naive sum, and what must fail."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
import scipy.special
import sympy
from flint import arb, ctx

from theory.derivation import Derivation
from theory.ridgeless import spline_quadrature, splines
from theory.ridgeless.spline_quadrature import spline_enclosure
from theory.ridgeless.splines import (
    CLOSED_FORMS,
    derive_constant,
    residue_sum,
    spline_constant,
)


def holds(derivation: Derivation) -> bool:
    return all(result.holds for result in derivation.check())


def mutants(formula: sympy.Expr) -> list[sympy.Expr]:
    dropped = [formula - term for term in formula.as_ordered_terms()]
    return [formula * sympy.Rational(51, 50), -formula, *dropped]


@pytest.mark.parametrize("alpha", [2, 4, 6, 8, 10])
def test_derivation_holds(alpha: int) -> None:
    results = derive_constant(alpha).check()
    assert [result.residual for result in results] == [0] * 7


@pytest.mark.parametrize("alpha", [2, 4, 6, 8])
def test_derivation_fails_for_mutants(alpha: int) -> None:
    for mutant in mutants(CLOSED_FORMS[alpha]):
        assert derive_constant(alpha, mutant).steps[-1].check().residual != 0


def test_a_conjugate_is_refused() -> None:
    """A root of the right polynomial, but not the right root."""
    conjugate = CLOSED_FORMS[6].subs(sympy.sqrt(30), -sympy.sqrt(30))
    assert not derive_constant(6, conjugate).steps[-1].check().holds


def test_the_double_pole_is_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = splines.Residues(
        **{**splines.residues(6).__dict__, "double": splines.residues(6).simple}
    )
    monkeypatch.setattr(splines, "residues", lambda alpha: wrong)
    assert not derive_constant(6).steps[2].check().holds


@pytest.mark.parametrize("alpha", [4, 6, 8, 10])
def test_residues_agree_with_certified_quadrature(alpha: int) -> None:
    digits = 30 if alpha == 4 else 18
    ball = spline_enclosure(alpha, 1, digits)
    exact = sympy.N(spline_constant(alpha), 45)
    assert float(ball.rad()) < 10.0**-digits
    with ctx.workprec(200):
        assert ball.overlaps(arb(str(exact)))
        assert not ball.overlaps(arb(str(exact)) + arb(10) ** (3 - digits))


def test_exact_values_are_algebraic() -> None:
    assert spline_constant(2) == sympy.Rational(2, 3)
    assert spline_constant(4) == sympy.Rational(4, 5) + 3 * sympy.sqrt(3) / 70
    assert spline_constant(8).is_algebraic
    assert spline_constant(10) == residue_sum(10)
    assert spline_constant(10).is_algebraic


@pytest.mark.parametrize("alpha", [1.5, Fraction(7, 2), sympy.Rational(16, 3)])
def test_line_against_hurwitz(alpha: float | Fraction | sympy.Rational) -> None:
    """d = 1 by another formula: ζ_α(θ) = ζ(α, θ) + ζ(α, 1−θ), on panels halved towards 0."""
    nodes, weights = np.polynomial.legendre.leggauss(24)
    panels = 2.0 ** -np.arange(2, 40)[:, None]
    theta = panels * (1.5 + nodes / 2)

    def sums(power: float) -> np.ndarray:
        return scipy.special.zeta(power, theta) + scipy.special.zeta(power, 1 - theta)

    values = sums(2 * float(alpha)) / sums(float(alpha)) ** 2
    expected = 2 * float((panels / 2 * weights * values).sum()) + 2 * panels[-1, 0]
    ball = spline_constant(alpha, 1)
    assert isinstance(ball, arb)
    assert float(ball.rad()) < 1e-20
    assert abs(float(ball.mid()) - expected) < 1e-11


def test_near_the_line_where_sums_diverge() -> None:
    ball = spline_enclosure(1.0625, 1, 12)
    assert float(ball.rad()) < 1e-12
    assert arb(0.05) < ball < spline_enclosure(1.125, 1, 6)


@pytest.mark.parametrize(("alpha", "points"), [(4, 24), (6, 16)])
def test_plane_against_direct_sums(alpha: int, points: int) -> None:
    """Trapezoidal rule (error ~ points^{-2-α}) over directly summed lattices with tail integral."""

    def lattice(theta: np.ndarray, power: int) -> np.ndarray:
        reach = 40
        m = np.arange(-reach, reach + 1)
        x = (theta[:, None] + m)[:, None, :, None] ** 2
        y = (theta[:, None] + m)[None, :, None, :] ** 2
        total = ((x + y) ** (-power / 2)).sum(axis=(2, 3))
        # Outside the square of half-side R: 8 ∫_0^{π/4} ∫_{R/cos}^∞ r^{1-p} dr.
        angle = np.linspace(0, np.pi / 4, 2001)
        mean = np.trapezoid(np.cos(angle) ** (power - 2), angle)
        return total + 8 * mean * (reach + 0.5) ** (2 - power) / (power - 2)

    def rule(count: int) -> float:
        grid = (np.arange(count) + 0.5) / count
        return float((lattice(grid, 2 * alpha) / lattice(grid, alpha) ** 2).mean())

    assert abs(rule(points) - float(spline_enclosure(alpha, 2, 8).mid())) < 2e-5


def test_space_is_enclosed_and_below_the_plane() -> None:
    space, plane = spline_enclosure(5, 3, 3), spline_enclosure(5, 2, 5)
    assert float(space.rad()) < 1e-3
    assert space < plane < spline_enclosure(5, 1, 6) < 1


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_lattice_sums_against_brute_force(dimension: int) -> None:
    """Σ_{m≠0}|θ+m|^{-α} at one point, with a rapidly converging exponent."""
    alpha, theta = 24, [0.3, 0.1, 0.45][:dimension]
    with ctx.workprec(400):
        sums = spline_quadrature._LatticeSums.build(arb(alpha), dimension, 12)
        tables = [spline_quadrature._thetas(sums.times, [arb(x)]) for x in theta]
        squared = sum((arb(x) ** 2 for x in theta), arb(0))
        ball = spline_quadrature._sums_on_grid(sums.first, tables, [squared])[0]
    direct = sum(
        sum((x + k) ** 2 for x, k in zip(theta, m, strict=True)) ** (-alpha / 2)
        for m in itertools.product(range(-6, 7), repeat=dimension)
        if any(m)
    )
    assert float(ball.rad()) < 1e-11 * direct
    assert abs(float(ball.mid()) / direct - 1) < 1e-11


@pytest.mark.parametrize(
    ("alpha", "dimension", "error", "message"),
    [
        (1, 1, ValueError, "exceed the dimension 1"),
        (2, 2, ValueError, "exceed the dimension 2"),
        (2.5, 4, ValueError, "dimension must be"),
        (float("nan"), 1, ValueError, "finite"),
        ("4", 1, TypeError, "alpha must be"),
        (True, 1, TypeError, "alpha must be"),
        (33.5, 1, ValueError, "at most 32"),
    ],
)
def test_bad_input(alpha: object, dimension: int, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        spline_constant(alpha, dimension)


def test_bad_digits_and_odd_alpha() -> None:
    with pytest.raises(ValueError, match="digits"):
        spline_enclosure(4, 1, 31)
    with pytest.raises(ValueError, match="even integer"):
        derive_constant(3)
