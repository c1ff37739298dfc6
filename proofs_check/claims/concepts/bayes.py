"""The AGOP of the Bayes predictor for Gaussian classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import mpmath
import numpy as np
import sympy
from flint import fmpq, fmpq_mat

from theory.concepts import bayes_scale, gaussian_agop, quadratic_logit
from theory.derivation import Derivation

from ...claim import Claim, Evidence, Formulas, Hypothesis, Kind, Leg, Mutant, Setting
from ...legs import Case, derivation_leg, digits_leg
from ...statistics import compare_samples
from ..rationals import differ
from ..shared import BETA, formula, joined
from . import bayes_brute as brute

SAMPLES = 40_000


def _derivation(
    integrand: sympy.Expr,
    small: sympy.Expr,
    second_order: sympy.Expr,
    large: sympy.Expr,
    deficit: sympy.Expr,
    logit_scale: sympy.Expr,
    classes: sympy.Expr,
    quadratic: sympy.Expr,
    trap_cosine: sympy.Expr,
    along: sympy.Expr,
    across: sympy.Expr,
) -> Derivation:
    return joined(
        "the AGOP of Bayes predictors for Gaussian classes",
        quadratic_logit.derive_quadratic_logit(quadratic, along, across),
        gaussian_agop.derive_range(classes, trap_cosine),
        bayes_scale.derive_scale(integrand, small, second_order, large, deficit, logit_scale),
    )


READS = (
    "integrand", "small", "second_order", "large", "deficit", "logit_scale", "classes",
    "quadratic", "trap_cosine", "along", "across",
)  # fmt: skip
LIMITS = ("small", "second_order", "large", "deficit")
NUMBERS = ("logit_scale", "trap_cosine", "along", "across")


def _integrals(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """The claimed one-dimensional integral, by the trapezium rule, against densities' quotients.

    The integrand is analytic in a strip of width π/2δ and falls like e^{−z²/2}: the rule's error
    at the step 1/16 is below e^{−60}.
    """
    context = mpmath.MPContext()
    context.dps = 30
    for separation, prior in brute.CASES:
        delta, pi = sympy.Rational(separation), sympy.Rational(prior)
        values = {bayes_scale.SEPARATION: delta, bayes_scale.LOG_ODDS: sympy.log(pi / (1 - pi))}
        claimed = sympy.sympify(formula(formulas, "integrand")).subs(values)
        at = sympy.lambdify(bayes_scale.STANDARD, claimed, modules=[context, "mpmath"])
        value = context.fsum(at(context.mpf(k) / 16) for k in range(-192, 193)) / 16
        yield f"δ = {delta}, π = {pi}", value, brute.scale(separation, prior)


def _limits(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """The terms of c at 0 and ∞; U without e^{−δ²/2}/δ, and v without 1/δ²."""
    delta, prior = bayes_scale.SEPARATION, "1/5"
    for name, reference in brute.limits(prior).items():
        claimed = sympy.sympify(formula(formulas, name))
        claimed = claimed.subs(bayes_scale.LOG_ODDS, -sympy.log(4))
        if name == "large":
            claimed = (claimed * delta * sympy.exp(delta**2 / 2)).subs(delta, 2 * 10**6)
        if name == "deficit":
            claimed = (claimed * delta**2).subs(delta, 10**6)
        yield f"{name}, π = {prior}", claimed.evalf(25), reference


def _scales(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    for separation, prior in brute.CASES:
        delta, pi = float(sympy.Rational(separation)), float(sympy.Rational(prior))
        value = formula(formulas, "agop_scale")(delta, pi)
        yield f"δ = {delta}, π = {pi}", value, brute.scale(separation, prior)


# ── instances in fractions ───────────────────────────────────────────────────────────────────────


def _word(word: sympy.Basic, letters: Mapping[sympy.Basic, Any]) -> Any:
    """The value of a word in matrices of fractions.

    Raises:
        ValueError: If shapes do not fit, or a matrix has a power that is no whole number.
    """
    if word in letters:
        return letters[word]
    if isinstance(word, sympy.Rational):
        return fmpq(int(word.p), int(word.q))
    if isinstance(word, sympy.transpose):
        return _word(word.args[0], letters).transpose()
    parts = [_word(part, letters) for part in word.args] if not word.is_Pow else []
    if word.is_Pow:
        return _power(_word(word.args[0], letters), word.args[1])
    if word.is_Add and len({isinstance(part, fmpq_mat) for part in parts}) > 1:
        raise ValueError(f"{word} adds a number to a matrix")
    value = parts[0]
    for part in parts[1:]:
        value = value + part if word.is_Add else value * part
    return value


def _power(base: Any, exponent: sympy.Basic) -> Any:
    if not isinstance(exponent, sympy.Integer) or exponent < 1:
        raise ValueError(f"the exponent {exponent} of a word is not a whole number > 0")
    value = base
    for _ in range(int(exponent) - 1):
        value = value * base
    return value


Classes = tuple[tuple[fmpq_mat, fmpq_mat], ...]


@lru_cache(maxsize=8)
def _drawn(d: int, seed: int) -> tuple[Classes, tuple[fmpq_mat, ...], fmpq, fmpq_mat]:
    """Two classes, the inverses of their covariances, a prior, and the logit's AGOP."""
    rng = np.random.default_rng((d, seed))
    classes = (brute.drawn(d, rng), brute.drawn(d, rng))
    precisions = tuple((R * R.transpose()).inv() for _, R in classes)
    pi = fmpq(int(rng.integers(1, 6)), 7)
    return classes, precisions, pi, brute.logit_agop(classes, precisions, pi)


