r"""Exact means under N(0, Σ) of polynomials, and of polynomials times exponentials of quadratics.

Polynomials by Stein's identity E[x_i h] = Σ_j Σ_ij E[∂_j h], which is Isserlis' theorem in small
steps. A factor exp(aᵀx − ½xᵀQx) only changes the Gaussian: to covariance C = (Σ⁻¹ + Q)⁻¹ and mean
Ca, with the factor det(1 + QΣ)^{-1/2} exp(½aᵀCa) in front. Sines and cosines are exponentials.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import sympy

Exponents = tuple[int, ...]


def gaussian_mean(
    expression: sympy.Expr,
    variables: Sequence[sympy.Symbol],
    covariance: sympy.MatrixBase | None = None,
) -> sympy.Expr:
    """Return the exact mean of an expression in the variables under N(0, Σ).

    Args:
        expression: A sum of products of polynomials, exp of polynomials of degree at most 2, sin,
            cos, sinh and cosh of polynomials of degree 1. Other symbols are parameters.
        variables: The Gaussian variables, d of them.
        covariance: Σ, shape (d, d), exact; the identity if it is not given.

    Raises:
        TypeError: If there are Float atoms.
        ValueError: If Σ is not symmetric positive semidefinite or has another shape, the
            expression is of another kind, or the mean is infinite.

    Example:
        >>> x, y = sympy.symbols("x y", real=True)
        >>> gaussian_mean(x**2 * y**2, (x, y), sympy.Matrix([[1, 1], [1, 2]]))
        4
        >>> gaussian_mean(sympy.cos(x) ** 2, (x,))
        exp(-2)/2 + 1/2
    """
    gaussian = tuple(variables)
    sigma = checked_covariance(covariance, len(gaussian))
    exact = refuse_floats("expression", sympy.sympify(expression))
    if exact.is_polynomial(*gaussian):
        return polynomial_mean(exact, gaussian, sigma)
    total = sympy.Integer(0)
    for exponent, factor in _by_exponent(exact, gaussian).items():
        total += _tilted_mean(factor, exponent, gaussian, sigma)
    return sympy.expand(sympy.simplify(total))


def polynomial_mean(
    polynomial: sympy.Expr | sympy.Poly,
    variables: tuple[sympy.Symbol, ...],
    covariance: sympy.ImmutableMatrix,
) -> sympy.Expr:
    """Return the mean of a polynomial under N(0, Σ), without checking its arguments."""
    poly = polynomial if isinstance(polynomial, sympy.Poly) else sympy.Poly(polynomial, *variables)
    terms = [c * moment(powers, covariance) for powers, c in poly.terms()]
    return sympy.expand(sympy.Add(*terms))


@lru_cache(maxsize=20_000)
def moment(powers: Exponents, covariance: sympy.ImmutableMatrix) -> sympy.Expr:
    """Return E Π x_i^{a_i} under N(0, Σ), by Stein's identity for the first variable that is there.

    >>> moment((2, 2), sympy.ImmutableMatrix([[1, 1], [1, 2]]))
    4
    """
    if sum(powers) % 2:
        return sympy.Integer(0)
    first = next((i for i, power in enumerate(powers) if power), None)
    if first is None:
        return sympy.Integer(1)
    rest = _less_one(powers, first)
    terms = [
        covariance[first, j] * power * moment(_less_one(rest, j), covariance)
        for j, power in enumerate(rest)
        if power and covariance[first, j] != 0
    ]
    return sympy.expand(sympy.Add(*terms))


def _less_one(powers: Exponents, place: int) -> Exponents:
    return (*powers[:place], powers[place] - 1, *powers[place + 1 :])


def _by_exponent(
    expression: sympy.Expr, variables: tuple[sympy.Symbol, ...]
) -> Mapping[sympy.Expr, sympy.Expr]:
    """Group a sum by the exponents of its exponentials: exponent -> polynomial factor."""
    groups: dict[sympy.Expr, sympy.Expr] = {}
    spread = sympy.expand(expression.rewrite(sympy.exp), power_exp=False)
    for term in sympy.Add.make_args(sympy.expand(spread)):
        exponent, factor = sympy.Integer(0), sympy.Integer(1)
        for part in sympy.Mul.make_args(term):
            base, power = part.as_base_exp()
            if base == sympy.E:
                exponent += power
            else:
                factor *= part
        if not factor.is_polynomial(*variables) or not _is_quadratic(exponent, variables):
            raise ValueError(
                f"expression has the term {term}; allowed are polynomials times exponentials of "
                "polynomials of degree at most 2, and sines and cosines of degree 1"
            )
        key = sympy.expand(exponent)
        groups[key] = groups.get(key, sympy.Integer(0)) + factor
    return groups


def _is_quadratic(exponent: sympy.Expr, variables: tuple[sympy.Symbol, ...]) -> bool:
    return bool(
        exponent.is_polynomial(*variables) and sympy.Poly(exponent, *variables).total_degree() <= 2
    )


def _tilted_mean(
    factor: sympy.Expr,
    exponent: sympy.Expr,
    variables: tuple[sympy.Symbol, ...],
    sigma: sympy.ImmutableMatrix,
) -> sympy.Expr:
    zero = dict.fromkeys(variables, 0)
    slope = sympy.Matrix([sympy.diff(exponent, v) for v in variables]).subs(zero)
    Q = -sympy.hessian(exponent, variables)
    widened = sympy.eye(len(variables)) + Q * sigma
    if any(entry != 0 for entry in Q):
        _refuse_infinite(exponent, widened)
    C = sympy.ImmutableMatrix((sigma * widened.inv()).applyfunc(sympy.simplify))
    mean = C * slope
    shifted = factor.subs(
        {v: v + m for v, m in zip(variables, mean, strict=True)}, simultaneous=True
    )
    constant = exponent.subs(zero) + (slope.T * mean)[0, 0] / 2
    scale = sympy.exp(sympy.expand(constant)) / sympy.sqrt(sympy.factor(widened.det()))
    return scale * polynomial_mean(sympy.expand(shifted), variables, C)


def _refuse_infinite(exponent: sympy.Expr, widened: sympy.MatrixBase) -> None:
    """1 + QΣ must have positive eigenvalues (they are real: it is similar to 1 + Σ^½QΣ^½)."""
    if widened.free_symbols or widened.has(sympy.I):
        return
    if any(not value.evalf() > 0 for value in widened.eigenvals()):
        raise ValueError(f"expression has the factor exp({exponent}), whose mean is infinite")


def checked_covariance(
    covariance: sympy.MatrixBase | None, dimension: int
) -> sympy.ImmutableMatrix:
    """Return Σ as an exact matrix, or refuse it.

    Raises:
        TypeError: If it has Float atoms.
        ValueError: If it is not (d, d), not symmetric, or numeric with a negative eigenvalue.
    """
    if covariance is None:
        return sympy.ImmutableMatrix(sympy.eye(dimension))
    sigma = refuse_floats("covariance", sympy.ImmutableMatrix(covariance))
    if sigma.shape != (dimension, dimension):
        raise ValueError(
            f"covariance has shape {sigma.shape}; ({dimension}, {dimension}) is needed"
        )
    if sigma != sigma.T:
        raise ValueError("covariance is not symmetric")
    if not sigma.free_symbols and sigma.is_positive_semidefinite is False:
        raise ValueError("covariance has a negative eigenvalue; it must be positive semidefinite")
    return sigma


def refuse_floats(name: str, value: Any) -> Any:
    """Return the value, unless it has Float atoms.

    Raises:
        TypeError: If it has.
    """
    if floats := value.atoms(sympy.Float):
        raise TypeError(f"{name} has the Float {floats.pop()}; exact numbers are allowed")
    return value
