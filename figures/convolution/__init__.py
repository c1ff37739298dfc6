"""Figures of the slice `convolution`: features of patches."""

from __future__ import annotations

from .edges import filters
from .layers import correlations
from .rounds import local_signal

FIGURES = {"correlations": correlations, "filters": filters, "local_signal": local_signal}

__all__ = ["FIGURES", "correlations", "filters", "local_signal"]
