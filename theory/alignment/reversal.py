r"""Data that reverse the alignment: at t → 0⁺ a trained network attains the universal lower bound.

Network f(x) = Σ_i a_i φ(w_i·x) with φ(z) = z^p (quadratic or cubic), weights W_0 = (Qᵀ; Qᵀ) for a
rotation Q, readout (1, …, 1, -1, …, -1), so that f = 0 at first. Data: orthogonal inputs
x_α = σ_α Q e_α in two blocks, targets y_α. Then Ẇ and K are diagonal together: on the range of Ẇ, K
has the eigenvalues q_α/n with q_α = 2p²σ_α^{2(p-1)}. The inputs' scales set the condition number
κ = (σ_1/σ_2)^{2(p-1)}, and the ratio of the targets sets where the weights move most.

With label ratio y = y_2/y_1 and counts n_1, n_2 of the blocks the limiting correlation of
(W-W_0)ᵀ(W-W_0) and (W-W_0)ᵀK(W-W_0) is (κ + u)/√((1 + u)(κ² + u)), u = (n_2/n_1) y⁴ κ^{-2p/(p-1)}.
It is least at u = κ, where it is 2√κ/(1 + κ): towards 0 as the inputs' scales part.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np
import sympy
from numpy.typing import ArrayLike

from ..arrays import RealArray, finite_array
from ..derivation import Derivation, Step, first_nonzero
from ..matrix_words import matrices, reduced
from ..validation import integer, positive
from .bound import BOUND, CONDITION_NUMBER

if TYPE_CHECKING:
    from collections.abc import Sequence

DEGREE, LABEL_RATIO, COUNT_RATIO, WEIGHT_RATIO = sympy.symbols("p y nu u", positive=True)

_KAPPA = CONDITION_NUMBER

TWO_BLOCK_ALIGNMENT = (_KAPPA + WEIGHT_RATIO) / sympy.sqrt(
    (1 + WEIGHT_RATIO) * (_KAPPA**2 + WEIGHT_RATIO)
)
"""ρ if K = (κ, 1) and the blocks' shares of ‖ẆᵀẆ‖² are 1 : u."""

WEIGHT_RATIO_OF_DATA = (
    COUNT_RATIO * LABEL_RATIO**4 * _KAPPA ** (-2 * DEGREE / (DEGREE - 1))
)  # fmt: skip
"""u = ν y⁴ κ^{-2p/(p-1)}, with ν = n_2/n_1."""

REVERSING_LABEL_RATIO = (_KAPPA ** ((3 * DEGREE - 1) / (DEGREE - 1)) / COUNT_RATIO) ** (
    sympy.Rational(1, 4)
)
"""The y at which ρ is least."""

DEGREES = {"quadratic": 2, "cubic": 3}


@dataclass(frozen=True, eq=False)
class ReversingData:
    """A data set and a two-layer network, f(x) = readout · φ(Wx), at their start.

    Attributes:
        inputs: X, orthogonal rows, shape (n, n).
        targets: y, shape (n,).
        weights: W_0, shape (2n, n).
        readout: Shape (2n,).
        activation: "quadratic" or "cubic".
        condition_number: κ of K compressed to the range of Ẇ.
        alignment: The limiting centred correlation as t → 0⁺.
    """

    inputs: RealArray
    targets: RealArray
    weights: RealArray
    readout: RealArray
    activation: str
    condition_number: float
    alignment: float


def reversed_alignment(
    condition_number: float,
    label_ratio: float,
    *,
    counts: Sequence[int] = (1, 1),
    activation: str = "quadratic",
) -> float:
    """Return the limiting centred correlation at t → 0⁺ for the two-block data.

    Args:
        condition_number: κ > 0: (σ_1/σ_2)², to the power p - 1.
        label_ratio: y_2/y_1, not 0; its sign does not matter.
        counts: Samples (n_1, n_2) in the two blocks.
        activation: "quadratic" or "cubic".

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If κ is not positive, the label ratio is 0, a number is not finite, a count is
            less than 1, or the activation is another.

    Source: this project (that data can reverse the alignment: paper C).

    Example:
        >>> round(reversed_alignment(16.0, 32.0) * 17, 12)  # 32 = 16^{5/4}: the bound 8/17
        8.0
    """
    kappa = positive("condition_number", condition_number)
    if isinstance(label_ratio, bool) or not isinstance(label_ratio, Real):
        raise TypeError(f"label_ratio = {label_ratio!r} must be a finite number, not 0")
    y = positive("the size of label_ratio", abs(label_ratio))
    p, nu = _degree(activation), _count_ratio(counts)
    log_u = math.log(nu) + 4 * math.log(y) - 2 * p / (p - 1) * math.log(kappa)
    return _two_blocks(math.log(kappa), log_u)


