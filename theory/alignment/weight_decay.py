r"""Weight decay forgets the imbalance of neighbouring layers at the rate 2λ (paper T).

Two linear layers in a row, anywhere in any network under any differentiable loss with the penalty
(λ/2)‖W‖²: along gradient flow D = W_{j+1}ᵀW_{j+1} − W_jW_jᵀ obeys D(t) = e^{−2λt} D(0).

With an activation between them that is homogeneous of degree p (φ'(z) z = p φ(z): ReLU p = 1,
z² p = 2) only the diagonal of p W_{j+1}ᵀW_{j+1} − W_jW_jᵀ does; off the diagonal it fails.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial

import numpy as np
import sympy
from numpy.typing import ArrayLike, NDArray
from sympy import transpose

from ..derivation import Derivation, Step
from ..matrix_words import gram, matrices
from ..validation import nonnegative
from .balanced import (
    LOWER_GRADIENT,
    UPPER_GRADIENT,
    balance_defect,
    chain,
    defect_rate,
    gradient_steps,
)

TIME = sympy.Symbol("t", nonnegative=True)
WEIGHT_DECAY = sympy.Symbol("lambda", nonnegative=True)
STEP_SIZE = sympy.Symbol("eta", positive=True)
DEGREE = sympy.Symbol("p", positive=True)
COLUMN = sympy.Symbol("C", positive=True)
ROW = sympy.Symbol("R", positive=True)

FACTOR = sympy.exp(-2 * WEIGHT_DECAY * TIME)
"""D(t) = FACTOR · D(0) along gradient flow."""

STEP_FACTOR = (1 - STEP_SIZE * WEIGHT_DECAY) ** 2
"""One step of gradient descent: D⁺ = STEP_FACTOR · D + η²(∇ᵀ∇ of the upper − ∇∇ᵀ of the lower),
∇ the gradients without the penalty."""

HOMOGENEOUS = DEGREE * COLUMN - ROW
"""What decays for every neuron between the layers: C = ‖column of W_{j+1}‖², R = ‖row of W_j‖²."""

DEGREES = {"relu": 1, "linear": 1, "quadratic": 2, "cubic": 3}
"""Degree p of the homogeneous activations."""


def imbalance(
    weights: Sequence[ArrayLike], activation: str = "linear"
) -> tuple[NDArray[np.float64], ...]:
    """Return for neighbouring layers what gradient flow conserves, and weight decay lets decay.

    Args:
        weights: W_1 … W_L, W_j of shape (k_j, k_{j−1}), without biases.
        activation: Between the layers: "linear", "relu", "quadratic" or "cubic".

    Returns:
        L − 1 arrays: for "linear" the matrices W_{j+1}ᵀW_{j+1} − W_jW_jᵀ of shape (k_j, k_j), for
        the others the diagonals p ‖column of W_{j+1}‖² − ‖row of W_j‖² of shape (k_j,).

    Raises:
        ValueError: If the activation is another, or the weights do not fit (see `balance_defect`).

    Source: paper T; homogeneous activations: this project.
    """
    if activation not in DEGREES:
        allowed = ", ".join(map(repr, DEGREES))
        raise ValueError(f"activation = {activation!r} must be homogeneous: one of {allowed}")
    if activation == "linear":
        return balance_defect(weights)
    W, p = chain("weights", weights), DEGREES[activation]
    pairs = itertools.pairwise(W)
    return tuple(p * np.sum(up**2, axis=0) - np.sum(low**2, axis=1) for low, up in pairs)


def decayed_imbalance(
    weights: Sequence[ArrayLike], weight_decay: float, time: float, activation: str = "linear"
) -> tuple[NDArray[np.float64], ...]:
    """Return what `imbalance` is after a time t of gradient flow: e^{−2λt} times as much.

    Args:
        weights: The weights at time 0.
        weight_decay: λ ≥ 0 of the penalty (λ/2)Σ‖W_j‖², the same for all layers.
        time: t ≥ 0.
        activation: As for `imbalance`.

    Raises:
        TypeError: If λ or t is not a real number.
        ValueError: If λ or t is negative or not finite, or as `imbalance`.

    Source: paper T; homogeneous activations: this project.
    """
    rate = nonnegative("weight_decay", weight_decay) * nonnegative("time", time)
    return tuple(np.exp(-2 * rate) * start for start in imbalance(weights, activation))


# --- derivation -------------------------------------------------------------------------------

_U, _V = matrices("U V")
_DEFECT = gram(_U) - _V * transpose(_V)


def _rate_residual() -> sympy.Expr:
    upper = -UPPER_GRADIENT - WEIGHT_DECAY * _U
    lower = -LOWER_GRADIENT - WEIGHT_DECAY * _V
    return sympy.expand(defect_rate(upper, lower) + 2 * WEIGHT_DECAY * _DEFECT)


def _decay_residual(claimed: sympy.Expr) -> sympy.Expr:
    """Check g' = −2λg and g(0) = 1."""
    start = sympy.simplify(claimed.subs(TIME, 0) - 1)
    slope = sympy.simplify(sympy.diff(claimed, TIME) + 2 * WEIGHT_DECAY * claimed)
    return start if start != 0 else slope


