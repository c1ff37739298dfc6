r"""Coordinate products of one-dimensional kernels: the risk in d dimensions from the one in one.

The lattice sums factor, S_d = prod S_1(theta_i) and Q_d likewise, and with them the integral:
V_d = V_1^d, r_0 becomes r_0^d, the energy q = sum_l r_l(0)^2 becomes q^d, B_d = 1 - 2 r_0^d + q^d.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import product

import sympy

from ..closed_form import ClosedForm
from ..derivation import Derivation, Step, first_nonzero
from ..validation import integer

ESTIMATION_SYMBOL = sympy.Symbol("V_1", positive=True)
WEIGHT_SYMBOL = sympy.Symbol("r_0", positive=True)
ENERGY_SYMBOL = sympy.Symbol("q", positive=True)
DIMENSION = sympy.Symbol("d", integer=True, positive=True)

ESTIMATION = ESTIMATION_SYMBOL**DIMENSION
APPROXIMATION = 1 - 2 * WEIGHT_SYMBOL**DIMENSION + ENERGY_SYMBOL**DIMENSION


@dataclass(frozen=True)
class ProductForms:
    """The closed forms of a d-fold product kernel, in the bandwidth c in grid spacings.

    Attributes:
        estimation: V_d(c).
        approximation: B_d(c).
        own_weight: r_0(0), the share of the lowest frequency in its alias class.
        weight_energy: sum_l r_l(0)^2.
    """

    estimation: ClosedForm
    approximation: ClosedForm
    own_weight: ClosedForm
    weight_energy: ClosedForm


def product_forms(
    estimation: ClosedForm, own_weight: ClosedForm, weight_energy: ClosedForm, dimension: int
) -> ProductForms:
    """Return the closed forms of the d-fold product of a one-dimensional kernel.

    Args:
        estimation: V_1(c).
        own_weight: r_0(0) of the one-dimensional kernel, in the same variable.
        weight_energy: sum_l r_l(0)^2 of the one-dimensional kernel, in the same variable.
        dimension: d >= 1.

    Raises:
        TypeError: If ``dimension`` is not an integer.
        ValueError: If ``dimension`` is less than 1, or if the forms differ in their variable.

    Source: this project.
    """
    d = integer("dimension", dimension, 1)
    variables = {form.variable for form in (estimation, own_weight, weight_energy)}
    if len(variables) > 1:
        raise ValueError(
            f"own_weight, weight_energy: variables {variables} must be one and the same"
        )
    values = {
        ESTIMATION_SYMBOL: estimation.expression,
        WEIGHT_SYMBOL: own_weight.expression,
        ENERGY_SYMBOL: weight_energy.expression,
        DIMENSION: sympy.Integer(d),
    }
    kernel, _, _ = estimation.name.rpartition(".")

    def form(quantity: str, formula: sympy.Expr) -> ClosedForm:
        name = f"{kernel}.{quantity}.d{d}"
        expression = formula.subs(values, simultaneous=True)
        return ClosedForm(name, expression, estimation.variable, estimation.domain)

    return ProductForms(
        estimation=form("estimation", ESTIMATION),
        approximation=form("approximation", APPROXIMATION),
        own_weight=form("own_weight", WEIGHT_SYMBOL**DIMENSION),
        weight_energy=form("weight_energy", ENERGY_SYMBOL**DIMENSION),
    )


# --- derivation -------------------------------------------------------------------------------


def _truncation_residual(dimension: int, terms: int) -> sympy.Expr:
    """Check sum over the box of prod_i a_i(m_i) = prod_i sum_m a_i(m), term by term."""
    a = [sympy.symbols(f"a{axis}_0:{terms}") for axis in range(dimension)]
    box = sum(sympy.prod(term) for term in product(*a))
    return sympy.expand(sympy.prod(sum(axis) for axis in a) - box)


def _one_more_term_residual() -> sympy.Expr:
    """Check that adding the term t to a factor adds t times the others to the sum over the box."""
    t, partial_sum, others = sympy.symbols("t A P")
    return sympy.expand((partial_sum + t) * others - (partial_sum * others + t * others))


def _ratio_residual() -> sympy.Expr:
    S, Q, S_1, Q_1 = sympy.symbols("S_d Q_d S_1 Q_1", positive=True)
    return sympy.cancel(Q * Q_1 / (S * S_1) ** 2 - (Q / S**2) * (Q_1 / S_1**2))


def _recurrence_residual(solution: sympy.Expr, first: sympy.Expr) -> sympy.Expr:
    """Check x_1 = first and x_{d+1} = x_d first."""
    start = sympy.simplify(solution.subs(DIMENSION, 1) - first)
    step = solution.subs(DIMENSION, DIMENSION + 1) - solution * first
    return first_nonzero(start, sympy.simplify(sympy.expand(step)))


def _claim_residual(claimed: sympy.Expr, derived: sympy.Expr) -> sympy.Expr:
    return sympy.simplify(sympy.expand(claimed - derived))


_FACTOR_STEPS = (
    Step(
        "d = 2: the sum over a box of products is the product of the sums.",
        partial(_truncation_residual, 2, 4),
    ),
    Step("d = 3: likewise.", partial(_truncation_residual, 3, 3)),
    Step(
        "Any d and any number of terms, by induction on the terms: distributive law.",
        _one_more_term_residual,
    ),
    Step(
        "So S_{d+1} = S_d S_1, likewise Q as phihat^2 factors too, and Q/S^2 separates.",
        _ratio_residual,
    ),
)
_CITES = (
    "Tonelli: series of positive terms may be summed over boxes",
    "Fubini: the integral of a product of functions of separate coordinates factors",
)


def derive_estimation(claimed: sympy.Expr = ESTIMATION) -> Derivation:
    """Derive V_d = V_1^d.

    Args:
        claimed: The formula to compare with, in ``ESTIMATION_SYMBOL`` and ``DIMENSION``.

    Source: this project.
    """
    derived = ESTIMATION_SYMBOL**DIMENSION
    steps = (
        *_FACTOR_STEPS,
        Step(
            "V_{d+1} = V_d V_1 by Fubini, solved by V_1^d.",
            partial(_recurrence_residual, derived, ESTIMATION_SYMBOL),
        ),
        Step("This is the claimed formula.", partial(_claim_residual, claimed, derived)),
    )
    return Derivation("V_d = V_1^d for coordinate products.", steps, _CITES)


def derive_approximation(claimed: sympy.Expr = APPROXIMATION) -> Derivation:
    """Derive B_d = 1 - 2 r_0^d + q^d.

    Args:
        claimed: The formula to compare with, in ``WEIGHT_SYMBOL``, ``ENERGY_SYMBOL`` and
            ``DIMENSION``.

    Source: this project.
    """
    weight, energy = WEIGHT_SYMBOL**DIMENSION, ENERGY_SYMBOL**DIMENSION
    steps = (
        *_FACTOR_STEPS,
        Step(
            "r_0 of d + 1 coordinates is r_0 of d times r_0 of one, since phihat and S factor.",
            partial(_recurrence_residual, weight, WEIGHT_SYMBOL),
        ),
        Step(
            "The energy Q/S^2 at theta = 0 factors as well.",
            partial(_recurrence_residual, energy, ENERGY_SYMBOL),
        ),
        Step(
            "B = 1 - 2 r_0 + sum_l r_l^2.",
            partial(_claim_residual, claimed, 1 - 2 * weight + energy),
        ),
    )
    return Derivation("B_d = 1 - 2 r_0^d + q^d for coordinate products.", steps, _CITES)
