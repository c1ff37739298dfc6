r"""Interpolation with the Cauchy kernel 1/(1 + x^2) on the circle: exact risk in closed form.

Its transform is an exponential, so that the lattice sums are geometric. With a = pi c and
t = tanh(a): V = t (1 - t/(2a)), B = (1 - t)^2 (1 + t/2), and V_n is a finite sum of sech^2.
"""

from __future__ import annotations

from functools import partial

import sympy

from ..closed_form import ClosedForm
from ..derivation import Derivation, Step, first_nonzero
from ..validation import integer
from ._algebra import (
    geometric_sum_residual,
    half_line_residual,
    reduce_exponentials,
)

BANDWIDTH = sympy.Symbol("c", positive=True)
SCALED_BANDWIDTH = sympy.Symbol("a", positive=True)  # pi c
OFFSET = sympy.Symbol("theta", positive=True)  # theta in [0, 1]

_EVERYWHERE = (sympy.Integer(0), sympy.oo)
_T = sympy.tanh(SCALED_BANDWIDTH)


def _closed_form(quantity: str, expression: sympy.Expr) -> ClosedForm:
    return ClosedForm(f"ridgeless.cauchy.{quantity}", expression, SCALED_BANDWIDTH, _EVERYWHERE)


def _in_bandwidth(form: ClosedForm) -> ClosedForm:
    name = form.name.removesuffix("_in_scaled")
    return form.compose(sympy.pi * BANDWIDTH, BANDWIDTH, _EVERYWHERE, name=name)


# In a = pi c, the natural variable.
ESTIMATION_IN_SCALED = _closed_form("estimation_in_scaled", _T * (1 - _T / (2 * SCALED_BANDWIDTH)))
OWN_WEIGHT_IN_SCALED = _closed_form("own_weight_in_scaled", _T)
WEIGHT_ENERGY_IN_SCALED = _closed_form("weight_energy_in_scaled", _T * (1 + _T**2) / 2)
APPROXIMATION_IN_SCALED = _closed_form("approximation_in_scaled", (1 - _T) ** 2 * (1 + _T / 2))

# In c, as for every kernel of this slice.
ESTIMATION = _in_bandwidth(ESTIMATION_IN_SCALED)
OWN_WEIGHT = _in_bandwidth(OWN_WEIGHT_IN_SCALED)
WEIGHT_ENERGY = _in_bandwidth(WEIGHT_ENERGY_IN_SCALED)
APPROXIMATION = _in_bandwidth(APPROXIMATION_IN_SCALED)


def finite_estimation(points: int) -> ClosedForm:
    """Return V_n(c) = t [1 - (1/2n) sum_{l<n} sech(2 pi h (n/2 - l))^2] with h = c/n.

    Args:
        points: n >= 1.

    Raises:
        TypeError, ValueError: If ``points`` is not a positive integer.

    Source: this project.
    """
    n = integer("points", points, 1)
    bandwidth = BANDWIDTH / n  # h
    angles = (2 * sympy.pi * bandwidth * (sympy.Rational(n, 2) - index) for index in range(n))
    terms = (sympy.sech(angle) ** 2 for angle in angles)
    expression = sympy.tanh(sympy.pi * BANDWIDTH) * (1 - sum(terms) / (2 * n))
    return ClosedForm(f"ridgeless.cauchy.estimation.n{n}", expression, BANDWIDTH, _EVERYWHERE)


def lattice_sum(scaled_bandwidth: sympy.Expr, offset: sympy.Expr) -> sympy.Expr:
    """Return S = sum_m pi e^{-2 pi c |theta + m|} in closed form, for 0 <= theta <= 1.

    Args:
        scaled_bandwidth: a = pi c > 0.
        offset: theta.

    Source: classical.
    """
    half = sympy.Rational(1, 2)
    centred = sympy.cosh(2 * scaled_bandwidth * (half - offset))
    return sympy.pi * centred / sympy.sinh(scaled_bandwidth)


