r"""Exact means under N(0, Σ) of polynomials, and of polynomials times exponentials of quadratics.

Polynomials by Stein's identity E[x_i h] = Σ_j Σ_ij E[∂_j h], which is Isserlis' theorem in small
steps. A factor exp(aᵀx − ½xᵀQx) only changes the Gaussian: to covariance C = (Σ⁻¹ + Q)⁻¹ and mean
Ca, with the factor det(1 + QΣ)^{-1/2} exp(½aᵀCa) in front. Sines and cosines are exponentials.

Q must be real: of the root of a complex determinant the principal value may be the wrong one.
E cos(x² + y² + z²) is Re w³ with w = (1 − 2i)^{-1/2}, but (1 − 2i)³ has the principal root −w^{-3}.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
            cos, sinh and cosh of polynomials of degree 1. Other symbols are parameters, and real
            in quadratic parts; the result holds for those for which the mean is finite.
        variables: The Gaussian variables, d >= 1 of them, all different.
        covariance: Σ, shape (d, d), exact; the identity if it is not given.

    Raises:
        TypeError: If there are Float atoms, a variable is no symbol, or the expression none.
        ValueError: If Σ is not real, symmetric, positive semidefinite, or has another shape;
            variables repeat; the expression is of another kind, not finite, or holds a symbol with
            a variable's name and other assumptions; or the mean is infinite.

    Example:
        >>> x, y = sympy.symbols("x y", real=True)
        >>> gaussian_mean(x**2 * y**2, (x, y), sympy.Matrix([[1, 1], [1, 2]]))
        4
        >>> gaussian_mean(sympy.cos(x) ** 2, (x,))
        exp(-2)/2 + 1/2
    """
    gaussian = checked_variables(variables)
    sigma = checked_covariance(covariance, len(gaussian))
    exact = exact_expression("expression", expression, gaussian)
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


_STRIDE = 50
"""Powers of a variable are raised by so many at a time, lest the recursion be too deep."""


def moment(powers: Exponents, covariance: sympy.ImmutableMatrix) -> sympy.Expr:
    """Return E Π x_i^{a_i} under N(0, Σ), by Stein's identity for the first variable that is there.

    >>> moment((2, 2), sympy.ImmutableMatrix([[1, 1], [1, 2]]))
    4
    """
    first = next((i for i, power in enumerate(powers) if power), None)
    if first is None:
        return sympy.Integer(1)
    rest = (*powers[:first], 0, *powers[first + 1 :])
    if sum(powers) > _STRIDE:
        moment(rest, covariance)
    for power in range(_STRIDE + powers[first] % 2, powers[first], _STRIDE):
        _moment((*rest[:first], power, *rest[first + 1 :]), covariance)
    return _moment(powers, covariance)


