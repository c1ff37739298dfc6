r"""The range of the population AGOP: the directions on which the target depends.

If f is absolutely continuous on lines with E‖∇f‖² < ∞, and Σ ≻ 0, then v is in the kernel of the
AGOP if and only if f(x + tv) = f(x) for all x and t. So the range is the orthogonal complement of
the directions of invariance, the smallest space S for which f(x) is a function of the projection
of x to S: the central mean subspace of every y with E[y|x] = f(x).

- For f(x) = g(Ux), U of full row rank, it is span Uᵀ if and only if g depends on every direction,
  which is to say that E[∇g∇gᵀ] is nonsingular; otherwise it is smaller.
- It is the central subspace if y = f(x) + ξ with ξ independent of x. Not in general: y = x_1 + x_2ξ
  has f = x_1, while the law of y depends on x_2.
- With jumps it fails: 1[x_1 > 0] has AGOP 0. See `theory.rfm.jumps`.
- Σ need not be known: the range is the same for every Σ ≻ 0.
"""

from __future__ import annotations

from collections.abc import Iterable

import sympy

from .gaussian_means import checked_variables, exact_expression


def index_space(polynomial: sympy.Expr, variables: Iterable[sympy.Symbol]) -> sympy.ImmutableMatrix:
    """Return an orthogonal basis of the directions on which a polynomial depends, as columns.

    Found without any mean, by linear algebra: v is a direction of invariance if and only if all
    coefficients of the polynomial v·∇f are 0.

    Args:
        polynomial: f, with exact coefficients.
        variables: x, d different symbols; other symbols are refused.

    Returns:
        Shape (d, r); r = 0 for a constant. Rational columns hold integers without common factor.

    Raises:
        TypeError: If there are Float atoms, a variable is no symbol, or f no expression.
        ValueError: If f is no polynomial in the variables, with real numbers as coefficients, or
            variables repeat.

    Example:
        >>> x, y, z = sympy.symbols("x y z")
        >>> index_space((x + y) ** 3 + z, (x, y, z))
        Matrix([
        [1, 0],
        [1, 0],
        [0, 1]])
    """
    x = checked_variables(variables)
    f = exact_expression("polynomial", polynomial, x)
    if not f.is_polynomial(*x) or f.free_symbols - set(x) or f.has(sympy.I):
        raise ValueError(
            f"polynomial = {f}; a polynomial in {x} with real numbers as coefficients only"
        )
    slopes = [dict(sympy.Poly(f, *x).diff(v).terms()) for v in x]
    monomials = sorted({m for slope in slopes for m in slope})
    table = sympy.Matrix([[slope.get(m, 0) for slope in slopes] for m in monomials])
    rows = [list(row) for row in (table.rref()[0].tolist() if monomials else []) if any(row)]
    basis = sympy.GramSchmidt([sympy.Matrix(row) for row in rows])
    columns = [column / sympy.gcd_list(list(column)) for column in basis]
    return sympy.ImmutableMatrix(sympy.Matrix.hstack(sympy.zeros(len(x), 0), *columns))
