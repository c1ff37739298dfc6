"""What scores of several layers separate together, and what the stacked layers do."""

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
from scipy.special import ndtr

from theory.alignment.bound import CONDITION_NUMBER
from theory.concepts import aggregation as words
from theory.concepts import aggregation_derivation as derivation
from theory.concepts import kantorovich, layer_scores
from theory.derivation import Derivation

from ...claim import Claim, Evidence, Formulas, Hypothesis, Kind, Leg, Mutant, Setting
from ...legs import Case, ball, derivation_leg, digits_leg
from ...statistics import compare_samples
from ..rationals import number
from ..shared import BETA, formula, joined
from . import aggregation_brute as brute
from .leakage import LEAKAGE

GAUSSIAN = Hypothesis("given y = ±1 the stacked layers x = (x_1, …, x_L) are N(m ± μ, Σ), Σ ≻ 0")
SCORES = Hypothesis("the aggregate sees s = Vᵀx, V block diagonal with independent columns")
LINEAR = Hypothesis("or, for any law with these moments: separations of the best linear detectors")

MATRICES = ("stacked", "scores", "missed")
ONE_MORE = ("gain", "uncorrelated", "nested")
PAIR = ("pair", "pair_gain", "pair_weight", "additive", "equal_weights", "worthwhile")
FAMILIES = ("equicorrelated", "equal_factor", "nested_pair", "nested_gain", "lost_ratio", "price")

SHAPES = (((2, 3), (1, 1)), ((1, 2, 2), (1, 1, 1)), ((3, 2), (2, 1)), ((2, 2, 1, 1), (1, 1, 1, 1)))
"""Dimensions of the layers, and their numbers of vectors."""


@lru_cache(maxsize=16)
def _layers(case: int, seed: int) -> brute.Layers:
    sizes, counts = SHAPES[case]
    return brute.drawn(sizes, counts, np.random.default_rng((seed, case)))


def _every_layers(setting: Setting) -> Iterator[brute.Layers]:
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


def _in_fractions(formulas: Formulas, setting: Setting) -> Evidence:
    """δ², D² and the loss against determinants, and the order of best score, D² and δ²."""
    count = 0
    for layers in _every_layers(setting):
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


def _one_more_layer(formulas: Formulas, setting: Setting) -> Evidence:
    """Gains at every cut; and the gains of an uncorrelated and of a nested layer."""
    count = 0
    for layers in _every_layers(setting):
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


def _printed(formulas: Formulas, setting: Setting) -> Evidence:
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


def _where_it_ends(formulas: Formulas, setting: Setting) -> Evidence:
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


def _two_scores(formulas: Formulas, setting: Setting) -> Evidence:
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


def _many_scores(formulas: Formulas, setting: Setting) -> Evidence:
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


def _residual_stream(formulas: Formulas, setting: Setting) -> Evidence:
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


def _worthwhile(formulas: Formulas, setting: Setting) -> Evidence:
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


# ── functions in doubles, and drawn states ───────────────────────────────────────────────────────


def _arguments(layers: brute.Layers) -> tuple[list[Any], Any, list[Any]]:
    """Means, covariance and vectors as theory's functions take them."""
    mean, V = brute.doubles(layers.mean)[:, 0], brute.doubles(layers.vectors)
    cuts, splits = np.cumsum(layers.sizes)[:-1], np.cumsum(layers.counts)[:-1]
    columns = np.split(V, splits, axis=1)
    blocks = [np.split(c, cuts)[i].T for i, c in enumerate(columns)]
    return np.split(mean, cuts), brute.doubles(layers.covariance), blocks