def reversing_label_ratio(
    condition_number: float, *, counts: Sequence[int] = (1, 1), activation: str = "quadratic"
) -> float:
    """Return the label ratio y_2/y_1 at which the alignment is least, namely 2√κ/(1 + κ).

    Arguments and errors are those of `reversed_alignment`.

    Source: this project.

    Example:
        >>> reversing_label_ratio(16.0)
        32.0
    """
    kappa, p = positive("condition_number", condition_number), _degree(activation)
    return float(kappa ** ((3 * p - 1) / (4 * (p - 1))) / _count_ratio(counts) ** 0.25)


def reversing_data(
    condition_number: float,
    label_ratio: float | None = None,
    *,
    counts: Sequence[int] = (1, 1),
    activation: str = "quadratic",
    rotation: ArrayLike | None = None,
) -> ReversingData:
    """Return two-block data and the network whose alignment they reverse.

    Args:
        condition_number: κ > 0. The first block's inputs have norm 1, the second's
            κ^{-1/(2(p-1))}.
        label_ratio: y_2/y_1, with y_1 = 1; by default the one with the least alignment.
        counts: Samples (n_1, n_2) in the two blocks, n of them together.
        activation: "quadratic" or "cubic".
        rotation: Q, orthogonal, shape (n, n); by default the identity.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: As `reversed_alignment`, or Q is not orthogonal or has another shape.

    Source: this project.
    """
    kappa, y = condition_number, label_ratio
    if y is None:
        y = reversing_label_ratio(kappa, counts=counts, activation=activation)
    alignment = reversed_alignment(kappa, y, counts=counts, activation=activation)
    sizes = [integer("counts", count, 1) for count in counts]
    n, Q = sum(sizes), _rotation(rotation, sum(sizes))
    small = kappa ** (-1 / (2 * (_degree(activation) - 1)))
    return ReversingData(
        inputs=np.repeat([1.0, small], sizes)[:, np.newaxis] * Q.T,
        targets=np.repeat([1.0, y], sizes),
        weights=np.concatenate([Q.T, Q.T]),
        readout=np.repeat([1.0, -1.0], n),
        activation=activation,
        condition_number=float(max(kappa, 1 / kappa)),
        alignment=alignment,
    )


def _two_blocks(log_kappa: float, log_u: float) -> float:
    """(κ + u)/√((1 + u)(κ² + u)), without overflow."""
    logs = (
        np.logaddexp(log_kappa, log_u),
        np.logaddexp(0.0, log_u),
        np.logaddexp(2 * log_kappa, log_u),
    )
    return min(1.0, math.exp(logs[0] - (logs[1] + logs[2]) / 2))


def _degree(activation: str) -> int:
    if activation not in DEGREES:
        allowed = ", ".join(map(repr, DEGREES))
        raise ValueError(f"activation = {activation!r} must be one of {allowed}")
    return DEGREES[activation]


def _count_ratio(counts: Sequence[int]) -> float:
    if len(counts) != 2:
        raise ValueError(f"counts = {counts!r} must be two integers, one for each block")
    first, second = (integer("counts", count, 1) for count in counts)
    return second / first


def _rotation(rotation: ArrayLike | None, n: int) -> RealArray:
    if rotation is None:
        return np.eye(n)
    Q = finite_array("rotation", rotation)
    if Q.shape != (n, n):
        raise ValueError(f"rotation has shape {Q.shape}; ({n}, {n}) is allowed")
    gap = float(np.abs(Q.T @ Q - np.eye(n)).max())
    if gap > 1e-10:
        raise ValueError(f"rotation is not orthogonal: QᵀQ differs from the identity by {gap:.3g}")
    return Q


# --- derivation -------------------------------------------------------------------------------

_T = sympy.transpose
_R, _SIGMA = sympy.symbols("r sigma", positive=True)


def _off_diagonal_residual(degree: int) -> sympy.Expr:
    """Q = 1: unit i sees z = σ on its own sample and 0 on others, where φ'(0) = 0."""
    z = sympy.Symbol("z", real=True)
    return sympy.diff(z**degree, z).subs(z, 0)


