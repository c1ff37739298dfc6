"""Vectors to steer with: by layer, one concept or several, in a block's own dtype and device."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, TypeAlias

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from ..alignment.checks import as_tensor

Vectors: TypeAlias = Mapping[Any, Tensor | ArrayLike]
"""By layer, a name or the number of a block: shape (d,) or (k, d)."""


def concepts(vectors: object, coefficient: object) -> list[tuple[Vectors, float]]:
    """The vectors of each concept, with its coefficient.

    Args:
        vectors: One mapping by layer, or a sequence of them.
        coefficient: A number; for a sequence also a sequence of as many numbers.

    Raises:
        TypeError: If they are of another type.
        ValueError: If there are none, their numbers differ, or a coefficient is not finite.
    """
    if isinstance(vectors, Mapping):
        return [(_nonempty(vectors), _finite_number(coefficient))]
    if isinstance(vectors, str) or not isinstance(vectors, Sequence):
        raise TypeError(f"vectors = {vectors!r} must be a mapping by layer, or a sequence of them")
    if not vectors:
        raise ValueError("vectors hold no concept, there must be at least 1 mapping by layer")
    numbers = _numbers(coefficient, len(vectors))
    return [(_nonempty(each), c) for each, c in zip(vectors, numbers, strict=True)]


def _numbers(coefficient: object, count: int) -> list[float]:
    if isinstance(coefficient, str) or not isinstance(coefficient, Sequence):
        return [_finite_number(coefficient)] * count
    if len(coefficient) != count:
        raise ValueError(f"{len(coefficient)} coefficients are given for {count} concepts")
    return [_finite_number(c) for c in coefficient]


def _finite_number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"coefficient = {value!r} must be a finite number")
    try:
        number = float(value)
    except OverflowError:  # an integer or a fraction beyond the doubles
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"coefficient = {value!r} must be a finite number")
    return number


def _nonempty(vectors: object) -> Vectors:
    if not isinstance(vectors, Mapping):
        raise TypeError(f"vectors hold {vectors!r}, must be mappings by layer")
    if not vectors:
        raise ValueError("vectors hold no layer, there must be at least 1")
    return vectors


def placed_vector(
    name: str, values: Tensor | ArrayLike, component: int, module: nn.Module, model: nn.Module
) -> Tensor:
    """One of a layer's vectors, where the block is: arrays are moved there, tensors must be.

    Args:
        name: Of the layer.
        values: Shape (d,) or (k, d).
        component: Which of the k.
        module: The block.
        model: Which tells the dtype of blocks without parameters.

    Raises:
        TypeError: If they are not floating numbers, or a tensor is of another dtype than the block.
        ValueError: If the shape is another, an entry is NaN or infinite, or a tensor is on another
            device than the block.
    """
    v = _component(name, values, component)
    dtypes, devices = _homes(module) if any(True for _ in module.parameters()) else _homes(model)
    if not dtypes:
        return v
    if not isinstance(values, Tensor):
        return v.to(dtype=dtypes[0], device=devices[0])
    if v.dtype not in dtypes:
        raise TypeError(
            f"vectors of layer {name!r} have dtype {v.dtype}, the block has {dtypes[0]}: cast them "
            f"by .to({dtypes[0]})"
        )
    if v.device not in devices:
        raise ValueError(
            f"vectors of layer {name!r} are on {v.device}, the block is on {devices[0]}: move them "
            f"by .to({str(devices[0])!r})"
        )
    return v


def _component(name: str, values: Tensor | ArrayLike, component: int) -> Tensor:
    """A tensor keeps its graph, so that vectors can be learned."""
    plain = as_tensor(f"vectors of layer {name!r}", values)
    if isinstance(values, Tensor):
        if not plain.is_floating_point():
            raise TypeError(f"vectors of layer {name!r} have dtype {plain.dtype}, must be floating")
        given = plain if values.is_inference() else values
    else:
        given = plain.double()
    if given.ndim not in (1, 2) or not given.numel():
        raise ValueError(
            f"vectors of layer {name!r} have shape {tuple(given.shape)}, must be (d,) or (k, d)"
        )
    if not torch.isfinite(given).all():
        raise ValueError(f"vectors of layer {name!r} hold NaN or infinite entries")
    rows = given if given.ndim == 2 else given[None]
    if component >= len(rows):
        raise ValueError(f"component = {component}, but layer {name!r} has {len(rows)} vectors")
    return rows[component]


def _homes(module: nn.Module) -> tuple[list[torch.dtype], list[torch.device]]:
    """Of its floating parameters, first things first."""
    floating = [p for p in module.parameters() if p.is_floating_point()]
    return list(dict.fromkeys(p.dtype for p in floating)), list(
        dict.fromkeys(p.device for p in floating)
    )


def scaled_vector(name: str, coefficient: float, vector: Tensor) -> Tensor:
    """The shift ε·v, in the vector's dtype.

    Raises:
        ValueError: If it overflows, or has no values.
    """
    if vector.is_meta:
        raise ValueError(f"layer {name!r} is on the device meta: it cannot be steered")
    with torch.inference_mode(False):
        shift = _product(coefficient, vector)
    if not torch.isfinite(shift).all():
        raise ValueError(
            f"{coefficient} times the vector of layer {name!r} is too large for {vector.dtype}"
        )
    return shift


def _product(coefficient: float, vector: Tensor) -> Tensor:
    """For vectors that are learned without anything kept: backward passes may come repeatedly."""
    if not vector.requires_grad:
        return coefficient * vector
    exact = vector.double()
    return torch.zeros_like(exact).add(exact, alpha=coefficient).to(vector.dtype)