def _quadratic_words(formulas: Formulas, setting: Setting) -> Evidence:
    q = quadratic_logit
    for d in (2, 3):
        ((m, R), (n, Q)), (A, B), pi, reference = _drawn(d, setting.seed)
        S, T = R * R.transpose(), Q * Q.transpose()
        letters = {q.A: A, q.B: B, q.S: S, q.T: T, q.M: m, q.N: n, q.FIRST_PRIOR: pi}
        found = _word(formula(formulas, "quadratic"), letters)
        if found != reference:
            return differ(f"d = {d}", found, reference)
    return Evidence(True, {"residual": 0, "sizes": "2, 3"})


@lru_cache(maxsize=4)
def _point(classes: int, seed: int) -> tuple[dict[sympy.Basic, fmpq_mat], fmpq_mat]:
    """J, M, A at one point in three dimensions, and the posteriors' outer product there."""
    rng, d = np.random.default_rng((classes, seed)), 3
    (x, R), means = brute.drawn(d, rng), [brute.drawn(d, rng)[0] for _ in range(classes)]
    heights = [fmpq(int(k), 5) for k in rng.integers(1, 9, classes)]
    A = (R * R.transpose()).inv()
    p = [h / sum(heights, fmpq(0)) for h in heights]
    J = [[p[i] * (int(i == j) - p[j]) for j in range(classes)] for i in range(classes)]
    M = fmpq_mat([[m[i, 0] for i in range(d)] for m in means])
    word = {gaussian_agop.JACOBIAN: fmpq_mat(J), gaussian_agop.MEANS: M, gaussian_agop.INVERSE: A}
    return word, brute.posterior_outer(means, A, x, heights)


def _class_words(formulas: Formulas, setting: Setting) -> Evidence:
    for classes in (2, 4):
        letters, reference = _point(classes, setting.seed)
        found = _word(formula(formulas, "classes"), letters)
        if found != reference:
            return differ(f"{classes} classes", found, reference)
    return Evidence(True, {"residual": 0, "classes": "2, 4"})


