r"""What linear probes make of a product concept: AUC ½, the zero vector, errors between ¼ and ½.

Two models of a concept that is the product of two features u and w, linearly independent:

(a) x ~ N(0, Σ) and P(y = 1 | x) = σ(β·uᵀx·wᵀx), or, in the limit β = ∞, y = [uᵀx·wᵀx > 0];
(b) four Gaussians N(±au ± bw, Σ), y = the product of the two signs, both signs of a class alike.

- Both classes are symmetric about 0. Two laws symmetric about one centre have the AUC ½ in every
  direction (ties count half). Equal means are not enough for that: 2 and −1 with the probabilities
  ⅓ and ⅔ against 0 have the AUC ⅓.
- The AUC ½ is not chance accuracy. In (b) with equal priors and p = q (p² = a²uᵀΣ⁻¹u and q² =
  b²wᵀΣ⁻¹w, uᵀΣ⁻¹w = 0) the rule uᵀΣ⁻¹x/p + wᵀΣ⁻¹x/p > p, up to the scale of the features, has the
  error ½ − (3 erf(p/2) − erf(3p/2))/8, from ½ down to ¼. No linear rule of any direction and
  threshold has an error of ¼ or less there, whatever p, q and uᵀΣ⁻¹w. In (a) some have: at β = ∞
  the constant errs by ½ − arcsin(ρ)/π, ρ the correlation of the features.
- The population solutions (w, w₀) of least squares and logistic regression, with intercept, are
  w = 0, and the difference of the means is 0: by x → −x and Jensen w = 0 is at least as good as
  any w for every convex loss ℓ(y(wᵀx + w₀)), and better for these two if Cov x ≻ 0.
"""

from __future__ import annotations

from functools import partial

import sympy

from ..closed_form import ClosedForm
from ..derivation import Derivation, Step, first_nonzero

STRENGTH = sympy.Symbol("p", positive=True)

PROBE_ERROR = ClosedForm(
    "concepts.product.probe_error",
    sympy.Rational(1, 2) - (3 * sympy.erf(STRENGTH / 2) - sympy.erf(3 * STRENGTH / 2)) / 8,
    STRENGTH,
    (sympy.Integer(0), sympy.oo),
)
"""Error of the sum of the two scores at the threshold midway between two of the means, p = q."""

UNFAIR_AUC = sympy.Rational(1, 3)
"""AUC of 2 or −1, with probabilities ⅓ and ⅔, against 0: the means are equal."""

LEAST_PROBE_ERROR = sympy.Rational(1, 4)
"""The infimum of errors of linear rules, equal priors; no rule attains it."""

# --- derivation -------------------------------------------------------------------------------


def normal_cdf(x: sympy.Expr) -> sympy.Expr:
    """Φ(x)."""
    return (1 + sympy.erf(x / sympy.sqrt(2))) / 2


def seen_apart(*gaps: sympy.Expr) -> sympy.Expr:
    """Return the first gap that is not 0 to 15 digits at one generic point, else 0.

    It proves nothing of gaps that vanish, and spares those that do not a symbolic search.
    """
    for gap in gaps:
        letters = sorted(gap.free_symbols, key=str)
        point = {x: sympy.Rational(2 * k + 3, 5 * k + 7) for k, x in enumerate(letters)}
        value = gap.subs(point).evalf(25)
        if not (value.is_number and abs(value) < 1e-15):
            return value
    return sympy.Integer(0)


def _symmetric_residual() -> sympy.Expr:
    """s₊ − s₋ has a real characteristic function: its law is symmetric, so P(> 0) = P(< 0)."""
    t, m, plus, minus = sympy.symbols("t m C_+ C_-", real=True)
    upper = sympy.exp(sympy.I * t * m) * plus  # C = E cos(t(s − m)); the sines vanish
    lower = sympy.exp(-sympy.I * t * m) * minus
    product = sympy.simplify(upper * lower)
    return sympy.simplify(product - sympy.conjugate(product))


def _models_residual() -> sympy.Expr:
    """x → −x turns S and T round: the mixture weights of the two classes, and σ(βst), stay."""
    S, T, beta = sympy.symbols("S T beta", real=True)
    turned = {S: -S, T: -T}
    weights = [
        sympy.exp(S + T) + sympy.exp(-S - T),
        sympy.exp(S - T) + sympy.exp(T - S),
        1 / (1 + sympy.exp(-beta * S * T)),
    ]
    return first_nonzero(*(sympy.expand(w - w.subs(turned, simultaneous=True)) for w in weights))


