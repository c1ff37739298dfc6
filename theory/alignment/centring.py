"""What is subtracted before weights and gradients are compared: one name for each convention.

The literature calls several operations centring. Each is a function of its own here, and each
published convention is a `Preset` that says which matrices it compares and how.

Notation: W weights (k, d); W_0 initial weights; K the PTK feature matrix (k, k); G input gradients
of a layer, G[α, c] = ∂f_c(x_α)/∂h, shape (n, o, d).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike

from ..arrays import RealArray, finite_array
from ..validation import integer
from .correlations import Kind, correlation, matrix_power_psd


def nfm(weights: ArrayLike) -> RealArray:
    """Return the neural feature matrix WᵀW of weights of shape (k, d).

    Raises:
        TypeError: If the entries are not real numbers.
        ValueError: If the shape is another, or an entry is NaN or infinite.
    """
    W = _matrix("weights", weights)
    return W.T @ W


def agop_from_ptk(weights: ArrayLike, ptk: ArrayLike) -> RealArray:
    """Return the average gradient outer product WᵀKW of weights (k, d), PTK matrix (k, k).

    Raises:
        TypeError: If the entries are not real numbers.
        ValueError: If the shapes do not fit, or an entry is NaN or infinite.
    """
    W, K = _matrix("weights", weights), _matrix("ptk", ptk)
    if K.shape != (len(W), len(W)):
        raise ValueError(
            f"ptk has shape {K.shape}, weights have shape {W.shape}; they must be (k, k), (k, d)"
        )
    return W.T @ K @ W


def change_from_initial(weights: ArrayLike, initial_weights: ArrayLike) -> RealArray:
    """Return W - W_0, the centred weights of paper C.

    Raises:
        TypeError: If the entries are not real numbers.
        ValueError: If the shapes differ, or an entry is NaN or infinite.
    """
    W, W_0 = _matrix("weights", weights), _matrix("initial_weights", initial_weights)
    if W.shape != W_0.shape:
        raise ValueError(
            f"weights have shape {W.shape}, initial_weights {W_0.shape}; they must be equal"
        )
    return W - W_0


def nfm_of_change(weights: ArrayLike, initial_weights: ArrayLike) -> RealArray:
    """Return (W - W_0)ᵀ(W - W_0); errors as in `change_from_initial`. Source: paper C."""
    return nfm(change_from_initial(weights, initial_weights))


def agop_of_change(weights: ArrayLike, initial_weights: ArrayLike, ptk: ArrayLike) -> RealArray:
    """Return (W - W_0)ᵀK(W - W_0), K that of the current network.

    Errors as in `change_from_initial` and `agop_from_ptk`. Source: paper C.
    """
    return agop_from_ptk(change_from_initial(weights, initial_weights), ptk)


def agop_from_gradients(gradients: ArrayLike) -> RealArray:
    """Return (1/n) Σ_α Σ_c g_αc g_αcᵀ of gradients of shape (n, o, d), or (n, d) for one output.

    Raises:
        TypeError: If the entries are not real numbers.
        ValueError: If the shape is another, or an entry is NaN or infinite.
    """
    G = _gradients(gradients)
    rows = G.reshape(-1, G.shape[2])
    return rows.T @ rows / len(G)


def agop_less_mean_of_each_output(gradients: ArrayLike) -> RealArray:
    """Return the AGOP of the gradients less their mean over the samples, output by output.

    It is smaller than the AGOP by Σ_c ḡ_c ḡ_cᵀ, ḡ_c the mean gradient of output c. Arguments and
    errors as in `agop_from_gradients`. Source: recursive feature machines, first release.
    """
    G = _gradients(gradients)
    return agop_from_gradients(G - G.mean(axis=0))


def agop_less_joint_mean(gradients: ArrayLike) -> RealArray:
    """Return the AGOP of the gradients less their mean over samples and outputs jointly.

    It is smaller than the AGOP by o ḡḡᵀ, ḡ the mean over all, o the number of outputs. Arguments
    and errors as in `agop_from_gradients`. Source: xrfm.
    """
    G = _gradients(gradients)
    return agop_from_gradients(G - G.mean(axis=(0, 1)))


def less_mean_entry(matrix: ArrayLike) -> RealArray:
    """Return the matrix less the mean of its entries: Pearson correlation is the cosine of these.

    Raises:
        TypeError: If the entries are not real numbers.
        ValueError: If an entry is NaN or infinite.
    """
    A = _matrix("matrix", matrix)
    centred: RealArray = A - A.mean()
    return centred


class Weights(StrEnum):
    """Which weights make the NFM."""

    CURRENT = "W"
    CHANGE = "W - W_0"


class Gradients(StrEnum):
    """What makes the AGOP."""

    CURRENT = "the network's gradients"
    CHANGE = "(W - W_0)ᵀK(W - W_0)"
    LESS_MEAN_OF_EACH_OUTPUT = "gradients less their mean over samples, output by output"
    LESS_JOINT_MEAN = "gradients less their mean over samples and outputs"


@dataclass(frozen=True)
class Preset:
    """A published way to compare NFM and AGOP.

    Attributes:
        name: In words.
        source: Paper or repository.
        nfm: Which weights make the NFM.
        agop: What makes the AGOP.
        kind: Cosine of the matrices, or Pearson over their entries.
        exponent: The power of the AGOP with which the NFM is compared.
    """

    name: str
    source: str
    nfm: Weights
    agop: Gradients
    kind: Kind
    exponent: float


_WHOLE = Weights.CURRENT, Gradients.CURRENT
_CHANGE = Weights.CHANGE, Gradients.CHANGE
_INIT_REMOVED = Weights.CHANGE, Gradients.CURRENT

PRESETS: tuple[Preset, ...] = (
    Preset("C-NFA", "paper C", *_CHANGE, "cosine", 1.0),
    Preset("UC-NFA", "paper C", *_WHOLE, "cosine", 1.0),
    Preset("C-NFA", "centered_NFA", *_CHANGE, "pearson", 1.0),
    Preset("UC-NFA", "centered_NFA", *_WHOLE, "pearson", 1.0),
    Preset("NFA", "deep_neural_feature_ansatz", *_WHOLE, "cosine", 1.0),
    Preset("NFA", "agop_feature_learning", *_WHOLE, "pearson", 0.5),
    Preset("NFA, initial weights removed", "paper E, scripts", *_INIT_REMOVED, "pearson", 0.5),
    Preset("NFA, sweep", "convrfm", *_WHOLE, "cosine", 1.0),
    Preset("NFA, pretrained", "convrfm", *_WHOLE, "pearson", 1.0),
    Preset("NFA", "neural_collapse_rfm", *_WHOLE, "pearson", 0.5),
)
"""The conventions of the papers and of their released code."""


def preset(name: str, source: str | None = None) -> Preset:
    """Return the preset of this name; the source tells apart those that share one.

    Raises:
        ValueError: If there is none, or several.

    Example:
        >>> preset("C-NFA", "paper C").kind
        'cosine'
    """
    found = [p for p in PRESETS if p.name == name and source in (None, p.source)]
    if len(found) != 1:
        listed = ", ".join(f"{p.name!r} of {p.source!r}" for p in (found or PRESETS))
        number = "several presets have" if found else "no preset has"
        raise ValueError(f"{number} the name {name!r} and the source {source!r}: {listed}")
    return found[0]


def deep_linear_preset(depth: int) -> Preset:
    """Return the comparison for the first layer of a linear network of depth L: exponent 1/L.

    Raises:
        TypeError: If ``depth`` is not an integer.
        ValueError: If it is less than 1.

    Source: paper T.
    """
    L = integer("depth", depth, 1)
    name = f"first of {L} linear layers"
    return Preset(name, "paper T", Weights.CURRENT, Gradients.CURRENT, "cosine", 1 / L)


def evaluate(
    convention: Preset,
    weights: ArrayLike,
    *,
    initial_weights: ArrayLike | None = None,
    ptk: ArrayLike | None = None,
    gradients: ArrayLike | None = None,
) -> float:
    """Return the correlation of NFM and AGOP in a published convention.

    Args:
        convention: The preset.
        weights: W, shape (k, d).
        initial_weights: W_0, shape (k, d), where the convention subtracts it.
        ptk: K, shape (k, k).
        gradients: G, shape (n, o, d); where the network's own AGOP is meant, either this or
            ``ptk`` will do.

    Raises:
        TypeError: If entries are not real numbers.
        ValueError: If an array that the convention needs is missing, shapes do not fit, an entry
            is NaN or infinite, or a matrix has no correlation.

    Example:
        >>> round(evaluate(preset("NFA, sweep"), np.eye(2), ptk=np.ones((2, 2))), 6)
        0.707107
    """
    given = _Given(convention, weights, initial_weights, ptk, gradients)
    left = given.nfm()
    right = given.agop()
    if left.shape != right.shape:
        raise ValueError(f"NFM has shape {left.shape}, AGOP has shape {right.shape}; they differ")
    if convention.exponent != 1:
        right = matrix_power_psd(right, convention.exponent)
    return correlation(left, right, convention.kind)


@dataclass(frozen=True)
class _Given:
    """What a user has, and the two matrices that a convention makes of it."""

    convention: Preset
    weights: ArrayLike
    initial_weights: ArrayLike | None
    ptk: ArrayLike | None
    gradients: ArrayLike | None

    def nfm(self) -> RealArray:
        if self.convention.nfm is Weights.CURRENT:
            return nfm(self.weights)
        return nfm_of_change(self.weights, self._needed("initial_weights"))

    def agop(self) -> RealArray:
        kind = self.convention.agop
        if kind is Gradients.CHANGE:
            start, K = self._needed("initial_weights"), self._needed("ptk")
            return agop_of_change(self.weights, start, K)
        if kind is Gradients.CURRENT and self.gradients is None:
            return agop_from_ptk(self.weights, self._needed("ptk"))
        return _FROM_GRADIENTS[kind](self._needed("gradients"))

    def _needed(self, name: str) -> ArrayLike:
        value: ArrayLike | None = getattr(self, name)
        if value is None:
            raise ValueError(f"{name} is missing: {self.convention.name!r} cannot do without")
        return value


_FROM_GRADIENTS: dict[Gradients, Callable[[ArrayLike], RealArray]] = {
    Gradients.CURRENT: agop_from_gradients,
    Gradients.LESS_MEAN_OF_EACH_OUTPUT: agop_less_mean_of_each_output,
    Gradients.LESS_JOINT_MEAN: agop_less_joint_mean,
}


def _matrix(name: str, value: ArrayLike) -> RealArray:
    array = finite_array(name, value)
    if array.ndim != 2:
        raise ValueError(f"{name} has shape {array.shape}; a matrix is allowed")
    return array


def _gradients(value: ArrayLike) -> RealArray:
    array = finite_array("gradients", value)
    if array.ndim == 2:
        array = array[:, np.newaxis]
    if array.ndim != 3:
        raise ValueError(f"gradients have shape {array.shape}; (n, o, d) or (n, d) is allowed")
    return array
