r"""The formulas of the early-time expansion, each written once: words in matrices, and entries.

A word is a SymPy expression in noncommutative symbols; a transpose is a symbol of its own. Entry
formulas are for one entry of a matrix (or one summand of it) in ordinary symbols. `evaluate` puts
any arithmetic into them: floats, exact rationals, balls, or SymPy expressions.

With n samples, o outputs, inputs h_\alpha of dimension d and k units, X is (n, d) with rows
h_\alpha, J is (n o, k) with rows k_{\alpha c} = \partial f_c(x_\alpha)/\partial z, and R is
(n, n o) with g_\alpha^T in block \alpha of row \alpha, where g = -\partial loss/\partial f: for one
output it is the diagonal matrix of the residuals. 𝒦 = J J^T is (n o, n o), K = J^T J/n is (k, k).
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import reduce
from typing import Any

import sympy


def _matrix(name: str) -> sympy.Symbol:
    return sympy.Symbol(name, commutative=False)


X, Xt, R, Rt, J, Jt = (_matrix(name) for name in ("X", "X^T", "R", "R^T", "J", "J^T"))
GRAM, K, W, Wt = (_matrix(name) for name in ("𝒦", "K", "W", "W^T"))
V, Vt, A, At = (_matrix(name) for name in ("Ẇ", "Ẇ^T", "Ẅ", "Ẅ^T"))
R_DOT, R_DOT_T, J_DOT, J_DOT_T = (_matrix(name) for name in ("Ṙ", "Ṙ^T", "J̇", "J̇^T"))
K_DOT = _matrix("K̇")

_PAIRS = ((X, Xt), (R, Rt), (J, Jt), (W, Wt), (V, Vt), (A, At), (R_DOT, R_DOT_T), (J_DOT, J_DOT_T))
TRANSPOSES: Mapping[sympy.Symbol, sympy.Symbol] = (
    dict(_PAIRS) | {after: before for before, after in _PAIRS} | {s: s for s in (GRAM, K, K_DOT)}
)

SAMPLES = sympy.Symbol("n", positive=True)
PULL, PULL_DOT, CURVATURE = sympy.symbols("g ġ ℓ''", real=True)
READOUT, READOUT_DOT = sympy.symbols("a ȧ", real=True)
PHI, FIRST, SECOND = sympy.symbols("φ φ' φ''", real=True)
Z_DOT, OUTPUT_DOT = sympy.symbols("ż ḟ", real=True)
INNER, SQUARE_A, SQUARE_B = sympy.symbols("A·B A·A B·B", positive=True)
INNER_DOT, TURN_A, TURN_B = sympy.symbols("A'·B+A·B' A·A' B·B'", real=True)

# --- leading order ----------------------------------------------------------------------------

JACOBIAN = READOUT * FIRST
r"""Entry (\alpha c, i) of J."""

VELOCITY = Jt * Rt * X
NFM_LEADING = Xt * R * GRAM * Rt * X
AGOP_LEADING = Xt * R * GRAM**2 * Rt * X / SAMPLES
CORRELATION = INNER / sympy.sqrt(SQUARE_A * SQUARE_B)

# --- next order -------------------------------------------------------------------------------

JACOBIAN_DOT = READOUT_DOT * FIRST + READOUT * SECOND * Z_DOT
r"""Entry (\alpha c, i) of the derivative of J; \dot z_\alpha = \dot W h_\alpha."""

READOUT_VELOCITY = PULL * PHI
r"""Summand \alpha of entry (c, i) of the readout's velocity, if it is trained."""

OUTPUT_VELOCITY = READOUT * FIRST * Z_DOT + READOUT_DOT * PHI
r"""Summand i of entry (\alpha, c) of the outputs' velocity."""

PULL_VELOCITY = -CURVATURE * OUTPUT_DOT
r"""\dot g, where \ell'' = 1 for "mse" and \sigma(y f) \sigma(-y f) for "logistic"."""

