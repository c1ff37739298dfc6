"""The early-time expansion in exact arithmetic, for networks small enough to be written out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
import sympy
from numpy.typing import NDArray

from . import activations
from . import early_words as words
from .expansion import LOSSES, Loss

Objects: TypeAlias = NDArray[np.object_]
"""Arrays of Fractions or SymPy expressions."""

Entries: TypeAlias = Any
"""A SymPy matrix, or nested sequences of numbers and SymPy expressions; or a vector of them."""

MOMENTS = {
    "centred": ("nfm_leading", "agop_leading", "nfm_next", "agop_next"),
    "uncentred": ("nfm", "agop", "nfm_slope", "agop_slope"),
}
"""The matrices A and B that are correlated and their derivatives A' and B', by name."""


@dataclass(frozen=True, eq=False)
class Network:
    """A two-layer network and its loss at t = 0, in any arithmetic.

    Attributes:
        inputs: Shape (n, d).
        weights: W_0, shape (k, d).
        readout: Shape (o, k).
        value: φ at the pre-activations, shape (n, k).
        first: φ' there.
        second: φ'' there.
        pull: g = -∂loss/∂f, shape (n, o).
        curvature: ∂²loss/∂f², shape (n, o).
    """

    inputs: Objects
    weights: Objects
    readout: Objects
    value: Objects
    first: Objects
    second: Objects
    pull: Objects
    curvature: Objects


@dataclass(frozen=True, eq=False)
class SymbolicEarlyTime:
    """Exact coefficients of the early-time expansion; names and shapes are those of `EarlyTime`."""

    velocity: sympy.ImmutableMatrix
    acceleration: sympy.ImmutableMatrix
    readout_velocity: sympy.ImmutableMatrix
    nfm_leading: sympy.ImmutableMatrix
    nfm_next: sympy.ImmutableMatrix
    agop_leading: sympy.ImmutableMatrix
    agop_next: sympy.ImmutableMatrix
    nfm: sympy.ImmutableMatrix
    nfm_slope: sympy.ImmutableMatrix
    agop: sympy.ImmutableMatrix
    agop_slope: sympy.ImmutableMatrix

    @property
    def nfm_second_derivative(self) -> sympy.ImmutableMatrix:
        """The second derivative of the centred NFM in t at 0."""
        return 2 * self.nfm_leading

    @property
    def agop_second_derivative(self) -> sympy.ImmutableMatrix:
        """The second derivative of the centred AGOP in t at 0."""
        return 2 * self.agop_leading

    @property
    def centred_correlation(self) -> sympy.Expr:
        """The limit t → 0⁺ of the cosine of centred NFM and centred AGOP."""
        return _correlation(self, "centred")

    @property
    def centred_slope(self) -> sympy.Expr:
        """The derivative in t at 0⁺ of the cosine of centred NFM and centred AGOP."""
        return _slope(self, "centred")

    @property
    def uncentred_correlation(self) -> sympy.Expr:
        """The cosine of NFM and AGOP at t = 0."""
        return _correlation(self, "uncentred")

    @property
    def uncentred_slope(self) -> sympy.Expr:
        """The derivative in t at 0 of the cosine of NFM and AGOP."""
        return _slope(self, "uncentred")


def early_time_symbolic(
    X: Entries,
    y: Entries,
    weights: Entries,
    readout: Entries,
    activation: str | Callable[[sympy.Expr], sympy.Expr],
    loss: Loss = "mse",
    *,
    train_readout: bool = False,
) -> SymbolicEarlyTime:
    """Expand gradient flow on f(x) = readout φ(W x) at its start, exactly.

    Args:
        X: Inputs, shape (n, d).
        y: Targets, shape (n,) or (n, o); labels whose square is 1 for "logistic".
        weights: W_0, shape (k, d).
        readout: Shape (k,) or (o, k).
        activation: Its name, or φ as a function of SymPy expressions, which may be an undefined
            one (`sympy.Function("phi")`). Kinks are taken to lie off the pre-activations.
        loss: "mse" or "logistic", as for `early_time`.
        train_readout: Whether the readout follows its own gradient flow, too.

    Raises:
        ValueError: If shapes do not fit, a float is among the entries, or the loss is unknown.
        ArithmeticError: If Ẇ = 0.

    Source: paper C (velocity, leading order), this project (next order).

    Example:
        >>> r = sympy.Symbol("r")
        >>> net = early_time_symbolic([[1, 0], [1, 1]], [1, 1], [[r, 0], [0, r]], [1, 1], "linear")
        >>> net.velocity
        Matrix([
        [2 - 3*r, 1 - 2*r],
        [2 - 3*r, 1 - 2*r]])
    """
    net = symbolic_network(X, y, weights, readout, activation, loss)
    found = assemble(net, words.FORMULAS, train_readout)
    matrices = {name: sympy.ImmutableMatrix(found[name]) for name in _fields()}
    if matrices["velocity"].expand().is_zero_matrix:
        raise ArithmeticError(
            "Ẇ = 0: the centred correlation has no limit of second order at t = 0"
        )
    return SymbolicEarlyTime(**matrices)


def symbolic_network(
    X: Entries,
    y: Entries,
    weights: Entries,
    readout: Entries,
    activation: str | Callable[[sympy.Expr], sympy.Expr],
    loss: str = "mse",
) -> Network:
    """Return the network at t = 0 in SymPy expressions; arguments as of `early_time_symbolic`."""
    inputs, W = _table("X", X), _table("weights", weights)
    a, targets = _table("readout", readout), _table("y", y)
    if inputs.ndim != 2 or W.ndim != 2:
        raise ValueError(
            f"X, weights have shapes {inputs.shape}, {W.shape}; allowed: (n, d), (k, d)"
        )
    a, targets = np.atleast_2d(a), targets[:, None] if targets.ndim == 1 else targets
    shapes = inputs.shape[1], len(W), targets.shape
    if shapes != (W.shape[1], a.shape[1], (len(inputs), len(a))):
        raise ValueError(
            f"X {inputs.shape}, y {targets.shape}, weights {W.shape}, readout {a.shape} do not "
            "fit; they must be (n, d), (n, o), (k, d), (o, k)"
        )
    value, first, second = (_entrywise(inputs @ W.T, phi) for phi in derivatives(activation))
    pull, curvature = _loss(value @ a.T, targets, loss)
    return Network(inputs, W, a, value, first, second, pull, curvature)


def derivatives(
    activation: str | Callable[[sympy.Expr], sympy.Expr],
) -> tuple[Callable[[sympy.Expr], sympy.Expr], ...]:
    """Return φ, φ' and φ'' as functions of expressions; what sits on kinks is left out."""
    if isinstance(activation, str):
        expression, z = activations.formula(activation)
    else:
        z = sympy.Symbol("z", real=True)
        expression = sympy.sympify(activation(z))
    found = [expression]
    for _ in range(2):
        found.append(sympy.diff(found[-1], z).replace(sympy.DiracDelta, lambda *_: sympy.S.Zero))
    return tuple(lambda at, phi=phi: phi.subs(z, at) for phi in found)


