r"""One gradient step from zero filters: filter covariance and patch-AGOP, for any readout.

A network f(x) = F(Wx_1 + b, …, Wx_P + b) of the patches x_p of an image with W = 0 has the same
output f_0 and the same slopes k_p = ∂F/∂z_p for every image. One step of size η on
Σ_i ½(f(x_i) − y_i)² gives

    W_1 = η Σ_p k_p v_pᵀ,  v_p = Σ_i r_i x_ip,  r_i = y_i − f_0,
    WᵀW = η² Σ_pq ⟨k_p, k_q⟩ v_p v_qᵀ,
    ∇_p f(x) = η Σ_q ⟨k_q, k'_p(x)⟩ v_q,  k'_p = ∂F/∂z_p after the step:

both matrices live on the span of the v_p. If all k_p are one k, as with f = Σ_p aᵀφ(Wx_p + b), then
with v = Σ_p v_p and s_ip = kᵀk'_p(x_i), exactly and for every activation,

    W_1 = η k vᵀ,  WᵀW = η²‖k‖² vvᵀ,  patch-AGOP = η² [(1/n) Σ_i Σ_p s_ip²] vvᵀ.

What it takes:

- k ≠ 0 (φ'(0) ≠ 0 where b = 0; ReLU with derivative 0 at 0 never moves) and v ≠ 0.
- v is Σ_i y_i Σ_p x_ip only if f_0 = 0, or if the patches of all images add up to 0.
- For the patch-AGOP, that s_ip does not vanish everywhere: so for φ' > 0, and for small η where ∇F
  is continuous; but φ = sin, one patch, one unit, x = y = a = 1, η = π/2 has WᵀW = π²/4, AGOP = 0.
- The same k_p at all positions. Layers above that see zeros beyond the border break it: with a
  second convolution the border's k_p are others, and the rank is more than one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import sympy
from numpy.typing import ArrayLike

from ..arrays import RealArray, finite_array
from ..derivation import Derivation, Step, first_nonzero
from ..matrix_words import matrices, trace
from ..rfm import one_step as layer
from ..rfm.doubles import representable
from ..validation import integer, positive

if TYPE_CHECKING:
    from ..alignment.activations import Activation

TARGET, INITIAL_OUTPUT = layer.TARGET, layer.INITIAL_OUTPUT
RATE, FEATURE_NORM, SLOPE = layer.RATE, layer.FEATURE_NORM, layer.SLOPE
READOUT, FIRST_SLOPE, SECOND_SLOPE = layer.READOUT, layer.FIRST_SLOPE, layer.SECOND_SLOPE

RESIDUAL = layer.RESIDUAL
"""r_i = y_i − f_0: the directions are v_p = Σ_i r_i x_ip."""

COVARIANCE_FACTOR = layer.NFM_FACTOR
"""η²κ; shared readout: WᵀW = COVARIANCE_FACTOR · vvᵀ, with κ = ‖k‖²."""

AGOP_FACTOR = layer.AGOP_FACTOR
"""η²s²; shared readout: patch-AGOP = (1/n) Σ_i Σ_p AGOP_FACTOR(s_ip) · vvᵀ."""

SLOPE_TERM = layer.SLOPE_TERM
"""Summand over the units of s_ip for f = Σ_p aᵀφ(Wx_p + b); z = b + η a φ'(b) vᵀx_p."""


@dataclass(frozen=True, eq=False)
class FilterStep:
    """A convolutional network after one step from zero filters.

    Attributes:
        directions: V, whose rows are v_p = Σ_i r_i x_ip, shape (P, d).
        initial_output: f_0.
        filters: W_1, shape (k, d).
        patch_agop: (1/n) Σ_i Σ_p ∇_p f(x_i) ∇_p f(x_i)ᵀ after the step, shape (d, d).
    """

    directions: RealArray
    initial_output: float
    filters: RealArray
    patch_agop: RealArray

    @property
    def filter_covariance(self) -> RealArray:
        """W_1ᵀW_1, shape (d, d)."""
        with np.errstate(over="ignore", invalid="ignore"):
            return representable("WᵀW", self.filters.T @ self.filters)

    @property
    def shared_direction(self) -> RealArray:
        """v = Σ_p v_p, along which both matrices lie if the readout is shared, shape (d,)."""
        return np.asarray(self.directions.sum(axis=0))


