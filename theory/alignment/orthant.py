r"""A trained ReLU network whose NFM is no power of its AGOP.

Data in the open positive orthant of R^d, targets y = Σ_i x_i. The network f(x) = Σ_i relu(x_i),
W = I with readout (1, …, 1), has loss 0: gradient flow rests there. Its neurons are balanced,
‖w_i‖² = a_i², which is what gradient flow conserves in a ReLU network. All units are active on all
data, so K = 11ᵀ and AGOP = 11ᵀ, while NFM = I: ρ(NFM, AGOP^s) = 1/√d for every exponent s > 0.

On these data the network is linear, but not balanced as linear networks are: WWᵀ = I, not aaᵀ.
For that kind of balance NFM = AGOP^{1/2} would hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import sympy
from numpy.typing import ArrayLike

from ..arrays import RealArray, finite_array
from ..derivation import Derivation, Step, first_nonzero
from ..matrix_words import matrices, reduced
from ..validation import integer, positive

DIMENSION = sympy.Symbol("d", integer=True, positive=True)
EXPONENT = sympy.Symbol("s", positive=True)

POWER_FACTOR = DIMENSION ** (EXPONENT - 1)
"""AGOP^s is this multiple of 11ᵀ."""

ALIGNMENT = 1 / sympy.sqrt(DIMENSION)
"""ρ(NFM, AGOP^s), for every s > 0."""


@dataclass(frozen=True, eq=False)
class Counterexample:
    """A ReLU network f(x) = readout · relu(Wx) at a balanced point of loss 0, and its data.

    Attributes:
        inputs: Shape (n, d), all entries positive.
        targets: Shape (n,).
        weights: The identity, shape (d, d).
        readout: Ones, shape (d,).
        alignment: ρ(NFM, AGOP^s) = 1/√d, for every s > 0.
    """

    inputs: RealArray
    targets: RealArray
    weights: RealArray
    readout: RealArray
    alignment: float


def counterexample(inputs: ArrayLike) -> Counterexample:
    """Return the network that fits y = Σ_i x_i on the given data, with alignment 1/√d.

    Args:
        inputs: Shape (n, d), all entries positive.

    Raises:
        TypeError: If the entries are not real numbers.
        ValueError: If the shape is another, or an entry is not positive and finite.

    Source: this project (that counterexamples exist: paper T).

    Example:
        >>> counterexample([[1.0, 2.0, 3.0, 4.0]]).alignment
        0.5
    """
    X = finite_array("inputs", inputs)
    if X.ndim != 2 or not (X > 0).all():
        raise ValueError(f"inputs of shape {X.shape} with the least entry {X.min()}: "
                         "(n, d), all entries positive, is allowed")  # fmt: skip
    d = X.shape[1]
    return Counterexample(X, X.sum(axis=1), np.eye(d), np.ones(d), counterexample_alignment(d))


def counterexample_alignment(dimension: int, exponent: float = 1.0) -> float:
    """Return ρ(NFM, AGOP^s) = 1/√d.

    Args:
        dimension: d >= 1.
        exponent: s > 0, on which the value does not depend.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If d is less than 1, or s is not positive and finite.

    Source: this project.
    """
    positive("exponent", exponent)
    return float(integer("dimension", dimension, 1) ** -0.5)


# --- derivation -------------------------------------------------------------------------------

_T = sympy.transpose


def _zero_loss_residual() -> sympy.Expr:
    """relu(x_i) = x_i for x_i > 0, so that f - y vanishes term by term."""
    x = sympy.Symbol("x_i", positive=True)
    return sympy.Max(0, x) - x


def _feature_residual() -> sympy.Expr:
    """k_i = a_i relu'(x_i) = 1 for every unit and sample: K, the mean of kkᵀ, is 11ᵀ."""
    x = sympy.Symbol("x_i", positive=True)
    z = sympy.Symbol("z", real=True)
    slope = sympy.diff(sympy.Piecewise((z, z > 0), (0, True)), z).subs(z, x)
    return sympy.simplify(slope * slope - 1)


def _balance_residual() -> sympy.Expr:
    """Neuron by neuron ‖w_i‖² = Σ_j δ_ij² = 1 = a_i²."""
    i = sympy.Symbol("i", integer=True, positive=True)
    j = sympy.Symbol("j", integer=True)
    norm = sympy.summation(sympy.KroneckerDelta(i, j), (j, -sympy.oo, sympy.oo))
    return sympy.simplify(norm - 1)


def _conservation_residual() -> sympy.Expr:
    """Gradient flow keeps ‖w‖² - a²: w·∂f/∂w = a relu'(z) z = a ∂f/∂a, as relu'(z) z = relu(z)."""
    z, a = sympy.symbols("z a", real=True)
    relu = sympy.Piecewise((z, z > 0), (0, True))
    return sympy.simplify(sympy.diff(a * relu, z) * z - a * sympy.diff(a * relu, a))


def _projection_residual() -> sympy.Expr:
    """With a column e of ones, eᵀe = d: (eeᵀ/d)² = eeᵀ/d, so (eeᵀ)^s = d^s (eeᵀ/d)."""
    (e,) = matrices("e")
    projection = e * _T(e) / DIMENSION
    square = reduced(projection * projection, {_T(e) * e: DIMENSION})
    j = sympy.Symbol("j", integer=True)
    count = sympy.summation(1, (j, 1, DIMENSION))
    return first_nonzero(sympy.expand(square - projection), sympy.expand(count - DIMENSION))


def _power_residual(claimed: sympy.Expr) -> sympy.Expr:
    return sympy.simplify(claimed - DIMENSION**EXPONENT / DIMENSION)


def _alignment_residual(factor: sympy.Expr, claimed: sympy.Expr) -> sympy.Expr:
    """⟨I, c11ᵀ⟩ = cd, ‖I‖² = d, ‖c11ᵀ‖² = c²d², where c > 0."""
    i, j = sympy.symbols("i j", integer=True)
    inner = sympy.summation(factor, (i, 1, DIMENSION))
    identity = sympy.summation(1, (i, 1, DIMENSION))
    square = sympy.summation(factor**2, (i, 1, DIMENSION), (j, 1, DIMENSION))
    positive_sign = sympy.Integer(0) if claimed.is_positive else sympy.Integer(1)
    return first_nonzero(sympy.simplify(inner**2 / (identity * square) - claimed**2), positive_sign)


def derive_counterexample(
    factor: sympy.Expr = POWER_FACTOR, claimed: sympy.Expr = ALIGNMENT
) -> Derivation:
    """Derive the counterexample for every dimension and every exponent s > 0.

    Args:
        factor: The multiple of 11ᵀ that AGOP^s is, to compare with.
        claimed: The correlation, to compare with.

    Source: this project.
    """
    steps = (
        Step("The loss is 0, so gradient flow rests here.", _zero_loss_residual),
        Step("K = AGOP = 11ᵀ.", _feature_residual),
        Step("Gradient flow conserves ‖w_i‖² - a_i² in ReLU networks.", _conservation_residual),
        Step("Here it is 0: balanced.", _balance_residual),
        Step("11ᵀ/d is a projection.", _projection_residual),
        Step("ρ(I, c11ᵀ) = 1/√d.", partial(_alignment_residual, factor, claimed)),
        Step("(11ᵀ)^s = d^{s-1} 11ᵀ.", partial(_power_residual, factor)),
    )
    return Derivation("ρ(NFM, AGOP^s) = 1/√d.", steps)
