"""Matérn 3/2 and 5/2 in closed form: derivations, mutants, and the definitions to 30 digits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import pytest
import sympy
from flint import arb

from proofs_check.mutation import mutations
from theory.closed_form.jets import has_jets
from theory.derivation import Derivation
from theory.ridgeless import Matern, limit_forms, limit_risk, spline_constant
from theory.ridgeless import matern_line as line
from theory.ridgeless.kernels import RADIUS
from theory.ridgeless.limit import _approximation, _integrate

MP = mpmath.MPContext()
MP.dps = 45
NUS = (1.5, 2.5)
BANDWIDTHS = ("0.05", "0.3", "1", "3", "50")
QUANTITIES = ("estimation", "own_weight", "weight_energy", "approximation")
DERIVE: dict[str, Callable[..., Derivation]] = {
    quantity: getattr(line, f"derive_{quantity}") for quantity in QUANTITIES
}


# --- the definitions --------------------------------------------------------------------------


def lattice_sums(nu: float, c: Any, theta: Any) -> tuple[Any, Any]:
    """Σ_l (a² + (θ + l)²)^{−j} for j = ν + 1/2 and 2ν + 1, where a² = 2ν/(2πc)².

    |l| ≤ L term by term; beyond, the summand is expanded in a²/(θ+l)² and summed by Hurwitz zeta.
    """
    m, square = int(nu + 0.5), 2 * MP.mpf(nu) / (2 * MP.pi * c) ** 2
    cut = 15 + int(8 * MP.sqrt(square))
    powers = [(square + (theta + n) ** 2) ** -m for n in range(-cut, cut + 1)]
    totals = [MP.fsum(powers), MP.fsum(p * p for p in powers)]
    tails: list[Any] = []
    for i in range(60):
        tails.append(sum(MP.zeta(2 * (m + i), cut + 1 + s * theta) for s in (1, -1)))
        new = [MP.binomial(-m, i) * square**i * tails[i]]
        if i >= m:
            new.append(MP.binomial(-2 * m, i - m) * square ** (i - m) * tails[i])
        totals = [t + n for t, n in zip(totals, [*new, 0], strict=False)]
        if i > m and max(abs(n / t) for n, t in zip(new, totals, strict=True)) < 1e-38:
            return totals[0], totals[1]
    raise AssertionError("the tail did not converge")


def energy(nu: float, c: Any, theta: Any) -> Any:
    first, second = lattice_sums(nu, c, theta)
    return second / first**2


def mean_energy(nu: float, c: Any) -> Any:
    """Mean over equidistant θ, refined until it stands still: it converges geometrically."""
    ends = (energy(nu, c, MP.mpf(0)) + energy(nu, c, MP.mpf("0.5"))) / 2
    points, total = 1, ends  # on [0, 1/2]; the energy is even
    while points <= 512:
        middles = [MP.mpf(2 * i + 1) / (4 * points) for i in range(points)]
        last = total / points
        total += MP.fsum(energy(nu, c, theta) for theta in middles)
        points *= 2
        if abs(total / points - last) < last * MP.mpf(10) ** -20:  # the next error is its square
            return total / points
    raise AssertionError("the mean did not converge")


def agree(found: Any, expected: Any, digits: int = 30) -> bool:
    return bool(abs(MP.mpf(found) - expected) < abs(expected) * MP.mpf(10) ** -digits)


@pytest.mark.parametrize("nu", NUS)
@pytest.mark.parametrize("c", BANDWIDTHS)
def test_noise_is_the_mean_of_the_energy(nu: float, c: str) -> None:
    assert agree(line.matern_forms(nu).estimation.mp(c, 40), mean_energy(nu, MP.mpf(c)))


@pytest.mark.parametrize("nu", NUS)
@pytest.mark.parametrize("c", BANDWIDTHS)
def test_bias_from_the_sums_at_zero(nu: float, c: str) -> None:
    forms, m, width = line.matern_forms(nu), int(nu + 0.5), MP.mpf(c)
    a = 2 * MP.mpf(nu) / (2 * MP.pi * width) ** 2
    # B is as small as c^{−4m}: the definition as Σ of the other weights does not cancel.
    first = 2 * a**m * MP.nsum(lambda n: (a + n * n) ** -m, [1, MP.inf], method="e")
    second = 2 * a ** (2 * m) * MP.nsum(lambda n: (a + n * n) ** (-2 * m), [1, MP.inf], method="e")
    assert agree(forms.approximation.mp(c, 40), (first**2 + second) / (1 + first) ** 2)
    assert agree(forms.own_weight.mp(c, 40), 1 / (1 + first))
    assert agree(forms.weight_energy.mp(c, 40), energy(nu, width, MP.mpf(0)))


@pytest.mark.parametrize("nu", NUS)
@pytest.mark.parametrize("c", [0.02, 0.7, 5.0, 40.0])
def test_doubles_agree_with_quadrature(nu: float, c: float) -> None:
    forms, kernel = line.matern_forms(nu), Matern(nu)
    assert forms.estimation(c) == pytest.approx(_integrate(kernel, c, 12)[0], rel=1e-13)
    assert forms.approximation(c) == pytest.approx(_approximation(kernel, c), rel=1e-13)


# --- both ends --------------------------------------------------------------------------------


@pytest.mark.parametrize(("nu", "alpha"), [(1.5, 4), (2.5, 6)])
def test_wide_kernels_tend_to_the_spline(nu: float, alpha: int) -> None:
    constant = MP.mpf(str(sympy.N(spline_constant(alpha), 45)))
    gaps = [constant - MP.mpf(line.matern_forms(nu).estimation.mp(c, 45)) for c in ("1e4", "1e5")]
    assert 0 < gaps[1] < 1e-10
    assert gaps[0] / gaps[1] == pytest.approx(100, rel=1e-6)  # the gap is of order 1/c²


@pytest.mark.parametrize("nu", NUS)
def test_narrow_kernels_amplify_by_their_energy(nu: float) -> None:
    profile = Matern(nu).radial_kernel
    square = 2 * sympy.integrate(sympy.expand(profile**2), (RADIUS, 0, sympy.oo))
    expected = MP.mpf(str(sympy.N(square, 40))) / 1000
    # The next term is as small as the kernel at 1/c.
    assert agree(line.matern_forms(nu).estimation.mp("1/1000", 40), expected)


@pytest.mark.parametrize("nu", NUS)
@pytest.mark.parametrize("quantity", QUANTITIES)
@pytest.mark.parametrize("c", [1e-300, 1e-6, 1e6])
def test_extreme_bandwidths(nu: float, quantity: str, c: float) -> None:
    form = getattr(line.matern_forms(nu), quantity)
    value = form(c)
    assert 0 < value <= 1
    assert abs(MP.mpf(form.mp(c, 30)) / value - 1) < 2e-16


# --- balls and jets ---------------------------------------------------------------------------


@pytest.mark.parametrize("nu", NUS)
@pytest.mark.parametrize("quantity", QUANTITIES)
@pytest.mark.parametrize("c", ["0.0625", "0.5", "2"])
def test_narrow_balls_and_jets(nu: float, quantity: str, c: str) -> None:
    form = getattr(line.matern_forms(nu), quantity)
    assert has_jets(form._program)
    centre, step = arb(c), arb("1e-20")
    ball = form.ball(centre + arb(0, step), 256)
    for point in (centre - step, centre, centre + step):
        assert ball.overlaps(form.ball(point, 256))
    assert ball.rad() < abs(ball) * arb("1e-6")
    value, slope = form.jet(centre, 2, 256)
    with MP.workdps(60):
        h = MP.mpf("1e-15")
        up, down = (MP.mpf(form.mp(str(MP.mpf(c) + s * h), 55)) for s in (1, -1))
        derivative = (up - down) / (2 * h)
    assert value.overlaps(form.ball(centre, 256))
    assert agree(slope.str(30, radius=False), derivative, 20)


# --- derivations ------------------------------------------------------------------------------


@pytest.mark.parametrize("nu", NUS)
@pytest.mark.parametrize("quantity", QUANTITIES)
def test_every_step_holds(nu: float, quantity: str) -> None:
    derivation = DERIVE[quantity](nu)
    assert [r.idea for r in derivation.check() if not r.holds] == []
    assert derivation.cites


def coefficient_mutants(expression: sympy.Expr) -> list[sympy.Expr]:
    """Two of the formula's integers raised by one, one dropped square root, and a factor."""
    integers = sorted({i for i in expression.atoms(sympy.Integer) if abs(i) > 6})
    chosen = [integers[0], integers[-1]] if integers else []
    mutants = [expression.xreplace({i: i + 1}) for i in chosen]
    roots = [e for e in expression.atoms(sympy.Pow) if e.exp == sympy.Rational(-3, 2)]
    mutants += [expression.xreplace({e: 1 / e.base}) for e in roots]
    return [*mutants, expression * sympy.Rational(1001, 1000), expression + 1]