def one_step_filters(
    patches: ArrayLike,
    targets: ArrayLike,
    readout: ArrayLike,
    activation: str | Activation = "linear",
    rate: float = 1.0,
    *,
    bias: ArrayLike | None = None,
) -> FilterStep:
    """Return f(x) = Σ_p a_pᵀφ(Wx_p + b) after one step of W from W = 0.

    The step is −η times the gradient of Σ_i ½(f(x_i) − y_i)² in W alone; a and b stay.

    Args:
        patches: x_ip, shape (n, P, d).
        targets: y, shape (n,).
        readout: a, shape (k,) if it is shared by all positions, or (P, k).
        activation: A name or an `Activation` of `theory.alignment.activations`.
        rate: η > 0.
        bias: b, shape (k,); 0 if it is not given.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If shapes do not fit, an entry is not finite, η is not positive, the activation
            is unknown, or a_p ∘ φ'(b) is 0 at all positions (so that W would rest at 0).
        OverflowError: If the step, or the patch-AGOP after it, is larger than every double.

    Source: D; any readout and activation, and what the AGOP needs: this project.

    Example:
        >>> step = one_step_filters([[[1.0, 0.0], [1.0, 2.0]]], [1.0], [1.0, -1.0])
        >>> step.filter_covariance
        array([[8., 8.],
               [8., 8.]])
        >>> step.patch_agop / step.filter_covariance
        array([[4., 4.],
               [4., 4.]])
    """
    from ..alignment.activations import activation as named

    X, y = checked_patches(patches, targets)
    a = _positions(finite_array("readout", readout), X.shape[1])
    b = np.zeros(a.shape[1]) if bias is None else finite_array("bias", bias)
    if b.shape != a.shape[1:]:
        raise ValueError(f"bias has shape {b.shape}; ({a.shape[1]},) is allowed, as the readout")
    eta, phi = positive("rate", rate), named(activation)
    k = a * phi.first(b)
    if not k.any():
        raise ValueError("readout and φ'(bias): their product is 0 in every unit; W rests at 0")
    with np.errstate(over="ignore", invalid="ignore"):
        f_0 = float(np.sum(a @ phi.value(b)))
        V = patch_directions(X, y - f_0)
        W = representable("the step", eta * k.T @ V)
        G = ((a * phi.first(X @ W.T + b)) @ W).reshape(-1, X.shape[2])
        return FilterStep(V, f_0, W, representable("the patch-AGOP", G.T @ G / len(X)))