def derive_factor(claimed: sympy.Expr = FACTOR) -> Derivation:
    """Derive D(t) = e^{−2λt} D(0).

    Args:
        claimed: The factor, in ``WEIGHT_DECAY`` and ``TIME``.

    Source: paper T.
    """
    steps = (
        *gradient_steps(),
        Step("With the penalty, d/dt D = -2 lambda D: the loss drops out.", _rate_residual),
        Step("The solution that starts at D(0).", partial(_decay_residual, claimed)),
    )
    cites = ("a linear differential equation with given start has one solution",)
    return Derivation("D(t) = e^{-2 lambda t} D(0) along gradient flow.", steps, cites)


def _descent_residual(claimed: sympy.Expr) -> sympy.Expr:
    keep = 1 - STEP_SIZE * WEIGHT_DECAY
    upper = keep * _U - STEP_SIZE * UPPER_GRADIENT
    lower = keep * _V - STEP_SIZE * LOWER_GRADIENT
    after = gram(upper) - sympy.expand(lower * transpose(lower))
    second = gram(UPPER_GRADIENT) - sympy.expand(LOWER_GRADIENT * transpose(LOWER_GRADIENT))
    return sympy.expand(after - sympy.expand(claimed) * _DEFECT - STEP_SIZE**2 * second)


def derive_step_factor(claimed: sympy.Expr = STEP_FACTOR) -> Derivation:
    """Derive D⁺ = (1 − ηλ)² D + η²(∇ᵀ∇ − ∇∇ᵀ) for a step of gradient descent.

    Args:
        claimed: The factor, in ``STEP_SIZE`` and ``WEIGHT_DECAY``.

    Source: this project.
    """
    steps = (
        *gradient_steps(),
        Step(
            "The terms of first order in the gradients cancel, whatever the step size.",
            partial(_descent_residual, claimed),
        ),
    )
    return Derivation("D after one step of gradient descent.", steps)


def _euler_residual(exponent: int) -> sympy.Expr:
    z = sympy.Symbol("z", real=True)
    return sympy.expand(z * sympy.diff(z**exponent, z) - exponent * z**exponent)


def _relu_residual() -> sympy.Expr:
    """φ'(z) z = φ(z) where ReLU is z and where it is 0."""
    z = sympy.Symbol("z", real=True)
    return sympy.Add(*(abs(z * sympy.diff(phi, z) - phi) for phi in (z, sympy.Integer(0))))


def _neuron_residual(claimed: sympy.Expr) -> sympy.Expr:
    """Check the rate of the claimed combination.

    One sample, one neuron: b = (W_{j+1}ᵀ δ_{j+1})_i is the gradient of the loss by h = φ(z). The
    column's scalar product with its gradient is b φ(z), the row's is b φ'(z) z. Both are linear in
    b, so that sums over samples follow.
    """
    b, h = sympy.symbols("b h", real=True)
    column = -2 * b * h - 2 * WEIGHT_DECAY * COLUMN
    row = -2 * b * (DEGREE * h) - 2 * WEIGHT_DECAY * ROW
    rate = sympy.diff(claimed, COLUMN) * column + sympy.diff(claimed, ROW) * row
    return sympy.simplify(rate + 2 * WEIGHT_DECAY * claimed)


def derive_homogeneous(claimed: sympy.Expr = HOMOGENEOUS) -> Derivation:
    """Derive that p‖column‖² − ‖row‖² decays as e^{−2λt} for every neuron.

    Args:
        claimed: The combination, in ``DEGREE``, ``COLUMN`` and ``ROW``.

    Source: this project.
    """
    steps = (
        Step("Powers: z phi'(z) = p phi(z), p = 1.", partial(_euler_residual, 1)),
        Step("p = 2.", partial(_euler_residual, 2)),
        Step("p = 3.", partial(_euler_residual, 3)),
        Step("ReLU: p = 1, on both sides of its kink.", _relu_residual),
        Step(
            "The column loses 2 b phi(z) and the row 2 b phi'(z) z = 2 p b phi(z), beside their "
            "decay: p C - R only decays.",
            partial(_neuron_residual, claimed),
        ),
    )
    cites = ("Euler's identity for homogeneous functions",)
    return Derivation("d/dt (p C - R) = -2 lambda (p C - R).", steps, cites)
