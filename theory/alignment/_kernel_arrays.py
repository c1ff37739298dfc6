"""Derivative kernels of arrays in double precision, where plain formulas would cancel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import sympy
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .activation_kernels import ActivationKernel

Floats = NDArray[np.float64]

SPLIT = 2.0**27 + 1
LOST = 2.0**-10
"""A polynomial below this share of its terms' absolute sum is evaluated again, exactly."""

PARALLEL = 0.99
"""Beyond this |cosine| angles are taken from differences of unit vectors."""


def relu(uu: Floats, uv: Floats, vv: Floats) -> Floats:
    """Return the angle that is missing to π, over 2π."""
    determinant, covariance, _ = scaled_determinant(uu, uv, vv)
    return np.asarray(np.arctan2(np.sqrt(determinant), -covariance) / (2 * np.pi))


def erf(uu: Floats, uv: Floats, vv: Floats) -> Floats:
    """Return 4/π / √(1 + 2(σ_uu + σ_vv) + 4 det), a sum of terms that are not negative."""
    determinant, _, exponent = scaled_determinant(uu, uv, vv)
    root = np.ldexp(np.sqrt(determinant), exponent)
    return np.asarray(4 / np.pi / np.hypot(np.sqrt(1 + 2 * uu + 2 * vv), 2 * root))


def polynomial(
    kernel: ActivationKernel,
    symbols: tuple[sympy.Symbol, ...],
    arrays: tuple[Floats, ...],
) -> Floats:
    """Return a polynomial; where its terms cancel, it is evaluated again in exact arithmetic."""
    shape = np.broadcast_shapes(*(a.shape for a in arrays))
    total, scale = np.zeros(shape), np.zeros(shape)
    for term in sympy.Add.make_args(sympy.expand_mul(kernel.expression, deep=False)):
        value = sympy.lambdify(symbols, term, "numpy")(*arrays)
        total += value
        scale += np.abs(value)
    for index in zip(*np.nonzero(np.abs(total) < LOST * scale), strict=True):
        total[index] = kernel(*(float(np.broadcast_to(a, shape)[index]) for a in arrays))
    return total


def scaled_determinant(
    uu: Floats, uv: Floats, vv: Floats
) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Return (σ_uu σ_vv − σ_uv²)/4^e, not below 0, and σ_uv/2^e, with the exponents e.

    Scaled so that nothing overflows; both products are formed without rounding error (Dekker), so
    that their difference has a relative error of a few units in the last place.
    """
    (first, i), (second, j) = np.frexp(uu), np.frexp(vv)
    odd = (i + j) % 2
    first, exponent = np.ldexp(first, odd), (i - odd + j) // 2
    covariance = np.ldexp(uv, -exponent)
    high, low = two_product(first, second)
    square, rest = two_product(covariance, covariance)
    return np.maximum((high - square) + (low - rest), 0), covariance, exponent


def two_product(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Return a·b rounded, and its rounding error, exactly (Dekker)."""
    product = a * b
    (a1, a2), (b1, b2) = _halves(a), _halves(b)
    return product, ((a1 * b1 - product) + a1 * b2 + a2 * b1) + a2 * b2


def angle_matrix(rows: Floats) -> Floats:
    """Return (π − angle)/2π between all pairs of rows.

    The Gram matrix knows a small angle to half its digits only. So pairs that are nearly parallel
    are done by Kahan's formula: tan of half the angle is ‖û − v̂‖/‖û + v̂‖ for unit vectors.
    """
    largest = np.max(np.abs(rows), axis=1, keepdims=True)
    scaled = rows / largest
    unit = scaled / np.linalg.norm(scaled, axis=1, keepdims=True)
    cosine = np.clip(unit @ unit.T, -1, 1)
    kernel = np.arctan2(np.sqrt((1 - cosine) * (1 + cosine)), -cosine) / (2 * np.pi)
    for i, row in enumerate(unit):
        near = np.nonzero(np.abs(cosine[i]) > PARALLEL)[0]
        kernel[i, near] = _missing_angles(row, unit[near])
    np.fill_diagonal(kernel, 0.5)
    return np.asarray((kernel + kernel.T) / 2)


def _missing_angles(u: Floats, others: Floats) -> Floats:
    """Return (π − angle)/2π between a unit vector and others."""
    sums, differences = (np.linalg.norm(others + sign * u, axis=1) for sign in (1, -1))
    return np.asarray(np.arctan2(sums, differences) / np.pi)


def _halves(a: Any) -> tuple[Any, Any]:
    big = SPLIT * a
    high = big - (big - a)
    return high, a - high
