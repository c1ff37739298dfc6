r"""Interpolation with the Matérn kernels ν = 3/2 and 5/2 on the circle: the limiting risk in full.

With m = ν + 1/2 the transform is a multiple of (2ν + (2πξ)²)^{−m}. Put s = √(2ν)/c, z = s²,
g = s coth(s), κ = s² csch(s)² = g² − z and x = s cos(u)/sinh(s), u = 2πθ. Then, up to constants,

    Σ_l (s² + (u + 2πl)²)^{−m} = p(x)/(z^{m−1} (g − x)^m),  deg p = m − 1,

and the sum with 2m has a numerator P of degree 2m − 1: Q/S² is a multiple of P/(z p²), without the
poles of the sums. Division by p² leaves the means of 1/p, x/p, 1/p² and x/p² over u, which are
algebraic in g and z. B needs the sums at u = 0 only, where they are polynomials in t coth(t) and
t² csch(t)² with t = s/2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import pairwise
from numbers import Real

import sympy
from sympy.polys.rings import PolyElement, PolyRing

from ..closed_form import ClosedForm
from ..derivation import Derivation, Step, first_nonzero
from . import laplace
from ._algebra import half_line_residual, reduce_exponentials
from .kernels import RADIUS, Matern
from .laplace import BANDWIDTH, RATE

_g, _z, _x, _k = sympy.symbols("g z x kappa")  # as in the module's docstring
_EVERYWHERE = (sympy.Integer(0), sympy.oo)
_HALVES = {sympy.Rational(3, 2): 2, sympy.Rational(5, 2): 3}  # nu to m = nu + 1/2
SMOOTHNESSES = tuple(_HALVES)


@dataclass(frozen=True)
class MaternForms:
    """The limiting risk of one Matérn kernel in d = 1, in the bandwidth c in grid spacings.

    Attributes:
        smoothness: ν, 3/2 or 5/2.
        estimation: V(c).
        own_weight: r_0(0), the share of the lowest frequency in its alias class.
        weight_energy: Σ_l r_l(0)².
        approximation: B(c) = 1 − 2 r_0(0) + Σ_l r_l(0)².
    """

    smoothness: sympy.Rational
    estimation: ClosedForm
    own_weight: ClosedForm
    weight_energy: ClosedForm
    approximation: ClosedForm


# --- the claimed formulas, in s = √(2ν)/c ------------------------------------------------------


def _estimation_3_2(s: sympy.Expr) -> sympy.Expr:
    z, g, k = s**2, s * sympy.coth(s), s**2 * sympy.csch(s) ** 2
    smooth = 2 * g * z * (g**2 + z) - 14 * z * g**2 + 8 * z**2 - 3 * z * g + 15 * z
    algebraic = (
        g * k * (g**2 + 2 * k) + 2 * k * (4 * k - g**2) + 12 * g * k + 4 * z - 27 * k - 21 * g + 27
    )
    smooth = (smooth - 15 * g * (g - 1) ** 2) / z
    return (smooth - s * algebraic / (1 - k) ** sympy.Rational(3, 2)) / (6 * (g - 1) ** 3)


def _coefficients_5_2(g: sympy.Expr, z: sympy.Expr) -> tuple[sympy.Expr, ...]:
    """Numerators of the coefficients of 1, 1/p, x/p, 1/p², x/p², over powers of z + 3 − 3g."""
    constant = (
        8 * z**3 * g**2 - 42 * z**2 * g**3 - 630 * z * g**3 + 252 * z**2 * g**2
        - 3465 * z * g**2 - 162 * z**3 * g + 420 * z**2 * g + 6930 * z * g + 16 * z**4
        + 378 * z**3 - 315 * z**2 - 2835 * z + 2835 * g * (g - 1) ** 2
    )  # fmt: skip
    over_p = (
        810 * g**7 + (2430 - 810 * z) * g**6 + (30375 - 810 * z - 54 * z**2) * g**5
        + (51 * z**3 + 117 * z**2 - 35100 * z - 127980) * g**4
        + (-24 * z**3 + 4239 * z**2 + 55890 * z + 165240) * g**3
        + (-122 * z**4 + 1632 * z**3 + 23382 * z**2 + 29160 * z - 85050) * g**2
        + (126 * z**4 - 4440 * z**3 - 48339 * z**2 - 76680 * z + 14175) * g
        + 56 * z**5 - 750 * z**4 + 1521 * z**3 + 20655 * z**2 + 28350 * z
    )  # fmt: skip
    x_over_p = (
        270 * g**5 + (90 * z + 1080) * g**4 + (-33 * z**2 + 585 * z + 11205) * g**3
        + (-69 * z**2 - 6030 * z - 31455) * g**2
        + (50 * z**3 - 261 * z**2 + 2385 * z + 23625) * g
        - 144 * z**3 + 1623 * z**2 + 2970 * z - 4725
    )  # fmt: skip
    over_square = -(
        2430 * g**8 + (2835 - 405 * z) * g**7 + (-54 * z**2 - 5265 * z + 8505) * g**6
        + (1539 * z**2 - 5265 * z - 60750) * g**5
        + (210 * z**3 + 1170 * z**2 - 13230 * z + 50220) * g**4
        + (-1986 * z**3 + 4752 * z**2 + 83025 * z + 35235) * g**3
        + (-212 * z**4 + 2856 * z**3 + 5670 * z**2 - 63585 * z - 54675) * g**2
        + (852 * z**4 - 2178 * z**3 - 26307 * z**2 - 8235 * z + 16200) * g
        + 56 * z**5 - 1236 * z**4 - 162 * z**3 + 13230 * z**2 + 12960 * z
    )  # fmt: skip
    x_over_square = (
        2430 * g**7 - (405 * z - 2835) * g**6 - (54 * z**2 + 3645 * z - 8505) * g**5
        + (1269 * z**2 - 2835 * z - 60750) * g**4
        + (174 * z**3 - 990 * z**2 - 6750 * z + 50220) * g**3
        + (-1212 * z**3 + 3402 * z**2 + 45765 * z + 35235) * g**2
        + (-104 * z**4 + 1578 * z**3 + 2700 * z**2 - 39285 * z - 54675) * g
        + 348 * z**4 - 1800 * z**3 - 6327 * z**2 + 7155 * z + 16200
    )  # fmt: skip
    return constant, over_p, x_over_p, over_square, x_over_square


def _estimation_5_2(s: sympy.Expr) -> sympy.Expr:
    """The means of 1/p and x/p are (b + R)/(R W) and −κ a₁/(R W); here r = R/z."""
    z, g, k = s**2, s * sympy.coth(s), s**2 * sympy.csch(s) ** 2
    a1, a2 = z * g + 6 * g**2 - 3 * z - 6 * g, z + 3 - 3 * g
    b, d = 3 * g**2 + 3 * k - 6 * g * k - z * k, 3 * z * (1 - k)
    r = sympy.sqrt(9 - k * (z + 6 * g + 3))
    W = sympy.sqrt((b + z * r) * (d + z * r))
    h = b / (z * r) + k * a2 / (d + z * r)
    constant, over_p, x_over_p, over_square, x_over_square = _coefficients_5_2(g, z)
    even = (b + z * r) * (over_p * r + z * over_square * h)
    odd = k * a1 * (a2 * x_over_p * r + z * x_over_square * (h + 1))
    return (constant / z + (even - odd) / (a2 * r**2 * W)) / (30 * a2**3)


def _own_weight(m: int, s: sympy.Expr) -> sympy.Expr:
    G, K = s / 2 * sympy.coth(s / 2), s**2 / 4 * sympy.csch(s / 2) ** 2
    return 2 / (G + K) if m == 2 else 8 / (3 * G + 3 * K + 2 * G * K)


def _weight_energy(m: int, s: sympy.Expr) -> sympy.Expr:
    G, K = s / 2 * sympy.coth(s / 2), s**2 / 4 * sympy.csch(s / 2) ** 2
    if m == 2:
        numerator = 15 * G + 15 * K + 12 * G * K + 4 * G**2 * K + 2 * K**2
        return numerator / (12 * (G + K) ** 2)
    numerator = (
        945 * G + 945 * K + 840 * G * K + 420 * G**2 * K + 210 * K**2 + 120 * G**3 * K
        + 240 * G * K**2 + 16 * G**4 * K + 88 * G**2 * K**2 + 16 * K**3
    )  # fmt: skip
    return numerator / (60 * (3 * G + 3 * K + 2 * G * K) ** 2)


# --- the forms ---------------------------------------------------------------------------------


def matern_forms(nu: object) -> MaternForms:
    """Return the closed forms of V(c), B(c) and their parts for ν = 3/2 or 5/2 in d = 1.

    Args:
        nu: ν as a number: 3/2 or 5/2.

    Raises:
        ValueError: If ν is any other number.
        TypeError: If ν is no number.

    Source: this project.

    Examples:
        >>> matern_forms(1.5).estimation(1)
        0.8182068696404944
    """
    return _forms(_smoothness(nu))


def _smoothness(nu: object) -> sympy.Rational:
    if isinstance(nu, bool) or not isinstance(nu, Real | sympy.Rational):
        raise TypeError(f"nu = {nu!r} must be 3/2 or 5/2")
    match = [known for known in _HALVES if known == sympy.nsimplify(nu, rational=True)]
    if not match:
        raise ValueError(f"nu = {nu!r}; allowed: 3/2 or 5/2")
    return match[0]


@lru_cache(maxsize=2)
def _forms(nu: sympy.Rational) -> MaternForms:
    m, s = _HALVES[nu], sympy.sqrt(2 * nu) / BANDWIDTH
    weight, energy = _own_weight(m, s), _weight_energy(m, s)

    def form(quantity: str, expression: sympy.Expr) -> ClosedForm:
        name = f"ridgeless.matern_{nu.p}_{nu.q}.{quantity}"
        return ClosedForm(name, expression, BANDWIDTH, _EVERYWHERE)

    return MaternForms(
        smoothness=nu,
        estimation=form("estimation", (_estimation_3_2 if m == 2 else _estimation_5_2)(s)),
        own_weight=form("own_weight", weight),
        weight_energy=form("weight_energy", energy),
        approximation=form("approximation", 1 - 2 * weight + energy),
    )


# --- algebra of the derivations ----------------------------------------------------------------

_y, _h = sympy.symbols("y h")  # coth and csch, at s or at s/2
_R, _W, _r = sympy.symbols("R W r")
_p0, _p1, _p2 = sympy.symbols("p0 p1 p2")

Relations = Iterable[tuple[sympy.Symbol, sympy.Expr]]


def _modulo(expression: sympy.Expr, relations: Relations) -> sympy.Expr:
    """Numerator of a rational expression modulo (symbol² − square), one symbol after the other.

    It is 0 if and only if the expression vanishes; functions left in it count as symbols.
    """
    numerator = sympy.fraction(sympy.together(_atomic(expression)))[0]
    known = tuple(relations)
    atoms = sorted(numerator.free_symbols.union(*(s.free_symbols for _, s in known)), key=str)
    symbols = [symbol for symbol, _ in known]
    symbols += [a for a in atoms if a not in symbols] or [sympy.Dummy()]
    # SymPy's sparse polynomials: expanding the same products as expressions takes a minute.
    polynomials = PolyRing(symbols, sympy.QQ)
    reduced = polynomials.from_expr(numerator)
    for place, (_, square) in enumerate(known):
        reduced = _reduce_powers(reduced, place, polynomials.from_expr(square))
    return reduced.as_expr()


def _atomic(expression: sympy.Expr) -> sympy.Expr:
    """Give each function and root in an expression a symbol of its own."""
    names: dict[sympy.Expr, sympy.Symbol] = {}
    return expression.replace(
        lambda e: isinstance(e, sympy.Function) or (e.is_Pow and not e.exp.is_Integer),
        lambda e: names.setdefault(e, sympy.Dummy(positive=True)),
    )


def _reduce_powers(polynomial: PolyElement, place: int, square: PolyElement) -> PolyElement:
    """Replace generator² by the square, where the generator is the one at that place."""
    total = polynomial.ring.zero
    for monomial, coefficient in polynomial.terms():
        power = monomial[place]
        rest = (*monomial[:place], power % 2, *monomial[place + 1 :])
        total += polynomial.ring.from_dict({rest: coefficient}) * square ** (power // 2)
    return total


def _without_radicals(expression: sympy.Expr, relations: Relations) -> sympy.Expr:
    """Replace every √(square) by its symbol, innermost first; a square is recognised exactly."""
    known = tuple(relations)

    def root(base: sympy.Expr, exponent: sympy.Rational) -> sympy.Expr:
        for symbol, square in known:
            if _modulo(base - square, known) == 0:
                return symbol**exponent.p
        return sympy.Pow(base, exponent)

    return expression.replace(
        lambda e: isinstance(e, sympy.Pow) and e.exp.is_Rational and e.exp.q == 2,
        lambda e: root(e.base, e.exp),
    )


def _claim_residual(
    nu: sympy.Rational,
    claimed: sympy.Expr,
    derived: Callable[[], sympy.Expr],
    argument: sympy.Expr,
    radicals: Relations = (),
) -> sympy.Expr:
    """Claimed minus derived, both rational in s, coth and csch of the argument, and radicals."""
    in_rate = claimed.subs(BANDWIDTH, sympy.sqrt(2 * nu) / RATE)
    symbols = {sympy.coth(argument): _y, sympy.csch(argument): _h}
    relations = (*radicals, (_h, _y**2 - 1))
    found = _without_radicals(in_rate.subs(symbols), relations)
    return _modulo(found - derived(), relations)


# --- the lattice sums --------------------------------------------------------------------------


def _profile(m: int) -> sympy.Expr:
    a, x = RATE, RADIUS  # here the rate is √(2ν)
    return ((1 + a * x) if m == 2 else (1 + a * x + (a * x) ** 2 / 3)) * sympy.exp(-a * x)


def _profile_residual(nu: sympy.Rational) -> sympy.Expr:
    profile = _profile(_HALVES[nu]).subs(RATE, sympy.sqrt(2 * nu))
    return sympy.simplify(Matern(nu).radial_kernel - profile)


def _transform_residual(m: int) -> sympy.Expr:
    w = sympy.Symbol("w", real=True)
    series = sympy.Poly(sympy.expand(_profile(m) * sympy.exp(RATE * RADIUS)), RADIUS)
    # int_0^oo x^k e^{-b x} dx = k!/b^{k+1}, the k-th derivative of 1/b in -b.
    halves = sum(
        a * sympy.factorial(k) / (RATE + sign * sympy.I * w) ** (k + 1)
        for (k,), a in series.terms()
        for sign in (1, -1)
    )
    constant = halves.subs(w, 0) * RATE ** (2 * m)
    transform = sympy.cancel(halves - constant / (RATE**2 + w**2) ** m)
    return first_nonzero(half_line_residual(sympy.Integer(1), w), transform)


def _laplace_residual() -> sympy.Expr:
    """The sum with exponent 1, by every step of the Laplace kernel's derivation but the last."""
    return first_nonzero(*(step.residual() for step in laplace.derive_own_weight().steps[:-1]))


