"""What the modules of this slice share: symbols, exact numbers and checks of Gram matrices.

Convention: N = nK samples, n in each of K classes, Y one-hot of shape (K, N), so that YYᵀ = nI
and YᵀY = nΠ with Π the projection onto the label space, the span of the K rows of Y. Features are
columns; G = XᵀX is their Gram matrix, of shape (N, N).
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import sympy
from numpy.typing import ArrayLike

from ..arrays import RealArray, finite_array
from ..validation import integer, positive

SAMPLES = sympy.Symbol("n", integer=True, positive=True)
CLASSES = sympy.Symbol("K", integer=True, positive=True)
KERNEL_RIDGE = sympy.Symbol("lambda_k", positive=True)
FEATURE_RIDGE = sympy.Symbol("lambda_Phi", positive=True)
SCALE = sympy.Symbol("kappa", positive=True)
EIGENVALUE = sympy.Symbol("g", positive=True)

SHRINKAGE = EIGENVALUE / (EIGENVALUE + KERNEL_RIDGE)
"""p(g), the eigenvalue of P = G(G + λ_kI)^{-1} where G has g."""


def exact_parameters(
    samples_per_class: int, kernel_ridge: float, feature_ridge: float, scale: float
) -> dict[sympy.Symbol, sympy.Rational]:
    """Return the values of n, λ_k, λ_Φ and κ as the rational numbers that the doubles are.

    Raises:
        TypeError: If n is no integer, or another argument no real number.
        ValueError: If n < 1, or another argument is not between 1e-60 and 1e60, beyond which what
            follows from them leaves the range of doubles.
    """
    return {
        SAMPLES: sympy.Integer(integer("samples_per_class", samples_per_class, 1)),
        KERNEL_RIDGE: _rational("kernel_ridge", kernel_ridge),
        FEATURE_RIDGE: _rational("feature_ridge", feature_ridge),
        SCALE: _rational("scale", scale),
    }


def _rational(name: str, value: float) -> sympy.Rational:
    if not 1e-60 <= positive(name, value) <= 1e60:
        raise ValueError(f"{name} = {value!r} must be between 1e-60 and 1e60")
    return sympy.Rational(value)


def nearest(number: sympy.Rational) -> float:
    """Return the nearest double; infinity beyond the largest."""
    try:
        return float(Fraction(int(number.p), int(number.q)))
    except OverflowError:
        return math.inf


def gram_matrix(name: str, value: ArrayLike) -> RealArray:
    """Return a symmetric positive semidefinite matrix.

    Raises:
        TypeError: If the entries are not real numbers.
        ValueError: If it is not square, an entry is NaN or infinite, it is not symmetric to
            1e-10 of its largest entry, or has an eigenvalue below -1e-10 of it times its size.
    """
    G = finite_array(name, value)
    if G.ndim != 2 or G.shape[0] != G.shape[1]:
        raise ValueError(f"{name} has shape {G.shape}; (N, N) is allowed")
    size = float(np.abs(G).max())
    if np.abs(G - G.T).max() > 1e-10 * size:
        raise ValueError(f"{name} is not symmetric; a symmetric matrix is allowed")
    lowest = float(np.linalg.eigvalsh(G)[0])
    if lowest < -1e-10 * len(G) * size:
        raise ValueError(f"{name} has the eigenvalue {lowest:.3g}; none below 0 is allowed")
    return G / 2 + G.T / 2  # halves first: the sum of two large entries would overflow


def one_hot(labels: ArrayLike, samples: int) -> RealArray:
    """Return one-hot labels, shape (K, N), every class with at least one sample.

    Raises:
        TypeError: If the entries are not real numbers.
        ValueError: If the shape is not (K, N) with the given N, a column is not one-hot, or a
            class is empty.
    """
    Y = finite_array("labels", labels)
    if Y.ndim != 2 or Y.shape[1] != samples:
        raise ValueError(f"labels have shape {Y.shape}; (K, {samples}) is allowed")
    if not np.isin(Y, (0.0, 1.0)).all() or not (Y.sum(axis=0) == 1).all():
        raise ValueError("labels are not one-hot; each column must hold a single 1 and else 0")
    if not Y.any(axis=1).all():
        empty = int(np.flatnonzero(~Y.any(axis=1))[0])
        raise ValueError(f"labels: class {empty} has no sample; each class needs at least one")
    return Y
