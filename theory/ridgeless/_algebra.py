"""Small algebra that the derivations of this slice share."""

from __future__ import annotations

import sympy

from ..derivation import first_nonzero


def reduce_exponentials(expression: sympy.Expr) -> sympy.Expr:
    """Bring a rational expression in exponentials to a normal form that is 0 iff it vanishes.

    Hyperbolic and trigonometric functions become exponentials. Exponentials of independent
    arguments are algebraically independent, so cancelling decides whether the expression is 0.

    Args:
        expression: Rational in its symbols and in exponentials of them.

    Returns:
        The cancelled quotient; the number 0 exactly when the expression vanishes identically.

    Source: this project.
    """
    exponential = sympy.sympify(expression).rewrite(sympy.exp)
    in_products = exponential.replace(
        lambda e: isinstance(e, sympy.exp),
        lambda e: sympy.expand_power_exp(sympy.exp(e.exp.expand())),
    )
    return sympy.cancel(sympy.together(in_products))


def geometric_sum_residual() -> sympy.Expr:
    """Check sum_{k<N} x^k = (1 - x^N)/(1 - x) by induction on N: start at N = 0, and step.

    Source: classical.
    """
    x, N = sympy.symbols("x N", positive=True)
    total = (1 - x**N) / (1 - x)
    start = total.subs(N, 0)
    step = sympy.simplify(sympy.expand((total.subs(N, N + 1) - total - x**N) * (1 - x)))
    return first_nonzero(start, step)


def half_line_residual(rate: sympy.Expr, frequency: sympy.Expr) -> sympy.Expr:
    """Check int_0^oo e^{-(a + i b) x} dx = 1/(a + i b) for a > 0 by the antiderivative.

    Args:
        rate: a, positive.
        frequency: b, real.

    Source: classical.
    """
    x = sympy.Symbol("x", positive=True)
    exponent = rate + sympy.I * frequency
    antiderivative = -sympy.exp(-exponent * x) / exponent
    slope = sympy.simplify(sympy.diff(antiderivative, x) - sympy.exp(-exponent * x))
    start = sympy.simplify(-antiderivative.subs(x, 0) - 1 / exponent)
    end = sympy.limit(sympy.exp(-rate * x), x, sympy.oo)  # the modulus of the exponential
    return first_nonzero(slope, start, end)