def assemble(
    net: Network, formulas: Mapping[str, sympy.Expr], train_readout: bool = False
) -> dict[str, Objects]:
    """Evaluate given formulas (those of `early_words`, or mutants) one after the other.

    Returns:
        The fields of `SymbolicEarlyTime`, with K, K̇, J̇ and the outputs' velocity beside them.
    """
    stage = _leading(net, formulas)
    stage |= _rates(net, formulas, stage, train_readout)
    symbols = _symbols(net, stage)
    for name in ("acceleration", "ptk", "ptk_dot"):
        stage[name] = _tidy(words.evaluate(formulas[name], symbols))
    symbols |= {words.A: stage["acceleration"], words.At: stage["acceleration"].T}
    symbols |= {words.K: stage["ptk"], words.K_DOT: stage["ptk_dot"]}
    for name in ("nfm_leading", "agop_leading", "nfm_next", "agop_next", "nfm_slope", "agop_slope"):
        stage[name] = _tidy(words.evaluate(formulas[name], symbols))
    W = net.weights
    return stage | {"nfm": W.T @ W, "agop": W.T @ stage["ptk"] @ W}


def cosine(
    formulas: Mapping[str, sympy.Expr], moments: Sequence[Any]
) -> tuple[sympy.Expr, sympy.Expr]:
    """Return the correlation of A and B, and its slope, from A, B, A', B'."""
    A, B, A_dot, B_dot = (np.asarray(matrix, dtype=object) for matrix in moments)
    values = {
        words.INNER: _inner(A, B),
        words.SQUARE_A: _inner(A, A),
        words.SQUARE_B: _inner(B, B),
        words.INNER_DOT: _inner(A_dot, B) + _inner(A, B_dot),
        words.TURN_A: _inner(A, A_dot),
        words.TURN_B: _inner(B, B_dot),
    }
    return formulas["correlation"].subs(values), formulas["correlation_slope"].subs(values)


# --- the stages -------------------------------------------------------------------------------


def _leading(net: Network, formulas: Mapping[str, sympy.Expr]) -> dict[str, Objects]:
    """J and Ẇ."""
    at = {words.READOUT: net.readout[None], words.FIRST: net.first[:, None]}
    J = _stacked(net, words.evaluate(formulas["jacobian"], at))
    V = words.evaluate(formulas["velocity"], _symbols(net, {"jacobian": J}))
    return {"jacobian": J, "velocity": _tidy(V)}


