r"""Why the inconsistency theorem needs a spectral tail: a kernel whose interpolant is consistent.

Statement (claim ``ridgeless.tail_needed``): on the one-dimensional torus the kernel with

.. math:: \hat g_k = g(|k|), \qquad g(x) = \frac{1}{(e + x)\log^2(e + x)}

is continuous and positive definite (its coefficients are positive and summable), and at a fixed
bandwidth its interpolant on n grid points has estimation error σ²V_n with

    1/(16 log n) ≤ V_n ≤ 7/log n for all n ≥ 2, and V_n log n → 1,

while the approximation error of a fixed trigonometric polynomial is O((log n)^{-2} n^{-2}). So
interpolation with it is consistent: "inconsistent for every translation-invariant kernel" is
false. What the theorem needs is a bounded **tail ratio**: some A with

    Σ_{k ∈ [l], k ≠ l} ĝ_k ≤ A ĝ_l for |l|_∞ ≤ n/2 and all n,

that is, a tail whose mass beyond R is at most of the order R^d φ̂(R), as for every φ̂ that decays at
least like |ξ|^{-α} with α > d, regularly. Then r_0 ≥ 1/(1+A) on all classes and V ≥ (1+A)^{-2}.
Here the tail ratio grows like log n. Source: this project.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import sympy
from flint import arb, ctx
from numpy.typing import NDArray

from ..derivation import Derivation, Step
from ..validation import integer

LIMIT: sympy.Expr = sympy.Integer(1)  # the limit of V_n log n
UPPER: sympy.Expr = sympy.Integer(7)  # V_n ≤ UPPER/log n for all n ≥ 2
LOWER: sympy.Expr = sympy.Rational(1, 16)  # V_n ≥ LOWER/log n for all n ≥ 2

_DIRECT_LIMIT = 2 * 10**5  # classes are summed one by one up to here, in blocks beyond
_PRECISION = 128


# --- The kernel and its alias sums -----------------------------------------------------------


def spectrum(k: int) -> arb:
    """ĝ_k = 1/((e+|k|) log²(e+|k|)) as a ball."""
    with ctx.workprec(_PRECISION):
        return _g(arb(abs(integer("k", k, -(10**4000)))))


def _log(x: arb) -> arb:
    """L(x) = log(e + x)."""
    return (arb.const_e() + x).log()


def _g(x: arb) -> arb:
    return 1 / ((arb.const_e() + x) * _log(x) ** 2)


def _others(n: int, l: int, aliases: int = 8) -> tuple[arb, arb]:  # noqa: E741 (the class)
    """Σ ĝ_k and Σ ĝ_k² over k ∈ [l], k ≠ l, for 0 ≤ l ≤ n/2: a few terms, bounds for the rest.

    g is convex and decreasing with antiderivative −1/L, so that a sum of g over y, y+n, y+2n, …
    lies between g(y)/2 + 1/(n L(y)) (trapezoids) and 1/(n L(y−n/2)) (midpoints).
    """
    T, Q = arb(0), arb(0)
    for sign in (-1, 1):
        for m in range(1, aliases):
            term = _g(arb(m * n + sign * l))
            T, Q = T + term, Q + term**2
        y, size = arb(aliases * n + sign * l), arb(n)
        low, high = _g(y) / 2 + 1 / (size * _log(y)), 1 / (size * _log(y - size / 2))
        T, Q = T + low.union(high), Q + arb(0).union(_g(y) * high)
    return T, Q


# --- V_n -------------------------------------------------------------------------------------


def variance_enclosure(n: int) -> arb:
    """Certified enclosure of V_n = (1/n) Σ_l Q_l/S_l², the estimation error per unit of noise.

    Up to n = 200 000 all classes are summed (relative radius about 1e-4). Beyond, classes are
    grouped in blocks, since all parts are monotone in |l| (a few per cent); n may be
    astronomically large.

    Raises:
        ValueError: If n < 2.
        TypeError: If n is not an integer.
    """
    points = integer("n", n, 2)
    if points <= _DIRECT_LIMIT:
        return _direct(points)
    with ctx.workprec(_PRECISION):
        return _in_blocks(points)


def _direct(n: int, aliases: int = 40) -> arb:
    """Σ over all classes in floats: all terms are positive, so rounding is relative.

    A float logarithm is right to a few units of 1e-16; 1e-12 covers it and every sum below.
    """
    low = high = 0.0
    for start in range(0, n // 2 + 1, 4096):
        l = np.arange(start, min(start + 4096, n // 2 + 1), dtype=np.float64)  # noqa: E741
        weight = np.where((l == 0) | (2 * l == n), 1.0, 2.0)  # the classes of ±l are alike
        lower, upper = _ratio_bounds(n, l, aliases)
        low, high = low + float(weight @ lower), high + float(weight @ upper)
    slack = 1e-12
    return (arb(low) * (1 - slack) / n).union(arb(high) * (1 + slack) / n)


def _ratio_bounds(
    n: int,
    l: NDArray[np.float64],  # noqa: E741
    aliases: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower and upper bounds of Q_l/S_l² for 0 ≤ l ≤ n/2."""
    g, log = _float_g, _float_log
    S, Q = g(l), g(l) ** 2
    S_low, S_high, Q_high = 0.0 * l, 0.0 * l, 0.0 * l
    for sign in (-1, 1):
        for m in range(1, aliases):
            S, Q = S + g(m * n + sign * l), Q + g(m * n + sign * l) ** 2
        y = aliases * n + sign * l
        S_low = S_low + g(y) / 2 + 1 / (n * log(y))
        S_high = S_high + 1 / (n * log(y - n / 2))
        # Σ g² ≤ g(y)² + (1/n) ∫_y g² and ∫_y^∞ g² ≤ g(y) ∫_y^∞ g.
        Q_high = Q_high + g(y) ** 2 + g(y) / (n * log(y))
    return Q / (S + S_high) ** 2, (Q + Q_high) / (S + S_low) ** 2


