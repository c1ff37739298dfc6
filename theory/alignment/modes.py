r"""Two-layer linear networks on whitened inputs: every mode learned on its own, in closed form.

f = W_2W_1x under ½Σ_α‖f(x_α) − y_α‖² + (λ/2)(‖W_1‖² + ‖W_2‖²) with XᵀX = n I (that is,
(1/n)Σxxᵀ = I), YᵀX/n = Σ_i s_i a_i v_iᵀ its singular value decomposition. From balanced decoupled
weights W_1 = Σ √u_i q_i v_iᵀ, W_2 = Σ √u_i a_i q_iᵀ, q_i orthonormal, gradient flow moves only the
strengths: u̇ = 2nu(s − λ/n − u), a logistic curve. The first layer's NFM is Σ u_i v_iv_iᵀ, its AGOP
Σ u_i² v_iv_iᵀ, so that their correlation is Σu³/√(Σu² Σu⁴) at all times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, partial

import numpy as np
import sympy
from numpy.typing import ArrayLike, NDArray
from sympy import transpose

from ..arrays import real_entries
from ..closed_form import ClosedForm
from ..derivation import Derivation, Step
from ..matrix_words import gram, matrices, reduced, trace
from ..validation import integer, nonnegative

Matrix = NDArray[np.float64]
Number = int | float | Fraction | str

TIME = sympy.Symbol("t", positive=True)
SINGULAR_VALUE = sympy.Symbol("s", nonnegative=True)
START = sympy.Symbol("u_0", positive=True)
SAMPLES = sympy.Symbol("n", integer=True, positive=True)
WEIGHT_DECAY = sympy.Symbol("lambda", nonnegative=True)
READOUT = sympy.Symbol("c", positive=True)

LEVEL = SINGULAR_VALUE - WEIGHT_DECAY / SAMPLES
"""Where a mode comes to rest if this is positive; else it dies out."""

STRENGTH = LEVEL / (1 + (LEVEL / START - 1) * sympy.exp(-2 * SAMPLES * LEVEL * TIME))
"""u(t) of a mode, LEVEL ≠ 0."""

CRITICAL_STRENGTH = START / (1 + 2 * SAMPLES * START * TIME)
"""u(t) of a mode with LEVEL = 0."""

FROZEN_RATE = SAMPLES * READOUT + WEIGHT_DECAY
FROZEN_STRENGTH = (
    SAMPLES * READOUT * SINGULAR_VALUE / FROZEN_RATE * (1 - sympy.exp(-FROZEN_RATE * TIME))
)
"""A mode of W_2W_1 when W_2 is frozen with W_2W_2ᵀ = c I and W_1 starts at 0; λ on W_1 only."""

POWER_SUMS = tuple(sympy.symbols("S_2 S_3 S_4", positive=True))
CORRELATION = POWER_SUMS[1] / sympy.sqrt(POWER_SUMS[0] * POWER_SUMS[2])
"""ρ(NFM, AGOP) of the first layer, S_m = Σ_i u_i^m."""

_ALWAYS = (sympy.Integer(0), sympy.oo)


def mode_strength(
    singular_value: Number, start: Number, samples: int, weight_decay: Number = 0
) -> ClosedForm:
    """Return u(t), the strength of a mode of W_2W_1 under gradient flow.

    Args:
        singular_value: s ≥ 0 of YᵀX/n.
        start: u_0 > 0, the strength at t = 0.
        samples: n, where XᵀX = n I. (Inputs scaled to XᵀX = I: n = 1.)
        weight_decay: λ ≥ 0.

    Returns:
        A closed form in t > 0; numbers are taken exactly, '0.1' or '1/3' as strings.

    Raises:
        TypeError: If n is not an integer, or a number is no number.
        ValueError: If s or λ is negative, u_0 not positive, n < 1, or one is not finite.

    Example:
        >>> mode_strength(2, '1/100', 1)(50)
        2.0

    Source: this project.
    """
    s, lam = _exact("singular_value", singular_value), _exact("weight_decay", weight_decay)
    u = _exact("start", start)
    if u == 0:
        raise ValueError(f"start = {start!r} must be > 0: a mode at 0 never moves")
    values = {
        SINGULAR_VALUE: s,
        WEIGHT_DECAY: lam,
        START: u,
        SAMPLES: sympy.Integer(integer("samples", samples, 1)),
    }
    law = CRITICAL_STRENGTH if LEVEL.subs(values) == 0 else STRENGTH
    return ClosedForm("alignment.modes.strength", law.subs(values), TIME, _ALWAYS)


def mode_correlation(strengths: Sequence[ClosedForm]) -> ClosedForm:
    """Return ρ(NFM, AGOP) of the first layer as a closed form in t > 0.

    Args:
        strengths: The modes' u_i(t), from `mode_strength`, at least one.

    Raises:
        ValueError: If there is no mode.

    Source: this project.
    """
    if not strengths:
        raise ValueError("strengths is empty; at least one mode is needed")
    u = [form.expression for form in strengths]
    sums = {S: sympy.Add(*(x**m for x in u)) for m, S in enumerate(POWER_SUMS, 2)}
    return ClosedForm("alignment.modes.correlation", CORRELATION.subs(sums), TIME, _ALWAYS)


@dataclass(frozen=True, eq=False)
class Modes:
    """The modes of a two-layer linear network trained on whitened inputs.

    Attributes:
        singular_values: s, shape (r,), those of YᵀX/n, in falling order.
        inputs: The right singular vectors v_i as columns, shape (d, r).
        outputs: The left singular vectors a_i as columns, shape (o, r).
        strengths: u_i(t) as closed forms.
    """

    singular_values: Matrix
    inputs: Matrix
    outputs: Matrix
    strengths: tuple[ClosedForm, ...]

    def at(self, time: float) -> Matrix:
        """Return u(t), shape (r,)."""
        return np.array([u(time) for u in self.strengths])

    def nfm(self, time: float) -> Matrix:
        """Return the NFM of the first layer, Σ u_i v_iv_iᵀ, shape (d, d)."""
        return (self.inputs * self.at(time)) @ self.inputs.T

    def agop(self, time: float) -> Matrix:
        """Return its AGOP, Σ u_i² v_iv_iᵀ, shape (d, d)."""
        return (self.inputs * self.at(time) ** 2) @ self.inputs.T

    @cached_property
    def correlation(self) -> ClosedForm:
        """ρ(NFM, AGOP) as a closed form in t."""
        return mode_correlation(self.strengths)


def linear_modes(X: ArrayLike, Y: ArrayLike, start: float, weight_decay: float = 0.0) -> Modes:
    """Return the modes of a two-layer linear network on given whitened data.

    Args:
        X: Inputs, shape (n, d), with XᵀX = n I to 1e-8.
        Y: Targets, shape (n, o).
        start: u_0 > 0 of all min(d, o) modes.
        weight_decay: λ ≥ 0.

    Raises:
        TypeError: If λ is not a real number.
        ValueError: If shapes do not fit, an entry is not finite, or X is not whitened.

    Source: this project.
    """
    x, y = _data(X, Y)
    lam = nonnegative("weight_decay", weight_decay)
    a, s, vt = np.linalg.svd(y.T @ x / len(x), full_matrices=False)
    u = tuple(mode_strength(float(value), start, len(x), lam) for value in s)
    return Modes(s, vt.T, a, u)


def _data(X: ArrayLike, Y: ArrayLike) -> tuple[Matrix, Matrix]:
    x, y = real_entries("X", X), real_entries("Y", Y)
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or not len(x):
        raise ValueError(f"X has shape {x.shape} and Y {y.shape}, must be (n, d) and (n, o)")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("X or Y holds NaN or infinite entries, must be finite")
    worst = float(np.max(np.abs(x.T @ x / len(x) - np.eye(x.shape[1]))))
    if worst > 1e-8:
        raise ValueError(f"X is not whitened: XᵀX/n differs from I by {worst:.3g}, at most 1e-8")
    return x, y


def _exact(name: str, value: Number) -> sympy.Rational:
    try:
        number = Fraction(value)
    except (ValueError, OverflowError, ZeroDivisionError) as error:
        raise ValueError(f"{name} = {value!r} must be a finite number >= 0") from error
    if number < 0:
        raise ValueError(f"{name} = {value!r} must be a finite number >= 0")
    return sympy.Rational(number.numerator, number.denominator)


# --- derivation -------------------------------------------------------------------------------

# Orthonormal frames A (o×r), Q (k×r), V (d×r); diagonal D = diag √u and Sigma = diag s. Rest holds
# the modes that a network narrower than min(d, o) has no room for.
_A, _Q, _V, _D, _SIGMA, _REST = matrices("A Q V D Sigma Rest")
_ONE, _NOTHING = sympy.Integer(1), sympy.Integer(0)
_RULES = {
    transpose(_A) * _A: _ONE,
    transpose(_Q) * _Q: _ONE,
    transpose(_V) * _V: _ONE,
    transpose(_D): _D,
    transpose(_A) * _REST: _NOTHING,
    _REST * _V: _NOTHING,
    _SIGMA * _D: _D * _SIGMA,  # diagonal matrices commute
}
_W1 = _Q * _D * transpose(_V)
_W2 = _A * _D * transpose(_Q)
_S = _A * _SIGMA * transpose(_V) + _REST


def _gradient_residual() -> sympy.Expr:
    """Check that ½‖XPᵀ − Y‖² has the gradient n (P − S) by P, if XᵀX = n: its slope along E."""
    X, Y, P, E = matrices("X Y P E")
    slope = (P * transpose(X) - transpose(Y)) * X * transpose(E)
    gradient = SAMPLES * (P - transpose(Y) * X / SAMPLES)
    whitened = reduced(slope, {transpose(X) * X: SAMPLES})
    return sympy.expand(trace(whitened) - trace(gradient * transpose(E)))


def _velocity() -> sympy.Expr:
    """D's velocity: n D (Sigma − D²) − λ D."""
    return SAMPLES * (_D * _SIGMA - _D**3) - WEIGHT_DECAY * _D


