r"""Interpolation with the Laplace kernel e^{-|x|} on the circle: exact risk in closed form.

With s = 1/c the reciprocal of the bandwidth in grid spacings, the noise costs
V = coth(s)/s - csch(s)^2, in the limit and at every grid size n >= 2, and the bias of a smooth
target is B = 1 - (3/2) tau + sech(s/2)^2 / 2 with tau = tanh(s/2)/(s/2). Both are derived twice:
from the lattice sums, and from the differential equation that the interpolant solves between
neighbouring points.
"""

from __future__ import annotations

from functools import partial

import sympy

from ..closed_form import ClosedForm
from ..derivation import Derivation, Step, first_nonzero
from ._algebra import (
    geometric_sum_residual,
    half_line_residual,
    reduce_exponentials,
)

BANDWIDTH = sympy.Symbol("c", positive=True)
RATE = sympy.Symbol("s", positive=True)
FREQUENCY = sympy.Symbol("xi", real=True)
ANGLE = sympy.Symbol("u", real=True)
COSINE = sympy.Symbol("X", real=True)  # stands for cos(u)

FOURIER_TRANSFORM = 2 / (1 + 4 * sympy.pi**2 * FREQUENCY**2)

_EVERYWHERE = (sympy.Integer(0), sympy.oo)
_TAU = sympy.tanh(RATE / 2) / (RATE / 2)


def _closed_form(quantity: str, expression: sympy.Expr) -> ClosedForm:
    return ClosedForm(f"ridgeless.laplace.{quantity}", expression, RATE, _EVERYWHERE)


def _in_bandwidth(form: ClosedForm) -> ClosedForm:
    name = form.name.removesuffix("_in_rate")
    return form.compose(1 / BANDWIDTH, BANDWIDTH, _EVERYWHERE, name=name)


# In s = 1/c, the natural variable: the spacing of the grid in units of the bandwidth.
ESTIMATION_IN_RATE = _closed_form(
    "estimation_in_rate", sympy.coth(RATE) / RATE - sympy.csch(RATE) ** 2
)
OWN_WEIGHT_IN_RATE = _closed_form("own_weight_in_rate", _TAU)
WEIGHT_ENERGY_IN_RATE = _closed_form(
    "weight_energy_in_rate", _TAU / 2 + sympy.sech(RATE / 2) ** 2 / 2
)
APPROXIMATION_IN_RATE = _closed_form(
    "approximation_in_rate",
    1 - sympy.Rational(3, 2) * _TAU + sympy.sech(RATE / 2) ** 2 / 2,
)

# In c, as for every kernel of this slice.
ESTIMATION = _in_bandwidth(ESTIMATION_IN_RATE)
OWN_WEIGHT = _in_bandwidth(OWN_WEIGHT_IN_RATE)
WEIGHT_ENERGY = _in_bandwidth(WEIGHT_ENERGY_IN_RATE)
APPROXIMATION = _in_bandwidth(APPROXIMATION_IN_RATE)


def lattice_sum(rate: sympy.Expr, cosine: sympy.Expr) -> sympy.Expr:
    """Return sum_m 1/(s^2 + (u + 2 pi m)^2) in closed form.

    Args:
        rate: s > 0.
        cosine: cos(u).

    Source: classical.
    """
    return sympy.sinh(rate) / (2 * rate * (sympy.cosh(rate) - cosine))


def squared_lattice_sum(rate: sympy.Symbol, cosine: sympy.Expr) -> sympy.Expr:
    """Return sum_m 1/(s^2 + (u + 2 pi m)^2)^2 in closed form, from the derivative in s.

    Args:
        rate: The symbol s > 0.
        cosine: cos(u).

    Source: classical.
    """
    return -sympy.diff(lattice_sum(rate, cosine), rate) / (2 * rate)