def _functions(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """theory's functions against fractions."""
    for layers in _every_layers(setting):
        means, sigma, vectors = _arguments(layers)
        m, C = layers.score_mean, layers.score_covariance
        stacked, scores = brute.separation(layers.mean, layers.covariance), brute.separation(m, C)
        found: Any = formula(formulas, "aggregated")(means, sigma, vectors)
        yield f"{layers}: D²", found.separation, brute.fraction(scores)
        yield f"{layers}: δ²", found.stacked, brute.fraction(stacked)
        yield f"{layers}: loss", found.loss, brute.fraction(stacked - scores)
        weights = C.solve(m)
        for i, weight in enumerate(found.weights):
            yield f"{layers}: weight {i}", weight, brute.fraction(weights[i, 0])
        yield from _gains(formula(formulas, "layer_gains"), layers)
        joint = layers.covariance.inv() * layers.mean
        found_joint = np.concatenate(formula(formulas, "joint")(means, sigma))
        for i, entry in enumerate(found_joint):
            yield f"{layers}: joint vectors, {i}", entry, brute.fraction(joint[i, 0])
        yield from _own(formula(formulas, "own"), layers)
        given: Any = formula(formulas, "weighted")
        ones = fmpq_mat([[1]] * m.nrows())
        equal = given(found.mean, found.covariance, np.ones(m.nrows()))
        yield f"{layers}: equal weights", equal, brute.fraction(brute.of_direction(ones, m, C))


def _own(own_vectors: Any, layers: brute.Layers) -> Iterator[Case]:
    means, sigma, _ = _arguments(layers)
    start = 0
    for i, vector in enumerate(own_vectors(means, sigma)):
        own, start = range(start, start + layers.sizes[i]), start + layers.sizes[i]
        mean = brute.part(layers.mean, own, range(1))
        expected = brute.part(layers.covariance, own, own).solve(mean)
        for j, entry in enumerate(vector):
            yield f"{layers}: own vector {i}, {j}", entry, brute.fraction(expected[j, 0])


def _gains(layer_gains: Any, layers: brute.Layers) -> Iterator[Case]:
    means, sigma, _ = _arguments(layers)
    before, end = fmpq(0), 0
    for i, gain in enumerate(layer_gains(means, sigma)):
        end += layers.sizes[i]
        first = brute.part(layers.mean, range(end), range(1))
        so_far = brute.separation(first, brute.part(layers.covariance, range(end), range(end)))
        yield f"{layers}: gain {i}", gain, brute.fraction(so_far - before)
        before = so_far


def _largest(formulas: Formulas, setting: Setting) -> Evidence:
    """δ²/D² of own directions: never above the claimed bound, and near it for the extreme means."""
    price, largest, most = formula(formulas, "price"), 0.0, 0.0
    for kappa, extreme, generic in _lost_shares(setting.seed):
        bound = float(price.subs(CONDITION_NUMBER, sympy.Float(kappa, 30)))
        largest = max(largest, extreme / bound, generic / bound)
        most = max(most, abs(1 - extreme / bound))
    holds = bool(largest <= 1 + 1e-9 and most < 1e-4)
    figures = {"largest_share_of_the_bound": largest, "gap_at_the_extreme_means": most}
    return Evidence(holds, figures, "" if holds else f"shares up to {largest}, gap {most}")


def _largest_losses(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """`largest_loss` against what is lost at extreme means."""
    rng = setting.generator("largest losses")
    for sizes in ((1, 2), (2, 3), (3, 3)):
        sigma, extreme = _two_layers(sizes, rng)
        found = formula(formulas, "largest_loss")(sizes, sigma)
        yield f"layers of {sizes}", found, _share(extreme, sizes, sigma)


@lru_cache(maxsize=2)
def _lost_shares(seed: int) -> tuple[tuple[float, float, float], ...]:
    """κ, and δ²/D² of own directions for the extreme means and for generic ones."""
    rng, found = Setting(seed=seed).generator("largest loss"), []
    for draw in range(40):
        sizes = ((1, 2), (2, 3), (3, 3))[draw % 3]
        sigma, extreme = _two_layers(sizes, rng)
        shares = [_share(m, sizes, sigma) for m in (extreme, rng.standard_normal(sum(sizes)))]
        found.append((_condition(sizes, sigma), shares[0], shares[1]))
    return tuple(found)


def _share(mean: Any, sizes: tuple[int, int], sigma: Any) -> float:
    """δ²/D² of the scores of Σ_ℓℓ⁻¹μ_ℓ, from their definitions."""
    V, cut = np.zeros((len(mean), 2)), sizes[0]
    for column, own in enumerate((slice(0, cut), slice(cut, None))):
        V[own, column] = np.linalg.solve(sigma[own, own], mean[own])
    m, C = V.T @ mean, V.T @ sigma @ V
    return float(mean @ np.linalg.solve(sigma, mean) / (m @ np.linalg.solve(C, m)))


def _condition(sizes: tuple[int, int], sigma: Any) -> float:
    """κ by generalised eigenvalues: those of Σ relative to its diagonal blocks."""
    blocks = np.zeros_like(sigma)
    for own in (slice(0, sizes[0]), slice(sizes[0], None)):
        blocks[own, own] = sigma[own, own]
    values = np.linalg.eigvals(np.linalg.solve(blocks, sigma)).real
    return float(values.max() / values.min())


def _two_layers(sizes: tuple[int, int], rng: np.random.Generator) -> tuple[Any, Any]:
    """A covariance whose most correlated directions p, q are known, and extreme means.

    In scaled coordinates the mean is p, and a little of a direction of layer 2 orthogonal to q.
    """
    p, q = (np.linalg.qr(rng.standard_normal((d, d)))[0] for d in sizes)
    correlations = np.zeros(sizes)
    np.fill_diagonal(correlations, np.sort(rng.uniform(0.1, 0.95, min(sizes)))[::-1])
    K = p @ correlations @ q.T
    R = np.block([[np.eye(sizes[0]), K], [K.T, np.eye(sizes[1])]])
    scale = np.zeros_like(R)
    for own in (slice(0, sizes[0]), slice(sizes[0], None)):
        size = len(scale[own])
        scale[own, own] = rng.standard_normal((size, size)) + 2 * np.eye(size)
    mean = scale @ np.concatenate([p[:, 0], 1e-3 * q[:, -1]])
    return scale @ R @ scale.T, mean


def _moderate(setting: Setting) -> brute.Layers:
    """Layers whose stack, scores and best score differ by much, none of them near certainty."""
    half, most = fmpq(1, 2), fmpq(4, 5)
    S = fmpq_mat([[1, most, half], [most, 1, 0], [half, 0, 1]])
    mean = fmpq_mat([[half], [0], [fmpq(2, 5)]])
    V = brute.diagonal([fmpq_mat([[1]]), fmpq_mat([[fmpq(1, 5)], [1]])])
    return brute.Layers((1, 2), (1, 1), mean, S, V)


@lru_cache(maxsize=2)
def _fixed_moderate(seed: int) -> brute.Layers:
    return _moderate(Setting(seed=seed))


def _likelihood(formulas: Formulas, setting: Setting) -> Evidence:
    """AUC of the likelihood ratios of drawn stacks and scores: Φ(√2 δ) and Φ(√2 D)."""
    layers = _fixed_moderate(setting.seed)
    seed = int(setting.generator("likelihood").integers(2**31))
    wins = brute.likelihood_wins(layers, seed, 100_000)
    found: Any = formula(formulas, "aggregated")(*_arguments(layers))
    pairs = (("stack", wins.stacked, found.stacked), ("scores", wins.scores, found.separation))
    compared = {}
    for name, won, squared in pairs:
        auc = float(ndtr(math.sqrt(2 * squared)))
        test = compare_samples(np.asarray(won, dtype=float), auc, setting.alpha / 2, BETA)
        if not test.holds:
            return test.evidence(f"{name}, AUC {auc}")
        compared[f"auc_{name}"] = test.mean
        compared[f"smallest_discrepancy_{name}"] = test.smallest_discrepancy
    return Evidence(True, {"samples": 100_000, **compared})


# ── the claim ────────────────────────────────────────────────────────────────────────────────────


def _derivation(
    stacked: Any, scores: Any, missed: Any, gain: Any, uncorrelated: Any, nested: Any, price: Any
) -> Derivation:
    return joined(
        "scores against the stack, one more layer, and what own directions lose",
        derivation.derive_loss(stacked, scores, missed),
        derivation.derive_gain(gain, uncorrelated, nested),
        derivation.derive_largest_loss(price, stacked, scores),
    )


def _wrong_aggregate(kind: str) -> Any:
    def wrong(means: Any, sigma: Any, vectors: Any) -> words.Aggregate:
        right = words.aggregated(means, sigma, vectors)
        stacked, loss = right.stacked, right.loss
        variances = np.diag(right.covariance)
        separation = {
            "printed": stacked,
            "sum": float(np.sum(right.mean**2 / variances)),
            "best": float(np.max(right.mean**2 / variances)),
            "equal": words.weighted_separation(
                right.mean, right.covariance, np.ones(len(right.mean))
            ),
        }[kind]
        return words.Aggregate(
            right.mean, right.covariance, right.weights, separation, stacked, loss
        )

    return wrong


def _own_separations(means: Any, sigma: Any) -> Any:
    return words.layer_separations(means, sigma)


def _unscaled(sizes: Any, sigma: Any) -> float:
    return words.largest_loss([1] * len(sigma), sigma)


def _normalised_by_norm(mean: Any, covariance: Any, weights: Any) -> float:
    return float((weights @ mean) ** 2 / (weights @ weights))


AGGREGATION = Claim(
    id="concepts.aggregation",
    title="scores of several layers, and the stacked layers",
    statement=(
        r"s = V^\top x,\ m = V^\top\mu,\ C = V^\top\Sigma V,\ a = C^{-1}m:\quad "
        r"\max_\ell m_\ell^2/C_{\ell\ell} \le D^2 = m^\top C^{-1}m = \delta^2 - "
        r"\|\Sigma^{1/2}(\Sigma^{-1}\mu - Va)\|^2,\ \delta^2 = \mu^\top\Sigma^{-1}\mu;\quad "
        r"\text{one more layer (or score) adds } g^\top(\Sigma_{22} - \Sigma_{21}\Sigma_{11}^{-1}"
        r"\Sigma_{12})^{-1}g \ge 0,\ g = \mu_2 - \Sigma_{21}\Sigma_{11}^{-1}\mu_1,\ "
        r"\text{its own separation if } \Sigma_{21} = 0;\quad "
        r"v_\ell = \Sigma_{\ell\ell}^{-1}\mu_\ell:\ \delta^2/D^2 \le (1+\kappa)^2/4\kappa"
    ),
    source="A (that aggregation helps), here",
    hypotheses=(GAUSSIAN, SCORES, LINEAR),
    formulas={
        "stacked": words.STACKED,
        "scores": words.SCORES,
        "missed": words.MISSED,
        "gain": words.GAIN,
        "uncorrelated": words.UNCORRELATED_GAIN,
        "nested": words.NESTED_GAIN,
        "pair": layer_scores.PAIR,
        "pair_gain": layer_scores.PAIR_GAIN,
        "pair_weight": layer_scores.PAIR_WEIGHT,
        "additive": layer_scores.ADDITIVE_CORRELATION,
        "equal_weights": layer_scores.EQUAL_WEIGHTS,
        "worthwhile": layer_scores.WORTHWHILE,
        "equicorrelated": layer_scores.EQUICORRELATED,
        "equal_factor": layer_scores.EQUAL_FACTOR,
        "nested_pair": layer_scores.NESTED_PAIR,
        "nested_gain": layer_scores.NESTED_GAIN,
        "lost_ratio": layer_scores.LOST_RATIO,
        "price": kantorovich.PRICE.expression,
        "aggregated": words.aggregated,
        "layer_gains": words.layer_gains,
        "joint": words.joint_vectors,
        "own": words.own_vectors,
        "weighted": words.weighted_separation,
        "largest_loss": words.largest_loss,
    },
    legs=(
        Leg("in fractions", Kind.EXACT, _in_fractions, MATRICES),
        Leg("one more layer in fractions", Kind.EXACT, _one_more_layer, ONE_MORE),
        Leg("the printed equality", Kind.EXACT, _printed, ("lost_ratio",)),
        Leg("two scores in fractions", Kind.EXACT, _two_scores, PAIR[:5]),
        Leg("equicorrelated in fractions", Kind.EXACT, _many_scores,
            ("equicorrelated", "equal_factor")),
        Leg("residual stream in fractions", Kind.EXACT, _residual_stream,
            ("nested_pair", "nested_gain")),
        Leg("mean against the better score", Kind.EXACT, _worthwhile, ("worthwhile",)),
        derivation_leg("any layers, any vectors", _derivation, (*MATRICES, *ONE_MORE, "price"),
                       whole=True),
        derivation_leg("two scores", layer_scores.derive_pair, PAIR),
        derivation_leg("families of scores", layer_scores.derive_families, FAMILIES),
        Leg("where it ends", Kind.EXACT, _where_it_ends, on_mutants=False),
        digits_leg("functions", _functions,
                   ("aggregated", "layer_gains", "joint", "own", "weighted"), 9),
        digits_leg("largest losses", _largest_losses, ("largest_loss",), 5),
        Leg("extreme means", Kind.DIRECT, _largest, ("price",)),
        Leg("likelihood ratios", Kind.SIMULATED, _likelihood, ("aggregated",)),
    ),
    mutants=(
        Mutant("aggregated: the stack's, as printed", {"aggregated": _wrong_aggregate("printed")}),
        Mutant("aggregated: correlations ignored", {"aggregated": _wrong_aggregate("sum")}),
        Mutant("aggregated: the best score's", {"aggregated": _wrong_aggregate("best")}),
        Mutant("aggregated: equal weights", {"aggregated": _wrong_aggregate("equal")}),
        Mutant("gains: each layer's own", {"layer_gains": _own_separations}),
        Mutant("weighted: over the weights' norm", {"weighted": _normalised_by_norm}),
        Mutant("joint: each layer's own", {"joint": words.own_vectors}),
        Mutant("own: the stack's", {"own": words.joint_vectors}),
        Mutant("largest loss: layers not scaled", {"largest_loss": _unscaled}),
    ),
    uses=("concepts.auc",),
    equivalents={"missed: everything negated": "the loss is its variance"},
    refutes=(
        "the aggregated detector's squared separation is that of the stacked layers: for layers "
        "with means 1 and (0, 1), unit variances and a correlation 3/5 of the first layer with the "
        "coordinate without signal, own Bayes scores have 2, the stack 41/16"
    ),
    notes=(
        "D² = δ² if and only if V spans Σ⁻¹μ: one vector per layer is enough, its block of Σ⁻¹μ, "
        "which only the stack knows; a further vector of the layer helps as far as it spans this. "
        "A layer's own δ_ℓ² is at most D² if its own Bayes direction is spanned, else D² can be "
        "below it (mean differences do this). Strictly: one more score adds nothing iff m_2 = "
        "C_21C_11⁻¹m_1, as a linear function of earlier layers plus noise without signal does; a "
        "score with m_2 < ρm_1 (unit variances) is weighted negatively. Equicorrelated scores "
        "gain at most 1/ρ. κ: condition number of Σ scaled to Σ_ℓℓ = I; the bound is the supremum "
        "over means for two layers, one of two dimensions at least, and has no bound over Σ. "
        "Uncorrelated is enough for linear detectors of any law, for the likelihood ratio only "
        "with Gaussian states: y = x_1x_2x_3 shows nothing to any linear one. AUC = Φ(√2 D)."
    ),
)  # fmt: skip

CLAIMS = (AGGREGATION, LEAKAGE)
