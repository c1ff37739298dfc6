"""Kernel profiles φ on R^d with φ(0) = 1, decreasing in |x|."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln, kve

from ..validation import RealArray, choice, coordinates, integer, positive

NAMES = ("gaussian", "laplace", "cauchy", "matern")

Radial = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True)
class Profile:
    """A profile φ(x) = ρ(|x|), or the product φ(x) = ρ(|x_1|) ... ρ(|x_d|).

    Attributes:
        name: "gaussian" ρ = e^{-r²/2}, "laplace" e^{-r}, "cauchy" (1 + r²)^{-(d+1)/2} (exponent -1
            in each factor of a product), "matern"; with `radial`, any name.
        dimension: d.
        nu: Smoothness ν > 0 of "matern", ρ = 2^{1-ν}/Γ(ν) (√(2ν) r)^ν K_ν(√(2ν) r).
        product: Whether φ is a product over coordinates.
        radial: Your own ρ: takes and returns arrays, must be 1 at 0, nonnegative and nonincreasing
            (the truncation bounds rest on it), and positive definite in R^d.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If the name is unknown, d < 1, ν <= 0, missing or superfluous, or ρ(0) != 1.
    """

    name: str
    dimension: int = 1
    nu: float | None = None
    product: bool = False
    radial: Radial | None = None

    def __post_init__(self) -> None:
        integer("dimension", self.dimension, 1)
        if self.radial is not None:
            _check_radial(self.radial)
        else:
            choice("profile", self.name, NAMES)
        if self.radial is None and self.name == "matern":
            positive("nu", self.nu)
        elif self.nu is not None:
            raise ValueError(f"nu = {self.nu!r} must be None for the profile {self.name!r}")

    @property
    def separable(self) -> bool:
        """Whether φ(x) is a product of functions of one coordinate each."""
        gaussian = self.radial is None and self.name == "gaussian"
        return self.product or gaussian or self.dimension == 1

    @property
    def factor(self) -> Profile:
        """The one-dimensional profile of which a separable φ is the product."""
        return Profile(self.name, 1, self.nu, False, self.radial)

    @property
    def smooth_in_distance(self) -> bool:
        """Whether ρ is known to be analytic in r >= 0 (for choosing a quadrature rule)."""
        half_integer = self.nu is not None and (self.nu - 0.5).is_integer()
        return self.radial is None and (self.name != "matern" or half_integer)

    def of_distance(self, r: RealArray) -> RealArray:
        """ρ(r) elementwise, for r >= 0 (of one factor, if φ is a product)."""
        if self.radial is not None:
            return self.radial(r)
        if self.name == "gaussian":
            return np.exp(-0.5 * r**2)
        if self.name == "laplace":
            return np.exp(-r)
        if self.name == "cauchy":
            return (1 + r**2) ** (-0.5 * (2 if self.product else self.dimension + 1))
        assert self.nu is not None
        return matern(r, self.nu)

    def __call__(self, x: ArrayLike) -> RealArray:
        """φ(x) for x of shape (..., d).

        >>> Profile("cauchy")([[0.0], [1.0]])
        array([1. , 0.5])
        """
        array = coordinates("x", x, self.dimension)
        if self.product:
            return np.asarray(np.prod(self.of_distance(np.abs(array)), axis=-1))
        return self.of_distance(np.linalg.norm(array, axis=-1))


ProfileLike = Profile | str | Radial


def as_profile(profile: ProfileLike, dimension: int) -> Profile:
    """Return a profile of the given dimension, from itself, a name or a radial function.

    Raises:
        TypeError: If `profile` is none of these.
        ValueError: If the name is unknown or the dimensions differ.
    """
    if isinstance(profile, str):
        return Profile(profile, dimension)
    if isinstance(profile, Profile):
        if profile.dimension != dimension:
            raise ValueError(
                f"profile has dimension {profile.dimension}, but the points have {dimension}"
            )
        return profile
    if not callable(profile):
        raise TypeError(f"profile = {profile!r} must be a Profile, a name or a callable")
    return Profile(getattr(profile, "__name__", "custom"), dimension, radial=profile)


def matern(r: RealArray, nu: float) -> RealArray:
    """The Matérn function of the distance, 2^{1-ν}/Γ(ν) z^ν K_ν(z) with z = √(2ν) r; 1 at r = 0."""
    z = math.sqrt(2 * nu) * np.asarray(r, dtype=np.float64)
    if (nu - 0.5).is_integer() and nu < 20:
        return _matern_half_integer(z, round(nu - 0.5))
    # Logarithms, because z^ν and K_ν(z) leave the range of doubles long before their product does.
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        exponent = (1 - nu) * math.log(2) - gammaln(nu) + nu * np.log(z) + np.log(kve(nu, z)) - z
    # K_ν overflows only where the value is 1 to working precision; K_ν(∞) = 0 gives NaN.
    at_infinity = np.where(np.isinf(z), 0.0, np.exp(np.where(np.isfinite(exponent), exponent, 0)))
    return np.asarray(at_infinity)


def _matern_half_integer(z: RealArray, p: int) -> RealArray:
    # ν = p + 1/2: e^{-z} p!/(2p)! Σ_i (p+i)!/(i!(p-i)!) (2z)^{p-i}
    factorial = math.factorial
    terms = [factorial(p + i) // (factorial(i) * factorial(p - i)) for i in range(p + 1)]
    scale = factorial(p) / factorial(2 * p)
    return np.asarray(np.exp(-z) * scale * np.polyval([float(t) for t in terms], 2 * z))


def _check_radial(radial: object) -> None:
    if not callable(radial):
        raise TypeError(f"radial = {radial!r} must be callable")
    value = np.asarray(radial(np.zeros(1)))
    if value.shape != (1,) or not abs(value[0] - 1) <= 1e-12:
        raise ValueError(f"radial takes 0 to {value}, must take an array to an array, and 0 to 1")
