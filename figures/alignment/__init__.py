"""Figures of the slice `alignment`: weights align with the covariance of the gradients."""

from __future__ import annotations

from .exponents import exponents
from .high_dimension import high_dimension
from .initial import initial
from .reversal import reversal
from .speed_limited import speed_limited
from .training import training

FIGURES = {
    "training": training,
    "initial": initial,
    "high_dimension": high_dimension,
    "reversal": reversal,
    "exponents": exponents,
    "speed_limited": speed_limited,
}

__all__ = [
    "FIGURES",
    "exponents",
    "high_dimension",
    "initial",
    "reversal",
    "speed_limited",
    "training",
]