def weight_energy_at(rate: sympy.Expr, cosine: sympy.Expr) -> sympy.Expr:
    """Return sum_l r_l(theta)^2 = Q/S^2, which is affine in cos(2 pi theta).

    Args:
        rate: s = 1/c > 0.
        cosine: cos(2 pi theta).

    Source: this project.
    """
    slope = (sympy.sinh(rate) / rate - sympy.cosh(rate)) / sympy.sinh(rate) ** 2
    return 1 + (sympy.cosh(rate) - cosine) * slope


# --- first derivation: the lattice sums -------------------------------------------------------


def _transform_residual() -> sympy.Expr:
    omega = 2 * sympy.pi * FREQUENCY
    halves = 1 / (1 + sympy.I * omega) + 1 / (1 - sympy.I * omega)  # x > 0 and x < 0
    return first_nonzero(
        half_line_residual(sympy.Integer(1), omega), sympy.cancel(halves - FOURIER_TRANSFORM)
    )


def _summand_residual() -> sympy.Expr:
    theta, m = sympy.symbols("theta m", real=True)
    term = FOURIER_TRANSFORM.subs(FREQUENCY, (theta + m) / RATE)
    w = 2 * sympy.pi * (theta + m)
    return sympy.cancel(term - 2 * RATE**2 / (RATE**2 + w**2))


def _coefficient_residual() -> sympy.Expr:
    z = sympy.Symbol("z")
    k = sympy.Symbol("k", integer=True, nonnegative=True)
    pole = sympy.I * RATE
    residue = sympy.residue(sympy.exp(sympy.I * k * z) / (RATE**2 + z**2), z, pole)
    # The coefficient is (1/2 pi) times the integral over the line, that is (1/2 pi) 2 pi i Res.
    return sympy.simplify(sympy.I * residue - sympy.exp(-k * RATE) / (2 * RATE))


def _lattice_sum_residual() -> sympy.Expr:
    x = sympy.exp(-RATE + sympy.I * ANGLE)
    y = sympy.exp(-RATE - sympy.I * ANGLE)
    series = (1 / (1 - x) + 1 / (1 - y) - 1) / (2 * RATE)
    return reduce_exponentials(series - lattice_sum(RATE, sympy.cos(ANGLE)))


def _derivative_residual() -> sympy.Expr:
    w = sympy.Symbol("w", real=True)
    term = 1 / (RATE**2 + w**2)
    return sympy.cancel(-sympy.diff(term, RATE) / (2 * RATE) - term**2)


def _ratio_residual() -> sympy.Expr:
    # S = 2 s^2 A and Q = 4 s^4 D, so the prefactors drop out of Q/S^2.
    Q_over_S2 = squared_lattice_sum(RATE, COSINE) / lattice_sum(RATE, COSINE) ** 2
    return reduce_exponentials(Q_over_S2 - weight_energy_at(RATE, COSINE))


def _lattice_steps() -> tuple[Step, ...]:
    return (
        Step("The Fourier transform of e^{-|x|} is 2/(1 + 4 pi^2 xi^2).", _transform_residual),
        Step(
            "With s = 1/c and u = 2 pi theta the terms of S are 2 s^2/(s^2 + (u + 2 pi m)^2).",
            _summand_residual,
        ),
        Step(
            "By Poisson summation A = sum_m 1/(s^2 + (u + 2 pi m)^2) has the Fourier coefficients "
            "e^{-s|k|}/(2s): close the contour above and take the residue at i s.",
            _coefficient_residual,
        ),
        Step("Geometric sums, by induction on the number of terms.", geometric_sum_residual),
        Step(
            "Summing the Fourier series as two geometric series, "
            "A = sinh(s)/(2 s (cosh(s) - cos(u))).",
            _lattice_sum_residual,
        ),
        Step(
            "Differentiating a term in s squares it: -(1/2s) d/ds 1/(s^2+w^2) = 1/(s^2+w^2)^2.",
            _derivative_residual,
        ),
        Step(
            "Hence Q/S^2 = 1 + (cosh(s) - cos(u)) (sinh(s)/s - cosh(s))/sinh(s)^2: "
            "affine in cos(u).",
            _ratio_residual,
        ),
    )


