"""Figures of the slice `rfm`: features learned through the average gradient outer product."""

from __future__ import annotations

from .features import features
from .images import images
from .recovery import recovery
from .rounds import rounds
from .tables import tables

FIGURES = {
    "rounds": rounds,
    "recovery": recovery,
    "images": images,
    "features": features,
    "tables": tables,
}

__all__ = ["FIGURES", "features", "images", "recovery", "rounds", "tables"]
