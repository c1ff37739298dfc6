"""A quadratic network at the start of gradient flow, from its loss alone, in rational arithmetic.

No derivative formula: the loss is a polynomial of degree 4 in every weight and f one of degree 2
in every pre-activation, so that central differences of the right order are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np

Row = Sequence[Fraction]


def output(z: Row, readout: Row) -> Fraction:
    """f = sum_i a_i z_i^2."""
    return sum((a * x * x for a, x in zip(readout, z, strict=True)), Fraction(0))


def preactivations(weights: Sequence[Row], x: Row) -> list[Fraction]:
    """Z = W x."""
    return [sum((w * b for w, b in zip(row, x, strict=True)), Fraction(0)) for row in weights]


def loss(X: Sequence[Row], y: Row, weights: Sequence[Row], readout: Row) -> Fraction:
    """Half the sum of squared errors."""
    errors = (output(preactivations(weights, x), readout) - t for x, t in zip(X, y, strict=True))
    return sum((e * e for e in errors), Fraction(0)) / 2


def slope(function: Callable[[Fraction], Fraction]) -> Fraction:
    """The derivative at 0 of a polynomial of degree 4: the five-point difference is exact."""
    one, two = Fraction(1), Fraction(2)
    return (8 * (function(one) - function(-one)) - (function(two) - function(-two))) / 12


def flow_and_ptk(X: Sequence[Row], y: Row, weights: Sequence[Row], readout: Row) -> tuple[Any, Any]:
    """Wdot, minus the gradient of the loss, and K, the mean of k k^T; arrays of fractions."""

    def shifted(i: int, b: int, step: Fraction) -> Fraction:
        moved = [list(row) for row in weights]
        moved[i][b] += step
        return loss(X, y, moved, readout)

    flow = [[-slope(partial(shifted, i, b)) for b in range(len(X[0]))] for i in range(len(weights))]
    ptk = np.zeros((len(weights),) * 2, dtype=object)
    for x in X:
        k = np.array(_jacobian(preactivations(weights, x), readout), dtype=object)
        ptk = ptk + np.outer(k, k) * Fraction(1, len(X))
    return np.array(flow, dtype=object), ptk


def _jacobian(z: list[Fraction], readout: Row) -> list[Fraction]:
    def moved(i: int, step: Fraction) -> Fraction:
        return output([x + step * (j == i) for j, x in enumerate(z)], readout)

    return [slope(partial(moved, i)) for i in range(len(z))]
