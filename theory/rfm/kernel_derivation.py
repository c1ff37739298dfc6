"""The gradients of kernel machines, derived for every dimension and every number of points."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

import sympy

from ..derivation import Derivation, Step, first_nonzero
from ..matrix_words import matrices, reduced
from .kernel_profiles import (
    BANDWIDTH,
    DISTANCE,
    EXPONENTIAL,
    INNER_PRODUCT,
    KINK,
    LINEAR,
    METRIC_FACTOR,
    POLYNOMIAL,
    POLYNOMIAL_SLOPE,
    PREFACTOR,
    RADIAL,
    SCALED_BANDWIDTH,
)

_T = sympy.transpose
_M, _U, _E, _Z = matrices("M u e z")
_SYMMETRIC = MappingProxyType({_T(_M): _M})
_NORM = sympy.Symbol("m", positive=True)

RADIAL_PAIRS = MappingProxyType(
    {name: (k.profile.expression, k.weight.expression) for name, k in RADIAL.items()}
)
"""(φ, ω) by the kernel's name."""

INNER_PAIRS = MappingProxyType(
    {
        **{k.name: (k.profile.expression, k.slope.expression) for k in (LINEAR, EXPONENTIAL)},
        "polynomial": (POLYNOMIAL, POLYNOMIAL_SLOPE),
    }
)
"""(g, g') by the kernel's name."""


def _square_residual() -> sympy.Expr:
    """(u + εe)ᵀM(u + εe) grows by 2ε eᵀMu: the number uᵀMe is its own transpose, M = Mᵀ."""
    linear = _T(_E) * _M * _U + reduced(_T(_T(_U) * _M * _E), _SYMMETRIC)
    return sympy.expand(linear - 2 * _T(_E) * _M * _U)


def _chain_residual(prefactor: sympy.Expr) -> sympy.Expr:
    """d/ds φ(√s/L) = φ'(ρ)/(2L²ρ) for any φ; with ds = 2 eᵀMu this is (ω/L²) eᵀMu."""
    s = sympy.Symbol("s", positive=True)
    phi = sympy.Function("phi")
    slope = sympy.diff(phi(sympy.sqrt(s) / BANDWIDTH), s).doit()
    slope = slope.subs(s, (DISTANCE * BANDWIDTH) ** 2).doit()
    weight = sympy.diff(phi(DISTANCE), DISTANCE) / DISTANCE
    return sympy.simplify(2 * slope - prefactor * weight)


def _inner_residual(prefactor: sympy.Expr) -> sympy.Expr:
    """(x + εe)ᵀMz/L² grows by ε eᵀMz/L², for any g."""
    step, t = sympy.symbols("epsilon t", real=True)
    g = sympy.Function("g")
    moved = g(INNER_PRODUCT + step * t * BANDWIDTH**-2)
    slope = sympy.diff(moved, step).doit().subs(step, 0).doit()
    claimed = prefactor * t * sympy.diff(g(INNER_PRODUCT), INNER_PRODUCT)
    return sympy.simplify(slope - claimed)


def _weight_residual(profile: sympy.Expr, weight: sympy.Expr) -> sympy.Expr:
    start = sympy.limit(profile, DISTANCE, 0, "+") - 1
    return first_nonzero(start, sympy.simplify(sympy.diff(profile, DISTANCE) - weight * DISTANCE))


def _slope_residual(profile: sympy.Expr, slope: sympy.Expr) -> sympy.Expr:
    return sympy.simplify(sympy.diff(profile, INNER_PRODUCT) - slope)


def _smooth_residual(profile: sympy.Expr) -> sympy.Expr:
    """φ(ρ) = 1 + o(ρ) and ρ <= ‖M‖^{1/2}‖x − z‖/L: differentiable at 0, with gradient 0."""
    return sympy.limit((profile - 1) / DISTANCE, DISTANCE, 0, "+")


