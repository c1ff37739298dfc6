"""Networks on data that reverse the alignment: from the definition in fractions, and trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import sympy
from flint import arb_mat, ctx, fmpq_mat

from numerics.alignment import displacement_nfa, gradient_flow, layer_matrices, two_layer
from theory.alignment.bound import CONDITION_NUMBER
from theory.alignment.reversal import (
    COUNT_RATIO,
    DEGREE,
    DEGREES,
    LABEL_RATIO,
    WEIGHT_RATIO,
    reversing_data,
)

from ...claim import Formulas, Setting
from ...legs import Case
from ..shared import formula
from . import bounds_matrices as exact

# Degree p, κ = (σ_1/σ_2)^{2(p-1)}, label ratio, samples per block: all norms are rational.
NETWORKS = (
    (2, Fraction(16), Fraction(3), (1, 1)),
    (2, Fraction(9, 4), Fraction(-5, 3), (2, 1)),
    (2, Fraction(1, 9), Fraction(1, 20), (1, 2)),
    (3, Fraction(16), Fraction(7, 2), (1, 2)),
    (3, Fraction(81), Fraction(-40), (2, 2)),
)


def rational_networks(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """The claimed ρ against that of Ẇ and K of a network, in fractions from the definition."""
    rng = setting.generator("rational networks")
    for p, kappa, y, counts in NETWORKS:
        values = _data_values(p, kappa, counts) | {LABEL_RATIO: abs(y)}
        share = exact.value_of(formula(formulas, "share"), values)
        claimed = formula(formulas, "alignment").subs(WEIGHT_RATIO, share)
        targets = [Fraction(1)] * counts[0] + [y] * counts[1]
        speed, ptk = _start(p, _scale(p, kappa), targets, counts, rng)
        found = exact.correlation(speed, ptk)
        yield f"p = {p}, κ = {kappa}, y = {y}", exact.value(claimed, values), found


def attained_by_data(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """At the claimed label ratio the network's ρ against 2√κ/(1 + κ)."""
    rng = setting.generator("attained by data")
    for p, kappa, _, counts in NETWORKS:
        values = _data_values(p, kappa, counts)
        y = exact.value(formula(formulas, "label_ratio"), values)
        with ctx.workprec(exact.PRECISION):
            targets = [y / y] * counts[0] + [y] * counts[1]
            speed, ptk = _start(p, _scale(p, kappa), targets, counts, rng)
        least = 2 * sympy.sqrt(CONDITION_NUMBER) / (1 + CONDITION_NUMBER)
        point = f"p = {p}, κ = {kappa}, counts {counts}"
        yield point, exact.correlation(speed, ptk), exact.value(least, values)


def _data_values(
    p: int, kappa: Fraction, counts: tuple[int, int]
) -> dict[sympy.Symbol, Fraction | int]:
    ratio = Fraction(counts[1], counts[0])
    return {CONDITION_NUMBER: kappa, DEGREE: p, COUNT_RATIO: ratio}


def _scale(p: int, kappa: Fraction) -> Fraction:
    """σ_2 with σ_1 = 1."""
    root = sympy.Rational(kappa.denominator, kappa.numerator) ** sympy.Rational(1, 2 * (p - 1))
    return Fraction(int(root.p), int(root.q))


def _start(
    p: int, scale: Fraction, targets: Sequence[Any], counts: tuple[int, int], rng: Any
) -> tuple[Any, Any]:
    """Ẇ = Σ (y - f) k xᵀ and n K = Σ kkᵀ at the start, sample by sample."""
    n = sum(counts)
    Q = exact.frame(n, n, rng)
    sigma = [Fraction(1)] * counts[0] + [scale] * counts[1]
    X = exact.diagonal(sigma) * Q.transpose()
    W = exact.stacked(Q.transpose(), Q.transpose())
    signs = [1] * n + [-1] * n
    speed, ptk = [], []
    for row, y in zip(X.tolist(), targets, strict=True):
        z = [entry for (entry,) in (W * exact.column(row)).tolist()]
        f = sum((a * v**p for a, v in zip(signs, z, strict=True)), start=0 * z[0])
        k = exact.column([a * p * v ** (p - 1) for a, v in zip(signs, z, strict=True)])
        ptk.append(k * k.transpose())
        speed.append(_multiple(k * exact.column(row).transpose(), y, f))
    return _total(speed), _total(ptk)


def _multiple(step: fmpq_mat, y: Any, f: Any) -> Any:
    """(y - f) k xᵀ, in balls where the target is one."""
    if isinstance(y, Fraction):
        return step * (exact.exact(y) - f)
    return arb_mat(step) * (y - f)


def _total(parts: Sequence[Any]) -> Any:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def flows(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """The claimed ρ against networks that gradient flow moved for a while, both layers moving."""
    rng = setting.generator("flows")
    for activation, kappa, y, counts in (
        ("quadratic", 5.0, 4.0, (2, 3)),
        ("cubic", 12.0, -20.0, (3, 2)),
        ("quadratic", 40.0, None, (1, 1)),
    ):
        Q, _ = np.linalg.qr(rng.standard_normal((sum(counts), sum(counts))))
        data = reversing_data(kappa, y, counts=counts, activation=activation, rotation=Q)
        ratio = float(abs(data.targets[-1] / data.targets[0]))
        values = {
            CONDITION_NUMBER: kappa,
            DEGREE: DEGREES[activation],
            COUNT_RATIO: counts[1] / counts[0],
            LABEL_RATIO: ratio,
        }
        share = formula(formulas, "share").subs(values)
        claimed = formula(formulas, "alignment").subs({**values, WEIGHT_RATIO: share})
        yield f"{activation}, κ = {kappa}, y = {ratio:.4g}", float(claimed), _followed(data)


def _followed(data: Any, time: float = 1e-6) -> float:
    """The centred correlation of an actual network shortly after its start."""
    model = two_layer(data.weights, data.readout, data.activation)
    scale = float(np.abs(data.targets).max())
    flow = gradient_flow(model, data.inputs, data.targets, [time / scale])
    ptk = layer_matrices(flow.at(0), data.inputs)["0"].ptk
    return displacement_nfa(ptk, flow.displacements(0)["0.weight"])
