"""Quadratic networks: the claimed words against differences of the loss."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import sympy

from theory.alignment import quadratic

from ...claim import Evidence, Formulas, Setting
from ...legs import Case
from ..rationals import differ, fraction, objects, rational
from .quadratic_brute import flow_and_ptk, output
from .quadratic_brute import preactivations as image

SYMBOLIC = ("a_matrix", "sigma", "block", "flow", "nfm", "agop")
SHAPES = ((3, 2, 4), (4, 3, 2), (2, 2, 2), (1, 1, 3))


@dataclasses.dataclass(frozen=True, eq=False)
class _Network:
    """Data, a network and what its loss says about the start of gradient flow."""

    X: Any
    weights: Any
    readout: Any
    residuals: Any
    flow: Any
    ptk: Any

    @property
    def name(self) -> str:
        return f"n, d, k = {self.X.shape[0]}, {self.X.shape[1]}, {self.weights.shape[0]}"


@lru_cache(maxsize=1)
def _networks() -> tuple[_Network, ...]:
    return tuple(_network(*shape) for shape in SHAPES)


def _network(n: int, d: int, k: int) -> _Network:
    X, W = rational(n, d, n + 10 * d), rational(k, d, k + 100 * d)
    (y,), (a,) = rational(1, n, 7), rational(1, k, 8)
    residuals = [t - output(image(W, x), a) for x, t in zip(X, y, strict=True)]
    flow, ptk = flow_and_ptk(X, y, W, a)
    data = [objects(value) for value in (X, W, a, residuals)]
    return _Network(data[0], data[1], data[2], data[3], flow, ptk)


def _evaluate(expression: sympy.Expr, matrices: Mapping[sympy.Symbol, Any], samples: int) -> Any:
    """A sum of products of matrices; powers must be natural numbers, and shapes must fit."""
    total: Any = 0
    for term in sympy.Add.make_args(expression.subs(quadratic.SAMPLES, samples)):
        scalars, factors = term.args_cnc()
        product: Any = None
        for factor in factors:
            base, exponent = factor.as_base_exp()
            for _ in range(_natural(exponent)):
                product = matrices[base] if product is None else product @ matrices[base]
        total = total + product * fraction(sympy.Mul(*scalars))
    return total


def _natural(number: sympy.Expr) -> int:
    if not (number.is_Integer and number > 0):
        raise ValueError(f"the power {number} of a matrix; a natural number is allowed")
    return int(number)


def from_loss(formulas: Formulas, setting: Setting) -> Evidence:
    """Ẇ, ẆᵀẆ and ẆᵀKẆ by the claimed words, against differences of the loss: equal fractions."""
    claimed: dict[str, Any] = {name: formulas[name] for name in SYMBOLIC}
    q = quadratic
    for net in _networks():
        given = {q.DATA: net.X, q.DATA_T: net.X.T, q.WEIGHTS: net.weights}
        given |= {q.WEIGHTS_T: net.weights.T}
        given |= {q.READOUT: np.diag(net.readout), q.RESIDUALS: np.diag(net.residuals)}
        n = len(net.X)
        for letter, name in ((q.LETTER_A, "a_matrix"), (q.LETTER_SIGMA, "sigma")):
            given[letter] = _evaluate(claimed[name], given, n)
        given[q.LETTER_M] = _evaluate(claimed["block"], given, n)
        truth = {"flow": net.flow, "nfm": net.flow.T @ net.flow}
        truth["agop"] = net.flow.T @ net.ptk @ net.flow
        for name, reference in truth.items():
            found = _evaluate(claimed[name], given, n)
            if found.shape != reference.shape or (found != reference).any():
                return differ(f"{net.name}: {name}", found, reference)
    return Evidence(True, {"networks": len(SHAPES), "residual": 0})


def in_doubles(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """The function in doubles against the same."""
    compute: Any = formulas["matrices"]
    for net in _networks():
        numbers = (np.asarray(v, float) for v in (net.X, net.residuals, net.weights, net.readout))
        found = compute(*numbers)
        truth = {"nfm": net.flow.T @ net.flow, "agop": net.flow.T @ net.ptk @ net.flow}
        for name, reference in truth.items():
            for place, value in np.ndenumerate(getattr(found, name)):
                yield f"{net.name}: {name}{place}", float(value), reference[place]


@lru_cache(maxsize=1)
def _measured() -> tuple[tuple[_Network, tuple[Any, ...], dict[str, float]], ...]:
    """What automatic differentiation finds on the same networks; no formula enters."""
    from numerics.alignment import initial_alignment

    found = []
    for net in _networks():
        X, r, W, a = (
            np.asarray(v, float) for v in (net.X, net.residuals, net.weights, net.readout)
        )
        seen = initial_alignment(W[None], a[None], X, "quadratic", residuals=r)
        numbers = {name: float(getattr(seen, name)[0]) for name in ("inner", "nfm", "agop")}
        found.append((net, (X, r, W, a), numbers))
    return tuple(found)


def by_autograd(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """tr(ẆᵀẆ ẆᵀKẆ), ‖ẆᵀẆ‖² and ‖ẆᵀKẆ‖² of the function against automatic differentiation."""
    compute: Any = formulas["matrices"]
    for net, arguments, numbers in _measured():
        found = compute(*arguments)
        pairs = {"inner": (found.nfm, found.agop), "nfm": (found.nfm,) * 2}
        pairs["agop"] = (found.agop,) * 2
        for name, (left, right) in pairs.items():
            yield f"{net.name}: {name}", float(np.sum(left * right)), numbers[name]