def _numbers(formulas: Formulas, setting: Setting) -> Evidence:
    """The logit's factor, and the examples' cosine and eigenvalues."""
    (mu, R), one = brute.drawn(3, np.random.default_rng(setting.seed)), fmpq(1)
    A = (R * R.transpose()).inv()
    logit = brute.logit_agop(((mu, R), (mu * -one, R)), (A, A), fmpq(2, 7))
    v, cosine = A * mu, formula(formulas, "trap_cosine")
    scale, along, across = (
        _word(formula(formulas, name), {}) for name in ("logit_scale", "along", "across")
    )
    if logit != v * v.transpose() * scale:
        return differ("factor of the logit's AGOP", logit, scale)
    eye, wide = fmpq_mat([[1, 0], [0, 1]]), fmpq_mat([[1, 0], [0, 2]])
    classes = ((fmpq_mat([[1], [0]]), eye), (fmpq_mat([[0], [0]]), wide))
    example = brute.logit_agop(classes, (eye, (wide * wide).inv()), fmpq(1, 2))
    if example != fmpq_mat([[along, 0], [0, across]]):
        return differ("example", example, (along, across))
    mu, w = fmpq_mat([[1], [2]]), fmpq_mat([[1], [fmpq(1, 2)]])
    inner, norms = (mu.transpose() * w)[0, 0], [(x.transpose() * x)[0, 0] for x in (mu, w)]
    if not (wide * wide * w == mu and _word(cosine**2, {}) * norms[0] * norms[1] == inner**2):
        return differ("cosine", cosine, inner)
    return Evidence(bool(cosine > 0), {"residual": 0})


def _ranks(formulas: Formulas, setting: Setting) -> Evidence:
    """With Σ₊ = I, Σ₋ = diag(s², t², 1) and Δ: ranks of the AGOP, from its mean over points.

    D is 0, ±vvᵀ for v ∥ e₁, or of rank two; Δ lies along v, across it, or is 0.
    """
    e1, e2, zero = (fmpq_mat(x) for x in ([[1], [0], [0]], [[0], [1], [0]], [[0], [0], [0]]))
    one = _diagonal(1, 1)
    cases = (
        (1, 1, zero, 0), (1, 1, e2, 1), (2, 1, zero, 1), (2, 1, e1, 1), (fmpq(1, 2), 1, e1, 1),
        (2, 1, e2, 2), (fmpq(1, 2), 1, e2, 2), (2, 3, zero, 2), (2, 3, e1, 2),
    )  # fmt: skip
    for s, t, difference, rank in cases:
        root, space = _diagonal(s, t), formula(formulas, "quadratic_logit_space")
        classes = ((difference, one), (zero, root))
        agop = brute.logit_agop(classes, (one, (root * root).inv()), fmpq(1, 3))
        first = [float(difference[i, 0]) for i in range(3)]
        basis = space(first, [0.0] * 3, np.eye(3), np.diag([float(s) ** 2, float(t) ** 2, 1.0]))
        matrix = np.array([[float(agop[i, j]) for j in range(3)] for i in range(3)])
        outside = np.abs(matrix - basis @ (basis.T @ matrix)).max()
        if not (agop.rank() == rank == basis.shape[1] and outside < 1e-12):
            return differ(f"Σ₋ = diag({s}², {t}², 1), Δ = {first}", agop, basis)
    return Evidence(True, {"cases": len(cases)})


def _diagonal(s: Any, t: Any) -> fmpq_mat:
    return fmpq_mat([[s, 0, 0], [0, t, 0], [0, 0, 1]])


# ── matrices ─────────────────────────────────────────────────────────────────────────────────────


