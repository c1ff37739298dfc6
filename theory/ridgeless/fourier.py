r"""Proofs that each kernel and its spectral density are a Fourier pair, φ̂(ξ) = ∫ φ e^{−2πi x·ξ} dx.

All radial kernels here are mixtures of Gaussians, φ(x) = ∫ e^{−t|x|²} dμ(t). The Gaussian's pair
is an ordinary differential equation; the mixtures are Gamma integrals and Bessel's equation.
"""

from __future__ import annotations

import sympy

from ..derivation import Derivation, Step, first_nonzero
from .kernels import RADIUS, Cauchy, Gaussian, Kernel, Matern, RadialKernel

_T, _B, _Z = sympy.symbols("t b z", positive=True)
_X, _XI = sympy.symbols("x xi", real=True)

_CITES = (
    "Fubini and Tonelli: the transform of a positive mixture is the mixture of the transforms",
    "Picard–Lindelöf: a linear ODE with its initial value has one solution",
)


def fourier_pair(kernel: Kernel, claimed: sympy.Expr | None = None) -> Derivation:
    """Derive the spectral density of a kernel from its φ.

    Args:
        kernel: A Gaussian, Cauchy or Matérn kernel (Laplace is Matérn with ν = 1/2), any dimension.
            Coordinate products need no proof of their own: their transforms are products.
        claimed: The density to compare with, in `RADIUS`; by default the kernel's own.

    Raises:
        TypeError: For any other kernel.

    Source: classical.
    """
    if not isinstance(kernel, RadialKernel):
        raise TypeError(f"kernel = {kernel!r} must be a Gaussian, Cauchy or Matern kernel")
    density = kernel.radial_density if claimed is None else claimed
    if isinstance(kernel, Gaussian):
        steps = _gaussian_steps(kernel, density)
    elif isinstance(kernel, Cauchy):
        steps = _cauchy_steps(kernel, density)
    elif isinstance(kernel, Matern):
        steps = _matern_steps(kernel, density)
    else:
        raise TypeError(f"kernel = {kernel!r} must be a Gaussian, Cauchy or Matern kernel")
    goal = f"The spectral density of {kernel!r} from its definition as an integral."
    return Derivation(goal, (*_line_steps(), *steps), _CITES)


def _transform_of_gaussian(rate: sympy.Expr, dimension: int, xi: sympy.Expr) -> sympy.Expr:
    """The transform of e^{−rate |x|²} in d dimensions: (π/rate)^{d/2} e^{−π²|ξ|²/rate}."""
    power = (sympy.pi / rate) ** sympy.Rational(dimension, 2)
    return power * sympy.exp(-(sympy.pi**2) * xi**2 / rate)


def _line_steps() -> tuple[Step, ...]:
    """One Gaussian on the line; d of them multiply, since e^{−t|x|²} and the wave both factor."""
    wave = sympy.exp(-_T * _X**2 - 2 * sympy.pi * sympy.I * _X * _XI)
    formula = _transform_of_gaussian(_T, 1, _XI)

    def equation() -> sympy.Expr:
        total = sympy.diff(sympy.pi * sympy.I / _T * wave, _X)
        left = sympy.diff(wave, _XI) + 2 * sympy.pi**2 * _XI / _T * wave
        return sympy.expand(sympy.simplify((left - total) / wave))

    def solution() -> sympy.Expr:
        ode = sympy.diff(formula, _XI) + 2 * sympy.pi**2 * _XI / _T * formula
        start = sympy.integrate(sympy.exp(-_T * _X**2), (_X, -sympy.oo, sympy.oo))
        return first_nonzero(sympy.simplify(ode), sympy.simplify(formula.subs(_XI, 0) - start))

    return (
        Step(
            "F(ξ) = ∫ e^{−tx² − 2πixξ} dx obeys F' = −(2π²ξ/t) F: the difference of the integrands "
            "is the x-derivative of (πi/t) e^{−tx² − 2πixξ}, which vanishes at ±∞.",
            equation,
        ),
        Step("√(π/t) e^{−π²ξ²/t} solves it, with F(0) = ∫ e^{−tx²} dx.", solution),
    )


def _gaussian_steps(kernel: Gaussian, claimed: sympy.Expr) -> tuple[Step, ...]:
    def assemble() -> sympy.Expr:
        derived = _transform_of_gaussian(sympy.Rational(1, 2), kernel.dimension, RADIUS)
        return sympy.simplify(claimed - derived)

    return (Step("φ is the Gaussian with t = 1/2 in every coordinate.", assemble),)


