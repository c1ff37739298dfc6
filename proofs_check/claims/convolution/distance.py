"""How far two arrays are apart, as a pair of numbers that a leg can compare digit by digit."""

from __future__ import annotations

from typing import Any

import numpy as np


def beside(found: Any, reference: Any) -> tuple[float, float]:
    """Return 1 + the largest difference over the reference's largest entry, beside 1.

    Raises:
        ValueError: If the shapes differ; one that is broadcast would pass as equal.

    Example:
        >>> beside(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
        (1.5, 1.0)
    """
    if np.shape(found) != np.shape(reference):
        raise ValueError(f"shape {np.shape(found)} against {np.shape(reference)}")
    return 1 + float(np.abs(found - reference).max() / np.abs(reference).max()), 1.0