def _power_residual() -> sympy.Expr:
    w, j = sympy.symbols("w j", positive=True)
    term = (RATE**2 + w**2) ** -j
    return sympy.simplify(-sympy.diff(term, RATE) / (2 * j * RATE) - term / (RATE**2 + w**2))


def _variables_residual() -> sympy.Expr:
    """The sum in g and x, and d/ds of g and x in g, z and x."""
    s, X = RATE, sympy.Symbol("X")
    g, x = s * sympy.coth(s), s * X / sympy.sinh(s)
    k = s**2 / sympy.sinh(s) ** 2
    identities = (
        laplace.lattice_sum(s, X) - 1 / (2 * (g - x)),
        k - g**2 + s**2,
        s * sympy.diff(g, s) - (g - k),
        s * sympy.diff(x, s) - (1 - g) * x,
    )
    return first_nonzero(*(reduce_exponentials(e) for e in identities))


def _rate_derivative(f: sympy.Expr) -> sympy.Expr:
    """(1/s) df/ds for a function of g, z and x."""
    g_part = (_g - _g**2 + _z) * sympy.diff(f, _g)
    return (g_part + 2 * _z * sympy.diff(f, _z) + (1 - _g) * _x * sympy.diff(f, _x)) / _z


@lru_cache(maxsize=8)
def lattice_numerator(exponent: int) -> sympy.Poly:
    """Return p in Σ_l (s² + (u + 2πl)²)^{−j} = p(x)/(z^{j−1} (g − x)^j), a polynomial in x.

    Args:
        exponent: j >= 1.

    Source: this project.
    """
    if exponent == 1:
        return sympy.Poly(sympy.Rational(1, 2), _x)
    j = exponent - 1
    below = lattice_numerator(j).as_expr() / (_z ** (j - 1) * (_g - _x) ** j)
    above = -_rate_derivative(below) / (2 * j) * _z**j * (_g - _x) ** exponent
    return sympy.Poly(sympy.cancel(sympy.together(above)), _x)


