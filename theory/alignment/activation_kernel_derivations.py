"""Derivations of the derivative kernels from their definition, κ = E φ'(u) φ'(v)."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from functools import partial

import sympy

from ..derivation import Derivation, Step
from .activation_kernels import UU, UV, VV, activation_kernel, hermite_order

_z = sympy.Symbol("z", real=True)
_rho = sympy.Symbol("rho", real=True)
_positive = sympy.symbols("a b", positive=True)


def derive_kernel(name: str, claimed: sympy.Expr | None = None) -> Derivation:
    """Derive the kernel of an activation.

    Args:
        name: As in `activation_kernel`.
        claimed: The formula to compare with, in its symbols; by default that of the kernel.

    Raises:
        ValueError: If the name is unknown.
    """
    formula = activation_kernel(name).expression if claimed is None else claimed
    if name == "relu":
        return _derive_relu(formula)
    if name == "erf":
        return _derive_erf(formula)
    return _derive_polynomial(name, formula)


# --- relu: a differential equation in the correlation -----------------------------------------


def _density() -> tuple[sympy.Expr, sympy.Symbol, sympy.Symbol]:
    u, v = sympy.symbols("u v", real=True)
    form = (u**2 - 2 * _rho * u * v + v**2) / (2 * (1 - _rho**2))
    return sympy.exp(-form) / (2 * sympy.pi * sympy.sqrt(1 - _rho**2)), u, v


def _plackett_residual() -> sympy.Expr:
    """Check ∂p/∂ρ = ∂²p/∂u∂v for the density p of unit variances and correlation ρ."""
    p, u, v = _density()
    return sympy.simplify((sympy.diff(p, _rho) - sympy.diff(p, u, v)) / p)


def _origin_residual() -> sympy.Expr:
    """Check p(0, 0) = 1/(2π√(1 − ρ²))."""
    p, u, v = _density()
    return sympy.simplify(p.subs({u: 0, v: 0}) - 1 / (2 * sympy.pi * sympy.sqrt(1 - _rho**2)))


def _in_correlation(claimed: sympy.Expr) -> sympy.Expr:
    a, b = _positive
    return claimed.subs({UU: a**2, VV: b**2, UV: _rho * a * b}, simultaneous=True)


def _scale_residual(claimed: sympy.Expr) -> sympy.Expr:
    """Check that the slopes in both standard deviations vanish at fixed correlation."""
    a, b = _positive
    slopes = [sympy.simplify(sympy.diff(_in_correlation(claimed), s)) for s in (a, b)]
    return slopes[0] if slopes[0] != 0 else slopes[1]


def _unit(claimed: sympy.Expr) -> sympy.Expr:
    return claimed.subs({UU: 1, VV: 1, UV: _rho}, simultaneous=True)


def _slope_residual(claimed: sympy.Expr) -> sympy.Expr:
    slope = 1 / (2 * sympy.pi * sympy.sqrt(1 - _rho**2))
    return sympy.simplify(sympy.diff(_unit(claimed), _rho) - slope)


def _start_residual(claimed: sympy.Expr) -> sympy.Expr:
    return sympy.simplify(_unit(claimed).subs(_rho, 0) - sympy.Rational(1, 4))


def _derive_relu(claimed: sympy.Expr) -> Derivation:
    steps = (
        Step("Plackett: ∂p/∂ρ = ∂²p/∂u∂v.", _plackett_residual),
        Step(
            "φ' is the indicator of z > 0, so κ = P(u > 0, v > 0) and dκ/dρ is the integral of "
            "∂²p/∂u∂v over the quadrant, p(0, 0).",
            _origin_residual,
        ),
        Step("The sign of u does not depend on its variance.", partial(_scale_residual, claimed)),
        Step("κ = 1/4 for independent signs.", partial(_start_residual, claimed)),
        Step("The claimed κ has the slope p(0, 0).", partial(_slope_residual, claimed)),
    )
    cites = ("κ is continuous at ρ = ±1, as ties u = 0 have probability 0",)
    return Derivation("κ = (π − θ)/2π for relu.", steps, cites)


# --- erf: a Gaussian integral -----------------------------------------------------------------


def _erf_slope_residual() -> sympy.Expr:
    slope = 2 / sympy.sqrt(sympy.pi) * sympy.exp(-(_z**2))
    return sympy.simplify(sympy.diff(sympy.erf(_z), _z) - slope)


def _line_residual() -> sympy.Expr:
    """Check ∫ exp(−α z²/2) dz = √(2π/α)."""
    alpha = sympy.Symbol("alpha", positive=True)
    integral = sympy.integrate(sympy.exp(-alpha * _z**2 / 2), (_z, -sympy.oo, sympy.oo))
    return sympy.simplify(integral - sympy.sqrt(2 * sympy.pi / alpha))


def _square_residual() -> sympy.Expr:
    """Check α u² + 2β uv + δ v² = α(u + βv/α)² + (δ − β²/α) v²."""
    alpha, beta, delta, u, v = sympy.symbols("alpha beta delta u v", positive=True)
    square = alpha * (u + beta * v / alpha) ** 2 + (delta - beta**2 / alpha) * v**2
    return sympy.expand(square - (alpha * u**2 + 2 * beta * u * v + delta * v**2))


def _determinant_residual() -> sympy.Expr:
    """Check det C · det(C⁻¹ + 2I) = det(I + 2C)."""
    covariance = sympy.Matrix([[UU, UV], [UV, VV]])
    identity = sympy.eye(2)
    product = covariance.det() * (covariance.inv() + 2 * identity).det()
    return sympy.cancel(sympy.together(product - (identity + 2 * covariance).det()))


def _erf_residual(claimed: sympy.Expr) -> sympy.Expr:
    identity, covariance = sympy.eye(2), sympy.Matrix([[UU, UV], [UV, VV]])
    determinant = (identity + 2 * covariance).det()
    wrong = sympy.cancel(sympy.together(claimed**2 - (4 / sympy.pi) ** 2 / determinant))
    positive = claimed.subs({UU: 1, VV: 1, UV: 0}).is_positive is True
    return wrong if wrong != 0 else sympy.Integer(not positive)


def _derive_erf(claimed: sympy.Expr) -> Derivation:
    steps = (
        Step("φ'(z) = 2/√π e^{−z²}, so κ = 4/π E e^{−u²−v²}.", _erf_slope_residual),
        Step("A Gaussian integral on the line.", _line_residual),
        Step(
            "In the plane by completing the square: ∫ exp(−zᵀPz/2) = 2π/√det P.", _square_residual
        ),
        Step(
            "With P = C⁻¹ + 2I: E e^{−u²−v²} = 1/√(det C det P) = 1/√det(I + 2C).",
            _determinant_residual,
        ),
        Step("This is the claimed κ.", partial(_erf_residual, claimed)),
    )
    cites = ("dominated convergence: singular C by continuity",)
    return Derivation("κ = 4/π / √det(I + 2C) for erf.", steps, cites)


# --- polynomials: moments ---------------------------------------------------------------------


@functools.cache
def moment(power_u: int, power_v: int) -> sympy.Expr:
    """Return E u^a v^b from the generating function.

    It is the product of the exponentials of s²σ_uu/2, stσ_uv and t²σ_vv/2, whose series meet in
    s^a t^b where 2i + j = a and 2l + j = b.
    """
    if (power_u + power_v) % 2:
        return sympy.Integer(0)
    terms = (
        UV**j
        * _coefficient(UU, (power_u - j) // 2)
        * _coefficient(VV, (power_v - j) // 2)
        / math.factorial(j)
        for j in range(power_u % 2, min(power_u, power_v) + 1, 2)
    )
    return sympy.expand(math.factorial(power_u) * math.factorial(power_v) * sympy.Add(*terms))


def _coefficient(variance: sympy.Expr, power: int) -> sympy.Expr:
    return (variance / 2) ** power / math.factorial(power)


@functools.cache
def hermite_polynomial(order: int) -> sympy.Expr:
    """Return He_p by He_{p+1} = z He_p − p He_{p−1}."""
    previous, current = sympy.Integer(1), _z
    for p in range(1, order):
        previous, current = current, sympy.expand(_z * current - p * previous)
    return current


def _activation(name: str) -> sympy.Expr:
    if (order := hermite_order(name)) is not None:
        return hermite_polynomial(order) / sympy.sqrt(sympy.factorial(order))
    return {"linear": _z, "quadratic": _z**2, "cubic": _z**3}[name]


def _polynomial_residual(name: str, claimed: sympy.Expr) -> sympy.Expr:
    """Check κ = Σ_ab c_a c_b E u^a v^b for φ' = Σ c_a z^a."""
    slope = sympy.Poly(sympy.diff(_activation(name), _z), _z).all_coeffs()[::-1]
    total = sympy.Add(
        *(
            first * second * moment(a, b)
            for a, first in enumerate(slope)
            for b, second in enumerate(slope)
            if first != 0 and second != 0
        )
    )
    return sympy.expand(claimed - total)


