"""Separations of scores, one more layer and families of scores, in exact fractions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
import sympy
from flint import arb, ctx, fmpq, fmpq_mat

from theory.concepts import aggregation as words
from theory.concepts import layer_scores

from ...claim import Evidence, Formulas, Setting
from ...legs import ball
from ..rationals import number
from ..shared import formula
from . import aggregation_brute as brute

SHAPES = (((2, 3), (1, 1)), ((1, 2, 2), (1, 1, 1)), ((3, 2), (2, 1)), ((2, 2, 1, 1), (1, 1, 1, 1)))
"""Dimensions of the layers, and their numbers of vectors."""


@lru_cache(maxsize=16)
def _layers(case: int, seed: int) -> brute.Layers:
    sizes, counts = SHAPES[case]
    return brute.drawn(sizes, counts, np.random.default_rng((seed, case)))


def every_layers(setting: Setting) -> Iterator[brute.Layers]:
    """Drawn layers of every shape."""
    return (_layers(case, setting.seed) for case in range(len(SHAPES)))


# ── matrices in fractions ────────────────────────────────────────────────────────────────────────


@lru_cache(maxsize=16)
def _letters(layers: brute.Layers) -> dict[sympy.Symbol, Any]:
    return {
        words.COVARIANCE: layers.covariance,
        words.PRECISION: layers.covariance.inv(),
        words.MEAN: layers.mean,
        words.VECTORS: layers.vectors,
        words.SCORE_PRECISION: layers.score_covariance.inv(),
    }


def in_fractions(formulas: Formulas, setting: Setting) -> Evidence:
    """δ², D² and the loss against determinants, and the order of best score, D² and δ²."""
    count = 0
    for layers in every_layers(setting):
        stacked = brute.separation(layers.mean, layers.covariance)
        m, C = layers.score_mean, layers.score_covariance
        scores = brute.separation(m, C)
        best = max(m[i, 0] ** 2 / C[i, i] for i in range(m.nrows()))
        expected = {"stacked": stacked, "scores": scores, "missed": stacked - scores}
        for name, value in expected.items():
            claimed = formula(formulas, name)
            claimed = words.loss(claimed) if name == "missed" else claimed
            found = brute.scalar(claimed, _letters(layers))
            if found != value:
                return Evidence(False, {"cases": count}, f"{layers}, {name}: {found}, not {value}")
        if not best < scores < stacked:
            return Evidence(False, {}, f"{layers}: {best}, {scores}, {stacked} are not in order")
        count += 1
    return Evidence(True, {"residual": 0, "cases": count})


def _append(layers: brute.Layers, cut: int) -> tuple[dict[sympy.Symbol, Any], Any]:
    """The letters of the gain of what comes after the cut, and the gain by determinants."""
    mean, S, d = layers.mean, layers.covariance, layers.mean.nrows()
    old, new, one = range(cut), range(cut, d), range(1)
    A, B, D = (brute.part(S, i, j) for i, j in ((old, old), (new, old), (new, new)))
    first = brute.part(mean, old, one)
    letters = {
        words.PRECISION_1: A.inv(),
        words.CROSS: B,
        words.MEAN_1: first,
        words.MEAN_2: brute.part(mean, new, one),
        words.SCHUR_PRECISION: (D - B * A.inv() * B.transpose()).inv(),
    }
    return letters, brute.separation(mean, S) - brute.separation(first, A)


def one_more_layer(formulas: Formulas, setting: Setting) -> Evidence:
    """Gains at every cut; and the gains of an uncorrelated and of a nested layer."""
    count = 0
    for layers in every_layers(setting):
        for cut in np.cumsum(layers.sizes)[:-1].tolist():
            letters, gain = _append(layers, cut)
            if (found := brute.scalar(formula(formulas, "gain"), letters)) != gain:
                return Evidence(False, {"cases": count}, f"{layers}, {cut}: {found}, not {gain}")
            count += 1
        for name, (special, gain) in _special(layers).items():
            if (found := brute.scalar(formula(formulas, name), special)) != gain:
                return Evidence(False, {"cases": count}, f"{layers}, {name}: {found}, not {gain}")
    return Evidence(True, {"residual": 0, "cases": count})


def _special(layers: brute.Layers) -> dict[str, tuple[dict[sympy.Symbol, Any], Any]]:
    """Two copies of the law side by side, the second uncorrelated; and Ex + u appended, E = Vᵀ."""
    mean, S, E = layers.mean, layers.covariance, layers.vectors.transpose()
    both = fmpq_mat(mean.tolist() + (mean * 2).tolist())
    apart = brute.separation(both, brute.diagonal([S, S])) - brute.separation(mean, S)
    eta = layers.score_mean * fmpq(2, 3) + fmpq_mat([[1]] * E.nrows())
    noise = layers.score_covariance + brute.identity(E.nrows())
    moved = fmpq_mat(mean.tolist() + (E * mean + eta).tolist())
    cross = (E * S).tolist()
    below = (E * S * E.transpose() + noise).tolist()
    above = (S * E.transpose()).tolist()
    joint = [left + right for left, right in zip(S.tolist() + cross, above + below, strict=True)]
    nested = brute.separation(moved, fmpq_mat(joint)) - brute.separation(mean, S)
    return {
        "uncorrelated": ({words.MEAN_2: mean * 2, words.SCHUR_PRECISION: S.inv()}, apart),
        "nested": ({words.OWN_MEAN: eta, words.SCHUR_PRECISION: noise.inv()}, nested),
    }


# ── the printed equality ─────────────────────────────────────────────────────────────────────────


def printed(formulas: Formulas, setting: Setting) -> Evidence:
    """Two layers, each with its own Bayes score: D² < δ², by ever more as ρ → 1."""
    ratio, figures = formula(formulas, "lost_ratio"), dict[str, int | float | str]()
    for a, rho in ((1, Fraction(3, 5)), (2, Fraction(99, 100)), (3, Fraction(9999, 10000))):
        values = {
            layer_scores.BEST: a,
            layer_scores.OTHER: 2 * a - 1,
            layer_scores.CORRELATION: number(rho),
        }
        means, S = layer_scores.counterexample()
        mean = _flint(sympy.Matrix.vstack(*means).subs(values))
        sigma = _flint(S.subs(values))
        V = brute.diagonal([fmpq_mat([[1]]), fmpq_mat([[0], [1]])])
        stacked = brute.separation(mean, sigma)
        scores = brute.separation(V.transpose() * mean, V.transpose() * sigma * V)
        claimed = ratio.subs(values)
        if claimed != number(brute.fraction(stacked / scores)) or not scores < stacked:
            return Evidence(False, {}, f"ρ = {rho}: {stacked} over {scores}, claimed {claimed}")
        figures[f"rho={rho}"] = f"stack {stacked}, scores {scores}"
    return Evidence(True, figures)


def _flint(A: sympy.Matrix) -> Any:
    return fmpq_mat([[fmpq(int(x.p), int(x.q)) for x in A.row(i)] for i in range(A.rows)])


def where_it_ends(formulas: Formulas, setting: Setting) -> Evidence:
    """Poor vectors fall below the best layer; the right ones, or all of them, lose nothing.

    Uncorrelated layers are not independent: three can fix y of which no pair knows anything.
    """
    mean, S = (
        fmpq_mat([[1], [1], [fmpq(1, 4)]]),
        brute.diagonal([fmpq_mat([[x]]) for x in (1, 16, 1)]),
    )
    V = brute.diagonal([fmpq_mat([[1], [1]]), fmpq_mat([[1]])])  # mean differences
    scores = brute.separation(V.transpose() * mean, V.transpose() * S * V)
    best = brute.separation(brute.part(mean, range(2), range(1)), brute.part(S, range(2), range(2)))
    checks = {"mean differences below the best layer": scores < best}
    layers = _layers(1, setting.seed)
    total = brute.separation(layers.mean, layers.covariance)
    for name, V in _lossless(layers).items():
        found = brute.separation(V.transpose() * layers.mean, V.transpose() * layers.covariance * V)
        checks[name] = found == total
    signs = [s for s in itertools.product((-1, 1), repeat=3) if math.prod(s) == 1]
    moments = [sum(s[i] for s in signs) for i in range(3)]
    moments += [sum(s[i] * s[j] for s in signs) for i, j in ((0, 1), (0, 2), (1, 2))]
    checks["y = x_1x_2x_3: mean 0 and uncorrelated given y = 1"] = not any(moments)
    wrong = next((name for name, holds in checks.items() if not holds), "")
    return Evidence(
        not wrong, {"checks": len(checks), "poor": str(scores), "best": str(best)}, wrong
    )


def _lossless(layers: brute.Layers) -> dict[str, Any]:
    w = layers.covariance.inv() * layers.mean
    ends = np.cumsum([0, *layers.sizes]).tolist()
    blocks = [brute.part(w, range(a, b), range(1)) for a, b in itertools.pairwise(ends)]
    return {"blocks of Σ⁻¹μ": brute.diagonal(blocks), "all directions": brute.identity(w.nrows())}


# ── scalar scores in fractions ───────────────────────────────────────────────────────────────────

NUMBERS = (
    (Fraction(7, 3), Fraction(5, 4), Fraction(-2, 5)),
    (Fraction(3, 2), Fraction(1, 5), Fraction(3, 7)),
)
"""a, b, ρ."""


def two_scores(formulas: Formulas, setting: Setting) -> Evidence:
    """Two scores, from determinants; the correlation at which their separations add up."""
    for a, b, rho in NUMBERS:
        values = {layer_scores.BEST: number(a), layer_scores.OTHER: number(b)}
        C = _equal_correlations(2, rho)
        m = fmpq_mat([[_fmpq(a)], [_fmpq(b)]])
        both = brute.separation(m, C)
        mean = brute.of_direction(fmpq_mat([[1], [1]]), m, C)
        weight = C.solve(m)[1, 0]
        expected = {"pair": both, "pair_gain": both - m[0, 0] ** 2, "pair_weight": weight,
                    "equal_weights": mean}  # fmt: skip
        for name, value in expected.items():
            claimed = formula(formulas, name).subs(
                {**values, layer_scores.CORRELATION: number(rho)}
            )
            if claimed != number(brute.fraction(value)):
                return Evidence(False, {}, f"{(a, b, rho)}, {name}: {claimed}, not {value}")
        additive = formula(formulas, "additive").subs(values)
        added = brute.separation(
            m, _equal_correlations(2, Fraction(int(additive.p), int(additive.q)))
        )
        if added != m[0, 0] ** 2 + m[1, 0] ** 2:
            return Evidence(False, {}, f"{(a, b)}: ρ = {additive} gives {added}")
    return Evidence(True, {"residual": 0, "points": len(NUMBERS)})


def _fmpq(x: Fraction) -> Any:
    return fmpq(x.numerator, x.denominator)


def _equal_correlations(size: int, rho: Fraction) -> Any:
    r = _fmpq(rho)
    return fmpq_mat([[fmpq(1) if i == j else r for j in range(size)] for i in range(size)])


def many_scores(formulas: Formulas, setting: Setting) -> Evidence:
    """Equicorrelated scores, with any means and with equal ones, for L = 2, …, 6."""
    rng = setting.generator("scores")
    for L, rho in itertools.product(range(2, 7), (Fraction(2, 7), Fraction(-1, 9))):
        C, m = _equal_correlations(L, rho), fmpq_mat(rng.integers(1, 20, (L, 1)).tolist())
        values: dict[sympy.Symbol, Any] = {
            layer_scores.SCORES: L,
            layer_scores.CORRELATION: number(rho),
            layer_scores.SUM: sum(int(m[i, 0].p) for i in range(L)),
            layer_scores.SQUARE_SUM: sum(int(m[i, 0].p) ** 2 for i in range(L)),
        }
        equal = brute.separation(fmpq_mat([[1]] * L), C)
        for name, value in (("equicorrelated", brute.separation(m, C)), ("equal_factor", equal)):
            claimed = formula(formulas, name).subs(values)
            if claimed != number(brute.fraction(value)):
                return Evidence(False, {}, f"L = {L}, ρ = {rho}, {name}: {claimed}, not {value}")
    return Evidence(True, {"residual": 0, "numbers_of_scores": "2 to 6"})


def residual_stream(formulas: Formulas, setting: Setting) -> Evidence:
    """x_ℓ = x_{ℓ-1} + u_ℓ: D² is the sum over increments; with the last layer as the other end."""
    signals, noises = (Fraction(3), Fraction(1, 2)), (Fraction(5, 4), Fraction(2, 3))
    values = {
        layer_scores.SIGNAL_1: number(signals[0]), layer_scores.SIGNAL_2: number(signals[1]),
        layer_scores.NOISE_1: number(noises[0]), layer_scores.NOISE_2: number(noises[1]),
    }  # fmt: skip
    m = fmpq_mat([[_fmpq(signals[0])], [_fmpq(signals[0] + signals[1])]])
    one = _fmpq(noises[0])
    C = fmpq_mat([[one, one], [one, _fmpq(noises[0] + noises[1])]])
    both = brute.separation(m, C)
    expected = {"nested_pair": both, "nested_gain": both - m[1, 0] ** 2 / C[1, 1]}
    for name, value in expected.items():
        claimed = formula(formulas, name).subs(values)
        if claimed != number(brute.fraction(value)):
            return Evidence(False, {}, f"{name}: {claimed}, not {value}")
    return Evidence(True, {"residual": 0, "first": str(m[0, 0] ** 2 / C[0, 0]), "both": str(both)})


def worthwhile(formulas: Formulas, setting: Setting) -> Evidence:
    """The mean of two scores against the better one, decided on a grid of b/a and ρ."""
    threshold, decided = formula(formulas, "worthwhile"), 0
    for i in range(-19, 20, 2):
        rho = Fraction(i, 20)
        with ctx.workprec(100):
            border = ball(threshold.subs(layer_scores.CORRELATION, number(rho)))
        for b, worse in _worse(rho):
            if not (border > arb(b) if worse else border <= arb(b)):
                where = f"ρ = {rho}, b/a = {b}: worse is {worse}"
                return Evidence(False, {"decided": decided}, where)
            decided += 1
    return Evidence(True, {"decided": decided})


@lru_cache(maxsize=64)
def _worse(rho: Fraction) -> tuple[tuple[Any, bool], ...]:
    """Whether the mean of two scores is worse than the better one, for a = 1 and every b."""
    C, ones = _equal_correlations(2, rho), fmpq_mat([[1], [1]])
    means = (fmpq_mat([[1], [fmpq(j, 100)]]) for j in range(1, 100))
    return tuple((m[1, 0], bool(brute.of_direction(ones, m, C) < 1)) for m in means)
