"""Settings at which the claims about the Gram recursion are tried, and formulas evaluated there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import sympy
from flint import fmpq

from theory.collapse.setting import EIGENVALUE

from ...claim import Hypothesis
from . import gram_brute as brute
from .gram_brute import Case

LABELS = Hypothesis("one-hot labels, n samples in each of K classes; YYᵀ = nI")
POSITIVE = Hypothesis("κ, λ_k, λ_Φ > 0")

CASES = (
    Case(2, 3, Fraction(1), Fraction(2), Fraction(1, 2)),
    Case(3, 2, Fraction(1, 3), Fraction(3, 2), Fraction(2)),
    Case(4, 2, Fraction(5), Fraction(1), Fraction(2)),
)
"""Settings; in the last q = 20/9, but the fixed point is still the only one."""

THREE_ROOTS = Case(2, 3, Fraction(10), Fraction(1), Fraction(18))
"""κn = 36: the cubic has the roots 2, 5 and 10."""


def exact_value(expression: sympy.Expr, values: Mapping[sympy.Symbol, Any]) -> Any:
    """The value of a formula in rational numbers, as a flint rational.

    Raises:
        ValueError: If a mutant made it irrational.
    """
    found = expression.subs(values)
    if found.is_Rational:
        return brute.rational(found)
    raise ValueError(f"{expression} is {found} at {values}, not rational")


def ball_value(expression: sympy.Expr, case: Case, g: Any) -> Any:
    """The value of a formula at a ball for g."""
    at = sympy.lambdify(EIGENVALUE, integral(expression.subs(case.values)), modules=[{}])
    return at(g)


def integral(expression: sympy.Expr) -> sympy.Expr:
    """The expression as one fraction with integer coefficients: no quotient becomes a float."""
    top, bottom = sympy.fraction(sympy.together(expression))
    return sympy.expand(top) / sympy.expand(bottom)


def measured_eigenvalue(gram: Any, index: Any) -> float:
    """The mean eigenvalue on the label space, tr ΠG/K, of doubles and equal classes."""
    return float(np.sum(gram[index[:, None] == index]) / len(index))


def mixture(case: Case, eigenvalues: Sequence[int]) -> Any:
    """λ_Φ off the label space and given eigenvalues on it, along turned directions."""
    Y = brute.labels([case.samples] * case.classes)
    turned = brute.rotation(case.classes, np.random.default_rng(2))
    inner = turned * brute.diagonal(eigenvalues) * turned.transpose() * fmpq(1, case.samples)
    off = brute.identity(case.size) - brute.label_projection(case)
    return Y.transpose() * inner * Y + off * brute.rational(case.feature_ridge)