def _induction_residual(m: int) -> sympy.Expr:
    """Differentiate each sum and compare with the next, up to 2m."""
    sums = [
        lattice_numerator(j).as_expr() / (_z ** (j - 1) * (_g - _x) ** j)
        for j in range(1, 2 * m + 1)
    ]
    gaps = (-_rate_derivative(a) / (2 * j) - b for j, (a, b) in enumerate(pairwise(sums), 1))
    return first_nonzero(*(sympy.cancel(sympy.together(gap)) for gap in gaps))


def _lattice_steps(nu: sympy.Rational) -> tuple[Step, ...]:
    m = _HALVES[nu]
    return (
        Step(
            "The kernel is a polynomial times e^{-a|x|}, a = sqrt(2 nu).",
            partial(_profile_residual, nu),
        ),
        Step(
            f"Its Fourier transform is a multiple of (a^2 + (2 pi xi)^2)^(-{m}).",
            partial(_transform_residual, m),
        ),
        Step(
            "sum_l 1/(s^2 + (u + 2 pi l)^2) = sinh(s)/(2 s (cosh(s) - cos(u))), as for the Laplace "
            "kernel.",
            _laplace_residual,
        ),
        Step("-(1/(2 j s)) d/ds raises the exponent j of a term by 1.", _power_residual),
        Step(
            "With g = s coth(s), kappa = s^2 csch(s)^2 = g^2 - z, z = s^2 and x = s cos(u)/sinh(s) "
            "that sum is 1/(2 (g - x)), and s dg/ds = g - kappa, s dx/ds = (1 - g) x.",
            _variables_residual,
        ),
        Step(
            f"So the sums with exponents up to {2 * m} are polynomials in x over powers of z and "
            "g - x.",
            partial(_induction_residual, m),
        ),
    )


