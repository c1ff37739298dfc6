"""Centred and uncentred correlations measured along the first moments of gradient flow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor, nn

from ..validation import RealArray
from .correlations import displacement_nfa, uncentred_nfa
from .flow import gradient_flow
from .losses import Loss
from .measure import layer_matrices


@dataclass(frozen=True, eq=False)
class EarlyCorrelations:
    """What one layer shows at each time.

    Attributes:
        times: Shape (T,).
        centred: C-NFA, shape (T,).
        uncentred: UC-NFA, shape (T,).
    """

    times: RealArray
    centred: RealArray
    uncentred: RealArray


def early_correlations(
    model: nn.Module,
    inputs: Tensor | ArrayLike,
    targets: Tensor | ArrayLike,
    times: ArrayLike,
    layer: str = "0",
    *,
    loss: str | Loss = "mse",
    trained: Sequence[str] | None = None,
    kind: str = "cosine",
    rtol: float = 1e-12,
) -> EarlyCorrelations:
    """Follow gradient flow and measure both correlations of a layer on the way.

    The centred one is taken from the displacement itself, so that it keeps its digits at t = 1e-6.

    Args:
        model: Any module.
        inputs: All samples.
        targets: As in `gradient_flow`.
        times: Positive, increasing.
        layer: The linear layer, by name.
        loss: As in `gradient_flow`.
        trained: Names of the parameters that move; by default the layer's weight alone.
        kind: "cosine" or "pearson".
        rtol: Relative tolerance of the integrator.

    Raises:
        ValueError: As in `gradient_flow` and `layer_matrices`; if the layer does not move.
    """
    weight = f"{layer}.weight"
    names = (weight,) if trained is None else trained
    flow = gradient_flow(model, inputs, targets, times, loss=loss, trained=names, rtol=rtol)
    centred, uncentred = [], []
    for i in range(len(flow.times)):
        measured = layer_matrices(flow.at(i), inputs, [layer])[layer]
        moved = flow.displacements(i)[weight]
        centred.append(displacement_nfa(measured.ptk, moved, kind=kind))
        uncentred.append(uncentred_nfa(measured, kind=kind))
    return EarlyCorrelations(flow.times, np.array(centred), np.array(uncentred))


def at_zero(times: ArrayLike, values: ArrayLike) -> tuple[float, float]:
    """Value and slope at t = 0 of the polynomial through all points (Richardson's extrapolation).

    Args:
        times: Distinct, shape (T,).
        values: Shape (T,).

    Raises:
        ValueError: If there are fewer than 2 points, or shapes differ, or times coincide.

    Example:
        >>> at_zero([1.0, 2.0], [3.0, 5.0])
        (1.0, 2.0)
    """
    t, y = np.asarray(times, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if t.shape != y.shape or t.ndim != 1 or t.size < 2 or len(np.unique(t)) < t.size:
        raise ValueError(f"times {t}, values {y}: at least 2 distinct times, one value for each")
    scale = float(np.abs(t).max())
    coefficients = np.linalg.solve(np.vander(t / scale, increasing=True), y)
    return float(coefficients[0]), float(coefficients[1] / scale)
