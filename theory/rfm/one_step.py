r"""One gradient step from a zero first layer: NFM and AGOP are of rank one along Σ_i r_i x_i.

A network f(x) = F(Wx + b) with one output and W = 0 has the same output f_0 = F(b) and the same
gradient k = ∇F(b) for every input. One step of size η on Σ_i ½(f(x_i) − y_i)² gives

    W_1 = η k gᵀ,  g = Σ_i r_i x_i,  r_i = y_i − f_0,
    NFM = η²‖k‖² ggᵀ,   AGOP = η² [(1/n) Σ_i s(x_i)²] ggᵀ,   s(x) = kᵀ∇F(W_1x + b).

The layers above, and b, may move at the same time: ∇F and b in s are then the new ones. What it
takes:

- k ≠ 0; for two layers, f = aᵀφ(Wx + b), k = a ∘ φ'(b): φ'(0) ≠ 0 where b = 0.
- g ≠ 0. It is Σ_i y_i x_i only if f_0 = 0 (φ(0) = 0, or the output is centred), or if Σ_i x_i = 0.
- For the AGOP, that s does not vanish on all samples. This is so for two layers with φ' > 0 and
  a fixed readout, and for all small η if ∇F is continuous (s → ‖k‖² as η → 0); but φ = sin with
  one unit, x = y = a = 1 and η = π/2 has NFM = π²/4 and AGOP = 0.

With another loss r_i = −∂ℓ/∂f at f_0; with o outputs both matrices have rank at most o.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import sympy
from numpy.typing import ArrayLike

from ..arrays import RealArray, finite_array
from ..derivation import Derivation, Step, first_nonzero
from ..matrix_words import matrices, reduced, trace
from ..validation import positive
from .doubles import representable

if TYPE_CHECKING:
    from ..alignment.activations import Activation

TARGET, INITIAL_OUTPUT = sympy.symbols("y f_0", real=True)
RATE, FEATURE_NORM = sympy.symbols("eta kappa", positive=True)
SLOPE = sympy.Symbol("s", real=True)
READOUT, FIRST_SLOPE, SECOND_SLOPE = sympy.symbols("a phi'(b) phi'(z)", real=True)

RESIDUAL = TARGET - INITIAL_OUTPUT
"""r_i: the direction is g = Σ_i r_i x_i."""

NFM_FACTOR = RATE**2 * FEATURE_NORM
"""NFM = NFM_FACTOR · ggᵀ, with κ = ‖k‖²."""

AGOP_FACTOR = (RATE * SLOPE) ** 2
"""AGOP = (mean of AGOP_FACTOR over the samples) · ggᵀ."""

SLOPE_TERM = READOUT**2 * FIRST_SLOPE * SECOND_SLOPE
"""Summand over the units of s(x), for two layers; z = b + η a φ'(b) gᵀx."""


@dataclass(frozen=True, eq=False)
class FirstStep:
    """What one step from a zero first layer makes of a two-layer network.

    Attributes:
        direction: g, shape (d,).
        initial_output: f_0.
        nfm_factor: NFM = nfm_factor · ggᵀ.
        agop_factor: AGOP = agop_factor · ggᵀ.
    """

    direction: RealArray
    initial_output: float
    nfm_factor: float
    agop_factor: float

    @property
    def nfm(self) -> RealArray:
        """W_1ᵀW_1, shape (d, d)."""
        return representable("the NFM", _outer(self.nfm_factor, self.direction))

    @property
    def agop(self) -> RealArray:
        """(1/n) Σ_i ∇f(x_i)∇f(x_i)ᵀ after the step, shape (d, d)."""
        return representable("the AGOP", _outer(self.agop_factor, self.direction))


def _outer(factor: float, direction: RealArray) -> RealArray:
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(factor * np.outer(direction, direction))


