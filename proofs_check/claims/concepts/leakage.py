"""What probes separate in the samples that they were fitted on, where there is nothing to find."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import sympy
from flint import fmpq, fmpq_mat
from scipy import integrate, stats

from theory.concepts import leakage

from ...claim import Claim, Evidence, Formulas, Hypothesis, Kind, Leg, Mutant, Setting
from ...legs import Case, derivation_leg, digits_leg
from ...statistics import compare_samples
from ..rationals import number
from ..shared import BETA, formula
from . import aggregation_brute as brute

EXCHANGEABLE = Hypothesis("R²: labels exchangeable given the data, any data; n₊, n₋ ≥ 1")
GAUSSIAN = Hypothesis("means of separations: n₊ + n₋ = n states N(±μ, Σ), independent")
ISOTROPIC = Hypothesis("mean difference: Σ = σ²I")
ENOUGH = Hypothesis("n > d + 3 (least squares), n > 4 (mean difference)")

SHAPES = ((3, 3, 2), (2, 4, 3), (3, 2, 1), (1, 4, 2))
"""n₊, n₋, d."""


# ── all orders of the labels, in fractions ───────────────────────────────────────────────────────


@lru_cache(maxsize=16)
def _orders(plus: int, minus: int, d: int, seed: int) -> tuple[Any, tuple[tuple[Any, Any], ...]]:
    """R² averaged over all labellings, and R² beside the separation for each of them."""
    n, rng = plus + minus, np.random.default_rng((seed, plus, minus, d))
    X = fmpq_mat([[fmpq(x, 8) for x in row] for row in rng.integers(-99, 100, (n, d)).tolist()])
    found = []
    for chosen in itertools.combinations(range(n), plus):
        y = [1 if i in chosen else -1 for i in range(n)]
        found.append(_fitted(X, y))
    return sum((r for r, _ in found), fmpq(0)) / len(found), tuple(found)


def _fitted(X: Any, y: list[int]) -> tuple[Any, Any]:
    """Least squares with an intercept by its normal equations: R², and the scores' separation."""
    n = len(y)
    design = fmpq_mat([[1, *row] for row in X.tolist()])
    labels = fmpq_mat([[value] for value in y])
    weights = (design.transpose() * design).solve(design.transpose() * labels)
    scores = [x[0] for x in (design * weights).tolist()]
    average = fmpq(sum(y), n)
    off = sum(((v - s) ** 2 for v, s in zip(y, scores, strict=True)), fmpq(0))
    total = sum(((v - average) ** 2 for v in y), fmpq(0))
    return 1 - off / total, _separation_of(scores, y)


def _separation_of(scores: list[Any], y: list[int]) -> Any:
    """(Half the difference of class means)² over the variance within the classes."""
    classes = [[s for s, v in zip(scores, y, strict=True) if v == sign] for sign in (1, -1)]
    means = [sum(c, fmpq(0)) / len(c) for c in classes]
    within = [(s - m) ** 2 for c, m in zip(classes, means, strict=True) for s in c]
    return ((means[0] - means[1]) / 2) ** 2 / (sum(within, fmpq(0)) / len(y))


