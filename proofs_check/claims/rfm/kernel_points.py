"""Kernel machines in balls, from their definitions, and their gradients by central differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from flint import arb, ctx

from ...legs import ball
from ..rationals import rational

PRECISION = 700
"""Bits of the balls."""

STEP_BITS = 100
"""Central differences take steps of 2^-STEP_BITS: their error is of the order of its square."""

DEGREE, OFFSET = 3, Fraction(1, 2)
"""Of the polynomial kernel that is checked."""


def _root(number: int) -> arb:
    return arb(number).sqrt()


PROFILES: Mapping[str, Callable[[arb], arb]] = MappingProxyType(
    {
        "laplace": lambda r: (-r).exp(),
        "gaussian": lambda r: (-r * r / 2).exp(),
        "matern32": lambda r: (1 + _root(3) * r) * (-_root(3) * r).exp(),
        "matern52": lambda r: (1 + _root(5) * r + 5 * r * r / 3) * (-_root(5) * r).exp(),
        "linear": lambda t: t,
        "exponential": lambda t: t.exp(),
        "polynomial": lambda t: (t + ball(OFFSET)) ** DEGREE,
    }
)
RADIAL = ("laplace", "gaussian", "matern32", "matern52")


@dataclass(frozen=True, eq=False)
class Data:
    """Rational data of a kernel machine.

    Attributes:
        centres: x_i, n rows.
        coefficients: α, n rows of o entries.
        inputs: Where gradients are taken; the last row is the first centre.
        metric: M, symmetric positive semidefinite.
        bandwidth: L.
    """

    centres: tuple[tuple[Fraction, ...], ...]
    coefficients: tuple[tuple[Fraction, ...], ...]
    inputs: tuple[tuple[Fraction, ...], ...]
    metric: tuple[tuple[Fraction, ...], ...]
    bandwidth: Fraction


def _data(outputs: int, rank: int, seed: int) -> Data:
    d, n = 3, 4
    factor, points = rational(rank, d, seed), rational(n + 2, d, seed + 1)
    points = tuple(tuple(x / 4 for x in row) for row in points)
    metric = tuple(
        tuple(sum((row[i] * row[j] for row in factor), Fraction(0)) / 8 for j in range(d))
        for i in range(d)
    )
    inputs = (*points[n:], points[0])
    return Data(points[:n], rational(n, outputs, seed + 2), inputs, metric, Fraction(3, 2))


DATA = (("one output, full M", _data(1, 3, 10)), ("three outputs, M of rank 2", _data(3, 2, 20)))


def argument(name: str, x: Any, z: Any, metric: Any, bandwidth: Any) -> Any:
    """ρ = ‖x − z‖_M/L or τ = xᵀMz/L² of two points."""
    if name in RADIAL:
        difference = [a - b for a, b in zip(x, z, strict=True)]
        return quadratic(difference, metric, difference).sqrt() / bandwidth
    return quadratic(x, metric, z) / bandwidth**2


def quadratic(u: Any, metric: Any, v: Any) -> arb:
    """uᵀMv."""
    return dot(u, times(metric, v))


def dot(u: Any, v: Any) -> arb:
    """uᵀv."""
    return sum((a * b for a, b in zip(u, v, strict=True)), arb(0))


def times(metric: Any, v: Any) -> list[arb]:
    """Mv."""
    return [dot(row, v) for row in metric]


def balls(rows: Any) -> list[list[arb]]:
    """A matrix of balls."""
    return [[ball(entry) for entry in row] for row in rows]


def outputs(name: str, data: Data, x: list[arb]) -> list[arb]:
    """f_c(x) = Σ_i α_ic k(x, x_i), from the definition of k."""
    L, M = ball(data.bandwidth), balls(data.metric)
    values = [PROFILES[name](argument(name, x, z, M, L)) for z in balls(data.centres)]
    return [dot(values, column) for column in zip(*balls(data.coefficients), strict=True)]


def central_difference(name: str, data: Data, x: list[arb], axis: int) -> list[arb]:
    """(f_c(x + he) − f_c(x − he))/2h for every output, in a direction e of the axes."""
    step = arb(2) ** -STEP_BITS
    ends = [[a + s * step if i == axis else a for i, a in enumerate(x)] for s in (1, -1)]
    after, before = (outputs(name, data, end) for end in ends)
    return [(a - b) / (2 * step) for a, b in zip(after, before, strict=True)]


@lru_cache(maxsize=64)
def gradients(name: str, data: Data) -> list[list[list[arb]]]:
    """∇f_c(x) for every input and output, from the definition, by central differences."""
    with ctx.workprec(PRECISION):
        found = []
        for x in balls(data.inputs):
            columns = [central_difference(name, data, x, axis) for axis in range(len(x))]
            found.append([list(row) for row in zip(*columns, strict=True)])
        return found


@lru_cache(maxsize=64)
def agop(name: str, data: Data) -> list[list[arb]]:
    """The mean over inputs and sum over outputs of the gradients' outer products."""
    with ctx.workprec(PRECISION):
        rows = [g for at in gradients(name, data) for g in at]
        d = len(rows[0])
        return [
            [sum((g[i] * g[j] for g in rows), arb(0)) / len(data.inputs) for j in range(d)]
            for i in range(d)
        ]
