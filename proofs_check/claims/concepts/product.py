"""Product concepts: blind linear probes, the AGOP's range, and how far quadratics are Bayes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import sympy
from flint import arb

from theory.closed_form import ClosedForm
from theory.concepts import (
    product_features,
    product_logistic,
    product_probes,
    product_roc,
    product_scores,
)
from theory.derivation import Derivation

from ...claim import Claim, Evidence, Formulas, Hypothesis, Kind, Leg, Mutant, Setting
from ...legs import Case, derivation_leg, digits_leg
from ...statistics import compare_samples
from ..rationals import differ
from ..shared import BETA, formula, joined
from . import product_brute as brute

MP = brute.MP
SAMPLES = 40_000


def _plain(claimed: Any) -> Any:
    return claimed.expression if isinstance(claimed, ClosedForm) else claimed


def _areas_of(misordered: Any, equal: Any) -> Derivation:
    return product_scores.derive_areas(misordered, _plain(equal))


def _probes_of(error: Any, unfair: Any, infimum: Any) -> Derivation:
    return product_probes.derive_probes(_plain(error), unfair, infimum)


DERIVATIONS: Mapping[str, Callable[..., Derivation]] = {
    "linear probes": _probes_of,
    "the AGOP, model (b)": product_features.derive_features,
    "quadratic detectors": product_scores.derive_scores,
    "the AUC of ST": _areas_of,
    "the ROC curve": product_roc.derive_roc,
    "the AGOP, model (a)": product_logistic.derive_logistic,
}
"""Parts of the statement, so that a mutant meets the steps of its own part only."""

READS = {
    "linear probes": ("probe_error", "unfair", "infimum"),
    "the AGOP, model (b)": ("logit", "posterior", "slope", "square", "odds"),
    "quadratic detectors": ("error",),
    "the AUC of ST": ("misordered", "equal_auc"),
    "the ROC curve": ("roc_slope",),
    "the AGOP, model (a)": ("diagonal", "mixed", "steep"),
}


def _whole(*claimed: Any) -> Derivation:
    given = iter(claimed)
    parts = [DERIVATIONS[name](*(next(given) for _ in reads)) for name, reads in READS.items()]
    return joined("the product concept", *parts)


def _floats(claimed: Any, *symbols: sympy.Symbol) -> Any:
    return sympy.lambdify(symbols, sympy.sympify(claimed), modules=[brute.HYPERBOLIC, "scipy"])


def _function(expression: sympy.Expr, *symbols: sympy.Symbol) -> Any:
    return sympy.lambdify(symbols, expression, modules=[brute.FUNCTIONS, "mpmath"])


# ── linear probes ────────────────────────────────────────────────────────────────────────────────


def _probe_errors(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    claimed = _function(_plain(formula(formulas, "probe_error")), product_probes.STRENGTH)
    for p in (MP.mpf(1) / 3, MP.mpf(1), MP.mpf(3)):
        yield f"p = {p}", claimed(p), brute.threshold_error(p)


def _blind(formulas: Formulas, setting: Setting) -> Evidence:
    """AUC of drawn directions on symmetric grids; of ST, and of shifted classes, it is not ½."""
    rng, worst = setting.generator("directions"), 0.0
    plane = brute.grid([1.0, 0.3], [-0.4, 0.8], brute.COVARIANCE, 120)
    soft = 1 / (1 + np.exp(-2 * plane.x[:, 0] * (plane.x[:, 1] - plane.x[:, 0])))
    inputs = np.exp(-(plane.x * (plane.x @ np.linalg.inv(brute.COVARIANCE))).sum(axis=1) / 2)
    for plus, minus in ((plane.plus, plane.minus), (inputs * soft, inputs * (1 - soft))):
        for _ in range(3):
            found = brute.area(plane.x @ rng.standard_normal(2), plus, minus)
            worst = max(worst, abs(found - 0.5))
        product = brute.area(plane.x[:, 0] * plane.x[:, 1], plus, minus)
        if worst > 1e-9 or abs(product - 0.5) < 0.01:
            return Evidence(False, {"worst": worst, "product": product}, "not ½, or ½ of a product")
    return Evidence(True, {"largest_distance_from_half": worst})


# ── the Bayes predictor and its AGOP ─────────────────────────────────────────────────────────────


def _points(setting: Setting) -> Iterator[tuple[Any, Any, Any, Any, Any]]:
    """S, T, c and the logarithms of the densities of features that are not orthogonal."""
    rng = setting.generator("points")
    for _ in range(3):
        x, first, second = rng.standard_normal((3, 2))
        S = MP.matrix(brute.COVARIANCE.tolist()) ** -1
        one, two, y = (MP.matrix(v.tolist()) for v in (first, second, x))
        values = ((a.T * S * b)[0] for a, b in ((one, y), (two, y), (one, two)))
        logs = brute.class_logarithms(y, one, two, brute.COVARIANCE)
        yield (*values, *logs)


def _densities(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    features = product_features
    names = (features.FIRST, features.SECOND, features.OFFSET)
    logit = _function(formula(formulas, "logit"), *names)
    posterior = _function(formula(formulas, "posterior"), *names[:2])
    odds = _function(formula(formulas, "odds"), features.ACROSS)
    for S, T, c, plus, minus in _points(setting):
        yield f"logit at {S}, {T}", logit(S, T, MP.mpf("0.3") - 2 * c), MP.mpf("0.3") + plus - minus
        balanced = 1 / (1 + MP.exp(minus - plus - odds(c)))
        yield f"η at {S}, {T}", posterior(S, T), balanced


def _coefficients(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """Claimed c(p)τ(q) against the AGOP of features along the axes, Σ = I."""
    symbols = (product_features.STRENGTH, product_features.STANDARD)
    slope, square = (_floats(formula(formulas, name), *symbols) for name in ("slope", "square"))
    z = np.linspace(-12, 12, 801)
    weight = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) * (z[1] - z[0])
    for p, q in ((1.0, 1.0), (0.5, 2.0)):
        claimed = float(np.sum(weight * slope(p, z)) * np.sum(weight * square(q, z)))
        yield f"p, q = {p, q}", claimed, brute.first_coefficient(p, q)


def _gradients(formulas: Formulas, setting: Setting) -> Evidence:
    """AGOP of features orthogonal in Σ⁻¹ and not in the plane, and its range for d = 3."""
    S, first = brute.COVARIANCE, np.array([1.0, 0.5])
    v = np.linalg.solve(S, first)
    second = 0.7 * np.array([-v[1], v[0]])
    found = formula(formulas, "bayes_agop")(first, second, S)
    reference = brute.agop(brute.grid(first, second, S))
    if not np.allclose(found, reference, rtol=1e-8, atol=1e-10):
        return differ("d = 2", found, reference)
    rng = setting.generator("range")
    A = rng.standard_normal((4, 4))
    S = A @ A.T + np.eye(4)
    first, second = rng.standard_normal((2, 4))
    v = np.linalg.solve(S, first)
    second = second - (second @ v) / (first @ v) * first
    found = formula(formulas, "bayes_agop")(first, second, S)
    inside = np.linalg.solve(S, np.column_stack([first, second]))
    basis, _ = np.linalg.qr(inside)
    features, _ = np.linalg.qr(np.column_stack([first, second]))
    outside = float(np.abs(found - basis @ (basis.T @ found)).max() / np.abs(found).max())
    beside = float(np.abs(found - features @ (features.T @ found)).max() / np.abs(found).max())
    rank = int(np.linalg.matrix_rank(found, tol=1e-12 * np.abs(found).max()))
    holds = bool(outside < 1e-12 and beside > 1e-3 and rank == 2)
    return Evidence(holds, {"outside": outside, "outside_of_span_u_w": beside}, f"rank {rank}")


def _soft(formulas: Formulas, setting: Setting) -> Evidence:
    """AGOPs of soft labels; the mixed term is 0 iff uᵀΣw = 0."""
    cases = (
        ([1.0, 0.2], [-0.3, 1.0], brute.COVARIANCE, 1.3),
        ([1.0, 0.0], [0.0, 1.0], np.diag([0.5, 2.0]), 2.0),
    )
    for u, w, S, beta in cases:
        found = formula(formulas, "logistic_agop")(u, w, S, beta)
        reference = brute.soft_agop(u, w, S, beta)
        if not np.allclose(found, reference, rtol=1e-9, atol=1e-11):
            return differ(f"β = {beta}", found, reference)
    return Evidence(True, {"matrices": len(cases)})


def _soft_coefficients(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    logistic = product_logistic
    symbols = (logistic.PRODUCT, logistic.STEEPNESS, logistic.CORRELATION)
    q = np.exp(np.arange(-40.0, 4.2, 0.1))
    for kappa, rho in ((1.5, 0.4), (0.7, -0.6)):
        found = brute.soft_moments(kappa, rho)
        for name, value in (("diagonal", found[0, 0]), ("mixed", found[0, 1])):
            height = _floats(formula(formulas, name), *symbols)
            whole = float(np.sum(q * height(q, kappa, rho)) * 0.1)
            yield f"{name} at κ, ρ = {kappa, rho}", whole, value


# ── errors and areas ─────────────────────────────────────────────────────────────────────────────


def _errors(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    claimed = _function(formula(formulas, "error"), product_scores.P, product_scores.Q)
    for p, q in ((1.0, 1.0), (0.4, 2.5)):
        yield f"p, q = {p, q}", claimed(MP.mpf(p), MP.mpf(q)), brute.quadrant_error(p, q)


def _error_function(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    for p, q in ((1.0, 2.0), (0.7, 0.7)):
        yield f"p, q = {p, q}", formula(formulas, "error_of")(p, q), brute.quadrant_error(p, q)


def _areas(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    scores = product_scores
    height = _floats(formula(formulas, "misordered"), scores.ANGLE, scores.P, scores.Q)
    equal = _function(_plain(formula(formulas, "equal_auc")), scores.P)
    angles = (np.arange(200) + 0.5) * np.pi / 400  # smooth and periodic: the error is invisible
    for p, q in ((1, 1), (1, 2)):
        found = 1 - float(np.mean(height(angles, p, q) + 0 * angles)) * np.pi / 2
        yield f"p, q = {p, q}", found, brute.product_area(p, q)
    yield "p = q = 3/2", equal(MP.mpf(3) / 2), brute.product_area("1.5", "1.5")


def _area_function(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    for p, q in ((0.75, 2.5), (1.5, 1.5)):
        yield f"p, q = {p, q}", formula(formulas, "auc_of")(p, q), brute.product_area(p, q)


@lru_cache(maxsize=8)
def _bounds(claimed: Any, p: float, q: float, thresholds: int) -> Any:
    return claimed(p, q, thresholds)


def _gap(formulas: Formulas, setting: Setting) -> Evidence:
    """AUC(η) − AUC(ST) at p = q = 3/2, in balls."""
    bounds = _bounds(formula(formulas, "bounds"), 1.5, 1.5, 24)
    equal = sympy.N(
        _plain(formula(formulas, "equal_auc")).subs(product_scores.P, sympy.Rational(3, 2)), 30
    )
    quadratic = arb(str(equal), 1e-25)
    lower, upper = arb(bounds.lower) - quadratic, arb(bounds.upper) - quadratic
    holds = bool(lower > arb("0.0021")) and bool(upper < arb("0.0024"))
    figures = {"at_least": float(lower.lower()), "at_most": float(upper.upper())}
    return Evidence(holds, figures, "" if holds else "the gap is not within [0.0021, 0.0024]")


def _ranks(formulas: Formulas, setting: Setting) -> Evidence:
    """The area of the densities' quotient, by sorting a grid, is within the claimed bounds."""
    for p, q, thresholds in ((0.8, 1.6, 12), (1.5, 1.5, 24)):
        plane = brute.grid([p, 0], [0, q], np.eye(2), 250)
        seen = plane.plus + plane.minus > 1e-30
        plus, minus = plane.plus[seen], plane.minus[seen]
        found = brute.area(plus / minus, plus, minus)
        bounds = _bounds(formula(formulas, "bounds"), p, q, thresholds)
        slack = 3e-5  # of the grid
        if not bounds.lower - slack <= found <= bounds.upper + slack:
            return Evidence(False, {"found": found}, f"{bounds} at p, q = {p, q}")
        if not bounds.upper - bounds.lower < 0.3 / thresholds**2:
            return Evidence(False, {"found": found}, f"{bounds} are too wide")
    return Evidence(True, {"cases": 2})