def weight_energy_at(scaled_bandwidth: sympy.Expr, offset: sympy.Expr) -> sympy.Expr:
    """Return sum_l r_l(theta)^2 = Q/S^2, for 0 <= theta <= 1.

    Args:
        scaled_bandwidth: a = pi c > 0.
        offset: theta.

    Source: this project.
    """
    half = sympy.Rational(1, 2)
    dip = sympy.sech(2 * scaled_bandwidth * (half - offset)) ** 2
    return sympy.tanh(scaled_bandwidth) * (1 - dip / 2)


def _transform_residual() -> sympy.Expr:
    x = sympy.Symbol("x", real=True)
    rate, frequency = 2 * sympy.pi, 2 * sympy.pi * x
    halves = 1 / (rate + sympy.I * frequency) + 1 / (rate - sympy.I * frequency)
    inverse = sympy.cancel(sympy.pi * halves - 1 / (1 + x**2))
    return first_nonzero(half_line_residual(rate, frequency), inverse)


def _lattice_sum_residual() -> sympy.Expr:
    # q^theta + q^{1+theta} + ... from the right, q^{1-theta} + q^{2-theta} + ... from the left.
    right = sympy.exp(-2 * SCALED_BANDWIDTH * OFFSET)
    left = sympy.exp(-2 * SCALED_BANDWIDTH * (1 - OFFSET))
    series = sympy.pi * (right + left) / (1 - sympy.exp(-2 * SCALED_BANDWIDTH))
    return reduce_exponentials(series - lattice_sum(SCALED_BANDWIDTH, OFFSET))


def _square_residual() -> sympy.Expr:
    xi = sympy.Symbol("xi", nonnegative=True)
    term = sympy.pi * sympy.exp(-2 * SCALED_BANDWIDTH * xi)
    doubled = term.subs(SCALED_BANDWIDTH, 2 * SCALED_BANDWIDTH)
    return sympy.simplify(term**2 - sympy.pi * doubled)


def _ratio_residual() -> sympy.Expr:
    S = lattice_sum(SCALED_BANDWIDTH, OFFSET)
    Q = sympy.pi * lattice_sum(2 * SCALED_BANDWIDTH, OFFSET)
    return reduce_exponentials(Q / S**2 - weight_energy_at(SCALED_BANDWIDTH, OFFSET))


_LATTICE_STEPS = (
    Step(
        "pi e^{-2 pi |xi|} is the transform of 1/(1 + x^2): its inverse transform is that.",
        _transform_residual,
    ),
    Step("Geometric sums, by induction on the number of terms.", geometric_sum_residual),
    Step(
        "S is two geometric series: S = pi cosh(2a(1/2 - theta))/sinh(a), a = pi c.",
        _lattice_sum_residual,
    ),
    Step("phihat^2 is pi times phihat at twice the bandwidth, so Q is pi S(2a).", _square_residual),
    Step(
        "Hence Q/S^2 = tanh(a) (1 - sech(2a(1/2 - theta))^2/2).",
        _ratio_residual,
    ),
)
_CITES = ("Fourier inversion theorem",)


def _claim_residual(claimed: sympy.Expr, derived: sympy.Expr) -> sympy.Expr:
    in_scaled = claimed.subs(BANDWIDTH, SCALED_BANDWIDTH / sympy.pi)
    return reduce_exponentials(in_scaled - derived)


def _energy_integral() -> sympy.Expr:
    """Antiderivative of Q/S^2 in theta."""
    angle = 2 * SCALED_BANDWIDTH * (sympy.Rational(1, 2) - OFFSET)
    return sympy.tanh(SCALED_BANDWIDTH) * (OFFSET + sympy.tanh(angle) / (4 * SCALED_BANDWIDTH))


def _antiderivative_residual() -> sympy.Expr:
    slope = sympy.diff(_energy_integral(), OFFSET)
    return reduce_exponentials(slope - weight_energy_at(SCALED_BANDWIDTH, OFFSET))


def _mean_energy() -> sympy.Expr:
    return _energy_integral().subs(OFFSET, 1) - _energy_integral().subs(OFFSET, 0)


