"""Hidden states as they are handed in: a mapping of layers, an array of layers, or one layer.

Each layer becomes a NumPy matrix (n, d) of finite float32 or float64 numbers. float16 and bfloat16
become float32, which holds them exactly, and integers float64; tensors come to the CPU.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

Array: TypeAlias = NDArray[np.floating[Any]]
Layer: TypeAlias = str | int
States: TypeAlias = Mapping[Layer, ArrayLike | Tensor] | ArrayLike | Tensor
"""A mapping from layers to (n, d), an array (n, layers, d), or (n, d) for one layer."""


LARGEST, SMALLEST = 1e140, 1e-140
"""Beyond these, sums of squares would overflow, or vanish, in double precision."""


def matrix(name: str, value: object) -> Array:
    """States of one layer as (n, d).

    Raises:
        TypeError: If they are not real numbers.
        ValueError: If they are not a matrix with rows and columns, or an entry is NaN or infinite.
    """
    array = as_array(name, value)
    if array.ndim != 2 or not array.size:
        raise ValueError(f"{name} has shape {array.shape}, must be (n, d) with n, d >= 1")
    return array


def as_array(name: str, value: object) -> Array:
    """Any states as a C-ordered float32 or float64 array of finite numbers.

    Raises:
        TypeError: If they are not real numbers, or a sparse tensor.
        ValueError: If an entry is NaN, infinite or masked, or a tensor has no values.
    """
    if np.ma.is_masked(value):
        raise ValueError(f"{name} holds masked entries, must be finite")
    array = from_tensor(value) if isinstance(value, Tensor) else np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} has dtype {array.dtype}, must be real numbers")
    kept = array.dtype if array.dtype in (np.float32, np.float64) else _wider(array.dtype)
    numbers: Array = np.ascontiguousarray(array, dtype=kept)
    if not np.isfinite(numbers).all():
        raise ValueError(f"{name} holds NaN or infinite entries, must be finite")
    return numbers


def from_tensor(value: Tensor) -> NDArray[Any]:
    """A NumPy array on the CPU; half precision becomes float32.

    Raises:
        TypeError: If it is sparse.
        ValueError: If it has no values.
    """
    if value.layout != torch.strided:
        raise TypeError(f"a tensor has the layout {value.layout}, must be dense")
    if value.is_meta:
        raise ValueError("a tensor lies on the device meta, must have values")
    tensor = value.detach()
    if tensor.dtype in (torch.float16, torch.bfloat16):
        tensor = tensor.float()
    array: NDArray[Any] = tensor.cpu().numpy()
    return array


def _wider(dtype: np.dtype[Any]) -> type[np.floating[Any]]:
    return np.float32 if dtype == np.float16 else np.float64


def by_layer(
    states: Mapping[Any, Any], wanted: Iterable[Layer] | None = None
) -> dict[Layer, Array]:
    """The matrices of a mapping.

    Args:
        states: From layers to (n, d).
        wanted: The layers to take, in this order; all by default.

    Raises:
        TypeError: If a layer's name is neither a string nor an integer, or states are no numbers.
        ValueError: If there is no layer, a wanted one is missing, numbers of samples differ,
            tensors lie on several devices, or states are not finite matrices.
    """
    if not states:
        raise ValueError("states is an empty mapping: there must be at least one layer")
    names = list(states) if wanted is None else list(wanted)
    for name in names:
        if isinstance(name, bool) or not isinstance(name, str | int):
            raise TypeError(f"layer {name!r} must be named by a str or an int")
        if name not in states:
            raise ValueError(f"layer {name!r} is missing in states, which has {list(states)}")
    _check_devices({name: states[name] for name in names})
    layers = {name: matrix(f"states[{name!r}]", states[name]) for name in names}
    _check_lengths(layers)
    return layers


def split_layers(stack: Array) -> dict[Layer, Array]:
    """The matrices of an array (n, layers, d), named by 0, 1 and so on.

    Raises:
        ValueError: If a dimension is empty.
    """
    if not stack.size:
        raise ValueError(f"states has shape {stack.shape}, must be (n, layers, d), each >= 1")
    return {i: np.ascontiguousarray(stack[:, i]) for i in range(stack.shape[1])}


def check_magnitude(name: str, numbers: NDArray[Any]) -> None:
    """Refuse numbers whose squares would overflow.

    Raises:
        ValueError: If one is larger than `LARGEST`.
    """
    largest = float(np.abs(numbers).max())
    if largest > LARGEST:
        raise ValueError(f"{name} reaches {largest:.3g}, must be at most {LARGEST}: rescale it")


def check_range(name: str, numbers: NDArray[Any]) -> None:
    """Refuse numbers whose squares would overflow, or whose deviations' squares would vanish.

    Raises:
        ValueError: If one is larger than `LARGEST`, or the largest difference within a column is
            below `SMALLEST`, but not 0.
    """
    check_magnitude(name, numbers)
    spread = float(np.ptp(numbers, axis=0).max())
    if 0 < spread < SMALLEST:
        raise ValueError(
            f"{name} varies by {spread:.3g} only, must by {SMALLEST} or not at all: rescale it"
        )


def _check_lengths(layers: Mapping[Layer, Array]) -> None:
    counts = {name: len(layer) for name, layer in layers.items()}
    if len(set(counts.values())) > 1:
        raise ValueError(f"the layers have different numbers of samples: {counts}")


def _check_devices(layers: Mapping[Layer, Any]) -> None:
    devices = {
        name: str(layer.device) if isinstance(layer, Tensor) else "cpu"
        for name, layer in layers.items()
    }
    if len(set(devices.values())) > 1:
        raise ValueError(f"the layers lie on different devices: {devices}")
