r"""The quadratic network f(x) = a^T (W x)^2 at the start of gradient flow (paper C).

With X of rows x_alpha, R = diag(residuals y - f), A = X^T R X, Sigma = X^T X, D = diag(a) and
M = 4 W^T D^2 W, gradient flow on half the squared error has Wdot = 2 D W A, hence
Wdot^T Wdot = A M A and Wdot^T K Wdot = A M Sigma M A / n, K the mean of k k^T over the n samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import sympy
from numpy.typing import ArrayLike, NDArray

from ..arrays import real_entries
from ..derivation import Derivation, Step
from .wick import symmetric_letters

FloatArray = NDArray[np.float64]

SAMPLES = sympy.Symbol("n", positive=True)
DATA, DATA_T = sympy.symbols("X X^T", commutative=False)
WEIGHTS, WEIGHTS_T = sympy.symbols("W W^T", commutative=False)
READOUT, RESIDUALS = sympy.symbols("D R", commutative=False)  # diagonal matrices
LETTER_A, LETTER_SIGMA, LETTER_M = sympy.symbols("A Sigma M", commutative=False)

A_MATRIX = DATA_T * RESIDUALS * DATA
SIGMA_MATRIX = DATA_T * DATA
BLOCK_MATRIX = 4 * WEIGHTS_T * READOUT**2 * WEIGHTS
FLOW = 2 * READOUT * WEIGHTS * LETTER_A
EARLY_NFM = LETTER_A * LETTER_M * LETTER_A
EARLY_AGOP = LETTER_A * LETTER_M * LETTER_SIGMA * LETTER_M * LETTER_A / SAMPLES

TRANSPOSES = {DATA: DATA_T, DATA_T: DATA, WEIGHTS: WEIGHTS_T, WEIGHTS_T: WEIGHTS}


@dataclass(frozen=True)
class QuadraticMatrices:
    """The matrices of a quadratic network at the start of gradient flow, each (d, d).

    Attributes:
        A: X^T R X.
        Sigma: X^T X.
        M: 4 W^T diag(a^2) W.
        nfm: Wdot^T Wdot = A M A; the centred NFM is t^2 times it, to leading order.
        agop: Wdot^T K Wdot = A M Sigma M A / n; likewise the centred AGOP.
    """

    A: FloatArray
    Sigma: FloatArray
    M: FloatArray
    nfm: FloatArray
    agop: FloatArray


def quadratic_matrices(
    X: ArrayLike, residuals: ArrayLike, weights: ArrayLike, readout: ArrayLike
) -> QuadraticMatrices:
    """Return what the first instant of gradient flow adds to NFM and AGOP of a quadratic network.

    Args:
        X: (n, d) inputs.
        residuals: (n,) residuals y - f at the start.
        weights: (k, d) first layer W.
        readout: (k,) a.

    Raises:
        ValueError: If a shape does not fit, or a number is not finite.

    Source: paper C.
    """
    W, a = _array("weights", weights, 2), _array("readout", readout, 1)
    x = _array("X", X, 2)
    if a.shape[0] != W.shape[0]:
        raise ValueError(f"readout has the shape {a.shape}; ({W.shape[0]},) fits the weights")
    if W.shape[1] != x.shape[1]:
        raise ValueError(f"weights have the shape {W.shape}; (k, {x.shape[1]}) fits X {x.shape}")
    A, Sigma = input_matrices(x, residuals)
    M = 4 * W.T @ (a[:, None] ** 2 * W)
    AM = A @ M
    return QuadraticMatrices(A, Sigma, M, AM @ A, AM @ Sigma @ AM.T / len(x))


def input_matrices(X: ArrayLike, residuals: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return A = X^T diag(residuals) X and Sigma = X^T X.

    Args:
        X: (n, d) inputs.
        residuals: (n,) residuals.

    Raises:
        ValueError: If a shape does not fit, or a number is not finite.
    """
    x, r = _array("X", X, 2), _array("residuals", residuals, 1)
    if r.shape[0] != x.shape[0]:
        raise ValueError(f"residuals have the shape {r.shape}; ({x.shape[0]},) fits X {x.shape}")
    A = x.T @ (r[:, None] * x)
    found = symmetric_letters({"A": (A + A.T) / 2, "Sigma": x.T @ x})
    return found["A"], found["Sigma"]


def _array(name: str, value: ArrayLike, axes: int) -> FloatArray:
    found = real_entries(name, value)
    if found.ndim != axes or not found.size:
        raise ValueError(f"{name} has the shape {found.shape}; {axes} axes of length >= 1 allowed")
    if not np.isfinite(found).all():
        raise ValueError(f"{name} has entries that are not finite; finite numbers are allowed")
    return found


# --- derivation --------------------------------------------------------------------------------


def transpose(expression: sympy.Expr) -> sympy.Expr:
    """The transpose of a sum of products; A, Sigma, M, D and R are symmetric."""
    terms = sympy.Add.make_args(sympy.expand(expression))
    return sympy.Add(*(_transposed_product(term) for term in terms))