def _float_log(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.log(np.e + x)


def _float_g(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / ((np.e + x) * _float_log(x) ** 2)


def _in_blocks(n: int, ratio: int = 40) -> arb:
    """V_n with the classes a ≤ l < b treated together, b ≈ a(1 + 1/ratio).

    As l grows to n/2, S_l and r_0 = ĝ_l/S_l decrease and q = Σ_{k≠l} ĝ_k² increases (g and g² are
    convex and the aliases lie symmetrically), so that Q_l/S_l² = r_0² + q/S_l² lies between
    r_0(b)² + q(a)/S_a² and r_0(a)² + q(b)/S_b². The first block may be wide: n/log⁴n classes of
    weight at most 1 are negligible.
    """
    half, a, low, high = n // 2, 0, arb(0), arb(0)
    first = n // n.bit_length() ** 4
    own_a, rest_a = _two_parts(n, 0)
    while a <= half:
        b = min(a + max(1, first if a == 0 else a // ratio), half + 1)
        own_b, rest_b = _two_parts(n, min(b, half))
        low, high = low + (b - a) * (own_b + rest_a), high + (b - a) * (own_a + rest_b)
        a, own_a, rest_a = b, own_b, rest_b
    return ((2 * low - 2) / n).union(2 * high / n)  # l = 0 and l = n/2 are counted twice


def _two_parts(n: int, l: int) -> tuple[arb, arb]:  # noqa: E741
    """r_0(l)² and Σ_{k≠l} ĝ_k²/S_l²."""
    own = _g(arb(l))
    T, q = _others(n, l)
    return (own / (own + T)) ** 2, q / (own + T) ** 2


def _excess(n: int) -> arb:
    """Bound of Σ_{k≠l} ĝ_k²/T_l²: (π²/4) L(3n/2)²/L(n/2)⁴.

    e+|k| ≥ n(m+½) for the m-th alias on each side, and Σ_{m≥0} (m+½)^{-2} = π²/2; on the other
    hand T_l ≥ 2/(n L(3n/2)).
    """
    return arb.pi() ** 2 / 4 * _log(3 * arb(n) / 2) ** 2 / _log(arb(n) / 2) ** 4


def variance_upper(n: int) -> arb:
    """The proved bound V_n ≤ L(3n/2)/L(λ)² + (2λ+1)/n + (π²/4)L(3n/2)²/L(n/2)⁴, λ = n/log²n.

    Classes with |l| < λ count at most 1 each; beyond, r_0 ≤ 1/(1 + 2b(e+|l|)) with
    b = L(λ)²/(n L(3n/2)), and an integral bounds their sum. For n ≥ 2; useful from 10^3 on.
    """
    integer("n", n, 2)
    with ctx.workprec(_PRECISION):
        size = arb(n)
        cut = (size / size.log() ** 2).min(size / 2)
        main = _log(3 * size / 2) / _log(cut) ** 2
        return main + (2 * cut + 1) / size + _excess(n)


def variance_lower(n: int) -> arb:
    """The proved bound V_n ≥ (1/M)[1/(1+2eM/n) − 1/(1+2(e/n+¼)M)] − 1/n, M = L(n/4).

    For |l| ≤ n/4, T_l ≤ 2/(nM) and 1/ĝ_l ≤ (e+|l|)M², so r_0 ≥ 1/(1 + 2(e+|l|)M/n).
    """
    integer("n", n, 2)
    with ctx.workprec(_PRECISION):
        size, e = arb(n), arb.const_e()
        M = _log(size / 4)
        bracket = 1 / (1 + 2 * e * M / size) - 1 / (1 + 2 * (e / size + arb(1) / 4) * M)
        return bracket / M - 1 / size


def tail_ratio(n: int) -> arb:
    """T_l/ĝ_l in the class l = ⌊n/2⌋, a lower bound of the A that the theorem would need."""
    integer("n", n, 2)
    with ctx.workprec(_PRECISION):
        return _others(n, n // 2)[0] / _g(arb(n // 2))


def bias_bound(n: int, target: Mapping[int, complex]) -> arb:
    """Bound of the approximation error of the trigonometric polynomial Σ_k target[k] e^{2πikx}.

    It is at most 2 Σ_k |f*_k|² (1−r_k)², and 1−r_k ≤ T_k/ĝ_k ≤ 2(e+|k|)L(k)²/(n L(n/2−|k|)).

    Raises:
        ValueError: If a frequency reaches n/2, where it would alias.
    """
    integer("n", n, 2)
    total = arb(0)
    with ctx.workprec(_PRECISION):
        for k, coefficient in target.items():
            if 2 * abs(k) >= n:
                raise ValueError(f"target frequency {k!r} must be below n/2 = {n / 2} in modulus")
            size = arb(abs(k))
            defect = 2 / _g(size) / (n * _log(arb(n) / 2 - size))
            total += 2 * (arb(coefficient.real) ** 2 + arb(coefficient.imag) ** 2) * defect**2
    return total


# --- Derivations -----------------------------------------------------------------------------

_s, _b, _y = sympy.symbols("x b y", positive=True)
_EARLY = sympy.Rational(23, 5)  # log n from which the lower bound is used; e^(23/5) < 100
_u, _m = sympy.Symbol("u", positive=True), sympy.Symbol("m", integer=True)  # u = log n


def derive_limit(claimed: sympy.Expr = LIMIT) -> Derivation:
    """V_n log n → 1: the two bounds, their integrals, and their common limit."""
    return Derivation(
        goal=f"V_n log n -> {claimed}",
        steps=(
            *_tail_steps(),
            Step("integral of (1+2by)^-2 over (0, oo) is 1/(2b)", _upper_integral),
            Step("integral of (1+2b(e+y))^-2 over (0, Y), for the lower bound", _lower_integral),
            Step("the sum of (m+1/2)^-2 over m >= 0 is pi^2/2", _half_integers),
            Step("upper bound times log n: its limit", lambda: _limit(_upper_in_log()) - claimed),
            Step("lower bound times log n: its limit", lambda: _limit(_lower_in_log()) - claimed),
        ),
    )


def derive_bounds(lower: sympy.Expr = LOWER, upper: sympy.Expr = UPPER) -> Derivation:
    """Lower/log n ≤ V_n ≤ upper/log n for all n ≥ 2.

    The residual of an inequality is 0 if a ball proves it and 1 if not.
    """
    return Derivation(
        goal=f"{lower}/log n <= V_n <= {upper}/log n for all n >= 2",
        steps=(
            *_tail_steps(),
            Step("u/(u - 2 log u) decreases for u > e", _monotone_quotient),
            Step(
                "upper: trivial (V_n <= 1) up to log n = upper; there the bound, whose product "
                "with log n decreases in n, is below upper/log n",
                lambda: (
                    _proved(lambda: _ball(_upper_in_log(), upper) < _as_ball(upper))
                    + _proved(lambda: _as_ball(upper) > 5)
                ),
            ),
            Step(
                "lower: the bound, whose product with log n increases, at n = e^(23/5) < 100",
                lambda: _proved(lambda: _ball(_lower_in_log(), _EARLY) > _as_ball(lower)),
            ),
            Step("lower: for n < 100 by direct enclosure", lambda: _small_n(lower)),
        ),
    )


def _tail_steps() -> tuple[Step, ...]:
    return (
        Step(
            "-1/log(e+x) is an antiderivative of g, so the alias tails telescope", _antiderivative
        ),
        Step("g decreases: g' = -(L+2)/((e+x)^2 L^3)", _decreasing),
        Step("g is convex: g'' = (2L^2+6L+6)/((e+x)^3 L^4)", _convex),
        Step("1 - r = T/(g+T), below T/g by T^2/(g(g+T)) >= 0", _own_weight),
    )


def _density() -> sympy.Expr:
    return 1 / ((sympy.E + _s) * sympy.log(sympy.E + _s) ** 2)


def _antiderivative() -> sympy.Expr:
    return sympy.simplify((-1 / sympy.log(sympy.E + _s)).diff(_s) - _density())


def _decreasing() -> sympy.Expr:
    L = sympy.log(sympy.E + _s)
    return sympy.simplify(_density().diff(_s) + (L + 2) / ((sympy.E + _s) ** 2 * L**3))


def _convex() -> sympy.Expr:
    L = sympy.log(sympy.E + _s)
    second = (2 * L**2 + 6 * L + 6) / ((sympy.E + _s) ** 3 * L**4)
    return sympy.simplify(_density().diff(_s, 2) - second)


def _own_weight() -> sympy.Expr:
    g, T = sympy.symbols("g T", positive=True)
    defect = T / (g + T)
    return (
        sympy.simplify(1 - g / (g + T) - defect) ** 2
        + sympy.simplify(T / g - defect - T**2 / (g * (g + T))) ** 2
    )


def _upper_integral() -> sympy.Expr:
    return sympy.integrate((1 + 2 * _b * _y) ** -2, (_y, 0, sympy.oo)) - 1 / (2 * _b)


def _lower_integral() -> sympy.Expr:
    Y = sympy.Symbol("Y", positive=True)
    antiderivative = -1 / (2 * _b * (1 + 2 * _b * (sympy.E + _y)))
    slope = sympy.simplify(antiderivative.diff(_y) - (1 + 2 * _b * (sympy.E + _y)) ** -2)
    value = (1 / (1 + 2 * _b * sympy.E) - 1 / (1 + 2 * _b * (sympy.E + Y))) / (2 * _b)
    ends = antiderivative.subs(_y, Y) - antiderivative.subs(_y, 0) - value
    return slope**2 + sympy.simplify(ends) ** 2


def _half_integers() -> sympy.Expr:
    total = sympy.summation((_m + sympy.Rational(1, 2)) ** -2, (_m, 0, sympy.oo))
    return sympy.simplify(sympy.expand_func(total) - sympy.pi**2 / 2)


def _upper_in_log() -> sympy.Expr:
    """An upper bound of V_n log n in u = log n, for u ≥ 5.

    L(3n/2) ≤ u + log 2, as e < n/2; L(λ) ≥ u − 2 log u; L(n/2) ≥ u − log 2.
    """
    top = _u + sympy.log(2)
    main = top / (_u - 2 * sympy.log(_u)) ** 2 + 2 / _u**2 + sympy.exp(-_u)
    return _u * (main + sympy.pi**2 / 4 * top**2 / (_u - sympy.log(2)) ** 4)


def _lower_in_log() -> sympy.Expr:
    """A lower bound of V_n log n in u = log n, for n ≥ 4.

    u − log 4 ≤ M ≤ u, as n/4 ≤ e + n/4 ≤ n.
    """
    first = 1 / (1 + 2 * sympy.E * _u * sympy.exp(-_u))
    return first - 1 / (1 + (_u - sympy.log(4)) / 2) - _u * sympy.exp(-_u)


def _limit(expression: sympy.Expr) -> sympy.Expr:
    return sympy.limit(expression, _u, sympy.oo)


def _monotone_quotient() -> sympy.Expr:
    """The derivative is (2 − 2 log u)/(u − 2 log u)², negative for u > e."""
    quotient = _u / (_u - 2 * sympy.log(_u))
    return sympy.simplify(
        quotient.diff(_u) - (2 - 2 * sympy.log(_u)) / (_u - 2 * sympy.log(_u)) ** 2
    )


def _proved(inequality: Callable[[], bool]) -> sympy.Expr:
    with ctx.workprec(_PRECISION):
        return sympy.Integer(0 if inequality() else 1)


def _as_ball(value: sympy.Expr) -> arb:
    return arb(str(sympy.N(value, 40)))


_BALLS = {
    "log": lambda x: arb(x).log(),
    "exp": lambda x: arb(x).exp(),
    "pi": arb.pi(),
    "e": arb.const_e(),  # as SymPy prints it here
}


def _ball(expression: sympy.Expr, at: sympy.Expr) -> arb:
    """A bound in balls: the expression is made of log, exp, powers and constants."""
    function = sympy.lambdify(_u, expression, modules=[_BALLS])
    return arb(function(_as_ball(at)))


def _small_n(lower: sympy.Expr) -> sympy.Expr:
    """The number of n < 100 at which the lower bound is not certified."""
    with ctx.workprec(_PRECISION):
        bound = _as_ball(lower)
        return sympy.Integer(
            sum(not variance_enclosure(n) * arb(n).log() > bound for n in range(2, 100))
        )
