r"""One step from zero filters, independent Gaussian readouts, any activation: exact at every width.

f(x) = Σ_p a_pᵀφ(Wx_p), φ(0) = 0, c = φ'(0) ≠ 0, a_pj iid N(0, σ²), V of rows v_p = Σ_i y_i x_ip.
After one step of size η, with α_j the readout's column of unit j (notation of `wide_filters`),

    ∇_p f(x) = ηc Vᵀ Σ_j α_j α_jp φ'(ηc α_jᵀVx_p),

a sum of k independent terms. So, with h_p of `wide_filters`,

    E patch-AGOP = η²c² Vᵀ [ (1/n) Σ_i Σ_p { k(k − 1) h_ph_pᵀ + k R_p } ] V,
    R_p = E[ααᵀ α_p² φ'(ηc αᵀVx_p)²].

With a = û_p, Π = I − ûûᵀ, π = Πe_p and ν_m = E g^m φ'(sg)²,

    R_p/σ⁴ = (a²ν_4 + (1 − a²)ν_2) ûûᵀ + 2aν_2 (ûπᵀ + πûᵀ) + (a²ν_2 + (1 − a²)ν_0) Π + 2ν_0 ππᵀ.

For linear φ, R_p/σ⁴ = I + 2e_pe_pᵀ, and the sum is k(k + P + 1) Σ v_pv_pᵀ again. For others the
expectation is no multiple of Σ v_pv_pᵀ, at any width.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import sympy
from numpy.typing import ArrayLike

from ..arrays import RealArray
from ..derivation import Derivation, Step, first_nonzero
from ..rfm.doubles import representable
from .first_filters import checked_width
from .wide_filters import GaussianSetting, gaussian_means, gaussian_setting

if TYPE_CHECKING:
    from ..alignment.activations import Activation

ALIGNED = sympy.Symbol("a", real=True)
NU_0, NU_2, NU_4 = sympy.symbols("nu_0 nu_2 nu_4", positive=True)

UNIT_ALONG = ALIGNED**2 * NU_4 + (1 - ALIGNED**2) * NU_2
"""R_p/σ⁴: the factor of ûûᵀ."""

UNIT_MIXED = 2 * ALIGNED * NU_2
"""R_p/σ⁴: the factor of ûπᵀ + πûᵀ."""

UNIT_ACROSS = ALIGNED**2 * NU_2 + (1 - ALIGNED**2) * NU_0
"""R_p/σ⁴: the factor of Π."""

UNIT_OWN = 2 * NU_0
"""R_p/σ⁴: the factor of ππᵀ."""


def gaussian_patch_agop(
    patches: ArrayLike,
    targets: ArrayLike,
    width: int,
    activation: str | Activation = "linear",
    rate: float = 1.0,
    *,
    deviation: float = 1.0,
) -> RealArray:
    """Return the expected patch-AGOP after one step from zero filters, Gaussian readouts, any φ.

    It is exact at every width; k² `wide_patch_agop` is its leading term. The means over g are
    integrated as there.

    Args:
        patches: x_ip, shape (n, P, d).
        targets: y, shape (n,).
        width: k >= 1, the number of filters.
        activation: φ with φ(0) = 0 and φ'(0) ≠ 0, a name or an `Activation`.
        rate: η > 0.
        deviation: σ > 0.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: As `wide_patch_agop`, or the width is less than 1.
        OverflowError: If the width, or the result, is larger than every double.

    Source: this project.

    Example:
        >>> gaussian_patch_agop([[[1.0, 0.0], [0.0, 2.0]]], [1.0], 3).round(9)
        array([[18.,  0.],
               [ 0., 72.]])
    """
    k = checked_width(width)
    setting = gaussian_setting(patches, targets, activation, rate, deviation)
    total = np.zeros((setting.directions.shape[1],) * 2)
    with np.errstate(over="ignore", invalid="ignore"):
        for image in setting.patches:
            G = setting.mean_gradients(image)
            total += k * (k - 1) * G.T @ G + k * _unit_sum(setting, image)
    return representable("E patch-AGOP", total / len(setting.patches))


def _unit_sum(setting: GaussianSetting, image: RealArray) -> RealArray:
    """η²c² Vᵀ Σ_p R_p V: what one unit adds on the average."""
    V, (norms, a, w) = setting.directions, setting.along(image)
    nu_0, excess, nu_4 = gaussian_means(lambda z: setting.slope(z) ** 2, norms)
    nu_2, rest = nu_0 + excess, 1 - a**2
    q = V - a[:, None] * w  # Vᵀπ in rows
    along, across = a**2 * nu_4 + rest * nu_2, a**2 * nu_2 + rest * nu_0
    mixed = (w * (2 * a * nu_2)[:, None]).T @ q
    total = (w * (along - across)[:, None]).T @ w + mixed + mixed.T
    total += across.sum() * V.T @ V + (q * (2 * nu_0)[:, None]).T @ q
    return np.asarray((setting.factor * setting.deviation**2) ** 2 * total)


# --- derivation -------------------------------------------------------------------------------

_HIDDEN = sympy.symbols("g rho_2 rho_3", real=True)


def _mean(polynomial: sympy.Expr) -> sympy.Expr:
    """E ψ(sg) × a form of degree 4 in g and independent ρ_2, ρ_3 ~ N(0, 1), ν_m for E g^mψ.

    Odd powers of g come with an odd power of ρ_2 or ρ_3, whose mean is 0, also where ψ is not even.
    """
    nu = {0: NU_0, 2: NU_2, 4: NU_4}
    total = sympy.Integer(0)
    for (g, second, third), coefficient in sympy.Poly(polynomial, *_HIDDEN).terms():
        if second % 2 == third % 2 == 0:
            total += coefficient * nu[g] * _double(second) * _double(third)
    return sympy.expand(total)


def _double(power: int) -> sympy.Integer:
    return sympy.factorial2(power - 1)


def _unit_residual(*claimed: sympy.Expr) -> sympy.Expr:
    """û = e_1, e_p = a e_1 + b e_2, a² + b² = 1: all entries of E ββᵀβ_p²ψ.

    β = (g, ρ_2, ρ_3, …) has independent standard entries in this basis, ψ sees g alone, and e_3
    stands for all the axes that are left.
    """
    along, mixed, across, own = claimed
    b = sympy.Symbol("b", real=True)
    beta, e_p = sympy.Matrix(_HIDDEN), sympy.Matrix([ALIGNED, b, 0])
    found = (beta * beta.T * (e_p.T * beta)[0] ** 2).applyfunc(_mean_of)
    unit = sympy.Matrix([1, 0, 0])
    pi, projector = e_p - ALIGNED * unit, sympy.diag(0, 1, 1)
    form = along * unit * unit.T + mixed * (unit * pi.T + pi * unit.T)
    form += across * projector + own * pi * pi.T
    gap = (found - form).applyfunc(
        lambda e: sympy.expand(sympy.expand(e).subs(b**2, 1 - ALIGNED**2))
    )
    return first_nonzero(*gap)


def _mean_of(entry: sympy.Expr) -> sympy.Expr:
    return _mean(sympy.expand(entry))


def _linear_residual(*claimed: sympy.Expr) -> sympy.Expr:
    """ψ = 1: ν = 1, 1, 3, and R/σ⁴ = I + 2e_pe_pᵀ: with I = ûûᵀ + Π and e_p = aû + π."""
    at = {NU_0: 1, NU_2: 1, NU_4: 3}
    along, mixed, across, own = (sympy.expand(c.subs(at)) for c in claimed)
    return first_nonzero(
        sympy.expand(along - 1 - 2 * ALIGNED**2),
        sympy.expand(mixed - 2 * ALIGNED),
        sympy.expand(across - 1),
        sympy.expand(own - 2),
    )


def _total_residual() -> sympy.Expr:
    """Linear, all p: k(k − 1) Σ e_pe_pᵀ + k Σ (I + 2e_pe_pᵀ) = k(k + P + 1) I."""
    k, positions = sympy.symbols("k P")
    return sympy.expand(k * (k - 1) + k * (positions + 2) - k * (k + positions + 1))


def _units_residual() -> sympy.Expr:
    """E (Σ_j t_j)(Σ_j t_j)ᵀ over k iid t_j: k(k − 1) pairs of means, and k second moments."""
    k, mean, second = sympy.symbols("k h R")
    pairs = sympy.Sum(1, (sympy.Symbol("j"), 1, k), (sympy.Symbol("i"), 1, k)).doit()
    return sympy.expand((pairs - k) * mean**2 + k * second - (k * (k - 1) * mean**2 + k * second))


def derive_gaussian_step(
    along: sympy.Expr = UNIT_ALONG,
    mixed: sympy.Expr = UNIT_MIXED,
    across: sympy.Expr = UNIT_ACROSS,
    own: sympy.Expr = UNIT_OWN,
) -> Derivation:
    """Derive R_p for any activation and number of positions.

    Args:
        along: In ``ALIGNED`` and ν_m, to compare with.
        mixed: The same.
        across: The same.
        own: The same.

    Source: this project.
    """
    claimed = (along, mixed, across, own)
    steps = (
        Step("Sums of k independent terms.", _units_residual),
        Step("Linear: k(k + P + 1).", _total_residual),
        Step("Linear: R_p = σ⁴(I + 2e_pe_pᵀ).", partial(_linear_residual, *claimed)),
        Step("R_p in a basis that begins with û.", partial(_unit_residual, *claimed)),
    )
    cites = ("a rotation of a standard Gaussian vector is one",)
    return Derivation("E ββᵀβ_p²φ'(sg)².", steps, cites)
