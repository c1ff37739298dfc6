r"""FACT: at critical points with weight decay the NFM is a sum over the samples (FACT paper).

A layer z = W h (+ b) anywhere in any network, under (1/n)Σℓ_i + (λ/2)‖W‖² + anything that does not
contain W. With g_i = Wᵀ ∂ℓ_i/∂z_i, the gradient of ℓ_i by the layer's input through this layer
alone, and F = −(1/nλ) Σ g_ih_iᵀ, at every W

    F = WᵀW − (1/λ) Wᵀ ∇_W(whole objective),

so that WᵀW = F at every critical point, and F is then symmetric and positive semidefinite. Along
gradient flow of the whole objective d/dt WᵀW = λ(F + Fᵀ − 2WᵀW): the NFM follows the symmetric
part of F with the delay 1/(2λ).
"""

from __future__ import annotations

from functools import partial

import numpy as np
import sympy
from numpy.typing import ArrayLike, NDArray
from sympy import transpose

from ..arrays import real_entries
from ..derivation import Derivation, Step
from ..matrix_words import gram, matrices, reduced, symmetrised, trace
from ..validation import positive

Matrix = NDArray[np.float64]

SAMPLES = sympy.Symbol("n", integer=True, positive=True)
WEIGHT_DECAY = sympy.Symbol("lambda", positive=True)
COEFFICIENT = -1 / (SAMPLES * WEIGHT_DECAY)
"""F = COEFFICIENT · Σ_i g_i h_iᵀ."""

DELAY = 1 / (2 * WEIGHT_DECAY)
"""Along gradient flow DELAY · d/dt WᵀW = (F + Fᵀ)/2 − WᵀW."""


def fact_matrix(
    gradients_wrt_h: ArrayLike, h: ArrayLike, weight_decay: float
) -> NDArray[np.float64]:
    """Return F = −(1/nλ) Σ_i (∇_hℓ_i) h_iᵀ, shape (d, d), equal to WᵀW at a critical point.

    Args:
        gradients_wrt_h: ∇_hℓ_i of each sample's own loss (not divided by n) by the layer's input,
            through this layer alone: Wᵀ ∂ℓ_i/∂z_i, shape (n, d).
        h: The layer's inputs, shape (n, d).
        weight_decay: λ > 0 of the penalty (λ/2)‖W‖² beside the mean loss (1/n)Σℓ_i.

    Raises:
        TypeError: If λ is not a real number.
        ValueError: If λ is not positive, the shapes differ, there is no sample, or an entry is not
            finite.

    Example:
        >>> fact_matrix([[-1.0, -2.0]], [[2.0, 4.0]], weight_decay=0.5)
        array([[ 4.,  8.],
               [ 8., 16.]])

    Source: FACT paper.
    """
    lam = positive("weight_decay", weight_decay)
    g, inputs = _finite("gradients_wrt_h", gradients_wrt_h), _finite("h", h)
    if g.shape != inputs.shape:
        raise ValueError(f"gradients_wrt_h has shape {g.shape} and h {inputs.shape}, must be alike")
    return -(g.T @ inputs) / (len(inputs) * lam)


def fact_defect(
    weight: ArrayLike, gradients_wrt_h: ArrayLike, h: ArrayLike, weight_decay: float
) -> float:
    """Return ‖WᵀW − F‖/‖WᵀW‖ in Frobenius norm: 0 at a critical point.

    Args:
        weight: W, shape (k, d), not 0.
        gradients_wrt_h: As for `fact_matrix`.
        h: As for `fact_matrix`.
        weight_decay: As for `fact_matrix`.

    Raises:
        TypeError: As `fact_matrix`.
        ValueError: As `fact_matrix`, or W does not take inputs of this dimension, or is 0.

    Source: FACT paper.
    """
    F, W = fact_matrix(gradients_wrt_h, h, weight_decay), _finite("weight", weight)
    if W.shape[1] != len(F):
        raise ValueError(f"weight has shape {W.shape}, must be (k, {len(F)}), as h has {len(F)}")
    nfm = W.T @ W
    size = float(np.linalg.norm(nfm))
    if size == 0:
        raise ValueError("weight is 0, and so is its NFM: there is no relative defect")
    return float(np.linalg.norm(nfm - F)) / size


