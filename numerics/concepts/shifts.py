"""From the directions that detect a concept to the shifts that steer it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from ..alignment.checks import as_tensor
from .blocks import Layer

L = TypeVar("L", bound=Layer)


def in_deviations(
    directions: Mapping[L, ArrayLike], states: Mapping[Any, Tensor]
) -> dict[L, Tensor]:
    """Each layer's vector, as long as its states' standard deviation √(tr Cov).

    With them one coefficient means the same in every layer, however large its states are.

    Args:
        directions: Vectors by layer, shape (d,), of any length but 0.
        states: Hidden states by layer, shape (n, d).

    Returns:
        By layer a vector (d,) of its states' dtype and device.

    Raises:
        TypeError: If states or vectors are not floating numbers.
        ValueError: If states of a layer are missing, have another shape or do not vary, a vector is
            zero or has another width, or an entry is NaN or infinite.
    """
    found = {}
    for name, direction in directions.items():
        layer = _layer(states, name)
        v = _direction(name, direction, layer)
        deviation = layer.double().var(0, correction=0).sum().sqrt()
        if not deviation > 0:
            raise ValueError(f"states of layer {name!r} do not vary")
        found[name] = (v * deviation).to(layer)
    return found


def along_covariance(
    directions: Mapping[L, ArrayLike], states: Mapping[Any, Tensor], labels: ArrayLike
) -> dict[L, Tensor]:
    """Σv of each layer's direction v, as a unit vector; Σ is the covariance within classes.

    Of all shifts of a Gaussian class that change the score vᵀx by the same amount, the one along Σv
    changes the class's law least (in Kullback and Leibler's sense): where v detects, Σv steers.

    Args:
        directions: Vectors by layer, shape (d,), such as `ConceptDetector.directions` gives.
        states: Hidden states by layer, shape (n, d).
        labels: Classes of the n samples.

    Returns:
        By layer a vector (d,) of its states' dtype and device.

    Raises:
        TypeError: If states or vectors are not floating numbers.
        ValueError: As `in_deviations`, or if labels have another length, or states do not vary
            along a direction.
    """
    index = np.unique(np.asarray(labels), return_inverse=True)[1]
    found = {}
    for name, direction in directions.items():
        layer = _layer(states, name)
        if index.shape != (len(layer),):
            raise ValueError(f"labels have shape {index.shape}, must have ({len(layer)},)")
        v = _direction(name, direction, layer)
        centred = layer.double().clone()
        for k in range(index.max() + 1):
            rows = torch.from_numpy(index == k).to(layer.device)
            centred[rows] -= centred[rows].mean(0)
        shift = centred.T @ (centred @ v)
        if not shift.norm() > 0:
            raise ValueError(f"states of layer {name!r} do not vary along its direction")
        found[name] = (shift / shift.norm()).to(layer)
    return found


def _layer(states: Mapping[Any, Tensor], name: Layer) -> Tensor:
    if name not in states:
        raise ValueError(f"states lack the layer {name!r}, there are {list(states)}")
    layer = as_tensor(f"states of layer {name!r}", states[name])
    if not layer.is_floating_point():
        raise TypeError(f"states of layer {name!r} have dtype {layer.dtype}, must be floating")
    if layer.ndim != 2 or not len(layer):
        raise ValueError(
            f"states of layer {name!r} have shape {tuple(layer.shape)}, must be (n, d), n >= 1"
        )
    if not torch.isfinite(layer).all():
        raise ValueError(f"states of layer {name!r} hold NaN or infinite entries")
    return layer


def _direction(name: Layer, direction: ArrayLike, layer: Tensor) -> Tensor:
    """The unit vector along it, in double precision."""
    v = as_tensor(f"directions[{name!r}]", direction).to(layer.device, torch.float64)
    if v.shape != layer.shape[1:]:
        raise ValueError(
            f"directions[{name!r}] has shape {tuple(v.shape)}, must have {tuple(layer.shape[1:])}"
        )
    if not torch.isfinite(v).all() or not v.any():
        raise ValueError(f"directions[{name!r}] must be finite and not zero")
    v = v / v.abs().max()  # so that its square neither overflows nor vanishes
    unit: Tensor = v / v.norm()
    return unit
