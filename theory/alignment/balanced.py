r"""Deep linear networks: balance makes the NFM of a layer a power of its AGOP (papers E and T).

For f(x) = W_L … W_1 x the gradient is constant, so that AGOP_ℓ = (W_L…W_ℓ)ᵀ(W_L…W_ℓ) exactly,
with the sum over outputs and the mean over samples. Layers are balanced if W_{j+1}ᵀW_{j+1} =
W_jW_jᵀ. Gradient flow of any differentiable loss conserves the difference of the two sides, and
if the layers from ℓ up are balanced, AGOP_ℓ = NFM_ℓ^{L−ℓ+1}, that is
NFM_ℓ = AGOP_ℓ^{1/(L−ℓ+1)} with no constant in front. Layers below ℓ need not be balanced.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction
from functools import partial

import numpy as np
import sympy
from numpy.typing import ArrayLike, NDArray
from sympy import transpose

from ..arrays import real_entries
from ..derivation import Derivation, Step
from ..matrix_words import gram, matrices, reduced, symmetrised, trace
from ..validation import integer

Matrix = NDArray[np.float64]

DEPTH = sympy.Symbol("L", integer=True, positive=True)
LAYER = sympy.Symbol("ell", integer=True, positive=True)
EXPONENT = 1 / (DEPTH - LAYER + 1)
"""NFM_ℓ = AGOP_ℓ^EXPONENT, layers counted from 1 at the input."""

READOUT = sympy.Symbol("c", positive=True)
EIGENVALUE = sympy.Symbol("nu", positive=True)
FROZEN_AGOP = READOUT * EIGENVALUE
"""Eigenvalues of the first layer's AGOP from those of its NFM, when the readout A is frozen with
AAᵀ = c I and W starts at 0 (or anywhere in the range of Aᵀ): exponent 1."""


def balanced_exponent(depth: int, layer: int) -> Fraction:
    """Return e with NFM = AGOP^e in a balanced deep linear network: 1/(L − ℓ + 1).

    Args:
        depth: L ≥ 1, the number of weight matrices.
        layer: ℓ, from 1 at the input to L at the output.

    Raises:
        TypeError: If an argument is not an integer.
        ValueError: If depth < 1, or layer is outside 1 … depth.

    Example:
        >>> balanced_exponent(2, 1), balanced_exponent(4, 4)
        (Fraction(1, 2), Fraction(1, 1))

    Source: papers E and T.
    """
    L, ell = integer("depth", depth, 1), integer("layer", layer, 1)
    if ell > L:
        raise ValueError(f"layer = {layer!r} must be at most the depth, {L}")
    return Fraction(1, L - ell + 1)


def balanced_weights(
    widths: Sequence[int], singular_values: ArrayLike, rng: np.random.Generator
) -> tuple[Matrix, ...]:
    """Draw weights W_j = U_j diag(σ) U_{j−1}ᵀ of random orthonormal frames: they are balanced.

    Args:
        widths: (d, k_1, …, o): the input's dimension, the hidden widths, the outputs.
        singular_values: σ, shape (r,), positive, r at most the smallest width. All layers share
            them, as balanced layers must.
        rng: Draws the frames, uniformly.

    Returns:
        W_1 … W_L, W_j of shape (widths[j], widths[j − 1]).

    Raises:
        TypeError: If a width is not an integer.
        ValueError: If there are fewer than two widths, one is less than 1, or the singular values
            are more than the smallest width, not positive or not finite.

    Source: this project.
    """
    sizes = _sizes(widths)
    sigma = _singular_values(singular_values, min(sizes))
    frames = [np.linalg.qr(rng.standard_normal((k, len(sigma))))[0] for k in sizes]
    return tuple((left * sigma) @ right.T for right, left in itertools.pairwise(frames))


def balance_defect(weights: Sequence[ArrayLike]) -> tuple[Matrix, ...]:
    """Return W_{j+1}ᵀW_{j+1} − W_jW_jᵀ for neighbouring layers, zero iff they are balanced.

    Args:
        weights: W_1 … W_L, W_j of shape (k_j, k_{j−1}).

    Raises:
        ValueError: If there are no weights, one is not a finite matrix, or shapes do not chain.

    Source: papers E and T.
    """
    W = chain("weights", weights)
    return tuple(above.T @ above - below @ below.T for below, above in itertools.pairwise(W))


def chain(name: str, weights: Sequence[ArrayLike]) -> tuple[Matrix, ...]:
    """Return the weights as float arrays after checking that their product exists.

    Raises:
        ValueError: If there are none, one is not a finite matrix, or shapes do not chain.
    """
    arrays = tuple(real_entries(f"{name}: layer {j}", w) for j, w in enumerate(weights, 1))
    if not arrays:
        raise ValueError(f"{name} is empty; at least one matrix is needed")
    for place, array in enumerate(arrays, 1):
        if array.ndim != 2 or not array.size:
            raise ValueError(f"{name}: layer {place} has shape {array.shape}, must be a matrix")
        if not np.isfinite(array).all():
            raise ValueError(f"{name}: layer {place} holds NaN or infinite entries")
    for place, (below, above) in enumerate(itertools.pairwise(arrays), 1):
        if above.shape[1] != below.shape[0]:
            raise ValueError(
                f"{name}: layer {place + 1} has shape {above.shape}, which takes "
                f"{above.shape[1]} inputs, but layer {place}, of shape {below.shape}, "
                f"has {below.shape[0]} outputs"
            )
    return arrays


def _sizes(widths: Sequence[int]) -> tuple[int, ...]:
    if len(widths) < 2:
        raise ValueError(f"widths = {widths!r} must have at least 2 entries, input and output")
    return tuple(integer(f"widths[{place}]", k, 1) for place, k in enumerate(widths))


def _singular_values(values: ArrayLike, most: int) -> Matrix:
    sigma = real_entries("singular_values", values)
    if sigma.ndim != 1 or not 1 <= sigma.size <= most:
        raise ValueError(
            f"singular_values has shape {sigma.shape}, must be (r,) with 1 <= r <= {most}, "
            "the smallest width"
        )
    if not (np.isfinite(sigma).all() and (sigma > 0).all()):
        raise ValueError(f"singular_values = {sigma} must be finite and > 0")
    return sigma


# --- derivation -------------------------------------------------------------------------------

# Two neighbouring linear layers somewhere in a network: f = F(U V H), the columns of H the inputs
# of V, those of Delta the gradients of the loss by the outputs of U. E is a direction.
_U, _V, _H, _DELTA, _E = matrices("U V H Delta E")
UPPER_GRADIENT = _DELTA * transpose(_V * _H)
LOWER_GRADIENT = transpose(_U) * _DELTA * transpose(_H)


def _directional_residual(moved: sympy.Expr, gradient: sympy.Expr) -> sympy.Expr:
    """Check tr(Δᵀ dP) = tr(∇ᵀE) for the change dP of P = U V H along E."""
    return sympy.expand(trace(transpose(_DELTA) * moved) - trace(transpose(gradient) * _E))


def gradient_steps() -> tuple[Step, ...]:
    """The gradients of two neighbouring linear layers for any differentiable loss."""
    return (
        Step(
            "U V H moves by E V H with U, so the gradient of the loss by U is Delta (V H)^T.",
            partial(_directional_residual, _E * _V * _H, UPPER_GRADIENT),
        ),
        Step(
            "It moves by U E H with V, so the gradient by V is U^T Delta H^T.",
            partial(_directional_residual, _U * _E * _H, LOWER_GRADIENT),
        ),
    )


def defect_rate(upper: sympy.Expr, lower: sympy.Expr) -> sympy.Expr:
    """Return d/dt (UᵀU − VVᵀ) when U and V move with the given velocities."""
    return sympy.expand(symmetrised(transpose(_U) * upper) - symmetrised(lower * transpose(_V)))


def _conservation_residual() -> sympy.Expr:
    return defect_rate(-UPPER_GRADIENT, -LOWER_GRADIENT)


def _jacobian_residual() -> sympy.Expr:
    """AGOP_ℓ = (T W)ᵀ(T W) = Wᵀ (TᵀT) W, T the product of the layers above W."""
    T, W = matrices("T W")
    return sympy.expand(gram(T * W) - transpose(W) * gram(T) * W)


def _power_start_residual() -> sympy.Expr:
    (W,) = matrices("W")
    identity = sympy.Integer(1)
    return sympy.expand(transpose(W) * identity * W - gram(W))


def _power_step_residual() -> sympy.Expr:
    """With X = (WWᵀ)^m: from WᵀXW = (WᵀW)^{m+1} to WᵀX(WWᵀ)W = (WᵀW)^{m+2}."""
    W, X = matrices("W X")
    longer = transpose(W) * X * (W * transpose(W)) * W
    return sympy.expand(longer - (transpose(W) * X * W) * gram(W))


def _exponent_residual(claimed: sympy.Expr) -> sympy.Expr:
    """Check 1/e = 1 at the top layer, and one more for every layer further down."""
    power = 1 / claimed
    top = sympy.simplify(power.subs(LAYER, DEPTH) - 1)
    down = sympy.simplify(power - power.subs(LAYER, LAYER + 1) - 1)
    return top if top != 0 else down


def derive_exponent(claimed: sympy.Expr = EXPONENT) -> Derivation:
    """Derive NFM_ℓ = AGOP_ℓ^{1/(L−ℓ+1)} for all times of the balanced flow.

    Args:
        claimed: The exponent, in ``DEPTH`` and ``LAYER``.

    Source: papers E and T.
    """
    steps = (
        *gradient_steps(),
        Step(
            "Along gradient flow d/dt (U^T U - V V^T) = 0: balance, once there, stays.",
            _conservation_residual,
        ),
        Step(
            "f = T W h has the constant gradient (T W)^T, so AGOP = W^T (T^T T) W: it is W^T "
            "(AGOP of the layer above) W.",
            _jacobian_residual,
        ),
        Step("W^T (W W^T)^m W = (W^T W)^{m+1} for m = 0.", _power_start_residual),
        Step("If for m, then for m + 1.", _power_step_residual),
        Step(
            "At the top AGOP = W^T W = NFM. If AGOP = NFM^m one layer up, where by balance "
            "NFM = W W^T, then here AGOP = W^T (W W^T)^m W = NFM^{m+1}. So 1/e = L - l + 1.",
            partial(_exponent_residual, claimed),
        ),
    )
    cites = ("a positive semidefinite matrix has one positive semidefinite m-th root",)
    return Derivation("NFM = AGOP^{1/(L-l+1)} in balanced linear networks.", steps, cites)


def _frozen_flow_residual() -> sympy.Expr:
    """Check that W = AᵀM with dM/dt = −G descends: the gradient by W is AᵀG, G that by A W."""
    A, G = matrices("A G")
    velocity = transpose(A) * (-G)
    return sympy.expand(trace(transpose(G) * A * _E) + trace(transpose(velocity) * _E))


def _frozen_gram_residual(of_agop: bool) -> sympy.Expr:
    """With AAᵀ = c: NFM = c MᵀM and AGOP = c² MᵀM."""
    A, M = matrices("A M")
    W = transpose(A) * M
    word = gram(A * W) if of_agop else gram(W)
    power = 2 if of_agop else 1
    return sympy.expand(reduced(word, {A * transpose(A): READOUT}) - READOUT**power * gram(M))


def _frozen_residual(claimed: sympy.Expr) -> sympy.Expr:
    mu = sympy.Symbol("mu", positive=True)
    return sympy.simplify(claimed.subs(EIGENVALUE, READOUT * mu) - READOUT**2 * mu)


def derive_frozen(claimed: sympy.Expr = FROZEN_AGOP) -> Derivation:
    """Derive AGOP = c NFM for f = A W x with A frozen, AAᵀ = c I, and W from 0.

    Args:
        claimed: The AGOP's eigenvalue, in ``READOUT`` and ``EIGENVALUE``.

    Source: papers E and T.
    """
    steps = (
        Step(
            "The flow is dW/dt = -A^T G, G the gradient by A W: it keeps W = A^T M.",
            _frozen_flow_residual,
        ),
        Step("NFM = M^T A A^T M = c M^T M.", partial(_frozen_gram_residual, False)),
        Step("AGOP = (A W)^T (A W) = c^2 M^T M.", partial(_frozen_gram_residual, True)),
        Step(
            "An eigenvalue mu of M^T M gives c mu for the NFM and c^2 mu for the AGOP.",
            partial(_frozen_residual, claimed),
        ),
    )
    return Derivation("AGOP = c NFM under a frozen readout with AA^T = c I.", steps)