def _mean_cosine_residual() -> sympy.Expr:
    return sympy.integrate(sympy.cos(ANGLE), (ANGLE, 0, 2 * sympy.pi))


def _grid_cosine_residual() -> sympy.Expr:
    n = sympy.Symbol("n", integer=True, positive=True)
    root = sympy.exp(2 * sympy.pi * sympy.I / n)
    # For n >= 2 the root is not 1, so the geometric sum of its powers is (1 - root^n)/(1 - root).
    return sympy.simplify(1 - sympy.powdenest(root**n, force=True))


def _at_rate(claimed: sympy.Expr) -> sympy.Expr:
    return claimed.subs(BANDWIDTH, 1 / RATE)


def _claim_residual(claimed: sympy.Expr, derived: sympy.Expr) -> sympy.Expr:
    return reduce_exponentials(_at_rate(claimed) - derived)


_LATTICE_CITES = (
    "Poisson summation formula",
    "residue theorem with Jordan's lemma",
    "a uniformly convergent series of derivatives may be differentiated term by term",
)


def derive_estimation(claimed: sympy.Expr = ESTIMATION.expression) -> Derivation:
    """Derive V(c), and V_n for every n >= 2, from the lattice sums.

    Args:
        claimed: The formula to compare with, in the symbol ``BANDWIDTH`` (or in ``RATE``).

    Source: this project.
    """
    mean = weight_energy_at(RATE, sympy.Integer(0))
    steps = (
        *_lattice_steps(),
        Step("cos(u) has mean 0 over the period.", _mean_cosine_residual),
        Step(
            "cos(2 pi l/n) has mean 0 over l = 0..n-1 for n >= 2 (the n-th roots of unity sum to "
            "0), so that the finite grid gives the same value as the limit.",
            _grid_cosine_residual,
        ),
        Step(
            "V is the constant part of Q/S^2, and equals the claimed formula.",
            partial(_claim_residual, claimed, mean),
        ),
    )
    goal = "V(c) = V_n = coth(s)/s - csch(s)^2 for the Laplace kernel, s = 1/c, n >= 2."
    return Derivation(goal, steps, _LATTICE_CITES)


def _own_weight() -> sympy.Expr:
    # S(0) = 2 s^2 A at u = 0, and the transform at 0 is 2.
    return FOURIER_TRANSFORM.subs(FREQUENCY, 0) / (
        2 * RATE**2 * lattice_sum(RATE, sympy.Integer(1))
    )


def derive_own_weight(claimed: sympy.Expr = OWN_WEIGHT.expression) -> Derivation:
    """Derive r_0(0), the share of the lowest frequency in its alias class.

    Args:
        claimed: The formula to compare with, in the symbol ``BANDWIDTH`` (or in ``RATE``).

    Source: this project.
    """
    last = Step("r_0(0) = phihat(0)/S(0).", partial(_claim_residual, claimed, _own_weight()))
    goal = "r_0(0) = tanh(s/2)/(s/2) for the Laplace kernel, s = 1/c."
    return Derivation(goal, (*_lattice_steps(), last), _LATTICE_CITES)


def derive_weight_energy(claimed: sympy.Expr = WEIGHT_ENERGY.expression) -> Derivation:
    """Derive sum_l r_l(0)^2.

    Args:
        claimed: The formula to compare with, in the symbol ``BANDWIDTH`` (or in ``RATE``).

    Source: this project.
    """
    energy = weight_energy_at(RATE, sympy.Integer(1))
    last = Step("The energy is Q/S^2 at u = 0.", partial(_claim_residual, claimed, energy))
    goal = "sum_l r_l(0)^2 = tanh(s/2)/s + sech(s/2)^2/2 for the Laplace kernel, s = 1/c."
    return Derivation(goal, (*_lattice_steps(), last), _LATTICE_CITES)