def _rates(
    net: Network, formulas: Mapping[str, sympy.Expr], stage: Mapping[str, Objects], trained: bool
) -> dict[str, Objects]:
    """The velocities of readout, outputs, residuals and J, in this order."""
    at = {
        words.READOUT: net.readout[None],
        words.PHI: net.value[:, None],
        words.FIRST: net.first[:, None],
        words.SECOND: net.second[:, None],
        words.PULL: net.pull[:, :, None],
        words.CURVATURE: net.curvature,
        words.Z_DOT: (net.inputs @ stage["velocity"].T)[:, None],
    }
    a_dot = words.evaluate(formulas["readout_velocity"], at).sum(axis=0) * int(trained)
    at[words.READOUT_DOT] = a_dot[None]
    at[words.OUTPUT_DOT] = words.evaluate(formulas["output_velocity"], at).sum(axis=2)
    return {
        "readout_velocity": a_dot,
        "output_velocity": at[words.OUTPUT_DOT],
        "pull_velocity": words.evaluate(formulas["pull_velocity"], at),
        "jacobian_dot": _stacked(net, words.evaluate(formulas["jacobian_dot"], at)),
    }


def _symbols(net: Network, stage: Mapping[str, Objects]) -> dict[sympy.Symbol, Any]:
    """The matrices that are known so far, by the symbols of the words."""
    R, J, X, W = _blocks(net.pull), stage["jacobian"], net.inputs, net.weights
    known = {words.X: X, words.R: R, words.J: J, words.W: W}
    if "velocity" in stage:
        known[words.V] = stage["velocity"]
    if "jacobian_dot" in stage:
        known[words.J_DOT] = stage["jacobian_dot"]
        known[words.R_DOT] = _blocks(stage["pull_velocity"])
    transposed = {words.TRANSPOSES[symbol]: matrix.T for symbol, matrix in known.items()}
    return {**known, **transposed, words.GRAM: J @ J.T, words.SAMPLES: Fraction(len(X))}


def _blocks(pull: Objects) -> Objects:
    """R from its rows g_αᵀ: (n, n o) with g_αᵀ in block α of row α."""
    n, o = pull.shape
    R = np.full((n, n, o), 0, dtype=object)
    R[range(n), range(n)] = pull
    return R.reshape(n, n * o)


def _stacked(net: Network, entries: Any) -> Objects:
    """(n, o, k) as (n o, k)."""
    shape = len(net.inputs), *net.readout.shape
    return np.asarray(np.broadcast_to(entries, shape)).reshape(-1, shape[-1])


def _tidy(matrix: Objects) -> Objects:
    """Collect radicals, which grow with every product if they are left to themselves."""
    return np.array([[_collected(entry) for entry in row] for row in matrix], dtype=object)


def _collected(entry: Any) -> Any:
    return sympy.expand(entry) if getattr(entry, "is_algebraic", False) else entry


def _inner(A: Objects, B: Objects) -> sympy.Expr:
    return sympy.sympify((A * B).sum())


def _fields() -> tuple[str, ...]:
    return tuple(SymbolicEarlyTime.__dataclass_fields__)


def _moments(early: SymbolicEarlyTime, which: str) -> list[Any]:
    return [getattr(early, name).tolist() for name in MOMENTS[which]]


def _correlation(early: SymbolicEarlyTime, which: str) -> sympy.Expr:
    return cosine(words.FORMULAS, _moments(early, which))[0]


def _slope(early: SymbolicEarlyTime, which: str) -> sympy.Expr:
    return cosine(words.FORMULAS, _moments(early, which))[1]


def _entrywise(array: Objects, function: Callable[[sympy.Expr], sympy.Expr]) -> Objects:
    return np.array([[function(entry) for entry in row] for row in array], dtype=object)


def _table(name: str, entries: Entries) -> Objects:
    """Nested entries as an array of SymPy expressions without floats."""
    rows = entries.tolist() if hasattr(entries, "tolist") else entries
    array = np.array(rows, dtype=object)
    if array.ndim not in (1, 2) or not array.size:
        raise ValueError(f"{name} has shape {array.shape}; a vector or a matrix is allowed")
    exact = np.array([sympy.sympify(entry) for entry in array.flat], dtype=object)
    inexact = [entry for entry in exact if entry.atoms(sympy.Float)]
    if inexact:
        raise ValueError(f"{name} holds {inexact[0]}; exact numbers and symbols are allowed")
    return exact.reshape(array.shape)


def _loss(f: Objects, y: Objects, loss: str) -> tuple[Objects, Objects]:
    """-∂loss/∂f and ∂²loss/∂f²."""
    if loss not in LOSSES:
        raise ValueError(f"loss = {loss!r} must be one of {', '.join(LOSSES)}")
    if loss == "mse":
        return y - f, np.full(f.shape, sympy.S.One, dtype=object)
    if y.shape[1] != 1 or not all(_is_sign(label) for label in y.flat):
        raise ValueError(f"y = {y.tolist()}; for the logistic loss labels ±1 of shape (n,)")
    doubt = _entrywise(-y * f, _sigmoid)
    return y * doubt, doubt * _entrywise(y * f, _sigmoid)


def _is_sign(label: sympy.Expr) -> bool:
    return bool(sympy.expand(label**2) == 1)


def _sigmoid(x: sympy.Expr) -> sympy.Expr:
    return 1 / (1 + sympy.exp(-x))
