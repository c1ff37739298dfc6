r"""The two parts of the limiting risk are monotone in the bandwidth.

Statement (claim ``ridgeless.adaptive``): if the elasticity −d log φ̂/d log|ξ| does not decrease with
|ξ| (Gaussian, Cauchy, every Matérn kernel in every dimension, and coordinate products of them),
then as c grows Σ_l r_l(θ)² does not decrease for any θ, r_0(0) does not decrease, and B(c) does not
increase. So V = ∫Σ_l r_l² does not decrease, and a bandwidth ĉ chosen after seeing the data, even
with the test error in view, gains nothing in the limit:

.. math::
    \mathrm{risk}(\hat c) \ge \inf_c\,[\|f^*\|^2 B(c) + \sigma^2 V(c)] - o(1).

For every noise vector the noise's part of the error, Σ_l |ξ_l|² Σ_{k∈[l]} r_k², is nondecreasing in
c. It tends to σ²V(c) at each c (law of large numbers), and monotone functions with a continuous
limit converge uniformly (Pólya); the target's finitely many classes add ‖f*‖²B(c) and a cross term
of order n^{−d/2}, uniformly in c as r_k ≤ 1. Paper F's weaker bound, for Laplace in d = 1,
min{σ²V(c*), ‖f*‖²(1 − r_0(c*))²} − o(1) for every c*, follows: at ĉ ≥ c* the noise, at ĉ ≤ c* the
target alone costs as much.

Source: paper F for monotonicity with Laplace in d = 1; elasticities and uniformity, this project.
"""

from __future__ import annotations

from functools import partial
from itertools import product

import sympy

from ..derivation import Derivation, Step
from .kernels import RADIUS, RadialKernel

_TERMS = 4
_weights = sympy.symbols(f"g0:{_TERMS}", positive=True)
_slopes = sympy.symbols(f"psi0:{_TERMS}", nonnegative=True)

PAIR = -(
    (sympy.Symbol("r_l") - sympy.Symbol("r_m")) * (sympy.Symbol("psi_l") - sympy.Symbol("psi_m"))
)
"""What r_l r_m is multiplied by in d/dx Σ r², summed over all ordered pairs (l, m)."""


def elasticity(kernel: RadialKernel) -> sympy.Expr:
    """Return −d log φ̂/d log r as an expression in `RADIUS`."""
    return sympy.simplify(-RADIUS * sympy.diff(kernel.log_radial_density, RADIUS))


def derive_energy(pair: sympy.Expr = PAIR) -> Derivation:
    """Derive that Σ_l r_l² does not decrease, by Chebyshev's sum inequality.

    Args:
        pair: The claimed factor of r_l r_m in the derivative.
    """
    return Derivation(
        goal="d/d log c of sum r_l^2 is a sum of nonnegative terms",
        steps=(
            Step("d r_l/dx = -r_l (psi_l - mean psi), x = log c.", _weight_slope),
            Step(
                "d/dx sum r^2 = sum over pairs of r_l r_m times -(r_l - r_m)(psi_l - psi_m): both "
                "factors depend on |theta + l| alone, r falls with it and psi rises.",
                partial(_pairs, pair),
            ),
        ),
        cites=(
            "absolutely convergent series are differentiated term by term",
            "law of large numbers for quadratic forms in the noise",
            "Pólya: monotone functions that tend to a continuous limit do so uniformly",
        ),
    )


def derive_approximation() -> Derivation:
    """Derive that r_0(0) does not decrease and B does not increase."""
    return Derivation(
        goal="at theta = 0: dr_0/dx >= 0 and dB/dx <= 0",
        steps=(
            Step("psi_0 = 0 at the origin, so dr_0/dx = r_0 mean(psi) >= 0.", _own_slope),
            Step(
                "dB/dx = -2 mean(psi) sum r_l (r_0 - r_l) - 2 sum r_l^2 psi_l, "
                "with r_0 the largest weight.",
                _bias_slope,
            ),
        ),
    )


def derive_elasticity(kernel: RadialKernel) -> Derivation:
    """Derive that the kernel's elasticity does not decrease: its derivative is a known square."""
    return Derivation(
        goal=f"{kernel!r}: the elasticity does not decrease",
        steps=(
            Step("It vanishes at the origin.", lambda: sympy.limit(elasticity(kernel), RADIUS, 0)),
            Step(
                "Its derivative has positive factors only.",
                lambda: _sign(sympy.diff(elasticity(kernel), RADIUS)) - 1,
            ),
        ),
    )