def patch_directions(patches: RealArray, residuals: RealArray) -> RealArray:
    """Return V, whose rows are v_p = Σ_i r_i x_ip, shape (P, d), of checked arrays.

    Raises:
        OverflowError: If an entry is larger than every double.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        return representable("Σ_i r_i x_ip", np.tensordot(residuals, patches, axes=1))


def checked_width(width: int) -> float:
    """Return the number of filters, at least 1, as a double.

    Raises:
        TypeError: If it is not an integer.
        ValueError: If it is less than 1.
        OverflowError: If it is larger than every double.
    """
    k = integer("width", width, 1)
    if k.bit_length() > 1023:
        raise OverflowError(f"width has {k.bit_length()} binary digits; up to 1023 are allowed")
    return float(k)


def checked_patches(patches: ArrayLike, targets: ArrayLike) -> tuple[RealArray, RealArray]:
    """Return patches (n, P, d) and targets (n,), or refuse them by name.

    Raises:
        TypeError: If entries are not real numbers.
        ValueError: If shapes do not fit, or an entry is not finite.
    """
    X, y = finite_array("patches", patches), finite_array("targets", targets)
    if X.ndim != 3:
        raise ValueError(f"patches have shape {X.shape}; (n, positions, dimension) is allowed")
    if y.shape != X.shape[:1]:
        raise ValueError(f"targets have shape {y.shape}; ({len(X)},) is allowed, as the patches")
    return X, y


def _positions(readout: RealArray, positions: int) -> RealArray:
    """The readout at every position, shape (P, k)."""
    if readout.ndim == 1:
        return np.tile(readout, (positions, 1))
    if readout.ndim != 2 or len(readout) != positions:
        raise ValueError(
            f"readout has shape {readout.shape}; (k,) for a shared one or ({positions}, k), one "
            "row for each position, is allowed"
        )
    return readout


# --- derivation -------------------------------------------------------------------------------

_T = sympy.transpose
_K, _k, _V, _E, _one, _u = matrices("K k V E 1 u")


def _step_residual() -> sympy.Expr:
    """All positions, rows k_pᵀ of K and v_pᵀ of V: Σ_p k_pᵀEv_p = tr(KEVᵀ) = tr((KᵀV)ᵀE)."""
    return sympy.expand(trace(_K * _E * _T(_V)) - trace(_T(_T(_K) * _V) * _E))


def _span_residual() -> sympy.Expr:
    """W = ηKᵀV: W_1ᵀW_1 = η²VᵀKKᵀV, and W_1ᵀu = ηVᵀ(Ku) for every u: columns of Vᵀ combined."""
    W = RATE * _T(_K) * _V
    covariance = _T(W) * W - RATE**2 * _T(_V) * _K * _T(_K) * _V
    return first_nonzero(
        sympy.expand(covariance), sympy.expand(_T(W) * _u - RATE * _T(_V) * _K * _u)
    )


def _shared_residual() -> sympy.Expr:
    """All rows of K are kᵀ: K = 1kᵀ, and KᵀV = k(Vᵀ1)ᵀ, where Vᵀ1 = Σ_p v_p."""
    return sympy.expand(_T(_one * _T(_k)) * _V - _k * _T(_T(_V) * _one))


def _other_direction_residual() -> sympy.Expr:
    """φ(z) = 1 + z, a = 1, two patches: f_0 = 2, and v is not along Σ_i y_i Σ_p x_ip."""
    images = (sympy.Matrix([[1, 0], [0, 0]]), sympy.Matrix([[1, 1], [0, 0]]))
    y, f_0 = (1, 0), 2
    sums = [image.T * sympy.ones(2, 1) for image in images]
    v = sum(((t - f_0) * x for t, x in zip(y, sums, strict=True)), sympy.zeros(2, 1))
    naive = sum((t * x for t, x in zip(y, sums, strict=True)), sympy.zeros(2, 1))
    return sympy.Integer(1 if sympy.Matrix.hstack(v, naive).det() == 0 else 0)


def _border_residual() -> sympy.Expr:
    """A second convolution with taps u₋, u, u₊: k_p is the sum of the taps that reach an output.

    Around a circle that is u₋ + u + u₊ everywhere. With zeros beyond the border of two positions it
    is u + u₊ and u + u₋, and W_1 = η Σ_p k_p v_pᵀ has rank 2 for independent v_p.
    """
    left, middle, right = sympy.Matrix([1, 0]), sympy.Matrix([1, 1]), sympy.Matrix([0, 3])
    K = sympy.Matrix.vstack((middle + right).T, (middle + left).T)
    W = K.T * sympy.eye(2)
    return sympy.Integer((W.T * W).rank() - 2)


def derive_shared_step(
    residual: sympy.Expr = RESIDUAL,
    covariance_factor: sympy.Expr = COVARIANCE_FACTOR,
    agop_factor: sympy.Expr = AGOP_FACTOR,
    slope_term: sympy.Expr = SLOPE_TERM,
) -> Derivation:
    """Derive filter covariance and patch-AGOP after one step, for any sizes.

    Args:
        residual: In ``TARGET`` and ``INITIAL_OUTPUT``, to compare with.
        covariance_factor: In ``RATE`` and ``FEATURE_NORM``, to compare with.
        agop_factor: In ``RATE`` and ``SLOPE``, to compare with.
        slope_term: In ``READOUT``, ``FIRST_SLOPE`` and ``SECOND_SLOPE``, to compare with.

    Source: D and this project.
    """
    steps = (
        Step("One position pulls W along k v_pᵀ, v_p = Σ r_i x_ip.", layer.step_gap),
        Step("The step is η Σ_p k_p v_pᵀ.", _step_residual),
        Step("Both matrices live on the span of the v_p.", _span_residual),
        Step("One k at all positions: η k vᵀ, v = Σ_p v_p.", _shared_residual),
        Step("v = Σ y_i Σ x_ip if f_0 = 0 or the patches add up to 0.", layer.direction_gap),
        Step("Otherwise it need not be along it.", _other_direction_residual),
        Step("φ' > 0: s > 0, so the patch-AGOP does not vanish.", layer.positive_gap),
        Step("φ = sin: it can vanish where WᵀW does not.", layer.vanishing_gap),
        Step("Zeros beyond the border, two convolutions: rank 2.", _border_residual),
        Step("r = y − f_0.", partial(layer.residual_gap, residual)),
        Step("s of f = Σ_p aᵀφ(Wx_p + b).", partial(layer.two_layers_gap, slope_term)),
        Step("WᵀW is η²‖k‖² vvᵀ.", partial(layer.nfm_gap, covariance_factor)),
        Step("The patch-AGOP is η² (mean of Σ_p s²) vvᵀ.", partial(layer.agop_gap, agop_factor)),
    )
    cites = ("continuity of ∇F, for small steps",)
    return Derivation("One step from zero filters: both of rank one along v.", steps, cites)
