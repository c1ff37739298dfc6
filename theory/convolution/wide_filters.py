r"""One step from zero filters with independent readouts and any activation, in the limit of width.

f(x) = Σ_p a_pᵀφ(Wx_p), φ(0) = 0, c = φ'(0) ≠ 0, a_pj iid N(0, σ²); V of rows v_p = Σ_i y_i x_ip.
After one step of size η the pre-activations of a unit with readout column α ∈ R^P are
z = ηc αᵀVx: they do not shrink as the width k grows, so that φ' is *not* φ'(0) in the gradients

    ∇_p f(x)/k → ηc Vᵀ h_p(x),   h_p(x) = E[α α_p φ'(ηc αᵀVx_p)].

With u = ηcσ Vx_p, s = |u|, û = u/s and g ~ N(0, 1), splitting α/σ into its part along û and the
rest, which is independent of it, gives for every φ'

    h_p(x) = σ² { E[φ'(sg)] e_p + E[(g² − 1)φ'(sg)] û_p û },
    patch-AGOP/k² → η²c² Vᵀ [ (1/n) Σ_i Σ_p h_p(x_i)h_p(x_i)ᵀ ] V.

Linear φ has h_p = σ² e_p. Others do not: φ = z + z³/3, one image of the patches e_1 and 2e_2, y = 1
give patch-AGOP/(ηk)² → diag((1 + 3η²)², 4(1 + 48η²)²), not along Σ v_pv_pᵀ = diag(1, 4). So width
alone does not make the patch-AGOP of non-linear networks a multiple of Σ v_pv_pᵀ; with η → 0 after
it, patch-AGOP/(ηk)² → c⁴σ⁴ Σ v_pv_pᵀ. WᵀW/k → η²c²σ² Σ v_pv_pᵀ for every φ and η.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import sympy
from numpy.typing import ArrayLike

from ..arrays import RealArray
from ..derivation import Derivation, Step, first_nonzero
from ..rfm.doubles import representable
from ..validation import positive
from .first_filters import RATE, checked_patches, patch_directions

if TYPE_CHECKING:
    from ..alignment.activations import Activation, Entrywise

SLOPE_MEAN, SQUARE_MEAN = sympy.symbols("mu_0 mu_2", real=True)
"""E φ'(sg) and E g²φ'(sg)."""

WIDE_OWN = SLOPE_MEAN
"""h_p/σ²: the factor of e_p."""

WIDE_ALONG = SQUARE_MEAN - SLOPE_MEAN
"""h_p/σ²: the factor of û_p û."""

CUBIC_EXAMPLE = (1 + 3 * RATE**2) ** 2, 4 * (1 + 48 * RATE**2) ** 2
"""Limit of the patch-AGOP/(η²k²) for φ = z + z³/3 and the patches e_1, 2e_2: its diagonal."""

REACH, STEP = 14.0, 1 / 16
"""The means over g leave out |g| > 14, which has the probability 1e-44."""


def wide_patch_agop(
    patches: ArrayLike,
    targets: ArrayLike,
    activation: str | Activation = "linear",
    rate: float = 1.0,
    *,
    deviation: float = 1.0,
) -> RealArray:
    """Return the limit of patch-AGOP/k² after one step from zero filters, Gaussian readouts.

    The means over g are integrated to about 13 digits of their largest terms for activations that
    are analytic near the line, such as linear, erf, tanh and gelu, whatever s = |ηcσ Vx_p| is.

    Args:
        patches: x_ip, shape (n, P, d).
        targets: y, shape (n,).
        activation: φ with φ(0) = 0 and φ'(0) ≠ 0, a name or an `Activation`.
        rate: η > 0.
        deviation: σ > 0.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If shapes do not fit, an entry is not finite, η or σ is not positive, the
            activation is unknown, φ(0) ≠ 0, or φ'(0) = 0, so that W rests at 0.
        OverflowError: If a pre-activation or the result is larger than every double.

    Source: this project.

    Example:
        >>> wide_patch_agop([[[1.0, 0.0], [0.0, 2.0]]], [1.0], rate=0.5).round(12)
        array([[0.25, 0.  ],
               [0.  , 1.  ]])
    """
    setting = gaussian_setting(patches, targets, activation, rate, deviation)
    total = np.zeros((setting.directions.shape[1],) * 2)
    with np.errstate(over="ignore", invalid="ignore"):
        for image in setting.patches:
            G = setting.mean_gradients(image)
            total += G.T @ G
    return representable("the limit of patch-AGOP/k²", total / len(setting.patches))


@dataclass(frozen=True, eq=False)
class GaussianSetting:
    """What one step from zero filters depends on, for Gaussian readouts, checked.

    Attributes:
        patches: x_ip, shape (n, P, d).
        directions: V, shape (P, d).
        slope: φ'.
        factor: ηφ'(0).
        deviation: σ.
    """

    patches: RealArray
    directions: RealArray
    slope: Entrywise
    factor: float
    deviation: float

    def mean_gradients(self, image: RealArray) -> RealArray:
        """ηc Vᵀh_p, the mean over units of their share in ∇_p f, in rows, shape (P, d)."""
        V, (norms, own, along) = self.directions, self.along(image)
        mean, excess, _ = gaussian_means(self.slope, norms)
        h = mean[:, None] * V + (excess * own)[:, None] * along
        return np.asarray(self.factor * self.deviation**2 * h)

    def along(self, image: RealArray) -> tuple[RealArray, RealArray, RealArray]:
        """s, û_p and Vᵀû of every patch, shapes (P,), (P,) and (P, d); û = 0 where u = 0."""
        U = self.factor * self.deviation * image @ self.directions.T
        norms = representable("a pre-activation", np.linalg.norm(U, axis=1))
        units = U / np.where(norms > 0, norms, 1.0)[:, None]
        return norms, np.diagonal(units), units @ self.directions


def gaussian_setting(
    patches: ArrayLike,
    targets: ArrayLike,
    activation: str | Activation,
    rate: float,
    deviation: float,
) -> GaussianSetting:
    """Check the arguments of `wide_patch_agop`, and raise its errors."""
    from ..alignment.activations import activation as named

    X, y = checked_patches(patches, targets)
    phi, zero = named(activation), np.zeros(1)
    c = float(phi.first(zero)[0])
    if phi.value(zero)[0] != 0 or c == 0:
        raise ValueError(
            f"activation {phi.name} has φ(0) = {phi.value(zero)[0]} and φ'(0) = {c}; φ(0) = 0 and "
            "φ'(0) ≠ 0 is needed"
        )
    eta, sigma = positive("rate", rate), positive("deviation", deviation)
    return GaussianSetting(X, patch_directions(X, y), phi.first, eta * c, sigma)


def gaussian_means(function: Entrywise, norms: RealArray) -> tuple[RealArray, RealArray, RealArray]:
    """E ψ(sg), E (g² − 1)ψ(sg) and E g⁴ψ(sg) for every s, by the trapezoidal rule in t.

    g = sinh(t)/s' with s' = max(1, s): the nodes are as close as ψ needs near 0, and reach as far
    as the law does.
    """
    scale = np.maximum(norms, 1.0)[:, None]
    end = float(np.arcsinh(REACH * scale.max()))
    t = np.linspace(-end, end, 2 * int(np.ceil(end / STEP)) + 1)
    g = np.clip(np.sinh(t) / scale, -3 * REACH, 3 * REACH)  # e^{−g²/2} is 0 there: no overflow
    weights = np.exp(-(g**2) / 2) * np.cosh(t) / scale * (t[1] - t[0]) / np.sqrt(2 * np.pi)
    values = function(norms[:, None] * g) * weights
    return values.sum(axis=1), np.sum(values * (g**2 - 1), axis=1), np.sum(values * g**4, axis=1)


# --- derivation -------------------------------------------------------------------------------


def _split_residual(own: sympy.Expr, along: sympy.Expr) -> sympy.Expr:
    """β = gû + ρ, ρ ⟂ û with covariance I − ûûᵀ and independent of g: E β_qβ_pφ'(sg).

    E g²φ' û_qû_p + (δ_qp − û_qû_p) E φ', for every pair: with δ = 1 and δ = 0.
    """
    first, second, delta = sympy.symbols("u_q u_p delta")
    found = SQUARE_MEAN * first * second + (delta - first * second) * SLOPE_MEAN
    return sympy.expand(found - own * delta - along * first * second)


def _gaussian_moment(power: int) -> sympy.Integer:
    return sympy.Integer(0) if power % 2 else sympy.factorial2(power - 1)


def _brute_mean(powers: tuple[int, int]) -> sympy.Expr:
    return sympy.prod(_gaussian_moment(power) for power in powers)


def _monomial_residual(own: sympy.Expr, along: sympy.Expr) -> sympy.Expr:
    """φ' = z^m, any even m ≥ 2 and any P: E β_qβ_p(u·β)^m by parts, without the split.

    Twice by parts, E β_qβ_pz^m = δ_qp E z^m + m(m − 1) u_qu_p E z^{m−2}, and with F = (m − 3)!! the
    law of u·β, which is that of sg, has E z^{m−2} = F s^{m−2}, E z^m = (m − 1)F s^m and
    E g²(sg)^m = (m + 1)(m − 1)F s^m. For odd m every mean is 0.
    """
    m, lower, square = sympy.symbols("m F s^2", positive=True)  # in units of s^{m − 2}
    first, second, delta = sympy.symbols("u_q u_p delta")
    mean, by_parts = (m - 1) * lower * square, m * (m - 1) * lower * first * second
    at = {SLOPE_MEAN: mean, SQUARE_MEAN: (m + 1) * mean}
    unit = first * second / square
    claimed = delta * own.subs(at) + unit * along.subs(at)
    return sympy.expand(delta * mean + by_parts - claimed)


def _polynomial_residual(own: sympy.Expr, along: sympy.Expr) -> sympy.Expr:
    """P = 2, φ' = z^m: E β_qβ_p(u·β)^m by the moments of two Gaussians, any u, m up to 6."""
    u1, u2, t = sympy.symbols("u1 u2 t")
    square, left = u1**2 + u2**2, []
    for power in range(0, 7, 2):
        means = {
            SLOPE_MEAN: square ** (power // 2) * _gaussian_moment(power),
            SQUARE_MEAN: square ** (power // 2) * _gaussian_moment(power + 2),
        }
        for q, p in ((0, 0), (0, 1), (1, 1)):
            direct = _expectation((u1 * t + u2) ** power, t, power, q, p)
            unit = (u1, u2)[q] * (u1, u2)[p] / square
            left.append(
                sympy.simplify(direct - int(q == p) * own.subs(means) - unit * along.subs(means))
            )
    return first_nonzero(*left)


def _expectation(
    form: sympy.Expr, t: sympy.Symbol, power: int, first: int, second: int
) -> sympy.Expr:
    """E β_qβ_p of a form of degree `power`, in which t^i stands for β_1^i β_2^(power − i)."""
    total = sympy.Integer(0)
    for (i,), coefficient in sympy.Poly(form, t).terms():
        powers = [i, power - i]
        powers[first] += 1
        powers[second] += 1
        total += coefficient * _brute_mean((powers[0], powers[1]))
    return sympy.expand(total)


def _linear_residual(own: sympy.Expr, along: sympy.Expr) -> sympy.Expr:
    """φ' = 1: E φ' = E g²φ' = 1, and h_p = σ²e_p."""
    at = {SLOPE_MEAN: 1, SQUARE_MEAN: 1}
    return first_nonzero(own.subs(at) - 1, along.subs(at))


def _small_step_residual(own: sympy.Expr, along: sympy.Expr) -> sympy.Expr:
    """η → 0, φ' = c + z: E φ' → c, E g²φ' → c, so h_p → σ²c e_p."""
    c = sympy.Symbol("c")
    at = {SLOPE_MEAN: c, SQUARE_MEAN: c}
    return first_nonzero(own.subs(at) - c, sympy.expand(along.subs(at)))


def _cubic_residual(
    own: sympy.Expr, along: sympy.Expr, example: tuple[sympy.Expr, sympy.Expr]
) -> sympy.Expr:
    """φ' = 1 + z²: E φ'(sg) = 1 + s², E g²φ'(sg) = 1 + 3s²; V = diag(1, 2), u = ηVx_p."""
    V, patches = sympy.diag(1, 2), (sympy.Matrix([1, 0]), sympy.Matrix([0, 2]))
    total = sympy.zeros(2, 2)
    for p, x in enumerate(patches):
        u = RATE * V * x
        square = (u.T * u)[0]
        at = {SLOPE_MEAN: 1 + square, SQUARE_MEAN: 1 + 3 * square}
        h = own.subs(at) * sympy.eye(2)[:, p] + along.subs(at) * u[p] * u / square
        total += V.T * h * h.T * V
    return first_nonzero(*(sympy.expand(entry) for entry in total - sympy.diag(*example)))


def _not_parallel_residual(example: tuple[sympy.Expr, sympy.Expr]) -> sympy.Expr:
    """4·first − second is not 0 for any η > 0: every coefficient of it has one sign."""
    gap = sympy.Poly(sympy.expand(example[1] - 4 * example[0]), RATE)
    positive_terms = all(c > 0 for c in gap.coeffs())
    return sympy.Integer(0 if positive_terms else 1)


def derive_wide_step(
    own: sympy.Expr = WIDE_OWN,
    along: sympy.Expr = WIDE_ALONG,
    example_1: sympy.Expr = CUBIC_EXAMPLE[0],
    example_2: sympy.Expr = CUBIC_EXAMPLE[1],
) -> Derivation:
    """Derive h_p for any activation, and the example in which the patch-AGOP is not along VᵀV.

    Args:
        own: In ``SLOPE_MEAN`` and ``SQUARE_MEAN``, to compare with.
        along: The same.
        example_1: In ``RATE``, to compare with.
        example_2: The same.

    Source: this project.
    """
    example = (example_1, example_2)
    steps = (
        Step("Linear: h_p = σ²e_p.", partial(_linear_residual, own, along)),
        Step("Small steps: h_p → σ²c e_p.", partial(_small_step_residual, own, along)),
        Step("The example is no multiple of VᵀV.", partial(_not_parallel_residual, example)),
        Step("φ' = z^m, m ≤ 6 and P = 2, moments.", partial(_polynomial_residual, own, along)),
        Step("φ' = z^m, any m and P, by parts.", partial(_monomial_residual, own, along)),
        Step("The example.", partial(_cubic_residual, own, along, example)),
        Step("The split along û.", partial(_split_residual, own, along)),
    )
    cites = ("the law of large numbers over the units", "parts of a Gaussian vector along û and "
             "across it are independent", "Gaussian integration by parts")  # fmt: skip
    return Derivation("The limit of the patch-AGOP for any activation.", steps, cites)