def _cauchy_steps(kernel: Cauchy, claimed: sympy.Expr) -> tuple[Step, ...]:
    s = sympy.Rational(kernel.dimension + 1, 2)
    integrand = sympy.exp(-_T - _B**2 / _T) / sympy.sqrt(_T)

    def mixture() -> sympy.Expr:
        gamma = sympy.integrate(_T ** (s - 1) * sympy.exp(-_T * _B), (_T, 0, sympy.oo))
        return sympy.simplify(gamma.subs(_B, 1 + RADIUS**2) / sympy.gamma(s) - kernel.radial_kernel)

    def exponent() -> sympy.Expr:
        transformed = _transform_of_gaussian(_T, kernel.dimension, RADIUS)
        weight = _T ** (s - 1) * sympy.exp(-_T) * transformed
        target = sympy.pi ** sympy.Rational(kernel.dimension, 2) * integrand.subs(
            _B, sympy.pi * RADIUS
        )
        return sympy.simplify(weight / target - 1)

    def reflection() -> sympy.Expr:
        # −J'(b)/2 = ∫ b/t · integrand dt becomes J(b) under t = b²/u, dt = −b²/u² du.
        u = sympy.Symbol("u", positive=True)
        minus_half = -sympy.diff(integrand, _B) / 2
        substituted = minus_half.subs(_T, _B**2 / u) * _B**2 / u**2
        return sympy.simplify(substituted - integrand.subs(_T, u))

    def solution() -> sympy.Expr:
        J = sympy.sqrt(sympy.pi) * sympy.exp(-2 * _B)
        start = sympy.integrate(sympy.exp(-_T) / sympy.sqrt(_T), (_T, 0, sympy.oo))
        ode = sympy.simplify(sympy.diff(J, _B) + 2 * J)
        return first_nonzero(ode, sympy.simplify(J.subs(_B, 0) - start))

    def assemble() -> sympy.Expr:
        J = sympy.sqrt(sympy.pi) * sympy.exp(-2 * sympy.pi * RADIUS)
        derived = sympy.pi ** sympy.Rational(kernel.dimension, 2) / sympy.gamma(s) * J
        return sympy.simplify(claimed - derived)

    return (
        Step("(1+|x|²)^{−s} = Γ(s)^{−1} ∫ t^{s−1} e^{−t(1+|x|²)} dt, s = (d+1)/2.", mixture),
        Step(
            "Term by term: φ̂ = π^{d/2}/Γ(s) · J(π|ξ|), J(b) = ∫ t^{−1/2} e^{−t−b²/t} dt.", exponent
        ),
        Step("The substitution t → b²/t shows J' = −2J.", reflection),
        Step("Hence J(b) = √π e^{−2b}, with J(0) = Γ(1/2).", solution),
        Step("Put together, this is the claimed density.", assemble),
    )


def _matern_steps(kernel: Matern, claimed: sympy.Expr) -> tuple[Step, ...]:
    nu, d = kernel.smoothness, kernel.dimension
    integrand = _T ** (nu - 1) * sympy.exp(-_T - _Z**2 / (4 * _T))

    def bessel_equation() -> sympy.Expr:
        # y = z^{−ν} I(z) solves z²y'' + zy' − (z²+ν²)y = 0 up to a total t-derivative.
        y = (_Z / 2) ** nu * _T ** (-nu - 1) * sympy.exp(-_T - _Z**2 / (4 * _T))
        operator = _Z**2 * sympy.diff(y, _Z, 2) + _Z * sympy.diff(y, _Z) - (_Z**2 + nu**2) * y
        return sympy.expand(sympy.simplify((operator - sympy.diff(_Z**2 * y, _T)) / y))

    def reflection() -> sympy.Expr:
        # t = z²/(4u) turns (z/2)^{2ν} ∫ t^{−ν−1} e^{…} into I(z).
        u = sympy.Symbol("u", positive=True)
        mirrored = (_Z / 2) ** (2 * nu) * _T ** (-nu - 1) * sympy.exp(-_T - _Z**2 / (4 * _T))
        substituted = mirrored.subs(_T, _Z**2 / (4 * u)) * _Z**2 / (4 * u**2)
        return sympy.simplify(substituted / integrand.subs(_T, u) - 1)

    def start() -> sympy.Expr:
        total = sympy.integrate(_T ** (nu - 1) * sympy.exp(-_T), (_T, 0, sympy.oo))
        bessel = 2 ** (nu - 1) * sympy.gamma(nu) * _Z**-nu  # K_ν as z → 0
        return sympy.simplify(2 * (_Z / 2) ** nu * bessel - total)

    def kernel_from_integral() -> sympy.Expr:
        z = sympy.sqrt(2 * nu) * RADIUS
        bessel = 2 * (z / 2) ** nu * sympy.besselk(nu, z) / sympy.gamma(nu)
        if nu.q == 2:
            bessel = sympy.expand_func(bessel)
        return sympy.simplify(sympy.expand(kernel.radial_kernel - bessel))

    def assemble() -> sympy.Expr:
        # e^{−νr²/(2t)} has the transform (2πt/ν)^{d/2} e^{−2π²ξ²t/ν}; then a Gamma integral.
        transformed = _transform_of_gaussian(nu / (2 * _T), d, RADIUS)
        power = sympy.powsimp(_T ** (nu - 1) * transformed * sympy.exp(-_T), force=True)
        rate = 1 + 2 * sympy.pi**2 * RADIUS**2 / nu
        ratio = sympy.simplify(power * sympy.exp(_T * rate))  # c t^{s−1}
        s = nu + sympy.Rational(d, 2)
        constant = sympy.simplify(ratio / _T ** (s - 1))
        if constant.has(_T):
            return constant
        derived = constant * sympy.gamma(s) * rate**-s / sympy.gamma(nu)
        return sympy.simplify(sympy.powsimp(claimed - derived, force=True))

    return (
        Step(
            "(z/2)^ν ∫ t^{−ν−1} e^{−t−z²/4t} dt solves Bessel's modified equation.", bessel_equation
        ),
        Step("By t → z²/4t it is (2/z)^ν I(z), I(z) = ∫ t^{ν−1} e^{−t−z²/4t} dt.", reflection),
        Step("I(0) = Γ(ν) fixes the solution that decays: I(z) = 2 (z/2)^ν K_ν(z).", start),
        Step(
            "So φ(r) = I(√(2ν) r)/Γ(ν), a mixture of the Gaussians e^{−νr²/2t}.",
            kernel_from_integral,
        ),
        Step("Transformed term by term, a Gamma integral gives the claimed density.", assemble),
    )
