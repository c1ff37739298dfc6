r"""Patch gradients and patch-AGOP of convolutional kernel machines, in closed form.

f_c(x) = Σ_i α_ic K(x, x_i) for images x of patches x_1, …, x_P, with k = φ(‖u − w‖_M/L) or
g(uᵀMw/L²) a kernel of patches (`theory.rfm.kernel_profiles`) and K one of

    additive  Σ_p k(x_p, z_p),
    pairs     Σ_p Σ_q k(x_p, z_q),
    joint     φ(√(Σ_p ‖x_p − z_p‖²_M)/L) or g(Σ_p x_pᵀMz_p/L²).

The gradient by patch p, all patches being free variables (also those that share pixels), is

    ∇_p K = (1/L²) ω(ρ_pp) M(x_p − z_p),                       ∇_p K = (1/L²) g'(τ_pp) M z_p,
    ∇_p K = (1/L²) Σ_q ω(ρ_pq) M(x_p − z_q),                   ∇_p K = (1/L²) Σ_q g'(τ_pq) M z_q,
    ∇_p K = (1/L²) ω(ρ) M(x_p − z_p), ρ of the whole image,     ∇_p K = (1/L²) g'(τ) M z_p,

and patch-AGOP = (1/n) Σ_x Σ_p Σ_c ∇_p f_c ∇_p f_cᵀ = M[…]M. The form M[…] holds for every kernel
that sees patches only through the products x_pᵀMz_q and x_pᵀMx_q, a convolutional NTK of
transformed patches Rᵀx_p (M = RRᵀ) among them: ∇_p = R∇̃_p with the gradient ∇̃_p by the
transformed patch.

The gradient by a pixel is the sum over the patches that hold it: the AGOP of images is another
matrix. Where patches coincide, the kernel's own term is 0, for Laplace's kernel as the mean of the
one-sided slopes; images with equal patches (a blank ground) meet that kink at every such pair.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import sympy
from numpy.typing import ArrayLike

from ..arrays import RealArray, finite_array
from ..derivation import Derivation, Step, first_nonzero
from ..matrix_words import matrices, reduced
from ..rfm.doubles import representable
from ..rfm.kernel_profiles import BANDWIDTH, Kernel, RadialKernel, kernel
from ..rfm.machine_gradients import checked_coefficients, checked_metric, profile_factors
from ..validation import positive

COMBINATIONS = ("additive", "pairs", "joint")
Combination = Literal["additive", "pairs", "joint"]

PREFACTOR = BANDWIDTH**-2
"""Stands before ω(ρ) M(x_p − z_q) and before g'(τ) M z_q, in all three combinations."""

OWN, OTHERS = sympy.symbols("s_p s_o", nonnegative=True)
JOINT_DISTANCE = sympy.sqrt(OWN + OTHERS) / BANDWIDTH
"""ρ of the joint kernel; s_p = ‖x_p − z_p‖²_M, s_o the sum over the other positions."""

PATCH_DISTANCE = sympy.sqrt(OWN) / BANDWIDTH
"""ρ_pq of the other two, with s_p = ‖x_p − z_q‖²_M."""


def patch_gradients(
    kernel_name: str | Kernel,
    centres: ArrayLike,
    coefficients: ArrayLike,
    inputs: ArrayLike,
    *,
    combination: Combination = "additive",
    bandwidth: float = 1.0,
    metric: ArrayLike | None = None,
) -> RealArray:
    """Return ∇_p f_c at every input, shape (q, o, P, d).

    Args:
        kernel_name: A name or a kernel of `theory.rfm.kernel_profiles`.
        centres: The patches of the training images, shape (n, P, d).
        coefficients: α, shape (n,) for one output or (n, o).
        inputs: The patches of the images where gradients are taken, shape (q, P, d).
        combination: "additive", "pairs" or "joint": how the kernel of images is made.
        bandwidth: L > 0.
        metric: M of patches, symmetric positive semidefinite, shape (d, d), or its diagonal, shape
            (d,); the identity if it is not given.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If shapes do not fit, an entry is not finite, L is not positive, M is not
            symmetric or has a negative eigenvalue, or the kernel or the combination is unknown.
        OverflowError: If g' of an inner-product kernel, or the result, is larger than every double.

    Source: D (gradients of convolutional kernels), this project.

    Example:
        >>> patch_gradients("linear", [[[1.0, 2.0], [3.0, 4.0]]], [1.0], [[[0.0, 0.0]] * 2],
        ...                 combination="pairs")[0, 0]
        array([[4., 6.],
               [4., 6.]])
    """
    machine = _machine(kernel_name, centres, coefficients, inputs, combination, bandwidth, metric)
    found = np.stack([machine.gradients(x) for x in machine.inputs])
    return representable("the patch gradient", found)