def first_step(
    inputs: ArrayLike,
    targets: ArrayLike,
    readout: ArrayLike,
    activation: str | Activation,
    rate: float,
    *,
    bias: ArrayLike | None = None,
) -> FirstStep:
    """Return NFM and AGOP of f(x) = aᵀφ(Wx + b) after one step of W from W = 0.

    The step is −η times the gradient of Σ_i ½(f(x_i) − y_i)² in W alone; a and b stay.

    Args:
        inputs: X, shape (n, d).
        targets: y, shape (n,).
        readout: a, shape (k,).
        activation: A name or an `Activation` of `theory.alignment.activations`.
        rate: η > 0.
        bias: b, shape (k,); 0 if it is not given.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If shapes do not fit, an entry is not finite, η is not positive, the activation
            is unknown, or k = a ∘ φ'(b) is 0 (so that W would rest at 0).
        OverflowError: If the step is larger than every double.

    Source: E; the residual in the place of y, and what the AGOP needs: this project.

    Example:
        >>> step = first_step([[1.0, 2.0], [3.0, 4.0]], [1.0, -1.0], [1.0, 2.0], "linear", 0.5)
        >>> step.direction, step.nfm_factor, step.agop_factor
        (array([-2., -2.]), 1.25, 6.25)
    """
    from ..alignment.activations import activation as named

    X, y, a = (
        finite_array(name, value)
        for name, value in (("inputs", inputs), ("targets", targets), ("readout", readout))
    )
    b = np.zeros_like(a) if bias is None else finite_array("bias", bias)
    _check_shapes(X, y, a, b)
    eta, phi = positive("rate", rate), named(activation)
    k = a * phi.first(b)
    if not k.any():
        raise ValueError("readout and φ'(bias): their product is 0 in every unit; W rests at 0")
    with np.errstate(over="ignore", invalid="ignore"):
        f_0 = a @ phi.value(b)
        g = (y - f_0) @ X
        s = (a * phi.first(b + eta * np.outer(X @ g, k))) @ k
        factors = (eta * k) @ (eta * k), np.mean((eta * s) ** 2)
    representable("the step", np.array([f_0, *g, *factors]))
    return FirstStep(g, float(f_0), float(factors[0]), float(factors[1]))


def _check_shapes(X: RealArray, y: RealArray, a: RealArray, b: RealArray) -> None:
    if X.ndim != 2 or not X.size or y.shape != X.shape[:1]:
        raise ValueError(f"inputs have shape {X.shape}, targets {y.shape}; (n, d), (n,) is allowed")
    if a.ndim != 1 or not a.size or a.shape != b.shape:
        raise ValueError(f"readout has shape {a.shape}, bias {b.shape}; (k,) for both is allowed")


# --- derivation -------------------------------------------------------------------------------
# The steps without an underscore are those of convolutional networks, too.

_T = sympy.transpose
_k, _g, _v, _X, _r, _y, _E, _one = matrices("k g v X r y E 1")


def residual_gap(claimed: sympy.Expr) -> sympy.Expr:
    """The loss ½(f − y)² pulls the output by −∂/∂f at f_0."""
    f = sympy.Symbol("f", real=True)
    pull = -sympy.diff((f - TARGET) ** 2 / 2, f).subs(f, INITIAL_OUTPUT)
    return sympy.expand(claimed - pull)


def step_gap() -> sympy.Expr:
    """At W = 0 the loss falls along E by Σ_i r_i kᵀEx_i = tr((k gᵀ)ᵀE), with g = Xᵀr."""
    fall = _T(_k) * _E * _T(_X) * _r
    return sympy.expand(trace(fall) - trace(_T(_k * _T(_T(_X) * _r)) * _E))


def nfm_gap(claimed: sympy.Expr) -> sympy.Expr:
    """W = ηkgᵀ: WᵀW = η² g(kᵀk)gᵀ, and κ stands for kᵀk."""
    W = RATE * _k * _T(_g)
    nfm = reduced(_T(W) * W, {_T(_k) * _k: FEATURE_NORM})
    return sympy.expand(nfm - claimed * _g * _T(_g))


def agop_gap(claimed: sympy.Expr) -> sympy.Expr:
    """∇f(x) = W_1ᵀv with v = ∇F(W_1x + b), and kᵀv = s: along g at every x."""
    gradient = RATE * _g * _T(_k) * _v
    outer = reduced(gradient * _T(gradient), {_T(_k) * _v: SLOPE, _T(_v) * _k: SLOPE})
    return sympy.expand(outer - sympy.expand(claimed) * _g * _T(_g))


