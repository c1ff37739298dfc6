"""What scores of several layers separate together, and what the stacked layers do."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import sympy
from flint import fmpq, fmpq_mat
from scipy.special import ndtr

from theory.alignment.bound import CONDITION_NUMBER
from theory.concepts import aggregation as words
from theory.concepts import aggregation_derivation as derivation
from theory.concepts import kantorovich, layer_scores
from theory.derivation import Derivation

from ...claim import Claim, Evidence, Formulas, Hypothesis, Kind, Leg, Mutant, Setting
from ...legs import Case, derivation_leg, digits_leg
from ...statistics import compare_samples
from ..shared import BETA, formula, joined
from . import aggregation_brute as brute
from . import aggregation_fractions as fractions
from .leakage import LEAKAGE

GAUSSIAN = Hypothesis("given y = ±1 the stacked layers x = (x_1, …, x_L) are N(m ± μ, Σ), Σ ≻ 0")
SCORES = Hypothesis("the aggregate sees s = Vᵀx, V block diagonal with independent columns")
LINEAR = Hypothesis("or, for any law with these moments: separations of the best linear detectors")

MATRICES = ("stacked", "scores", "missed")
ONE_MORE = ("gain", "uncorrelated", "nested")
PAIR = ("pair", "pair_gain", "pair_weight", "additive", "equal_weights", "worthwhile")
FAMILIES = ("equicorrelated", "equal_factor", "nested_pair", "nested_gain", "lost_ratio", "price")

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
    for layers in fractions.every_layers(setting):
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
        Leg("in fractions", Kind.EXACT, fractions.in_fractions, MATRICES),
        Leg("one more layer in fractions", Kind.EXACT, fractions.one_more_layer, ONE_MORE),
        Leg("the printed equality", Kind.EXACT, fractions.printed, ("lost_ratio",)),
        Leg("two scores in fractions", Kind.EXACT, fractions.two_scores, PAIR[:5]),
        Leg("equicorrelated in fractions", Kind.EXACT, fractions.many_scores,
            ("equicorrelated", "equal_factor")),
        Leg("residual stream in fractions", Kind.EXACT, fractions.residual_stream,
            ("nested_pair", "nested_gain")),
        Leg("mean against the better score", Kind.EXACT, fractions.worthwhile, ("worthwhile",)),
        derivation_leg("any layers, any vectors", _derivation, (*MATRICES, *ONE_MORE, "price"),
                       whole=True),
        derivation_leg("two scores", layer_scores.derive_pair, PAIR),
        derivation_leg("families of scores", layer_scores.derive_families, FAMILIES),
        Leg("where it ends", Kind.EXACT, fractions.where_it_ends, on_mutants=False),
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