def _monte_carlo(formulas: Formulas, setting: Setting) -> Evidence:
    """Drawn pairs of states, one of each class, with d = 3 and Σ ≠ I: how often ST is in order."""
    rng = setting.generator("pairs")
    S = np.array([[1.0, 0.3, 0.2], [0.3, 0.8, -0.1], [0.2, -0.1, 1.2]])
    first = np.array([0.36, -0.08, 0.16])
    v = np.linalg.solve(S, first)
    second = 3.5 * np.cross(v, [0.3, 1.0, 0.5])
    w, root = np.linalg.solve(S, second), np.linalg.cholesky(S)
    p, q = np.sqrt(first @ v), np.sqrt(second @ w)
    scores = []
    for label in (1, -1):
        sign = rng.choice([-1, 1], size=SAMPLES)
        x = np.outer(sign, first) + np.outer(sign * label, second)
        x = x + rng.standard_normal((SAMPLES, 3)) @ root.T
        scores.append((x @ v) * (x @ w))
    claimed = float(formula(formulas, "auc_of")(float(p), float(q)))
    ordered = (scores[0] > scores[1]).astype(float)
    return compare_samples(ordered, claimed, setting.alpha, BETA).evidence("ordered pairs")


# ── mutants ──────────────────────────────────────────────────────────────────────────────────────


