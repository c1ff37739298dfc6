r"""The fixed points of the Gram recursion, and how collapsed they are.

G is a fixed point of T if and only if h(G) = κYᵀY, h(g) = (g - λ_Φ)(g + λ_k)²/g². Hence G = λ_Φ
off the label space, and on it G has eigenvalues among the positive roots of the cubic

    (g - λ_Φ)(g + λ_k)² = κn g²,    that is,    g = κn p(g)² + λ_Φ,

with any eigenvectors. All the cubic's real roots exceed λ_Φ. There is one fixed point if and only
if the cubic has a single root: for every κn if λ_k ≤ 8λ_Φ, and always if q < 1. It is

    G* = (s/n) YᵀY + λ_Φ I,    s = g - λ_Φ,

a simplex: NC2 is 0 and NC1 = λ_Φ(n - 1)/((s + λ_Φ)(1 - 1/K)). With several roots each has its
collapsed fixed point, and mixtures of them on the label space are a continuum of others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import sympy

from ..arrays import RealArray
from ..validation import integer
from .recursion import LIPSCHITZ
from .setting import (
    CLASSES,
    EIGENVALUE,
    FEATURE_RIDGE,
    KERNEL_RIDGE,
    SAMPLES,
    SCALE,
    SHRINKAGE,
    exact_parameters,
    nearest,
)

EQUATION = SCALE * SAMPLES * SHRINKAGE**2 + FEATURE_RIDGE - EIGENVALUE
"""0 at the eigenvalues of fixed points on the label space."""

NC1 = FEATURE_RIDGE * (SAMPLES - 1) / (EIGENVALUE * (1 - 1 / CLASSES))
"""tr Σ_W / tr Σ_B at G*."""

_STRENGTH = SCALE * SAMPLES
DISCRIMINANT = (
    _STRENGTH
    * KERNEL_RIDGE**2
    * (
        _STRENGTH * (KERNEL_RIDGE**2 + 20 * FEATURE_RIDGE * KERNEL_RIDGE - 8 * FEATURE_RIDGE**2)
        - 4 * FEATURE_RIDGE * _STRENGTH**2
        - 4 * (FEATURE_RIDGE + KERNEL_RIDGE) ** 3
    )
)
"""The cubic's discriminant: three roots where it is positive, one where it is negative."""


@dataclass(frozen=True)
class FixedPoint:
    """The only fixed point of the Gram recursion, G* = (s/n)YᵀY + λ_ΦI.

    Attributes:
        samples_per_class: n.
        classes: K.
        signal: s, the eigenvalue of G* - λ_Φ I on the label space.
        eigenvalue: g = s + λ_Φ.
        feature_ridge: λ_Φ, the eigenvalue off the label space.
        nc1: tr Σ_W / tr Σ_B of features with the Gram matrix G*.
        nc2: 0: their centred class means are a simplex exactly.
        contraction: q.
        contractive: Whether q < 1. If not, the fixed point is still the only one and attracts
            every start, but no contraction with q says so.
    """

    samples_per_class: int
    classes: int
    signal: float
    eigenvalue: float
    feature_ridge: float
    nc1: float
    nc2: float
    contraction: float
    contractive: bool

    @property
    def gram(self) -> RealArray:
        """G*, shape (nK, nK), samples ordered by class."""
        n, K = self.samples_per_class, self.classes
        blocks = np.kron(np.eye(K), np.full((n, n), self.signal / n))
        return np.asarray(blocks + self.feature_ridge * np.eye(n * K))


def fixed_point(
    samples_per_class: int,
    classes: int,
    *,
    kernel_ridge: float,
    feature_ridge: float,
    scale: float = 1.0,
) -> FixedPoint:
    """Return the fixed point of T, where there is only one.

    Args:
        samples_per_class: n >= 1.
        classes: K >= 2.
        kernel_ridge: λ_k > 0.
        feature_ridge: λ_Φ > 0.
        scale: κ > 0.

    Raises:
        TypeError: If n or K is no integer, or a parameter no real number.
        ValueError: If an argument is out of range, or T has several fixed points (then q >= 1;
            `fixed_point_eigenvalues` gives all).

    Source: this project.

    Example:
        >>> found = fixed_point(9, 2, kernel_ridge=1.0, feature_ridge=1.0, scale=0.25)
        >>> found.eigenvalue, found.signal, found.nc1, found.contractive
        (2.0, 1.0, 8.0, False)
        >>> found.contraction
        1.125
    """
    K = sympy.Integer(integer("classes", classes, 2))
    values = exact_parameters(samples_per_class, kernel_ridge, feature_ridge, scale)
    q = LIPSCHITZ.subs(values)
    roots = _roots(values)
    if len(roots) > 1:
        raise ValueError(
            f"q = {nearest(q):.6g} with {len(roots)} collapsed fixed points; a single one is "
            "allowed (sure for q < 1 and for kernel_ridge <= 8 feature_ridge)"
        )
    s, g = roots[0]
    nc1 = nearest(NC1.subs({**values, EIGENVALUE: sympy.Rational(g), CLASSES: K}))
    return FixedPoint(
        int(samples_per_class),
        int(K),
        s,
        g,
        float(feature_ridge),
        nc1,
        0.0,
        nearest(q),
        bool(q < 1),
    )


def fixed_point_eigenvalues(
    samples_per_class: int, *, kernel_ridge: float, feature_ridge: float, scale: float = 1.0
) -> tuple[float, ...]:
    """Return the roots of (g - λ_Φ)(g + λ_k)² = κn g², increasing, each once: one to three.

    Args:
        samples_per_class: n >= 1.
        kernel_ridge: λ_k > 0.
        feature_ridge: λ_Φ > 0.
        scale: κ > 0.

    Raises:
        TypeError: If n is no integer, or a parameter no real number.
        ValueError: If n < 1, or a parameter is not positive and finite.

    Source: this project.

    Example:
        >>> fixed_point_eigenvalues(36, kernel_ridge=10.0, feature_ridge=1.0)
        (2.0, 5.0, 10.0)
    """
    values = exact_parameters(samples_per_class, kernel_ridge, feature_ridge, scale)
    return tuple(g for _, g in _roots(values))


_SIGNAL = sympy.Symbol("s", positive=True)


@lru_cache(maxsize=1)
def _cubic() -> sympy.Poly:
    """The cubic in s = g - λ_Φ: there a small s loses no digits."""
    fraction = sympy.together(EQUATION.subs(EIGENVALUE, _SIGNAL + FEATURE_RIDGE))
    return sympy.Poly(sympy.numer(fraction), _SIGNAL)


def _roots(values: Mapping[sympy.Symbol, sympy.Rational]) -> tuple[tuple[float, float], ...]:
    """The pairs (s, g), increasing. Flint isolates the roots and tells real ones exactly."""
    from flint import ctx, fmpq, fmpq_poly

    rational = [coefficient.subs(values) for coefficient in reversed(_cubic().all_coeffs())]
    cubic = fmpq_poly([fmpq(int(x.p), int(x.q)) for x in rational])
    ridge = values[FEATURE_RIDGE]
    with ctx.workprec(128):
        roots: Any = cubic.complex_roots()
        real = [root.real for root, _ in roots if root.imag == 0]
        shift = fmpq(int(ridge.p), int(ridge.q))
        return tuple(sorted((float(s), float(s + shift)) for s in real))