def _kink_residual(profile: sympy.Expr, claimed: sympy.Expr) -> sympy.Expr:
    """Along v with ‖v‖_M = m the one-sided slopes of φ(|ε|m/L) are ±claimed m/L, claimed ≠ 0."""
    step = sympy.Symbol("epsilon", positive=True)
    value = profile.subs(DISTANCE, step * _NORM / BANDWIDTH)  # at both ends, ε and −ε
    right = sympy.limit((value - 1) / step, step, 0, "+")
    left = sympy.limit((value - 1) / -step, step, 0, "+")
    differentiable = sympy.Integer(1 if right == left else 0)
    central = sympy.simplify(right + left)
    return first_nonzero(
        sympy.simplify(right - claimed * _NORM / BANDWIDTH), central, differentiable
    )


def _central_residual() -> sympy.Expr:
    """φ(|ε|m) − φ(|−ε|m) = 0 for any φ: the kernel's own term drops out of central differences."""
    step = sympy.Symbol("epsilon", real=True)
    phi = sympy.Function("phi")
    return phi(sympy.Abs(step) * _NORM) - phi(sympy.Abs(-step) * _NORM)


def _agop_residual() -> sympy.Expr:
    """∇f∇fᵀ = (Mu)(Mu)ᵀ = M uuᵀ M, term by term in the sums over inputs and outputs."""
    return reduced(_M * _U * _T(_M * _U) - _M * _U * _T(_U) * _M, _SYMMETRIC)


def _scaling_residual(claimed: sympy.Expr, prefactor: sympy.Expr) -> sympy.Expr:
    """ρ², τ and M/L² are the same for (cM, L) and (M, claimed): so are kernel and gradient."""
    ratio = METRIC_FACTOR * prefactor / prefactor.subs(BANDWIDTH, claimed)
    return first_nonzero(
        sympy.simplify(METRIC_FACTOR / BANDWIDTH**2 * claimed**2 - 1),
        sympy.simplify(ratio - 1),
        sympy.Integer(0 if claimed.is_positive else 1),
    )


def derive_gradients(
    prefactor: sympy.Expr = PREFACTOR,
    kink: sympy.Expr = KINK,
    scaled_bandwidth: sympy.Expr = SCALED_BANDWIDTH,
    radial: Mapping[str, tuple[sympy.Expr, sympy.Expr]] = RADIAL_PAIRS,
    inner: Mapping[str, tuple[sympy.Expr, sympy.Expr]] = INNER_PAIRS,
) -> Derivation:
    """Derive the gradients, their values at distance 0, the AGOP's form and the scaling identity.

    Args:
        prefactor: Of ω(ρ) M(x − z) and of g'(τ) Mz, in ``BANDWIDTH``, to compare with.
        kink: φ'(0⁺) of the Laplace profile, to compare with.
        scaled_bandwidth: In ``BANDWIDTH`` and ``METRIC_FACTOR``, to compare with.
        radial: (φ, ω) by name, in ``DISTANCE``, to compare with.
        inner: (g, g') by name, in ``INNER_PRODUCT``, p and b, to compare with.

    Source: E; the values at distance 0 and the scaling identity: this project.
    """
    steps = [
        Step("‖x − z‖²_M grows by 2ε eᵀM(x − z) along e.", _square_residual),
        Step("f is linear in k, and the AGOP is M (mean of uuᵀ) M.", _agop_residual),
        Step("Central differences drop the point's own term.", _central_residual),
        Step("Radial: the chain rule, for any profile.", partial(_chain_residual, prefactor)),
        Step("Inner product: the chain rule, any g.", partial(_inner_residual, prefactor)),
    ]
    for name, (profile, weight) in radial.items():
        step = Step(f"{name}: φ(0) = 1, φ' = ρω.", partial(_weight_residual, profile, weight))
        at_zero = (
            Step("laplace: a kink at 0.", partial(_kink_residual, profile, kink))
            if name == "laplace"
            else Step(f"{name}: gradient 0 at 0.", partial(_smooth_residual, profile))
        )
        steps += [step, at_zero]
    for name, pair in inner.items():
        steps.append(Step(f"{name}: the slope of g.", partial(_slope_residual, *pair)))
    scaling = partial(_scaling_residual, scaled_bandwidth, prefactor)
    steps.append(Step("M → cM has the effect of L → L/√c.", scaling))
    return Derivation("∇k = (ω/L²) M(x − z) or (g'/L²) Mz.", tuple(steps))