def _feature_gram_residual() -> sympy.Expr:
    """k_α has the entries ± φ'(σ) on its two units: q = ‖k_α‖² = 2p²σ^{2(p-1)}."""
    z = sympy.Symbol("z", positive=True)
    slope = sympy.diff(z**DEGREE, z).subs(z, _SIGMA)
    return sympy.simplify(slope**2 + (-slope) ** 2 - _q(_SIGMA))


def _q(scale: sympy.Expr) -> sympy.Expr:
    return 2 * DEGREE**2 * scale ** (2 * (DEGREE - 1))


def _log_residual(quotient: sympy.Expr) -> sympy.Expr:
    """Whether a quotient of positive powers is 1, which its logarithm shows."""
    logarithm = sympy.expand_log(sympy.log(quotient), force=True)
    return sympy.simplify(sympy.expand(logarithm))


def _diagonals(r: sympy.Expr, scale: sympy.Expr) -> tuple[sympy.Expr, sympy.Expr]:
    """The entries of ẆᵀẆ and n ẆᵀKẆ that belong to one sample."""
    q = _q(scale)
    return r**2 * scale**2 * q, r**2 * scale**2 * q**2


def _explicit_residual(degree: int) -> sympy.Expr:
    """n = 2 multiplied out from f itself: Ẇ = -∂/∂W of ½ Σ (f - y)², K by differentiation."""
    scales, targets = sympy.symbols("s1 s2", positive=True), sympy.symbols("y1 y2", real=True)
    W = sympy.Matrix(4, 2, lambda i, j: sympy.Symbol(f"w{i}{j}"))
    z = sympy.symbols("z0:4")
    signs = (1, 1, -1, -1)
    inputs = [sympy.Matrix([scales[0], 0]), sympy.Matrix([0, scales[1]])]
    f = sum(sign * v**degree for sign, v in zip(signs, z, strict=True))
    start = {W[i, j]: int(i % 2 == j) for i in range(4) for j in range(2)}

    def at(x: sympy.Matrix) -> dict[sympy.Symbol, sympy.Expr]:
        return dict(zip(z, W * x, strict=True))

    loss = sum((f.subs(at(x)) - y) ** 2 for x, y in zip(inputs, targets, strict=True)) / 2
    speed = W.applyfunc(lambda w: -sympy.diff(loss, w)).subs(start)
    features = [sympy.Matrix([sympy.diff(f, v).subs(at(x)).subs(start) for v in z]) for x in inputs]
    K = sum((k * k.T for k in features), sympy.zeros(4, 4))
    nfm, agop = sympy.diag(0, 0), sympy.diag(0, 0)
    for i, (y, s) in enumerate(zip(targets, scales, strict=True)):
        nfm[i, i], agop[i, i] = (x.subs(DEGREE, degree) for x in _diagonals(y, s))
    differences = (speed.T * speed - nfm, speed.T * K * speed - agop)
    return first_nonzero(*(sympy.simplify(x) for matrix in differences for x in matrix))


def _rotation_residual() -> sympy.Expr:
    """Any rotation: X = DQᵀ and W_0 = BQᵀ show the same z, and Ẇ turns by Qᵀ alone."""
    D, B, Q, J, R = matrices("D B Q J R")
    rules = {_T(Q) * Q: sympy.Integer(1), Q * _T(Q): sympy.Integer(1)}
    X, W, straight = D * _T(Q), B * _T(Q), _T(J) * R * D
    turned = _T(J) * R * X
    gram, kernel = _T(turned) * turned, _T(turned) * _T(J) * J * turned
    return first_nonzero(
        reduced(X * _T(W) - D * _T(B), rules),
        reduced(_T(Q) * gram * Q - _T(straight) * straight, rules),
        reduced(_T(Q) * kernel * Q - _T(straight) * _T(J) * J * straight, rules),
    )


def _share_residual(claimed: sympy.Expr) -> sympy.Expr:
    """u = n_2 (ẆᵀẆ)_2² / (n_1 (ẆᵀẆ)_1²), with σ_1 = 1 and σ_2 = κ^{-1/(2(p-1))}."""
    small = _KAPPA ** (-1 / (2 * (DEGREE - 1)))
    first, _ = _diagonals(_R, sympy.Integer(1))
    second, _ = _diagonals(_R * LABEL_RATIO, small)
    return _log_residual(COUNT_RATIO * (second / first) ** 2 / claimed)


