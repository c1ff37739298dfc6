"""The AUC of a direction: the best one, the mean difference, PCA, thresholds, estimates."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import sympy
from flint import fmpq, fmpq_mat
from scipy.special import ndtr

from theory.alignment.bound import CONDITION_NUMBER
from theory.closed_form import ClosedForm
from theory.concepts import auc, estimated, kantorovich, principal, thresholds
from theory.derivation import Derivation

from ...claim import Budget, Claim, Evidence, Formulas, Hypothesis, Kind, Leg, Mutant, Setting
from ...legs import Case, derivation_leg, digits_leg
from ...statistics import compare_samples
from ..shared import BETA, formula, joined
from . import auc_brute as brute

MP = brute.MP


def _number(value: Any) -> sympy.Expr:
    """Many digits, or a fraction, for SymPy."""
    if isinstance(value, fmpq):
        return sympy.Rational(int(value.p), int(value.q))
    return sympy.Float(str(value), 32) if isinstance(value, MP.mpf) else sympy.sympify(value)


def _at(formulas: Formulas, name: str, values: dict[sympy.Symbol, Any]) -> sympy.Expr:
    claimed = formula(formulas, name)
    expression = claimed.expression if isinstance(claimed, ClosedForm) else claimed
    return expression.subs({s: _number(v) for s, v in values.items()}).evalf(25)


# ── areas and thresholds ─────────────────────────────────────────────────────────────────────────


@lru_cache(maxsize=4)
def _projections(seed: int) -> tuple[tuple[fmpq, ...], ...]:
    """vᵀμ > 0, vᵀΣ₊v and vᵀΣ₋v of drawn classes and directions."""
    rng, found = np.random.default_rng(seed), []
    for d in (2, 3, 5):
        (mu, plus), (v, minus) = brute.drawn(d, rng), brute.drawn(d, rng)
        one = fmpq_mat(np.eye(d, dtype=int).tolist())
        found.append(
            (
                abs(brute.form(v, one, mu)) + fmpq(1, 3),
                *(brute.form(v, S, v) for S in (plus, minus)),
            )
        )
    return tuple(found)


def _areas(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """Φ(√2 r) against ∫ f₋(s) P(s₊ > s) ds, with unequal covariances."""
    for a, p, q in _projections(setting.seed):
        values = {
            auc.PROJECTION: a,
            auc.POSITIVE_VARIANCE: p,
            auc.NEGATIVE_VARIANCE: q,
        }
        r = _at(formulas, "separation", values)
        mean, variances = brute.high(a), (brute.high(p), brute.high(q))
        reference = brute.area(mean, -mean, *variances)
        yield f"a, p, q = {a, p, q}", _at(formulas, "auc", {auc.SEPARATION: r}), reference


def _losses(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    for eta in (fmpq(1, 5), fmpq(4, 5), fmpq(99, 100)):
        found = _at(formulas, "worst", {auc.LOSS_FACTOR: eta})
        yield f"η = {eta}", found, brute.worst_gap(brute.high(eta))


def _thresholds(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """The claimed threshold and error against a root of the error's slope."""
    for a, s, prior in (
        (fmpq(1), fmpq(3, 2), fmpq(1, 3)),
        (fmpq(2), fmpq(1), fmpq(4, 5)),
        (fmpq(3, 2), fmpq(2), fmpq(9, 20)),
    ):
        t, error = brute.best_threshold(*(brute.high(x) for x in (a, s, prior)))
        values = {thresholds.PROJECTION: a, thresholds.SPREAD: s, principal.PRIOR: prior}
        yield f"threshold, {a, s, prior}", _at(formulas, "threshold", values), t
        values = {auc.SEPARATION: a / s, principal.PRIOR: prior}
        yield f"error, {a, s, prior}", _at(formulas, "error", values), error


# ── the best direction and the mean difference ───────────────────────────────────────────────────


