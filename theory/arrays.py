"""Arrays of real numbers, refused at the door if they are anything else."""

from __future__ import annotations

from numbers import Real
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

RealArray: TypeAlias = NDArray[np.float64]


def finite_array(name: str, value: ArrayLike) -> RealArray:
    """Return an array of finite doubles.

    Raises:
        TypeError: If the entries are not real numbers.
        ValueError: If there are none, one is NaN or infinite, or rows differ in length.
    """
    array = real_entries(name, value)
    if not array.size:
        raise ValueError(f"{name} has shape {array.shape}; it must have at least one entry")
    if not np.isfinite(array).all():
        first = array[~np.isfinite(array)][0]
        raise ValueError(f"{name} holds {first}; all entries must be finite")
    return array


def real_entries(name: str, value: ArrayLike) -> RealArray:
    """Return an array of doubles, of any shape; nothing is cast that is no real number.

    Raises:
        TypeError: If the entries are not real numbers (complex ones are not cut to real parts).
        ValueError: If rows differ in length, or an entry is beyond the doubles.
    """
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} has rows of unequal length; an array is needed") from error
    exact = array.dtype == object and all(isinstance(x, Real) for x in array.flat)
    if array.dtype.kind not in "iuf" and not exact:
        raise TypeError(f"{name} has dtype {array.dtype}; its entries must be real numbers")
    try:
        return array.astype(np.float64)
    except OverflowError as error:
        raise ValueError(f"{name} holds an entry beyond the doubles") from error