def derive_estimation(claimed: sympy.Expr = ESTIMATION.expression) -> Derivation:
    """Derive V(c) = t (1 - t/(2a)), a = pi c, t = tanh(a).

    Args:
        claimed: The formula to compare with, in the symbol ``BANDWIDTH`` (or
            ``SCALED_BANDWIDTH``).

    Source: this project.
    """
    steps = (
        *_LATTICE_STEPS,
        Step(
            "Integrate over theta: the antiderivative of sech^2 is tanh.", _antiderivative_residual
        ),
        Step(
            "The mean of Q/S^2 is the claimed formula.",
            partial(_claim_residual, claimed, _mean_energy()),
        ),
    )
    return Derivation("V(c) = t (1 - t/(2a)) for the Cauchy kernel, d = 1.", steps, _CITES)


def derive_finite_estimation(points: int, claimed: sympy.Expr | None = None) -> Derivation:
    """Derive V_n, the mean of Q/S^2 over the grid theta = l/n.

    Args:
        points: n >= 1.
        claimed: The formula to compare with, in the symbol ``BANDWIDTH``; by default the
            expression of `finite_estimation`.

    Raises:
        TypeError, ValueError: If ``points`` is not a positive integer.

    Source: this project.
    """
    formula = finite_estimation(points).expression if claimed is None else claimed
    offsets = (sympy.Rational(index, points) for index in range(points))
    derived = sum(weight_energy_at(SCALED_BANDWIDTH, offset) for offset in offsets) / points
    last = Step(
        "The mean over the grid is the claimed formula: c (1/2 - l/n) = h (n/2 - l).",
        partial(_claim_residual, formula, derived),
    )
    goal = (
        f"V_n = t [1 - (1/2n) sum_l sech(2 pi h (n/2 - l))^2] for the Cauchy kernel, n = {points}."
    )
    return Derivation(goal, (*_LATTICE_STEPS, last), _CITES)


def _own_weight() -> sympy.Expr:
    return sympy.pi / lattice_sum(SCALED_BANDWIDTH, sympy.Integer(0))


def derive_own_weight(claimed: sympy.Expr = OWN_WEIGHT.expression) -> Derivation:
    """Derive r_0(0) = phihat(0)/S(0) = tanh(pi c).

    Args:
        claimed: The formula to compare with, in the symbol ``BANDWIDTH`` (or
            ``SCALED_BANDWIDTH``).

    Source: this project.
    """
    last = Step("r_0(0) = phihat(0)/S(0).", partial(_claim_residual, claimed, _own_weight()))
    return Derivation("r_0(0) = tanh(pi c) for the Cauchy kernel.", (*_LATTICE_STEPS, last), _CITES)


def derive_weight_energy(claimed: sympy.Expr = WEIGHT_ENERGY.expression) -> Derivation:
    """Derive sum_l r_l(0)^2 = t (1 + t^2)/2.

    Args:
        claimed: The formula to compare with, in the symbol ``BANDWIDTH`` (or
            ``SCALED_BANDWIDTH``).

    Source: this project.
    """
    energy = weight_energy_at(SCALED_BANDWIDTH, sympy.Integer(0))
    last = Step("The energy is Q/S^2 at theta = 0.", partial(_claim_residual, claimed, energy))
    goal = "sum_l r_l(0)^2 = t (1 + t^2)/2 for the Cauchy kernel."
    return Derivation(goal, (*_LATTICE_STEPS, last), _CITES)


def derive_approximation(claimed: sympy.Expr = APPROXIMATION.expression) -> Derivation:
    """Derive B(c) = 1 - 2 r_0(0) + sum_l r_l(0)^2 = (1 - t)^2 (1 + t/2).

    Args:
        claimed: The formula to compare with, in the symbol ``BANDWIDTH`` (or
            ``SCALED_BANDWIDTH``).

    Source: this project.
    """
    energy = weight_energy_at(SCALED_BANDWIDTH, sympy.Integer(0))
    derived = 1 - 2 * _own_weight() + energy
    last = Step("B = 1 - 2 r_0 + sum_l r_l^2.", partial(_claim_residual, claimed, derived))
    goal = "B(c) = (1 - t)^2 (1 + t/2) for the Cauchy kernel."
    return Derivation(goal, (*_LATTICE_STEPS, last), _CITES)
