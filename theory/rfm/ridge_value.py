r"""The AGOP of a linear kernel machine as a gradient of the optimal ridge value.

For k(x, z) = xᵀMz, with a loss weight a and a norm weight b (1/2 and μ/2 in the usual form),

    Q(M) = min_f a Σ_i |f(x_i) - y_i|² + b ‖f‖²_k = b tr(Yᵀ(XMXᵀ + μI)^{-1}Y),   μ = b/a.

The minimiser's AGOP is -(1/b) M ∇Q(M) M, hence -(2/μ) M ∇Q M for b = μ/2. Only b enters: a mean
over the samples in the place of the sum changes a and the ridge, but not the factor -1/b.
∇Q is the gradient with respect to the inner product tr(AᵀB), M's entries not tied to each other.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import sympy
from numpy.typing import ArrayLike

from ..arrays import RealArray, finite_array
from ..derivation import Derivation, Step, first_nonzero
from ..matrix_words import matrices, reduced, trace
from ..validation import positive
from .doubles import representable, ridge_solution

LOSS_WEIGHT, NORM_WEIGHT = sympy.symbols("a b", positive=True)

RIDGE = NORM_WEIGHT / LOSS_WEIGHT
"""μ, in (K + μI)^{-1}Y."""

VALUE_FACTOR = NORM_WEIGHT
"""Q / tr(Yᵀ(K + μI)^{-1}Y)."""

AGOP_FACTOR = -1 / NORM_WEIGHT
"""c in AGOP = c M ∇Q M."""


def optimal_ridge_value(
    inputs: ArrayLike, targets: ArrayLike, metric: ArrayLike, ridge: float
) -> float:
    """Return Q(M) = min_f ½ Σ|f(x_i) - y_i|² + (μ/2)‖f‖²_k for k(x, z) = xᵀMz.

    Args:
        inputs: X, shape (n, d).
        targets: Y, shape (n,) or (n, outputs).
        metric: M, shape (d, d), symmetric positive semidefinite.
        ridge: μ > 0.

    Raises:
        TypeError: If entries or the ridge are not real numbers.
        ValueError: If the shapes do not fit, an entry is NaN or infinite, M is not symmetric or
            has a negative eigenvalue, or the ridge is not positive and finite, or so small that
            the system is singular to double precision.
        OverflowError: If a product of the data is larger than every double.

    Source: paper B.

    Example:
        >>> optimal_ridge_value([[1.0], [0.0]], [2.0, 0.0], [[3.0]], 1.0)
        0.5
    """
    _, Y, _, alpha, mu = _solved(inputs, targets, metric, ridge)
    with np.errstate(over="ignore", invalid="ignore"):
        return float(representable("the value", np.asarray(mu / 2 * np.sum(Y * alpha))))


def ridge_value_gradient(
    inputs: ArrayLike, targets: ArrayLike, metric: ArrayLike, ridge: float
) -> RealArray:
    """Return ∇Q(M) = -(μ/2) XᵀααᵀX, shape (d, d), with α = (XMXᵀ + μI)^{-1}Y.

    Arguments and errors are those of `optimal_ridge_value`.

    Source: paper B.

    Example:
        >>> ridge_value_gradient([[1.0], [0.0]], [2.0, 0.0], [[3.0]], 1.0)
        array([[-0.125]])
    """
    X, _, _, alpha, mu = _solved(inputs, targets, metric, ridge)
    with np.errstate(over="ignore", invalid="ignore"):
        direction = X.T @ alpha
        return representable("the gradient", np.asarray(-mu / 2 * direction @ direction.T))


def agop_of_ridge_solution(
    inputs: ArrayLike, targets: ArrayLike, metric: ArrayLike, ridge: float
) -> RealArray:
    """Return the AGOP of the minimiser, -(2/μ) M ∇Q(M) M, shape (d, d).

    The minimiser is linear: its gradient, and so the AGOP, is the same on all data.

    Arguments and errors are those of `optimal_ridge_value`.

    Source: paper B.

    Example:
        >>> agop_of_ridge_solution([[1.0], [0.0]], [2.0, 0.0], [[3.0]], 1.0)
        array([[2.25]])
    """
    M, mu = finite_array("metric", metric), positive("ridge", ridge)
    gradient = ridge_value_gradient(inputs, targets, metric, ridge)
    factor = float(AGOP_FACTOR.subs(NORM_WEIGHT, sympy.Float(mu) / 2))
    with np.errstate(over="ignore", invalid="ignore"):
        return representable("the AGOP", np.asarray(factor * M @ gradient @ M))


def _solved(
    inputs: ArrayLike, targets: ArrayLike, metric: ArrayLike, ridge: float
) -> tuple[RealArray, RealArray, RealArray, RealArray, float]:
    """X, Y with outputs as columns, M, α and μ."""
    X, Y, M = (
        finite_array(name, value)
        for name, value in (("inputs", inputs), ("targets", targets), ("metric", metric))
    )
    mu = positive("ridge", ridge)
    Y = Y[:, np.newaxis] if Y.ndim == 1 else Y
    if X.ndim != 2 or Y.ndim != 2 or len(X) != len(Y):
        raise ValueError(
            f"inputs have shape {X.shape}, targets {Y.shape}; (n, d) and (n, outputs) are allowed"
        )
    if M.shape != 2 * X.shape[1:]:
        raise ValueError(f"metric has shape {M.shape}; {2 * X.shape[1:]} is allowed")
    _check_metric(M)
    with np.errstate(over="ignore", invalid="ignore"):
        kernel = X @ M @ X.T + mu * np.eye(len(X))
    return X, Y, M, ridge_solution(kernel, Y, mu), mu


def _check_metric(M: RealArray) -> None:
    size = float(np.abs(M).max())
    if np.abs(M - M.T).max() > 1e-12 * size:
        raise ValueError("metric is not symmetric; a symmetric matrix is allowed")
    lowest = float(np.linalg.eigvalsh(M)[0])
    if lowest < -1e-12 * len(M) * size:
        raise ValueError(f"metric has the eigenvalue {lowest:.3g}; none below 0 is allowed")


# --- derivation -------------------------------------------------------------------------------

_t = sympy.transpose
_X, _M, _G, _Y, _E, _V = matrices("X M G Y E V")
_MU = sympy.Symbol("mu", positive=True)
_K = _X * _M * _t(_X)
_ALPHA = _G * _Y
# G = (K + μI)^{-1}, symmetric like M: products X M Xᵀ G and G X M Xᵀ become 1 - μG.
_RULES = {
    _t(_M): _M,
    _t(_G): _G,
    _K * _G: 1 - _MU * _G,
    _G * _K: 1 - _MU * _G,
}


def _objective(alpha: sympy.Expr, loss: sympy.Expr, norm: sympy.Expr) -> sympy.Expr:
    """a‖Kα - Y‖² + b tr(αᵀKα), a word whose trace it is."""
    error = _K * alpha - _Y
    return loss * _t(error) * error + norm * _t(alpha) * _K * alpha


def _traced(word: sympy.Expr) -> sympy.Expr:
    return sympy.expand(trace(reduced(word, _RULES)))


def _stationary_residual(ridge: sympy.Expr) -> sympy.Expr:
    """The linear part of the objective at α + V, with a = 1, b = a·ridge, at α = GY."""
    scale = sympy.Symbol("t")
    word = sympy.expand(_objective(_ALPHA + scale * _V, LOSS_WEIGHT, NORM_WEIGHT))
    linear = word.coeff(scale, 1)
    return sympy.simplify(_traced(linear).subs(_MU, ridge))


def _value_residual(ridge: sympy.Expr, factor: sympy.Expr) -> sympy.Expr:
    value = _traced(_objective(_ALPHA, LOSS_WEIGHT, NORM_WEIGHT))
    claimed = factor * trace(_t(_Y) * _G * _Y)
    square = trace(_t(_Y) * _G**2 * _Y)
    difference = sympy.expand((value - claimed).subs(_MU, ridge))
    parts = (difference.coeff(square), difference.coeff(trace(_t(_Y) * _G * _Y)))
    return first_nonzero(*(sympy.simplify(part) for part in parts), sympy.simplify(difference))


def _inverse_residual() -> sympy.Expr:
    """(K + dK + μ)(G - G dK G) = 1 up to the second order."""
    change = _X * _E * _t(_X)
    first_order = change * _G - (_K + _MU) * (_G * change * _G)
    return sympy.expand(reduced(first_order, _RULES))


def _gradient(factor: sympy.Expr) -> sympy.Expr:
    return -factor * _t(_X) * _ALPHA * _t(_ALPHA) * _X


def _gradient_residual(factor: sympy.Expr) -> sympy.Expr:
    change = -_G * _X * _E * _t(_X) * _G
    return _traced(factor * _t(_Y) * change * _Y - _t(_gradient(factor)) * _E)


def _agop_residual(factor: sympy.Expr, claimed: sympy.Expr) -> sympy.Expr:
    """f(x) = αᵀXMx has the gradient MXᵀα, one column for each output."""
    jacobian = _M * _t(_X) * _ALPHA
    word = jacobian * _t(jacobian) - claimed * _M * _gradient(factor) * _M
    coefficient = sympy.simplify(1 + claimed * factor)
    return coefficient if coefficient != 0 else sympy.expand(reduced(word, _RULES))


def _envelope_residual(claimed: sympy.Expr) -> sympy.Expr:
    """For M ≻ 0: f(x) = wᵀx has ‖f‖² = tr(wᵀM^{-1}w), whose derivative by M is that of Q."""
    w, inverse = matrices("w N")  # N = M^{-1}
    derivative = -NORM_WEIGHT * inverse * w * _t(w) * inverse
    word = w * _t(w) - claimed * _M * derivative * _M
    rules = {_M * inverse: sympy.Integer(1), inverse * _M: sympy.Integer(1)}
    left = reduced(word, rules)
    return sympy.expand(sympy.simplify(left.coeff(w * _t(w))) * w * _t(w))


def derive_agop_factor(
    ridge: sympy.Expr = RIDGE,
    value: sympy.Expr = VALUE_FACTOR,
    factor: sympy.Expr = AGOP_FACTOR,
) -> Derivation:
    """Derive μ = b/a, Q = b tr(YᵀGY) and AGOP = -(1/b) M ∇Q M, for all sizes.

    Args:
        ridge: μ, to compare with, in ``LOSS_WEIGHT`` and ``NORM_WEIGHT``.
        value: Q over tr(YᵀGY).
        factor: AGOP over M ∇Q M.

    Source: paper B (with factors ½ and μ/2), this project (all factors).
    """
    steps = (
        Step(
            "f = Σ α_i k(·, x_i) + a part that is 0 on the data; the objective is convex in α, and "
            "stationary at α = GY, G = (K + μI)^{-1}.",
            partial(_stationary_residual, ridge),
        ),
        Step("Its value there.", partial(_value_residual, ridge, value)),
        Step("dG = -G dK G with dK = X dM Xᵀ.", _inverse_residual),
        Step("So dQ = tr(∇Qᵀ dM), ∇Q = -b XᵀααᵀX.", partial(_gradient_residual, value)),
        Step("AGOP = MXᵀα(MXᵀα)ᵀ, on all inputs.", partial(_agop_residual, value, factor)),
        Step("The same by the envelope theorem.", partial(_envelope_residual, factor)),
    )
    cites = ("representer theorem", "envelope theorem")
    return Derivation("AGOP = -(1/b) M ∇Q M for k(x, z) = xᵀMz.", steps, cites)