def _matrices(formulas: Formulas, setting: Setting) -> Evidence:
    """AGOPs on a grid in the plane: posterior, logit, quadratic logit, and their ranges."""
    S, other = brute.COVARIANCE, np.array([[0.8, -0.3], [-0.3, 1.1]])
    mu, prior = brute.MEANS[0], 0.3
    pair, priors = (mu, -mu), (prior, 1 - prior)
    checks = {
        "posterior": (
            formula(formulas, "bayes_agop")(mu, S, prior),
            brute.grid_agop(pair, (S, S), priors, "first"),
        ),
        "logit": (
            formula(formulas, "logit_agop")(mu, S),
            brute.grid_agop(pair, (S, S), priors, "logit"),
        ),
        "quadratic logit": (
            formula(formulas, "quadratic_logit_agop")(mu, -mu, S, other, prior),
            brute.grid_agop(pair, (S, other), priors, "logit"),
        ),
    }
    for name, (found, reference) in checks.items():
        if not np.allclose(found, reference, rtol=1e-9, atol=1e-11):
            return differ(name, found, reference)
    return Evidence(True, {"matrices": len(checks)})


def _ranges(formulas: Formulas, setting: Setting) -> Evidence:
    """Rank and projection, for means on a line and in general position."""
    S, space = brute.COVARIANCE, formula(formulas, "discriminant_space")
    line = np.array([[1.0, 2.0], [0.5, 1.0], [-1.0, -2.0]])
    for means, rank in ((line, 1), (brute.MEANS, 2)):
        agop = brute.grid_agop(means, (S,) * 3, (0.2, 0.3, 0.5), "all")
        basis = space(means, S)
        outside = agop - basis @ (basis.T @ agop)
        values = np.linalg.eigvalsh(agop)
        if basis.shape != (2, rank) or np.abs(outside).max() > 1e-10 or values[-rank] < 1e-4:
            return differ(f"rank {rank}", basis, agop)
    singular = formula(formulas, "quadratic_logit_space")([1, 0], [0, 0], S, S)
    direction = np.linalg.solve(S, [1.0, 0.0])
    if (
        singular.shape != (2, 1)
        or abs(singular[0, 0] * direction[1] - singular[1, 0] * direction[0]) > 1e-12
    ):
        return differ("one covariance", singular, direction)
    return _posterior_ranks(space=formula(formulas, "quadratic_logit_space"))


def _posterior_ranks(space: Any) -> Evidence:
    """Unequal covariances, D ∥ e₁e₁ᵀ: the posterior's AGOP for Δ along and across e₁."""
    S, T = np.eye(2), np.diag([4.0, 1.0])
    for difference, rank in (([1.0, 0.0], 1), ([0.0, 1.0], 2)):
        means = (np.array(difference), np.zeros(2))
        agop = brute.grid_agop(means, (S, T), (0.3, 0.7), "first")
        basis = space(*means, S, T)
        values = np.linalg.eigvalsh(agop)
        outside = np.abs(agop - basis @ (basis.T @ agop)).max()
        if basis.shape != (2, rank) or outside > 1e-10 or values[-rank] < 1e-4:
            return differ(f"Δ = {difference}", basis, agop)
    return Evidence(True, {"ranks": "1, 2, 1, 1, 2"})


def _monte_carlo(formulas: Formulas, setting: Setting) -> Evidence:
    """4η²(1−η)² at sampled inputs, bounded by 1/4."""
    rng, delta, pi = setting.generator("inputs"), 0.8, 0.3
    label = np.where(rng.random(SAMPLES) < pi, 1.0, -1.0)
    x = label + rng.standard_normal(SAMPLES) / delta
    first, second = (np.exp(-(delta**2) * (x - s) ** 2 / 2) for s in (1, -1))
    eta = pi * first / (pi * first + (1 - pi) * second)
    claimed = float(formula(formulas, "agop_scale")(delta, pi))
    samples = 4 * (eta * (1 - eta)) ** 2
    return compare_samples(samples, claimed, setting.alpha, BETA).evidence("c at δ = 0.8, π = 0.3")


# ── mutants ──────────────────────────────────────────────────────────────────────────────────────


