r"""Initial alignment of infinitely wide two-layer networks on given data.

f(x) = aᵀφ(Wx) with k units, rows of W from N(0, τ² I), a iid and independent of W. Gradient flow
starts with ẆᵀẆ = XᵀR𝒦RX and ẆᵀKẆ = XᵀR𝒦²RX/n, where R = diag(residuals) and
𝒦_{αβ} = Σ_i a_i² φ'(w_i·x_α) φ'(w_i·x_β) is a sum of k independent terms. By the law of large
numbers 𝒦/k → E[a²] κ, and as a correlation does not see factors, it tends to

    ρ(XᵀRκRX, XᵀRκ²RX),  κ = E φ'(w·x_α) φ'(w·x_β).

The residuals may depend on the network: the limit holds uniformly over their directions in which
XᵀRκRX is bounded away from 0, because ρ is continuous in 𝒦/k and does not see their scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy
from numpy.typing import ArrayLike, NDArray

from ..arrays import real_entries
from ..derivation import Derivation, Step, first_nonzero
from ..matrix_words import matrices, reduced
from .activation_kernels import Floats, activation_kernel, check_rows

CITES = (
    "strong law of large numbers: 𝒦/k → E[a²] κ almost surely if E a² and E φ'(u)² are finite",
    "ρ is continuous where neither matrix is 0",
)


@dataclass(frozen=True)
class Traces:
    """The inner products in a correlation, up to the factors that cancel.

    Attributes:
        cross: tr(N G) for N = XᵀRκRX and G = XᵀRκ²RX.
        nfm: ‖N‖².
        agop: ‖G‖².
    """

    cross: Any
    nfm: Any
    agop: Any


def infinite_width_alignment(
    X: ArrayLike, residuals: ArrayLike, activation: str = "relu", weight_variance: float = 1.0
) -> float:
    """Return lim_{k → ∞} of the correlation of ẆᵀẆ and ẆᵀKẆ at t = 0.

    Args:
        X: Samples h_α, shape (n, d).
        residuals: y − f at t = 0, shape (n,).
        activation: As in `activation_kernel`.
        weight_variance: τ² > 0, the variance of the entries of W.

    Returns:
        ρ in [0, 1].

    Raises:
        ValueError: If the shapes do not fit, an entry is not finite, the activation is unknown,
            weight_variance is not positive, or ẆᵀẆ is 0, for example as all residuals are.

    Source: paper C.

    >>> infinite_width_alignment([[1.0, 0.0], [0.0, 1.0]], [1.0, 2.0], "linear")
    1.0
    """
    rows = check_rows("X", X)
    r = check_residuals(residuals, len(rows))
    kernel = activation_kernel(activation).matrix(rows, weight_variance)
    traces = correlation_traces(_unit_scale(rows), _unit_scale(r), _unit_scale(kernel))
    if traces.nfm == 0 or traces.agop == 0:
        raise ValueError("ẆᵀẆ is 0 for these X and residuals: it has no direction to align")
    return float(min(traces.cross / np.sqrt(traces.nfm) / np.sqrt(traces.agop), 1.0))


def correlation_traces(X: NDArray[Any], residuals: NDArray[Any], kernel: NDArray[Any]) -> Traces:
    """Return the inner products of XᵀRκRX and XᵀRκ²RX.

    Works on floats and, with arrays of Fractions or SymPy expressions, exactly.

    Args:
        X: Samples, shape (n, d).
        residuals: Shape (n,).
        kernel: κ, shape (n, n).
    """
    weighted = residuals[:, None] * X
    nfm = weighted.T @ kernel @ weighted
    half = kernel @ weighted
    agop = half.T @ half
    return Traces(np.sum(nfm * agop), np.sum(nfm * nfm), np.sum(agop * agop))


def check_residuals(residuals: ArrayLike, samples: int) -> Floats:
    """Return finite residuals of shape (n,).

    Raises:
        ValueError: If the shape is another, or an entry is NaN or infinite.
    """
    r = real_entries("residuals", residuals)
    if r.shape != (samples,):
        raise ValueError(f"residuals has shape {r.shape}, must be ({samples},), one per row of X")
    if not np.isfinite(r).all():
        raise ValueError("residuals holds NaN or infinite entries, must be finite")
    return r


def _unit_scale(array: Floats) -> Floats:
    """Divide by the largest absolute entry, so that products neither overflow nor vanish."""
    largest = np.max(np.abs(array))
    return array / largest if largest > 0 else array


# --- derivation -------------------------------------------------------------------------------


_X, _R, _J, _KERNEL = matrices("X R J kappa")
_SYMMETRIC = {sympy.transpose(_R): _R, sympy.transpose(_KERNEL): _KERNEL}


def _sandwich(kernel: sympy.Expr) -> sympy.Expr:
    return sympy.transpose(_X) * _R * kernel * _R * _X


def _flow_residual() -> sympy.Expr:
    """ẆᵀẆ and nẆᵀKẆ as words, from Ẇ = JᵀRX with the k_α in the rows of J: every k, n and d."""
    flow = sympy.transpose(_J) * _R * _X
    kernel = _J * sympy.transpose(_J)
    nfm = sympy.transpose(flow) * flow - _sandwich(kernel)
    agop = sympy.transpose(flow) * sympy.transpose(_J) * _J * flow - _sandwich(kernel * kernel)
    return first_nonzero(reduced(nfm, _SYMMETRIC), reduced(agop, _SYMMETRIC))


def _homogeneous_residual() -> sympy.Expr:
    """𝒦 = cκ and residuals s r: ẆᵀẆ has the factor s²c, ẆᵀKẆ the factor s²c²/n."""
    c, s, n = sympy.symbols("c s n", positive=True)
    scaled = {_R: s * _R, _KERNEL: c * _KERNEL}
    nfm, agop = _sandwich(_KERNEL), _sandwich(_KERNEL * _KERNEL)
    return first_nonzero(
        sympy.expand(nfm.subs(scaled) - s**2 * c * nfm),
        sympy.expand(agop.subs(scaled) / n - s**2 * c**2 / n * agop),
    )


def _scale_residual() -> sympy.Expr:
    """A cosine does not see positive factors of its two matrices."""
    a, b = sympy.symbols("a b", positive=True)
    inner, left, right = sympy.symbols("A·B A·A B·B", positive=True)
    cosine = a * b * inner / sympy.sqrt(a**2 * left * b**2 * right)
    return sympy.simplify(cosine - inner / sympy.sqrt(left * right))


def _traces_residual() -> sympy.Expr:
    """The traces that are computed, two samples of one dimension with symbolic entries."""
    X, r, kernel = _generic()
    found = correlation_traces(X, r, kernel)
    weights = sympy.Matrix(X).T * sympy.diag(*r)
    K = sympy.Matrix(kernel)
    nfm, agop = (weights * power * weights.T for power in (K, K * K))
    return first_nonzero(
        sympy.expand((nfm * agop).trace() - found.cross),
        sympy.expand((nfm * nfm).trace() - found.nfm),
        sympy.expand((agop * agop).trace() - found.agop),
    )


def _generic() -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Two samples of one dimension with symbolic entries."""
    x, r = sympy.symbols("x_:2"), sympy.symbols("r_:2")
    a, b, c = sympy.symbols("kappa_:3")
    return np.array([[x[0]], [x[1]]]), np.array(r), np.array([[a, b], [b, c]])


def derive_limit() -> Derivation:
    """Derive that the limiting correlation is that of XᵀRκRX and XᵀRκ²RX.

    Source: paper C.
    """
    steps = (
        Step("ẆᵀẆ = XᵀR𝒦RX and ẆᵀKẆ = XᵀR𝒦²RX/n (alignment.early_time).", _flow_residual),
        Step("Factors of 𝒦, and the residuals' scale, come out of both.", _homogeneous_residual),
        Step("The factors k E[a²], 1/n and the residuals' scale cancel in ρ.", _scale_residual),
        Step("What is computed are these traces.", _traces_residual),
    )
    return Derivation("ρ → ρ(XᵀRκRX, XᵀRκ²RX) as k → ∞.", steps, CITES)