def _lower_residual() -> sympy.Expr:
    flow = -SAMPLES * transpose(_W2) * (_W2 * _W1 - _S) - WEIGHT_DECAY * _W1
    return reduced(flow - _Q * _velocity() * transpose(_V), _RULES)


def _upper_residual() -> sympy.Expr:
    flow = -SAMPLES * (_W2 * _W1 - _S) * transpose(_W1) - WEIGHT_DECAY * _W2
    return reduced(flow - _A * _velocity() * transpose(_Q), _RULES)


def mode_velocity(u: sympy.Expr) -> sympy.Expr:
    """Return u̇ = 2nu(s − λ/n − u)."""
    return 2 * SAMPLES * u * (LEVEL - u)


def _square_residual() -> sympy.Expr:
    root, u = sympy.symbols("D u", positive=True)
    slope = SAMPLES * root * (SINGULAR_VALUE - root**2) - WEIGHT_DECAY * root
    return sympy.expand((2 * root * slope).subs(root, sympy.sqrt(u)) - mode_velocity(u))


def _law_residual(claimed: sympy.Expr, law: sympy.Expr, start: sympy.Expr) -> sympy.Expr:
    """Check d/dt claimed = law and the value at t = 0."""
    first = sympy.simplify(claimed.subs(TIME, 0) - start)
    return first if first != 0 else sympy.simplify(sympy.diff(claimed, TIME) - law)


