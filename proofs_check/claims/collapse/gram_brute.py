"""Linearised Deep RFM from its definition: in fractions, and in balls over many layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import sympy
from flint import arb, arb_mat, ctx, fmpq, fmpq_mat

from theory.collapse import setting

from ..rationals import number

PRECISION = 2000
"""Bits of the balls in which layers are iterated."""


@dataclass(frozen=True)
class Case:
    """One setting of the recursion."""

    samples: int
    classes: int
    kernel_ridge: Fraction
    feature_ridge: Fraction
    scale: Fraction

    @property
    def values(self) -> dict[sympy.Symbol, sympy.Rational]:
        """The parameters by their symbols."""
        named = {
            setting.KERNEL_RIDGE: self.kernel_ridge,
            setting.FEATURE_RIDGE: self.feature_ridge,
            setting.SCALE: self.scale,
        }
        exact = {name: number(x) for name, x in named.items()}
        return {setting.SAMPLES: sympy.Integer(self.samples),
                setting.CLASSES: sympy.Integer(self.classes), **exact}  # fmt: skip

    @property
    def size(self) -> int:
        """N."""
        return self.samples * self.classes

    def __str__(self) -> str:
        ridges = f"λ_k = {self.kernel_ridge}, λ_Φ = {self.feature_ridge}, κ = {self.scale}"
        return f"n = {self.samples}, K = {self.classes}, {ridges}"


def rational(number: Fraction | sympy.Rational | int) -> Any:
    """A flint rational."""
    found = sympy.Rational(number.numerator, number.denominator)
    return fmpq(int(found.p), int(found.q))


def fraction(value: Any) -> Fraction:
    """A flint rational as a fraction."""
    return Fraction(int(value.p), int(value.q))


def matrix(rows: Sequence[Sequence[Any]]) -> Any:
    """A flint matrix of rationals."""
    return fmpq_mat([[x if isinstance(x, fmpq) else rational(x) for x in row] for row in rows])


def identity(size: int) -> Any:
    """I."""
    return matrix(np.eye(size, dtype=int).tolist())


def diagonal(values: Sequence[Any]) -> Any:
    """A diagonal matrix."""
    return matrix([[x if i == j else 0 for j in range(len(values))] for i, x in enumerate(values)])


def labels(sizes: Sequence[int]) -> Any:
    """One-hot Y, samples ordered by class."""
    return matrix(np.repeat(np.eye(len(sizes), dtype=int), sizes, axis=1).tolist())


def label_projection(case: Case) -> Any:
    """Π."""
    Y = labels([case.samples] * case.classes)
    return Y.transpose() * Y * fmpq(1, case.samples)


def integers(rows: int, columns: int, rng: np.random.Generator) -> Any:
    """Small numbers, so finely drawn that they are generic."""
    drawn = rng.integers(-3 * 10**9, 3 * 10**9, (rows, columns)).tolist()
    return matrix([[Fraction(x, 10**9) for x in row] for row in drawn])


def rotation(size: int, rng: np.random.Generator) -> Any:
    """A rational orthogonal matrix: Cayley's transform of a skew one."""
    upper = np.triu(rng.integers(-3, 4, (size, size)), 1)
    skew = matrix((upper - upper.T).tolist()) * fmpq(1, 2)
    return (identity(size) - skew) * (identity(size) + skew).inv()


def columns(A: Any, count: int) -> Any:
    """The first columns."""
    return fmpq_mat([row[:count] for row in A.tolist()])


def trace(A: Any) -> Any:
    """The sum of the diagonal."""
    return sum((A[i, i] for i in range(1, A.nrows())), A[0, 0])


def positive_definite(A: Any) -> bool:
    """Whether all leading minors of a symmetric rational matrix are positive."""
    rows = A.tolist()
    minors = (fmpq_mat([row[:k] for row in rows[:k]]).det() for k in range(1, len(rows) + 1))
    return all(minor > 0 for minor in minors)