def _transposed_product(term: sympy.Expr) -> sympy.Expr:
    scalars, factors = term.args_cnc()
    turned = [
        sympy.Pow(TRANSPOSES.get(f.as_base_exp()[0], f.as_base_exp()[0]), f.as_base_exp()[1])
        for f in reversed(factors)
    ]
    return sympy.Mul(*scalars, *turned)


def _sample_residual() -> sympy.Expr:
    """One sample, one weight: s is the rest of z_i, g the rest of f, at any width and dimension."""
    a, s, w, x, g, y = sympy.symbols("a s w x g y")
    output = g + a * (s + w * x) ** 2
    descent = -sympy.diff((output - y) ** 2 / 2, w)
    return sympy.expand(descent - (y - output) * (2 * a * (s + w * x)) * x)


def _jacobian_residual() -> sympy.Expr:
    """k = df/dz: z_i enters f through a_i z_i^2 alone."""
    a, z, g = sympy.symbols("a z g")
    return sympy.expand(sympy.diff(g + a * z**2, z) - 2 * a * z)


def _instance_residual() -> sympy.Expr:
    """All entries as symbols, n = d = k = 2: minus the gradient of the loss is 2 D W A."""
    x = sympy.Matrix(2, 2, sympy.symbols("x_0:4"))
    w = sympy.Matrix(2, 2, sympy.symbols("w_0:4"))
    a, y = sympy.symbols("a_0:2"), sympy.symbols("y_0:2")
    outputs = [sum(a[i] * (w[i, :] * x[s, :].T)[0] ** 2 for i in range(2)) for s in range(2)]
    loss = sum((f - t) ** 2 for f, t in zip(outputs, y, strict=True)) / 2
    residuals = sympy.diag(*(t - f for f, t in zip(outputs, y, strict=True)))
    claimed = 2 * sympy.diag(*a) * w * (x.T * residuals * x)
    gaps = (-sympy.diff(loss, w[place]) - claimed[place] for place in range(4))
    return sympy.Add(*(sympy.Abs(sympy.expand(gap)) for gap in gaps))


def _symmetry_residual(a_matrix: sympy.Expr, sigma: sympy.Expr) -> sympy.Expr:
    return sympy.Add(*(sympy.expand(transpose(s) - s) for s in (a_matrix, sigma)))


JACOBIAN = 2 * READOUT * WEIGHTS * DATA_T  # columns k_alpha


def _flow_residual(flow: sympy.Expr, a_matrix: sympy.Expr) -> sympy.Expr:
    """Wdot = sum_alpha r_alpha k_alpha x_alpha^T, with the k_alpha in the columns of J."""
    return sympy.expand(JACOBIAN * RESIDUALS * DATA - flow.subs(LETTER_A, a_matrix))


def _nfm_residual(nfm: sympy.Expr, block: sympy.Expr, flow: sympy.Expr) -> sympy.Expr:
    return sympy.expand(transpose(flow) * flow - nfm.subs(LETTER_M, block))


def _agop_residual(
    agop: sympy.Expr, block: sympy.Expr, flow: sympy.Expr, sigma: sympy.Expr
) -> sympy.Expr:
    ptk = JACOBIAN * transpose(JACOBIAN) / SAMPLES
    claimed = agop.subs(LETTER_SIGMA, sigma).subs(LETTER_M, block)
    return sympy.expand(transpose(flow) * ptk * flow - claimed)


def derive_quadratic(
    a_matrix: sympy.Expr = A_MATRIX,
    sigma: sympy.Expr = SIGMA_MATRIX,
    block: sympy.Expr = BLOCK_MATRIX,
    flow: sympy.Expr = FLOW,
    nfm: sympy.Expr = EARLY_NFM,
    agop: sympy.Expr = EARLY_AGOP,
) -> Derivation:
    """Derive Wdot^T Wdot = A M A and Wdot^T K Wdot = A M Sigma M A / n.

    Args:
        a_matrix: The claimed A in X, X^T and R.
        sigma: The claimed Sigma in X and X^T.
        block: The claimed M in W, W^T and D.
        flow: The claimed Wdot in D, W and A.
        nfm: The claimed Wdot^T Wdot in A and M.
        agop: The claimed Wdot^T K Wdot in A, Sigma, M and n.

    Source: paper C.
    """
    steps = (
        Step("Row i of k is 2 a_i z_i, at any width.", _jacobian_residual),
        Step(
            "Chain rule for one weight and one sample; the loss is a sum over samples.",
            _sample_residual,
        ),
        Step("n = d = k = 2 with symbols for all entries.", _instance_residual),
        Step("A and Sigma are symmetric.", partial(_symmetry_residual, a_matrix, sigma)),
        Step("J = 2 D W X^T, Wdot = J R X, A = X^T R X.", partial(_flow_residual, flow, a_matrix)),
        Step("Wdot^T Wdot, as words.", partial(_nfm_residual, nfm, block, flow)),
        Step(
            "K = J J^T / n and Wdot^T K Wdot, as words.",
            partial(_agop_residual, agop, block, flow, sigma),
        ),
    )
    return Derivation("NFM and AGOP of a quadratic network at the start of gradient flow.", steps)