_CITES = (
    "Poisson summation formula",
    "residue theorem with Jordan's lemma",
    "a uniformly convergent series of derivatives may be differentiated term by term",
)


# --- the means over a period -------------------------------------------------------------------

_q1, _q2, _c = sympy.symbols("q1 q2 gamma")
_FACTORED = {
    _p0: _c * (1 + _q1**2) * (1 + _q2**2),
    _p1: 2 * _c * (_q1 * (1 + _q2**2) + _q2 * (1 + _q1**2)),
    _p2: 4 * _c * _q1 * _q2,
}
_R_SQUARED = (_p0 + _p2) ** 2 - _p1**2
_W_SQUARED = (_p0 + _R) ** 2 - _p2**2
_MEAN = (_p0 + _p2 + _R) / (_R * _W)  # of 1/p
_MEAN_X = -_p1 / (_R * _W)  # of X/p
_ALL = ((_W, _W_SQUARED), (_R, _R_SQUARED))
_DECAY = (_p0 + _p2) / _R + _p2 / (_p0 - _p2 + _R)


def _factor_residual() -> sympy.Expr:
    """p is γ Π (1 + 2 q_i X + q_i²), and R and W are then rational in q1, q2."""
    X = sympy.Symbol("X")
    p = (_p0 + _p1 * X + _p2 * X**2).subs(_FACTORED)
    factors = _c * (1 + 2 * _q1 * X + _q1**2) * (1 + 2 * _q2 * X + _q2**2)
    R, W = _c * (1 - _q1**2) * (1 - _q2**2), 2 * _c * (1 - _q1**2 * _q2**2)
    squares = (R**2 - _R_SQUARED.subs(_FACTORED), W**2 - _W_SQUARED.subs(_FACTORED).subs(_R, R))
    return first_nonzero(sympy.expand(p - factors), *(sympy.expand(e) for e in squares))


