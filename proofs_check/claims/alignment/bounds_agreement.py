"""When NFM and AGOP agree, and a network of loss 0 where no power makes them agree."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from typing import Any

import mpmath
import numpy as np
import sympy
from flint import fmpq_mat

from numerics.alignment import (
    correlation,
    gradient_flow,
    layer_matrices,
    two_layer,
)
from theory.alignment import equivalence, orthant
from theory.derivation import Derivation

from ...claim import Claim, Evidence, Formulas, Hypothesis, Kind, Leg, Setting
from ...legs import Case, derivation_leg, digits_leg
from ..shared import formula, joined
from . import bounds_matrices as exact

# ── equivalence ──────────────────────────────────────────────────────────────────────────────────

SUMMANDS = ("inner", "nfm", "agop", "diagonal", "off_diagonal")
RANK = 3


def _equivalence_derivation(*claimed: sympy.Expr) -> Derivation:
    *summands, power = claimed
    parts = equivalence.derive_power(power), equivalence.derive_alignment(*summands)
    return joined("agreement in the singular basis", *parts)


def _entries(S: list[Fraction], C: fmpq_mat, i: int, j: int) -> dict[sympy.Symbol, Any]:
    fractions = {
        equivalence.FEATURE_II: C[i, i],
        equivalence.FEATURE_JJ: C[j, j],
        equivalence.FEATURE_IJ: C[i, j],
    }
    found: dict[sympy.Symbol, Any] = {
        symbol: sympy.Rational(int(x.p), int(x.q)) for symbol, x in fractions.items()
    }
    for symbol, x in ((equivalence.SINGULAR_I, S[i]), (equivalence.SINGULAR_J, S[j])):
        found[symbol] = sympy.Rational(x.numerator, x.denominator)
    return found


def _rational_weights(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """ρ² and 1 - ρ² from the definition in fractions, against the claimed sums."""
    rng = setting.generator("rational weights")
    for k, d in ((3, 5), (5, 4), (6, 6)):
        rotation, V = exact.frame(k, k, rng), exact.frame(d, RANK, rng)
        S = [Fraction(int(x), 2) for x in rng.permutation(np.arange(1, 9))[:RANK]]
        root = exact.drawn(RANK, RANK, rng)
        C, U = root.transpose() * root, exact.frame_columns(rotation, RANK)
        W = U * exact.diagonal(S) * V.transpose()
        square = exact.squared_correlation(W, exact.ptk_around(C, rotation, rng))
        found = Fraction(int(square.p), int(square.q))
        squared, defect = _claimed_sums(formulas, S, C)
        yield f"ρ², W of shape ({k}, {d})", squared, found
        yield f"1 - ρ², W of shape ({k}, {d})", defect, 1 - found


def _claimed_sums(formulas: Formulas, S: list[Fraction], C: fmpq_mat) -> tuple[Any, Any]:
    every = range(RANK)
    pairs = [(i, j) for i in every for j in every]

    def total(name: str, where: list[tuple[int, int]], **more: Any) -> Any:
        summand = formula(formulas, name)
        if more:
            summand = summand.xreplace({equivalence.NFM_NORM: more["nfm"]})
        terms = [summand.xreplace(_entries(S, C, i, j)) for i, j in where]
        return sum(terms, sympy.Integer(0))

    diagonal = [(i, i) for i in every]
    inner, nfm, agop = (
        total("inner", diagonal), total("nfm", diagonal), total("agop", pairs)
    )  # fmt: skip
    defect = total("diagonal", pairs)
    defect += total("off_diagonal", [(i, j) for i, j in pairs if i != j], nfm=nfm)
    return inner**2 / (nfm * agop), defect / (nfm * agop)


def _powers(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """C = S^power: ρ(NFM, AGOP^s) from eigenvalues in 60 digits is 1."""
    rng = setting.generator("powers")
    for s in (Fraction(1), Fraction(1, 2), Fraction(1, 3), Fraction(5, 2)):
        power = formula(formulas, "power").subs(equivalence.EXPONENT, sympy.Rational(str(s)))
        S = [Fraction(2, 3), Fraction(1), Fraction(5, 2)]
        with mpmath.workdps(60):
            features = mpmath.diag([_mp(x) ** _mp(power) for x in S])
            yield f"s = {s}", _power_correlation(S, features, s, rng), 1


def _mp(value: Any) -> Any:
    return mpmath.mpf(int(value.p if hasattr(value, "p") else value.numerator)) / int(
        value.q if hasattr(value, "q") else value.denominator
    )  # fmt: skip


def _power_correlation(S: list[Fraction], features: Any, s: Fraction, rng: Any) -> Any:
    """ρ(WᵀW, (WᵀKW)^s), W = USVᵀ and K = UCUᵀ, from an eigendecomposition."""
    size = len(S)
    U, V = (_in_mp(exact.frame(n, size, rng)) for n in (size + 1, size))
    W = U * mpmath.diag([_mp(x) for x in S]) * V.T
    nfm, agop = W.T * W, W.T * (U * features * U.T) * W
    return _cosine(nfm, _eigen_power(agop, s))


def _cosine(A: Any, B: Any) -> Any:
    inner = sum(a * b for a, b in zip(A, B, strict=True))
    return inner / mpmath.sqrt(sum(a * a for a in A) * sum(b * b for b in B))


def _eigen_power(A: Any, s: Fraction) -> Any:
    values, vectors = mpmath.eigsy((A + A.T) / 2)
    return vectors * mpmath.diag([max(x, 0) ** _mp(s) for x in values]) * vectors.T


def _in_mp(A: fmpq_mat) -> Any:
    return mpmath.matrix([[_mp(x) for x in row] for row in A.tolist()])


EQUIVALENCE = Claim(
    id="alignment.equivalence",
    title="when NFM and AGOP agree",
    statement=(
        r"W = USV^\top,\ C = U^\top KU:\quad \rho(\mathrm{NFM}, \mathrm{AGOP}) = \rho(S^2, SCS),"
        r"\quad (1-\rho^2)\|S^2\|^2\|SCS\|^2 = \tfrac12\sum_{ij} s_i^4s_j^4(C_{ii}-C_{jj})^2 + "
        r"\sum_k s_k^4\sum_{i\ne j} s_i^2s_j^2C_{ij}^2;\quad \rho = 1 \iff C \propto I;\quad "
        r"\mathrm{NFM} \propto \mathrm{AGOP}^s \iff C \propto S^{2/s-2}"
    ),
    source="C (ρ = 1, and s = 1/2), here (the defect, every s)",
    hypotheses=(
        Hypothesis("K ⪰ 0, symmetric; W ≠ 0 and UᵀKU ≠ 0"),
        Hypothesis("S holds the singular values that are not 0: U and V span the ranges"),
        Hypothesis("s > 0", lambda s: s > 0),
    ),
    formulas={
        "inner": equivalence.INNER_SUMMAND,
        "nfm": equivalence.NFM_SUMMAND,
        "agop": equivalence.AGOP_SUMMAND,
        "diagonal": equivalence.DEFECT_DIAGONAL,
        "off_diagonal": equivalence.DEFECT_OFF_DIAGONAL,
        "power": equivalence.FEATURE_POWER,
    },
    legs=(
        derivation_leg("all sizes", _equivalence_derivation, (*SUMMANDS, "power"), whole=True),
        digits_leg("rational weights", _rational_weights, SUMMANDS, 40),
        digits_leg("powers", _powers, ("power",), 30),
    ),
    notes="ρ(NFM, AGOP^s) = 1 and NFM ∝ AGOP^s say the same: both matrices are PSD.",
)

# ── counterexample ───────────────────────────────────────────────────────────────────────────────

EXPONENTS = (Fraction(1, 3), Fraction(1, 2), Fraction(1), Fraction(3))


def _measured(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """The network by autograd: ρ of its NFM and powers of its AGOP, and an entry of the powers.

    Powers are taken in 90 digits: rounding errors of doubles grow to 1e-5 at s = 1/3.
    """
    rng = setting.generator("orthant")
    for d in (2, 3, 6):
        model, inputs, _ = _network(d, 4 * d, rng)
        found = layer_matrices(model, inputs, agop="gradient")["0"]
        nfm, agop = (mpmath.matrix(x.tolist()) for x in (found.nfm, found.agop))
        for s in EXPONENTS:
            values: dict[sympy.Symbol, Fraction | int] = {
                orthant.DIMENSION: d,
                orthant.EXPONENT: s,
            }
            claimed = exact.value(formula(formulas, "alignment"), values)
            entry = exact.value(formula(formulas, "factor"), values)
            with mpmath.workdps(90):
                power = _eigen_power(agop, s)
                yield f"ρ, d = {d}, s = {s}", claimed, _cosine(nfm, power)
                yield f"entry, d = {d}, s = {s}", entry, power[0, d - 1]


def _network(d: int, n: int, rng: np.random.Generator, noise: float = 0.0) -> tuple[Any, Any, Any]:
    """The network with perturbed weights, inputs in the open orthant, and targets."""
    inputs = rng.uniform(0.2, 0.4, (n, d)) + np.resize(np.eye(d), (n, d))
    weights = np.eye(d) + noise * rng.standard_normal((d, d))
    readout = np.ones(d) + noise * rng.standard_normal(d)
    return two_layer(weights, readout, "relu"), inputs, inputs.sum(axis=1)


# ρ is off by some 0.8 times the noise (standard deviation): the tolerance is six of them.
NOISE, TOLERANCE, SEEDS, RESTING = 0.002, 0.01, 4, 3


def _at_rest(formulas: Formulas, setting: Setting) -> Evidence:
    """The loss is 0 and nothing moves; from perturbed starts it falls to 0 at nearly the same ρ."""
    claimed = float(formula(formulas, "alignment").subs(orthant.DIMENSION, RESTING))
    rested, found, losses = _followed(setting.seed)
    worst = max(abs(rho - claimed) for rho in found)
    holds = rested and worst < TOLERANCE and max(losses) < 1e-10
    figures = {
        "worst_difference": worst,
        "spread": max(found) - min(found),
        "largest_loss": max(losses),
        "starts": SEEDS,
    }
    detail = "" if holds else f"at rest: {rested}, ρ off by {worst:.3g}, loss {max(losses):.3g}"
    return Evidence(holds, figures, detail)


@lru_cache(maxsize=2)
def _followed(seed: int) -> tuple[bool, tuple[float, ...], tuple[float, ...]]:
    """Whether the network rests; and ρ and the loss after gradient flow from perturbed starts."""
    rng = Setting(seed=seed).generator("at rest")
    model, inputs, targets = _network(RESTING, 8, rng)
    flow = gradient_flow(model, inputs, targets, [1.0])
    rested = not flow.moved.any() and float(flow.losses[0]) == 0
    found, losses = [], []
    for _ in range(SEEDS):
        model, inputs, targets = _network(RESTING, 8, rng, NOISE)
        flow = gradient_flow(model, inputs, targets, [10.0], rtol=1e-6, atol=1e-8)
        measured = layer_matrices(flow.at(0), inputs)["0"]
        found.append(correlation(measured.nfm, measured.agop))
        losses.append(float(flow.losses[0]))
    return rested, tuple(found), tuple(losses)


COUNTEREXAMPLE = Claim(
    id="alignment.counterexample",
    title="a balanced ReLU network of loss 0 without alignment",
    statement=(
        r"x_i > 0,\ y = \sum_i x_i,\ f(x) = \sum_i \mathrm{relu}(x_i):\ \text{loss } 0,\ "
        r"\|w_i\|^2 = a_i^2,\ \mathrm{NFM} = I,\ \mathrm{AGOP}^s = d^{s-1} 11^\top,\ "
        r"\rho(\mathrm{NFM}, \mathrm{AGOP}^s) = d^{-1/2}\ \ \forall s > 0"
    ),
    source="T (that some exist), here",
    hypotheses=(
        Hypothesis("all entries of all inputs are positive", lambda x: bool(np.all(x > 0))),
        Hypothesis("balanced neuron by neuron, which is what a ReLU network's flow conserves"),
        Hypothesis("s > 0", lambda s: s > 0),
    ),
    formulas={
        "factor": orthant.POWER_FACTOR,
        "alignment": orthant.ALIGNMENT,
    },
    legs=(
        derivation_leg(
            "every d and s", orthant.derive_counterexample, ("factor", "alignment"), True
        ),
        digits_leg("autograd", _measured, ("alignment", "factor"), 12),
        Leg("at rest", Kind.TRAINED, _at_rest, ("alignment",)),
    ),
    notes=(
        "Balanced layer by layer, WWᵀ = aaᵀ, as linear networks are, it is not: WWᵀ = I. On these "
        "data the network is linear, and with that balance NFM = AGOP^{1/2} would follow. Nor is "
        "it the fit of least norm: one neuron w = 1ᵀ fits with path norm √d against d, so weight "
        "decay leaves it."
    ),
)