ACCELERATION = J_DOT_T * Rt * X + Jt * R_DOT_T * X
PTK = Jt * J / SAMPLES
PTK_DOT = (J_DOT_T * J + Jt * J_DOT) / SAMPLES
NFM_NEXT = (Vt * A + At * V) / 2
AGOP_NEXT = (Vt * K * A + At * K * V) / 2 + Vt * K_DOT * V
NFM_SLOPE = Vt * W + Wt * V
AGOP_SLOPE = Vt * K * W + Wt * K * V + Wt * K_DOT * W
CORRELATION_SLOPE = (INNER_DOT - INNER * (TURN_A / SQUARE_A + TURN_B / SQUARE_B)) / sympy.sqrt(
    SQUARE_A * SQUARE_B
)
"""For A + t A' + … and B + t B' + …; A·B = tr(AᵀB)."""

FORMULAS: Mapping[str, sympy.Expr] = {
    "jacobian": JACOBIAN,
    "velocity": VELOCITY,
    "nfm_leading": NFM_LEADING,
    "agop_leading": AGOP_LEADING,
    "correlation": CORRELATION,
    "jacobian_dot": JACOBIAN_DOT,
    "readout_velocity": READOUT_VELOCITY,
    "output_velocity": OUTPUT_VELOCITY,
    "pull_velocity": PULL_VELOCITY,
    "acceleration": ACCELERATION,
    "ptk": PTK,
    "ptk_dot": PTK_DOT,
    "nfm_next": NFM_NEXT,
    "agop_next": AGOP_NEXT,
    "nfm_slope": NFM_SLOPE,
    "agop_slope": AGOP_SLOPE,
    "correlation_slope": CORRELATION_SLOPE,
}


# --- evaluation -------------------------------------------------------------------------------


def evaluate(expression: sympy.Expr, values: Mapping[sympy.Symbol, Any]) -> Any:
    """Return the value of a formula without roots, in whatever arithmetic its symbols' values have.

    Values of noncommutative symbols are 2-dimensional arrays and are multiplied as matrices; those
    of the others are numbers, or arrays that are combined entry by entry.

    Raises:
        KeyError: If a symbol has no value.
        ValueError: If shapes do not fit, or an exponent is not an integer.
    """
    if expression.is_Symbol:
        return values[expression]
    if expression.is_Rational:
        return Fraction(int(expression.p), int(expression.q))
    parts = [evaluate(part, values) for part in expression.args]
    if expression.is_Add:
        return reduce(operator.add, parts)
    if expression.is_Mul:
        return _product(expression.args, parts)
    if expression.is_Pow and expression.exp.is_Integer:
        return _power(expression, parts[0])
    raise ValueError(f"{expression} cannot be evaluated: only sums, products, integer powers can")


def _product(factors: Sequence[sympy.Expr], values: Sequence[Any]) -> Any:
    pairs = list(zip(factors, values, strict=True))
    numbers = [value for factor, value in pairs if factor.is_commutative]
    matrices = [value for factor, value in pairs if not factor.is_commutative]
    scale = reduce(operator.mul, numbers, Fraction(1))
    return scale * reduce(operator.matmul, matrices) if matrices else scale


def _power(power: sympy.Pow, base: Any) -> Any:
    exponent = int(power.exp)
    if power.base.is_commutative:
        return base**exponent
    if exponent < 1:
        raise ValueError(f"{power} is no word: an exponent of a matrix must be at least 1")
    return reduce(operator.matmul, [base] * exponent)


def transpose(word: sympy.Expr) -> sympy.Expr:
    """Return the transpose of a word: its factors reversed, each replaced by its own transpose.

    Example:
        >>> transpose(2 * Jt * X)
        2*X^T*J
    """
    terms = sympy.Add.make_args(sympy.expand(word))
    return sympy.Add(
        *(sympy.Mul(*map(_flipped, reversed(term.as_ordered_factors()))) for term in terms)
    )


def _flipped(factor: sympy.Expr) -> sympy.Expr:
    return factor if factor.is_commutative else factor.xreplace(dict(TRANSPOSES))


def differentiate(word: sympy.Expr, rates: Mapping[sympy.Symbol, sympy.Symbol]) -> sympy.Expr:
    """Return the derivative of a word by the product rule, given those of some of its symbols.

    Example:
        >>> differentiate(Jt * Rt * X, {Rt: R_DOT_T})
        J^T*Ṙ^T*X
    """
    step = sympy.Symbol("ε")
    moved = word.xreplace({symbol: symbol + step * rate for symbol, rate in rates.items()})
    return sympy.expand(moved).coeff(step, 1)