def _mehler_residual(order: int, claimed: sympy.Expr) -> sympy.Expr:
    """Check κ = p ρ^{p−1} at unit variances."""
    return sympy.expand(_unit(claimed) - order * _rho ** (order - 1))


def _generating_residual() -> sympy.Expr:
    """Check ∂G/∂s = (z − s)G for G = exp(sz − s²/2), and its expectation over the plane.

    The equation is the recursion of He_m, with G = Σ He_m s^m/m!. In E G(u, s) G(v, t) the
    exponent is that of the moments less s²/2 and t²/2: the variances are replaced by σ − 1.
    """
    s, t = sympy.symbols("s t")
    G = sympy.exp(s * _z - s**2 / 2)
    equation = sympy.simplify(sympy.diff(G, s) - (_z - s) * G)
    moments = (s**2 * UU + 2 * s * t * UV + t**2 * VV) / 2 - s**2 / 2 - t**2 / 2
    reduced = s**2 * (UU - 1) / 2 + s * t * UV + t**2 * (VV - 1) / 2
    return equation if equation != 0 else sympy.expand(moments - reduced)


def _summand_residual() -> sympy.Expr:
    """Check the i-th summand for every order: (p²/p!)(m!)² times the three exponentials' terms."""
    p, i = sympy.symbols("p i", integer=True, positive=True)
    m, terms = p - 1, sympy.factorial(i) ** 2 * sympy.factorial(p - 1 - 2 * i)
    widths = ((UU - 1) / 2) ** i * ((VV - 1) / 2) ** i
    derived = p**2 / sympy.factorial(p) * sympy.factorial(m) ** 2 * widths / terms
    claimed = p * sympy.factorial(m) / terms * ((UU - 1) * (VV - 1) / 4) ** i
    return sympy.simplify(sympy.powsimp(sympy.gammasimp(derived / claimed), force=True) - 1)


def _fourth_moment_residual() -> sympy.Expr:
    """Check E u²v² = σ_uu σ_vv + 2σ_uv²: the three pairings of Isserlis' theorem."""
    return sympy.expand(moment(2, 2) - UU * VV - 2 * UV**2)


def _derive_polynomial(name: str, claimed: sympy.Expr) -> Derivation:
    order = hermite_order(name)
    last: Callable[[], sympy.Expr] = partial(_polynomial_residual, name, claimed)
    steps = [
        Step("Moments from the generating function, as by Isserlis.", _fourth_moment_residual),
        Step("φ' is a polynomial, so κ is a sum of moments: the claimed one.", last),
    ]
    if order is not None:
        unit = partial(_mehler_residual, order, claimed)
        steps[1:1] = [
            Step("Hermite's generating function: variances σ − 1.", _generating_residual),
            Step("Every summand, at every order.", _summand_residual),
            Step("Mehler: p ρ^{p−1} at unit variances.", unit),
        ]
    cites = ("the moment generating function of a Gaussian vector",)
    return Derivation(f"κ for {name}.", tuple(steps), cites)
