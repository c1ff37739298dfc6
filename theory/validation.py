"""Refusing bad input at the door, by name, with the value and what is allowed."""

from __future__ import annotations

import math
from numbers import Integral, Real


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


def _real(name: str, value: object, allowed: str) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} = {value!r} must be {allowed}")
    try:
        return float(value)
    except OverflowError:  # an integer or a fraction beyond the doubles, of either sign
        return math.inf