def _mean_residual() -> sympy.Expr:
    """Residues at −q1 and −q2 of the integrands in w = e^{iu}, cos(u) = (w + 1/w)/2."""
    w = sympy.Symbol("w")
    R, W = _c * (1 - _q1**2) * (1 - _q2**2), 2 * _c * (1 - _q1**2 * _q2**2)
    smooth = w / (_c * (1 + _q1 * w) * (1 + _q2 * w))

    def mean(factor: sympy.Expr) -> sympy.Expr:
        at_q1 = (factor * smooth / (w + _q2)).subs(w, -_q1)
        return at_q1 + (factor * smooth / (w + _q1)).subs(w, -_q2)

    claims = (e.subs(_FACTORED).subs({_R: R, _W: W}) for e in (_MEAN, _MEAN_X))
    found = (mean(sympy.Integer(1)), mean((w + 1 / w) / 2))
    return first_nonzero(*(sympy.cancel(a - b) for a, b in zip(found, claims, strict=True)))


def _derivative_residual() -> sympy.Expr:
    """Means of 1/p² and X/p²: minus the derivatives in p0, with R and W differentiated by hand."""
    slope_R = (_p0 + _p2) / _R
    slope_W = (_p0 + _R) * (1 + slope_R) / _W
    slopes = (
        (sympy.diff(_R_SQUARED, _p0) - 2 * _R * slope_R),
        sympy.diff(_W_SQUARED, _p0) + sympy.diff(_W_SQUARED, _R) * slope_R - 2 * _W * slope_W,
    )

    def gap(mean: sympy.Expr, rate: sympy.Expr) -> sympy.Expr:
        total = sympy.diff(mean, _p0)
        total += sympy.diff(mean, _R) * slope_R + sympy.diff(mean, _W) * slope_W
        return -total - mean * rate / _R

    gaps = (*slopes, gap(_MEAN, _DECAY), gap(_MEAN_X, _DECAY + 1))
    return first_nonzero(*(_modulo(e, _ALL) for e in gaps))


