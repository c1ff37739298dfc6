"""The first moments of gradient flow on a two-layer network, in doubles and for any size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from ..arrays import finite_array
from .activations import Activation, activation
from .correlations import Kind, correlation

RealArray: TypeAlias = NDArray[np.float64]
Loss: TypeAlias = Literal["mse", "logistic"]

LOSSES: tuple[str, ...] = get_args(Loss)


@dataclass(frozen=True, eq=False)
class EarlyTime:
    """The beginning of gradient flow: W(t) = W_0 + t Ẇ + t² Ẅ/2 + O(t³), and what follows from it.

    Centred matrices have W - W_0 in the place of the outer weights, but K(t) of the whole network:
    (W - W_0)ᵀ(W - W_0) = t² N_2 + t³ N_3 + … and (W - W_0)ᵀK(W - W_0) = t² G_2 + t³ G_3 + ….

    Attributes:
        velocity: Ẇ at t = 0, shape (k, d).
        acceleration: Ẅ at t = 0, shape (k, d).
        readout_velocity: Of the readout, shape (o, k); zero if it is frozen.
        nfm_leading: N_2, shape (d, d).
        nfm_next: N_3, shape (d, d).
        agop_leading: G_2, shape (d, d).
        agop_next: G_3, shape (d, d).
        nfm: WᵀW at t = 0, shape (d, d).
        nfm_slope: Its derivative in t at 0.
        agop: WᵀKW at t = 0, shape (d, d).
        agop_slope: Its derivative in t at 0.
        kink_time: For an activation with a kink at 0, the first time at which a pre-activation
            crosses it if all move on at their first velocity: an estimate of the time up to which
            the expansion holds. Infinite for smooth activations.
        kind: The correlation, "cosine" or "pearson".
    """

    velocity: RealArray
    acceleration: RealArray
    readout_velocity: RealArray
    nfm_leading: RealArray
    nfm_next: RealArray
    agop_leading: RealArray
    agop_next: RealArray
    nfm: RealArray
    nfm_slope: RealArray
    agop: RealArray
    agop_slope: RealArray
    kink_time: float
    kind: Kind = "cosine"

    @property
    def nfm_second_derivative(self) -> RealArray:
        """The second derivative of the centred NFM in t at 0, 2 ẆᵀẆ."""
        return 2 * self.nfm_leading

    @property
    def agop_second_derivative(self) -> RealArray:
        """The second derivative of the centred AGOP in t at 0, 2 ẆᵀKẆ."""
        return 2 * self.agop_leading

    @property
    def centred_correlation(self) -> float:
        """The limit t → 0⁺ of the correlation of centred NFM and centred AGOP."""
        return correlation(self.nfm_leading, self.agop_leading, self.kind)

    @property
    def centred_slope(self) -> float:
        """The derivative in t at 0⁺ of the correlation of centred NFM and centred AGOP."""
        return correlation_slope(
            self.nfm_leading, self.agop_leading, self.nfm_next, self.agop_next, self.kind
        )

    @property
    def uncentred_correlation(self) -> float:
        """The correlation of NFM and AGOP at t = 0.

        Raises:
            ValueError: If WᵀW or WᵀKW is zero there.
        """
        self._require_uncentred()
        return correlation(self.nfm, self.agop, self.kind)

    @property
    def uncentred_slope(self) -> float:
        """The derivative in t at 0 of the correlation of NFM and AGOP.

        Raises:
            ValueError: If WᵀW or WᵀKW is zero there.
        """
        self._require_uncentred()
        return correlation_slope(self.nfm, self.agop, self.nfm_slope, self.agop_slope, self.kind)

    def _require_uncentred(self) -> None:
        for name, matrix in (("WᵀW", self.nfm), ("WᵀKW", self.agop)):
            if not matrix.any():
                raise ValueError(
                    f"{name} = 0 at t = 0, so that there is no uncentred correlation; if W_0 = 0, "
                    "it is the centred one for t > 0"
                )


def early_time(
    X: ArrayLike,
    y: ArrayLike,
    weights: ArrayLike,
    readout: ArrayLike,
    activation: str | Activation,
    loss: Loss = "mse",
    *,
    train_readout: bool = False,
    kind: Kind = "cosine",
) -> EarlyTime:
    """Expand gradient flow on f(x) = readout φ(W x) at its start.

    With g = -∂loss/∂f (the residual y - f for "mse") and k_αc = ∂f_c(x_α)/∂(W x_α),
    Ẇ = Σ_α Σ_c g_αc k_αc x_αᵀ; the next order is the derivative of this along the flow.

    For ReLU φ'' = 0 away from the kink, and the flow is analytic until a pre-activation first
    crosses 0: all that is returned is right, and the expansion holds up to that time.

    Args:
        X: Inputs, shape (n, d).
        y: Targets, shape (n,) or (n, o); ±1 of shape (n,) for "logistic".
        weights: W_0, shape (k, d).
        readout: Shape (k,) or (o, k).
        activation: Its name, or an `Activation`.
        loss: "mse", ½ Σ (f - y)², or "logistic", Σ log(1 + e^{-y f}); sums, not means.
        train_readout: Whether the readout follows its own gradient flow, too.
        kind: The correlation, "cosine" or "pearson".

    Raises:
        TypeError: If an array is not of real numbers, or the activation is no name.
        ValueError: If shapes do not fit, an entry is NaN or infinite, the loss, the activation or
            the kind is unknown, labels are not ±1, or a pre-activation lies on a kink.
        ArithmeticError: If Ẇ = 0, so that W does not begin to move and the centred correlation
            has no limit of this order; or if products leave the range of doubles.

    Source: paper C (velocity, leading order), this project (next order).

    Example:
        >>> net = early_time([[1, 0], [1, 1]], [1, 1], [[1, 0], [0, 1]], [1, 1], "quadratic")
        >>> net.velocity
        array([[-2., -2.],
               [-2., -2.]])
    """
    if kind not in get_args(Kind):
        raise ValueError(f"kind = {kind!r} must be one of {', '.join(get_args(Kind))}")
    start = _Start.of(X, y, weights, readout, activation, loss)
    flow = _flow(start, train_readout)
    V, A, W = flow.velocity, flow.acceleration, start.W
    s = _sandwiches(start, flow)
    found = EarlyTime(
        velocity=V,
        acceleration=A,
        readout_velocity=flow.readout,
        nfm_leading=V.T @ V,
        nfm_next=_symmetric(V.T @ A),
        agop_leading=s.vv,
        agop_next=_symmetric(s.va) + s.vv_turn,
        nfm=W.T @ W,
        nfm_slope=2 * _symmetric(W.T @ V),
        agop=s.ww,
        agop_slope=2 * _symmetric(s.wv) + s.ww_turn,
        kink_time=_kink_time(start, flow),
        kind=kind,
    )
    _refuse_lost_digits(found)
    return found


def correlation_slope(
    A: ArrayLike, B: ArrayLike, dA: ArrayLike, dB: ArrayLike, kind: Kind = "cosine"
) -> float:
    """Return the derivative of the correlation of A and B, which move with velocities dA and dB.

    Args:
        A: Real entries, any shape.
        B: The same shape.
        dA: The derivative of A, the same shape.
        dB: The derivative of B, the same shape.
        kind: "cosine" or "pearson".

    Raises:
        TypeError: If the entries are not real numbers.
        ValueError: As `correlation`, or if the shapes differ.

    Source: this project.

    Example:
        >>> correlation_slope([1, 0], [0, 2], [0, 1], [1, 0])
        1.5
    """
    rho = correlation(A, B, kind)
    named = {"A": A, "B": B, "dA": dA, "dB": dB}
    arrays = [finite_array(name, v) for name, v in named.items()]
    if any(array.shape != arrays[0].shape for array in arrays):
        raise ValueError(f"dA, dB have shapes {np.shape(dA)}, {np.shape(dB)}, A {np.shape(A)}")
    if kind == "pearson":
        arrays = [array - array.mean() for array in arrays]
    a, b, da, db = arrays
    size_a, size_b = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    a, da, b, db = a / size_a, da / size_a, b / size_b, db / size_b
    # The differences are the parts of either that turn it; both vanish where rho = 1.
    return float(np.vdot(da, b - rho * a) + np.vdot(db, a - rho * b))


# --- the start --------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Start:
    """The network at t = 0: arrays of shapes (n, d), (k, d), (o, k), (n, k) and (n, o)."""

    X: RealArray
    W: RealArray
    a: RealArray
    phi: RealArray
    first: RealArray
    second: RealArray
    z: RealArray
    g: RealArray
    curvature: RealArray
    act: Activation

    @classmethod
    def of(
        cls,
        X: ArrayLike,
        y: ArrayLike,
        weights: ArrayLike,
        readout: ArrayLike,
        name: str | Activation,
        loss: str,
    ) -> _Start:
        """Check the arguments and run the network once."""
        inputs, W = finite_array("X", X), finite_array("weights", weights)
        act = activation(name)
        a, targets = _rows("readout", readout), _columns("y", y)
        _check_shapes(inputs, targets, W, a)
        z = inputs @ W.T
        _check_kinks(z, inputs, act)
        phi = act.value(z)
        g, curvature = _pull(phi, a, targets, loss)
        return cls(inputs, W, a, phi, act.first(z), act.second(z), z, g, curvature, act)


def _rows(name: str, value: ArrayLike) -> RealArray:
    array = finite_array(name, value)
    return array[None, :] if array.ndim == 1 else array


def _columns(name: str, value: ArrayLike) -> RealArray:
    array = finite_array(name, value)
    return array[:, None] if array.ndim == 1 else array


def _check_shapes(X: RealArray, y: RealArray, W: RealArray, a: RealArray) -> None:
    shapes = f"X {X.shape}, y {y.shape}, weights {W.shape}, readout {a.shape}"
    if not X.ndim == y.ndim == W.ndim == a.ndim == 2:
        raise ValueError(
            f"shapes {shapes}; allowed: (n, d), (n,) or (n, o), (k, d), (k,) or (o, k)"
        )
    if X.shape[1] != W.shape[1] or len(W) != a.shape[1] or y.shape != (len(X), len(a)):
        raise ValueError(f"shapes {shapes} do not fit; they must be (n, d), (n, o), (k, d), (o, k)")


def _check_kinks(z: RealArray, X: RealArray, act: Activation) -> None:
    """Refuse pre-activations on a kink, unless the input is zero, so that they stay there."""
    if act.smooth:
        return
    on_kink = (z == 0) & X.any(axis=1, keepdims=True)
    if on_kink.any():
        sample, unit = (int(i) for i in np.argwhere(on_kink)[0])
        raise ValueError(
            f"the pre-activation of sample {sample}, unit {unit} is 0, where {act.name} has no "
            "derivative; pre-activations must not be 0"
        )


def _pull(phi: RealArray, a: RealArray, y: RealArray, loss: str) -> tuple[RealArray, RealArray]:
    """-∂loss/∂f, and ∂²loss/∂f², shapes (n, o)."""
    if loss not in LOSSES:
        raise ValueError(f"loss = {loss!r} must be one of {', '.join(LOSSES)}")
    f = phi @ a.T
    if loss == "mse":
        return _residuals(f, phi, a, y), np.ones_like(f)
    if y.shape[1] != 1 or not (np.abs(y) == 1).all():
        raise ValueError(f"y has shape {y.shape}; for the logistic loss labels ±1 of shape (n,)")
    doubt = special.expit(-y * f)
    return y * doubt, doubt * special.expit(y * f)


def _residuals(f: RealArray, phi: RealArray, a: RealArray, y: RealArray) -> RealArray:
    r = y - f
    rounding = float(np.finfo(np.float64).eps) * (np.abs(y) + np.abs(phi) @ np.abs(a).T)
    if (np.abs(r) <= 4 * rounding).all():
        raise ArithmeticError(
            "all residuals y - f are 0 up to rounding, so W does not move: the centred correlation "
            "has no limit at t = 0"
        )
    return r


# --- the flow ---------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Flow:
    """Derivatives in t at 0: Ẇ, Ẅ, that of the readout, and that of pre-activations, (n, k)."""

    velocity: RealArray
    acceleration: RealArray
    readout: RealArray
    z: RealArray


def _flow(s: _Start, train_readout: bool) -> _Flow:
    pulled = s.g @ s.a
    V = (s.first * pulled).T @ s.X
    if not V.any():
        raise ArithmeticError(_why_still(s))
    a_dot = s.g.T @ s.phi if train_readout else np.zeros_like(s.a)
    z_dot = s.X @ V.T
    g_dot = -s.curvature * ((s.first * z_dot) @ s.a.T + s.phi @ a_dot.T)
    pulled_dot = g_dot @ s.a + s.g @ a_dot
    A = (s.second * z_dot * pulled + s.first * pulled_dot).T @ s.X
    return _Flow(V, A, a_dot, z_dot)


def _why_still(s: _Start) -> str:
    if not s.first.any():
        cause = f"φ' = 0 at every pre-activation (every {s.act.name} unit is dead on every sample)"
    elif not s.a.any():
        cause = "the readout is 0"
    else:
        cause = "the gradients of the samples cancel or vanish"
    return f"Ẇ = 0 since {cause}: the centred correlation has no limit of second order at t = 0"


def _kink_time(s: _Start, flow: _Flow) -> float:
    if s.act.smooth:
        return np.inf
    moving_in = s.z * flow.z < 0
    return float(np.min(-s.z[moving_in] / flow.z[moving_in], initial=np.inf))


# --- products with K and its derivative -------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Sandwiches:
    """ẆᵀKẆ, ẆᵀKẄ, WᵀKẆ, WᵀKW, and with K̇ in the place of K ẆᵀK̇Ẇ and WᵀK̇W; all (d, d)."""

    vv: RealArray
    va: RealArray
    wv: RealArray
    ww: RealArray
    vv_turn: RealArray
    ww_turn: RealArray


def _sandwiches(s: _Start, flow: _Flow) -> _Sandwiches:
    """Through K or through the Jacobians of every output, whichever takes fewer operations."""
    (n, d), (o, k) = s.X.shape, s.a.shape
    through_ptk = 1.5 * n * k * k + 5 * k * k * d + 6 * k * d * d
    through_jacobians = o * (5 * n * k * d + 5 * n * d * d)
    route: Callable[[_Start, _Flow], _Sandwiches]
    route = _through_ptk if through_ptk < through_jacobians else _through_jacobians
    return route(s, flow)


def _through_ptk(s: _Start, flow: _Flow) -> _Sandwiches:
    """K = (aᵀa) ∘ (φ'ᵀφ')/n entry by entry, over all outputs at once."""
    V, A, W = flow.velocity, flow.acceleration, s.W
    n, outputs, slopes = len(s.X), s.a.T @ s.a, s.first.T @ s.first
    K = outputs * slopes / n
    turning = 2 * _symmetric((s.second * flow.z).T @ s.first)
    K_dot = (2 * _symmetric(flow.readout.T @ s.a) * slopes + outputs * turning) / n
    KV, KW = K @ V, K @ W
    return _Sandwiches(
        V.T @ KV, V.T @ (K @ A), W.T @ KV, W.T @ KW, V.T @ (K_dot @ V), W.T @ (K_dot @ W)
    )


def _through_jacobians(s: _Start, flow: _Flow) -> _Sandwiches:
    """K = Σ_c J_cᵀJ_c/n with J_c = φ' ∘ a_c of shape (n, k), one output after the other."""
    turning = s.second * flow.z
    total: list[RealArray] = [np.zeros((1, 1))] * 6
    for a, a_dot in zip(s.a, flow.readout, strict=True):
        J, J_dot = s.first * a, turning * a + s.first * a_dot
        JV, JA, JW = J @ flow.velocity, J @ flow.acceleration, J @ s.W
        products = (
            *(JV.T @ JV, JV.T @ JA, JW.T @ JV, JW.T @ JW),
            *(2 * _symmetric(JV.T @ (J_dot @ flow.velocity)), 2 * _symmetric(JW.T @ (J_dot @ s.W))),
        )
        total = [sum_ + product for sum_, product in zip(total, products, strict=True)]
    return _Sandwiches(*(sum_ / len(s.X) for sum_ in total))


def _symmetric(matrix: RealArray) -> RealArray:
    return (matrix + matrix.T) / 2


def _refuse_lost_digits(found: EarlyTime) -> None:
    """Ẇ ≠ 0 makes ẆᵀẆ and ẆᵀKẆ ≠ 0: if one is, or is infinite, doubles do not reach so far."""
    for name in ("nfm_leading", "agop_leading", "nfm_next", "agop_next"):
        matrix = getattr(found, name)
        lost = name.endswith("leading") and not matrix.any()
        if lost or not np.isfinite(matrix).all():
            raise ArithmeticError(
                f"{name} leaves the range of doubles; rescale X, y or the weights"
            )
