"""Activations φ by name: the formula, and φ, φ', φ'' on arrays of doubles."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import special

if TYPE_CHECKING:
    import sympy

RealArray: TypeAlias = NDArray[np.float64]
Entrywise: TypeAlias = Callable[[RealArray], RealArray]

NAMES = ("relu", "erf", "linear", "quadratic", "cubic", "tanh", "softplus", "gelu")
"""The names besides hermite<p> with p = 0, 1, 2, …."""


@dataclass(frozen=True, eq=False)
class Activation:
    """An activation with its first two derivatives, applied entry by entry.

    Attributes:
        name: For messages.
        value: φ.
        first: φ'.
        second: φ''.
        smooth: Whether φ'' exists everywhere. If not, φ is piecewise linear with a kink at 0,
            where φ' = 0 by convention and φ'' = 0 is its value elsewhere.
    """

    name: str
    value: Entrywise
    first: Entrywise
    second: Entrywise
    smooth: bool = True


def activation(name: str | Activation) -> Activation:
    """Return the activation of a name; one that is given is returned as it is.

    Args:
        name: "relu", "erf" (erf z), "linear", "quadratic" (z²), "cubic" (z³), "hermite<p>"
            (He_p(z)/√p!, the probabilists' polynomials), "tanh", "softplus" (log(1 + e^z)) or
            "gelu" (z times the standard normal distribution function of z).

    Raises:
        TypeError: If it is neither a name nor an activation.
        ValueError: If the name is unknown.

    Example:
        >>> activation("hermite2").value(np.array([3.0])) * np.sqrt(2)
        array([8.])
    """
    if isinstance(name, Activation):
        return name
    degree = hermite_degree(name)
    return _hermite(degree) if degree is not None else _NAMED[name]


def hermite_degree(name: object) -> int | None:
    """Return p for "hermite<p>", and None for the other names.

    Raises:
        TypeError: If it is no string.
        ValueError: If the name is unknown.
    """
    if not isinstance(name, str):
        raise TypeError(f"activation = {name!r} must be a name or an Activation")
    if match := re.fullmatch(r"hermite([0-9]{1,3})", name):
        return int(match[1])
    if name not in NAMES:
        raise ValueError(
            f"activation = {name!r}; allowed: {', '.join(NAMES)}, hermite<p> with p = 0, 1, 2, …"
        )
    return None


@lru_cache(maxsize=64)
def formula(name: str) -> tuple[sympy.Expr, sympy.Symbol]:
    """Return φ(z) as a SymPy expression, and the symbol z.

    Raises:
        TypeError: If the name is no string.
        ValueError: If it is unknown.

    Example:
        >>> formula("hermite3")[0]
        sqrt(6)*(z**3 - 3*z)/6
    """
    import sympy

    z = sympy.Symbol("z", real=True)
    degree = hermite_degree(name)
    if degree is not None:
        return sympy.hermite_prob(degree, z) / sympy.sqrt(sympy.factorial(degree)), z
    formulas = {
        "relu": z * sympy.Heaviside(z, 0),
        "erf": sympy.erf(z),
        "linear": z,
        "quadratic": z**2,
        "cubic": z**3,
        "tanh": sympy.tanh(z),
        "softplus": sympy.log(1 + sympy.exp(z)),
        "gelu": z * (1 + sympy.erf(z / sympy.sqrt(2))) / 2,
    }
    return formulas[name], z


# --- the named ones ---------------------------------------------------------------------------


def _zero(z: RealArray) -> RealArray:
    return np.zeros_like(z)


def _one(z: RealArray) -> RealArray:
    return np.ones_like(z)


def _positive_part(z: RealArray) -> RealArray:
    return np.maximum(z, 0.0)


def _step(z: RealArray) -> RealArray:
    return (z > 0).astype(np.float64)


def _erf(z: RealArray) -> RealArray:
    found: RealArray = special.erf(z)
    return found


def _erf_slope(z: RealArray) -> RealArray:
    return 2 / math.sqrt(math.pi) * np.exp(-(z**2))


def _sigmoid(z: RealArray) -> RealArray:
    found: RealArray = special.expit(z)
    return found


def _sigmoid_slope(z: RealArray) -> RealArray:
    return _sigmoid(z) * _sigmoid(-z)


def _tanh_slope(z: RealArray) -> RealArray:
    return 4 * _sigmoid_slope(2 * z)  # 1 - tanh² loses its digits where tanh is close to 1


def _normal(z: RealArray) -> RealArray:
    found: RealArray = special.ndtr(z)
    return found


def _normal_slope(z: RealArray) -> RealArray:
    return np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)


@lru_cache(maxsize=64)
def _hermite(degree: int) -> Activation:
    """He_p/√p! with its derivatives √p He_{p-1}/√(p-1)! and √(p(p-1)) He_{p-2}/√(p-2)!."""

    def derivative(order: int) -> Entrywise:
        factor = math.sqrt(math.perm(degree, order))
        return lambda z: factor * _normalised_hermite(degree - order, z)

    return Activation(f"hermite{degree}", derivative(0), derivative(1), derivative(2))


def _normalised_hermite(degree: int, z: RealArray) -> RealArray:
    """He_p(z)/√p! by its own recurrence, in which no factorial can overflow; 0 for p < 0."""
    before, found = np.zeros_like(z), _one(z) if degree >= 0 else np.zeros_like(z)
    for p in range(degree):
        before, found = found, (z * found - math.sqrt(p) * before) / math.sqrt(p + 1)
    return found


_NAMED = {
    act.name: act
    for act in (
        Activation("relu", _positive_part, _step, _zero, smooth=False),
        Activation("erf", _erf, _erf_slope, lambda z: -2 * z * _erf_slope(z)),
        Activation("linear", lambda z: z, _one, _zero),
        Activation("quadratic", np.square, lambda z: 2 * z, lambda z: 2 * _one(z)),
        Activation("cubic", lambda z: z**3, lambda z: 3 * z**2, lambda z: 6 * z),
        Activation("tanh", np.tanh, _tanh_slope, lambda z: -2 * np.tanh(z) * _tanh_slope(z)),
        Activation("softplus", lambda z: np.logaddexp(0.0, z), _sigmoid, _sigmoid_slope),
        Activation(
            "gelu",
            lambda z: z * _normal(z),
            lambda z: _normal(z) + z * _normal_slope(z),
            lambda z: (2 - z**2) * _normal_slope(z),
        ),
    )
}