def _unfair_residual(claimed: sympy.Expr) -> sympy.Expr:
    law = {sympy.Integer(2): sympy.Rational(1, 3), sympy.Integer(-1): sympy.Rational(2, 3)}
    mean = sum(x * share for x, share in law.items())
    area = sum(share * (1 + sympy.sign(x)) / 2 for x, share in law.items())
    return first_nonzero(mean, area - claimed)


def _error(threshold: sympy.Expr, plus: sympy.Expr, minus: sympy.Expr) -> sympy.Expr:
    """Error of "+ beyond the threshold": unit variance, class means ±plus and ±minus."""
    missed = sum(normal_cdf(threshold - s * plus) for s in (1, -1)) / 2
    false = sum(1 - normal_cdf(threshold - s * minus) for s in (1, -1)) / 2
    return (missed + false) / 2


def _probe_residual(claimed: sympy.Expr) -> sympy.Expr:
    """X + Y over √2, X and Y ~ N(±p, 1): the means are ±√2p (class +) and 0; threshold p/√2."""
    p = STRENGTH
    found = _error(p / sympy.sqrt(2), sympy.sqrt(2) * p, sympy.Integer(0))
    return sympy.expand(found - claimed)


def _infimum_residual(infimum: sympy.Expr) -> sympy.Expr:
    """4 err = [Φ(θ + μ₊) + Φ(μ₋ − θ)] + [Φ(θ − μ₊) + Φ(−θ − μ₋)], μ± >= 0.

    Φ grows, so that for either sign of θ one bracket is, with μ = 0, Φ(θ) + Φ(−θ) = 1 or more and
    the other positive: err > ¼. Along μ₋ = 0, θ = μ₊/2 → ∞ the error tends to ¼. Rules of the other
    sense have the classes exchanged.
    """
    t, mu, nu = sympy.symbols("theta mu nu", positive=True)
    cdf = normal_cdf
    first = cdf(t + mu) + cdf(nu - t)
    second = cdf(t - mu) + cdf(-t - nu)
    return first_nonzero(
        sympy.expand(4 * _error(t, mu, nu) - first - second),
        sympy.simplify(cdf(t) + cdf(-t) - 1),
        sympy.Integer(0 if sympy.diff(cdf(t), t).is_positive else 1),
        sympy.limit(PROBE_ERROR.expression, STRENGTH, sympy.oo) - infimum,
        sympy.limit(PROBE_ERROR.expression, STRENGTH, 0) - 2 * infimum,
    )


def _logistic_residual() -> sympy.Expr:
    """ℓ(m) = log(1 + e^{−m}): the product at b ± z less the square at b is e^{−b}(√r − 1/√r)²."""
    r, B = sympy.symbols("r B", positive=True)  # r = e^z, B = e^{−b}
    gap = (1 + B * r) * (1 + B / r) - (1 + B) ** 2
    return sympy.expand(gap - B * (sympy.sqrt(r) - 1 / sympy.sqrt(r)) ** 2)


def _squares_residual() -> sympy.Expr:
    """½[(y − b − z)² + (y − b + z)²] = (y − b)² + z²: worse by wᵀCov(x)w > 0."""
    y, b, z = sympy.symbols("y b z", real=True)
    both = ((y - b - z) ** 2 + (y - b + z) ** 2) / 2
    return sympy.expand(both - (y - b) ** 2 - z**2)


def derive_probes(
    probe_error: sympy.Expr = PROBE_ERROR.expression,
    unfair: sympy.Expr = UNFAIR_AUC,
    infimum: sympy.Expr = LEAST_PROBE_ERROR,
) -> Derivation:
    """Derive what linear probes see of a product: for all dimensions, directions and covariances.

    Args:
        probe_error: In ``STRENGTH``, to compare with.
        unfair: AUC of the counterexample.
        infimum: Of the errors of linear rules.

    Source: this project.
    """
    steps = (
        Step("AUC ½ from a common centre.", _symmetric_residual),
        Step("Both models have one.", _models_residual),
        Step("w = 0 beats every w in the mean of ±w: logistic loss.", _logistic_residual),
        Step("Likewise least squares.", _squares_residual),
        Step("Equal means are not enough.", partial(_unfair_residual, unfair)),
        Step("Errors of linear rules exceed ¼.", partial(_infimum_residual, infimum)),
        Step("Error of the sum.", partial(_probe_residual, probe_error)),
    )
    cites = ("characteristic functions determine laws",)
    return Derivation("Linear probes of a product.", steps, cites)