@lru_cache(maxsize=20_000)
def _moment(powers: Exponents, covariance: sympy.ImmutableMatrix) -> sympy.Expr:
    if sum(powers) % 2:
        return sympy.Integer(0)
    first = next((i for i, power in enumerate(powers) if power), None)
    if first is None:
        return sympy.Integer(1)
    rest = _less_one(powers, first)
    terms = [
        covariance[first, j] * power * _moment(_less_one(rest, j), covariance)
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
    if not exponent.is_polynomial(*variables):
        return False
    terms = sympy.Poly(exponent, *variables).terms()
    return all(sum(powers) < 2 or (sum(powers) == 2 and not c.has(sympy.I)) for powers, c in terms)


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
    """1 + QΣ must have positive eigenvalues (they are real: it is similar to 1 + Σ^½QΣ^½).

    A polynomial with real roots has only positive ones if and only if its signs alternate.
    """
    if widened.free_symbols:
        return
    coefficients = widened.charpoly().all_coeffs()
    if not all((c * (-1) ** k).is_positive for k, c in enumerate(coefficients)):
        raise ValueError(f"expression has the factor exp({exponent}), whose mean is infinite")


def checked_variables(variables: Iterable[sympy.Symbol]) -> tuple[sympy.Symbol, ...]:
    """Return the variables, or refuse them.

    Raises:
        TypeError: If one is no symbol.
        ValueError: If there are none, or two are the same.
    """
    if isinstance(variables, sympy.Basic | str):
        raise TypeError(f"variables = {variables!r}; a sequence of symbols is allowed")
    x = tuple(variables)
    for v in x:
        if not isinstance(v, sympy.Symbol):
            raise TypeError(f"variables hold {v!r}; symbols are allowed")
    if not x or len(set(x)) < len(x):
        raise ValueError(f"variables = {x}; at least one, all different, is allowed")
    return x


def checked_covariance(
    covariance: sympy.MatrixBase | None, dimension: int
) -> sympy.ImmutableMatrix:
    """Return Σ as an exact matrix, or refuse it.

    Raises:
        TypeError: If it has Float atoms, or entries that are no numbers and no symbols.
        ValueError: If it is not (d, d), not finite, not real, not symmetric, or numeric with a
            negative eigenvalue.
    """
    if covariance is None:
        return sympy.ImmutableMatrix(sympy.eye(dimension))
    sigma = real_matrix("covariance", covariance)
    if sigma.shape != (dimension, dimension):
        raise ValueError(
            f"covariance has shape {sigma.shape}; ({dimension}, {dimension}) is needed"
        )
    if any(sympy.expand(entry) != 0 for entry in sigma - sigma.T):
        raise ValueError("covariance is not symmetric")
    if not sigma.free_symbols and sigma.is_positive_semidefinite is False:
        raise ValueError("covariance has a negative eigenvalue; it must be positive semidefinite")
    return sigma


def real_matrix(name: str, rows: Any) -> sympy.ImmutableMatrix:
    """Return a matrix of exact real numbers or symbols, or refuse it.

    Raises:
        TypeError: If it is no matrix, or has Float atoms.
        ValueError: If its rows differ in length, or an entry is not finite or not real.
    """
    if _holds_text(rows):
        raise TypeError(f"{name} = {rows!r}; exact numbers and symbols are allowed, no strings")
    try:
        matrix = sympy.ImmutableMatrix(rows)
    except ValueError as error:
        raise ValueError(f"{name} = {rows!r} has rows of unequal length") from error
    except TypeError as error:
        raise TypeError(f"{name} = {rows!r}; a matrix, or rows, is allowed") from error
    for entry in matrix:
        if exact_expression(name, entry).is_real is False:
            raise ValueError(f"{name} has the entry {entry}; real ones are allowed")
    return matrix


def _holds_text(rows: Any) -> bool:
    """Strings would be parsed to symbols."""
    if isinstance(rows, list | tuple):
        return any(_holds_text(entry) for entry in rows)
    return isinstance(rows, str)


def exact_expression(name: str, value: Any, variables: Iterable[sympy.Symbol] = ()) -> sympy.Expr:
    """Return an exact, finite expression, or refuse the value.

    Args:
        name: For messages.
        value: A SymPy expression, or an exact number; strings are not parsed, because their
            symbols would have no assumptions and so be others than the variables.
        variables: Symbols with names that no other symbol may have.

    Raises:
        TypeError: If it is no expression, or has Float atoms.
        ValueError: If it is not finite, or holds a symbol with a variable's name and other
            assumptions, which would count as a parameter.
    """
    try:
        exact = sympy.sympify(value, strict=True)
    except sympy.SympifyError as error:
        raise TypeError(f"{name} = {value!r}; an exact expression is allowed") from error
    if not isinstance(exact, sympy.Expr):
        raise TypeError(f"{name} = {value!r}; an exact expression is allowed")
    if exact.has(sympy.nan, sympy.oo, -sympy.oo, sympy.zoo):
        raise ValueError(f"{name} = {exact}; finite numbers are allowed")
    if floats := exact.atoms(sympy.Float):
        raise TypeError(f"{name} has the Float {floats.pop()}; exact numbers are allowed")
    known = set(variables)
    for symbol in exact.free_symbols - known:
        if symbol.name in {v.name for v in known}:
            raise ValueError(
                f"{name} holds a symbol {symbol} that is not the variable of this name: its "
                "assumptions are others"
            )
    return exact
