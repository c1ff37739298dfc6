r"""One step from zero filters with an independent readout at every position: exact expectations.

For f(x) = Σ_p a_pᵀWx_p (linear activation, W = 0, residuals r = y) one step gives, with V of rows
v_p = Σ_i y_i x_ip, A of rows a_p and G = AAᵀ (P × P),

    WᵀW = η² VᵀGV,    patch-AGOP = η² VᵀG²V.

With the entries of A iid with raw moments m_1, …, m_4, at every width k and number of positions P,

    E WᵀW        = η² [ k(m_2 − m_1²) Σ_p v_pv_pᵀ + k m_1² vvᵀ ],   v = Σ_p v_p,
    E patch-AGOP = η² [ α Σ_p v_pv_pᵀ + β vvᵀ ],
    β = k(2m_1m_3 + (P − 2)m_1²m_2) + k(k − 1)(2m_1²m_2 + (P − 2)m_1⁴),
    α = k(m_4 + (P − 1)m_2²) + k(k − 1)(m_2² + (P − 1)m_1⁴) − β.

A centred readout (m_1 = 0) has E WᵀW = η² k m_2 Σ v_pv_pᵀ and
E patch-AGOP = η² k[(k + P − 2)m_2² + m_4] Σ v_pv_pᵀ: k(k + P + 1) for standard Gaussian entries,
k(k + P − 1) for ±1. Both expectations are multiples of Σ v_pv_pᵀ at *every* width; what the width
does is to make each network like its mean: with S = VVᵀ

    E‖WᵀW − E WᵀW‖² / ‖E WᵀW‖² = (1/k) [1 + ((tr S)² + (m_4/m_2² − 3) Σ_p S_pp²) / tr S²],

so that WᵀW/k → η² m_2 Σ v_pv_pᵀ and, as G/k → m_2 I, patch-AGOP/k² → η² m_2² Σ v_pv_pᵀ.

With another activation, φ(0) = 0, all that concerns WᵀW holds with the factor φ'(0)². What concerns
the patch-AGOP does not: see `wide_filters`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy
from numpy.typing import ArrayLike
from sympy.concrete.delta import deltasummation

from ..arrays import RealArray, finite_array
from ..derivation import Derivation, Step, first_nonzero
from ..matrix_words import matrices, reduced
from ..rfm.doubles import representable
from ..validation import positive
from .first_filters import RATE, checked_patches, checked_width, patch_directions

if TYPE_CHECKING:
    from ..alignment.activations import Activation

WIDTH, POSITIONS = sympy.symbols("k P", integer=True, positive=True)
MOMENTS = M1, M2, M3, M4 = sympy.symbols("m_1 m_2 m_3 m_4", real=True)
TRACE, TRACE_OF_SQUARE, DIAGONAL_SQUARES = sympy.symbols("t_1 t_2 q", positive=True)

COVARIANCE_OWN = WIDTH * (M2 - M1**2)
"""E WᵀW/η²: the factor of Σ_p v_pv_pᵀ."""

COVARIANCE_SHARED = WIDTH * M1**2
"""E WᵀW/η²: the factor of vvᵀ."""

AGOP_SHARED = WIDTH * (2 * M1 * M3 + (POSITIONS - 2) * M1**2 * M2) + WIDTH * (WIDTH - 1) * (
    2 * M1**2 * M2 + (POSITIONS - 2) * M1**4
)
"""E patch-AGOP/η²: β, the factor of vvᵀ."""

AGOP_OWN = (
    WIDTH * (M4 + (POSITIONS - 1) * M2**2 - 2 * M1 * M3 - (POSITIONS - 2) * M1**2 * M2)
    + WIDTH * (WIDTH - 1) * (M2 - M1**2) ** 2
)
"""E patch-AGOP/η²: α, the factor of Σ_p v_pv_pᵀ."""

SPREAD = (1 + (TRACE**2 + (M4 / M2**2 - 3) * DIAGONAL_SQUARES) / TRACE_OF_SQUARE) / WIDTH
"""E‖WᵀW − E WᵀW‖²/‖E WᵀW‖² for m_1 = 0; t_1 = tr S, t_2 = tr S², q = Σ S_pp², S = VVᵀ."""

LAWS = {"gaussian": (0.0, 1.0, 0.0, 3.0), "rademacher": (0.0, 1.0, 0.0, 1.0)}
"""E a, E a², E a³, E a⁴ of a standard Gaussian readout and of a = ±1."""


def expected_filter_covariance(
    patches: ArrayLike,
    targets: ArrayLike,
    width: int,
    readout: str | Sequence[float] = "gaussian",
    rate: float = 1.0,
    *,
    activation: str | Activation = "linear",
) -> RealArray:
    """Return E W_1ᵀW_1 after one step from zero filters, shape (d, d), exact at every width.

    Args:
        patches: x_ip, shape (n, P, d).
        targets: y, shape (n,).
        width: k >= 1, the number of filters.
        readout: The law of the iid entries a_pj: "gaussian" (standard), "rademacher" (±1), or
            (E a, E a², E a³, E a⁴).
        rate: η > 0.
        activation: φ with φ(0) = 0, a name or an `Activation`.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If shapes do not fit, an entry is not finite, η is not positive, the law or the
            activation is unknown, no law has these moments, or φ(0) ≠ 0 (f_0 would be random).
        OverflowError: If the width, or the result, is larger than every double.

    Source: D (for k → ∞), this project.

    Example:
        >>> expected_filter_covariance([[[1.0, 0.0], [0.0, 2.0]]], [1.0], 3)
        array([[ 3.,  0.],
               [ 0., 12.]])
    """
    V, values = _setting(patches, targets, width, readout)
    factor = positive("rate", rate) * _slope_at_zero(activation)
    return _combined("E WᵀW", factor, V, (COVARIANCE_OWN, COVARIANCE_SHARED), values)


def expected_patch_agop(
    patches: ArrayLike,
    targets: ArrayLike,
    width: int,
    readout: str | Sequence[float] = "gaussian",
    rate: float = 1.0,
) -> RealArray:
    """Return the expected patch-AGOP after one step, linear activation, exact at every width.

    The patch-AGOP is (1/n) Σ_i Σ_p ∇_p f(x_i)∇_p f(x_i)ᵀ. Arguments and errors as for
    `expected_filter_covariance`.

    Source: D (for k → ∞), this project.

    Example:
        >>> expected_patch_agop([[[1.0, 0.0], [0.0, 2.0]]], [1.0], 3, "rademacher")
        array([[12.,  0.],
               [ 0., 48.]])
    """
    V, values = _setting(patches, targets, width, readout)
    own_and_shared = (AGOP_OWN, AGOP_SHARED)
    return _combined("E patch-AGOP", positive("rate", rate), V, own_and_shared, values)


def filter_covariance_spread(
    patches: ArrayLike,
    targets: ArrayLike,
    width: int,
    readout: str | Sequence[float] = "gaussian",
) -> float:
    """Return E‖WᵀW − E WᵀW‖²/‖E WᵀW‖² after one step: how far one network is from the mean.

    Arguments and errors as for `expected_filter_covariance`; besides, E a must be 0, E a² must not
    be 0, and not every v_p may be 0.

    Source: this project.

    Example:
        >>> filter_covariance_spread([[[1.0, 0.0], [0.0, 1.0]]], [1.0], 4, "rademacher")
        0.25
    """
    V, values = _setting(patches, targets, width, readout)
    if values[M1] != 0 or values[M2] == 0:
        raise ValueError(
            f"readout has mean {values[M1]} and E a² = {values[M2]}; a mean of 0 and E a² > 0 are "
            "allowed"
        )
    if not V.any():
        raise ValueError("targets and patches: every v_p = Σ_i y_i x_ip is 0; W rests at 0")
    V = V / np.abs(V).max()  # neither the scale of V nor that of the readout matters
    S, fourth = V @ V.T, values[M4] / values[M2] / values[M2]
    traces = {
        TRACE: float(np.trace(S)),
        TRACE_OF_SQUARE: float(np.sum(S**2)),
        DIAGONAL_SQUARES: float(np.sum(np.diagonal(S) ** 2)),
    }
    return _number("the spread", SPREAD, {**values, M2: 1.0, M4: fourth, **traces})


def readout_moments(readout: str | Sequence[float]) -> tuple[float, ...]:
    """Return E a, …, E a⁴ of a readout's law, given by name or by these very moments.

    Raises:
        TypeError: If the moments are not real numbers.
        ValueError: If the name is unknown, or no law has these moments.

    Example:
        >>> readout_moments("gaussian")
        (0.0, 1.0, 0.0, 3.0)
    """
    if isinstance(readout, str):
        if readout not in LAWS:
            raise ValueError(f"readout = {readout!r}; allowed: {', '.join(LAWS)}, or 4 moments")
        return LAWS[readout]
    given = finite_array("readout", readout)
    if given.shape != (4,):
        raise ValueError(f"readout has shape {given.shape}; 4 moments E a, …, E a⁴ are allowed")
    m1, m2, m3, m4 = (float(m) for m in given)
    if not _has_law(m1, m2, m3, m4):
        raise ValueError(
            f"readout has the moments {m1}, {m2}, {m3}, {m4}, which no law has: the matrix "
            "(m_{i+j}), i, j = 0, 1, 2, must be positive semidefinite, and 0 but for m_0 if m_2 is"
        )
    return m1, m2, m3, m4


def _has_law(m1: float, m2: float, m3: float, m4: float) -> bool:
    """Whether 1, a and a² have a positive semidefinite matrix of cosines, which has no scale."""
    if min(m2, m4) <= 0:
        return m1 == m2 == m3 == m4 == 0
    size, square = np.sqrt(m2), np.sqrt(m4)
    with np.errstate(over="ignore"):
        cosines = np.array([m1 / size, m2 / square, m3 / size / square])
    if np.abs(cosines).max() > 1 + 1e-12:
        return False
    first, second, third = cosines
    matrix = np.array([[1.0, first, second], [first, 1.0, third], [second, third, 1.0]])
    return bool(np.linalg.eigvalsh(matrix)[0] >= -1e-12)


def _setting(
    patches: ArrayLike, targets: ArrayLike, width: int, readout: str | Sequence[float]
) -> tuple[RealArray, dict[sympy.Symbol, Any]]:
    X, y = checked_patches(patches, targets)
    k, moments = checked_width(width), readout_moments(readout)
    values = dict(zip(MOMENTS, moments, strict=True))
    return patch_directions(X, y), {**values, WIDTH: k, POSITIONS: X.shape[1]}


def _slope_at_zero(activation: str | Activation) -> float:
    from ..alignment.activations import activation as named

    phi, zero = named(activation), np.zeros(1)
    if phi.value(zero)[0] != 0:
        raise ValueError(
            f"activation {phi.name} has φ(0) = {phi.value(zero)[0]}: f_0 would depend on the "
            "readout; one with φ(0) = 0 is allowed"
        )
    return float(phi.first(zero)[0])


def _combined(
    name: str,
    factor: float,
    directions: RealArray,
    own_and_shared: tuple[sympy.Expr, sympy.Expr],
    values: dict[sympy.Symbol, Any],
) -> RealArray:
    """own Σ_p v_pv_pᵀ + shared vvᵀ for v_p = factor × the directions."""
    own, shared = (_number(name, expression, values) for expression in own_and_shared)
    with np.errstate(over="ignore", invalid="ignore"):
        V = factor * directions
        v = V.sum(axis=0)
        matrix = own * V.T @ V + shared * np.outer(v, v)
        return representable(name, (matrix + matrix.T) / 2)


def _number(name: str, expression: sympy.Expr, values: dict[sympy.Symbol, Any]) -> float:
    """An expression at doubles, refused if it overflows."""
    found = sympy.lambdify(list(values), expression, "math")(*values.values())
    return float(representable(name, np.array(float(found))))


# --- derivation -------------------------------------------------------------------------------

_T = sympy.transpose
_A, _V, _one, _J = matrices("A V 1 J")


def _network_residual() -> sympy.Expr:
    """W = ηAᵀV; ∇_p f = Wᵀa_p, so Σ_p ∇_p f∇_p fᵀ = WᵀAᵀAW, the same for every image."""
    W, G = RATE * _T(_A) * _V, _A * _T(_A)
    return first_nonzero(
        sympy.expand(_T(W) * W - RATE**2 * _T(_V) * G * _V),
        sympy.expand(_T(W) * _T(_A) * _A * W - RATE**2 * _T(_V) * G * G * _V),
    )


def _combination_residual() -> sympy.Expr:
    """Vᵀ(αI + β11ᵀ)V = α VᵀV + β vvᵀ, where VᵀV = Σ v_pv_pᵀ and v = Vᵀ1."""
    a, b = sympy.symbols("alpha beta")
    v = _T(_V) * _one
    word = _T(_V) * (a + b * _J) * _V
    claimed = a * _T(_V) * _V + b * v * _T(v)
    return sympy.expand(reduced(word, {_J: _one * _T(_one)}) - claimed)


def _entry_mean(entries: Sequence[tuple[int, int]]) -> sympy.Expr:
    """E of a product of entries of A, given by row and column: independent ones factorise."""
    return sympy.prod(MOMENTS[times - 1] for times in Counter(entries).values())


_COLUMNS = (((0, 0), WIDTH), ((0, 1), WIDTH * (WIDTH - 1)))
"""Two columns j, h: which coincide, and in how many ways."""


def _gram_mean(p: int, q: int) -> sympy.Expr:
    """E G_pq = Σ_j E a_pj a_qj."""
    return WIDTH * _entry_mean([(p, 0), (q, 0)])


def _square_mean(p: int, q: int) -> sympy.Expr:
    """E (G²)_pq = Σ_r Σ_jh E a_pj a_rj a_rh a_qh: r among the named rows, or one of the others."""
    named = {p, q}
    rows = [(r, sympy.Integer(1)) for r in named] + [(max(named) + 1, POSITIONS - len(named))]
    total = sympy.Integer(0)
    for (r, rows_alike), ((j, h), columns_alike) in ((x, y) for x in rows for y in _COLUMNS):
        mean = _entry_mean([(p, j), (r, j), (r, h), (q, h)])
        total += rows_alike * columns_alike * mean
    return sympy.expand(total)


def _means_residual(own: sympy.Expr, shared: sympy.Expr, square: bool) -> sympy.Expr:
    """Diagonal and off-diagonal entries are own + shared and shared, for all p and all p ≠ q."""
    mean = _square_mean if square else _gram_mean
    return first_nonzero(sympy.expand(shared - mean(0, 1)), sympy.expand(own + shared - mean(0, 0)))


def _pair_mean(p: int, q: int, r: int, s: int) -> sympy.Expr:
    """E G_pq G_rs for m_1 = 0."""
    total = sympy.Integer(0)
    for (j, h), alike in _COLUMNS:
        total += alike * _entry_mean([(p, j), (q, j), (r, h), (s, h)])
    return sympy.expand(total.subs(M1, 0))


def _tensor(p: int, q: int, r: int, s: int) -> sympy.Expr:
    """k²m_2² δ_pq δ_rs + k m_2² (δ_pr δ_qs + δ_ps δ_qr) + k(m_4 − 3m_2²) δ_pqrs."""
    total = WIDTH**2 * M2**2 * int(p == q and r == s)
    total += WIDTH * M2**2 * ((p == r) * (q == s) + (p == s) * (q == r))
    return sympy.expand(total + WIDTH * (M4 - 3 * M2**2) * int(p == q == r == s))


def _tensor_residual() -> sympy.Expr:
    """An entry depends only on which of the four rows coincide: all 15 cases, hence all sizes."""
    patterns = [(0, q, r, s) for q in range(2) for r in range(q + 2) for s in range(max(q, r) + 2)]
    return first_nonzero(*(sympy.expand(_pair_mean(*x) - _tensor(*x)) for x in patterns))


def _spread_residual(claimed: sympy.Expr) -> sympy.Expr:
    """‖VᵀGV‖² = tr(GSGS) = Σ G_pq S_qr G_rs S_sp: the δ contracted, the squared mean taken off."""
    squared_mean = (WIDTH * M2) ** 2 * TRACE_OF_SQUARE
    second = (
        squared_mean
        + WIDTH * M2**2 * (TRACE_OF_SQUARE + TRACE**2)
        + WIDTH * (M4 - 3 * M2**2) * DIAGONAL_SQUARES
    )
    return sympy.simplify((second - squared_mean) / squared_mean - claimed)


def _contraction_residual() -> sympy.Expr:
    """Σ_pqrs δ S_qrS_sp for the δ of E G_pq G_rs: summed over their indices, at any P.

    What is left under the sum is that of tr S² = Σ_pr S_prS_rp, of (tr S)² and of Σ_p S_pp², up to
    the names of the indices and S_pq = S_qp.
    """
    p, q, r, s = sympy.symbols("p q r s", integer=True)
    entry, delta = sympy.Function("S"), sympy.KroneckerDelta
    summand = entry(q, r) * entry(s, p)

    def left(deltas: sympy.Expr, *over: sympy.Symbol) -> sympy.Expr:
        found = deltas * summand
        for index in over:
            found = deltasummation(found, (index, 1, POSITIONS), no_piecewise=True)
        return found.replace(entry, lambda i, j: entry(*sorted((i, j), key=str)))

    return first_nonzero(
        left(delta(p, q) * delta(r, s), q, s) - entry(p, r) ** 2,
        left(delta(p, r) * delta(q, s), r, s) - entry(p, q) ** 2,
        left(delta(p, s) * delta(q, r), s, r) - entry(q, q) * entry(p, p),
        left(delta(p, q) * delta(q, r) * delta(r, s), s, r, q) - entry(p, p) ** 2,
    )


def _limit_residual(*claimed: sympy.Expr) -> sympy.Expr:
    """k → ∞, m_1 = 0: E WᵀW/k → m_2, E AGOP/k² → m_2², nothing along vvᵀ; the spread → 0."""
    covariance_own, covariance_shared, agop_own, agop_shared, spread = (
        c.subs({M1: 0, M3: 0}) for c in claimed
    )
    return first_nonzero(
        sympy.limit(covariance_own / WIDTH, WIDTH, sympy.oo) - M2,
        sympy.expand(covariance_shared),
        sympy.limit(sympy.expand(agop_own / WIDTH**2), WIDTH, sympy.oo) - M2**2,
        sympy.expand(agop_shared),
        sympy.limit(spread, WIDTH, sympy.oo),
    )


def _finite_width_residual() -> sympy.Expr:
    """k = 2, P = 3, A = (1 1; 1 1; 1 −1), V = I: neither matrix is along VᵀV, nor along the other.

    For k = 1 the patch-AGOP is ‖a‖² times WᵀW, whatever V, but both are of rank one.
    """
    A = sympy.Matrix([[1, 1], [1, 1], [1, -1]])
    G, one = A * A.T, A[:, :1]
    pairs = ((G, sympy.eye(3)), (G * G, sympy.eye(3)), (G, G * G))
    alike = any(left * right[0, 0] == right * left[0, 0] for left, right in pairs)
    single = (one * one.T) ** 2 - (one.T * one)[0] * one * one.T
    return first_nonzero(sympy.Integer(alike), *single)


def derive_independent_step(
    covariance_own: sympy.Expr = COVARIANCE_OWN,
    covariance_shared: sympy.Expr = COVARIANCE_SHARED,
    agop_own: sympy.Expr = AGOP_OWN,
    agop_shared: sympy.Expr = AGOP_SHARED,
    spread: sympy.Expr = SPREAD,
) -> Derivation:
    """Derive the expectations at every width, number of positions and law, and the wide limit.

    Args:
        covariance_own: To compare with, in ``WIDTH`` and ``MOMENTS``.
        covariance_shared: The same.
        agop_own: In ``WIDTH``, ``POSITIONS`` and ``MOMENTS``.
        agop_shared: The same.
        spread: In ``WIDTH``, ``MOMENTS`` and the traces of S.

    Source: D (the limit) and this project.
    """
    claimed = (covariance_own, covariance_shared, agop_own, agop_shared, spread)
    steps = (
        Step("WᵀW = η²VᵀGV and patch-AGOP = η²VᵀG²V, G = AAᵀ.", _network_residual),
        Step("Vᵀ(αI + β11ᵀ)V = αΣv_pv_pᵀ + βvvᵀ.", _combination_residual),
        Step("One network of finite width is not like its mean.", _finite_width_residual),
        Step("E G_pq G_rs, for all rows.", _tensor_residual),
        Step("Contractions with S, at any number of positions.", _contraction_residual),
        Step("Limits of both factors and of the spread.", partial(_limit_residual, *claimed)),
        Step("The spread of WᵀW.", partial(_spread_residual, spread)),
        Step("E G.", partial(_means_residual, covariance_own, covariance_shared, False)),
        Step("E G².", partial(_means_residual, agop_own, agop_shared, True)),
    )
    cites = ("Chebyshev's inequality and continuity of G ↦ G², for limits in probability",)
    return Derivation("E G and E G² of iid readouts, and G/k → m_2 I.", steps, cites)