def _condition_residual() -> sympy.Expr:
    small = _KAPPA ** (-1 / (2 * (DEGREE - 1)))
    return _log_residual(_q(sympy.Integer(1)) / _q(small) / _KAPPA)


def _alignment_residual(claimed: sympy.Expr) -> sympy.Expr:
    """Sums over two blocks of diagonal matrices: entries (g, κg) and (h, h), n_1 g² : n_2 h²."""
    g, h, first, second = sympy.symbols("g h n_1 n_2", positive=True)
    inner = first * g * (_KAPPA * g) + second * h * h
    norms = (first * g**2 + second * h**2) * (first * (_KAPPA * g) ** 2 + second * h**2)
    share = second * h**2 / (first * g**2)
    square = claimed.subs(WEIGHT_RATIO, share) ** 2 - inner**2 / norms
    positive_sign = sympy.Integer(0) if claimed.is_positive else sympy.Integer(1)
    return first_nonzero(sympy.simplify(square), positive_sign)


def _least_residual(claimed: sympy.Expr) -> sympy.Expr:
    """ρ² exceeds the squared bound by a multiple of (u - κ)², so that it is least at u = κ."""
    u = WEIGHT_RATIO
    excess = (1 - _KAPPA) ** 2 * (u - _KAPPA) ** 2
    excess /= (1 + _KAPPA) ** 2 * (1 + u) * (_KAPPA**2 + u)
    return sympy.simplify(claimed**2 - BOUND.expression**2 - excess)


def _vanishing_residual(claimed: sympy.Expr) -> sympy.Expr:
    at_least = sympy.simplify(claimed.subs(WEIGHT_RATIO, _KAPPA))
    return first_nonzero(
        sympy.simplify(at_least**2 - BOUND.expression**2),
        sympy.limit(BOUND.expression, _KAPPA, sympy.oo),
    )


def _where_residual(share: sympy.Expr, ratio: sympy.Expr) -> sympy.Expr:
    return _log_residual(share.subs(LABEL_RATIO, ratio) / _KAPPA)


def _each(residual: Callable[[int], sympy.Expr], idea: str) -> tuple[Step, ...]:
    """The step for each activation."""
    return tuple(Step(f"{name}: {idea}", partial(residual, p)) for name, p in DEGREES.items())


def derive_reversal(
    alignment: sympy.Expr = TWO_BLOCK_ALIGNMENT,
    share: sympy.Expr = WEIGHT_RATIO_OF_DATA,
    ratio: sympy.Expr = REVERSING_LABEL_RATIO,
) -> Derivation:
    """Derive the two-block alignment, its share u in terms of the data, and where it is least.

    Args:
        alignment: ρ in κ and ``WEIGHT_RATIO``, to compare with.
        share: u in κ, ``LABEL_RATIO``, ``COUNT_RATIO``, ``DEGREE``, to compare with.
        ratio: The label ratio at the minimum, to compare with.

    Source: this project.
    """
    steps = (
        Step("Q turns ẆᵀẆ and ẆᵀKẆ together and leaves ρ: take Q = 1.", _rotation_residual),
        *_each(
            _off_diagonal_residual,
            "k_α is supported on its own two units, so that Ẇ = Σ r_α k_α x_αᵀ and K are sums "
            "over samples without cross terms.",
        ),
        Step("‖k_α‖² = q_α = 2p²σ^{2(p-1)}.", _feature_gram_residual),
        *_each(
            _explicit_residual,
            "ẆᵀẆ and n ẆᵀKẆ have the entries y²σ²q and y²σ²q²: n = 2, by differentiating the loss.",
        ),
        Step("K's eigenvalues q_α/n on the range of Ẇ have the ratio κ.", _condition_residual),
        Step("u in terms of the data.", partial(_share_residual, share)),
        Step("ρ is least at u = κ alone.", partial(_least_residual, alignment)),
        Step(
            "There it is the universal bound, which tends to 0.",
            partial(_vanishing_residual, alignment),
        ),
        Step("u = κ at the claimed label ratio.", partial(_where_residual, share, ratio)),
        Step("ρ from the sums over the blocks.", partial(_alignment_residual, alignment)),
    )
    return Derivation("ρ = (κ + u)/√((1 + u)(κ² + u)), least at u = κ.", steps)
