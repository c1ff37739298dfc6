r"""NC1 and NC2 of features, from their Gram matrix alone.

With class means μ_c, the mean μ of the K class means and N samples in all,

- tr Σ_W = (1/N) Σ_i ‖x_i - μ_c(i)‖², every sample alike;
- tr Σ_B = (1/K) Σ_c ‖μ_c - μ‖², every class alike;
- NC1 = tr Σ_W / tr Σ_B ("standard"), or the same over K ("released", paper B's script);
- NC2 is the mean squared entry of C - E, C the cosines between centred class means and E those
  of a simplex: 1 and -1/(K - 1) ("cosines", the released script's), or the Frobenius distance of
  the centred means' Gram matrix from E, both over their norms ("frobenius"), which lengths enter.

For classes of n samples each, with a, b and m the means of G's diagonal, of its entries within
classes and of all its entries, NC1 = (a - b)/(b - m). All of them see only distances: they do not
change when features are moved, rotated, reflected or scaled.
"""

from __future__ import annotations

from functools import partial
from typing import Literal, TypeAlias, get_args

import numpy as np
import sympy
from numpy.typing import ArrayLike

from ..arrays import RealArray
from ..derivation import Derivation, Step, first_nonzero
from ..matrix_words import matrices, reduced, trace
from .setting import CLASSES, SAMPLES, gram_matrix, one_hot

Normalisation: TypeAlias = Literal["standard", "released"]
Distance: TypeAlias = Literal["cosines", "frobenius"]

DIAGONAL_MEAN, WITHIN_MEAN, TOTAL_MEAN = sympy.symbols("a b m", real=True)

STANDARD_NC1 = (DIAGONAL_MEAN - WITHIN_MEAN) / (WITHIN_MEAN - TOTAL_MEAN)
"""tr Σ_W / tr Σ_B for equal classes."""

RELEASED_NC1 = STANDARD_NC1 / CLASSES
"""What the released script of paper B prints."""

SIMPLEX_COSINE = -1 / (CLASSES - 1)
"""The cosine between two vertices of a simplex, seen from its centre."""

_ROUNDING = 64 * float(np.finfo(np.float64).eps)


def nc1(gram: ArrayLike, labels: ArrayLike, normalisation: Normalisation = "standard") -> float:
    """Return tr Σ_W / tr Σ_B, the variability within classes over that between them.

    Args:
        gram: G, shape (N, N), symmetric positive semidefinite.
        labels: One-hot Y, shape (K, N), at least two classes.
        normalisation: "standard", or "released": divided by K.

    Raises:
        TypeError: If entries are not real numbers.
        ValueError: If shapes do not fit, an entry is NaN or infinite, G is not symmetric positive
            semidefinite, Y not one-hot, a class empty or alone, the normalisation unknown, or all
            class means coincide, so that NC1 is infinite.

    Source: paper B.

    Example:
        >>> nc1([[2.0, 1.0, 0.0], [1.0, 2.0, 0.0], [0.0, 0.0, 1.5]], [[1, 1, 0], [0, 0, 1]])
        0.4444444444444444
    """
    if normalisation not in get_args(Normalisation):
        raise ValueError(f"normalisation = {normalisation!r} must be one of 'standard', 'released'")
    G, Y = _checked(gram, labels)
    sizes = Y.sum(axis=1)
    means = _class_means(G, Y)
    within = (np.trace(G) - sizes @ np.diag(means)) / len(G)
    between = float(np.trace(_centred(means))) / len(Y)
    if between <= _ROUNDING * float(np.abs(G).max()):
        raise ValueError(f"gram: all {len(Y)} class means coincide, so that NC1 is infinite")
    found = max(float(within), 0.0) / between
    return found if normalisation == "standard" else found / len(Y)


def nc2(gram: ArrayLike, labels: ArrayLike, distance: Distance = "cosines") -> float:
    """Return how far the centred class means are from a simplex; of two classes 0.

    Args:
        gram: G, shape (N, N), symmetric positive semidefinite.
        labels: One-hot Y, shape (K, N), at least two classes.
        distance: "cosines": the mean squared entry of C - E, as in paper B's script; "frobenius":
            ‖B/‖B‖ - E/‖E‖‖ in Frobenius norms, B the centred means' Gram matrix.

    Raises:
        TypeError: If entries are not real numbers.
        ValueError: As `nc1`, or if a class mean is the mean of all, the distance is unknown.

    Source: paper B ("cosines").

    Example:
        >>> nc2(np.eye(3), np.eye(3)) < 1e-30
        True
    """
    if distance not in get_args(Distance):
        raise ValueError(f"distance = {distance!r} must be one of 'cosines', 'frobenius'")
    G, Y = _checked(gram, labels)
    means = _centred(_class_means(G, Y))
    squares = np.diag(means)
    if squares.min() <= _ROUNDING * float(np.abs(G).max()):
        raise ValueError("gram: a class mean is the mean of all, so that it has no direction")
    K = len(Y)
    simplex = (K * np.eye(K) - 1) / (K - 1)
    if distance == "frobenius":
        return float(
            np.linalg.norm(means / np.linalg.norm(means) - simplex / np.linalg.norm(simplex))
        )
    lengths = np.sqrt(squares)
    return float(np.mean((means / np.outer(lengths, lengths) - simplex) ** 2))