def _degree_residual(m: int) -> sympy.Expr:
    """The leading coefficient of p, times sinh(s), is a power series with positive coefficients."""
    k = sympy.Symbol("k", integer=True, positive=True)
    sinh, cosh = 1 / sympy.factorial(2 * k + 1), 1 / sympy.factorial(2 * k)
    if m == 2:  # s cosh - sinh
        leading, series, positive = _g - 1, cosh - sinh, 2 * k
    else:  # s^2 sinh - 3 s cosh + 3 sinh
        leading, positive = _z - 3 * _g + 3, 2 * k * (2 * k - 2)
        series = 1 / sympy.factorial(2 * k - 1) - 3 * cosh + 3 * sinh
    # The coefficient of s^{2k+1}, k >= 1; that of s vanishes. For m = 3 it vanishes at k = 1, too.
    constant = sympy.cancel(lattice_numerator(m).LC() / leading) - sympy.Rational(4) ** (1 - m)
    return first_nonzero(constant, sympy.combsimp((series - positive * sinh) / sinh))


@dataclass(frozen=True, eq=False)
class Division:
    """P = (c₀ + c₁x) p² + (e₀ + e₁x) p + f₀ + f₁x, with the constant of Q/S² in front.

    Attributes:
        denominator: p.
        parts: The three affine polynomials c, e and f.
    """

    denominator: sympy.Poly
    parts: tuple[sympy.Poly, sympy.Poly, sympy.Poly]


@lru_cache(maxsize=2)
def division(m: int) -> Division:
    """Divide P/z twice by p, where p is normed so that its coefficients are integers.

    Source: this project.
    """
    p, P = lattice_numerator(m), lattice_numerator(2 * m)
    # Q/S² = (P z^{1−2m})/(p z^{1−m})² = P/(z p²); p → λp asks for P → λ²P.
    scale = 4 ** (m - 1)
    denominator, numerator = scale * p, scale**2 * P / _z
    once, f = sympy.div(sympy.Poly(numerator, _x), denominator)
    c, e = sympy.div(once, denominator)
    return Division(denominator, (c, e, f))


def _division_residual(m: int) -> sympy.Expr:
    """Q/S² = P/(z p²) for p and P as they come from the lattice sums, in polynomials."""
    p, (c, e, f) = division(m).denominator, division(m).parts
    total = c * p**2 + e * p + f
    degrees = sum(max(q.degree() - 1, 0) for q in (c, e, f))
    gap = total * _z * lattice_numerator(m) ** 2 - lattice_numerator(2 * m) * p**2
    return first_nonzero(sympy.Integer(degrees), gap.as_expr())


def _in_rate(expression: sympy.Expr) -> sympy.Expr:
    return expression.subs({_g: RATE * _y, _z: RATE**2, _k: RATE**2 * (_y**2 - 1)})


def _denominator_means(m: int) -> dict[sympy.Symbol, sympy.Expr]:
    """p0, p2 and p1² of p(x) as a polynomial in cos(u): x = √κ cos(u)."""
    a0, a1, a2 = (division(m).denominator.nth(i) for i in range(3))
    return {_p0: a0, _p1: sympy.sqrt(_k) * a1, _p2: _k * a2}