def _scale_equal_priors(separation: float, prior: float = 0.5) -> float:
    return bayes_scale.agop_scale(separation)


def _scale_of_distance(separation: float, prior: float = 0.5) -> float:
    return bayes_scale.agop_scale(2 * separation, prior)


def _mean_difference(half_difference: Any, covariance: Any, prior: float = 0.5) -> Any:
    mu, S = np.asarray(half_difference), np.asarray(covariance)
    found = gaussian_agop.bayes_agop(mu, S, prior)
    return np.trace(found) * np.outer(mu, mu) / (mu @ mu)


def _logit_half(half_difference: Any, covariance: Any) -> Any:
    return gaussian_agop.logit_agop(half_difference, covariance) / 4


def _swapped(m: Any, n: Any, S: Any, T: Any, prior: float = 0.5) -> Any:
    return quadratic_logit.quadratic_logit_agop(m, n, S, T, 1 - prior)


def _pooled(m: Any, n: Any, S: Any, T: Any, prior: float = 0.5) -> Any:
    pooled = prior * np.asarray(S) + (1 - prior) * np.asarray(T)
    v = np.linalg.solve(pooled, np.asarray(m) - np.asarray(n))
    return np.outer(v, v)


def _span_of_means(means: Any, covariance: Any) -> Any:
    M = np.asarray(means, dtype=float)
    return gaussian_agop.discriminant_space(M, np.eye(M.shape[1]))


def _curved_only(m: Any, n: Any, S: Any, T: Any) -> Any:
    return quadratic_logit.quadratic_logit_space(m, m, S, T)