def _features_unwhitened(first: Any, second: Any, covariance: Any) -> Any:
    right = product_features.product_bayes_agop(first, second, covariance)
    S = np.asarray(covariance)
    return S @ right @ S


def _exchanged(first: Any, second: Any, covariance: Any) -> Any:
    p, q = product_features.product_strengths(first, second, covariance)
    one, two = (np.linalg.solve(covariance, x) for x in (first, second))
    scale = product_features.product_scale
    return scale(q, p) * np.outer(one, one) + scale(p, q) * np.outer(two, two)


def _unmixed(u: Any, w: Any, S: Any, slope: float) -> Any:
    u, w, S = (np.asarray(v, dtype=float) for v in (u, w, S))
    one, two = np.sqrt(u @ S @ u), np.sqrt(w @ S @ w)
    D = product_logistic.product_moments(slope * one * two, 0.0)[0]
    return slope**2 / 16 * D * (two**2 * np.outer(u, u) + one**2 * np.outer(w, w))


def _both_wrong(p: float, q: float) -> float:
    one, two = (product_scores.product_error(x, 38.0) for x in (p, q))
    return float(1 - (1 - one) * (1 - two))


def _geometric(p: float, q: float) -> float:
    return float(1 - np.exp(-p * q) / 2)


def _of_product(p: float, q: float, thresholds: int) -> product_roc.AucBounds:
    area = product_scores.product_auc(p, q)
    return product_roc.AucBounds(area - 1e-9, area + 1e-9)


