"""Figures of the slice `ridgeless`: kernel interpolation is inconsistent."""

from __future__ import annotations

from .bandwidth import risk_against_bandwidth
from .boundary import boundary
from .design import design
from .floor import floor
from .sample_size import risk_against_n

FIGURES = {
    "risk_against_bandwidth": risk_against_bandwidth,
    "risk_against_n": risk_against_n,
    "floor": floor,
    "boundary": boundary,
    "design": design,
}

__all__ = [
    "FIGURES",
    "boundary",
    "design",
    "floor",
    "risk_against_bandwidth",
    "risk_against_n",
]
