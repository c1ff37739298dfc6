r"""Certified bounds of the AUC of a product's Bayes predictor, model (b) at λ = c = 0.

U = tanh S tanh T has the likelihood ratio (1 + U)/(1 − U), so that the ROC curve, the points
(P₋(U > v), P₊(U > v)), is concave with the slope (1 + v)/(1 − v) at v: chords between points lie
below it, tangents above. P₊(U > −v) = 1 − P₋(U > v). A point is one integral,

    P₊(U > v) = ∫_{artanh v}^∞ [f(s; p²) F(t(s); q²) + f(−s; p²) F(t(s); −q²)] ds,
    e^{2t(s)} = (tanh s + v)/(tanh s − v),

f(·; m) the density of N(m, p²), F(t; m) the probability that N(m, q²) exceeds t, and P₋ has −q² for
q². Both ends of the integral are cut off with bounds.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import sympy
from flint import acb, arb, ctx

from ..derivation import Derivation, Step, first_nonzero
from ..validation import integer, positive

LEVEL = sympy.Symbol("v", real=True)

ROC_SLOPE = (1 + LEVEL) / (1 - LEVEL)
"""Slope of the ROC curve of η where U = v."""

REACH = (0.05, 6.0)
"""Strengths for which the bounds are made."""


@dataclass(frozen=True)
class AucBounds:
    """What is certain of an AUC.

    Attributes:
        lower: Not above it.
        upper: Not below it.
    """

    lower: float
    upper: float


def bayes_auc_bounds(first: float, second: float, thresholds: int = 24) -> AucBounds:
    """Return certified bounds of the AUC of η, model (b) with equal priors and uᵀΣ⁻¹w = 0.

    Args:
        first: p, between 0.05 and 6.
        second: q, likewise.
        thresholds: Points on each half of the ROC curve, at least 2; the width of the bounds falls
            with its square, down to about 1e-8.

    Raises:
        TypeError: If a strength is not a real number, or thresholds is not an integer.
        ValueError: If one is outside its range.

    Source: this project.

    Example:
        >>> bounds = bayes_auc_bounds(1.5, 1.5, 8)
        >>> round(bounds.lower, 3), round(bounds.upper, 3)
        (0.949, 0.95)
    """
    pairs = (("first", first), ("second", second))
    q, p = sorted(_reach(*pair) for pair in pairs)  # they may change places; so it is faster
    count = integer("thresholds", thresholds, 2)
    with ctx.workprec(64):
        most = (arb(p) ** 2 + 3 * arb(p)).tanh() * (arb(q) ** 2 + 3 * arb(q)).tanh()
        levels = [most * (arb.pi() * k / (2 * count)).sin() for k in range(count)]
        upper = [roc_point(p, q, v) for v in levels]
        # v and −v: (x, y) and (1 − y, 1 − x). From the left: v → 1, …, 0, …, −1.
        points = [*reversed(upper), *((1 - y, 1 - x) for x, y in upper[1:])]
        slopes = [(1 + v) / (1 - v) for v in (*reversed(levels), *(-v for v in levels[1:]))]
        lower, above = _chords(points), _tangents(points, slopes)
        return AucBounds(
            math.nextafter(float(lower.lower()), 0), min(1, math.nextafter(float(above.upper()), 2))
        )


def roc_point(p: float, q: float, level: Any) -> tuple[Any, Any]:
    """Return balls around P₋(U > v) and P₊(U > v) for 0 <= v < 1."""
    return _exceeds(p, -q * arb(q), q, level), _exceeds(p, q * arb(q), q, level)


def _exceeds(p: float, mean: Any, q: float, level: Any) -> Any:
    """P(U > v) with S ~ N(p², p²) and T ~ N(mean, q²)."""
    P, Q = arb(p), arb(q)
    root = arb(2).sqrt()

    def density(s: Any) -> Any:
        return (-((s - P**2) ** 2) / (2 * P**2)).exp() / (P * (2 * arb.pi()).sqrt())

    def beyond(t: Any, m: Any) -> Any:
        return ((t - m) / (root * Q)).erfc() / 2

    def integrand(s: Any, analytic: bool) -> Any:
        tanh = s.tanh()
        t = ((tanh + level) / (tanh - level)).log(analytic=analytic) / 2
        return density(s) * beyond(t, mean) + density(-s) * beyond(t, -mean)

    least = level.atanh()
    if level == 0:
        inside = _normal_beyond(-P) * beyond(arb(0), mean)
        return inside + _normal_beyond(P) * beyond(arb(0), -mean)
    start, end = (least + arb(2) ** -34).mid(), (least + P**2 + 9 * P).mid()
    least_error = arb(2) ** -40
    inner = acb.integral(integrand, start, end, rel_tol=least_error, abs_tol=least_error).real
    # t(s) falls; below start the integrand is at most its bound at t(start), beyond end it is f.
    tanh = start.tanh()
    first = beyond(((tanh + level) / (tanh - level)).log() / 2, abs(mean))
    ends = 2 * first * (start - least) / (P * (2 * arb.pi()).sqrt())
    ends += 2 * _normal_beyond((end - P**2) / P)
    return inner + arb(0).union(ends.abs_upper())


def _normal_beyond(x: Any) -> Any:
    return (x / arb(2).sqrt()).erfc() / 2


def _chords(points: list[tuple[Any, Any]]) -> Any:
    """Area under the polygon through (0, 0), the points and (1, 1)."""
    every = [(arb(0), arb(0)), *points, (arb(1), arb(1))]
    pairs = itertools.pairwise(every)
    return sum(((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairs), arb(0))


def _tangents(points: list[tuple[Any, Any]], slopes: list[Any]) -> Any:
    """Area under the tangents, from x = 0 to 1, cut off at y = 1."""
    xs, ys = [arb(0)], [points[0][1] - slopes[0] * points[0][0]]
    for (a, b), (s, r) in zip(itertools.pairwise(points), itertools.pairwise(slopes), strict=True):
        x = (b[1] - a[1] + s * a[0] - r * b[0]) / (s - r)
        xs.append(x)
        ys.append(a[1] + s * (x - a[0]))
    last = points[-1]
    xs += [last[0] + (1 - last[1]) / slopes[-1], arb(1)]
    ys += [arb(1), arb(1)]
    return sum(
        ((xs[i + 1] - xs[i]) * (ys[i] + ys[i + 1]) / 2 for i in range(len(xs) - 1)),
        arb(0),
    )


def _reach(name: str, value: float) -> float:
    number = positive(name, value)
    if not REACH[0] <= number <= REACH[1]:
        raise ValueError(f"{name} = {value!r} must be between {REACH[0]} and {REACH[1]}")
    return number


# --- derivation -------------------------------------------------------------------------------


def _slope_residual(slope: sympy.Expr) -> sympy.Expr:
    """p₊/p₋ = cosh(S + T)/cosh(S − T) at λ = c = 0, a growing function of U: concave."""
    x, y = sympy.symbols("x y", positive=True)  # e^{2S} and e^{2T}
    quotient = (x * y + 1) / (x + y)
    U = (x - 1) / (x + 1) * (y - 1) / (y + 1)
    growth = sympy.cancel(sympy.diff(slope, LEVEL) * (1 - LEVEL) ** 2) - 2
    return first_nonzero(sympy.cancel(quotient - slope.subs(LEVEL, U)), growth)


def _turned_residual() -> sympy.Expr:
    """S → −S exchanges the classes and turns U round: P₊(U > −v) = P₋(U < v)."""
    S, T = sympy.symbols("S T", real=True)
    weights = sympy.cosh(S + T) - sympy.cosh(S - T)
    U = sympy.tanh(S) * sympy.tanh(T)
    return first_nonzero(
        *(sympy.expand(x + x.subs(S, -S)) for x in (weights, U)),
    )


def _border_residual() -> sympy.Expr:
    """tanh s tanh t = v at e^{2t} = (tanh s + v)/(tanh s − v)."""
    h, v = sympy.symbols("h v", positive=True)  # h = tanh s
    square = (h + v) / (h - v)  # e^{2t}, and tanh t = (e^{2t} − 1)/(e^{2t} + 1)
    return sympy.simplify(h * (square - 1) / (square + 1) - v)


def derive_roc(slope: sympy.Expr = ROC_SLOPE) -> Derivation:
    """Derive what the bounds rest on.

    Args:
        slope: In ``LEVEL``, to compare with.

    Source: this project.
    """
    steps = (
        Step("The other half of the curve.", _turned_residual),
        Step("The border in s.", _border_residual),
        Step("The slope.", partial(_slope_residual, slope)),
    )
    return Derivation("The ROC curve of η.", steps, ("Neyman–Pearson lemma",))