@lru_cache(maxsize=2)
def _radicals(m: int) -> tuple[tuple[sympy.Symbol, sympy.Expr], ...]:
    """W and r = R/s^{m−1} with their squares, in s and y = coth(s)."""
    at = _denominator_means(m)
    square = sympy.expand(_in_rate(_R_SQUARED.subs(at)) / RATE ** (2 * m - 2))
    r = (_r, sympy.expand(sympy.cancel(square)))
    if m == 2:
        return (r,)
    W_squared = _W_SQUARED.subs(at).subs(_R, RATE**2 * _r)
    return (_W, sympy.expand(_in_rate(W_squared))), r


@lru_cache(maxsize=2)
def _estimation_derived(m: int) -> sympy.Expr:
    """The mean of Q/S² from the means of 1, 1/p, x/p, 1/p², x/p² (that of x is 0)."""
    at = _denominator_means(m)
    W = _p0 + _R if m == 2 else _W  # p2 = 0 for m = 2
    means = [sympy.Integer(1), _MEAN, _MEAN_X, _MEAN * _DECAY / _R, _MEAN_X * (_DECAY + 1) / _R]
    c, e, f = division(m).parts
    # x = √κ cos(u), so that the odd means carry √κ once more.
    root = sympy.sqrt(_k)
    factors = [c.nth(0), e.nth(0), root * e.nth(1), f.nth(0), root * f.nth(1)]
    total = sympy.Add(
        *(
            sympy.factor(a) * mean.subs(_W, W).subs(at)
            for a, mean in zip(factors, means, strict=True)
        )
    )
    return _in_rate(total.subs(_R, RATE ** (m - 1) * _r))


def _zero_mean_residual() -> sympy.Expr:
    u = sympy.Symbol("u", real=True)
    return sympy.integrate(sympy.cos(u), (u, 0, 2 * sympy.pi))


def _mean_steps(m: int) -> tuple[Step, ...]:
    return (
        Step(
            "The leading coefficient of p is positive: its power series has no negative term.",
            partial(_degree_residual, m),
        ),
        Step(
            "Divide twice: Q/S^2 = c + e/p + f/p^2 with c, e, f affine in x.",
            partial(_division_residual, m),
        ),
        Step(
            "S > 0, so p has no root with cos(u) in [-1, 1]: p = gamma prod (1 + 2 q_i cos(u) + "
            "q_i^2), gamma > 0, with |q_i| < 1 real or conjugate; R = gamma (1-q1^2)(1-q2^2) > 0 "
            "and W = 2 gamma (1 - q1^2 q2^2) > 0 are the roots of (p0+p2)^2 - p1^2 and "
            "(p0+R)^2 - p2^2.",
            _factor_residual,
        ),
        Step(
            "The means of 1/p and cos(u)/p are (p0+p2+R)/(R W) and -p1/(R W), by the residues "
            "inside the unit circle (q1 = q2 by continuity).",
            _mean_residual,
        ),
        Step(
            "Those of 1/p^2 and cos(u)/p^2 are minus the derivatives in p0: times h/R and "
            "(h+1)/R, h = (p0+p2)/R + p2/(p0-p2+R).",
            _derivative_residual,
        ),
        Step("The mean of cos(u) is 0.", _zero_mean_residual),
    )


def derive_estimation(nu: object, claimed: sympy.Expr | None = None) -> Derivation:
    """Derive V(c) from the lattice sums.

    Args:
        nu: ν, 3/2 or 5/2.
        claimed: The formula to compare with, in the symbol ``laplace.BANDWIDTH``.

    Raises:
        ValueError: If ν is any other number.
        TypeError: If ν is no number.

    Source: this project.
    """
    smoothness = _smoothness(nu)
    m = _HALVES[smoothness]
    formula = matern_forms(nu).estimation.expression if claimed is None else claimed

    def residual() -> sympy.Expr:
        derived = partial(_estimation_derived, m)
        return _claim_residual(smoothness, formula, derived, RATE, _radicals(m))

    last = Step("V is the mean of Q/S^2, and equals the claimed formula.", residual)
    goal = f"V(c) for the Matern kernel of smoothness {smoothness}, s = sqrt({2 * smoothness})/c."
    cites = (*_CITES, "differentiation under the integral sign")
    return Derivation(goal, (*_lattice_steps(smoothness), *_mean_steps(m), last), cites)


