"""Refusing bad input at the door, by name, with the value and what is allowed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

RealArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]


def integer(name: str, value: object, minimum: int) -> int:
    """Return `value` as an int of at least `minimum`.

    Raises:
        TypeError: If it is not an integer.
        ValueError: If it is too small.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} = {value!r} must be an integer >= {minimum}")
    if value < minimum:
        raise ValueError(f"{name} = {value!r} must be an integer >= {minimum}")
    return int(value)


def positive(name: str, value: object) -> float:
    """Return `value` as a float in (0, inf).

    Raises:
        TypeError: If it is not a real number.
        ValueError: If it is zero, negative, infinite or NaN.
    """
    number = _real(name, value, "a finite number > 0")
    if not (math.isfinite(number) and number > 0):
        raise ValueError(f"{name} = {value!r} must be a finite number > 0")
    return number


def nonnegative(name: str, value: object) -> float:
    """Return `value` as a float in [0, inf).

    Raises:
        TypeError: If it is not a real number.
        ValueError: If it is negative, infinite or NaN.
    """
    number = _real(name, value, "a finite number >= 0")
    if not (math.isfinite(number) and number >= 0):
        raise ValueError(f"{name} = {value!r} must be a finite number >= 0")
    return number


def choice(name: str, value: object, allowed: Sequence[str]) -> str:
    """Return `value` if it is one of the allowed words.

    Raises:
        ValueError: If it is not.
    """
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} = {value!r} must be one of {', '.join(map(repr, allowed))}")
    return value


def coordinates(name: str, value: ArrayLike, dimension: int) -> RealArray:
    """Return finite real coordinates of shape (..., dimension).

    Raises:
        TypeError: If the entries are not real numbers.
        ValueError: If the last axis is not `dimension`, or an entry is NaN or infinite.
    """
    array = _finite(name, value, "biuf", "real")
    if array.ndim == 0 or array.shape[-1] != dimension:
        raise ValueError(f"{name} has shape {array.shape}, must be (..., {dimension})")
    return np.asarray(array, dtype=np.float64)


def points(name: str, value: ArrayLike, dimension: int) -> RealArray:
    """Return finite points of shape (N, dimension); in one dimension (N,) is taken as well.

    Raises:
        TypeError: If the entries are not real numbers.
        ValueError: If the shape is another, or an entry is NaN or infinite.
    """
    array = np.asarray(value)
    if dimension == 1 and array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or array.shape[1] != dimension or not len(array):
        raise ValueError(f"{name} has shape {np.shape(value)}, must be (N, {dimension}), N >= 1")
    return coordinates(name, array, dimension)


def data(name: str, value: ArrayLike, length: int) -> NDArray[Any]:
    """Return finite real or complex data whose first axis has the given length.

    Raises:
        TypeError: If the entries are not numbers.
        ValueError: If the length is another, or an entry is NaN or infinite.
    """
    array = _finite(name, value, "biufc", "real or complex")
    if array.ndim == 0 or array.shape[0] != length:
        raise ValueError(f"{name} has shape {array.shape}, must be ({length}, ...)")
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def _finite(name: str, value: ArrayLike, kinds: str, allowed: str) -> NDArray[Any]:
    array = np.asarray(value)
    if array.dtype.kind not in kinds:
        raise TypeError(f"{name} has dtype {array.dtype}, must be {allowed} numbers")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinite entries, must be finite")
    return array


def _real(name: str, value: object, allowed: str) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} = {value!r} must be {allowed}")
    try:
        return float(value)
    except OverflowError:  # an integer or a fraction beyond the doubles, of either sign
        return math.inf