def derive_approximation(claimed: sympy.Expr = APPROXIMATION.expression) -> Derivation:
    """Derive B(c) = 1 - 2 r_0(0) + sum_l r_l(0)^2 from the lattice sums.

    Args:
        claimed: The formula to compare with, in the symbol ``BANDWIDTH`` (or in ``RATE``).

    Source: this project.
    """
    derived = 1 - 2 * _own_weight() + weight_energy_at(RATE, sympy.Integer(1))
    last = Step("B = 1 - 2 r_0 + sum_l r_l^2.", partial(_claim_residual, claimed, derived))
    goal = "B(c) = 1 - (3/2) tau + sech(s/2)^2/2, tau = tanh(s/2)/(s/2), s = 1/c."
    return Derivation(goal, (*_lattice_steps(), last), _LATTICE_CITES)


# --- second derivation: the differential equation between neighbours --------------------------

_X, _H, _GAP = sympy.symbols("x h g", positive=True)
_PERIODISED = sympy.cosh((sympy.Rational(1, 2) - _X) / _H) / sympy.sinh(1 / (2 * _H))
_CARDINAL = sympy.sinh(_X / _H) / sympy.sinh(_GAP / _H)  # 0 at the left point, 1 at the right
_PLATEAU = sympy.cosh((_X - _GAP / 2) / _H) / sympy.cosh(_GAP / (2 * _H))  # 1 at both points


def _periodised_residual() -> sympy.Expr:
    right, left = sympy.exp(-_X / _H), sympy.exp(-(1 - _X) / _H)
    return reduce_exponentials((right + left) / (1 - sympy.exp(-1 / _H)) - _PERIODISED)


def _equation_residual(u: sympy.Expr) -> sympy.Expr:
    return reduce_exponentials(u - _H**2 * sympy.diff(u, _X, 2))


def _green_residual() -> sympy.Expr:
    slope = sympy.diff(_PERIODISED, _X)
    continuity = _PERIODISED.subs(_X, 0) - _PERIODISED.subs(_X, 1)
    jump = slope.subs(_X, 0) - slope.subs(_X, 1) + 2 / _H
    return first_nonzero(
        _equation_residual(_PERIODISED), reduce_exponentials(continuity), reduce_exponentials(jump)
    )


def _boundary_residual(u: sympy.Expr, left: int, right: int) -> sympy.Expr:
    return first_nonzero(
        _equation_residual(u),
        reduce_exponentials(u.subs(_X, 0) - left),
        reduce_exponentials(u.subs(_X, _GAP) - right),
    )


def _uniqueness_residual() -> sympy.Expr:
    basis = (sympy.cosh(_X / _H), sympy.sinh(_X / _H))
    values = sympy.Matrix(2, 2, lambda i, j: basis[j].subs(_X, (0, _GAP)[i]))
    return sympy.simplify(values.det() - sympy.sinh(_GAP / _H))


def _noise_residual() -> sympy.Expr:
    y0, y1, e0, e1 = sympy.symbols("y0 y1 e0 e1")
    square = sympy.Poly(sympy.expand((y0 * e0 + y1 * e1) ** 2), y0, y1)
    moments = {(2, 0): 1, (0, 2): 1, (1, 1): 0}  # independent noise of mean 0 and variance 1
    mean = sum(a * moments[powers] for powers, a in square.terms())
    return sympy.expand(mean - e0**2 - e1**2)


def _square_integral_residual(integrand: sympy.Expr, integral: sympy.Expr) -> sympy.Expr:
    slope = reduce_exponentials(sympy.diff(integral, _X) - integrand)
    return first_nonzero(slope, sympy.simplify(integral.subs(_X, 0)))


def _cardinal_integral() -> sympy.Expr:
    x = _X / _H
    return _H * (sympy.sinh(x) * sympy.cosh(x) - x) / (2 * sympy.sinh(_GAP / _H) ** 2)


def _plateau_integral() -> sympy.Expr:
    """Integral from 0 to x of (1 - plateau)^2."""
    y, half = (_X - _GAP / 2) / _H, _GAP / (2 * _H)
    linear = 2 * _H * (sympy.sinh(y) + sympy.sinh(half)) / sympy.cosh(half)
    wave = sympy.sinh(y) * sympy.cosh(y) + sympy.sinh(half) * sympy.cosh(half)
    return _X - linear + (_X + _H * wave) / (2 * sympy.cosh(half) ** 2)