@pytest.mark.parametrize("nu", NUS)
@pytest.mark.parametrize("quantity", QUANTITIES)
def test_mutants_leave_a_residual(nu: float, quantity: str) -> None:
    form = getattr(line.matern_forms(nu), quantity)
    for mutant in coefficient_mutants(form.expression):
        assert not DERIVE[quantity](nu, mutant).steps[-1].check().holds


def test_one_kernels_formula_is_not_the_others() -> None:
    other = line.matern_forms(2.5).own_weight.expression
    assert not line.derive_own_weight(1.5, other).steps[-1].check().holds


# --- the forms in the slice -------------------------------------------------------------------


@pytest.mark.parametrize("nu", NUS)
def test_limit_risk_uses_the_forms(nu: float) -> None:
    forms, found = line.matern_forms(nu), limit_risk(Matern(nu), 0.8)
    assert (found.approximation, found.estimation) == (
        forms.approximation(0.8),
        forms.estimation(0.8),
    )
    assert found.error == 0.0
    assert limit_forms(Matern(nu, 2)) is None


@pytest.mark.parametrize(("nu", "error"), [(0.5, ValueError), (3, ValueError), ("3/2", TypeError)])
def test_other_smoothness_is_refused(nu: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="nu = "):
        line.matern_forms(nu)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_automatic_mutant_of_the_long_form_is_noticed() -> None:
    """The claim takes V of ν = 5/2 with hand-written mutants only; here are all the others."""
    form = line.matern_forms(2.5).estimation
    points = ("0.4", "0.9")
    right = [form.mp(c, 16) for c in points]
    survivors = []
    for mutation in mutations(form.expression):
        try:
            wrong = form.replace_expression(mutation.expression)
            values = [wrong.mp(c, 16) for c in points]
        except (TypeError, ValueError, ArithmeticError):
            continue  # cannot be evaluated, so it cannot pass for the formula
        if all(abs(a - b) <= 1e-11 * abs(b) for a, b in zip(values, right, strict=True)):
            survivors.append(mutation.description)
    assert not survivors
