"""Gradient flow of a deep linear network to many digits, by its power series in time.

Written from the definition, entries and all: ½ Σ_α‖W_L…W_1x_α − y_α‖² + (λ/2)Σ‖W_j‖², dW/dt minus
its gradient. The flow is polynomial in the weights, so that Cauchy products give the coefficients
of the series one after another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from flint import arb, arb_mat, ctx, fmpq, fmpq_mat

PRECISION = 256
ORDER = 60
NEGLIGIBLE = 1e-45
"""Largest last term of a step's series that is taken for 0."""

Series = list[Any]
"""Coefficients of t⁰, t¹, …, each a flint matrix."""


@dataclass(frozen=True)
class Problem:
    """A linear network's training problem in exact numbers.

    Attributes:
        X: Inputs, shape (n, d), flint rationals.
        Y: Targets, shape (n, o).
        weight_decay: λ.
        frozen: Numbers of the layers that do not move, from 0.
    """

    X: fmpq_mat
    Y: fmpq_mat
    weight_decay: Fraction = Fraction(0)
    frozen: tuple[int, ...] = ()


def rational_matrix(rows: Sequence[Sequence[int | Fraction]]) -> fmpq_mat:
    """Exact entries as flint's matrix of rationals."""
    entries = [[fmpq(Fraction(x).numerator, Fraction(x).denominator) for x in row] for row in rows]
    return fmpq_mat(entries)


def flow(problem: Problem, weights: Sequence[Any], time: Fraction, steps: int) -> list[Any]:
    """The weights at a time t, as flint matrices of balls.

    Args:
        problem: Data, λ, and which layers are frozen.
        weights: W_1 … W_L at time 0, flint matrices.
        time: t ≥ 0.
        steps: Number of equal steps.

    Raises:
        ArithmeticError: The last term of a step's series is not negligible: take more steps.
    """
    with ctx.workprec(PRECISION):
        here = [_balls(W) for W in weights]
        step = arb(fmpq(time.numerator, time.denominator)) / steps
        for _ in range(steps):
            here = [_sum(series, step) for series in _series(problem, here)]
        return here


def _balls(matrix: Any) -> Any:
    if isinstance(matrix, fmpq_mat):
        rows = [[arb(x) for x in row] for row in matrix.tolist()]
        return arb_mat(rows)
    return matrix


def _sum(series: Series, step: Any) -> Any:
    last = series[-1] * step ** (len(series) - 1)
    if not max(abs(x).upper() for x in last.entries()) < NEGLIGIBLE:
        raise ArithmeticError("the series of the flow has not converged: more steps are needed")
    total = series[-1]
    for coefficient in reversed(series[:-1]):
        total = total * step + coefficient
    return total


def _cauchy(left: Series, right: Series, k: int) -> Any:
    """Coefficient k of a product."""
    total = left[0] * right[k]
    for i in range(1, k + 1):
        total = total + left[i] * right[k - i]
    return total


def _series(problem: Problem, weights: Sequence[Any]) -> list[Series]:
    """Power series of all layers around the present time."""
    depth, decay = len(weights), problem.weight_decay
    lam = arb(fmpq(decay.numerator, decay.denominator))
    XX, YX = _balls(problem.X.transpose() * problem.X), _balls(problem.Y.transpose() * problem.X)
    W: list[Series] = [[w] for w in weights]
    below: list[Series] = [[] for _ in weights]  # W_j … W_1
    above: list[Series] = [[] for _ in weights]  # W_L … W_{j+1}; nothing for the last layer
    slope: list[Series] = [[] for _ in weights]  # aboveᵀ · (gradient by the product)
    error: Series = []
    for k in range(ORDER):
        for j in range(depth):
            below[j].append(W[0][k] if j == 0 else _cauchy(W[j], below[j - 1], k))
        for j in reversed(range(depth - 1)):
            top = j == depth - 2
            above[j].append(W[-1][k] if top else _cauchy(above[j + 1], W[j + 1], k))
        error.append(below[-1][k] * XX - (YX if k == 0 else YX * arb(0)))
        for j in range(depth):
            backward = [m.transpose() for m in above[j]]
            slope[j].append(error[k] if j == depth - 1 else _cauchy(backward, error, k))
            inputs = [m.transpose() for m in below[j - 1]] if j else []
            gradient = _cauchy(slope[j], inputs, k) if j else slope[0][k]
            velocity = -(gradient + W[j][k] * lam)
            still = arb(0) if j in problem.frozen else arb(1) / (k + 1)
            W[j].append(velocity * still)
    return W
