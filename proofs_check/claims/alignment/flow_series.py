"""Gradient flow of small networks as power series in t, from the loss alone.

SymPy differentiates the loss with respect to every single parameter, and Picard's iteration
θ ← θ(0) - ∫ ∇loss(θ(t)) dt in truncated power series with balls for coefficients gains one order at
a time. Nothing is taken from `theory`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
import sympy
from flint import arb, arb_series, ctx, fmpq

BITS = 400
ORDER = 3
"""Orders of t in W that the correlations' slopes need, and one more."""

Table = tuple[tuple[Fraction, ...], ...]


@dataclass(frozen=True)
class Case:
    """A small network with exact entries: X (n, d), y (n, o), W (k, d), a (o, k)."""

    X: Table
    y: Table
    W: Table
    a: Table
    activation: str
    loss: str = "mse"
    train_readout: bool = False

    def __str__(self) -> str:
        o, k = len(self.a), len(self.W)
        trained = ", readout trained" if self.train_readout else ""
        return f"{self.activation}, {self.loss}, {k} units, {o} outputs{trained}"


@dataclass(frozen=True)
class Truth:
    """Taylor coefficients at t = 0, balls: matrices as nested lists, correlations with slopes."""

    matrices: Mapping[str, list[list[Any]]]
    centred: tuple[Any, Any]
    uncentred: tuple[Any, Any]


@lru_cache(maxsize=64)
def truth(case: Case) -> Truth:
    """The early-time expansion of a case, from its flow."""
    with ctx.workprec(BITS):
        W, K = _flow(case)
        moved = W - _start(W)
        nfm, agop = W.T @ W, W.T @ K @ W
        centred_nfm, centred_agop = moved.T @ moved, moved.T @ K @ moved
        matrices = {
            "velocity": _coefficients(W, 1),
            "acceleration": [[2 * c for c in row] for row in _coefficients(W, 2)],
            "nfm_leading": _coefficients(centred_nfm, 2),
            "agop_leading": _coefficients(centred_agop, 2),
            "nfm_next": _coefficients(centred_nfm, 3),
            "agop_next": _coefficients(centred_agop, 3),
            "nfm_slope": _coefficients(nfm, 1),
            "agop_slope": _coefficients(agop, 1),
        }
        return Truth(matrices, _cosine(centred_nfm, centred_agop, 2), _cosine(nfm, agop, 0))


def _flow(case: Case) -> tuple[Any, Any]:
    """W(t), shape (k, d), and K(t), shape (k, k), as arrays of power series."""
    net = _Symbols(case)
    loss = net.loss()
    trained = [*net.W.flat, *(net.a.flat if case.train_readout else ())]
    slopes = [-sympy.diff(loss, parameter) for parameter in trained]
    values = {s: arb_series([_ball(v)]) for s, v in net.start.items()}
    begin = {parameter: values[parameter] for parameter in trained}
    for _ in range(ORDER):
        known: dict[Any, Any] = dict(values)
        rates = [_evaluate(slope, known) for slope in slopes]
        for parameter, rate in zip(trained, rates, strict=True):
            values[parameter] = begin[parameter] + rate.integral()
    return _read(net.W, values), _read(net.ptk(), values)