def layer_from_features(X: Any, Y: Any, case: Case) -> Any:
    """The next Gram matrix: ridge regression in the features, its AGOP, the linearised map.

    f(x) = wx with w the least ‖wX - Y‖² + λ_k‖w‖², by its normal equations; ∇f = wᵀ everywhere.
    """
    normal = X * X.transpose() + identity(X.nrows()) * rational(case.kernel_ridge)
    w = Y * X.transpose() * normal.inv()
    agop = w.transpose() * w
    moved = X.transpose() * agop * X * rational(case.scale)
    return moved + identity(X.ncols()) * rational(case.feature_ridge)


def layer(G: Any, case: Case) -> Any:
    """T(G) in fractions."""
    Y = labels([case.samples] * case.classes)
    P = G * (G + identity(case.size) * rational(case.kernel_ridge)).inv()
    moved = P * Y.transpose() * Y * P * rational(case.scale)
    return moved + identity(case.size) * rational(case.feature_ridge)


def start(case: Case, rng: np.random.Generator) -> Any:
    """A generic positive definite G."""
    A = integers(case.size, case.size + 1, rng)
    return A * A.transpose() * fmpq(1, case.size) + identity(case.size) * fmpq(1, 3)


def layers(G: Any, case: Case, count: int) -> Iterator[Any]:
    """G_0, ..., G_count in balls; the caller sets the precision, `PRECISION` bits say."""
    Y = arb_mat(labels([case.samples] * case.classes))
    one = arb_mat(identity(case.size))
    ridge, shift, scale = (
        arb(rational(x)) for x in (case.kernel_ridge, case.feature_ridge, case.scale)
    )
    ball = arb_mat(G)
    yield ball
    for _ in range(count):
        V = (ball + one * ridge).solve(ball * Y.transpose())
        ball = V * V.transpose() * scale + one * shift
        yield ball


def last_layers(G: Any, case: Case, count: int, kept: int = 1) -> list[Any]:
    """The last Gram matrices, in balls of `PRECISION` bits."""
    with ctx.workprec(PRECISION):
        found: list[Any] = []
        for ball in layers(G, case, count):
            found = [*found[-kept + 1 :], ball] if kept > 1 else [ball]
    return found


def label_eigenvalue(G: Any, case: Case) -> Any:
    """The mean eigenvalue on the label space, tr ΠG/K."""
    with ctx.workprec(PRECISION):
        return trace(arb_mat(label_projection(case)) * G) / case.classes


def tangents(G: Any, case: Case) -> tuple[Any, Any]:
    """tr and det of (tan Θ)ᵀ(tan Θ) in the next layer: its eigenspace is the range of V = PYᵀ.

    tan Θ = U_⊥ᵀV(UᵀV)^{-1} with U = Yᵀ/√n: only YV and Vᵀ(1 - Π)V are needed.
    """
    with ctx.workprec(PRECISION):
        Y, one = arb_mat(labels([case.samples] * case.classes)), arb_mat(identity(case.size))
        V = (G + one * arb(rational(case.kernel_ridge))).solve(G * Y.transpose())
        beside = V.transpose() * (one - arb_mat(label_projection(case))) * V
        inside = (Y * V).inv()
        found = inside.transpose() * beside * inside * arb(case.samples)
        return trace(found), found.det()


def squared(G: Any, weights: Any) -> Any:
    """‖Σ_i w_ix_i‖², for a column of weights."""
    return (weights.transpose() * G * weights)[0, 0]


def average(members: Sequence[int], size: int) -> Any:
    """The weights of a mean over samples."""
    return matrix([[Fraction(1, len(members)) if i in members else 0] for i in range(size)])


def class_spread(G: Any, sizes: Sequence[int]) -> tuple[Any, Any]:
    """tr Σ_W and tr Σ_B from their definitions, for any sizes of the classes."""
    ends = np.cumsum(sizes).tolist()
    members = [range(end - n, end) for n, end in zip(sizes, ends, strict=True)]
    size, K = ends[-1], len(sizes)
    means = [average(list(group), size) for group in members]
    centre = sum(means[1:], means[0]) * fmpq(1, K)
    within = [squared(G, average([i], size) - mean)
              for group, mean in zip(members, means, strict=True) for i in group]  # fmt: skip
    between = [squared(G, mean - centre) for mean in means]
    return sum(within[1:], within[0]) / size, sum(between[1:], between[0]) / K