def patch_agop(
    kernel_name: str | Kernel,
    centres: ArrayLike,
    coefficients: ArrayLike,
    inputs: ArrayLike,
    *,
    combination: Combination = "additive",
    bandwidth: float = 1.0,
    metric: ArrayLike | None = None,
) -> RealArray:
    """Return (1/q) Σ_x Σ_p Σ_c ∇_p f_c ∇_p f_cᵀ, shape (d, d): images averaged, the rest summed.

    Arguments and errors as for `patch_gradients`.

    Source: D.

    Example:
        >>> patch_agop("linear", [[[1.0, 2.0], [3.0, 4.0]]], [1.0], [[[0.0, 0.0]] * 2])
        array([[10., 14.],
               [14., 20.]])
    """
    machine = _machine(kernel_name, centres, coefficients, inputs, combination, bandwidth, metric)
    total = np.zeros_like(machine.metric)
    with np.errstate(over="ignore", invalid="ignore"):
        for x in machine.inputs:
            G = machine.gradients(x).reshape(-1, total.shape[0])
            total += G.T @ G
    return representable("the patch-AGOP", total / len(machine.inputs))


@dataclass(frozen=True, eq=False)
class _Machine:
    kernel: Kernel
    centres: RealArray
    coefficients: RealArray
    inputs: RealArray
    combination: str
    bandwidth: float
    metric: RealArray

    def gradients(self, x: RealArray) -> RealArray:
        """∇_p f_c(x), shape (o, P, d)."""
        if self.combination == "pairs":
            n, positions, d = self.centres.shape
            every = np.repeat(self.coefficients, positions, axis=0)
            patches = self.centres.reshape(n * positions, 1, d)
            found = [self._sum(p[None], patches, every) for p in x]
            return np.concatenate(found, axis=1)
        return self._sum(x, self.centres, self.coefficients)

    def _sum(self, x: RealArray, centres: RealArray, alpha: RealArray) -> RealArray:
        """Σ_i α_ic × factor × M(x_p − z_ip) or M z_ip; x of shape (P, d), centres (m, P, d)."""
        radial, L = isinstance(self.kernel, RadialKernel), self.bandwidth
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = (x - centres if radial else centres) / L
            pull = scaled @ self.metric
            products = np.sum((scaled if radial else x / L) * pull, axis=2)  # per position
            if self.combination == "joint":
                products = products.sum(axis=1, keepdims=True)
            weighted = profile_factors(self.kernel, products)[..., None] * pull
            return np.tensordot(alpha.T, weighted, axes=1) / L


def _machine(
    kernel_name: str | Kernel,
    centres: ArrayLike,
    coefficients: ArrayLike,
    inputs: ArrayLike,
    combination: str,
    bandwidth: float,
    metric: ArrayLike | None,
) -> _Machine:
    if combination not in COMBINATIONS:
        raise ValueError(f"combination = {combination!r}; allowed: {', '.join(COMBINATIONS)}")
    X, Z = _images("centres", centres), _images("inputs", inputs)
    if X.shape[2] != Z.shape[2] or (combination != "pairs" and X.shape[1] != Z.shape[1]):
        raise ValueError(
            f"centres have shape {X.shape}, inputs {Z.shape}: patch dimensions must agree, and for "
            "additive and joint kernels the numbers of positions, too"
        )
    alpha = checked_coefficients(coefficients, len(X))
    M, L = checked_metric(metric, X.shape[2]), positive("bandwidth", bandwidth)
    return _Machine(kernel(kernel_name), X, alpha, Z, combination, L, M)


def _images(name: str, value: ArrayLike) -> RealArray:
    array = finite_array(name, value)
    if array.ndim != 3:
        raise ValueError(
            f"{name} have shape {array.shape}; (images, positions, dimension) is allowed"
        )
    return array


# --- derivation -------------------------------------------------------------------------------

_T = sympy.transpose
_M, _R, _x, _y, _z, _e, _u = matrices("M R x y z e u")
_SYMMETRIC = {_T(_M): _M}


def _square_residual() -> sympy.Expr:
    """‖x_p − z + εe‖²_M grows by 2ε eᵀM(x_p − z); u stands for x_p − z."""
    linear = _T(_e) * _M * _u + reduced(_T(_T(_u) * _M * _e), _SYMMETRIC)
    return sympy.expand(linear - 2 * _T(_e) * _M * _u)


def _gram_residual() -> sympy.Expr:
    """x_pᵀMz, x_pᵀMx_q and x_pᵀMx_p grow along e by eᵀM times z, x_q and 2x_p: ∇_p K = M[…]."""
    step = sympy.Symbol("epsilon")
    moved = _x + step * _e
    growth = (
        (_T(moved) * _M * _z, _T(_e) * _M * _z),
        (_T(moved) * _M * _y, _T(_e) * _M * _y),
        (_T(moved) * _M * moved, _T(_e) * _M * (2 * _x)),
    )
    return first_nonzero(*(_slope(word, step) - sympy.expand(claim) for word, claim in growth))


def _slope(word: sympy.Expr, step: sympy.Symbol) -> sympy.Expr:
    """The coefficient of ε; the number xᵀMe is its own transpose."""
    linear = sympy.expand(word).coeff(step, 1)
    return sympy.expand(linear.subs(_T(_x) * _M * _e, _T(_e) * _M * _x))