def _generic_residual(claimed: sympy.Expr) -> sympy.Expr:
    # A letter for s − λ/n, of either sign; the claimed formula must depend on it alone.
    level = sympy.Symbol("m", real=True, nonzero=True)
    written = claimed.subs(SINGULAR_VALUE, level + WEIGHT_DECAY / SAMPLES)
    return _law_residual(written, 2 * SAMPLES * written * (level - written), START)


def _critical_residual(claimed: sympy.Expr) -> sympy.Expr:
    return _law_residual(claimed, -2 * SAMPLES * claimed**2, START)


def _rest_residual() -> sympy.Expr:
    """Check the limits t → ∞: LEVEL if it is positive, 0 if it is negative."""
    m = sympy.Symbol("m", positive=True)
    up, down = (
        sympy.limit(STRENGTH.subs(SINGULAR_VALUE, sign * m).subs(WEIGHT_DECAY, 0), TIME, sympy.oo)
        for sign in (1, -1)
    )
    return abs(sympy.simplify(up - m)) + abs(down)


_FLOW_STEPS = (
    Step("For whitened inputs the gradient by P = W_2 W_1 is n (P - S).", _gradient_residual),
    Step(
        "With W_1 = Q D V^T, W_2 = A D Q^T the flow of W_1 is Q (n D (Sigma - D^2) - l D) V^T.",
        _lower_residual,
    ),
    Step("That of W_2 is A (n D (Sigma - D^2) - l D) Q^T: the frames stay.", _upper_residual),
    Step("So u = D^2 obeys du/dt = 2 n u (s - l/n - u).", _square_residual),
)
_CITES = ("a differential equation with a smooth right side and a given start has one solution",)


