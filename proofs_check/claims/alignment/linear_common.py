"""Pieces that the claims on linear networks share: exact instances, eigenvalues, trained slopes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import torch
from flint import fmpq, fmpq_mat
from numpy.typing import NDArray

from numerics.alignment import LayerMatrices

from ...claim import Setting
from .linear_flow import rational_matrix

DIGITS = 25
Floats = NDArray[np.float64]


def seeds(setting: Setting, key: str, count: int = 5) -> list[int]:
    """Seeds for networks, the same for the claim and its mutants."""
    return [int(seed) for seed in setting.generator(key).integers(2**31, size=count)]


def frame(size: int, rank: int, seed: int) -> fmpq_mat:
    """Orthonormal columns with rational entries: Cayley's transform of a skew matrix."""
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.integers(-3, 4, (size, size)), 1)
    skew = rational_matrix([[Fraction(int(x), 2) for x in row] for row in upper - upper.T])
    one = rational_matrix(np.eye(size, dtype=int).tolist())
    orthogonal = (one - skew) * (one + skew).inv()
    return fmpq_mat([row[:rank] for row in orthogonal.tolist()])


def diagonal(values: Sequence[Fraction]) -> fmpq_mat:
    """A diagonal matrix."""
    return rational_matrix([[v if i == j else 0 for j in range(len(values))]
                            for i, v in enumerate(values)])  # fmt: skip


def balanced_rationals(
    widths: Sequence[int], sigma: Sequence[Fraction], seed: int
) -> list[fmpq_mat]:
    """Exactly balanced weights."""
    frames = [frame(k, len(sigma), seed + place) for place, k in enumerate(widths)]
    pairs = itertools.pairwise(frames)
    return [above * diagonal(sigma) * below.transpose() for below, above in pairs]


def integers(rows: int, columns: int, seed: int) -> fmpq_mat:
    """A generic matrix of small integers over 3."""
    entries = np.random.default_rng(seed).integers(-5, 6, (rows, columns))
    return rational_matrix([[Fraction(int(x), 3) for x in row] for row in entries])


def product(weights: Sequence[Any]) -> Any:
    """W_L … W_1."""
    total = weights[0]
    for W in weights[1:]:
        total = W * total
    return total


def gram(matrix: Any) -> Any:
    """MᵀM."""
    return matrix.transpose() * matrix


def trace(matrix: Any) -> Any:
    """The sum of the diagonal."""
    return sum((matrix[i, i] for i in range(1, matrix.nrows())), matrix[0, 0])


def mp_context() -> Any:
    """A context of our own, at more digits than any leg asks for."""
    context = mpmath.MPContext()
    context.dps = DIGITS + 25
    return context


def eigenvalues(matrix: Any) -> list[Any]:
    """Eigenvalues of a symmetric flint matrix to 50 digits; what rounding made negative is 0."""
    mp = mp_context()
    rows = matrix.tolist()
    entries = mp.matrix([[in_digits(mp, x) for x in row] for row in rows])
    return [max(value, mp.mpf(0)) for value in mp.eigsy(entries, eigvals_only=True)]


def in_digits(mp: Any, entry: Any) -> Any:
    """An entry of a flint matrix, the midpoint if it is a ball, in the digits of a context."""
    if isinstance(entry, fmpq):
        return mp.mpf(int(entry.p)) / int(entry.q)
    sign_mantissa, exponent = entry.mid().man_exp()
    return mp.ldexp(mp.mpf(int(sign_mantissa)), int(exponent))


def as_arrays(model: torch.nn.Module) -> list[Floats]:
    """The weight matrices of a network, from the input to the output."""
    return [p.detach().numpy().copy() for p in model.parameters()]


def linear_model(weights: Sequence[Floats]) -> torch.nn.Sequential:
    """The deep linear network with these weights."""
    layers = []
    for W in weights:
        layer = torch.nn.Linear(W.shape[1], W.shape[0], bias=False, dtype=torch.float64)
        layer.weight = torch.nn.Parameter(torch.tensor(np.asarray(W)))
        layers.append(layer)
    return torch.nn.Sequential(*layers)


def log_slope(measured: LayerMatrices, rank: int) -> float:
    """Slope of log eigenvalues of the NFM against those of the AGOP, the `rank` largest of each."""
    nfm, agop = (
        np.log(np.linalg.eigvalsh(matrix.numpy())[-rank:])
        for matrix in (measured.nfm, measured.agop)
    )
    return float(np.polyfit(agop, nfm, 1)[0])
