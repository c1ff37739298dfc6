r"""Of all laws that change the mean Bayes logit by Δ, which is nearest? Classes and mixtures.

KL(Q‖P) = KL(Q‖P_λ) + λE_Q L − log Z_λ for the tilted law P_λ ∝ e^{λL}P (Gibbs): at a given mean of
the logit L the nearest law is P_λ and no other.

- P a class N(m ± μ, Σ): P_λ is the class shifted by 2λμ, so that the shift along μ is the nearest
  of all laws, λ = Δ/(4δ²) and KL = Δ²/(8δ²).
- P the mixture πN(m + μ, Σ) + (1 − π)N(m − μ, Σ): P_λ is no shift. Both means move by (b/δ²)μ,
  b = 2λδ², and the log-odds ℓ of the prior by 2b; with T = tanh(ℓ/2 + b) − tanh(ℓ/2)

      Δ = 2b + 2δ²T,   KL = b²/(2δ²) + b tanh(ℓ/2 + b) − log(cosh(ℓ/2 + b)/cosh(ℓ/2)).

- Among shifts of the mixture the one along μ is still the nearest: KL(aμ + w) = KL(aμ) + ½wᵀΣ⁻¹w
  for μᵀΣ⁻¹w = 0. But KL(aμ) is less than ½a²δ²: it is that of a mixture on the line, and has no
  closed form.
- KL(P‖Q) in the place of KL(Q‖P) has no nearest law: (1 − ε)P and ε of P shifted by Δ/ε times the
  shift for 1 has the mean, and KL(P‖Q) ≤ −log(1 − ε) → 0.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from functools import partial

import numpy as np
import sympy
from scipy import integrate, optimize, special

from ..derivation import Derivation, Step, first_nonzero
from ..matrix_words import matrices, reduced
from ..validation import positive
from .class_moments import probability, real_number
from .steering import CHANGE, LOG_ODDS, MOMENTS

TILT = sympy.Symbol("lambda", real=True)
MOVE = sympy.Symbol("b", real=True)
_q = MOMENTS[1]

CLASS_TILT = CHANGE / (4 * _q)
"""λ for a class: it moves by 2λμ."""

MIXTURE_CHANGE = 2 * MOVE + 2 * _q * (sympy.tanh(LOG_ODDS / 2 + MOVE) - sympy.tanh(LOG_ODDS / 2))
"""Change of the mean logit of the mixture, b = 2λδ²."""

MIXTURE_DIVERGENCE = (
    MOVE**2 / (2 * _q)
    + MOVE * sympy.tanh(LOG_ODDS / 2 + MOVE)
    - sympy.log(sympy.cosh(LOG_ODDS / 2 + MOVE) / sympy.cosh(LOG_ODDS / 2))
)
"""KL of the tilted mixture from the mixture."""


@dataclass(frozen=True)
class TiltedMixture:
    """The law nearest to a mixture, at a given change of the mean Bayes logit.

    Attributes:
        factor: Both class means move by this times μ.
        prior: The new share of the class 1.
        divergence: KL from the mixture, in nats.
    """

    factor: float
    prior: float
    divergence: float


def tilted_mixture(change: float, separation: float, prior: float = 0.5) -> TiltedMixture:
    """Return the law nearest to the mixture whose mean Bayes logit is larger by Δ.

    Args:
        change: Δ.
        separation: δ > 0.
        prior: π.

    Raises:
        TypeError: If an argument is not a real number.
        ValueError: If Δ is not finite, δ not positive, or π not strictly between 0 and 1.
        OverflowError: If δ² is beyond the doubles, or the factor or KL larger than each of them.

    Source: this project.

    Example:
        >>> law = tilted_mixture(2.0, 1.0)
        >>> round(law.factor, 6), round(law.prior, 6), round(law.divergence, 6)
        (0.521298, 0.739351, 0.255288)
    """
    delta, size = real_number("change", change), positive("separation", separation)
    share = probability("prior", prior)
    half, q = math.log(share / (1 - share)) / 2, size * size
    if not sys.float_info.min <= q <= sys.float_info.max / 8:
        raise OverflowError(f"separation = {separation!r}: its square is beyond the doubles")

    def excess(b: float) -> float:
        return 2 * b + 2 * q * _rise(half, b) - delta

    ends = delta / (2 + 2 * q) * (1 - 1e-12), delta / 2  # the slope is between 2 and 2 + 2q
    b = optimize.brentq(excess, *ends, xtol=5e-324, rtol=1e-14, maxiter=3000) if delta else 0.0
    factor, divergence = b / q, (b / size) * (b / size) / 2 + _odds_divergence(half, b)
    if not (math.isfinite(factor) and math.isfinite(divergence)):
        raise OverflowError("the shift or its KL is larger than every double")
    return TiltedMixture(factor, float(special.expit(2 * (half + b))), divergence)


def _rise(half: float, b: float) -> float:
    """tanh(ℓ/2 + b) − tanh(ℓ/2), without cancellation."""
    sign = 1 if b >= 0 else -1
    tails = special.expit(2 * sign * (half + b)) * special.expit(-2 * sign * half)
    return float(-2 * sign * tails * math.expm1(-2 * abs(b)))


def _odds_divergence(half: float, b: float) -> float:
    """KL of the shares, b tanh(ℓ/2 + b) − log(cosh(ℓ/2 + b)/cosh(ℓ/2)) = ∫₀ᵇ s/cosh²(ℓ/2 + s)."""
    if abs(b) > 1:
        odds = half + b
        growth = float(np.logaddexp(odds, -odds) - np.logaddexp(half, -half))
        return b * math.tanh(odds) - growth
    u, weight = np.polynomial.legendre.leggauss(40)
    u = (1 + u) / 2
    both = 4 * special.expit(2 * (half + b * u)) * special.expit(-2 * (half + b * u))
    return float(weight @ (u * both)) / 2 * b * b


def mixture_shift_divergence(change: float, separation: float, prior: float = 0.5) -> float:
    """Return KL of the mixture shifted along μ, by Δ in the Bayes logit, from the mixture.

    By quadrature on the line, to about ten digits, but no better than to 1e-12 for small changes.
    A shift aμ + w with μᵀΣ⁻¹w = 0 has ½wᵀΣ⁻¹w more.

    Arguments and errors are those of `tilted_mixture`.

    Source: this project.

    Example:
        >>> round(mixture_shift_divergence(2.0, 1.0), 6)  # a class alone: 0.5
        0.279486
    """
    delta, size = real_number("change", change), positive("separation", separation)
    share = probability("prior", prior)
    move = delta / (2 * size)

    total = share * _moved(share, size, move) + (1 - share) * _moved(1 - share, size, -move)
    if not math.isfinite(total):
        raise OverflowError("the KL is larger than every double")
    return total


def _moved(share: float, size: float, move: float) -> float:
    """E log f(x)/f(x + move) over the class on the right, of the given share, at δ and −δ."""
    own, other = math.log(share), math.log1p(-share)

    def log_density(z: float) -> float:
        return float(np.logaddexp(own - z * z / 2, other - (z + 2 * size) * (z + 2 * size) / 2))

    def integrand(z: float) -> float:
        density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
        return density * (log_density(z) - log_density(z + move))

    return float(integrate.quad(integrand, -12, 12, epsabs=1e-14, epsrel=1e-12, limit=400)[0])


# --- derivation -------------------------------------------------------------------------------

_T = sympy.transpose
_R, _mu, _x, _t, _w = matrices("R mu x t w")
_RULES = {_T(_R): _R, _T(_mu) * _R * _mu: _q}
_FLAT = {_T(_mu) * _R * _w: sympy.Integer(0), _T(_w) * _R * _mu: sympy.Integer(0)}


def _gibbs_residual() -> sympy.Expr:
    """log(Q/P) − log(Q/P_λ) = λL − log Z pointwise: its mean under Q is fixed by the mean of L."""
    p, q, Z = sympy.symbols("p q Z", positive=True)
    L = sympy.Symbol("L", real=True)
    tilted = sympy.exp(TILT * L) * p / Z
    gap = sympy.log(q / p) - sympy.log(q / tilted) - (TILT * L - sympy.log(Z))
    return sympy.simplify(sympy.expand_log(gap, force=True))


def _class_residual(tilt: sympy.Expr) -> sympy.Expr:
    """−½xᵀRx + 2λμᵀRx is −½(x − 2λμ)ᵀR(x − 2λμ) up to a constant; 2μᵀR·2λμ = Δ."""
    moved = _x - 2 * TILT * _mu
    gap = -_T(_x) * _R * _x + 2 * TILT * (_T(_mu) * _R * _x + _T(_x) * _R * _mu)
    gap = gap + _T(moved) * _R * moved - 4 * TILT**2 * _q
    change = 4 * TILT * _q
    return first_nonzero(
        sympy.expand(reduced(sympy.expand(gap), _RULES)),
        sympy.simplify(change.subs(TILT, tilt) - CHANGE),
    )


def _mixture_residual() -> sympy.Expr:
    """E e^{λL'} of the class y is e^{2yλq + 2λ²q}, as L' ~ N(2yq, 4q): the odds times e^{4λq}.

    π e^{b} + (1 − π)e^{−b} = cosh(ℓ/2 + b)/cosh(ℓ/2) with b = 2λq.
    """
    ell, b = LOG_ODDS, MOVE
    share = 1 / (1 + sympy.exp(-ell))
    mean = share * sympy.exp(b) + (1 - share) * sympy.exp(-b)
    quotient = sympy.cosh(ell / 2 + b) / sympy.cosh(ell / 2)
    return sympy.simplify((mean - quotient).rewrite(sympy.exp))


def _log_partition() -> sympy.Expr:
    """log E e^{λL'} in λ."""
    b = 2 * TILT * _q
    return 2 * TILT**2 * _q + sympy.log(sympy.cosh(LOG_ODDS / 2 + b) / sympy.cosh(LOG_ODDS / 2))


def _mixture_change_residual(change: sympy.Expr) -> sympy.Expr:
    """The mean of L' is the derivative of log Z."""
    mean = sympy.diff(_log_partition(), TILT)
    derived = mean - mean.subs(TILT, 0)
    gap = change.subs(MOVE, 2 * TILT * _q) - derived
    return sympy.simplify(gap.rewrite(sympy.exp))


def _mixture_divergence_residual(divergence: sympy.Expr) -> sympy.Expr:
    """KL = λE L' − log Z."""
    log_z = _log_partition()
    derived = TILT * sympy.diff(log_z, TILT) - log_z
    gap = sympy.expand_log(divergence.subs(MOVE, 2 * TILT * _q) - derived, force=True)
    return sympy.simplify(gap.rewrite(sympy.exp))


def _shifted_mixture_residual() -> sympy.Expr:
    """log f(x) = −½xᵀRx + h(μᵀRx) + const: for t = aμ + w, KL(t) − KL(aμ) = ½wᵀRw.

    μᵀRx has the same law for t and for aμ; the rest of E log(f_t/f) is tᵀR E x − ½tᵀRt with
    E x = t + (2π − 1)μ.
    """
    a, lean = sympy.symbols("a c", real=True)
    t = a * _mu + _w

    def rest(shift: sympy.Expr) -> sympy.Expr:
        mean = shift + lean * _mu
        return _T(shift) * _R * mean - _T(shift) * _R * shift / 2

    gap = sympy.expand(rest(t) - rest(a * _mu) - _T(_w) * _R * _w / 2)
    return sympy.expand(reduced(gap, _FLAT))


def _class_logs_residual() -> sympy.Expr:
    """−½(x − yμ)ᵀR(x − yμ) = −½xᵀRx + yμᵀRx − ½q for y = ±1: only μᵀRx tells the classes apart."""
    rules = {**_RULES, _T(_x) * _R * _mu: _T(_mu) * _R * _x}
    total = sympy.Integer(0)
    for y in (1, -1):
        log = -_T(_x - y * _mu) * _R * (_x - y * _mu) / 2
        gap = log + _T(_x) * _R * _x / 2 - y * _T(_mu) * _R * _x + _q / 2
        total += sympy.expand(reduced(sympy.expand(gap), rules)) ** 2
    return sympy.expand(total)


def _other_order_residual() -> sympy.Expr:
    """Q = (1 − ε)P + εP': P/Q = 1/((1 − ε)(1 + εp'/((1 − ε)p))) ≤ 1/(1 − ε), which tends to 1.

    P' has a mean logit larger by Δ/ε, so that Q has one larger by Δ.
    """
    epsilon, p, moved = sympy.symbols("epsilon p p'", positive=True)
    mean = sympy.Symbol("m", real=True)
    kept = 1 - epsilon
    ratio = p / (kept * p + epsilon * moved)
    bounded = 1 / (kept * (1 + epsilon * moved / (kept * p)))
    change = kept * mean + epsilon * (mean + CHANGE / epsilon) - mean - CHANGE
    return first_nonzero(
        sympy.simplify(ratio - bounded),
        sympy.expand(change),
        sympy.limit(-sympy.log(kept), epsilon, 0, "+"),
    )


def derive_tilting(
    tilt: sympy.Expr = CLASS_TILT,
    change: sympy.Expr = MIXTURE_CHANGE,
    divergence: sympy.Expr = MIXTURE_DIVERGENCE,
) -> Derivation:
    """Derive the laws nearest to a class and to the mixture, for all sizes.

    Args:
        tilt: λ of a class, in ``CHANGE`` and δ² = ``steering.MOMENTS[1]``, to compare with.
        change: Of the mixture's mean logit, in ``MOVE``, ``LOG_ODDS`` and δ².
        divergence: The tilted mixture's KL, in the same.

    Source: Csiszár's I-projection; the mixture: this project.
    """
    steps = (
        Step("Gibbs: the tilted law is the nearest.", _gibbs_residual),
        Step("log f of a mixture: only μᵀΣ⁻¹x enters but for a square.", _class_logs_residual),
        Step("A mixture's shift across μ adds its own KL.", _shifted_mixture_residual),
        Step("The other order of KL has no nearest law.", _other_order_residual),
        Step("Tilting a mixture.", _mixture_residual),
        Step("A class is shifted along μ.", partial(_class_residual, tilt)),
        Step("Change of the mixture's mean logit.", partial(_mixture_change_residual, change)),
        Step("KL of the tilted mixture.", partial(_mixture_divergence_residual, divergence)),
    )
    cites = ("KL ≥ 0, with equality for equal laws only",)
    return Derivation("The nearest law with a given mean logit.", steps, cites)