def derive_products() -> Derivation:
    """Derive the same for coordinate products, whose elasticities add up."""
    return Derivation(
        goal="coordinate products: the covariance of r and psi is a sum over the coordinates",
        steps=(Step("Two coordinates, three terms each.", _product_covariance),),
    )


def _ratio(index: int) -> sympy.Expr:
    return _weights[index] / sum(_weights)


def _derivative(expression: sympy.Expr) -> sympy.Expr:
    """The chain rule: dg_l/dx = −ψ_l g_l, as log φ̂(c|θ+l|) depends on x through log(c|θ+l|)."""
    pairs = zip(_weights, _slopes, strict=True)
    return sum((-p * g * sympy.diff(expression, g) for g, p in pairs), sympy.S.Zero)


def _mean_slope() -> sympy.Expr:
    return sum((_ratio(i) * _slopes[i] for i in range(_TERMS)), sympy.S.Zero)


def _energy() -> sympy.Expr:
    return sum((_ratio(i) ** 2 for i in range(_TERMS)), sympy.S.Zero)


def _weight_slope() -> sympy.Expr:
    return sympy.simplify(_derivative(_ratio(1)) + _ratio(1) * (_slopes[1] - _mean_slope()))


def _pairs(pair: sympy.Expr) -> sympy.Expr:
    names = sympy.symbols("r_l r_m psi_l psi_m")
    total = sympy.S.Zero
    for i, j in product(range(_TERMS), repeat=2):
        values = (_ratio(i), _ratio(j), _slopes[i], _slopes[j])
        total += _ratio(i) * _ratio(j) * pair.subs(dict(zip(names, values, strict=True)))
    return sympy.cancel(sympy.together(_derivative(_energy()) - total))


def _own_slope() -> sympy.Expr:
    at_origin = {_slopes[0]: 0}
    return sympy.simplify((_derivative(_ratio(0)) - _ratio(0) * _mean_slope()).subs(at_origin))


def _bias_slope() -> sympy.Expr:
    bias = 1 - 2 * _ratio(0) + _energy()
    gaps = sum((_ratio(i) * (_ratio(0) - _ratio(i)) for i in range(_TERMS)), sympy.S.Zero)
    own = sum((_ratio(i) ** 2 * _slopes[i] for i in range(_TERMS)), sympy.S.Zero)
    claimed = -2 * _mean_slope() * gaps - 2 * own
    return sympy.cancel(sympy.together((_derivative(bias) - claimed).subs({_slopes[0]: 0})))


def _sign(expression: sympy.Expr) -> sympy.Expr:
    """1 if SymPy sees that all factors are positive for r > 0."""
    r = sympy.Symbol("r", positive=True)
    factored = sympy.factor(sympy.simplify(expression.subs(RADIUS, r)))
    return sympy.Integer(1) if factored.is_positive else sympy.Integer(0)


def _product_covariance() -> sympy.Expr:
    """Cov of r⊗s and ψ⊕χ under r⊗s = E s·Cov(r, ψ) + E r·Cov(s, χ)."""
    r, s = sympy.symbols("r0:3"), sympy.symbols("s0:3")
    p, q = sympy.symbols("p0:3"), sympy.symbols("q0:3")
    r, s = ((*w[:2], 1 - w[0] - w[1]) for w in (r, s))  # each sums to 1
    cells = list(product(range(3), repeat=2))
    joint = sum(r[i] * s[j] * (r[i] * s[j]) * (p[i] + q[j]) for i, j in cells)
    means = sum(r[i] * s[j] * (r[i] * s[j]) for i, j in cells) * sum(
        r[i] * s[j] * (p[i] + q[j]) for i, j in cells
    )

    def covariance(w: tuple[sympy.Expr, ...], v: tuple[sympy.Expr, ...]) -> sympy.Expr:
        squares = sum(a * a for a in w)
        return sum(a * a * b for a, b in zip(w, v, strict=True)) - squares * sum(
            a * b for a, b in zip(w, v, strict=True)
        )

    parts = sum(b * b for b in s) * covariance(r, p) + sum(a * a for a in r) * covariance(s, q)
    return sympy.expand(joint - means - parts)
