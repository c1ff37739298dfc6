"""A SymPy expression as a straight-line program that any arithmetic can run.

Each distinct subexpression is computed once. The same program runs in balls, in power series over
balls and in mpmath; an arithmetic is a function that says what a head such as ``sinh`` does there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import sympy

Operation = Callable[..., Any]
Arithmetic = Callable[[str, Any], Operation]

_CONSTANTS = {
    sympy.pi: "pi",
    sympy.E: "e",
    sympy.EulerGamma: "euler_gamma",
    sympy.Catalan: "catalan",
}
_FUNCTIONS = {
    sympy.exp: "exp",
    sympy.log: "log",
    sympy.sin: "sin",
    sympy.cos: "cos",
    sympy.tan: "tan",
    sympy.cot: "cot",
    sympy.sec: "sec",
    sympy.csc: "csc",
    sympy.asin: "asin",
    sympy.acos: "acos",
    sympy.atan: "atan",
    sympy.sinh: "sinh",
    sympy.cosh: "cosh",
    sympy.tanh: "tanh",
    sympy.coth: "coth",
    sympy.sech: "sech",
    sympy.csch: "csch",
    sympy.asinh: "asinh",
    sympy.acosh: "acosh",
    sympy.atanh: "atanh",
    sympy.erf: "erf",
    sympy.erfc: "erfc",
    sympy.gamma: "gamma",
    sympy.loggamma: "loggamma",
    sympy.zeta: "zeta",
    sympy.elliptic_k: "elliptic_k",
    sympy.elliptic_e: "elliptic_e",
}


@dataclass(frozen=True)
class Instruction:
    """One operation: its head, the data that belongs to the head, and where its operands are."""

    head: str
    data: Any
    operands: tuple[int, ...]


@dataclass(frozen=True)
class Program:
    """Instructions in an order in which every operand comes before its use; place 0 is x."""

    instructions: tuple[Instruction, ...]

    def bind(self, arithmetic: Arithmetic) -> Callable[[Any], Any]:
        """Return the function x ↦ value in the given arithmetic."""
        steps = [(arithmetic(i.head, i.data), i.operands) for i in self.instructions]

        def run(x: Any) -> Any:
            values = [x]
            for operation, operands in steps:
                values.append(operation(*[values[k] for k in operands]))
            return values[-1]

        return run


def compile_expression(expression: sympy.Expr, variable: sympy.Symbol) -> Program:
    """Compile an expression in one variable.

    Raises:
        TypeError: If the expression has Float atoms, symbols other than the variable, or functions
            that no arithmetic here knows.
    """
    compiler = _Compiler(variable)
    compiler.visit(sympy.sympify(expression))
    return Program(tuple(compiler.instructions))


class _Compiler:
    def __init__(self, variable: sympy.Symbol) -> None:
        self.instructions: list[Instruction] = []
        self.places: dict[sympy.Basic, int] = {variable: 0}

    def visit(self, node: sympy.Basic) -> int:
        """Emit the node, once, and return its place."""
        if node not in self.places:
            head, data, children = self.dissect(node)
            operands = tuple(self.visit(child) for child in children)
            self.instructions.append(Instruction(head, data, operands))
            self.places[node] = len(self.instructions)
        return self.places[node]

    def dissect(self, node: sympy.Basic) -> tuple[str, Any, tuple[sympy.Basic, ...]]:
        """Return head, data and children of a node."""
        if isinstance(node, sympy.Rational):
            # Never through a float: 1/3 has to stay 1/3 at every precision.
            return "rational", Fraction(int(node.p), int(node.q)), ()
        if node in _CONSTANTS:
            return _CONSTANTS[node], None, ()
        if isinstance(node, sympy.Add | sympy.Mul):
            return ("add" if isinstance(node, sympy.Add) else "mul"), None, node.args
        if isinstance(node, sympy.Pow):
            return self.dissect_power(node)
        return self.dissect_function(node)

    def dissect_power(self, node: sympy.Pow) -> tuple[str, Any, tuple[sympy.Basic, ...]]:
        base, exponent = node.args
        if isinstance(exponent, sympy.Integer):
            return "integer_power", int(exponent), (base,)
        if isinstance(exponent, sympy.Rational):
            return "rational_power", (int(exponent.p), int(exponent.q)), (base,)
        if base == sympy.E:
            return "exp", None, (exponent,)
        return "power", None, (base, exponent)

    def dissect_function(self, node: sympy.Basic) -> tuple[str, Any, tuple[sympy.Basic, ...]]:
        if node.func in _FUNCTIONS:
            return _FUNCTIONS[node.func], None, node.args
        if hasattr(node.func, "_arb") and hasattr(node.func, "_mp"):
            return "own", node.func, node.args
        if isinstance(node, sympy.polys.rootoftools.ComplexRootOf) and node.is_real:
            return "algebraic", node, ()
        raise TypeError(f"expression: {_reason(node)}")


def _reason(node: sympy.Basic) -> str:
    if isinstance(node, sympy.Float):
        return f"Float atom {node}; write it as a Rational, floats have lost their digits"
    if isinstance(node, sympy.Symbol):
        return f"free symbol {node}; allowed is the variable only"
    allowed = ", ".join(sorted(_FUNCTIONS.values()))
    return f"cannot evaluate {node} of type {type(node).__name__}; allowed functions: {allowed}"
