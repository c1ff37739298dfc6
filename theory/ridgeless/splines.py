r"""The spline limit: noise amplification of kernels with an algebraic spectral tail.

Statement (claim ``ridgeless.splines``): if the kernel's Fourier transform behaves like
:math:`|\xi|^{-\alpha}`, the estimation error per unit of noise tends, as the bandwidth in grid
spacings grows, to

.. math::
    C(\alpha, d) = \int_{[0,1]^d} \frac{\zeta_{2\alpha}(\theta)}{\zeta_\alpha(\theta)^2}\,d\theta,
    \qquad \zeta_\alpha(\theta) = \sum_{m \in \mathbb{Z}^d} |\theta + m|^{-\alpha}.

For even alpha in d = 1 the constant is algebraic and found by residues; otherwise it is enclosed.
The two routes share nothing: the residues never integrate, the quadrature never factors.
Source: this project.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import sympy
from flint import arb
from sympy import Rational, sqrt

from ..derivation import Derivation, Step
from .spline_quadrature import Real, exact_exponent, spline_enclosure

_x, _t, _q = sympy.symbols("x t q")  # x = sin^2(pi theta); t: an algebraic number; 0 < q < 1


# --- The claimed closed forms ----------------------------------------------------------------


def _euler_octic(e1: sympy.Rational, e2: sympy.Rational, root_e3: sympy.Expr) -> sympy.Expr:
    """Largest value of ±√w₁ ±√w₂ ±√w₃ for the w's with elementary symmetric functions e1, e2, e3.

    Euler's solution of a quartic read backwards: T = √w₁+√w₂+√w₃ satisfies
    (T² − e1)² − 4 e2 = 8 √e3 T; squaring once more clears √e3.
    """
    octic = ((_t**2 - e1) ** 2 - 4 * e2) ** 2 - 64 * root_e3**2 * _t**2
    return sympy.CRootOf(sympy.Poly(sympy.expand(octic), _t), 7)


# C(8) has no formula in real radicals: all its conjugates are real and the Galois group of its
# minimal polynomial is no 2-group (it maps onto the S3 of a cubic with three real roots), so
# this is the casus irreducibilis. Its minimal polynomial, in Euler's form, is the simplest.
CLOSED_FORMS: dict[int, sympy.Expr] = {
    2: Rational(2, 3),
    4: Rational(4, 5) + 3 * sqrt(3) / 70,
    6: Rational(496, 693) + sqrt(210 * (58095 + 2782 * sqrt(30))) / 19404,
    8: Rational(4064, 6435)
    + _euler_octic(
        Rational(104845776065131568033, 1627339894343698220400),
        Rational(213208151366676124896689036566387, 1455370416375108690313262752523212464),
        13353513621302981 * sqrt(595) / 2737760057542927594320,
    ),
}


def spline_constant(alpha: Real, dimension: int = 1) -> sympy.Expr | arb:
    """C(alpha, d): exact for even alpha in d = 1, otherwise a certified enclosure.

    Args:
        alpha: Decay exponent of the spectrum, larger than ``dimension``; a float is taken as the
            binary number that it is.
        dimension: 1, 2 or 3.

    Returns:
        A SymPy algebraic number (d = 1, even alpha), or an ``arb`` with about 20 digits in d = 1,
        12 in d = 2 and 6 in d = 3 (see ``spline_enclosure``).

    Raises:
        ValueError: If alpha <= d (the sums diverge) or the dimension is not 1, 2 or 3.
        TypeError: If alpha is not a real number of the named types.
    """
    exponent = exact_exponent(alpha, dimension)
    if dimension == 1 and exponent.denominator == 1 and exponent.numerator % 2 == 0:
        even = exponent.numerator
        return CLOSED_FORMS[even] if even in CLOSED_FORMS else residue_sum(even)
    return spline_enclosure(alpha, dimension)


# --- Even alpha, d = 1: residues -------------------------------------------------------------


@cache
def alias_numerator(alpha: int) -> sympy.Poly:
    r"""The polynomial N with ζ_α(θ) = π^α N(x) x^{-α/2}, x = sin²(πθ), for even alpha ≥ 2.

    ζ_2 = π²/sin²(πθ) gives N = 1, and ζ_{α+2} = ζ_α''/(α(α+1)) the others: in x the operator
    d²/dθ² is π²(4x(1−x) d²/dx² + 2(1−2x) d/dx).
    """
    numerator = sympy.Poly(1, _x)
    for order in range(2, alpha, 2):
        function = numerator.as_expr() * _x ** Rational(-order, 2)
        second = 4 * _x * (1 - _x) * function.diff(_x, 2) + 2 * (1 - 2 * _x) * function.diff(_x)
        scaled = second * _x ** Rational(order + 2, 2) / (order * (order + 1))
        numerator = sympy.Poly(sympy.expand(scaled), _x)
    return numerator


@dataclass(frozen=True, eq=False)
class Residues:
    """Partial fractions of ζ_{2α}/ζ_α² = quotient + Σ_X [double/(x−X)² + simple/(x−X)].

    Attributes:
        numerator: N_{2α}(x).
        denominator: N_α(x), whose roots are the X.
        quotient: The polynomial part.
        double: Coefficient of (x−X)^{-2} as a polynomial in X, reduced modulo N_α(X).
        simple: Coefficient of (x−X)^{-1}, likewise.
        weight: What X contributes to the mean, times √(X(X−1)), likewise.
    """

    numerator: sympy.Poly
    denominator: sympy.Poly
    quotient: sympy.Poly
    double: sympy.Poly
    simple: sympy.Poly
    weight: sympy.Poly

    @property
    def rational_part(self) -> sympy.Rational:
        """Mean of the (affine) quotient: x = sin² has mean 1/2."""
        return self.quotient.eval(Rational(1, 2))


@cache
def residues(alpha: int) -> Residues:
    """The partial fractions, by arithmetic in Q[X]/(N_α(X)): no root is ever computed."""
    numerator, denominator = alias_numerator(2 * alpha), alias_numerator(alpha)
    quotient = sympy.div(numerator, denominator**2)[0]
    if denominator.degree() == 0:
        zero = sympy.Poly(0, _x)
        return Residues(numerator, denominator, quotient, zero, zero, zero)
    first, second = denominator.diff(), denominator.diff().diff()
    inverse = sympy.invert(first, denominator)
    double = (numerator * inverse**2).rem(denominator)
    simple = ((numerator.diff() * first - numerator * second) * inverse**3).rem(denominator)
    # Means: 1/(x−X) ↦ −1/√(X(X−1)) and 1/(x−X)² ↦ (2X−1)/(2 (X(X−1))^{3/2}).
    shape = sympy.invert(sympy.Poly(_x * (_x - 1), _x), denominator)
    weight = (double * sympy.Poly(_x - Rational(1, 2), _x) * shape - simple).rem(denominator)
    return Residues(numerator, denominator, quotient, double, simple, weight)


def residue_sum(alpha: int) -> sympy.Expr:
    """C(alpha, 1) for even alpha as it comes from the residues: a sum over the roots of N_α."""
    parts = residues(alpha)
    terms = [
        parts.weight.eval(root) / sqrt(root * (root - 1))
        for root in sympy.real_roots(parts.denominator)
    ]
    return parts.rational_part + sum(terms, sympy.S.Zero)


def _conjugates(parts: Residues) -> sympy.Poly:
    """∏ over signs of (t − Σ ±√w), w = weight(X)²/(X(X−1)) over the roots X: up to three of them.

    It vanishes at C − (rational part), and is written with the symmetric functions of the w.
    """
    shape = sympy.invert(sympy.Poly(_x * (_x - 1), _x), parts.denominator)
    square = (parts.weight**2 * shape).rem(parts.denominator)
    w = sympy.Poly(sympy.resultant(parts.denominator.as_expr(), _t - square.as_expr(), _x), _t)
    e1, e2, e3 = [(-1) ** (i + 1) * c for i, c in enumerate((*w.monic().all_coeffs()[1:], 0, 0))][
        :3
    ]
    one, two = _t**2 - e1, (_t**2 - e1) ** 2 - 4 * e2
    three = two**2 - 64 * e3 * _t**2
    return sympy.Poly(sympy.expand((one, two, three)[w.degree() - 1]), _t)


def _difference(alpha: int, claimed: sympy.Expr) -> sympy.Expr:
    """Claimed minus derived constant: 0 only when proved equal."""
    parts = residues(alpha)
    derived = residue_sum(alpha)
    gap = claimed - derived
    if gap == 0 or abs(sympy.N(gap, 30)) > Rational(1, 10**20):
        return gap
    if parts.denominator.degree() > 3:  # then only the sum over the roots itself is recognised
        return gap
    # Equal to 20 digits: both are roots of one rational polynomial, which has one root there.
    polynomial = _conjugates(parts)
    minimal = sympy.minimal_polynomial(claimed - parts.rational_part, _t, polys=True)
    centre = Rational(str(sympy.N(claimed - parts.rational_part, 30)))
    near = polynomial.count_roots(centre - Rational(1, 10**15), centre + Rational(1, 10**15))
    remainder = polynomial.rem(minimal.set_domain("QQ"))
    return remainder.as_expr() if not remainder.is_zero else sympy.Integer(near - 1)


def derive_constant(alpha: int, claimed: sympy.Expr | None = None) -> Derivation:
    """C(alpha, 1) for even alpha, from its definition.

    Args:
        alpha: Even, at least 2.
        claimed: The formula to judge; ``spline_constant(alpha)`` if not given.

    Raises:
        ValueError: If alpha is odd or smaller than 2.
    """
    if alpha < 2 or alpha % 2:
        raise ValueError(f"alpha must be an even integer >= 2, got {alpha!r}")
    formula = spline_constant(alpha) if claimed is None else claimed
    assert isinstance(formula, sympy.Expr)
    return Derivation(
        goal=f"C({alpha}, 1) = {formula if alpha < 8 else 'an algebraic number'}",
        steps=(
            Step("zeta_(a+2) = zeta_a''/(a(a+1)), from zeta_2 on", lambda: _recursion(alpha)),
            Step("the polynomial part of N_2a/N_a^2 is affine", lambda: _affine(alpha)),
            Step(
                "each root X of N_a is a double pole of N_2a/N_a^2 with the stated coefficients",
                lambda: _double_poles(alpha),
            ),
            Step("all roots of N_a are simple and larger than 1", lambda: _roots_beyond_one(alpha)),
            Step("the mean of 1/(X - sin^2) is 1/sqrt(X(X-1)), by its residue", _mean_of_pole),
            Step(
                "the mean of 1/(X - sin^2)^2 is minus the derivative in X, and each pole gives "
                "weight(X)/sqrt(X(X-1))",
                lambda: _weight(alpha),
            ),
            Step(
                "the sum over the roots is the claimed number", lambda: _difference(alpha, formula)
            ),
        ),
        cites=("Euler: sum over m of (theta+m)^-2 = pi^2/sin^2(pi theta)",),
    )


def _recursion(alpha: int) -> sympy.Expr:
    """Differentiate in θ itself, not in x: the chain rule of ``alias_numerator`` is on trial."""
    theta = sympy.Symbol("theta")
    sine = sympy.sin(sympy.pi * theta)
    total = sympy.S.Zero
    for order in range(2, 2 * alpha, 2):
        low = alias_numerator(order).as_expr().subs(_x, sine**2) / sine**order
        high = alias_numerator(order + 2).as_expr().subs(_x, sine**2) / sine ** (order + 2)
        gap = low.diff(theta, 2) / sympy.pi**2 - order * (order + 1) * high
        cosine = sympy.cos(sympy.pi * theta)
        total += sympy.expand(sympy.expand(gap).subs(cosine**2, 1 - sine**2)) ** 2
    return total


def _affine(alpha: int) -> sympy.Expr:
    parts = residues(alpha)
    proper = parts.numerator - parts.quotient * parts.denominator**2
    excess = max(proper.degree() - 2 * parts.denominator.degree() + 1, 0)
    if parts.denominator.degree() == 0:
        excess = 0 if proper.is_zero else 1
    return sympy.Integer(excess + max(parts.quotient.degree() - 1, 0))


def _double_poles(alpha: int) -> sympy.Expr:
    """N_2a ≡ [double + simple (x−X)] (N_a/(x−X))² modulo (x−X)², at a generic root X."""
    parts = residues(alpha)
    d = parts.denominator
    if d.degree() == 0:
        return sympy.S.Zero
    value = (parts.numerator - parts.double * d.diff() ** 2).rem(d)
    slope = (
        parts.numerator.diff()
        - parts.simple * d.diff() ** 2
        - parts.double * d.diff() * d.diff().diff()
    ).rem(d)
    return value.as_expr() ** 2 + slope.as_expr() ** 2


def _roots_beyond_one(alpha: int) -> sympy.Expr:
    d = alias_numerator(alpha)
    if d.degree() == 0:
        return sympy.S.Zero
    at_one = 0 if d.eval(1) != 0 else 1  # Sturm's count includes the end point
    return sympy.Integer(d.degree() - d.count_roots(1, None) + at_one)


def _mean_of_pole() -> sympy.Expr:
    """X = (1+q)²/(4q): with z = e^{2πiθ} the integrand is 4/(z²+(4X−2)z+1), pole inside at −q."""
    z = sympy.Symbol("z")
    big = (1 + _q) ** 2 / (4 * _q)
    substitution = sympy.cancel(z**2 + (4 * big - 2) * z + 1 - (z + _q) * (z + 1 / _q))
    residue = sympy.residue(4 / ((z + _q) * (z + 1 / _q)), z, -_q)
    # √(X(X−1)) = (1−q²)/(4q): positive since q < 1, so squares may be compared.
    root = (1 - _q**2) / (4 * _q)
    return sympy.simplify(
        substitution**2 + (residue * root - 1) ** 2 + (root**2 - big * (big - 1)) ** 2
    )


def _weight(alpha: int) -> sympy.Expr:
    big = sympy.Symbol("X", positive=True)
    mean = (big * (big - 1)) ** Rational(-1, 2)
    derivative = sympy.simplify(
        mean.diff(big) + (big - Rational(1, 2)) * (big * (big - 1)) ** Rational(-3, 2)
    )
    parts = residues(alpha)
    if parts.denominator.degree() == 0:
        return derivative
    shape = sympy.Poly(_x * (_x - 1), _x)
    slope = sympy.Poly(_x - Rational(1, 2), _x)
    gap = (parts.weight * shape - parts.double * slope + parts.simple * shape).rem(
        parts.denominator
    )
    return derivative**2 + gap.as_expr() ** 2