class _Symbols:
    """The loss and the PTK matrix of a case, in a symbol for each parameter."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.W, self.a = _named("w", case.W), _named("a", case.a)
        W, a, X = (np.array(table, dtype=object) for table in (case.W, case.a, case.X))
        self.start = dict(zip((*self.W.flat, *self.a.flat), (*W.flat, *a.flat), strict=True))
        self.z = np.vectorize(sympy.Rational, otypes=[object])(X) @ self.W.T
        self.active = X @ W.T > 0

    def loss(self) -> sympy.Expr:
        total = sympy.S.Zero
        for alpha, targets in enumerate(self.case.y):
            for c, y in enumerate(map(sympy.Rational, targets)):
                f = sum(self.a[c, i] * self.phi(z, alpha, i) for i, z in enumerate(self.z[alpha]))
                mse = (f - y) ** 2 / 2
                total += mse if self.case.loss == "mse" else sympy.log(1 + sympy.exp(-y * f))
        return total

    def ptk(self) -> Any:
        """The mean over samples of Σ_c k_c k_cᵀ, with k = ∂f/∂z by SymPy."""
        u = sympy.Symbol("u")
        n, k = self.z.shape
        first = np.empty((n, k), dtype=object)
        for (alpha, i), z in np.ndenumerate(self.z):
            first[alpha, i] = sympy.diff(self.phi(u, alpha, i), u).subs(u, z)
        rows = [first[alpha] * a for alpha in range(n) for a in self.a]
        return sum(np.outer(row, row) for row in rows) / sympy.Integer(n)

    def phi(self, z: sympy.Expr, sample: int, unit: int) -> sympy.Expr:
        """φ(z); for ReLU the side of the kink on which this unit starts."""
        if self.case.activation == "relu":
            return z if self.active[sample, unit] else sympy.S.Zero
        return {
            "linear": z,
            "quadratic": z**2,
            "cubic": z**3,
            "hermite3": (z**3 - 3 * z) / sympy.sqrt(6),
            "erf": sympy.erf(z),
            "tanh": 1 - 2 / (1 + sympy.exp(2 * z)),
            "softplus": sympy.log(1 + sympy.exp(z)),
            "gelu": z * (1 + sympy.erf(z / sympy.sqrt(2))) / 2,
        }[self.case.activation]


def _named(letter: str, table: Table) -> Any:
    symbols = [
        [sympy.Symbol(f"{letter}_{i}_{j}") for j in range(len(r))] for i, r in enumerate(table)
    ]
    return np.array(symbols, dtype=object)


def _ball(value: Fraction) -> arb:
    return arb(fmpq(value.numerator, value.denominator))


def _evaluate(expression: sympy.Expr, known: dict[Any, Any]) -> Any:
    """The power series of an expression, each subexpression once."""
    if expression not in known:
        parts = [_evaluate(part, known) for part in expression.args]
        known[expression] = _apply(expression, parts)
    return known[expression]


def _apply(expression: sympy.Expr, parts: list[Any]) -> Any:
    if expression.is_Rational:
        return arb_series([_ball(Fraction(int(expression.p), int(expression.q)))])
    if expression is sympy.pi:
        return arb_series([arb.pi()])
    if expression.is_Add:
        return sum(parts[1:], parts[0])
    if expression.is_Mul:
        return np.prod(np.array([*parts, 1], dtype=object))
    if expression.is_Pow and abs(expression.exp) == sympy.Rational(1, 2):
        return parts[0].sqrt() if expression.exp > 0 else 1 / parts[0].sqrt()
    if expression.is_Pow and expression.exp.is_Integer:
        power = parts[0] ** abs(int(expression.exp))
        return power if expression.exp > 0 else 1 / power
    return getattr(parts[0], type(expression).__name__)()


def _read(table: Any, values: Mapping[Any, Any]) -> Any:
    known: dict[Any, Any] = dict(values)
    found = np.empty(table.shape, dtype=object)
    for place, entry in np.ndenumerate(table):
        found[place] = _evaluate(sympy.sympify(entry), known)
    return found


def _start(W: Any) -> Any:
    first = np.empty(W.shape, dtype=object)
    for place, series in np.ndenumerate(W):
        first[place] = arb_series([series[0]])
    return first


def _coefficients(matrix: Any, power: int) -> list[list[Any]]:
    return [[entry[power] for entry in row] for row in matrix]


def _cosine(A: Any, B: Any, order: int) -> tuple[Any, Any]:
    """ρ and its slope at t = 0 for matrices that begin with t^order."""
    inner, square_a, square_b = (
        arb_series([total[2 * order], total[2 * order + 1]], prec=2)
        for total in ((A * B).sum(), (A * A).sum(), (B * B).sum())
    )
    rho = inner / (square_a * square_b).sqrt()
    return rho[0], rho[1]