# --- the bias: the sums at u = 0 ---------------------------------------------------------------


def _half_rate_residual() -> sympy.Expr:
    """At u = 0, with t = s/2 and G = t coth(t): g = G + t²/G and x = s/sinh(s) = G − t²/G."""
    t = RATE / 2
    G = t * sympy.coth(t)
    g = RATE * sympy.coth(RATE) - G - t**2 / G
    x = RATE / sympy.sinh(RATE) - G + t**2 / G
    return first_nonzero(reduce_exponentials(g), reduce_exponentials(x))


def _at_zero(expression: sympy.Expr) -> sympy.Expr:
    """A function of g, z and x at u = 0, in s and y = coth(s/2)."""
    t = RATE / 2
    G = t * _y
    return sympy.cancel(expression.subs({_g: G + t**2 / G, _x: G - t**2 / G, _z: RATE**2}))


@lru_cache(maxsize=2)
def _own_weight_derived(m: int) -> sympy.Expr:
    """s^{−2m} over the sum, as the transform at 0 is the term l = 0."""
    return _at_zero((_g - _x) ** m / (_z * lattice_numerator(m).as_expr()))


@lru_cache(maxsize=2)
def _weight_energy_derived(m: int) -> sympy.Expr:
    P, p = lattice_numerator(2 * m).as_expr(), lattice_numerator(m).as_expr()
    return _at_zero(P / (_z * p**2))


def _approximation_derived(m: int) -> sympy.Expr:
    return 1 - 2 * _own_weight_derived(m) + _weight_energy_derived(m)


def _derivation_at_zero(
    nu: object,
    quantity: str,
    claimed: sympy.Expr | None,
    derived: Callable[[int], sympy.Expr],
    idea: str,
) -> Derivation:
    smoothness = _smoothness(nu)
    form: ClosedForm = getattr(matern_forms(nu), quantity)
    formula = form.expression if claimed is None else claimed

    def residual() -> sympy.Expr:
        value = partial(derived, _HALVES[smoothness])
        return _claim_residual(smoothness, formula, value, RATE / 2)

    steps = (
        *_lattice_steps(smoothness),
        Step(
            "At u = 0, with t = s/2 and G = t coth(t): g = G + t^2/G and x = G - t^2/G.",
            _half_rate_residual,
        ),
        Step(idea, residual),
    )
    name = quantity.replace("_", " ")
    goal = f"The {name} for the Matern kernel of smoothness {smoothness}, t = s/2."
    return Derivation(goal, steps, _CITES)


def derive_own_weight(nu: object, claimed: sympy.Expr | None = None) -> Derivation:
    """Derive r_0(0), the share of the lowest frequency in its alias class.

    Args:
        nu: ν, 3/2 or 5/2.
        claimed: The formula to compare with, in the symbol ``laplace.BANDWIDTH``.

    Raises:
        ValueError: If ν is any other number.
        TypeError: If ν is no number.

    Source: this project.
    """
    idea = "r_0(0) = phihat(0)/S(0)."
    return _derivation_at_zero(nu, "own_weight", claimed, _own_weight_derived, idea)


def derive_weight_energy(nu: object, claimed: sympy.Expr | None = None) -> Derivation:
    """Derive Σ_l r_l(0)².

    Args:
        nu: ν, 3/2 or 5/2.
        claimed: The formula to compare with, in the symbol ``laplace.BANDWIDTH``.

    Raises:
        ValueError: If ν is any other number.
        TypeError: If ν is no number.

    Source: this project.
    """
    idea = "The energy is Q/S^2 at u = 0."
    return _derivation_at_zero(nu, "weight_energy", claimed, _weight_energy_derived, idea)


def derive_approximation(nu: object, claimed: sympy.Expr | None = None) -> Derivation:
    """Derive B(c) = 1 − 2 r_0(0) + Σ_l r_l(0)².

    Args:
        nu: ν, 3/2 or 5/2.
        claimed: The formula to compare with, in the symbol ``laplace.BANDWIDTH``.

    Raises:
        ValueError: If ν is any other number.
        TypeError: If ν is no number.

    Source: this project.
    """
    idea = "B = 1 - 2 r_0 + sum_l r_l^2."
    return _derivation_at_zero(nu, "approximation", claimed, _approximation_derived, idea)
