r"""Kernels of a Mahalanobis metric M: k = φ(ρ) or g(τ), and the factors in their gradients.

Radial kernels depend on ρ = ‖x − z‖_M / L, where ‖u‖²_M = uᵀMu, inner-product kernels on
τ = xᵀMz / L². By the chain rule

    ∇_x φ(ρ) = (ω(ρ)/L²) M(x − z),  ω(ρ) = φ'(ρ)/ρ,        ∇_x g(τ) = (g'(τ)/L²) Mz.

At ρ = 0 the Gaussian and the Matérn kernels are differentiable, with gradient 0. The Laplace kernel
has a kink: along v its one-sided slopes are ∓‖v‖_M/L, and their mean, the central difference, is 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType

import sympy

from ..closed_form import ClosedForm
from ..validation import integer, nonnegative

DISTANCE = sympy.Symbol("rho", positive=True)
INNER_PRODUCT = sympy.Symbol("tau", real=True)
BANDWIDTH, METRIC_FACTOR = sympy.symbols("L c", positive=True)
DEGREE = sympy.Symbol("p", integer=True, positive=True)
OFFSET = sympy.Symbol("b", nonnegative=True)

PREFACTOR = BANDWIDTH**-2
"""Stands before ω(ρ) M(x − z) and before g'(τ) Mz."""

SCALED_BANDWIDTH = BANDWIDTH / sympy.sqrt(METRIC_FACTOR)
"""The bandwidth that has the effect of M → cM."""

KINK = sympy.Integer(-1)
"""One-sided slope φ'(0⁺) of the Laplace profile; that of the other profiles is 0."""

POLYNOMIAL = (OFFSET + INNER_PRODUCT) ** DEGREE
POLYNOMIAL_SLOPE = DEGREE * (OFFSET + INNER_PRODUCT) ** (DEGREE - 1)


@dataclass(frozen=True, eq=False)
class RadialKernel:
    """k(x, z) = φ(‖x − z‖_M / L).

    Attributes:
        name: As in `kernel`.
        profile: φ(ρ), with φ(0) = 1.
        weight: ω(ρ) = φ'(ρ)/ρ, so that ∇_x k = (ω/L²) M(x − z).
        kink: φ'(0⁺): 0 if the kernel is differentiable at ρ = 0.
    """

    name: str
    profile: ClosedForm
    weight: ClosedForm
    kink: sympy.Expr


@dataclass(frozen=True, eq=False)
class InnerProductKernel:
    """k(x, z) = g(xᵀMz / L²).

    Attributes:
        name: As in `kernel`.
        profile: g(τ).
        slope: g'(τ), so that ∇_x k = (g'/L²) Mz.
    """

    name: str
    profile: ClosedForm
    slope: ClosedForm


Kernel = RadialKernel | InnerProductKernel

_ROOT3, _ROOT5 = sympy.sqrt(3) * DISTANCE, sympy.sqrt(5) * DISTANCE


def _radial(
    name: str,
    profile: sympy.Expr,
    weight: sympy.Expr,
    kink: sympy.Expr = sympy.S.Zero,
) -> RadialKernel:
    half_line = (sympy.Integer(0), sympy.oo)
    shape, factor = (
        ClosedForm(f"rfm.{name}.{part}", formula, DISTANCE, half_line, "E")
        for part, formula in (("profile", profile), ("weight", weight))
    )
    return RadialKernel(name, shape, factor, kink)


def _inner_product(name: str, profile: sympy.Expr, slope: sympy.Expr) -> InnerProductKernel:
    line = (-sympy.oo, sympy.oo)
    shape, factor = (
        ClosedForm(f"rfm.{name}.{part}", formula, INNER_PRODUCT, line, "E")
        for part, formula in (("profile", profile), ("slope", slope))
    )
    return InnerProductKernel(name, shape, factor)


LAPLACE = _radial("laplace", sympy.exp(-DISTANCE), -sympy.exp(-DISTANCE) / DISTANCE, KINK)
GAUSSIAN = _radial("gaussian", sympy.exp(-(DISTANCE**2) / 2), -sympy.exp(-(DISTANCE**2) / 2))
MATERN_3_2 = _radial("matern32", (1 + _ROOT3) * sympy.exp(-_ROOT3), -3 * sympy.exp(-_ROOT3))
MATERN_5_2 = _radial(
    "matern52",
    (1 + _ROOT5 + _ROOT5**2 / 3) * sympy.exp(-_ROOT5),
    -sympy.Rational(5, 3) * (1 + _ROOT5) * sympy.exp(-_ROOT5),
)
LINEAR = _inner_product("linear", INNER_PRODUCT, sympy.Integer(1))
EXPONENTIAL = _inner_product("exponential", sympy.exp(INNER_PRODUCT), sympy.exp(INNER_PRODUCT))

RADIAL = MappingProxyType({k.name: k for k in (LAPLACE, GAUSSIAN, MATERN_3_2, MATERN_5_2)})
INNER_PRODUCTS = MappingProxyType({k.name: k for k in (LINEAR, EXPONENTIAL)})


def polynomial_kernel(degree: int, offset: float = 0.0) -> InnerProductKernel:
    """Return k(x, z) = (b + xᵀMz/L²)^p.

    Args:
        degree: p >= 1.
        offset: b >= 0.

    Raises:
        TypeError: If p is not an integer, or b is not a real number.
        ValueError: If p is less than 1, or b is negative or not finite.

    Example:
        >>> polynomial_kernel(2, 0.5).slope.expression
        2*tau + 1
    """
    p, b = integer("degree", degree, 1), Fraction(nonnegative("offset", offset))
    values = {DEGREE: p, OFFSET: sympy.Rational(b.numerator, b.denominator)}
    formulas = (f.subs(values) for f in (POLYNOMIAL, POLYNOMIAL_SLOPE))
    return _inner_product(f"polynomial{p}", *formulas)


def kernel(name: str | Kernel) -> Kernel:
    """Return the kernel of a name; one that is given is returned as it is.

    Args:
        name: "laplace" (e^{−ρ}), "gaussian" (e^{−ρ²/2}), "matern32" ((1 + √3ρ) e^{−√3ρ}),
            "matern52" ((1 + √5ρ + 5ρ²/3) e^{−√5ρ}), "linear" (τ) or "exponential" (e^τ). Others
            are made by `polynomial_kernel`, or by hand as a `RadialKernel` or an
            `InnerProductKernel`.

    Raises:
        TypeError: If it is neither a name nor a kernel.
        ValueError: If the name is unknown.

    Example:
        >>> kernel("gaussian").weight.expression
        -exp(-rho**2/2)
    """
    if isinstance(name, RadialKernel | InnerProductKernel):
        return name
    if not isinstance(name, str):
        raise TypeError(f"kernel = {name!r} must be a name or a kernel")
    named: dict[str, Kernel] = {**RADIAL, **INNER_PRODUCTS}
    if name not in named:
        raise ValueError(f"kernel = {name!r}; allowed: {', '.join(named)}, or a kernel object")
    return named[name]