def _higher(p: float, q: float, thresholds: int) -> product_roc.AucBounds:
    right = _bounds(product_roc.bayes_auc_bounds, p, q, thresholds)
    return product_roc.AucBounds(right.lower + 2e-4, right.upper + 2e-4)


NONLINEAR = Claim(
    id="concepts.nonlinear",
    title="a product of two features: linear probes, the AGOP, quadratic detectors",
    statement=(
        r"\text{(a) } x\sim N(0,\Sigma),\ P(y{=}1|x)=\sigma(\beta\,u^\top x\,w^\top x);\ "
        r"\text{(b) } N(\varepsilon au+\varepsilon' bw,\Sigma),\ y=\varepsilon\varepsilon'.\ "
        r"\text{Every linear probe has AUC } \tfrac12;\ \text{least squares, logistic regression "
        r"and mean difference are } 0;\ \text{in (b), linear rules err by more than } \tfrac14.\ "
        r"\text{The AGOP of } \eta \text{ has range } \mathrm{span}(u,w) \text{ in (a), "
        r"} \Sigma^{-1}\mathrm{span}(u,w) \text{ in (b)}.\ "
        r"\text{(a): } u^\top x\,w^\top x \text{ is Bayes for error and ROC};\ "
        r"\text{(b), } S=au^\top\Sigma^{-1}x,\ T=bw^\top\Sigma^{-1}x: "
        r"\operatorname{sign}(ST) \text{ is Bayes iff } \log\tfrac{\pi}{1-\pi}=2ab\,u^\top"
        r"\Sigma^{-1}w;\ \text{no quadratic has the Bayes ROC};\ "
        r"u^\top\Sigma^{-1}w=0:\ \eta=\tfrac12(1+\tanh S\tanh T),\ "
        r"\mathrm{err}=\tfrac12(1-\operatorname{erf}\tfrac p{\sqrt2}\operatorname{erf}\tfrac "
        r"q{\sqrt2}),\ 1-\mathrm{AUC}(ST)=\tfrac1\pi\int_0^{\pi/2}"
        r"e^{-(p^{-2}\sin^2\psi+q^{-2}\cos^2\psi)^{-1}}d\psi"
    ),
    source="here",
    hypotheses=(
        Hypothesis("Σ ≻ 0, u and w linearly independent, a, b, β > 0"),
        Hypothesis("(b): the two signs of a class equally likely; equal priors for errors, AGOP's "
                   "coefficients and the ¼; p² = a²uᵀΣ⁻¹u, q² = b²wᵀΣ⁻¹w"),
    ),
    formulas={
        "probe_error": product_probes.PROBE_ERROR,
        "unfair": product_probes.UNFAIR_AUC,
        "infimum": product_probes.LEAST_PROBE_ERROR,
        "logit": product_features.LOGIT,
        "posterior": product_features.POSTERIOR,
        "slope": product_features.SLOPE,
        "square": product_features.SQUARE,
        "odds": product_features.BALANCED_ODDS,
        "error": product_scores.ERROR,
        "misordered": product_scores.MISORDERED,
        "equal_auc": product_scores.EQUAL_AUC,
        "roc_slope": product_roc.ROC_SLOPE,
        "diagonal": product_logistic.DIAGONAL,
        "mixed": product_logistic.OFF_DIAGONAL,
        "steep": product_logistic.STEEP_LIMIT,
        "bayes_agop": product_features.product_bayes_agop,
        "logistic_agop": product_logistic.product_logistic_agop,
        "error_of": product_scores.product_error,
        "auc_of": product_scores.product_auc,
        "bounds": product_roc.bayes_auc_bounds,
    },
    legs=(
        derivation_leg("all of the statement", _whole, tuple(itertools.chain(*READS.values())),
                       whole=True, on_mutants=False),
        *(derivation_leg(name, DERIVATIONS[name], reads) for name, reads in READS.items()),
        Leg("the gap", Kind.CERTIFIED, _gap, ("equal_auc", "bounds")),
        digits_leg("thresholds", _probe_errors, ("probe_error",), 18),
        Leg("blind directions", Kind.DIRECT, _blind, on_mutants=False),
        digits_leg("four densities", _densities, ("logit", "posterior", "odds"), 18),
        digits_leg("coefficients", _coefficients, ("slope", "square"), 9),
        Leg("gradients", Kind.DIRECT, _gradients, ("bayes_agop",)),
        Leg("soft labels", Kind.DIRECT, _soft, ("logistic_agop",)),
        digits_leg("coefficients of soft labels", _soft_coefficients, ("diagonal", "mixed"), 9),
        digits_leg("quadrants", _errors, ("error",), 12),
        digits_leg("errors", _error_function, ("error_of",), 12),
        digits_leg("characteristic functions", _areas, ("misordered", "equal_auc"), 12),
        digits_leg("areas", _area_function, ("auc_of",), 13),
        Leg("ranks on a grid", Kind.DIRECT, _ranks, ("bounds",)),
        Leg("drawn pairs", Kind.SIMULATED, _monte_carlo, ("auc_of",)),
    ),
    mutants=(
        Mutant("AGOP (b): span(u, w)", {"bayes_agop": _features_unwhitened}),
        Mutant("AGOP (b): coefficients exchanged", {"bayes_agop": _exchanged}),
        Mutant("AGOP (a): correlation ignored", {"logistic_agop": _unmixed}),
        Mutant("error: either sign wrong", {"error_of": _both_wrong}),
        Mutant("AUC: pq for p²", {"auc_of": _geometric}),
        Mutant("bounds: of ST", {"bounds": _of_product}),
        Mutant("bounds: higher by 0.0002", {"bounds": _higher}),
    ),
    refutes=(
        "a quadratic detector is Bayes for every product concept: for four Gaussians at "
        "p = q = 3/2 the Bayes AUC exceeds that of ST by 0.0021 to 0.0024, and no quadratic "
        "attains it; with log prior odds other than 2ab uᵀΣ⁻¹w none is Bayes for the error either"
    ),
    notes=(
        "AUC ½ is not chance accuracy: at p = q the sum of both scores errs by less than ½, down "
        "to ¼. Equal means do not give AUC ½: 2 or -1 (⅓, ⅔) against 0 has ⅓; symmetry about one "
        "centre does. ST and η rank (S, T) = (1, 1) and (3, 0.4) in opposite order. In (a) the "
        "mixed term of the AGOP is 0 iff uᵀΣw = 0, and for sign labels (β = ∞) the AGOP is 0 "
        "almost everywhere, while κD → 8/(3π). AUC(ST) = 1 - ½e^{-p²} at p = q. "
        "In (a) linear rules can err by less than ¼: at β = ∞ and a correlation ρ of the features "
        "the constant errs by ½ - arcsin(ρ)/π. Argued beside the steps, not by them: that in (a) "
        "the posterior grows with the product; by Jensen, from the losses at ±w, that w = 0 is "
        "best; that level sets of a score with the Bayes ROC are those of η, by Neyman–Pearson."
    ),
)  # fmt: skip

CLAIMS = (NONLINEAR,)
