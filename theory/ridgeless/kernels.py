"""Translation-invariant kernels φ(x) and their spectral densities φ̂(ξ) = ∫ φ(x) e^{-2πi x·ξ} dx.

Every formula stands here once, as a SymPy expression in the radius; the numbers are made from it.
`theory.ridgeless.fourier` proves that each pair is a Fourier pair.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from numbers import Rational, Real
from typing import Any, TypeAlias

import numpy as np
import sympy
from numpy.typing import ArrayLike, NDArray

from ..validation import integer

Floats: TypeAlias = NDArray[np.float64]

RADIUS = sympy.Symbol("r", nonnegative=True)


class Kernel(ABC):
    """A translation-invariant positive definite kernel k(x, z) = φ((x − z)/h) on R^dimension."""

    dimension: int

    @abstractmethod
    def kernel(self, x: Any) -> Any:
        """Return φ(x), symbolically for SymPy arguments and as an array for numbers.

        Args:
            x: One coordinate if dimension = 1, else `dimension` coordinates along the last axis.
        """

    @abstractmethod
    def spectral_density(self, xi: Any) -> Any:
        """Return φ̂(ξ), with the same conventions as `kernel`."""

    @abstractmethod
    def log_density(self, xi: Floats) -> Floats:
        """Return log φ̂(ξ), finite where φ̂ itself underflows; xi has shape (..., dimension)."""


def _is_symbolic(x: object) -> bool:
    entries = x if isinstance(x, Sequence) else (x,)
    return any(isinstance(entry, sympy.Basic) for entry in entries)


def coordinates(x: ArrayLike, dimension: int, name: str = "x") -> Floats:
    """Return points as an array of shape (..., dimension).

    Raises:
        ValueError: If the last axis does not hold `dimension` coordinates, or one is not finite.
    """
    points = np.asarray(x, dtype=np.float64)
    if not np.isfinite(points).all():
        raise ValueError(f"{name} = {x!r} must be finite")
    if dimension == 1:
        return points[..., np.newaxis]
    if points.ndim == 0 or points.shape[-1] != dimension:
        raise ValueError(f"{name} has shape {points.shape}, its last axis must be {dimension}")
    return points


def _symbolic_radius(x: Any, dimension: int) -> sympy.Expr:
    if dimension == 1:
        return sympy.Abs(x)
    if len(x) != dimension:
        raise ValueError(f"x has {len(x)} coordinates, it must have {dimension}")
    return sympy.sqrt(sum(sympy.sympify(entry) ** 2 for entry in x))


def _limit(expression: sympy.Expr) -> sympy.Expr:
    return sympy.limit(expression, RADIUS, 0, "+")


@lru_cache(maxsize=64)
def _numeric(expression: sympy.Expr) -> Callable[[Floats], Floats]:
    """Compile a formula in the radius; where it is 0/0 at the origin its limit is put in."""
    function = sympy.lambdify(RADIUS, expression, modules=["numpy", "scipy"])
    origin = float(_limit(expression))

    def evaluate(radius: Floats) -> Floats:
        safe = np.where(radius > 0, radius, 1.0)
        return np.where(radius > 0, function(safe), origin)

    return evaluate


class RadialKernel(Kernel):
    """A kernel that depends on |x| alone; subclasses give the two formulas in the radius."""

    @property
    @abstractmethod
    def radial_kernel(self) -> sympy.Expr:
        """φ as an expression in `RADIUS`."""

    @property
    @abstractmethod
    def radial_density(self) -> sympy.Expr:
        """φ̂ as an expression in `RADIUS`."""

    @property
    @abstractmethod
    def log_radial_density(self) -> sympy.Expr:
        """Log φ̂ as an expression in `RADIUS`."""

    def _evaluate(self, formula: sympy.Expr, x: Any) -> Any:
        if _is_symbolic(x):
            radius = _symbolic_radius(x, self.dimension)
            at_origin = radius.is_zero  # some formulas are 0·∞ there
            return _limit(formula) if at_origin else formula.subs(RADIUS, radius)
        radius = np.linalg.norm(coordinates(x, self.dimension), axis=-1)
        return _numeric(formula)(radius)

    def kernel(self, x: Any) -> Any:  # noqa: D102 (inherits the docstring of Kernel)
        return self._evaluate(self.radial_kernel, x)

    def spectral_density(self, xi: Any) -> Any:  # noqa: D102
        return self._evaluate(self.radial_density, xi)

    def log_density(self, xi: Floats) -> Floats:  # noqa: D102
        return _numeric(self.log_radial_density)(np.linalg.norm(xi, axis=-1))


@dataclass(frozen=True)
class Gaussian(RadialKernel):
    """φ = e^{−|x|²/2}, φ̂ = (2π)^{d/2} e^{−2π²|ξ|²}."""

    dimension: int = 1

    def __post_init__(self) -> None:
        integer("dimension", self.dimension, 1)

    @property
    def radial_kernel(self) -> sympy.Expr:  # noqa: D102
        return sympy.exp(-(RADIUS**2) / 2)

    @property
    def radial_density(self) -> sympy.Expr:  # noqa: D102
        d = sympy.Integer(self.dimension)
        return (2 * sympy.pi) ** (d / 2) * sympy.exp(-2 * sympy.pi**2 * RADIUS**2)

    @property
    def log_radial_density(self) -> sympy.Expr:  # noqa: D102
        d = sympy.Integer(self.dimension)
        return d / 2 * sympy.log(2 * sympy.pi) - 2 * sympy.pi**2 * RADIUS**2


@dataclass(frozen=True)
class Cauchy(RadialKernel):
    """φ = (1+|x|²)^{−(d+1)/2}, φ̂ = π^{(d+1)/2}/Γ((d+1)/2) · e^{−2π|ξ|}."""

    dimension: int = 1

    def __post_init__(self) -> None:
        integer("dimension", self.dimension, 1)

    @property
    def radial_kernel(self) -> sympy.Expr:  # noqa: D102
        return (1 + RADIUS**2) ** -sympy.Rational(self.dimension + 1, 2)

    @property
    def _mass(self) -> sympy.Expr:
        s = sympy.Rational(self.dimension + 1, 2)
        return sympy.pi**s / sympy.gamma(s)

    @property
    def radial_density(self) -> sympy.Expr:  # noqa: D102
        return self._mass * sympy.exp(-2 * sympy.pi * RADIUS)

    @property
    def log_radial_density(self) -> sympy.Expr:  # noqa: D102
        return sympy.log(self._mass) - 2 * sympy.pi * RADIUS


def _bessel_half(order: sympy.Expr, z: sympy.Expr) -> sympy.Expr:  # noqa: ARG001 (it is ±1/2)
    """K_{±1/2}(z), to which SymPy expands every half-integer order."""
    return sympy.sqrt(sympy.pi / (2 * z)) * sympy.exp(-z)


@dataclass(frozen=True)
class Matern(RadialKernel):
    """φ = 2^{1−ν}/Γ(ν) · z^ν K_ν(z), z = √(2ν)|x|; φ̂ ∝ (2ν + 4π²|ξ|²)^{−(ν+d/2)}.

    Args:
        nu: Smoothness ν > 0, taken exactly (a float as the double that it is); 1/2 is Laplace.
        dimension: d.
    """

    nu: float | Fraction
    dimension: int = 1

    def __post_init__(self) -> None:
        integer("dimension", self.dimension, 1)
        if isinstance(self.nu, bool) or not isinstance(self.nu, Real):
            raise TypeError(f"nu = {self.nu!r} must be a finite number > 0")
        if not 0 < float(self.nu) < float("inf"):
            raise ValueError(f"nu = {self.nu!r} must be a finite number > 0")

    @cached_property
    def smoothness(self) -> sympy.Rational:
        """ν as an exact rational."""
        nu = self.nu if isinstance(self.nu, Rational) else Fraction(float(self.nu))
        return sympy.Rational(int(nu.numerator), int(nu.denominator))

    @property
    def decay(self) -> sympy.Rational:
        """The exponent ν + d/2 of φ̂ ~ (2ν + 4π²|ξ|²)^{−(ν+d/2)}."""
        return self.smoothness + sympy.Rational(self.dimension, 2)

    @cached_property
    def radial_kernel(self) -> sympy.Expr:  # noqa: D102
        nu, z = self.smoothness, sympy.sqrt(2 * self.smoothness) * RADIUS
        bessel = sympy.besselk(nu, z)
        elementary = nu.q == 2 and nu < 10  # K_ν is an exponential times a (short) polynomial
        if elementary:
            bessel = sympy.expand_func(bessel).replace(sympy.besselk, _bessel_half)
        formula = 2 ** (1 - nu) / sympy.gamma(nu) * z**nu * bessel
        return sympy.powsimp(sympy.expand(formula)) if elementary else formula

    def kernel(self, x: Any) -> Any:  # noqa: D102
        if _is_symbolic(x):
            return super().kernel(x)
        with np.errstate(over="ignore", invalid="ignore"):
            values = super().kernel(x)
        # For large ν, K_ν overflows near 0. There two terms in z² have all digits; for small ν it
        # overflows only where φ is 1 to working precision.
        nu = max(float(self.smoothness), 3.0)
        quarter = nu / 2 * np.sum(coordinates(x, self.dimension) ** 2, axis=-1)
        series = 1 - quarter / (nu - 1) * (1 - quarter / (2 * (nu - 2)))
        return np.where(np.isfinite(values), values, series)

    @property
    def _mass(self) -> sympy.Expr:
        nu, d = self.smoothness, sympy.Integer(self.dimension)
        ratio = sympy.gamma(self.decay) / sympy.gamma(nu)
        return 2**d * sympy.pi ** (d / 2) * ratio * (2 * nu) ** (-d / 2)

    @property
    def radial_density(self) -> sympy.Expr:  # noqa: D102
        scaled = 1 + 2 * sympy.pi**2 * RADIUS**2 / self.smoothness
        return self._mass * scaled**-self.decay

    @property
    def log_radial_density(self) -> sympy.Expr:  # noqa: D102
        scaled = 1 + 2 * sympy.pi**2 * RADIUS**2 / self.smoothness
        return sympy.log(self._mass) - self.decay * sympy.log(scaled)


@dataclass(frozen=True)
class Laplace(Matern):
    """φ = e^{−|x|}, Matérn with ν = 1/2: φ̂ ∝ (1 + 4π²|ξ|²)^{−(d+1)/2}."""

    nu: float | Fraction = Fraction(1, 2)
    dimension: int = 1

    def __init__(self, dimension: int = 1) -> None:
        object.__setattr__(self, "nu", Fraction(1, 2))
        object.__setattr__(self, "dimension", dimension)
        self.__post_init__()

    def __repr__(self) -> str:
        return f"Laplace(dimension={self.dimension})"


@dataclass(frozen=True)
class Product(Kernel):
    """The coordinate product φ(x_1)⋯φ(x_d) of a one-dimensional kernel.

    Args:
        kernel: The one-dimensional kernel, kept as `factor`.
        dimension: d, the number of coordinates.
    """

    factor: Kernel
    dimension: int

    def __init__(self, kernel: Kernel, dimension: int) -> None:
        integer("dimension", dimension, 1)
        if not isinstance(kernel, Kernel):
            raise TypeError(f"kernel = {kernel!r} must be a Kernel of dimension 1")
        if kernel.dimension != 1:
            raise ValueError(f"kernel = {kernel!r} must have dimension 1")
        object.__setattr__(self, "factor", kernel)
        object.__setattr__(self, "dimension", dimension)

    def _product(self, one: Callable[[Any], Any], x: Any) -> Any:
        if _is_symbolic(x):
            entries = (x,) if self.dimension == 1 else x
            return sympy.Mul(*[one(entry) for entry in entries])
        return np.prod(one(coordinates(x, self.dimension)), axis=-1)

    def kernel(self, x: Any) -> Any:  # noqa: D102
        return self._product(self.factor.kernel, x)

    def spectral_density(self, xi: Any) -> Any:  # noqa: D102
        return self._product(self.factor.spectral_density, xi)

    def log_density(self, xi: Floats) -> Floats:  # noqa: D102
        logs = self.factor.log_density(xi[..., np.newaxis])
        return np.asarray(np.sum(logs, axis=-1))