def gap_mean(integral: sympy.Expr) -> sympy.Expr:
    """Return the mean over a gap from an integral that starts at its left end, as a function of s.

    Only s = gap/bandwidth matters, because the equation has no other length.

    Source: this project.
    """
    return (integral.subs(_X, _GAP) / _GAP).subs(_GAP, RATE * _H)


def _equation_steps() -> tuple[Step, ...]:
    return (
        Step("Geometric sums, by induction on the number of terms.", geometric_sum_residual),
        Step(
            "On the circle the periodised kernel is cosh((1/2 - x)/h)/sinh(1/(2h)), 0 <= x <= 1.",
            _periodised_residual,
        ),
        Step(
            "It solves u - h^2 u'' = 0 off 0 and its slope jumps there by -2/h: it is the Green's "
            "function, so that every interpolant solves the equation between neighbours.",
            _green_residual,
        ),
        Step(
            "Two values at the ends of a gap determine the solution: the determinant of the "
            "boundary conditions is sinh(g/h), which is not 0.",
            _uniqueness_residual,
        ),
    )


_EQUATION_CITES = ("the solutions of u - h^2 u'' = 0 are spanned by cosh(x/h) and sinh(x/h)",)


def derive_estimation_by_equation(claimed: sympy.Expr = ESTIMATION.expression) -> Derivation:
    """Derive V(c) a second time, from the differential equation of the interpolant.

    Args:
        claimed: The formula to compare with, in the symbol ``BANDWIDTH`` (or in ``RATE``).

    Source: this project.
    """
    integral = _cardinal_integral()
    steps = (
        *_equation_steps(),
        Step(
            "The cardinal function of a gap's right end is sinh(x/h)/sinh(g/h); the left end's is "
            "its mirror image.",
            partial(_boundary_residual, _CARDINAL, 0, 1),
        ),
        Step(
            "Independent noise at the two ends adds in squares: no cross term survives.",
            _noise_residual,
        ),
        Step(
            "Integrate sinh(x/h)^2/sinh(g/h)^2 by its antiderivative.",
            partial(_square_integral_residual, _CARDINAL**2, integral),
        ),
        Step(
            "Both ends contribute alike; with g/h = s the mean over a gap is the claimed formula.",
            partial(_claim_residual, claimed, 2 * gap_mean(integral)),
        ),
    )
    goal = "V(c) = (2/s) int_0^s sinh(x)^2 dx / sinh(s)^2 for the Laplace kernel, s = 1/c."
    return Derivation(goal, steps, _EQUATION_CITES)


def derive_approximation_by_equation(
    claimed: sympy.Expr = APPROXIMATION.expression,
) -> Derivation:
    """Derive B(c) a second time: interpolate the constant 1 between neighbours.

    As n grows at fixed c a smooth target is constant over a gap, up to o(1).

    Args:
        claimed: The formula to compare with, in the symbol ``BANDWIDTH`` (or in ``RATE``).

    Source: this project.
    """
    integral = _plateau_integral()
    steps = (
        *_equation_steps(),
        Step(
            "The interpolant of the constant 1 is cosh((x - g/2)/h)/cosh(g/(2h)) on a gap.",
            partial(_boundary_residual, _PLATEAU, 1, 1),
        ),
        Step(
            "Integrate the squared error (1 - u)^2 by its antiderivative.",
            partial(_square_integral_residual, (1 - _PLATEAU) ** 2, integral),
        ),
        Step(
            "With g/h = s the mean over a gap is the claimed formula.",
            partial(_claim_residual, claimed, gap_mean(integral)),
        ),
    )
    goal = "B(c) is the mean of (1 - cosh(x)/cosh(s/2))^2 over |x| < s/2, s = 1/c."
    return Derivation(goal, steps, _EQUATION_CITES)
