"""The kernel matrix that fits labels best: the collapsed one, and what every other loses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import sympy
from flint import fmpq
from scipy.optimize import minimize

from theory.collapse import best_kernel
from theory.collapse.setting import CLASSES, SAMPLES

from ...claim import Claim, Evidence, Formulas, Hypothesis, Kind, Leg, Mutant, Setting
from ...legs import Case as Digits
from ...legs import derivation_leg, digits_leg
from ..rationals import number
from ..shared import formula
from . import gram_brute as brute
from .gram_cases import exact_value

ONE_HOT = Hypothesis("one-hot labels with n_c >= 1 samples in class c, equal sizes or not; μ > 0")
KERNELS = Hypothesis("k ⪰ 0 with k_ii ≤ 1, any other entries")

SIZES = ((2, 2, 2), (3, 3), (1, 2, 3), (4, 1))
RIDGES = (Fraction(1, 100), Fraction(2, 3), Fraction(7))


def _at(expression: sympy.Expr, samples: int, ridge: Fraction) -> Any:
    values = {
        SAMPLES: samples,
        best_kernel.RIDGE: number(ridge),
    }
    return exact_value(expression, values)


def _unit_vectors(size: int, rng: np.random.Generator) -> list[Any]:
    """Rational points of a sphere, by stereographic projection."""
    found = []
    for _ in range(size):
        x = [Fraction(int(v), 3) for v in rng.integers(-5, 6, 4)]
        square = sum((v**2 for v in x), Fraction(0))
        found.append([2 * v / (1 + square) for v in x] + [(1 - square) / (1 + square)])
    return found


def _correlations(size: int, rng: np.random.Generator) -> Any:
    """k_ij = ⟨v_i, v_j⟩, with 1 on the diagonal."""
    V = brute.matrix(_unit_vectors(size, rng))
    return V * V.transpose()


def _shrunk(k: Any, rng: np.random.Generator) -> Any:
    """Some k_ii below 1: rows and columns times numbers in (0, 1]."""
    weights = brute.diagonal([Fraction(int(x), 7) for x in rng.integers(3, 8, k.nrows())])
    return weights * k * weights


def _drawn(sizes: Sequence[int], rng: np.random.Generator) -> Iterator[tuple[str, Any]]:
    """Kernels near to and far from the minimum; none of them is YᵀY."""
    Y = brute.labels(sizes)
    best, other = Y.transpose() * Y, _correlations(sum(sizes), rng)
    yield "correlations", other
    yield "diagonal below 1", _shrunk(other, rng)
    yield "identity", brute.identity(sum(sizes)) * fmpq(1, 2)
    for part in (fmpq(1, 2), fmpq(1, 100), fmpq(1, 10**6)):
        yield f"mixed with {part} of others", best * (1 - part) + other * part
        yield f"scaled by 1 - {part}", best * (1 - part)


def _remainder(k: Any, y: Any, ridge: Any, weight: Any) -> Any:
    """rᵀ(k + μ)^{-1}r + t²[½ Σ_{i,j∈c} ‖e_i - e_j‖²_k + n Σ_{i∈c} (1 - k_ii)], term by term."""
    moved = k + brute.identity(k.nrows()) * ridge
    r = y - moved * y * weight
    members = [i for i in range(k.nrows()) if y[i, 0] == 1]
    squares = sum((k[i, i] - k[i, j] * 2 + k[j, j] for i in members for j in members), fmpq(0))
    diagonal = sum((1 - k[i, i] for i in members), fmpq(0)) * len(members)
    return (r.transpose() * moved.inv() * r)[0, 0] + weight**2 * (squares / 2 + diagonal)


def _fit(k: Any, y: Any, ridge: Any) -> Any:
    moved = k + brute.identity(k.nrows()) * ridge
    return (y.transpose() * moved.inv() * y)[0, 0]


def _indicators(sizes: Sequence[int]) -> Iterator[tuple[int, Any]]:
    for n, row in zip(sizes, brute.labels(sizes).tolist(), strict=True):
        yield n, brute.matrix([[x] for x in row])


def _exact_remainders(formulas: Formulas, setting: Setting) -> Evidence:
    """What each drawn kernel loses is the claimed sum of squares exactly, in all more than 0."""
    rng, count, least = setting.generator("kernels"), 0, None
    for sizes in SIZES:
        for ridge in RIDGES:
            mu = brute.rational(ridge)
            for name, k in _drawn(sizes, rng):
                total = fmpq(0)
                for n, y in _indicators(sizes):
                    value, weight = (
                        _at(formula(formulas, x), n, ridge) for x in ("value", "weight")
                    )
                    gap = _fit(k, y, mu) - value
                    if gap != _remainder(k, y, mu, weight) or gap < 0:
                        return Evidence(False, {"kernels": count}, f"{sizes}, μ = {ridge}, {name}")
                    total += gap
                if not total > 0:
                    return Evidence(False, {"kernels": count}, f"{sizes}, {name}: no loss")
                least, count = total if least is None else min(least, total), count + 1
    return Evidence(
        True, {"residual": 0, "kernels": count, "least_loss": float(brute.fraction(least))}
    )


def _attained(formulas: Formulas, setting: Setting) -> Evidence:
    """YᵀY reaches the claimed value exactly; without k_ii ≤ 1 the value would be passed."""
    for sizes in SIZES:
        best = brute.labels(sizes).transpose() * brute.labels(sizes)
        for ridge in RIDGES:
            mu = brute.rational(ridge)
            for n, y in _indicators(sizes):
                value = _at(formula(formulas, "value"), n, ridge)
                if _fit(best, y, mu) != value:
                    return Evidence(False, {}, f"{sizes}, μ = {ridge}: another value")
                if not _fit(best * 2, y, mu) < value:
                    return Evidence(False, {}, f"{sizes}, μ = {ridge}: k_ii = 2 gains nothing")
    return Evidence(True, {"residual": 0, "cases": len(SIZES) * len(RIDGES)})


def _descent(formulas: Formulas, setting: Setting) -> Iterator[Digits]:
    """tr(Y(k + μ)^{-1}Yᵀ) minimised over correlations by descent, from random starts."""
    rng = setting.generator("descent")
    for sizes, ridge in zip(SIZES, (*RIDGES, Fraction(1)), strict=True):
        least = min(_descended(sizes, float(ridge), rng) for _ in range(3))
        parts = [_at(formula(formulas, "value"), n, ridge) for n in sizes]
        yield f"{sizes}, μ = {ridge}", sum(parts[1:], parts[0]), least


def _descended(sizes: Sequence[int], ridge: float, rng: np.random.Generator) -> float:
    N = sum(sizes)
    Y = np.repeat(np.eye(len(sizes)), sizes, axis=1)

    def objective(flat: Any) -> tuple[float, Any]:
        raw = flat.reshape(N, N)
        lengths = np.linalg.norm(raw, axis=1, keepdims=True)
        V = raw / lengths
        alpha = np.linalg.solve(V @ V.T + ridge * np.eye(N), Y.T)
        slope = -2 * alpha @ alpha.T @ V
        slope = (slope - np.sum(slope * V, axis=1, keepdims=True) * V) / lengths
        return float(np.sum(Y.T * alpha)), slope.ravel()

    start = rng.standard_normal(N * N)
    options = {"ftol": 1e-15, "gtol": 1e-9, "maxiter": 2000}
    return float(minimize(objective, start, jac=True, method="L-BFGS-B", options=options).fun)


_SINGLE = SAMPLES * CLASSES

OPTIMAL_KERNEL = Claim(
    id="collapse.optimal_kernel",
    title="the best kernel is the collapsed one",
    statement=(
        r"k\succeq0,\ k_{ii}\le1:\quad \tfrac\mu2\,\mathrm{tr}\,Y(k+\mu I)^{-1}Y^\top \ge "
        r"\tfrac\mu2\sum_c\frac{n_c}{n_c+\mu} \ \Big(=\tfrac\mu2\frac{Kn}{n+\mu}\Big),\quad "
        r"\text{with equality} \iff k = Y^\top Y"
    ),
    source="B, here",
    hypotheses=(ONE_HOT, KERNELS),
    formulas={"value": best_kernel.CLASS_VALUE, "weight": best_kernel.WEIGHT},
    legs=(
        derivation_leg(
            "completed square", best_kernel.derive_optimal_kernel, ("value", "weight"), whole=True
        ),
        Leg("exact remainders", Kind.EXACT, _exact_remainders, ("value", "weight")),
        Leg("attained", Kind.EXACT, _attained, ("value",)),
        digits_leg("descent", _descent, ("value",), 6),
    ),
    mutants=(
        Mutant("value: all samples in one class", {
            "value": _SINGLE / (_SINGLE + best_kernel.RIDGE)}),
        Mutant("value: the ridge scaled by n", {
            "value": SAMPLES / (SAMPLES + SAMPLES * best_kernel.RIDGE)}),
    ),
    notes=(
        "The loss of any other k is a sum of squares, exactly: for each class r^T(k + μ)^{-1}r + "
        "t²[½ Σ_{i,j∈c} (e_i - e_j)^T k (e_i - e_j) + n_c Σ_{i∈c} (1 - k_ii)], t = 1/(n_c + μ), "
        "r = y_c - t(k + μ)y_c. Classes may have different sizes. With k_ii ≤ 2 the value is lower."
    ),
)  # fmt: skip

CLAIMS = (OPTIMAL_KERNEL,)