GAUSSIAN_AGOP = Claim(
    id="concepts.gaussian_agop",
    title="the AGOP of the Bayes predictor for Gaussian classes",
    statement=(
        r"N(m\pm\mu,\Sigma),\ P(+)=\pi,\ \delta^2=\mu^\top\Sigma^{-1}\mu,\ "
        r"\lambda=\log\tfrac{\pi}{1-\pi}:\ "
        r"E\nabla\eta\nabla\eta^\top = c\,\Sigma^{-1}\mu\mu^\top\Sigma^{-1},\ "
        r"c = \tfrac14 e^{-\delta^2/2}\operatorname{sech}\tfrac\lambda2\,"
        r"E\operatorname{sech}^3(\tfrac\lambda2+\delta Z);\ "
        r"c = \tfrac14\operatorname{sech}^4\tfrac\lambda2"
        r"\,(1+\delta^2(4-6\operatorname{sech}^2\tfrac\lambda2)+O(\delta^4));\ "
        r"U(1-v)\le c\le U = \tfrac18\sqrt{\pi/2}\operatorname{sech}\tfrac\lambda2\,"
        r"e^{-\delta^2/2}/\delta\ (\text{the circle's }\pi),\ "
        r"v = (\pi^2/4-2+\lambda^2/4)/(2\delta^2);\ "
        r"E\nabla\ell\nabla\ell^\top = 4\Sigma^{-1}\mu\mu^\top\Sigma^{-1};\ "
        r"C\text{ classes: range } \Sigma^{-1}\mathrm{span}(\mu_i-\mu_j);\ "
        r"\Sigma_+\ne\Sigma_-:\ E\nabla\ell\nabla\ell^\top = D(\pi\Sigma_++(1-\pi)\Sigma_-)D"
        r"+\pi\Sigma_-^{-1}\Delta\Delta^\top\Sigma_-^{-1}"
        r"+(1-\pi)\Sigma_+^{-1}\Delta\Delta^\top\Sigma_+^{-1},\ D=\Sigma_-^{-1}-\Sigma_+^{-1}"
    ),
    source="here",
    hypotheses=(
        Hypothesis("one covariance Σ ≻ 0 of all classes, but for the last formula; priors > 0"),
        Hypothesis("the mean is over the mixture of the classes with the same priors"),
        Hypothesis("δ > 0 in U and v; of C classes ∇p∇pᵀ is summed over the posteriors"),
    ),
    formulas={
        "integrand": bayes_scale.INTEGRAND,
        "small": bayes_scale.SMALL,
        "second_order": bayes_scale.SECOND_ORDER,
        "large": bayes_scale.LARGE,
        "deficit": bayes_scale.DEFICIT,
        "logit_scale": bayes_scale.LOGIT_SCALE,
        "classes": gaussian_agop.AGOP_WORD,
        "quadratic": quadratic_logit.AGOP_WORD,
        "trap_cosine": gaussian_agop.TRAP_COSINE,
        "along": quadratic_logit.EXAMPLE[0],
        "across": quadratic_logit.EXAMPLE[1],
        "agop_scale": bayes_scale.agop_scale,
        "bayes_agop": gaussian_agop.bayes_agop,
        "logit_agop": gaussian_agop.logit_agop,
        "discriminant_space": gaussian_agop.discriminant_space,
        "quadratic_logit_agop": quadratic_logit.quadratic_logit_agop,
        "quadratic_logit_space": quadratic_logit.quadratic_logit_space,
    },
    legs=(
        digits_leg("quotient of densities", _integrals, ("integrand",), 20),
        digits_leg("near and far classes", _limits, LIMITS, 10),
        Leg("quadratic, in fractions", Kind.EXACT, _quadratic_words, ("quadratic",)),
        Leg("C classes, in fractions", Kind.EXACT, _class_words, ("classes",)),
        Leg("numbers, in fractions", Kind.EXACT, _numbers, NUMBERS),
        derivation_leg("all dimensions and priors", _derivation, READS, whole=True),
        digits_leg("evaluated", _scales, ("agop_scale",), 15),
        Leg(
            "grid in the plane", Kind.DIRECT, _matrices,
            ("bayes_agop", "logit_agop", "quadratic_logit_agop"),
        ),
        Leg("ranks of quadratic logits", Kind.DIRECT, _ranks, ("quadratic_logit_space",)),
        Leg("ranges", Kind.DIRECT, _ranges, ("discriminant_space", "quadratic_logit_space")),
        Leg("Monte Carlo", Kind.SIMULATED, _monte_carlo, ("agop_scale",)),
    ),
    mutants=(
        Mutant("c: priors ignored", {"agop_scale": _scale_equal_priors}),
        Mutant("c: δ for the whole distance", {"agop_scale": _scale_of_distance}),
        Mutant("direction μ for Σ⁻¹μ", {"bayes_agop": _mean_difference}),
        Mutant("logit: factor 1", {"logit_agop": _logit_half}),
        Mutant("quadratic: priors swapped", {"quadratic_logit_agop": _swapped}),
        Mutant("quadratic: pooled covariance", {"quadratic_logit_agop": _pooled}),
        Mutant("range: Σ ignored", {"discriminant_space": _span_of_means}),
        Mutant("range: D alone", {"quadratic_logit_space": _curved_only}),
    ),
    notes=(
        "c falls with δ at equal priors, but grows at first where π(1−π) < 1/6. The direction is "
        "Σ⁻¹μ, not the mean difference μ, unless μ is an eigenvector of Σ. With Σ₊ = I, "
        "Σ₋ = diag(1, 4), Δ = (1, 0) and equal priors the logit's AGOP is diag(1, 45/32): its top "
        "eigenvector is orthogonal to the linear discriminant and has AUC ½. With Σ₊ ≠ Σ₋ the "
        "rank is one if and only if D = σvvᵀ and Σ₊⁻¹Δ is a multiple of v, 0 included. Argued "
        "beside the steps, not by them: from the kernel at each x to that of the mean, and that "
        "c falls at equal priors, as both its factors do."
    ),
)  # fmt: skip

CLAIMS = (GAUSSIAN_AGOP,)