def derive_strength(
    claimed: sympy.Expr = STRENGTH, critical: sympy.Expr = CRITICAL_STRENGTH
) -> Derivation:
    """Derive u(t).

    Args:
        claimed: For s ≠ λ/n, in ``SINGULAR_VALUE``, ``START``, ``SAMPLES``, ``WEIGHT_DECAY``,
            ``TIME``.
        critical: For s = λ/n, likewise.

    Source: this project.
    """
    steps = (
        *_FLOW_STEPS,
        Step("Its limits: s - l/n if that is positive, 0 if negative.", _rest_residual),
        Step("For s = l/n: du/dt = -2 n u^2 from u_0.", partial(_critical_residual, critical)),
        Step("Else the logistic curve from u_0.", partial(_generic_residual, claimed)),
    )
    return Derivation("The strength of a mode under gradient flow.", steps, _CITES)


def _matrix_residual(word: sympy.Expr, power: int) -> sympy.Expr:
    return sympy.expand(reduced(word, _RULES) - _V * _D**power * transpose(_V))


def _power_sum_residual() -> sympy.Expr:
    """Check tr(V D^p Vᵀ) = tr(D^p VᵀV) = tr(D^p), for the products of the two matrices."""
    nfm, agop = gram(_W1), gram(_W2 * _W1)
    parts = (
        trace(reduced(word, _RULES)) - trace(_D**power * transpose(_V) * _V)
        for word, power in ((nfm * nfm, 4), (nfm * agop, 6), (agop * agop, 8))
    )
    return sympy.Add(*(abs(part) for part in parts))


def derive_correlation(claimed: sympy.Expr = CORRELATION) -> Derivation:
    """Derive ρ(NFM, AGOP) = S_3/√(S_2S_4), S_m = Σu^m.

    Args:
        claimed: The correlation, in ``POWER_SUMS``.

    Source: this project.
    """
    S_2, S_3, S_4 = POWER_SUMS
    steps = (
        Step("NFM = W_1^T W_1 = V D^2 V^T.", partial(_matrix_residual, gram(_W1), 2)),
        Step("AGOP = P^T P = V D^4 V^T.", partial(_matrix_residual, gram(_W2 * _W1), 4)),
        Step("Traces of products are tr D^4, tr D^6, tr D^8; u = D^2.", _power_sum_residual),
        Step(
            "The cosine of the two.",
            lambda: sympy.simplify(claimed - S_3 / (sympy.sqrt(S_2) * sympy.sqrt(S_4))),
        ),
    )
    return Derivation("The correlation of NFM and AGOP along the modes.", steps)


def _frozen_velocity_residual() -> sympy.Expr:
    """W_1 = W_2ᵀM under W_2 frozen, W_2W_2ᵀ = c: P = c M, and Ṗ = nc(S − P) − λP."""
    B, M, S = matrices("B M S")
    W = transpose(B) * M
    rules = {B * transpose(B): READOUT}
    flow = -SAMPLES * transpose(B) * (B * W - S) - WEIGHT_DECAY * W
    P = READOUT * M
    return sympy.expand(reduced(B * flow, rules) - SAMPLES * READOUT * (S - P) + WEIGHT_DECAY * P)


def derive_frozen_strength(claimed: sympy.Expr = FROZEN_STRENGTH) -> Derivation:
    """Derive the modes of W_2W_1 when W_2 is frozen, W_2W_2ᵀ = c I, and W_1 starts at 0.

    Args:
        claimed: In ``READOUT``, ``SINGULAR_VALUE``, ``SAMPLES``, ``WEIGHT_DECAY``, ``TIME``.

    Source: this project.
    """
    law = SAMPLES * READOUT * (SINGULAR_VALUE - claimed) - WEIGHT_DECAY * claimed
    steps = (
        Step("For whitened inputs the gradient by P = W_2 W_1 is n (P - S).", _gradient_residual),
        Step("So dP/dt = n c (S - P) - l P.", _frozen_velocity_residual),
        Step(
            "Linear, from 0.",
            partial(_law_residual, sympy.expand(claimed), law, sympy.Integer(0)),
        ),
    )
    return Derivation("The strength of a mode under a frozen readout.", steps, _CITES)
