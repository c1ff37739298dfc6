"""Figures of the slice `collapse`: features that collapse layer by layer."""

from __future__ import annotations

from .gram_matrices import gram
from .layers import depth
from .linearised import rate
from .singular import training

FIGURES = {"gram": gram, "depth": depth, "rate": rate, "training": training}

__all__ = ["FIGURES", "depth", "gram", "rate", "training"]
