r"""The derivative kernel of an activation: κ = E φ'(u) φ'(v) for centred Gaussian (u, v).

It is the limit of 𝒦_{αβ}/(k E a²) for k independent Gaussian units, with (u, v) the
pre-activations of the samples α and β. The covariance of (u, v) has the entries σ_uu, σ_uv, σ_vv.

    relu       (π − θ)/2π, θ the angle between the samples: the arc-cosine kernel of degree 0
    erf        4/π / √((1 + 2σ_uu)(1 + 2σ_vv) − 4σ_uv²)
    linear     1
    quadratic  4 σ_uv
    cubic      9 (σ_uu σ_vv + 2 σ_uv²)
    hermite<p> p σ_uv^{p−1} at unit variances; in general Σ_i over
               ((σ_uu − 1)(σ_vv − 1)/4)^i σ_uv^{p−1−2i}

They are derived in `activation_kernel_derivations`.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy
from flint import arb, ctx
from numpy.typing import ArrayLike, NDArray

from ..arrays import real_entries
from ..closed_form.arguments import exact
from . import _kernel_arrays, _kernel_balls

if TYPE_CHECKING:
    from ..derivation import Derivation

UU = sympy.Symbol("sigma_uu", nonnegative=True)
UV = sympy.Symbol("sigma_uv", real=True)
VV = sympy.Symbol("sigma_vv", nonnegative=True)

Floats = NDArray[np.float64]

RELU = sympy.atan2(sympy.sqrt(UU * VV - UV**2), -UV) / (2 * sympy.pi)
ERF = 4 / (sympy.pi * sympy.sqrt((1 + 2 * UU) * (1 + 2 * VV) - 4 * UV**2))
LINEAR = sympy.Integer(1)
QUADRATIC = 4 * UV
CUBIC = 9 * (UU * VV + 2 * UV**2)

NAMED: dict[str, sympy.Expr] = {
    "relu": RELU,
    "erf": ERF,
    "linear": LINEAR,
    "quadratic": QUADRATIC,
    "cubic": CUBIC,
}
ALLOWED = ", ".join([*NAMED, "hermite<p> with p >= 1"])

SLACK = Fraction(1, 10**12)
"""σ_uv² may exceed σ_uu σ_vv by this share, as rounded inner products of parallel samples do."""


def hermite_expression(order: int) -> sympy.Expr:
    """Return κ for φ = He_p/√p!, with He_p the probabilists' Hermite polynomial.

    Args:
        order: p >= 1.

    >>> hermite_expression(2)
    2*sigma_uv
    """
    m = order - 1
    width = (UU - 1) * (VV - 1) / 4
    scale = order * math.factorial(m)
    return sympy.Add(
        *(
            sympy.Rational(scale, math.factorial(i) ** 2 * math.factorial(m - 2 * i))
            * width**i
            * UV ** (m - 2 * i)
            for i in range(m // 2 + 1)
        )
    )


@dataclass(frozen=True)
class ActivationKernel:
    """κ(σ_uu, σ_uv, σ_vv) with its evaluators.

    Attributes:
        name: The activation φ.
        expression: κ, in the symbols `UU`, `UV`, `VV` of this module.
    """

    name: str
    expression: sympy.Expr

    def latex(self) -> str:
        """Return the formula in LaTeX."""
        return str(sympy.latex(self.expression))

    def derivation(self) -> Derivation:
        """Return the derivation of the formula from the expectation."""
        from .activation_kernel_derivations import derive_kernel

        return derive_kernel(self.name, self.expression)

    def __call__(self, variance_u: Any, covariance: Any, variance_v: Any) -> Any:
        """Return κ: correctly rounded for scalars, to a few units in the last place for arrays.

        Args:
            variance_u: σ_uu: int, float, Fraction or str, taken exactly, or an array.
            covariance: σ_uv, likewise; arrays are broadcast.
            variance_v: σ_vv, likewise.

        Raises:
            TypeError: If an argument is no real number.
            ValueError: If an argument is not finite, a variance is negative, or σ_uv² exceeds
                σ_uu σ_vv; for relu also if a variance is 0, where φ'(0) is not defined.
            OverflowError: If the value is larger than every double.
        """
        arguments = (variance_u, covariance, variance_v)
        if any(isinstance(a, np.ndarray) for a in arguments):
            return self._of_arrays(*np.broadcast_arrays(*(_floats(a) for a in arguments)))
        return _kernel_balls.nearest(self._at(*self._exact(*arguments)), self.name)

    def mp(self, variance_u: Any, covariance: Any, variance_v: Any, dps: int) -> Any:
        """Return κ to dps digits as an mpf.

        Arguments and errors are those of a call with scalars.
        """
        if not isinstance(dps, int) or dps < 1:
            raise ValueError(f"dps = {dps!r}; allowed: an int of at least 1")
        at = self._at(*self._exact(variance_u, covariance, variance_v))
        return _kernel_balls.to_digits(at, dps, self.name)

    def ball(self, variance_u: Any, covariance: Any, variance_v: Any, prec: int = 128) -> Any:
        """Return a ball that contains κ, or κ over whole balls of arguments.

        Args:
            variance_u: A scalar, taken exactly, or a ball (flint's arb).
            covariance: Likewise.
            variance_v: Likewise.
            prec: Working precision in bits.
        """
        arguments: tuple[Any, ...] = (variance_u, covariance, variance_v)
        if not any(isinstance(a, arb) for a in arguments):
            arguments = self._exact(*arguments)
        with ctx.workprec(prec):
            values = tuple(a if isinstance(a, arb) else exact(a) for a in arguments)
            return _kernel_balls.as_ball(self._at(*values)())

    def matrix(self, X: ArrayLike, weight_variance: float = 1.0) -> Floats:
        """Return κ between all pairs of rows of X, for rows of W from N(0, τ² I).

        Args:
            X: Samples, shape (n, d).
            weight_variance: τ² > 0.

        Returns:
            κ(τ²‖x_α‖², τ² x_α·x_β, τ²‖x_β‖²), shape (n, n), symmetric.

        Raises:
            ValueError: If X is not two-dimensional, empty or not finite, weight_variance is not
                finite and positive, or, for relu, a row of X is 0.
        """
        rows = check_rows("X", X)
        τ2 = check_variance(weight_variance)
        if self.name == "relu":
            self._refuse_zero(not rows.any(axis=1).all(), "the norm of a row of X")
            return _kernel_arrays.angle_matrix(rows)
        scaled = np.sqrt(τ2) * rows
        gram = scaled @ scaled.T
        diagonal = np.diag(gram)
        kernel = self._of_checked_arrays(diagonal[:, None], gram, diagonal[None, :])
        return np.asarray((kernel + kernel.T) / 2)  # rounding is not symmetric in u and v

    def _exact(self, variance_u: Any, covariance: Any, variance_v: Any) -> tuple[Any, ...]:
        uu, vv = exact(variance_u, "variance_u"), exact(variance_v, "variance_v")
        uv = exact(covariance, "covariance")
        for name, value in (("variance_u", uu), ("variance_v", vv)):
            if value < 0:
                raise ValueError(f"{name} = {float(value)} must be a finite number >= 0")
            self._refuse_zero(value == 0, name)
        if uv**2 > uu * vv * (1 + SLACK):
            raise ValueError(
                f"covariance = {float(uv)} must be at most √(variance_u · variance_v) in absolute "
                f"value, with variance_u = {float(uu)}, variance_v = {float(vv)}"
            )
        return uu, uv, vv

    def _at(self, uu: Any, uv: Any, vv: Any) -> Callable[[], Any]:
        return lambda: _kernel_balls.evaluate(self.expression, {UU: uu, UV: uv, VV: vv})

    def _of_arrays(self, uu: Floats, uv: Floats, vv: Floats) -> Floats:
        for name, value in (("variance_u", uu), ("variance_v", vv)):
            if np.any(value < 0):
                raise ValueError(f"{name} holds {value[value < 0][0]}, must be finite and >= 0")
            self._refuse_zero(bool(np.any(value == 0)), name)
        outside = np.abs(uv) > np.sqrt(uu) * np.sqrt(vv) * (1 + float(SLACK) / 2)
        if np.any(outside):
            raise ValueError(
                f"covariance holds {uv[outside][0]}, must be at most √(variance_u · variance_v) = "
                f"{(np.sqrt(uu) * np.sqrt(vv))[outside][0]} in absolute value"
            )
        return self._of_checked_arrays(uu, uv, vv)

    def _of_checked_arrays(self, uu: Floats, uv: Floats, vv: Floats) -> Floats:
        if self.name == "relu":
            return _kernel_arrays.relu(uu, uv, vv)
        if self.name == "erf":
            return _kernel_arrays.erf(uu, uv, vv)
        return _kernel_arrays.polynomial(self, (UU, UV, VV), (uu, uv, vv))

    def _refuse_zero(self, zero: bool, name: str) -> None:
        if zero and self.name == "relu":
            raise ValueError(f"{name} is 0, must be > 0 for relu, whose φ'(0) is not defined")


@functools.lru_cache(maxsize=64)
def activation_kernel(name: str) -> ActivationKernel:
    """Return the derivative kernel of an activation.

    Args:
        name: "relu", "erf" (φ(z) = erf z), "linear", "quadratic" (z²), "cubic" (z³), or
            "hermite<p>" with p >= 1 (He_p/√p!).

    Raises:
        ValueError: If the name is none of these.

    Source: paper C (their use), Cho and Saul (relu), Williams (erf).

    >>> activation_kernel("relu")(1, 0.5, 1), activation_kernel("hermite3")(1, 0.5, 1)
    (0.3333333333333333, 0.75)
    """
    if name in NAMED:
        return ActivationKernel(name, NAMED[name])
    if (order := hermite_order(name)) is None:
        raise ValueError(f"activation = {name!r} must be one of {ALLOWED}")
    return ActivationKernel(name, hermite_expression(order))


def hermite_order(name: object) -> int | None:
    """Return p of "hermite<p>", or None if the name is another."""
    found = re.fullmatch(r"hermite([1-9]\d*)", name) if isinstance(name, str) else None
    return int(found[1]) if found else None


def check_rows(name: str, value: ArrayLike) -> Floats:
    """Return finite samples of shape (n, d).

    Raises:
        ValueError: If the shape is another, or an entry is NaN or infinite.
    """
    rows = real_entries(name, value)
    if rows.ndim != 2 or 0 in rows.shape:
        raise ValueError(f"{name} has shape {rows.shape}, must be (n, d) with n, d >= 1")
    if not np.isfinite(rows).all():
        raise ValueError(f"{name} holds NaN or infinite entries, must be finite")
    return rows


def check_variance(value: Any) -> float:
    """Return τ² as a positive float.

    Raises:
        ValueError: If it is not finite and positive.
    """
    number = float(exact(value, "weight_variance"))
    if number <= 0:
        raise ValueError(f"weight_variance = {value!r} must be a finite number > 0")
    return number


def _floats(value: Any) -> Floats:
    array = real_entries("an argument", value)
    if not np.isfinite(array).all():
        raise ValueError("an argument holds NaN or infinite entries, must be finite")
    return array
