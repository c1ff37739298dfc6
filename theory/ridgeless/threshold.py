r"""When interpolation beats predicting zero: the signal-to-noise threshold.

Statement (claim ``ridgeless.null_threshold``): with the best bandwidth the interpolant beats the
zero function if and only if

.. math::
    \mathrm{SNR} > s^* = \Big(\frac{2\,\hat\varphi(0)\,\varphi(0)}{\int\varphi^2} - 1\Big)^{-1}.

"If" is proved here, by the narrow-bandwidth expansion: as c → 0

.. math::
    V = c^d \textstyle\int\varphi^2 + o(c^d), \qquad
    B = 1 - c^d\,(2\hat\varphi(0) - \int\varphi^2) + o(c^d),

with explicit remainders, so that SNR·B + V < SNR for small c as soon as SNR > s*. ("Only if" is a
certified inequality over all c; it is proved kernel by kernel elsewhere.) Source: this project.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import sympy
from flint import arb, ctx, fmpq
from sympy import Rational, gamma, oo, pi, sqrt

from ..derivation import Derivation, Step
from ..validation import positive
from . import cauchy, gaussian, laplace
from .kernels import RADIUS, Cauchy, Gaussian, Kernel, Matern, Product, RadialKernel
from .spectral import SpectralKernel

_PRECISION = 128
_r = sympy.Symbol("r", positive=True)


# --- The threshold ---------------------------------------------------------------------------


def energy_ratio(kernel: Kernel) -> sympy.Expr | float:
    """∫φ²/(φ̂(0) φ(0)): how much of the kernel's mass its square keeps.

    2^{-d/2} for Gaussian, 2^{-d} for Laplace and Cauchy,
    Γ(ν+d/2) Γ(2ν+d/2)/(Γ(ν) Γ(2ν+d)) for Matérn, the d-th power for coordinate products.

    Returns:
        An exact SymPy number for these, a float for a ``SpectralKernel`` (by quadrature).

    Raises:
        TypeError: If the kernel is of no known kind.
    """
    if isinstance(kernel, Gaussian):
        return sympy.Integer(2) ** -Rational(kernel.dimension, 2)
    if isinstance(kernel, Cauchy):
        return Rational(1, 2**kernel.dimension)
    if isinstance(kernel, Matern):
        nu, decay = kernel.smoothness, kernel.decay
        return sympy.gammasimp(gamma(decay) * gamma(nu + decay) / (gamma(nu) * gamma(2 * decay)))
    if isinstance(kernel, Product):
        return energy_ratio(kernel.factor) ** kernel.dimension
    if isinstance(kernel, SpectralKernel):
        return _numerical_energy_ratio(kernel)
    raise TypeError(f"kernel = {kernel!r} must be Gaussian, Cauchy, Matern, Product or Spectral")


def _numerical_energy_ratio(kernel: SpectralKernel) -> float:
    """∫φ̂²/(φ̂(0) ∫φ̂): both integrals are values at 0 of a kernel with that density."""
    squared = SpectralKernel(
        lambda xi: kernel.spectral_density(xi) ** 2, kernel.dimension, kernel.tolerance
    )
    origin = np.zeros(kernel.dimension) if kernel.dimension > 1 else np.zeros(())
    energy, value = float(squared.kernel(origin)), float(kernel.kernel(origin))
    return energy / (value * float(kernel.spectral_density(origin)))


def null_threshold(kernel: Kernel) -> sympy.Expr | float:
    """s* = 1/(2/energy_ratio − 1): below it no bandwidth is better than predicting zero.

    Laplace and Cauchy: 1/(2^{d+1}−1); Gaussian: 1/(2^{1+d/2}−1).

    Returns:
        An exact SymPy number for the named kernels, a float for a ``SpectralKernel``; infinite
        where ∫φ² ≥ 2 φ̂(0)φ(0), as then narrow kernels never help.

    Raises:
        TypeError: If the kernel is of no known kind.
    """
    ratio = energy_ratio(kernel)
    if isinstance(ratio, float):
        return ratio / (2 - ratio) if ratio < 2 else float("inf")
    if not ratio < 2:
        return oo
    return sympy.radsimp(ratio / (2 - ratio)) if ratio.is_algebraic else 1 / (2 / ratio - 1)


# --- The narrow-bandwidth expansion with remainders ------------------------------------------


@dataclass(frozen=True, eq=False)
class NarrowRisk:
    """Enclosures of V(c) and B(c) from the narrow-bandwidth expansion and its remainders."""

    estimation: arb
    approximation: arb


def narrow_risk(kernel: RadialKernel, c: float) -> NarrowRisk:
    """Enclose V(c) and B(c) by their first terms and explicit remainders; tight as c → 0.

    With ε(c) ≥ Σ_{k≠0} φ(k/c), Poisson gives |c^d S − 1| ≤ ε for all alias sums S = Σφ̂(c(θ+l)), so
    V lies in c^d∫φ² [(1+ε)^{-2}, (1−ε)^{-2}], r_0(0) in c^d φ̂(0) [(1+ε)^{-1}, (1−ε)^{-1}], and
    Σ_l r_l(0)² in c^d∫φ² [(1+ε)^{-2}, (1+η)(1−ε)^{-2}] with η = Σ_{k≠0} (φ*φ)(k/c)/∫φ²
    ≤ 2φ̂(0)ε(2c)/∫φ², as (φ*φ)(x) ≤ 2φ(x/2)φ̂(0) for a kernel that decreases with |x|.

    Args:
        kernel: Gaussian, Cauchy or Matern (Laplace).
        c: Bandwidth in grid spacings.

    Raises:
        ValueError: If c is so large that ε(c) ≥ 1 and nothing follows.
        TypeError: If the kernel has no tail bound here.
    """
    width = arb(positive("c", c))
    with ctx.workprec(_PRECISION):
        eps, wide = neighbour_sum(kernel, width), neighbour_sum(kernel, 2 * width)
        if not eps < 1:
            raise ValueError(f"c = {c!r} is too large: the remainder {eps.str(5)} must be below 1")
        mass = exact_ball(kernel.radial_density.subs(RADIUS, 0))
        energy = mass * exact_ball(energy_ratio(kernel))
        volume = width**kernel.dimension
        low, high = 1 / (1 + eps), 1 / (1 - eps)
        aliased = (1 + 2 * mass * wide / energy) * high**2
        own = volume * mass * low.union(high)
        return NarrowRisk(
            estimation=volume * energy * (low**2).union(high**2),
            approximation=1 - 2 * own + volume * energy * (low**2).union(aliased),
        )


def neighbour_sum(kernel: RadialKernel, c: arb) -> arb:
    """ε(c) ≥ Σ_{k≠0} φ(k/c), for φ positive and decreasing in |x|.

    At most 2d(2j+1)^{d-1} ≤ 2d·3^{d-1} j^{d-1} points have |k|_∞ = j, and there φ ≤ φ(j/c).

    Raises:
        TypeError: If the kernel is not Gaussian, Cauchy or Matern.
    """
    d = kernel.dimension
    count = 2 * d * arb(3) ** (d - 1)
    if isinstance(kernel, Cauchy):  # φ(j/c) ≤ (c/j)^{d+1}
        return count * c ** (d + 1) * arb.pi() ** 2 / 6
    if isinstance(kernel, Gaussian):  # φ(j/c) ≤ φ(1/c) e^{−(j−1)/c²}, as j²−1 ≥ 2(j−1)
        first, ratio = (-1 / (2 * c**2)).exp(), (-1 / c**2).exp()
    elif isinstance(kernel, Matern):
        first, ratio = _matern_decay(kernel, 1 / c)
    else:
        raise TypeError(f"kernel = {kernel!r} must be Gaussian, Cauchy or Matern")
    # Σ j^{d-1} q^{j-1} ≤ Σ j(j+1)…(j+d−2) q^{j-1} = (d−1)!/(1−q)^d
    return count * first * arb(d - 1).fac() / (1 - ratio) ** d


def _matern_decay(kernel: Matern, x: arb) -> tuple[arb, arb]:
    """φ(x) and a bound of φ(x(j+1))/φ(xj) for all j ≥ 1.

    −(log φ)' = √(2ν) K_{ν−1}(z)/K_ν(z) at z = √(2ν)x; the quotient increases with z to 1 for
    ν ≥ 1/2 and is at least 1 for ν ≤ 1/2, so its minimum over [z, ∞) is at z, or at least 1.
    """
    nu = exact_ball(kernel.smoothness)
    z = (2 * nu).sqrt() * x
    bessel = z.bessel_k(nu)
    value = 2 ** (1 - nu) / nu.gamma() * z**nu * bessel
    slope = z.bessel_k(nu - 1) / bessel if kernel.smoothness > Rational(1, 2) else arb(1)
    return value, (-z * slope).exp()


def exact_ball(value: sympy.Expr | float) -> arb:
    """An exact SymPy number as a ball: a rational exactly, else 60 digits and their uncertainty."""
    if isinstance(value, sympy.Rational):  # Bessel functions need an exact order
        return arb(fmpq(int(value.p), int(value.q)))
    digits = sympy.N(value, 60)
    return arb(str(digits)) * (1 + arb(0, 1e-50))


# --- Derivations -----------------------------------------------------------------------------


def estimation_slope(mass: sympy.Expr, energy: sympy.Expr) -> sympy.Expr:  # noqa: ARG001
    """Coefficient of c^d in V; the mass is an argument only to match ``approximation_slope``."""
    return energy


def approximation_slope(mass: sympy.Expr, energy: sympy.Expr) -> sympy.Expr:
    """Coefficient of c^d in B, from the mass φ̂(0) and the energy ∫φ²."""
    return energy - 2 * mass


def derive_threshold(
    kernel: RadialKernel | Product, claimed: sympy.Expr | None = None
) -> Derivation:
    """s* of a named kernel: ∫φ², φ̂(0) by integration; the expansion's sign change.

    Args:
        kernel: Gaussian, Cauchy, Matern (Laplace), or a Product of one of them.
        claimed: The threshold to judge; ``null_threshold(kernel)`` if not given.
    """
    formula = null_threshold(kernel) if claimed is None else claimed
    return Derivation(
        goal=f"{kernel!r}: interpolation can beat the zero function if SNR > {formula}",
        steps=(
            Step("Fourier at 0: the density at 0 is the integral of phi", lambda: _mass(kernel)),
            *_parseval_steps(kernel),
            *_expansion_steps(),
            Step(
                "1/(2 phi^(0) phi(0)/int phi^2 - 1), integrated, is the claimed number",
                lambda: sympy.simplify(sympy.gammasimp(_integrated_threshold(kernel) - formula)),
            ),
        ),
        cites=("Poisson summation", "Parseval"),
    )


def derive_expansion(
    claimed_estimation: Callable[[sympy.Expr, sympy.Expr], sympy.Expr] | None = None,
    claimed_approximation: Callable[[sympy.Expr, sympy.Expr], sympy.Expr] | None = None,
) -> Derivation:
    """The two coefficients of the expansion, against the exact closed forms in d = 1.

    Args:
        claimed_estimation: Coefficient of c^d in V as a function of φ̂(0) and ∫φ².
        claimed_approximation: Coefficient of c^d in B, likewise.
    """
    V = claimed_estimation or estimation_slope
    B = claimed_approximation or approximation_slope
    laplace_, cauchy_, gauss = (2, 1), (pi, pi / 2), (sqrt(2 * pi), sqrt(pi))
    return Derivation(
        goal="V = c^d int phi^2 + o(c^d), B = 1 - c^d (2 phi^(0) - int phi^2) + o(c^d)",
        steps=(
            *_expansion_steps(),
            Step("coefficients from Poisson are the claimed ones", lambda: _coefficients(V, B)),
            Step("Laplace, d = 1: V", lambda: _laplace_slopes()[0] - V(*laplace_)),
            Step("Laplace, d = 1: B", lambda: _laplace_slopes()[1] - B(*laplace_)),
            Step("Cauchy, d = 1: V", lambda: _cauchy_slopes()[0] - V(*cauchy_)),
            Step("Cauchy, d = 1: B", lambda: _cauchy_slopes()[1] - B(*cauchy_)),
            Step("Gaussian, d = 1: V", lambda: sympy.expand(_gaussian_slopes()[0] - V(*gauss))),
            Step("Gaussian, d = 1: B", lambda: sympy.expand(_gaussian_slopes()[1] - B(*gauss))),
        ),
        cites=("Poisson summation", "Parseval"),
    )


_tau, _F, _E, _snr, _eps, _eta = sympy.symbols("tau F E s epsilon eta", positive=True)


def _expansion_steps() -> tuple[Step, ...]:
    return (
        Step(
            "Poisson: c^d S = 1 + e with |e| <= eps(c) -> 0, so V = c^d E/(1+e)^2 and "
            "B = 1 - 2 c^d F/(1+e) + c^d E (1+eta)/(1+e)^2; the remainders vanish with e and eta",
            _remainders,
        ),
        Step("SNR B + V - SNR = c^d [E - SNR (2F - E)] changes sign at s*", _sign_change),
    )


def _risk_terms() -> tuple[sympy.Expr, sympy.Expr]:
    """V and B with the Poisson corrections e, η kept; τ = c^d, F = φ̂(0), E = ∫φ²."""
    V = _tau * _E / (1 + _eps) ** 2
    B = 1 - 2 * _tau * _F / (1 + _eps) + _tau * _E * (1 + _eta) / (1 + _eps) ** 2
    return V, B


def _remainders() -> sympy.Expr:
    V, B = (term.subs({_eps: 0, _eta: 0}) for term in _risk_terms())
    return sympy.expand(V - _tau * _E) ** 2 + sympy.expand(B - 1 + _tau * (2 * _F - _E)) ** 2


def _sign_change() -> sympy.Expr:
    V, B = (term.subs({_eps: 0, _eta: 0}) for term in _risk_terms())
    return sympy.simplify((_snr * B + V - _snr).subs(_snr, 1 / (2 * _F / _E - 1)))


def _coefficients(
    V: Callable[[sympy.Expr, sympy.Expr], sympy.Expr],
    B: Callable[[sympy.Expr, sympy.Expr], sympy.Expr],
) -> sympy.Expr:
    first, second = (t.subs({_eps: 0, _eta: 0}).diff(_tau) for t in _risk_terms())
    return sympy.expand(first - V(_F, _E)) ** 2 + sympy.expand(second - B(_F, _E)) ** 2


def _radial_integral(profile: sympy.Expr, dimension: int) -> sympy.Expr:
    """∫_{R^d} of a radial function: the area of the unit sphere times a line integral."""
    half = Rational(dimension, 2)
    line = sympy.integrate(_r ** (dimension - 1) * profile.subs(RADIUS, _r), (_r, 0, oo))
    return 2 * pi**half / gamma(half) * line


def _one_factor(kernel: Kernel) -> tuple[RadialKernel, int]:
    """The radial kernel whose power the kernel is, and the power."""
    if isinstance(kernel, Product):
        factor, power = _one_factor(kernel.factor)
        return factor, power * kernel.dimension
    if isinstance(kernel, RadialKernel):
        return kernel, 1
    raise TypeError(f"kernel = {kernel!r} must be Gaussian, Cauchy, Matern or a Product of one")


def _elementary(kernel: RadialKernel) -> bool:
    return not isinstance(kernel, Matern) or kernel.smoothness.q == 2


def _mass(kernel: Kernel) -> sympy.Expr:
    """φ̂(0) − ∫φ; where φ is a Bessel function, φ(0) − ∫φ̂ instead."""
    factor = _one_factor(kernel)[0]
    if _elementary(factor):
        gap = factor.radial_density.subs(RADIUS, 0) - _radial_integral(
            _elementary_profile(factor), factor.dimension
        )
    else:
        gap = _radial_integral(factor.radial_density, factor.dimension) - 1
    return sympy.simplify(sympy.gammasimp(gap))


def _parseval_steps(kernel: Kernel) -> tuple[Step, ...]:
    factor = _one_factor(kernel)[0]
    if not _elementary(factor):
        return ()
    return (Step("Parseval, both sides integrated", lambda: _parseval(factor)),)


def _parseval(kernel: RadialKernel) -> sympy.Expr:
    sides = [
        _radial_integral(profile**2, kernel.dimension)
        for profile in (_elementary_profile(kernel), kernel.radial_density)
    ]
    return sympy.simplify(sympy.gammasimp(sides[0] - sides[1]))


def _elementary_profile(kernel: RadialKernel) -> sympy.Expr:
    """φ without Bessel functions of half-integer order, whose squares SymPy integrates wrongly."""
    if not kernel.radial_kernel.has(sympy.besselk):
        return kernel.radial_kernel
    return sympy.powsimp(sympy.expand(kernel.radial_kernel.replace(sympy.besselk, _half_integer)))


def _half_integer(order: sympy.Expr, z: sympy.Expr) -> sympy.Expr:
    """K_{m+1/2}(z) = √(π/2z) e^{−z} Σ_j (m+j)!/(j!(m−j)!) (2z)^{-j}."""
    m = abs(order) - Rational(1, 2)
    terms = (sympy.binomial(m, j) * sympy.rf(m + 1, j) / (2 * z) ** j for j in range(int(m) + 1))
    return sqrt(pi / (2 * z)) * sympy.exp(-z) * sum(terms, sympy.S.Zero)


def _integrated_threshold(kernel: Kernel) -> sympy.Expr:
    factor, power = _one_factor(kernel)
    energy = _radial_integral(factor.radial_density**2, factor.dimension)
    ratio = (energy / factor.radial_density.subs(RADIUS, 0)) ** power
    return sympy.simplify(1 / (2 / ratio - 1))


def _laplace_slopes() -> tuple[sympy.Expr, sympy.Expr]:
    """Limits of V/c and (B−1)/c as s = 1/c → ∞, from the closed forms, in y = e^{−s} → 0."""
    s = laplace.RATE
    forms = (laplace.ESTIMATION_IN_RATE.expression, laplace.APPROXIMATION_IN_RATE.expression - 1)
    first, second = (sympy.limit((s * form).rewrite(sympy.exp), s, oo) for form in forms)
    return first, second


def _cauchy_slopes() -> tuple[sympy.Expr, sympy.Expr]:
    """π times the derivatives at 0 in a = πc."""
    a = cauchy.SCALED_BANDWIDTH
    forms = (cauchy.ESTIMATION_IN_SCALED.expression, cauchy.APPROXIMATION_IN_SCALED.expression - 1)
    first, second = (pi * sympy.limit(form / a, a, 0) for form in forms)
    return first, second


def _gaussian_slopes() -> tuple[sympy.Expr, sympy.Expr]:
    """C → 0 is k → 0: there K → π/2, so K' ~ 1/(4c²), and (K−E)/(kK) → 0."""
    k, c = gaussian.MODULUS, sympy.Symbol("c", positive=True)
    K, E = sympy.elliptic_k(k**2), sympy.elliptic_e(k**2)
    K_prime = sympy.elliptic_k(1 - k**2)
    quotient = sympy.Symbol("Q")
    slopes = []
    for form, start in (
        (gaussian.ESTIMATION_IN_MODULUS, 0),
        (gaussian.APPROXIMATION_IN_MODULUS, 1),
    ):
        small = form.expression.subs(K - E, quotient * k * K).subs(K_prime, K / (2 * pi * c**2))
        slopes.append(sympy.simplify((small.subs({quotient: 0, k: 0}) - start) / c))
    vanishing = sympy.limit((K.series(k, 0, 4).removeO() - E.series(k, 0, 4).removeO()) / k, k, 0)
    return slopes[0] + vanishing, slopes[1]