def _every_order(formulas: Formulas, setting: Setting) -> Evidence:
    """The mean of R² over all labellings of generic data, and every separation from its R²."""
    labellings = 0
    for plus, minus, d in SHAPES:
        average, fits = _orders(plus, minus, d, setting.seed)
        n = plus + minus
        claimed = formula(formulas, "explained").subs({leakage.RANK: d, leakage.SAMPLES: n})
        if claimed != number(brute.fraction(average)):
            return Evidence(False, {}, f"{(plus, minus, d)}: E R² is {average}, claimed {claimed}")
        counts = {leakage.SAMPLES: n, leakage.POSITIVE: plus, leakage.NEGATIVE: minus}
        for share, separation in fits[:: 1 + len(fits) // 4]:
            values = {**counts, leakage.EXPLAINED: number(brute.fraction(share))}
            from_share = formula(formulas, "from_explained").subs(values)
            if from_share != number(brute.fraction(separation)):
                return Evidence(False, {}, f"R² = {share}: {separation}, claimed {from_share}")
        labellings += len(fits)
    return Evidence(True, {"residual": 0, "labellings": labellings})


# ── Gaussian classes ─────────────────────────────────────────────────────────────────────────────

DRAWS, COUNTS, DIMENSION, DELTA2 = 30_000, (14, 22), 4, 0.3


@lru_cache(maxsize=2)
def _drawn(seed: int) -> dict[str, Any]:
    """In-sample separations of drawn data sets, without a concept and with one."""
    rng = np.random.default_rng(seed)
    found = {}
    for delta2 in (0.0, DELTA2):
        noise = rng.standard_normal((DRAWS, sum(COUNTS), DIMENSION))
        y = np.repeat([1.0, -1.0], COUNTS)
        shift = np.sqrt(delta2) * y[:, np.newaxis] * np.eye(DIMENSION)[1]
        mixed = (noise + shift) @ rng.standard_normal((DIMENSION, DIMENSION))
        found[f"least_squares {delta2}"] = _separations(mixed, _least_squares(mixed, y))
        isotropic = noise + shift
        difference = isotropic[:, y > 0].mean(axis=1) - isotropic[:, y < 0].mean(axis=1)
        found[f"mean_difference {delta2}"] = _separations(isotropic, difference)
    return found


def _least_squares(X: Any, y: Any) -> Any:
    """Weights by the normal equations, data set by data set."""
    centred = X - X.mean(axis=1, keepdims=True)
    moments = centred.transpose(0, 2, 1) @ (y - y.mean())
    gram = centred.transpose(0, 2, 1) @ centred
    return np.linalg.solve(gram, moments[..., np.newaxis])[..., 0]


def _separations(X: Any, weights: Any) -> Any:
    scores = np.einsum("tnd,td->tn", X, weights)
    up, down = scores[:, : COUNTS[0]], scores[:, COUNTS[0] :]
    within = (up.var(axis=1) * COUNTS[0] + down.var(axis=1) * COUNTS[1]) / sum(COUNTS)
    return ((up.mean(axis=1) - down.mean(axis=1)) / 2) ** 2 / within


def _gaussian(formulas: Formulas, setting: Setting) -> Evidence:
    """Means of in-sample separations, without a concept and with one."""
    drawn = _drawn(int(setting.generator("leakage").integers(2**31)))
    figures: dict[str, int | float | str] = {"data_sets": DRAWS}
    for key, samples in drawn.items():
        name, delta2 = key.split()
        claimed = float(formula(formulas, name).subs(_values(COUNTS, DIMENSION, float(delta2))))
        test = compare_samples(samples, claimed, setting.alpha / len(drawn), BETA)
        if not test.holds:
            return test.evidence(key)
        figures[f"mean {key}"] = test.mean
        figures[f"smallest_discrepancy {key}"] = test.smallest_discrepancy
    return Evidence(True, figures)


def _values(counts: tuple[int, int], d: int, delta2: float) -> dict[sympy.Symbol, Any]:
    return {
        leakage.SAMPLES: sum(counts),
        leakage.POSITIVE: counts[0],
        leakage.NEGATIVE: counts[1],
        leakage.DIMENSION: d,
        leakage.SEPARATION: sympy.Rational(delta2),
    }


def _noncentral_f(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """theory's function against the mean of a noncentral F law, by quadrature over its density."""
    cases = (((9, 11), 3, 0.5), ((30, 10), 7, 0.25), ((12, 12), 5, 0.0))
    for (plus, minus), d, delta2 in cases:
        n, size = plus + minus, 4 * plus * minus / (plus + minus)
        for probe, freedom in (("least_squares", n - d - 1), ("mean_difference", n - 2)):
            reference = n * d / (size * freedom) * _mean_of_f(d, freedom, size * delta2)
            found: Any = formula(formulas, "function")
            value = found(d, (plus, minus), delta2, probe)
            yield f"{probe}, n = {plus} + {minus}, d = {d}, δ² = {delta2}", value, reference


def _mean_of_f(top: int, bottom: int, noncentrality: float) -> float:
    law = stats.ncf(top, bottom, noncentrality) if noncentrality else stats.f(top, bottom)
    above, _ = integrate.quad(law.sf, 0, np.inf, epsabs=1e-12, epsrel=1e-12, limit=400)
    return float(above)


def _isolated(function: Any) -> Any:
    """The truth in the place of what is seen in sample."""
    del function
    return lambda d, counts, separation, probe: separation


def _same_for_both(d: int, counts: tuple[int, int], separation: float, probe: Any) -> float:
    del probe
    return leakage.in_sample_separation(d, counts, separation)


LEAKAGE = Claim(
    id="concepts.leakage",
    title="what probes separate in their own samples",
    statement=(
        r"\mathbb{E}R^2 = \frac{r}{n-1} \text{ over all orders of the labels, all data of rank } "
        r"r;\quad \text{separation in sample} = \frac{n^2}{4n_+n_-}\frac{R^2}{1-R^2};\quad "
        r"\text{Gaussian classes: its mean is } "
        r"\frac{n^2d/4n_+n_- + n\delta^2}{n-d-3} \text{ (least squares), } "
        r"\frac{n^2d/4n_+n_- + n\delta^2}{n-4} \text{ (mean difference, } \Sigma = \sigma^2I)"
    ),
    source="here",
    hypotheses=(EXCHANGEABLE, GAUSSIAN, ISOTROPIC, ENOUGH),
    formulas={
        "explained": leakage.EXPLAINED_MEAN,
        "from_explained": leakage.FROM_EXPLAINED,
        "least_squares": leakage.LEAST_SQUARES_MEAN,
        "mean_difference": leakage.MEAN_DIFFERENCE_MEAN,
        "function": leakage.in_sample_separation,
    },
    legs=(
        Leg("all orders of labels", Kind.EXACT, _every_order, ("explained", "from_explained")),
        derivation_leg(
            "derivation",
            leakage.derive_leakage,
            ("explained", "from_explained", "least_squares", "mean_difference"),
            whole=True,
        ),
        digits_leg("noncentral F", _noncentral_f, ("function",), 7),
        Leg("drawn classes", Kind.SIMULATED, _gaussian, ("least_squares", "mean_difference")),
    ),
    mutants=(
        Mutant("function: the truth", {"function": _isolated(leakage.in_sample_separation)}),
        Mutant("function: both probes alike", {"function": _same_for_both}),
    ),
    notes=(
        "Separations are (half the difference of the scores' class means)² over their variance "
        "within classes, divided by n; with n - 2 they are (n - 2)/n times as large. With n <= d + "
        "1 least squares separates all generic samples, whatever the labels. Scores of a probe in "
        "its own samples therefore tell an aggregator the layer's d/n beside its signal; "
        "out-of-fold scores share no sample with their probe."
    ),
)  # fmt: skip
