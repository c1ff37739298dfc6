r"""Ridge regression with the linear kernel xᵀMz: its AGOP is the ridge vector's outer product.

f(x) = Σ_i α_i x_iᵀMx, α = (XMXᵀ + λ)⁻¹y, has everywhere the gradient

    β = MXᵀ(XMXᵀ + λ)⁻¹y = M(XᵀXM + λ)⁻¹Xᵀy,      AGOP = ββᵀ,

of rank one unless MXᵀy = 0. With o outputs β is (d, o), and the rank is at most o. Hence a linear
recursive feature machine learns one direction in its first round and never another one: from
M = m uuᵀ the next AGOP is a multiple of uuᵀ again.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import sympy
from numpy.typing import ArrayLike

from ..arrays import finite_array
from ..derivation import Derivation, Step, first_nonzero
from ..matrix_words import matrices, reduced
from ..validation import positive
from .doubles import RealArray, representable, ridge_solution
from .machine_gradients import checked_metric

M, X, Xt, Y = matrices("M X X^T y")
RIDGE = sympy.Symbol("lambda", positive=True)

RIDGE_VECTOR = M * (Xt * X * M + RIDGE) ** -1 * Xt * Y
"""β, in the metric M, the data X (n, d), Xᵀ, and the targets y (n, o)."""

STRENGTH = sympy.Symbol("m", positive=True)
PULL = sympy.Symbol("b", real=True)
SPREAD = sympy.Symbol("s", positive=True)
NEXT_STRENGTH = (STRENGTH * PULL / (STRENGTH * SPREAD + RIDGE)) ** 2
"""From M = m uuᵀ the AGOP is this multiple of uuᵀ, with b = uᵀXᵀy and s = ‖Xu‖²."""


def ridge_vector(
    inputs: ArrayLike, targets: ArrayLike, ridge: float, *, metric: ArrayLike | None = None
) -> RealArray:
    """Return β = M(XᵀXM + λ)⁻¹Xᵀy, the gradient of ridge regression with the kernel xᵀMz.

    Args:
        inputs: X, shape (n, d).
        targets: y, shape (n,) or (n, o).
        ridge: λ > 0, not scaled by n.
        metric: M, symmetric positive semidefinite, shape (d, d) or (d,); by default the identity.

    Returns:
        Shape (d,) or (d, o).

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If shapes do not fit, an entry is not finite, λ is not positive, or so small
            that the system is singular to double precision, or M is not symmetric positive
            semidefinite.
        OverflowError: If a product of the data is larger than every double.

    Source: this project.

    Example:
        >>> ridge_vector([[1.0, 0.0], [0.0, 2.0]], [1.0, 1.0], 1.0)
        array([0.5, 0.4])
    """
    A, b = finite_array("inputs", inputs), finite_array("targets", targets)
    if A.ndim != 2 or b.ndim not in (1, 2) or len(b) != len(A):
        raise ValueError(f"inputs have shape {A.shape}, targets {b.shape}; (n, d) with (n,) or "
                         "(n, o) is allowed")  # fmt: skip
    lam, metric_matrix = positive("ridge", ridge), checked_metric(metric, A.shape[1])
    with np.errstate(over="ignore", invalid="ignore"):
        beta = metric_matrix @ _solved(A, b, metric_matrix, lam)
    return representable("the ridge vector", np.asarray(beta))


def _solved(A: RealArray, b: RealArray, M: RealArray, lam: float) -> RealArray:
    """Xᵀα, by the smaller of the two systems."""
    if len(A) < A.shape[1]:
        return np.asarray(A.T @ ridge_solution(A @ M @ A.T + lam * np.eye(len(A)), b, lam))
    return ridge_solution(A.T @ A @ M + lam * np.eye(A.shape[1]), A.T @ b, lam)


def linear_agop(
    inputs: ArrayLike, targets: ArrayLike, ridge: float, *, metric: ArrayLike | None = None
) -> RealArray:
    """Return the AGOP ββᵀ of ridge regression with the kernel xᵀMz, shape (d, d).

    It does not depend on where the gradients are taken; outputs are summed. Its rank is at most
    the number of outputs. Arguments and errors as for `ridge_vector`.

    Source: this project.

    Example:
        >>> linear_agop([[1.0, 0.0], [0.0, 2.0]], [1.0, 1.0], 1.0)
        array([[0.25, 0.2 ],
               [0.2 , 0.16]])
    """
    beta = ridge_vector(inputs, targets, ridge, metric=metric)
    columns = beta[:, None] if beta.ndim == 1 else beta
    with np.errstate(over="ignore", invalid="ignore"):
        return representable("the AGOP", np.asarray(columns @ columns.T))


# --- derivation -------------------------------------------------------------------------------

_T = sympy.transpose
_R, _Q, _E, _x, _w, _u, _v, _B = matrices("R Q e x w u v B")


def _gradient_residual() -> sympy.Expr:
    """F(x) = αᵀXMx with α = Ry moves by αᵀXMe along e: the gradient is MXᵀα, wherever x is."""
    machine = _T(Y) * _R * X * M  # R and M are symmetric, αᵀ = yᵀR
    slope = sympy.expand(machine * (_x + _E) - machine * _x)
    turned = {_T(M): M, _T(_R): _R, _T(X): Xt}
    return sympy.expand(reduced(_T(slope), turned) - _T(_E) * M * Xt * _R * Y)


def _push_through_residual() -> sympy.Expr:
    """QXᵀ(XMXᵀ + λ)R read from the right is QXᵀ, from the left XᵀR: R, Q are the two inverses."""
    right, left = {X * M * Xt * _R: 1 - RIDGE * _R}, {_Q * Xt * X * M: 1 - RIDGE * _Q}
    word = sympy.expand(_Q * Xt * (X * M * Xt + RIDGE) * _R)
    return first_nonzero(
        sympy.expand(reduced(word, right) - _Q * Xt),
        sympy.expand(reduced(word, left) - Xt * _R),
    )


def _claim_residual(claimed: sympy.Expr) -> sympy.Expr:
    """The claimed word is MQXᵀy with Q spelt out."""
    derived = (M * _Q * Xt * Y).subs(_Q, (Xt * X * M + RIDGE) ** -1)
    return sympy.expand(claimed - derived, power_base=False)


def _vanishing_residual() -> sympy.Expr:
    """With w = QXᵀy: Mw = 0 gives λw = Xᵀy and MXᵀy = 0; MXᵀy = 0 gives w = Xᵀy/λ and Mw = 0."""
    equation = sympy.expand((Xt * X * M + RIDGE) * _w)
    then = reduced(M * reduced(equation, {M * _w: sympy.Integer(0)}), {M * _w: sympy.Integer(0)})
    guess = Xt * Y / RIDGE
    back = sympy.expand((Xt * X * M + RIDGE) * guess - Xt * Y)
    return first_nonzero(then, reduced(back, {M * Xt * Y: sympy.Integer(0)}))


def _outer_residual() -> sympy.Expr:
    """Σ_c β_cβ_cᵀ = BBᵀ, whose rank is at most that of B: BBᵀv = 0 whenever Bᵀv = 0."""
    return reduced(_B * _T(_B) * _v, {_T(_B) * _v: sympy.Integer(0)})


def _round_residual(claimed: sympy.Expr) -> sympy.Expr:
    """M = m uuᵀ, v = Xu: vᵀ(m vvᵀ + λ) = (ms + λ)vᵀ, so vᵀRy = b/(ms + λ), β = mu vᵀRy."""
    left = _T(_v) * (STRENGTH * _v * _T(_v) + RIDGE)
    factored = reduced(left, {_T(_v) * _v: SPREAD}) - (STRENGTH * SPREAD + RIDGE) * _T(_v)
    beta = STRENGTH * _u * PULL / (STRENGTH * SPREAD + RIDGE)
    difference = beta * _T(beta) - claimed * _u * _T(_u)
    scalar = sympy.expand(difference).coeff(_u * _T(_u))
    return first_nonzero(sympy.expand(factored), sympy.simplify(scalar))


def derive_linear_machine(
    vector: sympy.Expr = RIDGE_VECTOR, strength: sympy.Expr = NEXT_STRENGTH
) -> Derivation:
    """Derive AGOP = ββᵀ, when it vanishes, and that later rounds keep its direction.

    Args:
        vector: β, a word to compare with.
        strength: The multiple of uuᵀ after a round from m uuᵀ, to compare with.

    Source: this project.
    """
    steps = (
        Step("The gradient is MXᵀα everywhere.", _gradient_residual),
        Step("So the AGOP is BBᵀ, of rank at most the number of outputs.", _outer_residual),
        Step("Push-through: (XᵀXM + λ)⁻¹Xᵀ = Xᵀ(XMXᵀ + λ)⁻¹.", _push_through_residual),
        Step("β = 0 if and only if MXᵀy = 0.", _vanishing_residual),
        Step("One more round from m uuᵀ.", partial(_round_residual, strength)),
        Step("This is the claimed vector.", partial(_claim_residual, vector)),
    )
    return Derivation("The AGOP of linear ridge regression is ββᵀ.", steps)
