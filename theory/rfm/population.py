r"""Population AGOP E[∇f∇fᵀ] under Gaussian inputs N(0, Σ), exactly.

    f a polynomial, or such a one times exponentials: entry by entry, by Isserlis' theorem;
    f(x) = g(uᵀx):   E[g'(s)²] uuᵀ,              s ~ N(0, uᵀΣu);
    f(x) = g(Ux):    Uᵀ E[∇g∇gᵀ] U,              the mean over N(0, UΣUᵀ).

The gradient is the ordinary one, almost everywhere: see `theory.rfm.jumps` for what it misses. The
range of the AGOP is the space of directions on which f depends: see `theory.rfm.dependence`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import sympy

from .gaussian_means import (
    checked_covariance,
    checked_variables,
    exact_expression,
    gaussian_mean,
    polynomial_mean,
    real_matrix,
)

Rows: TypeAlias = Any
"""A SymPy matrix, or rows of exact numbers and symbols."""


def population_agop(
    target: sympy.Expr, variables: Iterable[sympy.Symbol], covariance: Rows | None = None
) -> sympy.ImmutableMatrix:
    """Return E[∇f∇fᵀ] under x ~ N(0, Σ), exact, shape (d, d).

    Args:
        target: f, a polynomial in the variables, of any size; or a sum of products of polynomials,
            exponentials of polynomials of degree at most 2, sin, cos, sinh and cosh of degree 1,
            or a function whose derivatives are such (erf). Other symbols are parameters.
        variables: x, d different symbols.
        covariance: Σ, shape (d, d), exact numbers or symbols; the identity if it is not given.

    Raises:
        TypeError: If there are Float atoms, a variable is no symbol, or f is no expression (a
            string is none).
        ValueError: If variables repeat; Σ has another shape, is not real, not symmetric or has a
            negative eigenvalue; f is of another kind, not finite, or holds a symbol that differs
            from a variable by its assumptions only; or an entry of the AGOP is infinite.

    Source: E (its use), this project.

    Example:
        >>> x = sympy.symbols("x1:4")
        >>> population_agop(x[0] * x[1], x)
        Matrix([
        [1, 0, 0],
        [0, 1, 0],
        [0, 0, 0]])
    """
    x = checked_variables(variables)
    f, sigma = exact_expression("target", target, x), checked_covariance(covariance, len(x))
    used = [i for i, v in enumerate(x) if v in f.free_symbols]
    inner = [x[i] for i in used]
    block = sympy.ImmutableMatrix(sigma.extract(used, used))
    moments = _outer_mean(f, tuple(inner), block)
    agop = sympy.zeros(len(x), len(x))
    for (row, column), value in moments.items():
        agop[used[row], used[column]] = agop[used[column], used[row]] = value
    return sympy.ImmutableMatrix(agop)


def single_index_agop(
    link: sympy.Expr,
    variable: sympy.Symbol,
    direction: Sequence[Any],
    covariance: Rows | None = None,
) -> sympy.ImmutableMatrix:
    """Return the AGOP E[g'(s)²] uuᵀ of f(x) = g(uᵀx), s ~ N(0, uᵀΣu), shape (d, d).

    Args:
        link: g, as the target of `population_agop`.
        variable: The variable of g.
        direction: u, d >= 1 exact numbers or symbols, of any norm.
        covariance: Σ, shape (d, d); the identity if it is not given.

    Raises:
        TypeError: As `population_agop`.
        ValueError: As `multi_index_agop`.

    Source: this project.

    Example:
        >>> s = sympy.Symbol("s", real=True)
        >>> single_index_agop(s**3, s, [1, 0])
        Matrix([
        [27, 0],
        [ 0, 0]])
    """
    row = real_matrix("direction", [list(direction)])
    return multi_index_agop(link, (variable,), row, covariance)


def multi_index_agop(
    link: sympy.Expr,
    variables: Iterable[sympy.Symbol],
    directions: Rows,
    covariance: Rows | None = None,
) -> sympy.ImmutableMatrix:
    """Return the AGOP Uᵀ E[∇g∇gᵀ] U of f(x) = g(Ux), shape (d, d).

    Args:
        link: g, as the target of `population_agop`.
        variables: The k variables of g.
        directions: U, shape (k, d), exact; its rows need be neither orthogonal nor independent.
        covariance: Σ of the inputs, shape (d, d); the identity if it is not given.

    Raises:
        TypeError: As `population_agop`.
        ValueError: As `population_agop`, or U has not one row for each variable, no column, or an
            entry that is not finite or not real.

    Source: this project.
    """
    z, U = checked_variables(variables), real_matrix("directions", directions)
    if U.rows != len(z) or not U.cols:
        raise ValueError(f"directions have shape {U.shape}; one row for each of {z} is needed")
    sigma = checked_covariance(covariance, U.cols)
    projected = (U * sigma * U.T).applyfunc(sympy.expand)
    moments = population_agop(link, z, projected)
    return sympy.ImmutableMatrix((U.T * moments * U).applyfunc(sympy.expand))


def _outer_mean(
    f: sympy.Expr, x: tuple[sympy.Symbol, ...], sigma: sympy.ImmutableMatrix
) -> Mapping[tuple[int, int], sympy.Expr]:
    """E[∂_i f ∂_j f] for i <= j."""
    pairs = [(i, j) for i in range(len(x)) for j in range(i, len(x))]
    if x and f.is_polynomial(*x):
        poly = sympy.Poly(f, *x)
        slopes = [poly.diff(v) for v in x]
        return {(i, j): polynomial_mean(slopes[i] * slopes[j], x, sigma) for i, j in pairs}
    rough = [sympy.diff(f, v) for v in x]
    return {(i, j): gaussian_mean(rough[i] * rough[j], x, sigma) for i, j in pairs}