def _finite(name: str, value: ArrayLike) -> Matrix:
    array = real_entries(name, value)
    if array.ndim != 2 or not array.size:
        raise ValueError(f"{name} has shape {array.shape}, must be a matrix, not empty")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinite entries, must be finite")
    return array


# --- derivation -------------------------------------------------------------------------------

# Columns of H are the h_i, those of Delta the ∂ℓ_i/∂z_i, those of Wᵀ Delta the g_i.
_W, _H, _DELTA, _E = matrices("W H Delta E")
OBJECTIVE_GRADIENT = _DELTA * transpose(_H) / SAMPLES + WEIGHT_DECAY * _W


def _gradient_residual() -> sympy.Expr:
    """Check the slope along E of (1/n)Σℓ_i + (λ/2)tr WᵀW: z = W h moves by E h."""
    penalty = symmetrised(transpose(_W) * _E) / 2
    slope = transpose(_DELTA) * _E * _H / SAMPLES + WEIGHT_DECAY * penalty
    return sympy.expand(trace(slope) - trace(transpose(OBJECTIVE_GRADIENT) * _E))


def _chain_residual() -> sympy.Expr:
    """Check that g = WᵀΔ: z = W h moves by W e when h moves by e, the columns of E."""
    return sympy.expand(
        trace(transpose(_DELTA) * _W * _E) - trace(transpose(transpose(_W) * _DELTA) * _E)
    )


def _fact(coefficient: sympy.Expr) -> sympy.Expr:
    return coefficient * (transpose(_W) * _DELTA) * transpose(_H)


def _everywhere_residual(claimed: sympy.Expr) -> sympy.Expr:
    rest = transpose(_W) * OBJECTIVE_GRADIENT / WEIGHT_DECAY
    return sympy.expand(_fact(claimed) - gram(_W) + rest)


def _critical_residual(claimed: sympy.Expr) -> sympy.Expr:
    """Check F = WᵀW with Σ δ_ih_iᵀ replaced by what stationarity says, −nλW."""
    stationary = {_DELTA * transpose(_H): -SAMPLES * WEIGHT_DECAY * _W}
    return sympy.expand(reduced(_fact(claimed), stationary) - gram(_W))


def derive_coefficient(claimed: sympy.Expr = COEFFICIENT) -> Derivation:
    """Derive WᵀW = −(1/nλ) Σ g_ih_iᵀ at critical points, and what F is elsewhere.

    Args:
        claimed: The coefficient, in ``SAMPLES`` and ``WEIGHT_DECAY``.

    Source: FACT paper; away from critical points: this project.
    """
    steps = (
        Step("The objective's gradient is (1/n) Delta H^T + lambda W.", _gradient_residual),
        Step("The gradient by the layer's input is W^T Delta.", _chain_residual),
        Step(
            "At every W: F = W^T W - (1/lambda) W^T (gradient of the objective).",
            partial(_everywhere_residual, claimed),
        ),
        Step("At a critical point F = W^T W.", partial(_critical_residual, claimed)),
    )
    return Derivation("FACT: the NFM at a critical point.", steps)


def _delay_residual(claimed: sympy.Expr) -> sympy.Expr:
    rate = -symmetrised(transpose(_W) * OBJECTIVE_GRADIENT)
    target = symmetrised(_fact(COEFFICIENT)) / 2
    return sympy.expand(sympy.expand(claimed * rate) - target + gram(_W))


def derive_delay(claimed: sympy.Expr = DELAY) -> Derivation:
    """Derive d/dt WᵀW = 2λ((F + Fᵀ)/2 − WᵀW) along gradient flow.

    Args:
        claimed: The delay, in ``WEIGHT_DECAY``.

    Source: this project.
    """
    steps = (
        Step("The objective's gradient is (1/n) Delta H^T + lambda W.", _gradient_residual),
        Step(
            "d/dt W^T W = -(W^T grad + grad^T W) is F + F^T - 2 W^T W times lambda.",
            partial(_delay_residual, claimed),
        ),
    )
    return Derivation("The NFM follows the symmetric part of F with delay 1/(2 lambda).", steps)
