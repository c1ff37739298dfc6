"""Quadratic networks: their matrices at the start, and exact moments by Wick pairings."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import sympy

from theory.alignment import expected, quadratic
from theory.alignment.loop_equations import derive_expectation
from theory.alignment.wick import (
    Expectation,
    expectation,
    pairings,
    row_factor,
    sum_pairings,
    weight_moment,
)
from theory.derivation import Derivation

from ...claim import Claim, Hypothesis, Kind, Leg, Mutant
from ...legs import derivation_leg, digits_leg
from .quadratic_legs import SYMBOLIC, by_autograd, from_loss, in_doubles
from .wick_drawn_legs import DRAWS, directions_averaged, sampled
from .wick_exact_legs import (
    NAMES,
    WORDS,
    brute_function,
    brute_network,
    brute_symbolic,
    brute_words,
    named_readouts,
    parts_words,
    shared_row,
)

QUADRATIC = Hypothesis("f(x) = aᵀ(Wx)² with the square taken entry by entry, A and Σ from its data")
GIVEN_RESIDUALS = Hypothesis(
    "residuals that do not depend on W: the initial output is subtracted, or f is small beside y"
)
GAUSSIAN_ROWS = Hypothesis("W has iid N(0, τ²) entries")
IID_READOUT = Hypothesis("a has iid entries, independent of W, with finite E a⁸")


def _matrices_changed(change: Callable[..., tuple[Any, ...]]) -> Callable[..., Any]:
    return lambda *arguments: quadratic.quadratic_matrices(*change(*arguments))


QUADRATIC_CLAIM = Claim(
    id="alignment.quadratic",
    title="quadratic networks at the start of gradient flow",
    statement=(
        r"f=a^\top(Wx)^{2},\ A=X^\top RX,\ \Sigma=X^\top X,\ M=4W^\top\mathrm{diag}(a^2)W:\quad "
        r"\dot W=2\,\mathrm{diag}(a)WA,\ \dot W^\top\dot W=AMA,\ "
        r"\dot W^\top K\dot W=\tfrac1n AM\Sigma MA"
    ),
    source="C",
    hypotheses=(QUADRATIC, Hypothesis("gradient flow on ½Σ(f−y)², at t = 0")),
    formulas={
        "a_matrix": quadratic.A_MATRIX,
        "sigma": quadratic.SIGMA_MATRIX,
        "block": quadratic.BLOCK_MATRIX,
        "flow": quadratic.FLOW,
        "nfm": quadratic.EARLY_NFM,
        "agop": quadratic.EARLY_AGOP,
        "matrices": quadratic.quadratic_matrices,
    },
    legs=(
        derivation_leg("derivation", quadratic.derive_quadratic, SYMBOLIC, whole=True),
        Leg("differences of the loss", Kind.EXACT, from_loss, SYMBOLIC),
        digits_leg("in doubles", in_doubles, ("matrices",), digits=9),
        digits_leg("automatic differentiation", by_autograd, ("matrices",), digits=9),
    ),
    mutants=(
        Mutant("residual of the other sign in one sample", {"matrices": _matrices_changed(
            lambda X, r, W, a: (X, np.concatenate([-r[:1], r[1:]]), W, a))}),
        Mutant("readout not squared", {"matrices": _matrices_changed(
            lambda X, r, W, a: (X, r, W, np.sqrt(np.abs(a))))}),
        Mutant("inputs × 1.000001", {"matrices": _matrices_changed(
            lambda X, r, W, a: (1.000001 * X, r, W, a))}),
        Mutant("rows in reverse", {"matrices": _matrices_changed(
            lambda X, r, W, a: (X, r, W[::-1], a))}),
    ),
)  # fmt: skip


# ── wick ─────


def _derive(cross: sympy.Expr, nfm: sympy.Expr, agop: sympy.Expr) -> Derivation:
    """Words from the matrices, then all three expectations by integration by parts."""
    claimed = dict(zip(NAMES, (cross, nfm, agop), strict=True))
    scale = {"cross": quadratic.SAMPLES, "nfm": 1, "agop": quadratic.SAMPLES**2}
    parts = [derive_expectation((WORDS[n],), _in_weights(claimed[n] * scale[n])) for n in NAMES]
    words = expected.derive_words()
    steps = (*words.steps, *parts[0].steps[:-1], *(part.steps[-1] for part in parts))
    return Derivation("The three moments, at every width and dimension.", steps, parts[0].cites)


def _in_weights(expression: sympy.Expr) -> sympy.Expr:
    """Moments of a as moments of c = 4a²."""
    values = {expected.readout_moment(j): weight_moment(j) / 4**j for j in range(1, 5)}
    return expression.xreplace(values)


Engine = Callable[..., Expectation]


def _with_rows(rows: Callable[..., Any]) -> Engine:
    return lambda *words: dataclasses.replace(expectation(*words), rows=rows)


def _with_pairings(chosen: Callable[[Iterator[Any]], Iterator[Any]]) -> Engine:
    def engine(*words: str) -> Expectation:
        blocks = sum(word.count("M") for word in words)
        allowed = chosen(pairings(tuple(range(2 * blocks))))
        return sum_pairings(tuple(tuple(word) for word in words), allowed)

    return engine


def _without_transposes(allowed: Iterator[Any]) -> Iterator[Any]:
    return (pairing for pairing in allowed if all((x + y) % 2 for x, y in pairing))


def _commuting(*words: str) -> Expectation:
    found = expectation(*words)
    terms = tuple(
        dataclasses.replace(t, traces=tuple(tuple(sorted(w)) for w in t.traces))
        for t in found.terms
    )
    return dataclasses.replace(found, terms=terms)


ENGINE_MUTANTS = (
    Mutant("the first pairing dropped", {"expectation": _with_pairings(
        lambda allowed: islice(allowed, 1, None))}),
    Mutant("the last pairing dropped", {"expectation": _with_pairings(
        lambda allowed: iter(list(allowed)[:-1]))}),
    Mutant("transposed pairings dropped", {"expectation": _with_pairings(_without_transposes)}),
    Mutant("loops never share a row: k E c^j each", {"expectation": _with_rows(
        lambda loops, k, m: sympy.prod([k * m(j) for j in loops]))}),
    Mutant("one row too many", {"expectation": _with_rows(
        lambda loops, k, m: row_factor(loops, k + 1, m))}),
    Mutant("(E c)^j for E c^j", {"expectation": _with_rows(
        lambda loops, k, m: row_factor(loops, k, lambda j: m(1) ** j))}),
    Mutant("a loop of one block counted as two", {"expectation": _with_rows(
        lambda loops, k, m: row_factor(loops, k, lambda j: m(2) if j == 1 else m(j)))}),
    Mutant("letters commute", {"expectation": _commuting}),
    Mutant("two traces read as one", {"expectation": lambda *words: expectation("".join(words))}),
    Mutant("variance forgotten", {"expectation": lambda *words: dataclasses.replace(
        expectation(*words), blocks=0)}),
)  # fmt: skip


def _powers(loops: Any, k: Any, m: Callable[[int], Any]) -> Any:
    """Powers for falling factorials, in the rule of two loops."""
    if len(loops) != 2:
        return row_factor(loops, k, m)
    return k**2 * m(loops[0]) * m(loops[1]) + k * m(sum(loops))


MORE_MUTANTS = (
    Mutant("k^r for k (k - 1) ...", {"expectation": _with_rows(_powers)}),
    Mutant("A and Σ exchanged", {"moments": lambda k, A, Sigma, mu, **options: (
        expected.expected_moments(k, Sigma, A, mu, **options))}),
    Mutant("number of samples forgotten", {"moments": lambda k, A, Sigma, mu, **options: (
        expected.expected_moments(k, A, Sigma, mu, **{**options, "samples": 1}))}),
    Mutant("width + 1", {"moments": lambda k, *rest, **options: (
        expected.expected_moments(k + 1, *rest, **options))}),
    Mutant("readouts: E a^8 of the Gaussian 120", {"readouts": lambda law, p: (
        (1, 3, 15, 120) if law == "gaussian" else expected.readout_moments(law, p))}),
    Mutant("readouts: sparse without its scale", {"readouts": lambda law, p: (
        (p,) * 4 if law == "sparse" else expected.readout_moments(law, p))}),
)  # fmt: skip

WICK = Claim(
    id="alignment.wick",
    title="exact expected alignment at finite width and dimension",
    statement=(
        r"\text{The three moments, of }p=2,3,4\text{ blocks }M:\quad \mathbb E\,\mathrm{tr}(\cdot)"
        r" = \tau^{2p}\sum_{\text{pairings}}\ \prod_{\text{traces}}\mathrm{tr}(\cdot)"
        r"\sum_{\sigma}k(k-1)\cdots(k-|\sigma|+1)\prod_{S\in\sigma}4^{j_S}\,\mathbb E a^{2j_S},"
        r"\ \sigma\text{ the partitions of the row loops into groups }S\text{ of }j_S"
        r"\text{ blocks; e.g. }\mathbb E\|\dot W^\top\dot W\|^2=16\tau^4\big[(k(k-1)\mu_2^2"
        r"+2k\mu_4)\,\mathrm{tr}A^4+k\mu_4(\mathrm{tr}A^2)^2\big]"
    ),
    source="here",
    hypotheses=(QUADRATIC, GIVEN_RESIDUALS, GAUSSIAN_ROWS, IID_READOUT),
    formulas={
        "cross": expected.alignment_moments().cross,
        "nfm": expected.alignment_moments().nfm,
        "agop": expected.alignment_moments().agop,
        "expectation": expectation,
        "moments": expected.expected_moments,
        "readouts": expected.readout_moments,
        "shared_row": expected.SHARED_ROW,
        "wide_limit": expected.WIDE_LIMIT,
    },
    legs=(
        derivation_leg("integration by parts", _derive, NAMES, whole=True),
        Leg("brute force, networks", Kind.EXACT, brute_network, NAMES),
        Leg("brute force, symbols", Kind.EXACT, brute_symbolic, NAMES),
        Leg("brute force, words", Kind.EXACT, brute_words, ("expectation",)),
        Leg("pairings and parts", Kind.EXACT, parts_words, ("expectation",)),
        Leg("brute force, function", Kind.EXACT, brute_function, ("moments",)),
        Leg("named readouts", Kind.EXACT, named_readouts, ("readouts",)),
        Leg("loops that share a row", Kind.EXACT, shared_row, ("shared_row",)),
        derivation_leg("shared row", expected.derive_shared_row, ("shared_row",)),
        derivation_leg("infinite width", expected.derive_wide_limit, ("wide_limit",)),
        digits_leg("directions averaged", directions_averaged, NAMES, digits=10),
        *(
            Leg(f"directions drawn, d = {d}, k = {k}", Kind.SIMULATED, sampled(d, k), NAMES)
            for d, k in DRAWS
        ),
    ),
    mutants=(*ENGINE_MUTANTS, *MORE_MUTANTS),
    uses=("alignment.quadratic",),
    refutes="row loops carry k E a^(2j) for a loop through j blocks, for every iid readout",
    notes=(
        "Loops may share a row, so that E Π p_j is not Π E p_j: the rule k E a^2j per loop holds "
        "for readouts of constant modulus only. For d = k = 1 and Gaussian a it gives 7/9 of "
        "E‖ẆᵀẆ‖². The ratio of the moments is not the mean alignment: both tend to ρ(A², AΣA) as "
        "the width grows, but heavy tails of a weigh on the ratio. The residuals must not depend "
        "on W: with y − f itself they bring further terms, of higher order in τ."
    ),
)

CLAIMS = (QUADRATIC_CLAIM, WICK)
