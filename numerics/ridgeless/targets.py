"""Target functions f*: trigonometric polynomials, or any function."""

from __future__ import annotations

import cmath
from collections.abc import Callable, Mapping
from numbers import Complex, Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..validation import ComplexArray, RealArray

Frequency = int | tuple[int, ...]
Target = Mapping[Frequency, complex] | Callable[[RealArray], NDArray[Any]]
"""Either {k: coefficient of e^{2πi k·x}}, or a function from (Q, d) to (Q,)."""


def target_function(target: Target, dimension: int) -> Callable[[RealArray], ComplexArray]:
    """Return f* as a function from points (Q, d) to complex values (Q,).

    Raises:
        TypeError: If the target is neither a mapping nor callable, or has entries of other types.
        ValueError: If a frequency has the wrong dimension or a coefficient is not finite.
    """
    if isinstance(target, Mapping):
        return _polynomial(frequencies(target, dimension))
    if not callable(target):
        raise TypeError(f"target = {target!r} must be a mapping from frequencies, or a callable")
    return _checked(target)


def frequencies(
    target: Mapping[Frequency, complex], dimension: int
) -> dict[tuple[int, ...], complex]:
    """The mapping with frequencies as tuples of `dimension` integers.

    Raises:
        TypeError: If a frequency or a coefficient has the wrong type.
        ValueError: If a frequency has the wrong dimension or a coefficient is not finite.

    >>> frequencies({3: 1.0}, 1)
    {(3,): (1+0j)}
    """
    return {_frequency(k, dimension): _coefficient(k, c) for k, c in target.items()}


def _polynomial(
    coefficients: dict[tuple[int, ...], complex],
) -> Callable[[RealArray], ComplexArray]:
    def evaluate(x: RealArray) -> ComplexArray:
        total = np.zeros(len(x), dtype=np.complex128)
        for k, coefficient in coefficients.items():
            total += coefficient * np.exp(2j * np.pi * (x @ np.array(k, dtype=np.float64)))
        return total

    return evaluate


def _checked(target: Callable[[RealArray], NDArray[Any]]) -> Callable[[RealArray], ComplexArray]:
    def evaluate(x: RealArray) -> ComplexArray:
        values = np.asarray(target(x), dtype=np.complex128)
        if values.shape != (len(x),):
            raise ValueError(f"target returned shape {values.shape}, must be ({len(x)},)")
        if not np.isfinite(values).all():
            raise ValueError("target returned NaN or infinite values, must be finite")
        return values

    return evaluate


def _frequency(k: object, dimension: int) -> tuple[int, ...]:
    entries = k if isinstance(k, tuple) else (k,)
    if any(isinstance(e, bool) or not isinstance(e, Integral) for e in entries):
        raise TypeError(f"target frequency {k!r} must be an integer or a tuple of integers")
    if len(entries) != dimension:
        raise ValueError(f"target frequency {k!r} must have {dimension} entries")
    return tuple(int(e) for e in entries)


def _coefficient(k: object, value: object) -> complex:
    if isinstance(value, bool) or not isinstance(value, Complex):
        raise TypeError(f"target coefficient {value!r} at frequency {k!r} must be a number")
    number = complex(value)
    if not cmath.isfinite(number):
        raise ValueError(f"target coefficient {value!r} at frequency {k!r} must be finite")
    return number