def _checked(gram: ArrayLike, labels: ArrayLike) -> tuple[RealArray, RealArray]:
    G = gram_matrix("gram", gram)
    Y = one_hot(labels, len(G))
    if len(Y) < 2:
        raise ValueError("labels have 1 class; at least 2 are needed")
    # Neither metric sees the scale, but squares of very large or small entries leave the doubles.
    return G / (np.abs(G).max() or 1.0), Y


def _class_means(G: RealArray, Y: RealArray) -> RealArray:
    """⟨μ_a, μ_b⟩, shape (K, K)."""
    average = Y / Y.sum(axis=1, keepdims=True)
    return np.asarray(average @ G @ average.T)


def _centred(means: RealArray) -> RealArray:
    """⟨μ_a - μ, μ_b - μ⟩."""
    rows = means - means.mean(axis=0)
    return np.asarray(rows - rows.mean(axis=1, keepdims=True))


# --- derivation -------------------------------------------------------------------------------

_T = sympy.transpose
_X, _Y, _J, _Q, _ones = matrices("X Y J Q 1")
_G = _T(_X) * _X
_N = CLASSES * SAMPLES
_LABELS = {_Y * _T(_Y): SAMPLES}
# J = 11ᵀ/K averages over the classes.
_AVERAGE = {_T(_J): _J, _J**2: _J}


def _traced(word: sympy.Expr, rules: dict[sympy.Expr, sympy.Expr]) -> sympy.Expr:
    return trace(reduced(sympy.expand(word), rules))


def _named(total: sympy.Expr) -> sympy.Expr:
    """tr G = Na, tr YGYᵀ = Knn b, tr JYGYᵀ = (1/K)·(all entries) = (1/K)·N² m, over N or Kn²."""
    names = {
        trace(_G): _N * DIAGONAL_MEAN,
        trace(_Y * _G * _T(_Y)): CLASSES * SAMPLES**2 * WITHIN_MEAN,
        trace(_J * _Y * _G * _T(_Y)): _N**2 * TOTAL_MEAN / CLASSES,
    }
    return sympy.expand(total).subs(names)


def _within_residual() -> sympy.Expr:
    """x_i - μ_c(i) are the columns of X(1 - YᵀY/n): tr Σ_W = a - b."""
    deviations = _X * (1 - _T(_Y) * _Y / SAMPLES)
    total = _traced(deviations * _T(deviations), _LABELS) / _N
    return sympy.simplify(_named(total) - (DIAGONAL_MEAN - WITHIN_MEAN))


def _between_residual() -> sympy.Expr:
    """μ_c - μ are the columns of XYᵀ(1 - J)/n: tr Σ_B = b - m."""
    means = _X * _T(_Y) * (1 - _J) / SAMPLES
    total = _traced(means * _T(means), _AVERAGE) / CLASSES
    return sympy.simplify(_named(total) - (WITHIN_MEAN - TOTAL_MEAN))


def _ratio_residual(claimed: sympy.Expr, over: sympy.Expr) -> sympy.Expr:
    ratio = (DIAGONAL_MEAN - WITHIN_MEAN) / (WITHIN_MEAN - TOTAL_MEAN) / over
    return sympy.simplify(claimed - ratio)


def _moved_residual() -> sympy.Expr:
    """Features QX + v1ᵀ, QᵀQ = 1, have the same deviations from means, as 1ᵀ(1 - YᵀY/n) = 0."""
    v = matrices("v")[0]
    moved = (_Q * _X + v * _T(_ones)) * (1 - _T(_Y) * _Y / SAMPLES)
    rules = {_T(_ones) * _T(_Y) * _Y: SAMPLES * _T(_ones)}
    difference = reduced(sympy.expand(moved - _Q * _X * (1 - _T(_Y) * _Y / SAMPLES)), rules)
    turned = reduced(_T(_Q * _X) * _Q * _X - _G, {_T(_Q) * _Q: sympy.Integer(1)})
    return first_nonzero(sympy.expand(difference), sympy.expand(turned))


def _simplex_residual(claimed: sympy.Expr) -> sympy.Expr:
    """K unit vectors that sum to 0 with equal cosines: 0 = ‖Σu‖² = K + K(K - 1)cos."""
    return sympy.simplify(CLASSES + CLASSES * (CLASSES - 1) * claimed)


def derive_metrics(
    standard: sympy.Expr = STANDARD_NC1,
    released: sympy.Expr = RELEASED_NC1,
    cosine: sympy.Expr = SIMPLEX_COSINE,
) -> Derivation:
    """Derive NC1 from means of the Gram matrix's entries, for all n, K and dimensions.

    Args:
        standard: NC1 in ``DIAGONAL_MEAN``, ``WITHIN_MEAN`` and ``TOTAL_MEAN``, to compare with.
        released: The same of the released script.
        cosine: Of a simplex, to compare with.

    Source: this project.
    """
    steps = (
        Step("tr Σ_W = a - b.", _within_residual),
        Step("tr Σ_B = b - m.", _between_residual),
        Step("Nothing changes when features are moved or turned.", _moved_residual),
        Step("The simplex.", partial(_simplex_residual, cosine)),
        Step("The released script divides by K.", partial(_ratio_residual, released, CLASSES)),
        Step("NC1.", partial(_ratio_residual, standard, sympy.Integer(1))),
    )
    return Derivation("NC1 = (a - b)/(b - m).", steps)