def _transformed_residual() -> sympy.Expr:
    """f(x) = F(Rᵀx): along e it grows by (Rᵀe)ᵀ∇̃ = eᵀ(R∇̃); products (R∇̃)(R∇̃)ᵀ = R ∇̃∇̃ᵀ Rᵀ."""
    return first_nonzero(
        sympy.expand(_T(_T(_R) * _e) * _u - _T(_e) * _R * _u),
        sympy.expand(_R * _u * _T(_R * _u) - _R * _u * _T(_u) * _T(_R)),
    )


def _radial_residual(prefactor: sympy.Expr, distance: sympy.Expr) -> sympy.Expr:
    """d/ds_p φ(ρ) = ω(ρ)/(2L²) for any φ, ρ² = (s_p + …)/L²; with ds_p = 2 eᵀM(x_p − z)."""
    phi, rho = sympy.Function("phi"), sympy.Symbol("rho", positive=True)
    slope = 2 * sympy.diff(phi(distance), OWN).doit()
    weight = (sympy.diff(phi(rho), rho) / rho).subs(rho, distance).doit()
    return sympy.simplify(slope - prefactor * weight)


def _distance_residual(patch: sympy.Expr, joint: sympy.Expr) -> sympy.Expr:
    """ρ² L² is the sum of the squared distances that the kernel sees."""
    return first_nonzero(
        sympy.simplify((patch * BANDWIDTH) ** 2 - OWN),
        sympy.simplify((joint * BANDWIDTH) ** 2 - OWN - OTHERS),
        sympy.Integer(0 if patch.subs(OWN, 1).is_positive else 1),
        sympy.Integer(0 if joint.subs({OWN: 1, OTHERS: 1}).is_positive else 1),
    )


def _inner_residual(prefactor: sympy.Expr) -> sympy.Expr:
    """g((x_pᵀMz + others)/L²) grows by ε eᵀMz g'/L²: t stands for eᵀMz, the rest may be 0."""
    step, t, product, others = sympy.symbols("epsilon t c c_o", real=True)
    g, tau = sympy.Function("g"), sympy.Symbol("tau", real=True)
    moved = g((product + others + step * t) / BANDWIDTH**2)
    slope = sympy.diff(moved, step).doit().subs(step, 0).doit()
    claimed = prefactor * t * sympy.diff(g(tau), tau)
    at = (product + others) / BANDWIDTH**2
    return sympy.simplify(slope - claimed.subs(tau, at).doit())


def _pair_residual() -> sympy.Expr:
    """Σ_q k(x_p, z_q), with only x_p moving: terms of other rows p' do not change."""
    own, other, step = sympy.symbols("x_p x_o epsilon")
    k, places = sympy.Function("k"), sympy.symbols("z_1 z_2")
    total = sum(k(x, z) for x in (own + step, other) for z in places)
    rows = sum(k(own + step, z) for z in places)
    return sympy.simplify((sympy.diff(total, step) - sympy.diff(rows, step)).doit())


def _outer_residual() -> sympy.Expr:
    """(Mu)(Mu)ᵀ = M uuᵀ M, term by term in the sums over images, positions and outputs."""
    return reduced(_M * _u * _T(_M * _u) - _M * _u * _T(_u) * _M, _SYMMETRIC)


def _central_residual() -> sympy.Expr:
    """Central differences drop the term of a patch that coincides: φ is even in ε there."""
    step, norm = sympy.Symbol("epsilon", real=True), sympy.Symbol("m", positive=True)
    phi = sympy.Function("phi")
    return phi(sympy.Abs(step) * norm) - phi(sympy.Abs(-step) * norm)


def derive_patch_gradients(
    prefactor: sympy.Expr = PREFACTOR,
    patch_distance: sympy.Expr = PATCH_DISTANCE,
    joint_distance: sympy.Expr = JOINT_DISTANCE,
) -> Derivation:
    """Derive patch gradients and the form of the patch-AGOP, for any profile and all sizes.

    Args:
        prefactor: In ``BANDWIDTH``, to compare with.
        patch_distance: ρ_pq, in ``BANDWIDTH`` and ``OWN``, to compare with.
        joint_distance: ρ, in ``BANDWIDTH``, ``OWN`` and ``OTHERS``, to compare with.

    Source: D and this project.
    """
    steps = (
        Step("‖x_p − z‖²_M grows by 2ε eᵀM(x_p − z) along e.", _square_residual),
        Step("Any kernel of products of patches has ∇_p = M[…].", _gram_residual),
        Step("By the untransformed patch: ∇_p = R∇̃_p.", _transformed_residual),
        Step("Of all pairs, those of position p move.", _pair_residual),
        Step("The patch-AGOP is M[…]M.", _outer_residual),
        Step("Coinciding patches drop out of central differences.", _central_residual),
        Step("What ρ is.", partial(_distance_residual, patch_distance, joint_distance)),
        Step("Inner products, any g.", partial(_inner_residual, prefactor)),
        Step("Pairs of patches, any φ.", partial(_radial_residual, prefactor, patch_distance)),
        Step("Whole images, any φ.", partial(_radial_residual, prefactor, joint_distance)),
    )
    return Derivation("∇_p K = M[…], patch-AGOP = M[…]M.", steps)