def _word(word: sympy.Expr, letters: dict[str, fmpq_mat]) -> fmpq_mat:
    """A product of matrices, times a fraction."""
    scalars, factors = word.args_cnc()
    product = letters[str(factors[0])]
    for factor in factors[1:]:
        product = product * letters[str(factor)]
    scale = sympy.prod(scalars, start=sympy.Integer(1))
    return product * fmpq(int(scale.p), int(scale.q))


def _best(formulas: Formulas, setting: Setting) -> Evidence:
    """In fractions: the claimed direction has vᵀμ > 0 and r² = δ², and no other as much."""
    rng, cases = setting.generator("best"), 0
    for d in (2, 3, 4) * 3:
        mu, sigma = brute.drawn(d, rng)
        v = _word(formula(formulas, "best"), {"R": sigma.inv(), "mu": mu})
        one = fmpq_mat(np.eye(d, dtype=int).tolist())
        best = brute.form(mu, sigma.inv(), mu)
        along, spread = brute.form(v, one, mu), brute.form(v, sigma, v)
        if not (along > 0 and along**2 == best * spread):
            return Evidence(False, {"cases": cases}, f"d = {d}: r² is {along**2 / spread}")
        other = brute.drawn(d, rng)[0]
        if not brute.form(other, one, mu) ** 2 < best * brute.form(other, sigma, other):
            return Evidence(False, {"cases": cases}, f"d = {d}: another direction is as good")
        cases += 1
    return Evidence(True, {"residual": 0, "cases": cases})