def two_layers_gap(claimed: sympy.Expr) -> sympy.Expr:
    """∂/∂z_j Σ_j a_jφ(z_j) = a_jφ'(z_j), before the step at b and after it at z."""
    z, b = sympy.symbols("z b", real=True)
    phi = sympy.Function("phi")
    slope = sympy.diff(READOUT * phi(z), z)
    product = slope.subs(z, b).doit() * slope
    names = {sympy.diff(phi(b), b): FIRST_SLOPE, sympy.diff(phi(z), z): SECOND_SLOPE}
    return sympy.expand(claimed - product.subs(names))


def direction_gap() -> sympy.Expr:
    """Xᵀ(y − f_0 1) is Xᵀy if f_0 = 0, and if Xᵀ1 = 0."""
    g = sympy.expand(_T(_X) * (_y - INITIAL_OUTPUT * _one))
    return first_nonzero(
        sympy.expand(g.subs(INITIAL_OUTPUT, 0) - _T(_X) * _y),
        sympy.expand(reduced(g, {_T(_X) * _one: sympy.Integer(0)}) - _T(_X) * _y),
    )


def _other_direction_residual() -> sympy.Expr:
    """φ(z) = 1 + z, a = 1, X = (1, 0; 1, 1), y = (1, 0): g is (−1, −1) and Σ y_i x_i is (1, 0)."""
    X, y, f_0 = sympy.Matrix([[1, 0], [1, 1]]), sympy.Matrix([1, 0]), 1
    g, naive = X.T * (y - f_0 * sympy.ones(2, 1)), X.T * y
    parallel = sympy.Matrix.hstack(g, naive).det() == 0
    return sympy.Integer(1 if parallel else 0)


def positive_gap() -> sympy.Expr:
    """Summands a²φ'(b)φ'(z) of s are nonnegative for φ' > 0, and positive where a ≠ 0."""
    a = sympy.Symbol("a", real=True, nonzero=True)
    first, second = sympy.symbols("p q", positive=True)
    term = SLOPE_TERM.subs({READOUT: a, FIRST_SLOPE: first, SECOND_SLOPE: second})
    return sympy.Integer(0 if term.is_positive else 1)


def vanishing_gap() -> sympy.Expr:
    """φ = sin, one unit, x = y = a = 1, η = π/2: W_1 = π/2, ∇f = cos(π/2) W_1 = 0."""
    x, eta = sympy.Integer(1), sympy.pi / 2
    t = sympy.Symbol("t", real=True)
    weight = eta * sympy.cos(0) * (1 - sympy.sin(0)) * x
    slope = sympy.diff(sympy.sin(weight * t), t).subs(t, x)
    return first_nonzero(slope**2, weight**2 - sympy.pi**2 / 4)


def derive_one_step(
    residual: sympy.Expr = RESIDUAL,
    nfm_factor: sympy.Expr = NFM_FACTOR,
    agop_factor: sympy.Expr = AGOP_FACTOR,
    slope_term: sympy.Expr = SLOPE_TERM,
) -> Derivation:
    """Derive NFM and AGOP after one step, for any network above the first layer and any sizes.

    Args:
        residual: In ``TARGET`` and ``INITIAL_OUTPUT``, to compare with.
        nfm_factor: In ``RATE`` and ``FEATURE_NORM``, to compare with.
        agop_factor: In ``RATE`` and ``SLOPE``, to compare with.
        slope_term: In ``READOUT``, ``FIRST_SLOPE`` and ``SECOND_SLOPE``, to compare with.

    Source: E and this project.
    """
    steps = (
        Step("The step is η k gᵀ with g = Xᵀr.", step_gap),
        Step("g = Xᵀy if f_0 = 0 or the inputs are centred.", direction_gap),
        Step("Otherwise it need not be along Xᵀy.", _other_direction_residual),
        Step("φ' > 0: s > 0, so the AGOP does not vanish.", positive_gap),
        Step("φ = sin: the AGOP can vanish where the NFM does not.", vanishing_gap),
        Step("r = y − f_0.", partial(residual_gap, residual)),
        Step("s of two layers.", partial(two_layers_gap, slope_term)),
        Step("The NFM is η²‖k‖² ggᵀ.", partial(nfm_gap, nfm_factor)),
        Step("The AGOP is η² mean(s²) ggᵀ.", partial(agop_gap, agop_factor)),
    )
    cites = ("continuity of ∇F, for small steps",)
    return Derivation("One step from W = 0: both of rank one along g.", steps, cites)