def _quotients(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """The two ends at u = (1, 1), turned by a rational rotation, in a third dimension as well."""
    rotation = fmpq_mat([[1, 2, 2], [2, 1, -2], [2, -2, 1]]) / 3
    for kappa in (fmpq(4), fmpq(81, 16), fmpq(1000)):
        root = fmpq(kappa.p, kappa.q)
        values = fmpq_mat([[kappa, 0, 0], [0, 1, 0], [0, 0, (root + 1) / 2]])
        S = rotation * values * rotation.transpose()
        u = rotation * fmpq_mat([[1], [1], [0]])
        one = fmpq_mat(np.eye(3, dtype=int).tolist())
        norm = brute.form(u, one, u)
        quotient = brute.form(u, S, u) * brute.form(u, S.inv(), u) / norm**2
        at = {CONDITION_NUMBER: kappa}
        yield f"price, κ = {kappa}", _at(formulas, "price", at), _number(quotient)
        efficiency = 1 / MP.sqrt(brute.high(quotient))
        yield f"efficiency, κ = {kappa}", _at(formulas, "efficiency", at), efficiency


def _never_below(formulas: Formulas, setting: Setting) -> Evidence:
    """η² of mean differences, in fractions, over 4κ/(1 + κ)² of known eigenvalues."""
    rng, least = setting.generator("efficiencies"), np.inf
    for d in (2, 3, 6) * 8:
        values = np.sort(rng.integers(1, 40, d))
        values[-1] = values[0] + 1 + values[-1]
        weights = rng.integers(1, 9, d)
        norm, up = int(weights.sum()), int(weights @ values)
        down = sum((fmpq(int(w), int(s)) for w, s in zip(weights, values, strict=True)), fmpq(0))
        squared = brute.high(fmpq(norm**2) / (up * down))
        kappa = fmpq(int(values[-1]), int(values[0]))
        claimed = _at(formulas, "efficiency", {CONDITION_NUMBER: kappa})
        slack = float(MP.sqrt(squared) / MP.mpf(str(claimed)) - 1)
        least = min(least, slack)
        if not slack > -1e-20:
            return Evidence(False, {"least_slack": least}, f"κ = {kappa}: below by {-slack}")
    return Evidence(True, {"least_slack": least, "cases": 24})


# ── PCA ──────────────────────────────────────────────────────────────────────────────────────────

MU, CONTENT, NOISE = (2, -1, 1), ((3, 1, 0), (0, 2, 2)), ((1, 0, 1), (2, -1, 0), (0, 1, 3))


@lru_cache(maxsize=4)
def _law(share: fmpq) -> tuple[fmpq_mat, fmpq_mat]:
    return brute.moments_of_law(MU, CONTENT, NOISE, share)


def _second_moments(formulas: Formulas, setting: Setting) -> Evidence:
    """States and pairs of a finite law, outcome by outcome: Σ + aμμᵀ and 2(E + aμμᵀ)."""
    mu = fmpq_mat([[x] for x in MU])
    outer, E = mu * mu.transpose(), brute.covariance_of(NOISE)
    for share in (fmpq(1, 3), fmpq(1, 2)):
        states, pairs = _law(share)
        a = formula(formulas, "states").subs(principal.PRIOR, _number(share))
        b = sympy.sympify(formula(formulas, "pairs"))
        claimed = E + brute.covariance_of(CONTENT) + outer * fmpq(int(a.p), int(a.q))
        if claimed != states:
            return Evidence(False, {"share": str(share)}, f"states: a = {a}")
        if (E + outer * fmpq(int(b.p), int(b.q))) * 2 != pairs:
            return Evidence(False, {"share": str(share)}, f"pairs: a = {b}")
    return Evidence(True, {"residual": 0, "cases": 4})


@lru_cache(maxsize=4)
def _principal_cases(seed: int) -> tuple[tuple[fmpq, tuple[Any, Any, Any]], ...]:
    rng = np.random.default_rng(seed)
    weights = (fmpq(2), fmpq(8, 9), fmpq(1, 5))
    return tuple(
        (a, brute.principal_case(d, a, rng)) for d, a in zip((2, 3, 4), weights, strict=True)
    )


def _separations(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """r of the top eigenvector of Σ + aμμᵀ, found without the secular equation."""
    for a, (theta, second, reference) in _principal_cases(setting.seed):
        values = {principal.WEIGHT: a, principal.ROOT: theta, principal.SECOND_MOMENT: second}
        yield f"a = {a}", _at(formulas, "pca_separation", values), reference


def _slopes(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """d r²/dθ of (θ − Σ)⁻¹μ by numerical differentiation, Σ diagonal."""
    spectrum, w = (1, 2, 5), (3, 1, 2)

    def resolvent(theta: Any, k: int) -> Any:
        return MP.fsum(x / (theta - s) ** k for x, s in zip(w, spectrum, strict=True))

    def square(theta: Any) -> Any:
        spread = MP.fsum(x * s / (theta - s) ** 2 for x, s in zip(w, spectrum, strict=True))
        return resolvent(theta, 1) ** 2 / spread

    for theta in (MP.mpf("5.5"), MP.mpf(7), MP.mpf(20)):
        values = {s: resolvent(theta, k + 1) for k, s in enumerate(principal.RESOLVENTS)}
        found = _at(formulas, "slope", {principal.ROOT: theta, **values})
        yield f"θ = {theta}", found, MP.diff(square, theta)


def _thresholds_of_pca(formulas: Formulas, setting: Setting) -> Evidence:
    """μ an eigenvector: just below the claimed |μ|² the top one is across it, above along it."""
    rotation = np.array([[2.0, -1.0, 2.0], [2.0, 2.0, -1.0], [-1.0, 2.0, 2.0]]) / 3
    for top, own, a in ((5, 1, 2), (7, 3, fmpq(8, 9)), (2, 1, fmpq(1, 4))):
        values = {principal.TOP: top, principal.OWN: own, principal.WEIGHT: a}
        norm = float(_at(formulas, "least_norm", values))
        S = (rotation * np.array([own, top, own / 2])) @ rotation.T
        weight = int(fmpq(a).p) / int(fmpq(a).q)
        for factor, expected in ((1 - 1e-9, 0.0), (1 + 1e-9, 1.0)):
            mu = rotation[:, 0] * np.sqrt(factor * norm)
            v = np.linalg.eigh(S + weight * np.outer(mu, mu))[1][:, -1]
            if abs(abs(v @ rotation[:, 0]) - expected) > 1e-4:
                return Evidence(False, {"factor": factor}, f"s₁, s, a = {top, own, a}")
    return Evidence(True, {"relative_distance": 1e-9, "cases": 6})


def _directions(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """`principal_direction` against the eigenvectors of the matrix; and who is missed."""
    rng = setting.generator("directions")
    for d, a in ((2, 2.0), (5, 0.75), (40, 2.0)):
        A, B, mu = (rng.standard_normal(shape) for shape in ((d, d), (d, d), d))
        sigma, E = A @ A.T + B @ B.T, B @ B.T
        for name, S in (("Σ", None), ("E", E)):
            found = formula(formulas, "principal")(mu, sigma, a, pair_covariance=S)
            values, vectors = np.linalg.eigh((sigma if S is None else S) + a * np.outer(mu, mu))
            v = vectors[:, -1]
            r = abs(v @ mu) / np.sqrt(v @ sigma @ v)
            yield f"θ, {name}, d = {d}", found.eigenvalue, float(values[-1])
            yield f"AUC, {name}, d = {d}", found.auc, brute.phi(MP.sqrt(2) * MP.mpf(float(r)))
    for delta in (0.5, 3.0):
        missed = np.diag([1.0, 1.9 + 2 * delta**2]), np.diag([1.0, 1.1 + 2 * delta**2])
        for sigma in missed:
            found = formula(formulas, "principal")([delta, 0.0], sigma, 2.0)
            yield f"δ = {delta}: missed", found.auc, 0.5


def _ranking(formulas: Formulas, setting: Setting) -> Evidence:
    """PCA of states < of pairs < mean difference < Σ⁻¹μ in generic classes."""
    rng, least = setting.generator("ranking"), np.inf
    principal_direction = formula(formulas, "principal")
    for d in (2, 3, 8) * 6:
        A, mu = rng.standard_normal((d, d)), rng.standard_normal(d)
        sigma = A @ A.T + 0.1 * np.eye(d)
        pca = [principal_direction(mu, sigma, a).direction for a in (0.75, 1.0, 2.0)]
        ladder = [*pca, mu, np.linalg.solve(sigma, mu)]
        r = np.array([v @ mu / np.sqrt(v @ sigma @ v) for v in ladder])
        least = min(least, float(np.diff(r).min() / r[-1]))
    holds = bool(least > 0)
    figures = {"least_relative_gap": least, "cases": 18}
    return Evidence(holds, figures, "" if holds else "the separations are not in this order")


def _sharing(formulas: Formulas, setting: Setting) -> Evidence:
    """Pairs that share content: better than the mean difference, or worse than other pairs."""
    mu, E = np.ones(2), np.diag([2.0, 1.0])
    found = {}
    for content in (10.0, 1.0):
        sigma = E + np.diag([0.0, content])
        shared = formula(formulas, "principal")(mu, sigma, 2.0, pair_covariance=E)
        free = formula(formulas, "principal")(mu, sigma, 2.0)
        own = float(brute.phi(MP.sqrt(2) * MP.mpf(mu @ mu / np.sqrt(mu @ sigma @ mu))))
        found[content] = shared.auc, free.auc, own
    better = found[10.0][0] - found[10.0][2]
    worse = found[1.0][1] - found[1.0][0]
    holds = bool(better > 1e-3 and worse > 1e-3)
    return Evidence(holds, {"better_by": better, "worse_by": worse}, "" if holds else str(found))


def _blind(mu: Any, sigma: Any, a: float, *, pair_covariance: Any = None) -> Any:
    """PCA without the concept's own term, as of centred differences."""
    return principal.principal_direction(mu, sigma, 1e-9, pair_covariance=pair_covariance)


def _reversed(mu: Any, sigma: Any, a: float, *, pair_covariance: Any = None) -> Any:
    return principal.principal_direction(mu, sigma, 1 / a, pair_covariance=pair_covariance)


def _always_shared(mu: Any, sigma: Any, a: float, *, pair_covariance: Any = None) -> Any:
    return principal.principal_direction(mu, sigma, a)


# ── functions of moments ─────────────────────────────────────────────────────────────────────────


def _accuracies(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """`predicted_accuracy` against the least error on a fine net of thresholds."""
    rng = setting.generator("accuracies")
    for d, prior in ((2, 0.5), (3, 0.8), (4, 0.3)):
        A, B, mu, v = (rng.standard_normal(s) for s in ((d, d), (d, d), d, d))
        v = v * np.sign(v @ mu)
        plus, minus = A @ A.T, B @ B.T
        a, p, q = v @ mu, np.sqrt(v @ plus @ v), np.sqrt(v @ minus @ v)
        t = np.linspace(-a - 9 * (p + q), a + 9 * (p + q), 400001)
        errors = prior * ndtr((t - a) / p) + (1 - prior) * ndtr((-a - t) / q)
        found = formula(formulas, "accuracy")(v, mu, plus, minus, prior=prior)
        yield f"d = {d}, π = {prior}", found, 1 - float(errors.min())


def _linear_accuracy(v: Any, mu: Any, plus: Any, minus: Any, *, prior: float) -> float:
    return thresholds.predicted_accuracy(v, mu, (plus + minus) / 2, prior=prior)


def _balanced_accuracy(v: Any, mu: Any, plus: Any, minus: Any, *, prior: float) -> float:
    return thresholds.predicted_accuracy(v, mu, plus, minus)


# ── estimates ────────────────────────────────────────────────────────────────────────────────────

ESTIMATES = ((1.0, 3, 4, 12), (0.5, 20, 10, 10), (1.5, 5, 1, 2))
"""δ, d, n₊, n₋."""


def _expected(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """P(A > B) with the claimed noncentralities against the mean over estimates."""
    for delta, d, n, m in ESTIMATES:
        noise = _at(formulas, "noise", {estimated.POSITIVE_COUNT: n, estimated.NEGATIVE_COUNT: m})
        values = {estimated.STRENGTH: sympy.Rational(delta), estimated.NOISE: sympy.sqrt(noise)}
        upper, lower = (float(_at(formulas, name, values)) for name in ("upper", "lower"))
        reference = brute.mean_area(delta, d, float(np.sqrt((1 / n + 1 / m) / 4)))
        yield f"δ, d, n = {delta, d, n, m}", brute.exceeds(d, upper, lower), reference


def _expected_function(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    for delta, d, n, m in (*ESTIMATES, (0.0, 3, 2, 2)):
        tau = float(np.sqrt((1 / n + 1 / m) / 4))
        yield (
            f"{delta, d, n, m}",
            formula(formulas, "expected")(delta, d, n, m),
            brute.mean_area(delta, d, tau),
        )


def _limits(formulas: Formulas, setting: Setting) -> Evidence:
    """The exact mean at d = 10⁵ lies within 2/d of Φ(√2 r) for the claimed r."""
    worst = 0.0
    for delta, load in ((1.0, 0.5), (0.7, 2.0)):
        d = 10**5
        tau = float(np.sqrt(load / d))
        exact = brute.mean_area(delta, d, tau)
        values = {
            estimated.STRENGTH: sympy.Rational(str(delta)),
            estimated.LOAD: sympy.Rational(load),
        }
        claimed = float(brute.phi(MP.sqrt(2) * MP.mpf(str(_at(formulas, "limit", values)))))
        worst = max(worst, abs(claimed - exact) * d)
    holds = bool(worst < 2)
    return Evidence(holds, {"largest_gap_times_d": worst}, "" if holds else "another limit")


def _unbalanced(delta: float, d: int, n: int, m: int) -> float:
    return estimated.expected_auc(delta, d, min(n, m), min(n, m)) + 1e-4


def _one_dimension_less(delta: float, d: int, n: int, m: int) -> float:
    return estimated.expected_auc(delta, d - 1, n, m)


def _samples(formulas: Formulas, setting: Setting) -> Evidence:
    """Classes, their sample means, and one fresh pair for each: how often it is in order."""
    rng, trials, d, n, m = setting.generator("samples"), 200_000, 6, 3, 5
    mu = np.full(d, 0.4)
    plus = mu + rng.standard_normal((trials, d)) / np.sqrt(n)
    minus = -mu + rng.standard_normal((trials, d)) / np.sqrt(m)
    gap = 2 * mu + rng.standard_normal((trials, d)) - rng.standard_normal((trials, d))
    ordered = ((plus - minus) * gap).sum(axis=1) > 0
    claimed = formula(formulas, "expected")(float(np.linalg.norm(mu)), d, n, m)
    return compare_samples(ordered.astype(float), claimed, setting.alpha, BETA).evidence()


# ── the claim ────────────────────────────────────────────────────────────────────────────────────

NAMES = {
    "area": ("auc", "separation", "best", "worst"),
    "bounds": ("efficiency", "price"),
    "pca": ("states", "pairs", "least_norm", "pca_separation", "slope"),
    "thresholds": ("threshold", "error"),
    "estimates": ("noise", "upper", "lower", "limit"),
}


def _derivation(*given: Any) -> Derivation:
    parts = [x.expression if isinstance(x, ClosedForm) else x for x in given]
    return joined(
        "AUC, the best direction, the mean difference, PCA, thresholds, estimates",
        auc.derive_auc(*parts[:4]),
        kantorovich.derive_kantorovich(*parts[4:6]),
        principal.derive_principal(*parts[6:11]),
        thresholds.derive_threshold(*parts[11:13]),
        estimated.derive_estimated(*parts[13:17]),
    )


AUC = Claim(
    id="concepts.auc",
    title="the AUC of a direction",
    statement=(
        r"\mathrm{AUC}(v) = \Phi(\sqrt2\,r),\ r = \frac{v^\top\mu}{\sqrt{v^\top\Sigma v}},\ "
        r"\Sigma = \tfrac12(\Sigma_+ + \Sigma_-);\quad "
        r"r \le \delta = \sqrt{\mu^\top\Sigma^{-1}\mu}, "
        r"\text{ with equality exactly along } \Sigma^{-1}\mu;\quad "
        r"r(\mu) \ge \frac{2\sqrt\kappa}{1+\kappa}\,\delta, \text{ sharp};\quad "
        r"\text{PCA of } S + a\mu\mu^\top \text{ has AUC } \tfrac12 \text{ iff } \mu \perp E_1(S), "
        r"\ a\,\mu^\top(s_1 - S)^+\mu < 1, \text{ else } v = (\theta - S)^{-1}\mu,\ "
        r"a\,\mu^\top(\theta - S)^{-1}\mu = 1"
    ),
    source="here",
    hypotheses=(
        Hypothesis("x | y = ±1 ~ N(m ± μ, Σ_±), μ ≠ 0, Σ = (Σ₊ + Σ₋)/2 ≻ 0"),
        Hypothesis("for κ and PCA: Σ₊ = Σ₋; κ the condition number of Σ"),
        Hypothesis("PCA: states S = Σ, a = 4π(1 - π); uncentred differences of pairs S = Σ, a = 2; "
                   "of pairs that share their content S = E, a = 2; no tie of eigenvalues"),
        Hypothesis("estimates: Σ = σ²I"),
    ),
    formulas={
        "auc": auc.AUC,
        "separation": auc.PROJECTED_SEPARATION,
        "best": auc.BEST,
        "worst": auc.WORST_SEPARATION,
        "efficiency": kantorovich.EFFICIENCY,
        "price": kantorovich.PRICE,
        "states": principal.STATES_WEIGHT,
        "pairs": principal.PAIRS_WEIGHT,
        "least_norm": principal.LEAST_NORM,
        "pca_separation": principal.PRINCIPAL_SEPARATION,
        "slope": principal.SEPARATION_SLOPE,
        "threshold": thresholds.THRESHOLD,
        "error": thresholds.ERROR,
        "noise": estimated.SQUARED_NOISE,
        "upper": estimated.UPPER_NONCENTRALITY,
        "lower": estimated.LOWER_NONCENTRALITY,
        "limit": estimated.LIMIT_SEPARATION,
        "principal": principal.principal_direction,
        "accuracy": thresholds.predicted_accuracy,
        "expected": estimated.expected_auc,
    },
    legs=(
        derivation_leg(
            "all sizes", _derivation, tuple(x for part in NAMES.values() for x in part), whole=True
        ),
        digits_leg("areas", _areas, ("auc", "separation"), 20),
        digits_leg("losses", _losses, ("worst",), 20),
        digits_leg("thresholds", _thresholds, ("threshold", "error"), 20),
        Leg("best direction", Kind.DIRECT, _best, ("best",)),
        digits_leg("ends", _quotients, ("efficiency", "price"), 20),
        Leg("mean differences", Kind.DIRECT, _never_below, ("efficiency",)),
        Leg("second moments", Kind.DIRECT, _second_moments, ("states", "pairs")),
        digits_leg("separations of PCA", _separations, ("pca_separation",), 20),
        digits_leg("slopes", _slopes, ("slope",), 12),
        Leg("where PCA turns", Kind.DIRECT, _thresholds_of_pca, ("least_norm",)),
        digits_leg("directions of PCA", _directions, ("principal",), 11),
        Leg("ranking", Kind.DIRECT, _ranking, ("principal",)),
        Leg("shared content", Kind.DIRECT, _sharing, ("principal",)),
        digits_leg("accuracies", _accuracies, ("accuracy",), 8),
        digits_leg("estimates", _expected, ("noise", "upper", "lower"), 7),
        Leg("limit of estimates", Kind.DIRECT, _limits, ("limit",)),
        digits_leg("means of estimates", _expected_function, ("expected",), 7),
        Leg("samples", Kind.SIMULATED, _samples, ("expected",), budget=Budget.FAST),
    ),
    mutants=(
        Mutant("principal: differences centred", {"principal": _blind}),
        Mutant("principal: weight 1/a", {"principal": _reversed}),
        Mutant("principal: content never cancels", {"principal": _always_shared}),
        Mutant("accuracy: covariances averaged", {"accuracy": _linear_accuracy}),
        Mutant("accuracy: priors ignored", {"accuracy": _balanced_accuracy}),
        Mutant("expected: the smaller sample counts", {"expected": _unbalanced}),
        Mutant("expected: one dimension less", {"expected": _one_dimension_less}),
        Mutant("best: the mean difference", {"best": auc.BEST.args[1]}),
    ),
    notes=(
        "The factor 2√κ/(1 + κ) is one of separations. For areas it gives AUC(μ) ≥ Φ(ηΦ⁻¹(AUC*)), "
        "sharp, and AUC(μ) - ½ ≥ η(AUC* - ½); 1 - AUC has no such factor. At a given η the "
        "largest AUC* - AUC is at δ² = log(1/η)/(1 - η²). PCA of states ≤ PCA of pairs ≤ mean "
        "difference ≤ Σ⁻¹μ; pairs that share content can be on either side of the others."
    ),
)  # fmt: skip

CLAIMS = (AUC,)
